"""Threads for the kernels: rows are cut into fixed blocks, so that the number of threads never changes a bit.

Plain Python threads run kernels that release the GIL. numba's own ``parallel=True`` is not used: its layers abort when
they are called from a thread pool and hang after a fork, and both happen under dask and joblib.
"""

from __future__ import annotations

import numbers
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numba
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
T = TypeVar("T")

ROWS_PER_BLOCK = 4096
_pool: ContextVar[tuple[ThreadPoolExecutor | None, int]] = ContextVar("pool", default=(None, 1))
"""The threads of the context, and how many they are."""


def jit(function: Callable[P, T]) -> Callable[P, T]:
    """Compile a kernel: without the GIL, and cached on disk where some folder can be written to."""
    options: dict[str, Any] = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz"}}
    compiled: Callable[P, T]
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the installation nor the user's cache folder is writable
        compiled = numba.njit(**options)(function)
    return compiled


def resolve_n_jobs(n_jobs: int | None) -> int:
    """Return the number of threads: None and -1 mean all that numba is allowed to use."""
    allowed = int(numba.get_num_threads())
    if n_jobs is None:
        return allowed
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, numbers.Integral):
        msg = f"n_jobs={n_jobs!r} is a {type(n_jobs).__name__}; pass an integer, or None for all threads."
        raise TypeError(msg)
    if n_jobs == 0 or n_jobs < -1:
        msg = f"n_jobs={n_jobs} is not possible: pass a positive number of threads, or None (or -1) for all of them."
        raise ValueError(msg)
    return allowed if n_jobs == -1 else int(n_jobs)


@contextmanager
def threads(n_jobs: int | None) -> Iterator[int]:
    """Run blocks of rows on at most ``n_jobs`` threads within this context.

    The BLAS gets one thread: its own would split sums differently for each number of threads, and spin while they wait.
    """
    n_threads = resolve_n_jobs(n_jobs)
    with ThreadPoolExecutor(n_threads) as pool, threadpool_limits(limits=1):  # threads start with the first block
        token = _pool.set((pool, n_threads))
        try:
            yield n_threads
        finally:
            _pool.reset(token)


def map_blocks(function: Callable[[int, int], T], n_rows: int, *, rows_per_block: int = ROWS_PER_BLOCK) -> Iterator[T]:
    """Yield ``function(start, stop)`` for consecutive blocks of rows, in order.

    The blocks depend on the number of rows only. Small inputs are one block and pay for no thread.
    """
    bounds = [(start, min(start + rows_per_block, n_rows)) for start in range(0, n_rows, rows_per_block)]
    pool, n_threads = _pool.get()
    if pool is None or min(n_threads, len(bounds)) <= 1:
        for start, stop in bounds:
            yield function(start, stop)
        return
    # Only a few blocks ahead of the consumer: results wait in memory until they are taken.
    pending = deque(pool.submit(function, *b) for b in bounds[: 2 * n_threads])
    try:
        for i in range(len(bounds)):
            yield pending.popleft().result()
            if i + 2 * n_threads < len(bounds):
                pending.append(pool.submit(function, *bounds[i + 2 * n_threads]))
    finally:
        for left in pending:  # after an error nothing may go on writing behind the caller's back
            left.cancel()
        wait(pending)


def for_blocks(function: Callable[[int, int], object], n_rows: int, *, rows_per_block: int = ROWS_PER_BLOCK) -> None:
    """Call ``function(start, stop)`` on consecutive blocks of rows."""
    for _ in map_blocks(function, n_rows, rows_per_block=rows_per_block):
        pass
