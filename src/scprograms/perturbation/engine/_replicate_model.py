"""Weighted two-component model of replicate means: what the tests on replicates share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from scipy.special import chdtri

from scprograms._core.moments import group_moments

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

TOLERANCE = 1e-13
ROUNDING = 1e-12
"""Of the sums of squares."""
MAX_ITERATIONS = 200
ROWS_PER_BLOCK = 16384
LEAST_SHARE = 1e-12  # of the variance of the replicate means: stands for a variance within replicates of zero


@dataclass(frozen=True)
class ReplicateMeans:
    """Replicates of one screen, R of them, and the moments of k columns within replicates (and strata)."""

    groups: Array
    """Group of each replicate, R; groups are 0 ... G-1."""
    counts: Array
    """Cells of each replicate, R."""
    means: Array
    """R x k, relative to some value of each column."""
    shares: Array
    """Share of a replicate's cells in each stratum, R x S."""
    information: Array
    """Information on the strata within replicates, S x S, times the variance within."""
    score: Array
    """What the cells within replicates say of the strata, S x k."""
    variance: Array
    """Variance of the cells within replicates (and strata), k."""
    squares: Array
    """Sums of squared deviations within the replicates of a group in a stratum, S x G x k; divisors, S x G x 1."""
    n_squares: Array
    cubes: Array
    """The same of cubed deviations in all strata together: G x k, and G x 1."""
    n_cubes: Array
    blocks: Array
    """Connected block of each group, G: groups that share no stratum, directly or through others, lie apart."""


def replicate_means(values: Array, groups: Array, replicates: Array, strata: Array | None) -> ReplicateMeans:
    """Reduce cells to replicates; all codes count from 0 and none is empty or -1."""
    n_replicates = int(replicates.max()) + 1
    strata = np.zeros_like(replicates) if strata is None else strata
    n_strata = int(strata.max()) + 1
    pairs, cells = np.unique(replicates * n_strata + strata, return_inverse=True)
    of, stratum = pairs // n_strata, pairs % n_strata
    moments = group_moments(values, cells)
    n, y = moments.counts, moments.deviations

    table = np.zeros((n_replicates, n_strata))
    table[of, stratum] = n
    counts = table.sum(axis=1)
    means = np.zeros((n_replicates, y.shape[1]))
    np.add.at(means, of, n[:, None] * y)
    means /= counts[:, None]
    score = np.zeros((n_strata, y.shape[1]))
    np.add.at(score, stratum, n[:, None] * (y - means[of]))
    shares = table / counts[:, None]
    group_of = np.zeros(n_replicates, dtype=np.int64)
    group_of[replicates] = groups
    n_groups, g = int(groups.max()) + 1, group_of[of]
    place, shape = stratum * n_groups + g, (n_strata, n_groups)
    squares = sum_by(moments.squares, place, n_strata * n_groups).reshape(*shape, -1)
    n_squares = np.bincount(place, n - 1.0, n_strata * n_groups).reshape(*shape, 1)

    spread = np.sum((means - means.mean(axis=0)) ** 2, axis=0) / max(n_replicates - 1, 1)
    within = squares.sum(axis=(0, 1)) / max(n_squares.sum(), 1.0)
    return ReplicateMeans(
        groups=group_of,
        counts=counts,
        means=means,
        shares=shares,
        information=np.diag(table.sum(axis=0)) - table.T @ shares,
        score=score,
        variance=np.maximum(within, LEAST_SHARE * spread),
        squares=squares,
        n_squares=n_squares,
        cubes=_sums_of_cubes(values, groups, cells, moments.center + y),
        n_cubes=np.bincount(g, (n - 1) * (n - 2) / n, n_groups)[:, None],
        blocks=_blocks(groups, strata),
    )


def _sums_of_cubes(values: Array, groups: Array, cells: Array, means: Array) -> Array:
    total = np.zeros((int(groups.max()) + 1, values.shape[1]))
    for start in range(0, len(cells), ROWS_PER_BLOCK):
        rows = slice(start, start + ROWS_PER_BLOCK)
        deviations = values[rows] - means[cells[rows]]
        ones, n = np.ones(len(deviations)), len(deviations)
        total += csr_array((ones, (groups[rows], np.arange(n))), shape=(len(total), n)) @ deviations**3
    return total


def _blocks(groups: Array, strata: Array) -> Array:
    n_groups, n_strata = int(groups.max()) + 1, int(strata.max()) + 1
    n = n_groups + n_strata
    graph = coo_array((np.ones(len(groups), dtype=np.int8), (groups, n_groups + strata)), shape=(n, n))
    return connected_components(graph.tocsr(), directed=False)[1][:n_groups]


@dataclass(frozen=True)
class WeightedFit:
    """Weighted least squares at one ratio of the variances per column; variances are in units of that within."""

    weights: Array
    """1 / (ratio + 1 / cells), R x k."""
    group_weights: Array
    """Sums of the weights in each group, G x k."""
    group_means: Array
    """Weighted means in each group, strata taken out, G x k."""
    group_shares: Array
    """Weighted mean of the shares of the strata, G x S x k; S = 0 where there is one stratum."""
    strata_covariance: Array
    """Covariance of the effects of the strata, k x S x S."""
    residuals: Array
    """R x k."""
    chi2: Array
    """Weighted sum of squares between replicates within groups, k."""
    df: Array
    """What it is on average at the true ratio: replicates - groups, less what the strata take, k."""


