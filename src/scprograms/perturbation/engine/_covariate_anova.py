"""Analysis of variance of one factor beside covariates, on values or on their ranks, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms._core.f_distribution import f_tail
from scprograms._core.moments import group_moments

from ._anova import OneWayAnova, one_way_anova

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

COLUMNS_PER_BLOCK = 32
RANK_TOLERANCE = 1e-10
"""Share of a unit direction below which it counts as lying in the span of the others."""
NOTHING_LEFT = 1e-12
"""Share of a column, in standard deviations, below which what the covariates leave of it is rounding."""
NOTHING_WITHIN = 1e-13
"""Share of a sum of squares below which what factor and covariates leave of it is rounding."""


def covariate_anova(values: Array, codes: Array, covariates: Array) -> OneWayAnova:
    """Test each column for a difference between groups beyond what covariates explain.

    The type II test of the factor in the linear model ``value ~ group + covariates``. Neither the indicators of the
    groups nor their cross products are formed. With e the residuals of the covariates alone, and Q an orthonormal basis
    of the covariates less their means within groups, the sum of squares of the factor is
    ``sum_g n_g mean_g(e)^2 + |Q' e|^2``: no difference of large numbers, however many cells and groups there are.

    Parameters
    ----------
    values
        n_obs x k, real and finite.
    codes
        Group of each row, 0, 1, ...; -1 leaves a row out. Codes without rows are no groups.
    covariates
        n_obs x c, finite, without an intercept: a column per number, and one per level but one of a category. Columns
        may depend on each other; those that are constant change nothing.

    Returns
    -------
    F, p, log10(p), effect sizes and degrees of freedom. The effect sizes are partial: shares of the variance that the
    covariates leave. A column that the covariates explain altogether has no test: NaN.

    Raises
    ------
    ValueError
        If the effect of the groups cannot be told from that of the covariates, there are fewer than two groups, no
        degrees of freedom are left, or a value or covariate is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.perturbation.engine import covariate_anova
    >>> depth = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]])
    >>> values = 2 * depth + np.array([[0.1], [-0.1], [0.1], [1.1], [0.9], [1.1]])
    >>> result = covariate_anova(values, np.array([0, 0, 0, 1, 1, 1]), depth)
    >>> float(result.F[0].round(3)), result.df_between, result.df_within
    (19.286, 1, 3)
    """
    values, codes, covariates = _rows_in_groups(values, codes, covariates)
    overall = _basis(_centred(covariates))
    if overall.shape[1] == 0:
        return one_way_anova(values, codes)
    inside = _basis(_within_groups(overall, codes))
    if inside.shape[1] < overall.shape[1]:
        columns = np.flatnonzero(aliased_columns(codes, covariates)).tolist()
        msg = (
            f"The effect of the groups is not estimable beside the covariates: combinations of column(s) {columns} are "
            "constant within every group. Leave these covariates out."
        )
        raise ValueError(msg)
    return _test(values, codes, overall, inside)


def rank_anova(values: Array, codes: Array, covariates: Array | None = None) -> OneWayAnova:
    """Test each column for a difference between groups on ranks, beside the ranks of covariates.

    Every column is replaced by its ranks, ties by their mean rank, and tested by :func:`covariate_anova`. Covariates
    are ranked as well, so neither the unit nor the scale of a sequencing depth matters; ranking an indicator changes
    nothing. Without covariates the test is that of Kruskal and Wallis, with F in place of chi-squared.

    Parameters
    ----------
    values
        n_obs x k, real and finite.
    codes
        Group of each row, 0, 1, ...; -1 leaves a row out, also of the ranks.
    covariates
        n_obs x c, finite, without an intercept; None for none.

    Returns
    -------
    F, p, log10(p), effect sizes (of ranks) and degrees of freedom.

    Raises
    ------
    ValueError
        As :func:`covariate_anova`.

    References
    ----------
    Conover and Iman (1981), The American Statistician 35, 124-129, https://doi.org/10.1080/00031305.1981.10479327

    Conover and Iman (1982), Biometrics 38, 715-724, https://doi.org/10.2307/2530051

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.perturbation.engine import rank_anova
    >>> values = np.array([[0.0], [0.0], [1.0], [1.5], [2.0], [90.0]])
    >>> result = rank_anova(values, np.array([0, 0, 0, 1, 1, 1]))
    >>> float(result.F[0].round(3))
    15.429
    """
    if covariates is None:
        covariates = np.zeros((len(values), 0))
    values, codes, covariates = _rows_in_groups(values, codes, covariates)
    return covariate_anova(_ranks(values), codes, _ranks(covariates))


def aliased_columns(codes: Array, covariates: Array) -> Array:
    """Return which covariates, alone or together with others, vary between groups only.

    Parameters
    ----------
    codes
        Group of each row; -1 leaves a row out.
    covariates
        n_obs x c, finite.

    Returns
    -------
    Mask of the c columns that take part in a combination which varies, but not within any group. Beside these the
    effect of the groups is not estimable.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.perturbation.engine import aliased_columns
    >>> batch = np.array([[0.0], [0.0], [1.0], [1.0]])
    >>> aliased_columns(np.array([0, 0, 1, 1]), batch), aliased_columns(np.array([0, 1, 0, 1]), batch)
    (array([ True]), array([False]))
    """
    covariates = np.asarray(covariates, dtype=np.float64)[codes >= 0]
    codes = codes[codes >= 0]
    columns = _centred(covariates)
    overall = _basis(columns)
    _, singular, right = np.linalg.svd(_within_groups(overall, codes), full_matrices=False)
    constant = overall @ right[singular <= RANK_TOLERANCE].T
    weights = np.linalg.pinv(columns, rcond=RANK_TOLERANCE) @ constant
    return np.asarray((np.abs(weights) > 1e-6 * np.abs(weights).max(initial=0)).any(axis=1))


def _rows_in_groups(values: Array, codes: Array, covariates: Array) -> tuple[Array, Array, Array]:
    values, codes = np.asarray(values), np.asarray(codes)
    covariates = np.asarray(covariates, dtype=np.float64)
    if values.ndim != 2 or covariates.ndim != 2 or not len(values) == len(codes) == len(covariates):
        msg = (
            f"values, codes and covariates have shapes {values.shape}, {codes.shape} and {covariates.shape}: matrices "
            "with a row, and one integer code, per cell are needed."
        )
        raise ValueError(msg)
    kept = codes >= 0
    if not kept.all():
        values, codes, covariates = values[kept], codes[kept], covariates[kept]
    if not np.isfinite(covariates).all():
        columns = np.flatnonzero(~np.isfinite(covariates).all(axis=0)).tolist()
        msg = f"covariates has NaN or infinite entries in column(s) {columns}: leave these rows out with code -1."
        raise ValueError(msg)
    return values, codes, covariates


def _within_groups(columns: Array, codes: Array) -> Array:
    moments = group_moments(columns, codes)
    return columns - moments.means[codes]


def _centred(covariates: Array) -> Array:
    """Return the covariates less their means, at unit length; 0 where a column is constant but for rounding."""
    if not len(covariates):
        return covariates
    columns = covariates - covariates.mean(axis=0)
    norms = np.linalg.norm(columns, axis=0)
    varies = norms > 1e-12 * np.linalg.norm(covariates, axis=0)
    return np.asarray(np.where(varies, columns, 0.0) / np.where(varies, norms, 1.0))


def _basis(columns: Array) -> Array:
    """Return an orthonormal basis of the span of columns that are not longer than 1."""
    if columns.size == 0:
        return columns[:, :0]
    Q, R = np.linalg.qr(columns)
    left, singular, _ = np.linalg.svd(R, full_matrices=False)
    return np.asarray(Q @ left[:, singular > RANK_TOLERANCE])


def _test(values: Array, codes: Array, overall: Array, inside: Array) -> OneWayAnova:
    n_cells, n_groups = len(codes), len(np.unique(codes))
    df_between, df_within = n_groups - 1, n_cells - n_groups - inside.shape[1]
    if n_groups < 2:
        msg = f"There are {n_groups} groups with rows in them; an analysis of variance needs at least two."
        raise ValueError(msg)
    if df_within < 1:
        msg = (
            f"{n_cells} rows are too few for {n_groups} groups and {inside.shape[1]} covariates: no degrees of freedom "
            "are left to estimate the variance within groups."
        )
        raise ValueError(msg)
    blocks = [
        _sums_of_squares(values[:, start : start + COLUMNS_PER_BLOCK], codes, overall, inside)
        for start in range(0, values.shape[1], COLUMNS_PER_BLOCK)
    ]
    between, within = np.concatenate(blocks, axis=1) if blocks else np.zeros((2, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        error = within / df_within
        F = (between / df_between) / error
        left = between + within
        eta_squared = between / left
        omega_squared = (between - df_between * error) / (left + error)
    p, log10_p = f_tail(F, df_between, df_within)
    return OneWayAnova(F, p, log10_p, eta_squared, omega_squared, df_between, df_within, n_groups, n_cells)


def _sums_of_squares(values: Array, codes: Array, overall: Array, inside: Array) -> Array:
    """Return the sums of squares of the groups beside the covariates, and of what both leave; 2 x k."""
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        msg = "values has NaN or infinite entries: remove or replace them."
        raise ValueError(msg)
    values -= values[0]  # so that a constant column is exactly 0
    values -= values.mean(axis=0)
    scale = np.linalg.norm(values, axis=0)
    values -= overall @ (overall.T @ values)
    # Once more: the first projection leaves rounding of the order of what it took away.
    values -= overall @ (overall.T @ values)
    values[:, np.linalg.norm(values, axis=0) <= NOTHING_LEFT * scale] = 0
    moments = group_moments(values, codes)
    moved = np.sum((inside.T @ values) ** 2, axis=0)
    squares = moments.squares.sum(axis=0)
    between = moments.counts @ moments.means**2 + moved
    within = squares - moved
    within[within <= NOTHING_WITHIN * (between + squares)] = 0
    return np.stack([between, within])


def _ranks(columns: Array) -> Array:
    """Return the rank of each value in its column, 1, 2, ...; ties get the mean of theirs."""
    ranks = np.empty(columns.shape)
    for j in range(columns.shape[1]):
        ranks[:, j] = _ranks_of_one(np.ascontiguousarray(columns[:, j]))
    return ranks


def _ranks_of_one(column: Array) -> Array:
    # Most usages are 0: the smallest value is ranked at once, and only the others are sorted.
    if not np.isfinite(column).all():
        msg = "values has NaN or infinite entries: remove or replace them."
        raise ValueError(msg)
    least = column == column.min(initial=np.inf)
    n_least = int(least.sum())
    ranks = np.full(len(column), (n_least + 1) / 2)
    others = column[~least]
    order = np.argsort(others)
    ordered = others[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(ordered) else order
    counts = np.diff(np.append(first, len(ordered)))
    ranked = np.empty(len(ordered))
    ranked[order] = np.repeat(n_least + first + (counts + 1) / 2, counts)
    ranks[~least] = ranked
    return ranks
