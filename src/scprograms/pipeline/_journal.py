"""What a run tells: a bar while it lasts, and the sentences and warnings that the report prints."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from scprograms._core.validate import ProgramsWarning

from ._signals import check_stop


class InputError(Exception):
    """The user can put this right: a path, a column, an option."""


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line; a KeyError would print its message quoted."""
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(text).split()) or type(error).__name__


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn the errors by which verbs refuse arguments and data into an InputError."""
    try:
        yield
    except (KeyError, ValueError, OSError) as error:  # ConnectionError and TimeoutError are OSErrors
        raise InputError(one_line(error)) from error


class Journal:
    """A progress bar over the steps, and what was said during them."""

    def __init__(self, n_steps: int, *, quiet: bool) -> None:
        self.steps: list[str] = []
        self.notes: list[str] = []
        self._n_steps, self._quiet = n_steps, quiet
        self._stack = contextlib.ExitStack()
        self.started = time.perf_counter()

    def __enter__(self) -> Self:
        from tqdm import tqdm

        self._bar = self._stack.enter_context(
            tqdm(total=self._n_steps, disable=self._quiet, bar_format="{n_fmt}/{total_fmt} |{bar:24}| {elapsed} {desc}")
        )
        self._stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ProgramsWarning)
        with contextlib.suppress(ImportError):
            from sklearn.exceptions import ConvergenceWarning

            warnings.simplefilter("always", ConvergenceWarning)
        warnings.showwarning = self._keep
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._bar.set_description_str("done", refresh=True)
        else:
            self._bar.leave = False  # the message of the error is all that should be left
        self._stack.__exit__(kind, error, trace)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show what is being done."""
        self._bar.set_description_str(name, refresh=True)
        check_stop()
        yield
        check_stop()
        self._bar.update()

    def say(self, sentence: str) -> None:
        """Add a sentence on what was done."""
        self.steps.append(sentence)

    def note(self, sentence: str) -> None:
        """Add something that a reader should mind."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return time.perf_counter() - self.started

    def _keep(self, message: Warning | str, *_: Any, **__: Any) -> None:
        self.note(" ".join(str(message).split()))


def peak_memory_gib() -> float | None:
    """Return the largest resident memory of this process so far, where the platform tells."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    import sys

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**30 if sys.platform == "darwin" else 2**20)
