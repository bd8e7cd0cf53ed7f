"""How far each group of cells is from its control, or from all other cells: sizes, not tests."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scprograms._core.moments import group_moments

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

PSEUDO_SHARE = 0.01
"""Pseudo-count of fold changes, as a share of a column's mean: the scale of usages is arbitrary."""


@dataclass(frozen=True)
class EffectSizes:
    """Effect sizes of G groups on k columns, each G x k unless stated; NaN where there is nothing to compare."""

    effect: Array
    """``difference`` in units of the standard deviation within the two sides, and within strata."""
    difference: Array
    """Mean of the group less that of what it is compared with."""
    auc: Array
    """Chance that a cell of the group has the higher value, ties half."""
    log2_fold_change: Array
    """NaN for columns with negative values."""
    n_cells: Array
    """Cells of each group, G."""
    n_control: Array
    """Cells that each group is compared with, G, in strata that the group is in as well."""


def group_effect_sizes(values: Array, codes: Array, control: int | None, *, strata: Array | None = None) -> EffectSizes:
    """Compare every group of rows with the control group, or with all other rows.

    Within a stratum the two sides are compared directly; strata are put together with the weights ``n1 n0 / (n1 + n0)``
    of least squares with a term for each stratum, so a stratum with one side only says nothing. The standard deviation
    is that of the two sides, pooled within side and stratum: the effect of a group depends on no third group. The AUC
    is the sum of the Mann-Whitney U over the strata, divided by the sum of n1 n0. The fold change is
    ``log2((m1 + c) / (m0 + c))`` of the means with the weights above; c is 1 % of the column's mean over all rows with
    a code.

    Parameters
    ----------
    values
        n_obs x k, real and finite; taken in double precision.
    codes
        Group of each row, 0, 1, ...; -1 leaves a row out.
    control
        Code of the control, or None to compare each group with all other rows that have a code.
    strata
        Stratum of each row, 0, 1, ...; one stratum by default.

    Returns
    -------
    Effect sizes. The control's own row is NaN.

    Raises
    ------
    ValueError
        If shapes do not match, a value is not finite, or the control has no rows.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.perturbation.engine import group_effect_sizes
    >>> values = np.array([[1.0], [2.0], [3.0], [2.0], [3.0], [4.0]])
    >>> found = group_effect_sizes(values, np.array([0, 0, 0, 1, 1, 1]), 0)
    >>> float(found.effect[1, 0]), float(found.auc[1, 0].round(3))
    (1.0, 0.778)
    """
    values, codes = np.asarray(values), np.asarray(codes)
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    levels, strata = np.unique(np.zeros(len(codes), np.int64) if strata is None else strata, return_inverse=True)
    if strata.shape != codes.shape:
        msg = f"strata has shape {strata.shape}, codes {codes.shape}: one stratum per row is needed."
        raise ValueError(msg)
    n_groups, n_strata, k = int(codes.max(initial=-1)) + 1, len(levels), values.shape[1]
    if control is not None and not np.any(codes == control):
        msg = f"control={control} has no rows: codes run from {codes.min(initial=-1)} to {codes.max(initial=-1)}."
        raise ValueError(msg)

    labelled = codes >= 0
    cells = np.where(labelled, codes * n_strata + strata, -1)
    present, compressed = np.unique(cells[labelled], return_inverse=True)
    cells[labelled] = compressed
    moments = group_moments(values, cells, n_groups=len(present))
    # Of every pair of a group and a stratum that has cells, this side and the other.
    group, stratum = np.divmod(present, n_strata)
    n1, d1, s1 = moments.counts.astype(np.float64), moments.deviations, moments.squares
    if control is None:
        n0, d0, s0 = _rest(n1, d1, s1, stratum, n_strata)
    else:
        n0, d0, s0 = _others_of(control, n1, d1, s1, group=group, stratum=stratum, n_strata=n_strata)
        n0[group == control] = 0
    weight = n1 * n0 / np.where(n0 > 0, n1 + n0, 1)
    both = n0 > 0

    def add(x: Array) -> Array:
        total = np.zeros((n_groups, *x.shape[1:]))
        np.add.at(total, group[both], x[both])
        return total

    total = add(weight)[:, None]
    squares, freedom = add(s1 + s0), add(n1 + n0 - 2)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean1, mean0 = add(weight[:, None] * d1) / total, add(weight[:, None] * d0) / total
        difference = add(weight[:, None] * (d1 - d0)) / total
        effect = difference / np.sqrt(squares / freedom)
        effect[squares == 0] = np.nan
        auc = _wins(values, codes, strata, control, n_strata=n_strata) / add(n1 * n0)[:, None]
        overall = moments.center + n1 @ d1 / n1.sum()
        pseudo = PSEUDO_SHARE * overall
        fold = np.log2((moments.center + mean1 + pseudo) / (moments.center + mean0 + pseudo))
    lowest = np.min(values, axis=0, where=labelled[:, None], initial=0) if k else np.zeros(0)
    fold[:, (lowest < 0) | (overall <= 0)] = np.nan
    size = np.bincount(codes[labelled], minlength=n_groups)
    return EffectSizes(effect, difference, auc, fold, size, add(n0).astype(np.int64))


