"""``tl.discover_states``: states within each cell type, from the data alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scprograms._anndata.labels import read_labels
from scprograms._anndata.matrix import check_adata, read_gene_names, read_matrix
from scprograms._core.validate import check_int, check_name, check_real, warn, warn_about_counts
from scprograms._core.workers import spread
from scprograms.programs.engine import consensus_programs

from .engine import posneg
from .engine.discovery import Factors, describe_factors, scaled_genes
from .store import Discovery, write_discovery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from scprograms._core.matrix import Matrix

logger = logging.getLogger("scprograms")

METHOD = "discover_states"
_SUBSAMPLE = 0.5
_DEFAULT_FACTORS = range(2, 9)
_MANY_CELLS = 50_000
_COLUMNS = {
    "states": {
        "cell_type": str,
        "state": str,
        "factor": np.int64,
        "n_cells": np.int64,
        "n_samples": np.int64,
        "n_markers": np.int64,
        "negative_ratio": float,
        "stability": float,
        "kept": bool,
    },
    "cell_types": {
        "cell_type": str,
        "n_cells": np.int64,
        "n_factors": np.int64,
        "n_states": np.int64,
        "n_labelled": np.int64,
        "note": str,
    },
    "sweep": {"cell_type": str, "n_factors": np.int64, "stability": float, "lowest": float, "chosen": bool},
    "markers": {"cell_type": str, "state": str, "gene": str, "difference": float},
}


def discover_states(
    adata: AnnData,
    cell_type_key: str,
    *,
    sample_key: str | None = None,
    layer: str | None = None,
    n_factors: int | Sequence[int] | None = None,
    n_features: int = 300,
    n_runs: int = 10,
    min_stability: float = 0.9,
    min_markers: int = 10,
    min_difference: float = 0.25,
    max_negative_ratio: float = 1.0,
    min_cells: int = 50,
    key_added: str = "discovery",
    random_state: int = 0,
    n_jobs: int | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Find the states of each cell type, where nobody has labelled them.

    In each cell type, the most variable genes are scaled to mean 0 and standard deviation 1 within each sample, split
    into positive and negative parts side by side, and factorized by non-negative matrix factorization [1]_. The number
    of factors is the largest at which they come back when half of the cells are left out: their signed loadings
    (positive less negative parts) have a mean cosine of at least ``min_stability`` with those that they are matched to.
    A factor is a candidate if its negative weights sum to less than ``max_negative_ratio`` times its positive ones,
    which those of cells with few detected genes do not, and a state if it has more than ``min_markers`` markers as
    well. Cells belong to the factor that they use most; those of a factor that is no state get no label. A state that
    is known by genes that it lacks can fail the ratio: raise it where one is missing, and look at the table of states.

    Parameters
    ----------
    adata
        Cells x genes, log-normalised.
    cell_type_key
        Column of ``.obs`` with the cell types.
    sample_key
        Column of ``.obs`` with the samples to scale within; all cells of a type are one sample by default.
    layer
        Layer with the expression; None means ``.X``.
    n_factors
        Number of factors, or several to choose from, each at least 2. By default 2 to 8.
    n_features
        Genes that enter, by their variance within samples.
    n_runs
        Refits to half of the cells, for each number of factors; at least 2.
    min_stability
        Least mean stability of the factors for a number of them to be chosen, up to 1.
    min_markers
        A state has more markers than this. A marker of a factor has its largest weight in it, and ...
    min_difference
        ... a mean that is by so many standard deviations higher in its cells than in those of any other candidate.
    max_negative_ratio
        The negative weights of a state sum to less than this multiple of the positive ones.
    min_cells
        Cell types with fewer cells are left out.
    key_added
        Where results go.
    random_state
        Seed of the refits. What is found in a cell type does not depend on the other types.
    n_jobs
        Threads; None means all. From 50,000 cells, cell types are spread over as many processes if it is a number; with
        a ``dask.distributed`` client, over its workers. That never changes the result.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the changed copy with ``copy=True``. Written are:

    ``.obs["{key_added}_state"]``
        "state_0", "state_1", ... within each cell type, the largest first (category). Missing where a cell has no
        state. :func:`scprograms.tl.train_recovery` takes this column as its ``state_key``.
    ``.uns["{key_added}"]["states"]``
        Table, a row per factor: ``cell_type, state`` (empty if it is none), ``factor, n_cells, n_samples, n_markers,
        negative_ratio, stability, kept``.
    ``.uns["{key_added}"]["cell_types"]``
        Table: ``cell_type, n_cells, n_factors, n_states, n_labelled, note`` (why it has no states; else empty).
    ``.uns["{key_added}"]["sweep"]``
        Table: ``cell_type, n_factors, stability`` (mean over the factors), ``lowest`` (the least stable one's) and
        ``chosen``.
    ``.uns["{key_added}"]["markers"]``
        Table: ``cell_type, state, gene, difference`` in standard deviations, strongest first.
    ``.uns["{key_added}"]["params"]``
        The arguments.

    Raises
    ------
    KeyError
        There is no such column or layer.
    TypeError
        ``adata`` is no AnnData, or an argument has the wrong type.
    ValueError
        An argument is out of range, gene names are not unique, no cell has a cell type, or the matrix cannot be used.

    See Also
    --------
    scprograms.get.discovered_states : the tables.
    scprograms.tl.train_recovery : signatures of the states, to find them in other cells.

    References
    ----------
    .. [1] Luca et al. (2021), Cell 184:5482, https://doi.org/10.1016/j.cell.2021.09.014

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_states(1200, 300, n_cell_types=2, n_markers=40, effect=1.5)
    >>> scp.tl.discover_states(adata, "cell_type", sample_key="sample", n_factors=[2, 3, 4])
    >>> scp.get.discovered_states(adata, of="cell_types")["n_states"].tolist()
    [3, 3]
    """
    check_name("key_added", key_added)
    params: dict[str, Any] = {
        "n_features": check_int("n_features", n_features, at_least=2),
        "n_runs": check_int("n_runs", n_runs, at_least=2),
        "min_stability": check_real("min_stability", min_stability, at_least=-1, at_most=1),
        "min_markers": check_int("min_markers", min_markers, at_least=0),
        "min_difference": check_real("min_difference", min_difference),
        "max_negative_ratio": check_real("max_negative_ratio", max_negative_ratio, at_least=0),
        "min_cells": check_int("min_cells", min_cells, at_least=4),
        "random_state": check_int("random_state", random_state, at_least=0),
    }
    numbers = _check_numbers(n_factors)
    check_adata(adata)
    X = read_matrix(adata, layer=layer)
    warn_about_counts(X, "adata.X" if layer is None else f"adata.layers[{layer!r}]")
    genes = np.array(read_gene_names(adata))
    types = read_labels(adata, cell_type_key)
    samples = np.zeros(adata.n_obs, dtype=np.int64)
    if sample_key is not None:
        samples = read_labels(adata, sample_key).codes
    X = X.tocsr() if hasattr(X, "tocsr") else X

    codes = np.full(adata.n_obs, -1, dtype=np.int64)
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _COLUMNS}
    cells_of = [np.flatnonzero((types.codes == code) & (samples >= 0)) for code in range(len(types.names))]
    tasks = [
        (X[cells], samples[cells], name, numbers, params) for cells, name in zip(cells_of, types.names, strict=True)
    ]
    outcomes = spread(discover_in_type, tasks, n_jobs=n_jobs, worth_processes=adata.n_obs >= _MANY_CELLS)
    for name, cells, (found, sweep, reason) in zip(types.names, cells_of, outcomes, strict=True):
        rows["sweep"] += sweep
        note = reason
        n_states = n_labelled = 0
        if found is not None:
            factors, used = found
            kept = factors.kept(min_markers=min_markers)
            if kept.sum() < 2:
                note = f"{int(kept.sum())} of {len(kept)} factors {'is a state' if kept.sum() == 1 else 'are states'}"
                kept[:] = False
            state = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)[factors.labels]
            codes[cells] = state
            n_states, n_labelled = int(kept.sum()), int((state >= 0).sum())
            _describe(rows, name, factors, kept, samples[cells], genes[used])
        rows["cell_types"].append(
            (name, len(cells), 0 if found is None else len(found[0].order), n_states, n_labelled, note)
        )
    tables = {name: _table(rows[name], columns) for name, columns in _COLUMNS.items()}
    if not tables["states"]["kept"].any():
        reasons = "; ".join(f"{row.cell_type}: {row.note}" for row in tables["cell_types"].head(5).itertuples())
        warn(f"No cell type has states ({reasons}), so no cell is labelled.")
    params |= {"method": METHOD, "cell_type_key": cell_type_key, "n_factors": [int(k) for k in numbers]}
    params |= {} if sample_key is None else {"sample_key": sample_key}
    params |= {} if layer is None else {"layer": layer}
    names = [f"state_{i}" for i in range(int(codes.max(initial=-1)) + 1)]
    adata = adata.copy() if copy else adata
    write_discovery(adata, key_added, Discovery(codes=codes, names=names, tables=tables, params=params))
    return adata if copy else None


