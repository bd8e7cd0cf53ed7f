"""``pp.pseudobulk``: counts summed over the cells of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scprograms._anndata.categories import categorical
from scprograms._anndata.labels import read_labels
from scprograms._anndata.matrix import check_adata, read_matrix
from scprograms._anndata.obs import read_names
from scprograms._core.validate import check_choice, check_int, check_real, listing, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from scprograms._core.matrix import Matrix

_ENTRIES_PER_CHUNK = 2**24


def pseudobulk(
    adata: AnnData,
    groupby: str | Sequence[str],
    *,
    layer: str | None = None,
    min_cells: int = 10,
    cpm: bool = True,
    cap_percentile: float | None = None,
    chunk_size: int | None = None,
) -> AnnData:
    """Sum counts over the cells of each group, and scale the sums to counts per million.

    Sums are those of ``scanpy.get.aggregate``, a chunk of features at a time: its sums are dense, and a million
    features of 402 groups would take 3 GB.

    Parameters
    ----------
    adata
        Cells x features, with counts.
    groupby
        Column of ``.obs``, or several: a group is a combination of their levels that occurs, such as a subtype in a
        region. Cells without a label are left out.
    layer
        Layer with the counts; None means ``.X``. ``.raw`` is never read.
    min_cells
        Groups of fewer cells are left out, which a warning says.
    cpm
        Whether to scale every group to a million counts.
    cap_percentile
        Lower all values above this percentile of all values, zeros included, to it: 99.99 keeps a few extreme features
        from taking a module of their own. None caps nothing.
    chunk_size
        Features that are summed at a time; by default as many as make 128 MiB of sums. It does not change the result.

    Returns
    -------
    Groups x features:

    ``.X``
        Counts per million (or counts), CSR, float32.
    ``.layers["counts"]``
        The sums.
    ``.obs``
        The columns of ``groupby``, ``n_cells`` and ``n_counts``. Names are the levels, joined by "_".
    ``.var``
        That of ``adata``.
    ``.uns["pseudobulk"]``
        The arguments, and ``cap``, the value at the percentile.

    Raises
    ------
    TypeError
        If ``adata`` is no AnnData or is backed, the matrix is no numpy array or scipy matrix of real numbers, or an
        argument has the wrong type.
    ValueError
        If the matrix is empty, has negative, NaN or infinite values or no signal, no group has enough cells, or an
        argument is out of range.
    KeyError
        If a column or the layer does not exist.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6)
    >>> bulk = scp.pp.pseudobulk(adata, ["cell_type", "batch"])
    >>> bulk.shape, list(bulk.obs)
    ((12, 200), ['cell_type', 'batch', 'n_cells', 'n_counts'])
    """
    check_adata(adata)
    names = read_names("groupby", groupby)
    if not names:
        msg = "groupby names no column of adata.obs: name one or more, such as ['subtype', 'region']."
        raise ValueError(msg)
    min_cells = check_int("min_cells", min_cells, at_least=1)
    check_choice("cpm", cpm, (True, False))
    if cap_percentile is not None:
        cap_percentile = check_real("cap_percentile", cap_percentile, at_least=0, at_most=100)
    if chunk_size is not None:
        chunk_size = check_int("chunk_size", chunk_size, at_least=1)
    obs, group = _groups(adata, names, min_cells)
    matrix = read_matrix(adata, layer=layer)
    _check_counts(matrix, "adata.X" if layer is None else f"adata.layers[{layer!r}]")

    counts = _sums(matrix, group, len(obs), chunk_size or max(1, _ENTRIES_PER_CHUNK // len(obs)))
    depth = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    obs["n_counts"] = depth
    if n_empty := int((depth == 0).sum()):
        which = listing(obs.index[depth == 0], at_most=5)
        warn(
            f"{n_empty} of {len(obs)} groups have no counts at all ({which}): no module can be theirs. "
            "Leave them out with adata[adata.obs['n_counts'] > 0]."
        )
    values, cap = counts, None
    if cpm:
        values = counts.copy()
        factors = 1e6 / np.where(depth > 0, depth, 1)
        values.data = (values.data * np.repeat(factors, np.diff(values.indptr))).astype(np.float32)
    if cap_percentile is not None:
        cap = _percentile(values, cap_percentile)
        if cap == 0:
            msg = (
                f"cap_percentile={cap_percentile:g} lies among the zeros ({1 - values.nnz / np.prod(values.shape):.0%} "
                "of all values): nothing would be left. Pass a higher one, such as 99.99."
            )
            raise ValueError(msg)
        values = values.copy()
        np.minimum(values.data, np.float32(cap), out=values.data)
    params = {
        "groupby": names,
        "layer": layer,
        "min_cells": min_cells,
        "cpm": bool(cpm),
        "cap_percentile": cap_percentile,
        "cap": cap,
    }
    kept = {name: value for name, value in params.items() if value is not None}
    return AnnData(values, obs=obs, var=adata.var.copy(), layers={"counts": counts}, uns={"pseudobulk": kept})


def _groups(adata: AnnData, names: list[str], min_cells: int) -> tuple[pd.DataFrame, NDArray]:
    """Return a row per group that has enough cells, and the group of each cell; -1 where it is in none."""
    if taken := [name for name in names if name in ("n_cells", "n_counts")]:
        msg = f"groupby={taken[0]!r}: the result has a column of that name; rename yours."
        raise ValueError(msg)
    labels = [read_labels(adata, name) for name in names]
    known = np.all([each.labelled for each in labels], axis=0)
    if not known.any():
        msg = f"No cell has a label in every column of groupby ({listing(names)})."
        raise ValueError(msg)
    levels, first = np.unique(np.stack([each.codes[known] for each in labels]), axis=1, return_inverse=True)
    first = first.ravel()
    n_cells = np.bincount(first, minlength=levels.shape[1])
    enough = n_cells >= min_cells
    joined = ["_".join(each.names[code] for each, code in zip(labels, column, strict=True)) for column in levels.T]
    if not enough.any():
        msg = (
            f"min_cells={min_cells}: none of the {len(enough)} groups has so many cells, the largest has "
            f"{n_cells.max()}. Lower it, or group by fewer columns."
        )
        raise ValueError(msg)
    if not enough.all():
        small = [name for name, good in zip(joined, enough, strict=True) if not good]
        warn(
            f"{len(small)} of {len(enough)} groups have fewer than min_cells={min_cells} cells and are left out: "
            f"{listing(small, at_most=5)}."
        )
    group = np.full(adata.n_obs, -1, dtype=np.int64)
    group[known] = np.where(enough, np.cumsum(enough) - 1, -1)[first]
    obs = pd.DataFrame(
        {
            each.key: categorical(codes[enough], each.names).remove_unused_categories()
            for each, codes in zip(labels, levels, strict=True)
        },
        index=pd.Index(_unique([name for name, good in zip(joined, enough, strict=True) if good])),
    )
    obs["n_cells"] = n_cells[enough]
    return obs, group


def _unique(names: list[str]) -> list[str]:
    """Return the names with a number where levels of two columns happen to join to the same one."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, -1) + 1
        found.append(name if seen[name] == 0 else f"{name}-{seen[name]}")
    return found


