"""Requests to stop: Ctrl-C, and the polite signal of a cluster's scheduler."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

INTERRUPTED, TERMINATED = 130, 143

_requested: list[int] = []


def _stop(number: int, _frame: FrameType | None) -> None:
    _requested.append(number)
    check_stop()


def check_stop() -> None:
    """Raise what a request to stop raises, if there was one.

    The handler raises it at once, but Python drops an exception that surfaces in a callback or a finalizer: the steps
    of a run ask again.
    """
    if _requested:
        raise (KeyboardInterrupt if _requested[-1] == signal.SIGINT else SystemExit(TERMINATED))


def _quiet_if_stopped(what: sys.UnraisableHookArgs) -> None:
    # Python would print a traceback of each exception that it drops.
    if not (_requested and issubclass(what.exc_type, KeyboardInterrupt | SystemExit)):
        sys.__unraisablehook__(what)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt, and SIGTERM SystemExit, in this block and at its ``check_stop``."""
    _requested.clear()
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    previous = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    tell, sys.unraisablehook = sys.unraisablehook, _quiet_if_stopped
    try:
        yield
    finally:
        sys.unraisablehook = tell
        for number, handler in previous.items():
            signal.signal(number, handler)
        _requested.clear()
