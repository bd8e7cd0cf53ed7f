"""What permutation tests share: seeds, threads, the rule to stop, and p-values."""

from __future__ import annotations

import numbers
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scprograms._core.matrix import Array

SLACK = 1e-10
"""Equal statistics differ by rounding: this fraction of their scale still counts as equal, so as a hit."""
NEVER = 2**62
"""Number of hits after which a column stops that is never reached."""

PERMUTATIONS_PER_TASK, PERMUTATIONS_PER_ROUND = 8, 4096

Seed = int | np.random.SeedSequence | np.random.Generator | np.random.RandomState | None


def p_values(hits: Array, counts: Array, stop: int) -> Array:
    with np.errstate(invalid="ignore"):
        p = np.where(hits >= stop, hits / counts, (hits + 1) / (counts + 1))
    return np.where(counts > 0, p, np.nan)


def run(function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], n_threads: int) -> Iterator[Any]:
    """Yield the results in order; an exception, Ctrl-C too, cancels what has not begun."""
    if n_threads == 1 or len(tasks) < 2:
        yield from (function(*task) for task in tasks)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        yield from pool.map(lambda task: function(*task), tasks)


def sequential_hits(
    reached: Callable[[Array], Callable[[int, int], Array]],
    testable: Array,
    n_permutations: int,
    stop: int,
    n_threads: int,
) -> tuple[Array, Array]:
    """Permute until each column has ``stop`` hits, or all permutations are done (Besag and Clifford).

    Parameters
    ----------
    reached
        Given the columns that go on, returns a function of the first permutation and of that after the last, which
        says for each of them and each of these columns whether it is a hit.
    testable
        Whether a column is permuted at all, k.

    Returns
    -------
    Hits and permutations of each column.
    """
    hits, counts = np.zeros((2, testable.size), dtype=np.int64)
    active = np.flatnonzero(testable)
    done, step = 0, PERMUTATIONS_PER_ROUND if stop == NEVER else max(2 * stop, 32)
    while len(active) and done < n_permutations:
        end = min(n_permutations, done + step)
        firsts = range(done, end, PERMUTATIONS_PER_TASK)
        tasks = [(first, min(first + PERMUTATIONS_PER_TASK, end)) for first in firsts]
        for found in run(reached(active), tasks, n_threads):
            for hit in found:
                going = hits[active] < stop
                counts[active[going]] += 1
                hits[active[going & hit]] += 1
        active = active[hits[active] < stop]
        done, step = end, min(end, PERMUTATIONS_PER_ROUND)  # twice as many in all with each round
    return hits, counts


def positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        msg = f"{name}={value!r} is not possible: pass a positive integer."
        raise ValueError(msg)
    return int(value)


def read_stop_after(value: int | None) -> int:
    return NEVER if value is None else positive("stop_after", value)


def read_n_jobs(n_jobs: int | None) -> int:
    return int(numba.get_num_threads()) if n_jobs is None or n_jobs == -1 else positive("n_jobs", n_jobs)


def key_of(random_state: Seed) -> Array:
    if isinstance(random_state, np.random.RandomState):
        return random_state.randint(0, 2**64, size=2, dtype=np.uint64)
    return np.random.default_rng(random_state).integers(0, 2**64, size=2, dtype=np.uint64)