def _check_counts(matrix: Matrix, where: str) -> None:
    values = matrix.data if sparse.issparse(matrix) else matrix
    if (low := values.min(initial=0)) < 0:
        msg = f"{where} has {int((values < 0).sum())} negative values, the lowest is {low:g}: sums need counts."
        raise ValueError(msg)
    some = values.ravel()[:: max(1, values.size // 1_000_000)]
    if values.dtype.kind == "f" and not np.array_equal(some, np.round(some)):
        warn(
            f"{where} holds numbers that are not whole: sums of normalised or log-transformed values are no "
            "pseudo-bulk. Name the layer with the counts."
        )


def _sums(matrix: Matrix, group: NDArray, n_groups: int, chunk_size: int) -> sparse.csr_matrix:
    """Return the sums of each group, groups x features."""
    import scanpy as sc

    used = np.flatnonzero(group >= 0)
    matrix = matrix if len(used) == len(group) else matrix[used]
    by = categorical(group[used], [str(g) for g in range(n_groups)])
    obs = pd.DataFrame({"group": by}, index=[str(i) for i in range(len(used))])
    chunks = []
    for start in range(0, matrix.shape[1], chunk_size):
        block = matrix[:, start : start + chunk_size]
        if sparse.issparse(block):  # scanpy 1.11 sums matrices, not sparse arrays
            block = sparse.csr_matrix(block) if block.format == "csr" else sparse.csc_matrix(block)
        part = AnnData(block, obs=obs)
        sums = sc.get.aggregate(part, by="group", func="sum").layers["sum"]
        chunks.append(sparse.csr_matrix(sums, dtype=np.float32))
    return sparse.csr_matrix(chunks[0] if len(chunks) == 1 else sparse.hstack(chunks, format="csr"))


def _percentile(values: sparse.csr_matrix, percentile: float) -> float:
    """Return the percentile of all values, zeros included, without making them dense (linear interpolation)."""
    n = int(np.prod(values.shape, dtype=np.int64))
    place = percentile / 100 * (n - 1) - (n - values.nnz)  # among the values above zero
    low = int(np.floor(place))
    wanted = [i for i in (low, low + 1) if 0 <= i < values.nnz]
    found = dict(zip(wanted, np.partition(values.data, wanted)[wanted], strict=True)) if wanted else {}
    lower = float(found.get(low, 0.0))
    upper = float(found.get(low + 1, lower))
    return lower + (place - low) * (upper - lower)
