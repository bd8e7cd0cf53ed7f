"""Tasks that do not depend on each other: here, in processes, or on the workers of the user's dask client."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def spread(
    function: Callable[..., T], tasks: Sequence[tuple[Any, ...]], *, n_jobs: int | None, worth_processes: bool
) -> list[T]:
    """Return ``function(*task, n_jobs=...)`` of every task, in their order.

    Where the user has a ``dask.distributed`` client, its workers do them. Otherwise ``n_jobs`` above 1 gives as many
    processes (joblib) if that is worth it, and each task is told to use one thread. In all other cases the tasks are
    done one by one, with these threads.

    Parameters
    ----------
    function
        Of a module, so that other processes can import it.
    tasks
        Its positional arguments, each time.
    n_jobs
        Number of processes, or of threads.
    worth_processes
        Whether the tasks take long beside the seconds that a new process needs to import everything.
    """
    if len(tasks) > 1 and (client := active_client()) is not None:
        futures = [client.submit(_call, function, client.scatter(list(task)), pure=False) for task in tasks]
        return list(client.gather(futures))
    if not worth_processes or len(tasks) < 2 or n_jobs is None or n_jobs <= 1:
        return [function(*task, n_jobs=n_jobs) for task in tasks]
    from joblib import Parallel, delayed

    workers = Parallel(n_jobs=min(n_jobs, len(tasks)))
    return list(workers(delayed(function)(*task, n_jobs=1) for task in tasks))


def active_client() -> Any | None:
    """Return the ``dask.distributed`` client of this process; None where none was made, or it is closed."""
    distributed = sys.modules.get("distributed")
    if distributed is None:  # never imported, so there is no client; dask stays optional
        return None
    try:
        client = distributed.default_client()
    except ValueError:
        return None
    return client if client.status == "running" and not _on_a_worker(distributed) else None


def _on_a_worker(distributed: Any) -> bool:
    """Whether this is a task of a worker already: waiting for others from there could wait forever."""
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


def _call(function: Callable[..., T], task: Sequence[Any]) -> T:
    return function(*task, n_jobs=1)