def weighted_fit(data: ReplicateMeans, ratio: Array) -> WeightedFit:
    """Fit groups and strata, replicates weighted by 1 / (ratio + 1 / cells).

    A stratum's effect is estimated twice, within replicates (which no effect of a replicate touches, so these
    equations are the same at every ratio) and between them; the two are uncorrelated, and their information adds up.
    """
    groups, n_groups = data.groups, int(data.groups.max()) + 1
    w = 1 / (ratio + 1 / data.counts[:, None])
    k = w.shape[1]
    group_weights = sum_by(w, groups, n_groups)
    group_means = sum_by(w * data.means, groups, n_groups) / group_weights
    residuals = data.means - group_means[groups]
    df = np.full(k, float(len(groups) - n_groups))
    S = data.shares.shape[1]
    if S == 1:
        group_shares = np.zeros((n_groups, 0, k))
        covariance: Array = np.zeros((k, 0, 0))
    else:
        sums = csr_array((np.ones(len(groups)), (groups, np.arange(len(groups)))), shape=(n_groups, len(groups)))
        group_shares = np.empty((n_groups, S, k))
        between, score = np.empty((k, S, S)), data.score.T.copy()
        for j in range(k):  # the weights differ between columns
            group_shares[:, :, j] = (sums @ (w[:, [j]] * data.shares)) / group_weights[:, [j]]
            centered = data.shares - group_shares[groups, :, j]
            weighted = w[:, [j]] * centered
            between[j] = weighted.T @ centered
            score[j] += weighted.T @ residuals[:, j]
        between = (between + between.transpose(0, 2, 1)) / 2
        covariance = np.linalg.pinv(data.information + between, rcond=1e-10, hermitian=True)
        effects = np.einsum("kst,kt->sk", covariance, score)
        of_strata = np.einsum("gsk,sk->gk", group_shares, effects)
        residuals = residuals - data.shares @ effects + of_strata[groups]
        group_means = group_means - of_strata
        df = df - np.einsum("kst,kst->k", covariance, between)
    chi2 = np.sum(w * residuals**2, axis=0)
    return WeightedFit(w, group_weights, group_means, group_shares, covariance, residuals, chi2, df)


def sum_by(values: Array, groups: Array, n_groups: int) -> Array:
    """Sum rows within groups."""
    total = np.zeros((n_groups, values.shape[1]))
    np.add.at(total, groups, values)
    return total


@dataclass(frozen=True)
class Components:
    """The two variances of each column, k."""

    ratio: Array
    """Variance between replicates over that within."""
    scale: Array
    """1, or less where replicates differ by less than their cells let expect."""
    df: Array
    """Degrees of freedom of the replicates."""
    ratio_variance: Array
    """Sampling variance of the ratio."""


def variance_components(data: ReplicateMeans) -> Components:
    """Estimate the ratio of the variances by weighted moments, solved for by Newton's method.

    The weighted sum of squares falls with the ratio and is convex, so Newton's steps from 0 rise to the root.
    """
    variance = np.where(data.variance > 0, data.variance, 1.0)
    ratio = np.zeros_like(variance)
    fit = weighted_fit(data, ratio)
    scale = np.clip(fit.chi2 / variance / fit.df, least_scale(fit.df), 1.0)
    open_ = np.flatnonzero(fit.chi2 > variance * fit.df)
    for _ in range(MAX_ITERATIONS):
        if not len(open_):
            break
        part = replace(data, means=data.means[:, open_], score=data.score[:, open_])
        fit = weighted_fit(part, ratio[open_])
        excess = fit.chi2 / variance[open_] - fit.df
        slope = np.sum((fit.weights * fit.residuals) ** 2, axis=0) / variance[open_]
        step = excess / slope
        ratio[open_] = np.maximum(ratio[open_] + step, 0.0)
        # A step below the rounding of the sums says nothing, however small the ratio itself is.
        moved = np.abs(step) > np.maximum(TOLERANCE * ratio[open_], ROUNDING * fit.df / slope)
        open_ = open_[moved]
    fit = weighted_fit(data, ratio)
    return Components(ratio, scale, fit.df, 2 * fit.df / _total_weight(data, fit) ** 2)


def least_scale(df: Array) -> Array:
    """Return the 1 % quantile of chi2 / df: replicates alike beyond that are alike because usages are discrete."""
    return chdtri(df, 0.99) / df


def _total_weight(data: ReplicateMeans, fit: WeightedFit) -> Array:
    """Return the mean of minus the derivative of the sum of squares: weights times (1 - leverage), summed."""
    squares = sum_by(fit.weights**2, data.groups, len(fit.group_weights))
    return np.asarray(fit.weights.sum(axis=0) - (squares / fit.group_weights).sum(axis=0))
