"""Permutation test within strata of each group against the control, or against all other cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scprograms._core.resampling import SLACK, Seed, key_of, p_values, positive, read_n_jobs, read_stop_after, run

from . import _permutation_kernels as kernels
from ._permutation_design import compare, read_cells, runs

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

DRAWS_PER_TASK = 2_000_000  # rows summed in one compiled call, so that Ctrl-C is heard soon


@dataclass(frozen=True)
class PermutationContrasts:
    """Result of a permutation test of each group: G x k arrays, a row per code."""

    p: Array
    """NaN for the control, for codes without cells or without a stratum in common, and for constant columns."""
    n_permutations: Array
    """Permutations that were drawn for each test."""
    n_hits: Array
    """How many permutations had a difference at least as large, whatever its sign."""
    difference: Array
    """Mean of the group less that of the others, within strata, averaged with weights n m / (n + m)."""
    z: Array
    """The difference over its standard deviation under permutation (exact, not estimated from the draws)."""


def permutation_contrasts(
    values: Array,
    codes: Array,
    control: int | None,
    *,
    strata: Array | None = None,
    n_permutations: int = 999,
    stop_after: int | None = None,
    random_state: Seed = 0,
    n_jobs: int | None = None,
) -> PermutationContrasts:
    """Test each group against the control, or against all other cells, by permuting their labels within strata.

    Only the cells of the group and of the control change places, so the test of a pair is exact if these are
    exchangeable within strata, whatever the other groups do. The statistic is the difference of the means within
    strata, averaged with weights n m / (n + m) as in a linear model with the stratum as a covariate; its standard
    deviation under permutation does not vary, so dividing by it would change nothing. The test is two-sided. Groups of
    one cell have a test as well, whose p is at least about 1 / (number of controls).

    Parameters
    ----------
    values
        n_obs x k, real and finite.
    codes
        Group of each row, 0, 1, ...; -1 leaves a row out.
    control
        Code of the control; None compares each group with all other cells.
    strata, n_permutations, stop_after, n_jobs
        As in :func:`scprograms.perturbation.engine.permutation_anova`.
    random_state
        Seed. Permutation i of a group depends on the seed, on i and on the first row of the group alone, see
        :func:`permuted_group`: neither on the order of the codes nor on the other groups.

    Returns
    -------
    p, the numbers of permutations and hits, differences and z scores, each G x k.

    Raises
    ------
    ValueError
        If shapes do not match, a value is not finite, or the control has no cells.

    References
    ----------
    Besag and Clifford (1991), Biometrika 78:301, https://doi.org/10.1093/biomet/78.2.301

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.perturbation.engine import permutation_contrasts
    >>> rng = np.random.default_rng(0)
    >>> codes = np.repeat([0, 1, 2], [50, 10, 10])
    >>> result = permutation_contrasts(rng.random((70, 1)) + (codes == 2)[:, None], codes, 0)
    >>> result.p[2].tolist(), bool(result.p[1, 0] > 0.01)
    ([0.001], True)
    """
    n_permutations, stop = positive("n_permutations", n_permutations), read_stop_after(stop_after)
    n_threads, key = read_n_jobs(n_jobs), key_of(random_state)
    cells = read_cells(codes, strata)
    _check_control(control, cells.groups)
    pairs, work = compare(values, cells, control)
    k = work.shape[1]
    limit = np.abs(pairs.score) - SLACK * pairs.deviation
    hits, counts = np.zeros((2, len(cells.groups), k), dtype=np.int64)
    # The columns of a group that go on stand first in its row, ended by -1.
    testable = pairs.deviation > 0
    columns = np.where(testable, np.arange(k), k)
    columns.sort(axis=1)
    columns[columns == k] = -1

    def go_on(group: int, first: int, last: int) -> int:
        part = slice(pairs.bounds[group], pairs.bounds[group + 1])
        return kernels.count_hits(
            work,
            pairs.segments[part],
            pairs.n_drawn[part],
            pairs.signs[part],
            key,
            pairs.streams[group],
            last,
            pairs.center[group],
            limit[group],
            stop,
            columns[group],
            hits[group],
            counts[group],
            first,
        )

    cost = np.maximum(np.add.reduceat(np.append(pairs.n_drawn, 0), pairs.bounds[:-1]), 1)
    waiting = [(int(group), 0) for group in np.flatnonzero(testable.any(axis=1))]
    while waiting:
        tasks = [(g, done, min(n_permutations, done + max(1, int(DRAWS_PER_TASK // cost[g])))) for g, done in waiting]
        left = run(go_on, tasks, n_threads)
        waiting = [(g, end) for (g, _, end), n in zip(tasks, left, strict=True) if n and end < n_permutations]
    with np.errstate(invalid="ignore"):
        z = np.where(testable, pairs.score / pairs.deviation, np.nan)
    shape = (int(cells.groups[-1]) + 1, k)
    out = {name: np.full(shape, np.nan) for name in ("p", "difference", "z")}
    out |= {name: np.zeros(shape, dtype=np.int64) for name in ("n_permutations", "n_hits")}
    found = {"p": p_values(hits, counts, stop), "difference": pairs.difference, "z": z}
    for name, array in {**found, "n_permutations": counts, "n_hits": hits}.items():
        out[name][cells.groups] = array
    return PermutationContrasts(**out)


def permuted_group(
    codes: Array,
    index: int,
    *,
    group: int,
    control: int | None,
    strata: Array | None = None,
    random_state: Seed = 0,
) -> Array:
    """Return a mask of the cells that make up a group in permutation ``index`` of ``permutation_contrasts``.

    In a stratum without cells to compare with it has its own.

    Parameters
    ----------
    codes
        Group of each row, 0, 1, ...; -1 leaves a row out.
    index
        Number of the permutation.
    group, control
        Codes of the group and of the control; None compares with all other cells.
    strata
        Stratum of each row, within which labels are permuted; one for all by default.
    random_state
        Seed of the test.

    Raises
    ------
    ValueError
        ``group`` has no rows or is the control.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.perturbation.engine import permuted_group
    >>> int(permuted_group(np.array([0, 0, 0, 1, 1, 2]), 0, group=1, control=0).sum())
    2
    """
    cells = read_cells(codes, strata)
    _check_control(control, cells.groups)
    if group not in cells.groups or group == control:
        msg = (
            f"group={group!r} has no rows, or is the control: pass another one of the {len(cells.groups)} codes in use."
        )
        raise ValueError(msg)
    order, segments, n_drawn, signs, bounds, streams, *_ = runs(cells, control)
    g = int(np.searchsorted(cells.groups, group))
    mine = slice(bounds[g], bounds[g + 1])
    drawn = np.zeros(len(order), dtype=np.int64)
    kernels.draw_group(segments[mine], n_drawn[mine], key_of(random_state), streams[g], index, drawn)
    chosen = cells.labels[order] == g
    for c, (a, n, b, m) in enumerate(segments[mine]):
        for part in (slice(a, a + n), slice(b, b + m)):
            chosen[part] = (drawn[part] == c + 1) == (signs[mine][c] > 0)
    out = np.zeros(len(np.asarray(codes)), dtype=bool)
    out[cells.rows[order]] = chosen
    return out


def _check_control(control: int | None, groups: Array) -> None:
    if len(groups) < 2:
        msg = f"There are {len(groups)} groups with rows in them; at least two are needed."
        raise ValueError(msg)
    if control is not None and control not in groups:
        msg = (
            f"control={control!r} has no rows: pass one of the {len(groups)} codes in use, or None for all other cells."
        )
        raise ValueError(msg)
