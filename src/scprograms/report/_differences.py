"""How far each perturbation moves each program from the control cells: a description, not a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scprograms import get

if TYPE_CHECKING:
    from anndata import AnnData

FEWEST_CELLS = 10
"""Groups of fewer cells are listed, but never named as the strongest: their means are mostly noise."""


def differences_to_control(adata: AnnData, groupby: str, control: str, *, key: str) -> pd.DataFrame:
    """Return ``program, group, n_cells, mean, mean_control, difference`` for every program and group but the control.

    ``difference`` is that of the mean usages in units of the standard deviation within the two groups (pooled); NaN
    where there is no spread, or a single cell on each side.
    """
    usages = get.usages(adata, key=key).astype(np.float64)
    groups = get.labels(adata, groupby, control=control)
    grouped = usages.groupby(groups, observed=True)
    n, mean, variance = grouped.size(), grouped.mean(), grouped.var(ddof=1).fillna(0.0)
    level = mean.index[0]
    freedom = n + n[level] - 2
    squares = variance.mul(n - 1, axis=0) + variance.loc[level] * (n[level] - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.sqrt(squares.div(freedom.where(freedom > 0), axis=0))
        difference = (mean - mean.loc[level]) / deviation.where(deviation > 0)
    others = [name for name in mean.index if name != level]
    parts = [
        pd.DataFrame(
            {
                "program": program,
                "group": others,
                "n_cells": n[others].to_numpy(),
                "mean": mean.loc[others, program].to_numpy(),
                "mean_control": mean.loc[level, program],
                "difference": difference.loc[others, program].to_numpy(),
            }
        )
        for program in usages
    ]
    return pd.concat(parts, ignore_index=True)


def strongest(table: pd.DataFrame, *, n_top: int) -> pd.DataFrame:
    """Return the rows of one program with the largest differences of either sign, in groups of enough cells."""
    table = table[(table["n_cells"] >= FEWEST_CELLS) & table["difference"].notna()]
    order = table["difference"].abs().sort_values(ascending=False, kind="stable").index[:n_top]
    return table.loc[order]
