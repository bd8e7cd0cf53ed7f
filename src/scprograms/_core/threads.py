"""Threads for the kernels: rows are cut into fixed blocks, so that the number of threads never changes a bit.

Plain Python threads run kernels that release the GIL. numba's own ``parallel=True`` is not used: its layers abort when
they are called from a thread pool and hang after a fork, and both happen under dask and joblib.
"""

from __future__ import annotations

import numbers
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numba
from threadpoolctl import ThreadpoolController

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


class _BlasLimit:
    """The limit of the process's BLAS: set by the first fit that enters, lifted by the last that leaves."""

    def __init__(self) -> None:
        self._lock, self._n_inside = threading.Lock(), 0
        self._changed: list[tuple[Any, int]] = []

    @contextmanager
    def __call__(self, libraries: list[Any]) -> Iterator[None]:
        """Hold the limit within this context, however many contexts of other threads overlap with it."""
        with self._lock:
            self._n_inside += 1
            if self._n_inside == 1:
                before = [library.num_threads for library in libraries]
                for library in libraries:
                    library.set_num_threads(1)
                # Another thread that holds a limit of threadpoolctl keeps it: what was not changed is not put back.
                self._changed = [(lib, n) for lib, n in zip(libraries, before, strict=True) if lib.num_threads != n]
        try:
            yield
        finally:
            with self._lock:
                self._n_inside -= 1
                if self._n_inside == 0:
                    self._put_back()

    def _put_back(self) -> None:
        for library, n in self._changed:
            # Since threadpoolctl 3.8 a thread must let go before another one's call does anything.
            let_go = getattr(library, "clear_controlling_thread", lambda **_: None)
            let_go(force=True)
            library.set_num_threads(n)
            let_go(force=True)
        self._changed = []


_one_blas_thread = _BlasLimit()


@contextmanager
def threads(n_jobs: int | None) -> Iterator[int]:
    """Run blocks of rows on at most ``n_jobs`` threads within this context.

    The BLAS and OpenMP get one thread: their own would split sums differently for each number of threads, and spin
    while they wait. The limit of the BLAS is the whole process's, and ends with the last context that is open anywhere.
    """
    n_threads = resolve_n_jobs(n_jobs)
    libraries = ThreadpoolController()
    with (
        ThreadPoolExecutor(n_threads) as pool,  # threads start with the first block
        _one_blas_thread(libraries.select(user_api="blas").lib_controllers),
        libraries.select(user_api="openmp").limit(limits=1),  # of this Python thread alone
    ):
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
