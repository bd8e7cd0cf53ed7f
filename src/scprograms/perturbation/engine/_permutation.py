"""Permutation test within strata of all groups at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaincc, gammainccinv
from scipy.stats import rankdata

from scprograms._core.resampling import (
    SLACK,
    Seed,
    key_of,
    p_values,
    positive,
    read_n_jobs,
    read_stop_after,
    run,
    sequential_hits,
)

from . import _permutation_kernels as kernels
from ._combination import Statistic, check_statistic, share_of_furthest
from ._permutation_design import Cells, deviations, eliminate_strata, moments_of, read_cells

if TYPE_CHECKING:
    from collections.abc import Callable

    from scprograms._core.matrix import Array

FIRST_PILOT = 2**40  # the pilot's permutations are none of those that are counted
N_PILOT = 100
LEAST_P = 1e-300


@dataclass(frozen=True)
class PermutationTest:
    """Result of a permutation test of all groups at once: one value per column, and what all columns share."""

    F: Array
    """Of groups and strata in least squares, k."""
    p: Array
    """Share of permutations at least as extreme, k."""
    log10_p: Array
    """log10 of p."""
    n_permutations: Array
    """Permutations that were drawn for the column; 0 for a constant one."""
    n_hits: Array
    """How many of them were at least as extreme as what was observed."""
    eta_squared: Array
    """Share of the variance within strata that lies between groups, in the sample."""
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


def permutation_anova(
    values: Array,
    codes: Array,
    *,
    strata: Array | None = None,
    n_permutations: int = 999,
    stop_after: int | None = None,
    statistic: Statistic = "combined",
    random_state: Seed = 0,
    n_jobs: int | None = None,
) -> PermutationTest:
    """Test each column for a difference between groups by permuting the labels of cells within strata.

    F is that of the groups in least squares on groups and strata (type II; without strata the ordinary F). It is weak
    where one group of many moves, and where usages are zero in most cells and large in a few. So a group that lies far
    from the others counts as well: the ranks of its cells (average ranks over all cells), centred within strata and
    summed up, in the standard deviations that this sum has under permutation. A permutation is as extreme as what was
    observed if the smaller of two approximate p-values is: that of F, from a gamma distribution, and that of the
    furthest group, from a Gumbel distribution, with their moments in 100 permutations that are not counted; each is
    divided by its share as in :func:`scprograms.perturbation.engine.replicate_anova`. How good these approximations
    are makes no difference to validity: the p-value is exact, whatever the distribution, if the cells of a stratum are
    exchangeable. They are not where guides, clones or replicates differ among themselves. All columns share the
    permutations. A stratum with cells of one group only adds nothing. Groups of one cell count. Constant columns give
    NaN.

    Parameters
    ----------
    values
        n_obs x k, real and finite.
    codes
        Group of each row, 0, 1, ...; -1 leaves a row out.
    strata
        Stratum of each row, for example its batch: 0, 1, ...; -1 leaves a row out. None: one stratum.
    n_permutations
        Number of permutations B, at most; p = (1 + hits) / (B + 1), so never 0.
    stop_after
        Stop a column after this many hits, with p = hits / permutations (Besag and Clifford 1991): large p-values
        cost few permutations, and only small ones all of them. None: all B for every column.
    statistic
        ``"combined"``, or ``"F"`` for F alone (with two groups they are the same).
    random_state
        Seed. Permutation i depends on the seed and on i alone, see :func:`permuted_codes`.
    n_jobs
        Number of threads; None means all that numba is allowed to use. Never changes the result.

    Returns
    -------
    F, p, effect sizes, and the numbers of permutations and hits.

    Raises
    ------
    ValueError
        If shapes do not match, a value is not finite, no stratum has cells of two groups, or no degrees of freedom
        are left within groups.

    References
    ----------
    Besag and Clifford (1991), Biometrika 78:301, https://doi.org/10.1093/biomet/78.2.301

    Phipson and Smyth (2010), Statistical Applications in Genetics and Molecular Biology 9:39,
    https://doi.org/10.2202/1544-6115.1585

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.perturbation.engine import permutation_anova
    >>> values = np.array([[1.0], [2.0], [3.0], [4.0], [6.0], [8.0]])
    >>> result = permutation_anova(values, np.array([0, 0, 0, 1, 1, 1]), n_permutations=999)
    >>> float(result.F[0].round(6)), bool(0.07 < result.p[0] < 0.13)  # 2 of the 20 possible splits
    (9.6, True)
    """
    check_statistic(statistic)
    n_permutations, stop = positive("n_permutations", n_permutations), read_stop_after(stop_after)
    n_threads, key = read_n_jobs(n_jobs), key_of(random_state)
    cells = read_cells(codes, strata)
    order, bounds = cells.by_stratum
    moments = moments_of(values, cells, cells.strata)
    design = eliminate_strata(cells)
    if design.df_between < 1 or design.df_within < 1:
        msg = (
            f"{len(cells.groups)} groups in {cells.n_strata} strata of {len(cells.rows)} rows leave "
            f"{design.df_between} degrees of freedom between groups and {design.df_within} within: some stratum must "
            "have cells of two groups, and groups more than one cell."
        )
        raise ValueError(msg)
    labels = cells.labels[order].astype(np.int32)
    work = deviations(values, cells.rows[order], cells.strata[order], moments.center, moments.deviations)
    total = moments.squares.sum(axis=0)
    observed, sums = np.empty(total.size), np.empty((len(cells.groups), total.size))
    kernels.group_sums(work, labels, sums)
    kernels.between_groups(sums, *design.arrays, observed)
    n_groups = len(cells.groups)
    limit, ranks, units = observed[None].copy(), work, np.empty((0, total.size))
    combined = statistic == "combined" and n_groups > 2  # with two groups F says it all
    if combined:
        ranks, units = centred_ranks(values, cells)
        furthest = np.empty(total.size)
        kernels.group_sums(ranks, labels, sums)
        kernels.furthest(sums, units, furthest)
        limit = np.stack([observed, furthest])

    def permuted(first: int, last: int, *columns: Array) -> Array:
        out = np.empty((last - first, 2, columns[0].shape[1]))
        values, ranked, scaled = columns
        kernels.permuted_statistics(values, ranked, labels, bounds, key, first, out, *design.arrays, scaled)
        return out[:, : len(limit)]

    if combined:
        tasks = [(i, i + 4, work, ranks, units) for i in range(FIRST_PILOT, FIRST_PILOT + N_PILOT, 4)]
        limit = limits(limit, np.concatenate(list(run(permuted, tasks, n_threads))), n_groups)
        limit[1] *= 1 - SLACK
    limit[0] -= SLACK * (limit[0] + total / len(order))

    def reached(active: Array) -> Callable[[int, int], Array]:
        whole = len(active) == total.size
        columns = [x if whole else np.ascontiguousarray(x[:, active]) for x in (work, ranks, units)]
        return lambda first, last: np.asarray(np.any(permuted(first, last, *columns) >= limit[:, active], axis=1))

    hits, counts = sequential_hits(reached, total > 0, n_permutations, stop, n_threads)
    p = p_values(hits, counts, stop)
    within = np.where(total - observed > 1e-13 * total, total - observed, 0.0)  # less is rounding
    with np.errstate(divide="ignore", invalid="ignore"):
        error = within / design.df_within
        return PermutationTest(
            F=observed / design.df_between / error,
            p=p,
            log10_p=np.log10(p),
            n_permutations=counts,
            n_hits=hits,
            eta_squared=observed / total,
            omega_squared=(observed - design.df_between * error) / (total + error),
            df_between=design.df_between,
            df_within=design.df_within,
            n_groups=len(cells.groups),
            n_cells=len(order),
        )


def permuted_codes(codes: Array, index: int, *, strata: Array | None = None, random_state: Seed = 0) -> Array:
    """Return the codes as ``permutation_anova`` permutes them in its permutation ``index`` (0, 1, ...).

    Parameters
    ----------
    codes
        Group of each row, 0, 1, ...; -1 leaves a row out.
    index
        Number of the permutation.
    strata
        Stratum of each row, within which codes are permuted; one for all by default.
    random_state
        Seed of the test.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.perturbation.engine import permuted_codes
    >>> permuted_codes(np.array([0, 1, 2, 2, -1]), 0, strata=np.array([0, 0, 1, 1, 1])).tolist()[2:]
    [2, 2, -1]
    """
    cells = read_cells(codes, strata)
    order, bounds = cells.by_stratum
    labels = cells.labels[order].astype(np.int32)
    kernels.shuffle(labels, bounds, key_of(random_state), index, np.empty(4, dtype=np.uint64))
    out = np.array(codes)
    out[cells.rows[order]] = cells.groups[labels]
    return out


def centred_ranks(values: Array, cells: Cells) -> tuple[Array, Array]:
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


def limits(observed: Array, pilot: Array, n_groups: int) -> Array:
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
