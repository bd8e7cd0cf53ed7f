"""The group furthest from the others, beside the F of all groups, in permutation tests of cells."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc, gammainccinv
from scipy.stats import rankdata

from scprograms._core.resampling import SLACK

from ._combination import share_of_furthest
from ._permutation_design import Cells, deviations, moments_of

FIRST_PILOT = 2**40  # the pilot's permutations are none of those that are counted
N_PILOT = 100
LEAST_P = 1e-300


def centred_ranks(values: np.ndarray, cells: Cells) -> tuple[NDArray, NDArray]:
    """Return ranks, and the reciprocal standard deviation of their sum over a group under permutation, G x k.

    Average ranks over all cells kept, less their mean in the stratum; rows in the order of the strata. Where nothing
    varies the reciprocal is 0.
    """
    values, (order, bounds) = np.asarray(values), cells.by_stratum
    ranks = np.zeros((cells.n_obs, values.shape[1]))
    for j in range(values.shape[1]):  # one at a time: the ranking of a matrix takes several times its memory
        ranks[cells.rows, j] = rankdata(values[cells.rows, j]) / len(order)
    moments = moments_of(ranks, cells, cells.strata)
    variance = np.zeros((len(cells.groups), values.shape[1]))
    for s, (start, end) in enumerate(pairwise(bounds)):
        share = np.bincount(cells.labels[order[start:end]], minlength=len(variance))[:, None] / (end - start)
        variance += share * (1 - share) * moments.squares[s] * (end - start) / max(end - start - 1, 1)
    with np.errstate(divide="ignore"):
        units = np.where(variance > 0, 1 / np.sqrt(variance), 0.0)
    rows, strata = cells.rows[order], cells.strata[order]
    return deviations(ranks, rows, strata, moments.center, moments.deviations), units


def limits(observed: NDArray, pilot: NDArray, n_groups: int) -> NDArray:
    """Return what a permutation must reach, in one of two statistics, to be as extreme as what was observed.

    Both get an approximate p-value: from a gamma distribution with the mean and the variance that the sum of squares
    has in the pilot, and from a Gumbel distribution with those of the largest deviation. The smaller one, each divided
    by its share, is the statistic of the test, so they only say how the two are weighed against each other.

    Parameters
    ----------
    observed
        Sum of squares between groups, and the deviation of the furthest one: 2 x k.
    pilot
        The same in some permutations, B x 2 x k.

    Returns
    -------
    Limits, 2 x k.
    """
    share = share_of_furthest(n_groups)
    mean = pilot.mean(axis=0)
    mean = np.where(mean > 0, mean, 1.0)
    spread = np.std(pilot / mean, axis=0)  # relative, so that no square overflows
    varies = spread > SLACK
    spread = np.where(varies, spread, 1.0)
    shape, scale = 1 / spread[0] ** 2, mean[0] * spread[0] ** 2
    beta = mean[1] * spread[1] * np.sqrt(6) / np.pi
    start = mean[1] - np.euler_gamma * beta
    p_F = gammaincc(shape, observed[0] / scale) / (1 - share)
    p_furthest = -np.expm1(-np.exp((start - observed[1]) / beta)) / share
    p = np.maximum(np.minimum(p_F, p_furthest), LEAST_P)  # above 1 it still tells which is more extreme
    least = np.array([scale * gammainccinv(shape, p * (1 - share)), start - beta * np.log(-np.log1p(-p * share))])
    # What decided is not rounded; where the pilot finds no variation, each statistic stands for itself.
    own = np.array([p_F <= p_furthest, p_furthest <= p_F]) | ~varies.all(axis=0)
    return np.where(own, observed, least)
