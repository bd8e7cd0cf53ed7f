"""One-way analysis of variance of many columns at once, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scprograms._core.f_distribution import f_tail
from scprograms._core.moments import GroupMoments, group_moments

if TYPE_CHECKING:
    from scprograms._core.matrix import Array


@dataclass(frozen=True)
class OneWayAnova:
    """Result of a one-way ANOVA: one value per column, and the numbers that all columns share."""

    F: Array
    """The statistic, k."""
    p: Array
    """Its p-value, k."""
    log10_p: Array
    """log10 of p; keeps its digits where p underflows to 0."""
    eta_squared: Array
    """Share of the variance between groups, in the sample."""
    omega_squared: Array
    """The same share, corrected for what chance alone would give."""
    df_between: int
    """Degrees of freedom between groups."""
    df_within: int
    """Degrees of freedom within groups."""
    n_groups: int
    """Groups with cells."""
    n_cells: int
    """Cells that were used."""


def one_way_anova(values: Array, codes: Array) -> OneWayAnova:
    """Test each column for a difference of its mean between groups.

    Equal to ordinary least squares with one categorical factor (type II, and all other types: there is one factor). All
    columns are tested in two passes over the values, in double precision whatever their dtype. A constant column has
    no test: NaN. A column that varies between groups only has F = inf and p = 0. Groups of one cell count: they add
    to the variance between groups, and nothing to that within.

    Parameters
    ----------
    values
        n_obs x k, real and finite.
    codes
        Group of each row, 0, 1, ...; -1 leaves a row out. Codes without rows are no groups.

    Returns
    -------
    F, p, log10(p), effect sizes and degrees of freedom.

    Raises
    ------
    ValueError
        If there are fewer than two groups, if every group has a single row, or if a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.perturbation.engine import one_way_anova
    >>> values = np.array([[1.0], [2.0], [3.0], [4.0], [6.0], [8.0]])
    >>> result = one_way_anova(values, np.array([0, 0, 0, 1, 1, 1]))
    >>> float(result.F[0].round(6)), result.df_between, result.df_within
    (9.6, 1, 4)
    """
    return anova_from_moments(group_moments(values, codes))


def anova_from_moments(moments: GroupMoments) -> OneWayAnova:
    """Compute the ANOVA from the moments within groups.

    Parameters
    ----------
    moments
        From :func:`scprograms._core.moments.group_moments`.

    Returns
    -------
    What :func:`scprograms.perturbation.engine.one_way_anova` returns for the values themselves. Groups without rows
    do not count.

    Raises
    ------
    ValueError
        There are fewer than two groups with rows, or each has a single row.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.perturbation.engine import anova_from_moments
    >>> from scprograms._core.moments import group_moments
    >>> moments = group_moments(np.array([[1.0], [2.0], [3.0], [5.0]]), np.array([0, 0, 1, 1]))
    >>> float(anova_from_moments(moments).F[0])
    5.0
    """
    present = moments.counts > 0
    counts, deviations = moments.counts[present], moments.deviations[present]
    n_cells, n_groups = int(counts.sum()), len(counts)
    if n_groups < 2:
        msg = f"There are {n_groups} groups with rows in them; an analysis of variance needs at least two."
        raise ValueError(msg)
    if n_cells == n_groups:
        msg = f"Each of the {n_groups} groups has a single row: there is no variance within groups to compare with."
        raise ValueError(msg)
    # Relative to the first group, so that equal means leave exactly nothing.
    deviations = deviations - deviations[0]
    deviations -= counts @ deviations / n_cells
    between, within = counts @ deviations**2, moments.squares.sum(axis=0)
    df_between, df_within = n_groups - 1, n_cells - n_groups
    with np.errstate(divide="ignore", invalid="ignore"):
        error = within / df_within
        F = (between / df_between) / error
        total = between + within
        eta_squared = between / total
        omega_squared = (between - df_between * error) / (total + error)
    p, log10_p = f_tail(F, df_between, df_within)
    return OneWayAnova(F, p, log10_p, eta_squared, omega_squared, df_between, df_within, n_groups, n_cells)