def _others_of(
    control: int,
    n: Array,
    deviations: Array,
    squares: Array,
    *,
    group: Array,
    stratum: Array,
    n_strata: int,
) -> tuple[Array, Array, Array]:
    """Return counts, means and squares of the control in the stratum of each row."""
    row = np.full(n_strata, -1)
    row[stratum[group == control]] = np.flatnonzero(group == control)
    row = row[stratum]
    return np.where(row >= 0, n[row], 0.0), deviations[row], squares[row]


def _rest(n: Array, deviations: Array, squares: Array, stratum: Array, n_strata: int) -> tuple[Array, Array, Array]:
    """Return counts, means and squares of all other cells in the stratum of each row."""
    shape = (n_strata, deviations.shape[1])
    count, sums, within = np.bincount(stratum, n, n_strata), np.zeros(shape), np.zeros(shape)
    np.add.at(sums, stratum, n[:, None] * deviations)
    mean = sums / np.maximum(count, 1)[:, None]
    np.add.at(within, stratum, squares + n[:, None] * (deviations - mean[stratum]) ** 2)
    n0 = count[stratum] - n
    safe = np.maximum(n0, 1)[:, None]
    # Relative to the stratum's mean, so that equal means leave exactly nothing.
    away = n[:, None] * (deviations - mean[stratum])
    d0 = mean[stratum] - away / safe
    s0 = within[stratum] - squares - away**2 / np.maximum(n, 1)[:, None] - away**2 / safe
    alone = (n0 <= 1)[:, None]
    return n0, d0, np.where(alone, 0.0, np.maximum(s0, 0.0))


def _wins(values: Array, codes: Array, strata: Array, control: int | None, *, n_strata: int) -> Array:
    """Return the Mann-Whitney U of every group, summed over the strata."""
    n_groups = int(codes.max(initial=-1)) + 1
    wins = np.zeros((n_groups, values.shape[1]))
    order = np.argsort(np.where(codes >= 0, strata, n_strata), kind="stable")[: int(np.sum(codes >= 0))]
    bounds = np.searchsorted(strata[order], np.arange(n_strata + 1))
    for first, stop in itertools.pairwise(bounds):
        rows = order[first:stop]
        group = codes[rows]
        against = rows if control is None else rows[group == control]
        if not len(against):
            continue
        counts = np.bincount(group, minlength=n_groups)
        for j in range(values.shape[1]):
            column = values[rows, j]
            reference = np.sort(column if control is None else values[against, j])
            # Twice the rank among the reference, ties half: exact in integers.
            levels, inverse = (column, None) if len(reference) < 512 else np.unique(column, return_inverse=True)
            place = np.searchsorted(reference, levels, "left") + np.searchsorted(reference, levels, "right")
            place = place if inverse is None else place[inverse]
            wins[:, j] += np.bincount(group, place, n_groups) / 2
        if control is None:
            wins -= (counts.astype(np.float64) ** 2 / 2)[:, None]  # against itself each group wins half
    if control is not None:
        wins[control] = np.nan
    return wins
