"""The features by which a recovery model knows each state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from scprograms._core.validate import check_int, listing

if TYPE_CHECKING:
    from collections.abc import Sequence


class HasSignatures(Protocol):
    """What is asked of a recovery model."""

    @property
    def cell_types(self) -> Any:
        """Names of the cell types."""

    def signature(self, cell_type: str) -> pd.DataFrame:
        """Weights, features x states."""

    def spread(self, cell_type: str) -> pd.DataFrame:
        """Their standard deviations over the runs."""


def recovery_signatures(
    model: HasSignatures, *, cell_types: str | Sequence[str] | None = None, n_genes: int | None = None
) -> pd.DataFrame:
    """Return the features of each state, by how much more they weigh in it than in any other.

    Parameters
    ----------
    model
        From :func:`scprograms.tl.train_recovery`.
    cell_types
        One cell type or several; all by default.
    n_genes
        At most so many features for each state; all by default.

    Returns
    -------
    A row per feature and cell type, with the state that it weighs most in:

    ``cell_type, state, gene``
    ``part``
        "pos" for expression above the mean of the sample, "neg" for expression below.
    ``weight``
        Mean of this part over the cells of the state, in standard deviations.
    ``difference``
        By how much it exceeds the weight in the next state.
    ``spread``
        Standard deviation of the weight over the runs.

    Raises
    ------
    TypeError
        ``model`` is no recovery model.
    ValueError
        A cell type is not in the model.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_states(600, 300, n_samples=3, n_cell_types=2, n_markers=40)
    >>> model = scp.tl.train_recovery(adata, "state", "cell_type", sample_key="sample", n_runs=3)
    >>> table = scp.get.recovery_signatures(model, n_genes=2)
    >>> table["state"].tolist()[:6]  # of the first cell type
    ['state_0', 'state_0', 'state_1', 'state_1', 'state_2', 'state_2']
    """
    n_genes = None if n_genes is None else check_int("n_genes", n_genes, at_least=1)
    tables = [_of_cell_type(model, name, n_genes) for name in check_cell_types(model, cell_types)]
    return pd.concat(tables, ignore_index=True)


def check_cell_types(model: HasSignatures, cell_types: str | Sequence[str] | None) -> list[str]:
    """Return the cell types of the model that are meant."""
    if not all(hasattr(model, name) for name in ("cell_types", "signature", "spread")):
        msg = (
            f"model is a {type(model).__name__}; a recovery model is needed: scp.tl.train_recovery(...) or "
            "scp.tl.RecoveryModel.read(path)."
        )
        raise TypeError(msg)
    there = [str(name) for name in model.cell_types]
    if cell_types is None:
        return there
    wanted = [cell_types] if isinstance(cell_types, str) else [str(name) for name in cell_types]
    unknown = [name for name in wanted if name not in there]
    if unknown or not wanted:
        msg = f"cell_types={listing(unknown)} are not in the model. There: {listing(there)}."
        raise ValueError(msg)
    return wanted


def _of_cell_type(model: HasSignatures, cell_type: str, n_genes: int | None) -> pd.DataFrame:
    weights, spread = model.signature(cell_type), model.spread(cell_type)
    values = weights.to_numpy(dtype=np.float64)
    top = values.argmax(axis=1)
    rows = np.arange(len(values))
    ordered = np.sort(values, axis=1)
    second = ordered[:, -2] if values.shape[1] > 1 else np.zeros(len(values))
    names = weights.index.astype(str)
    table = pd.DataFrame(
        {
            "cell_type": cell_type,
            "state": np.asarray(weights.columns.astype(str))[top],
            "gene": [name.removesuffix("__pos").removesuffix("__neg") for name in names],
            "part": ["neg" if name.endswith("__neg") else "pos" for name in names],
            "weight": values[rows, top],
            "difference": values[rows, top] - second,
            "spread": spread.to_numpy(dtype=np.float64)[rows, top],
        }
    )
    order = np.lexsort((-table["difference"].to_numpy(), top))
    table = table.iloc[order]
    return table if n_genes is None else table.groupby("state", sort=False).head(n_genes)
