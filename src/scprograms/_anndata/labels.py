"""Labels of cells: levels, the control, colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scprograms._core.validate import check_has_key, check_mask, listing, warn

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Labels:
    """One label per cell: ``codes`` index ``names``; -1 marks a cell without a label."""

    key: str
    codes: np.ndarray
    names: list[str]

    @property
    def labelled(self) -> np.ndarray:
        """Mask of the cells that carry a label."""
        return self.codes >= 0


def read_control_mask(adata: AnnData, control: object) -> np.ndarray:
    """Return the mask of the control cells: ``control`` is a boolean array or ``(obs column, level)``."""
    if isinstance(control, tuple):
        if len(control) != 2:
            msg = f"control={control!r}: pass (obs column, level) or a boolean mask of the control cells."
            raise ValueError(msg)
        groupby, level = control
        labels = read_labels(adata, groupby)
        return labels.codes == check_level(labels, level, name="control")
    if isinstance(control, str) or control is None:
        msg = f"control={control!r}: pass (obs column, level) or a boolean mask of the control cells."
        raise TypeError(msg)
    return check_mask(np.asarray(control), "control", adata.n_obs, "cells")


def read_labels(adata: AnnData, groupby: object) -> Labels:
    """Return the labels of the cells in ``.obs[groupby]``; unused categories are dropped, missing labels counted."""
    check_has_key(adata.obs, groupby, where="adata.obs")
    column = adata.obs[groupby]
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.remove_unused_categories()
        codes, names = column.cat.codes.to_numpy().astype(np.int64), [str(name) for name in column.cat.categories]
    else:
        present = column.notna().to_numpy()
        levels, inverse = np.unique(column[present].astype(str).to_numpy(dtype=str), return_inverse=True)
        codes, names = np.full(adata.n_obs, -1, dtype=np.int64), levels.tolist()
        codes[present] = inverse
    n_missing = int(np.sum(codes < 0))
    if n_missing == adata.n_obs:
        msg = f"adata.obs[{groupby!r}] has no label at all: every value is missing."
        raise ValueError(msg)
    if n_missing:
        warn(f"adata.obs[{groupby!r}] is missing for {n_missing} of {adata.n_obs} cells: they are left out.")
    return Labels(key=str(groupby), codes=codes, names=names)


def check_level(labels: Labels, level: object, *, name: str) -> int:
    """Return the code of ``level`` among the labels."""
    if str(level) not in labels.names:
        msg = f"{name}={level!r} is no level of adata.obs[{labels.key!r}]. There: {listing(labels.names)}."
        raise ValueError(msg)
    return labels.names.index(str(level))


def read_colors(adata: AnnData, labels: Labels) -> dict[str, str] | None:
    """Return the colour of each label from ``.uns[f"{groupby}_colors"]``, or None where none are stored."""
    colors = adata.uns.get(f"{labels.key}_colors")
    column = adata.obs[labels.key]
    if colors is None or not isinstance(column.dtype, pd.CategoricalDtype):
        return None
    categories = [str(name) for name in column.cat.categories]
    return dict(zip(categories, map(str, colors), strict=False)) if len(colors) >= len(categories) else None


_NO_LABEL = {"", "nan", "none", "na", "n/a", "null", "unassigned", "negative", "doublet", "multiplet"}
"""Texts that mostly stand for a missing label; none is dropped, for they may be names (nan is a gene of the fly)."""


def warn_about_labels(labels: Labels) -> None:
    """Warn about labels that read like no label, and about labels that differ in spelling alone."""
    n_cells = np.bincount(labels.codes[labels.labelled], minlength=len(labels.names))
    where = f"adata.obs[{labels.key!r}]"
    empty = [f"{name!r} ({n_cells[i]} cells)" for i, name in enumerate(labels.names) if _bare(name) in _NO_LABEL]
    if empty:
        warn(
            f"{where} has {', '.join(empty)}, which is taken as a group like any other. If it stands for no label, "
            f"make it missing: {where} = {where}.replace(..., None)."
        )
    spelled: dict[str, list[str]] = {}
    for i, name in enumerate(labels.names):
        spelled.setdefault(_bare(name).replace("-", "").replace("_", "").replace(" ", ""), []).append(
            f"{name!r} ({n_cells[i]} cells)"
        )
    for names in spelled.values():
        if len(names) > 1:
            warn(f"{where} has {' and '.join(names)}: groups of their own, although only the spelling differs.")


def _bare(name: str) -> str:
    return name.strip().casefold()
