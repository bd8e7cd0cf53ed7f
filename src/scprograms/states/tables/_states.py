"""States of cells as tables: what was discovered, what was recovered, and how well held-out cells are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from scprograms._anndata import slot_names
from scprograms._core.validate import check_choice
from scprograms.states.store import DISCOVERY_TABLES, read_discovery, read_recovered, read_recovery_table

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def discovered_states(
    adata: AnnData,
    *,
    key: str = "discovery",
    of: Literal["states", "cell_types", "sweep", "markers"] = "states",
) -> pd.DataFrame:
    """Return the states that were found in each cell type, and what led to them.

    Parameters
    ----------
    adata
        Cells x genes, after :func:`scprograms.tl.discover_states`.
    key
        ``key_added`` of the discovery.
    of
        What has a row of its own: factors, cell types, numbers of factors that were tried, or markers of states.

    Returns
    -------
    ``of="states"``
        ``cell_type, state`` (empty for a factor that is none), ``factor, n_cells, n_samples, n_markers,
        negative_ratio, stability, kept``.
    ``of="cell_types"``
        ``cell_type, n_cells, n_factors, n_states, n_labelled, note``.
    ``of="sweep"``
        ``cell_type, n_factors, stability, lowest, chosen``.
    ``of="markers"``
        ``cell_type, state, gene, difference``.

    Raises
    ------
    KeyError
        There is no discovery under ``key``.
    ValueError
        ``of`` is not known.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_states(600, 300, n_cell_types=1, n_markers=40, effect=1.5)
    >>> scp.tl.discover_states(adata, "cell_type", sample_key="sample", n_factors=3, max_negative_ratio=1.5)
    >>> scp.get.discovered_states(adata)["state"].tolist()
    ['state_0', 'state_1', 'state_2']
    """
    check_choice("of", of, DISCOVERY_TABLES)
    return read_discovery(adata, key, of)


def recovery_confusion(adata: AnnData, *, key: str = "recovery") -> pd.DataFrame:
    """Return which states held-out cells were taken for.

    Parameters
    ----------
    adata
        Cells x genes, after :func:`scprograms.tl.cross_validate_recovery`.
    key
        ``key_added`` of the cross-validation.

    Returns
    -------
    ``cell_type, state, predicted, n_cells``, and ``share``: that of the cells of the state in the cell type, from 0 to
    1. "non-state" is what a cell is predicted as that fits no state well enough.

    Raises
    ------
    KeyError
        There is no cross-validation under ``key``.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_states(600, 300, n_samples=3, n_cell_types=1, n_markers=40)
    >>> scp.tl.cross_validate_recovery(adata, "state", "cell_type", sample_key="sample", n_runs=3)
    >>> list(scp.get.recovery_confusion(adata))
    ['cell_type', 'state', 'predicted', 'n_cells', 'share']
    """
    table = read_recovery_table(adata, key, slot_names.CONFUSION)
    columns = ["cell_type", "state", "predicted"]
    table[columns] = table[columns].astype(str)
    total = table.groupby(["cell_type", "state"])["n_cells"].transform("sum")
    table["share"] = table["n_cells"] / np.maximum(total, 1)
    return table.reset_index(drop=True)


def recovery_states(adata: AnnData, *, key: str = "recovery") -> pd.DataFrame:
    """Return how well each state is recovered in held-out cells.

    Parameters
    ----------
    adata
        Cells x genes, after :func:`scprograms.tl.cross_validate_recovery`.
    key
        ``key_added`` of the cross-validation.

    Returns
    -------
    The table that it wrote: ``cell_type, state, n_cells, precision, recall, f1, recoverable`` and more.

    Raises
    ------
    KeyError
        There is no cross-validation under ``key``.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_states(600, 300, n_samples=3, n_cell_types=1, n_markers=40)
    >>> scp.tl.cross_validate_recovery(adata, "state", "cell_type", sample_key="sample", n_runs=3)
    >>> "f1" in scp.get.recovery_states(adata)
    True
    """
    return read_recovery_table(adata, key, slot_names.STATES)


def recovered_states(adata: AnnData, *, key: str = "recovery", basis: str | None = None) -> pd.DataFrame:
    """Return the state of every cell, how well it fits, and where the cell is.

    Parameters
    ----------
    adata
        Cells x genes, after :func:`scprograms.tl.recover_states` (or :func:`scprograms.tl.discover_states`).
    key
        ``key_added`` of the recovery or discovery.
    basis
        Entry of ``.obsm`` with the places of the cells, such as "spatial" or "umap"; None leaves them out.

    Returns
    -------
    A row per cell: ``state`` (category); ``score`` of a recovery; ``x`` and ``y`` with ``basis``. Where colours of the
    states are stored in ``.uns[f"{key}_state_colors"]``, ``.attrs["colors"]`` holds them by state.

    Raises
    ------
    KeyError
        There is no recovery under ``key``, or no such basis.
    ValueError
        The basis has fewer than two columns.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_states(600, 300, n_cell_types=1, n_markers=40, effect=1.5)
    >>> scp.tl.discover_states(adata, "cell_type", sample_key="sample", n_factors=3, max_negative_ratio=1.5)
    >>> list(scp.get.recovered_states(adata, key="discovery", basis="spatial"))
    ['state', 'x', 'y']
    """
    return read_recovered(adata, key, basis)
