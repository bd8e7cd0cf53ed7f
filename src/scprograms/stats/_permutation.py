"""Permutation test within strata of all groups at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import _permutation_kernels as kernels
from ._permutation_design import deviations, eliminate_strata, moments_of, read_cells
from ._resampling import NEVER, SLACK, Seed, key_of, p_values, positive, read_n_jobs, read_stop_after, run

PERMUTATIONS_PER_TASK, PERMUTATIONS_PER_ROUND = 8, 4096


@dataclass(frozen=True)
class PermutationTest:
    """Result of a permutation test of all groups at once: one value per column, and what all columns share."""

    F: np.ndarray
    p: np.ndarray
    log10_p: np.ndarray
    n_permutations: np.ndarray
    """Permutations that were drawn for the column; 0 for a constant one."""
    n_hits: np.ndarray
    """How many of them had an F at least as large as the one observed."""
    eta_squared: np.ndarray
    """Share of the variance within strata that lies between groups, in the sample."""
    omega_squared: np.ndarray
    """The same share, corrected for what chance alone would give."""
    df_between: int
    df_within: int
    n_groups: int
    n_cells: int


def permutation_anova(
    values: np.ndarray,
    codes: np.ndarray,
    *,
    strata: np.ndarray | None = None,
    n_permutations: int = 999,
    stop_after: int | None = None,
    random_state: Seed = 0,
    n_jobs: int | None = None,
) -> PermutationTest:
    """Test each column for a difference between groups by permuting the labels of cells within strata.

    The statistic is the F of the groups in least squares on groups and strata (type II; without strata the ordinary
    F). The p-value is exact, whatever the distribution, if the cells of a stratum are exchangeable; they are not where
    guides, clones or replicates differ among themselves. All columns share the permutations. A stratum with cells of
    one group only adds nothing. Groups of one cell count. Constant columns give NaN.

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

    Phipson and Smyth (2010), Statistical Applications in Genetics and Molecular Biology 9:39.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.stats import permutation_anova
    >>> values = np.array([[1.0], [2.0], [3.0], [4.0], [6.0], [8.0]])
    >>> result = permutation_anova(values, np.array([0, 0, 0, 1, 1, 1]), n_permutations=999)
    >>> float(result.F[0].round(6)), bool(0.07 < result.p[0] < 0.13)  # 2 of the 20 possible splits
    (9.6, True)
    """
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
    limit = observed - SLACK * (observed + total / len(order))

    def statistics(first: int, last: int, columns: NDArray) -> NDArray:
        out = np.empty((last - first, columns.shape[1]))
        kernels.permuted_statistics(columns, labels, bounds, key, first, out, *design.arrays)
        return out

    hits, counts = np.zeros((2, total.size), dtype=np.int64)
    active = np.flatnonzero(total > 0)
    done, step = 0, PERMUTATIONS_PER_ROUND if stop == NEVER else max(2 * stop, 32)
    while len(active) and done < n_permutations:
        end = min(n_permutations, done + step)
        columns = work if len(active) == total.size else np.ascontiguousarray(work[:, active])
        firsts = range(done, end, PERMUTATIONS_PER_TASK)
        tasks = [(first, min(first + PERMUTATIONS_PER_TASK, end), columns) for first in firsts]
        for found in run(statistics, tasks, n_threads):
            for hit in found >= limit[active]:
                going = hits[active] < stop
                counts[active[going]] += 1
                hits[active[going & hit]] += 1
        active = active[hits[active] < stop]
        done, step = end, min(end, PERMUTATIONS_PER_ROUND)  # twice as many in all with each round
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


def permuted_codes(
    codes: np.ndarray, index: int, *, strata: np.ndarray | None = None, random_state: Seed = 0
) -> np.ndarray:
    """Return the codes as :func:`permutation_anova` permutes them in its permutation ``index`` (0, 1, ...).

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.stats import permuted_codes
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
