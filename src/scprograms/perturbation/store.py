"""Reading of guide matrices: which cells carry which guides, where a cell may carry several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from scprograms._anndata.matrix import check_adata
from scprograms._core.validate import check_has_key, check_real, check_values, listing, warn

from .engine.carriers import Guides

if TYPE_CHECKING:
    from anndata import AnnData

    from scprograms._core.matrix import AnySparse, Array
GUIDE_NAMES, GUIDE_TARGET = "guide_names", "guide_target"
"""Entries of ``.uns`` that are looked up where the caller names none."""


def read_guides(
    adata: AnnData,
    guide_key: object,
    *,
    names: Sequence[str] | str | None,
    target: Mapping[str, str] | Sequence[str] | str | None,
    threshold: float,
) -> Guides:
    """Return which cells carry which guides, and the targets of the guides, sorted by name.

    A cell carries a guide with at least ``threshold`` counts, or where a boolean matrix says so.
    """
    check_has_key(check_adata(adata).obsm, guide_key, where="adata.obsm")
    threshold = check_real("guide_threshold", threshold, at_least=1e-12)
    where, stored = f"adata.obsm[{guide_key!r}]", adata.obsm[str(guide_key)]
    columns = [str(name) for name in stored.columns] if isinstance(stored, pd.DataFrame) else None
    matrix: Array | AnySparse = stored.to_numpy() if isinstance(stored, pd.DataFrame) else stored
    if not sparse.issparse(matrix) and not isinstance(matrix, np.ndarray):
        msg = f"{where} is a {type(matrix).__name__}; a numpy array, a scipy matrix or a DataFrame is needed."
        raise TypeError(msg)
    check_values(matrix, where)
    is_mask = matrix.dtype == bool
    # Duplicate entries of a sparse matrix add up before the comparison.
    counts: sparse.csc_array = sparse.csc_array(matrix, dtype=np.float64)
    counts.sum_duplicates()
    counts.data = counts.data >= (0.5 if is_mask else threshold)
    counts = counts.astype(bool)
    counts.eliminate_zeros()
    if counts.nnz == 0:
        msg = f"No cell carries a guide with guide_threshold={threshold:g} in {where}: the largest is {matrix.max():g}."
        raise ValueError(msg)
    guides = _names(adata, names, columns, n_guides=counts.shape[1], where=where)
    codes, targets = _targets(adata, target, guides, where=where)
    return Guides(str(guide_key), counts, guides, codes, targets)


def _names(
    adata: AnnData, names: Sequence[str] | str | None, columns: list[str] | None, *, n_guides: int, where: str
) -> list[str]:
    if names is None and columns is not None:
        return _unique(columns, f"the columns of {where}")
    source: Any = GUIDE_NAMES if names is None else names
    if isinstance(source, str):
        hint = "Pass the names of the guides as guide_names=, in the order of the columns."
        check_has_key(adata.uns, source, where="adata.uns", hint=hint)
        source, label = adata.uns[source], f"adata.uns[{source!r}]"
    else:
        label = "guide_names"
    found = [str(name) for name in source]
    if len(found) != n_guides:
        msg = f"{label} has {len(found)} names, but {where} has {n_guides} guides: one name per column is needed."
        raise ValueError(msg)
    return _unique(found, label)


def _unique(names: list[str], label: str) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        msg = f"{label} has duplicates ({listing(twice, at_most=5)}): guide names must be unique."
        raise ValueError(msg)
    return names


def _targets(
    adata: AnnData, target: Mapping[str, str] | Sequence[str] | str | None, guides: list[str], *, where: str
) -> tuple[np.ndarray, list[str]]:
    source: Any = GUIDE_TARGET if target is None else target
    label = "guide_target"
    if isinstance(source, str):
        hint = "Pass what each guide targets as guide_target=, a mapping from guide to target."
        check_has_key(adata.uns, source, where="adata.uns", hint=hint)
        source, label = adata.uns[source], f"adata.uns[{source!r}]"
    if isinstance(source, Mapping):
        found: list[Any] = [source.get(name) for name in guides]
        if all(value is None for value in found):
            msg = f"{label} knows none of the guides of {where}, such as {listing(guides, at_most=3)}."
            raise ValueError(msg)
    else:
        found = list(source)
        if len(found) != len(guides):
            msg = f"{label} has {len(found)} entries, but {where} has {len(guides)} guides: pass one per column."
            raise ValueError(msg)
    texts: list[str | None] = [None if value is None or pd.isna(value) else str(value) for value in found]
    if n_missing := sum(text is None for text in texts):
        warn(f"{n_missing} of {len(guides)} guides of {where} have no target: they only count among the other guides.")
    levels = sorted({text for text in texts if text is not None})
    return np.array([-1 if text is None else levels.index(text) for text in texts]), levels