def _check_numbers(n_factors: int | Sequence[int] | None) -> list[int]:
    if n_factors is None:
        return list(_DEFAULT_FACTORS)
    if isinstance(n_factors, str | int) or not np.ndim(n_factors):
        return [check_int("n_factors", n_factors, at_least=2)]
    numbers = sorted({check_int("n_factors", k, at_least=2) for k in n_factors})
    if not numbers:
        msg = "n_factors is empty: name at least one number of factors, such as range(2, 9)."
        raise ValueError(msg)
    return numbers


def discover_in_type(
    X: Matrix,
    samples: NDArray,
    name: str,
    numbers: list[int],
    params: dict[str, Any],
    *,
    n_jobs: int | None = None,
) -> tuple[tuple[Factors, NDArray] | None, list[tuple[Any, ...]], str]:
    """Return the factors of a cell type and the genes that entered, rows of the sweep, and why there are no factors."""
    if X.shape[0] < params["min_cells"]:
        return None, [], f"fewer than min_cells={params['min_cells']} cells"
    scaled, used = scaled_genes(X, samples, params["n_features"])
    if len(used) < 2:
        return None, [], "fewer than 2 genes vary within samples"
    parts = posneg(scaled)
    tried: list[tuple[int, Factors]] = []
    for k in (k for k in numbers if 2 * k <= len(scaled)):
        found = consensus_programs(
            parts,
            k,
            method="nmf",
            n_runs=params["n_runs"],
            subsample=_SUBSAMPLE,
            random_state=params["random_state"],
            n_jobs=n_jobs,
        )
        factors = describe_factors(
            scaled,
            found.usages,
            found.model.components_,
            found.runs,
            min_difference=params["min_difference"],
            max_negative_ratio=params["max_negative_ratio"],
        )
        tried.append((k, factors))
    if not tried:
        return None, [], f"too few cells for {numbers[0]} factors"
    mean = np.array([factors.stability.mean() for _, factors in tried])
    stable = np.flatnonzero(mean >= params["min_stability"]) if len(numbers) > 1 else np.zeros(1, dtype=int)
    chosen = int(stable[-1]) if stable.size else -1
    sweep = [
        (name, k, float(mean[i]), float(factors.stability.min()), i == chosen) for i, (k, factors) in enumerate(tried)
    ]
    if chosen < 0:
        top, least = tried[int(mean.argmax())][0], f"min_stability={params['min_stability']:g}"
        return None, sweep, f"stability is at most {mean.max():.3f}, with {top} factors ({least})"
    logger.info("discover_states: %d factors in %s.", tried[chosen][0], name)
    return (tried[chosen][1], used), sweep, ""


def _describe(
    rows: dict[str, list[tuple[Any, ...]]],
    name: str,
    factors: Factors,
    kept: NDArray,
    samples: NDArray,
    genes: NDArray,
) -> None:
    """Add the rows of one cell type to the tables of states and markers."""
    numbers = np.cumsum(kept) - 1
    for j in range(len(kept)):
        inside = factors.labels == j
        state = f"state_{numbers[j]}" if kept[j] else ""
        measures = (int(factors.markers[j].sum()), float(factors.negative_ratio[j]), float(factors.stability[j]))
        sizes = (int(inside.sum()), len(np.unique(samples[inside])))
        rows["states"].append((name, state, int(factors.order[j]), *sizes, *measures, bool(kept[j])))
        if kept[j]:
            markers = np.flatnonzero(factors.markers[j])
            markers = markers[np.argsort(-factors.difference[j, markers], kind="stable")]
            rows["markers"] += [(name, state, genes[g], float(factors.difference[j, g])) for g in markers]


def _table(rows: list[tuple[Any, ...]], columns: dict[str, type]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(columns))
    return table.astype({name: (object if kind is str else kind) for name, kind in columns.items()})
