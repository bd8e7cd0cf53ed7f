"""How far the furthest group of replicates lies from the others, and how far it would lie were replicates permuted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_ndtr

from scprograms._core.moments import compiled
from scprograms._core.resampling import SLACK, p_values, sequential_hits

from . import _permutation_kernels as kernels
from ._replicate_model import ReplicateMeans, WeightedFit, sum_by, variance_components, weighted_fit

if TYPE_CHECKING:
    from collections.abc import Callable

    from scprograms._core.matrix import Array

STOP_AFTER = 100
LEAST_VARIANCE = 1e-10  # of a group's mean under permutation, relative to its weight: less is rounding


def furthest_group(data: ReplicateMeans, *, n_permutations: int, key: Array, n_threads: int) -> Array:
    """Return the p-value of the largest standardised deviation of a group, k.

    The deviations of the replicate means from the mean of all are divided by what their standard deviations are up to
    a factor, ``sqrt(ratio + 1 / n_r)``; if groups do not differ they are then exchangeable, but for the shape of their
    distributions. The mean of a group, weighted by the inverse variances, is measured in the standard deviations that
    it has under permutation, and the largest such deviation is compared with the largest ones in permutations (all
    columns share these; a column stops after 100 hits). One odd replicate can therefore not make a group stand out:
    whichever group it falls to is as far away. Where effects of strata were taken out, their uncertainty is added to
    the variance of what was observed.

    Names and order of groups, replicates and cells make no difference: replicates are permuted in the order of their
    deviations, and groups take them in the order of their numbers of cells.
    """
    fit = weighted_fit(data, _expected_ratio(data))
    W, n = fit.group_weights, len(data.counts)
    center = np.sum(W * fit.group_means, axis=0) / W.sum(axis=0)
    roots = np.sqrt(fit.weights)
    scores = (fit.residuals + fit.group_means[data.groups] - center) * roots
    scores -= scores.mean(axis=0)
    size = np.sqrt(np.mean(scores**2, axis=0))
    testable = (data.variance > 0) & (size > 0)
    scores /= np.where(testable, size, 1.0)
    sums = sum_by(roots, data.groups, len(W))
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = W - sums**2 / n
        units = np.where(variance > LEAST_VARIANCE * W, 1 / np.sqrt(variance), 0.0)
    observed = np.abs(sum_by(roots * scores, data.groups, len(W))) * units * _shrinkage(fit)
    limit = observed.max(axis=0) * (1 - SLACK)

    order, groups = _canonical_order(data)
    bounds = np.concatenate([[0], np.cumsum(np.bincount(data.groups)[groups])])
    scores, roots, units = np.sort(scores, axis=0), roots[order], units[groups]

    def reached(active: Array) -> Callable[[int, int], Array]:
        score, root, unit = (np.ascontiguousarray(x[:, active]) for x in (scores, roots, units))

        def hits(first: int, last: int) -> Array:
            out = np.empty((last - first, len(active)))
            _furthest(score, root, unit, bounds, key, first, out)
            return np.asarray(out >= limit[active])

        return hits

    hits, counts = sequential_hits(reached, testable, n_permutations, STOP_AFTER, n_threads)
    return p_values(hits, counts, STOP_AFTER)


def _expected_ratio(data: ReplicateMeans) -> Array:
    """Return the mean of the ratio of the variances given its estimate, all ratios from 0 on being as likely before.

    It is never 0, and well above the estimate only where that is smaller than its standard error: replicates of many
    cells would else deviate by too much wherever the ratio is underestimated.
    """
    parts = variance_components(data)
    error = np.sqrt(parts.ratio_variance)
    z = np.where(parts.ratio > 0, parts.ratio / error, (parts.scale - 1) * np.sqrt(parts.df / 2))
    return np.asarray(error * (z + np.exp(-(z**2) / 2 - log_ndtr(z)) / np.sqrt(2 * np.pi)))


def _shrinkage(fit: WeightedFit) -> Array | float:
    """Return what the standard deviations of the groups' means are without strata, relative to those with them."""
    if not fit.group_shares.shape[1]:
        return 1.0
    W = fit.group_weights
    shares = fit.group_shares - np.einsum("gk,gsk->sk", W, fit.group_shares) / W.sum(axis=0)
    more = np.einsum("gsk,kst,gtk->gk", shares, fit.strata_covariance, shares, optimize=True)
    variance = 1 / W - 1 / W.sum(axis=0)
    return np.asarray(np.sqrt(variance / (variance + more)))


def _canonical_order(data: ReplicateMeans) -> tuple[Array, Array]:
    """Return replicates by group and number of cells, and the groups by the numbers of cells of their replicates."""
    order = np.lexsort((data.counts, data.groups))
    parts = np.split(order, np.cumsum(np.bincount(data.groups))[:-1])
    groups = sorted(range(len(parts)), key=lambda g: data.counts[parts[g]].tolist())
    return np.concatenate([parts[g] for g in groups]), np.array(groups)


@compiled
def _furthest(scores: Array, roots: Array, units: Array, bounds: Array, key: Array, first: int, out: Array) -> None:
    """Fill row b of ``out`` with the largest standardised sum of a group under permutation first + b."""
    n, k = scores.shape
    state, whole = np.empty(4, dtype=np.uint64), np.array([0, n])
    places, total = np.empty(n, dtype=np.int64), np.empty(k)
    for b in range(out.shape[0]):
        for r in range(n):
            places[r] = r
        kernels.shuffle(places, whole, key, first + b, state)
        out[b] = 0
        for g in range(bounds.size - 1):
            total[:] = 0
            for r in range(bounds[g], bounds[g + 1]):
                place = places[r]
                for j in range(k):
                    total[j] += roots[r, j] * scores[place, j]
            for j in range(k):
                out[b, j] = max(out[b, j], abs(total[j]) * units[g, j])
