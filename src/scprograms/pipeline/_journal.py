"""Course of an analysis: its steps, the sentences of its report, and what a reader should mind."""

from __future__ import annotations

import contextlib
import shlex
import time
import warnings
from typing import TYPE_CHECKING, Any, Protocol, Self

from scprograms._core.files import atomic_path
from scprograms._core.validate import ProgramsWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType


class InputError(ValueError):
    """An error that the user can put right: a path, a column, a setting."""


class Bar(Protocol):
    """A progress bar, as tqdm has it."""

    leave: bool

    def set_description_str(self, desc: str, *, refresh: bool) -> None:
        """Show what is being done."""

    def update(self) -> object:
        """Show that a step is done."""


def one_line(error: BaseException) -> str:
    """Message of an error in one line; a KeyError would print its message quoted."""
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(text).split()) or type(error).__name__


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn the errors by which functions refuse arguments and data into an InputError."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, ValueError, OSError) as error:  # ConnectionError and TimeoutError are OSErrors
        raise InputError(one_line(error)) from error


class Journal:
    """Steps of an analysis, with the sentences and warnings that its report prints.

    Parameters
    ----------
    bar
        Progress bar over the steps.
    between_steps
        Called before and after each step; it may raise to stop the analysis.
    """

    def __init__(self, bar: Bar | None = None, *, between_steps: Callable[[], None] = lambda: None) -> None:
        self.steps: list[str] = []
        self.notes: list[str] = []
        self._bar, self._between_steps = bar, between_steps
        self._stack = contextlib.ExitStack()
        self.started = time.perf_counter()

    def __enter__(self) -> Self:
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
        if self._bar is not None:
            if kind is None:
                self._bar.set_description_str("done", refresh=True)
            else:
                self._bar.leave = False  # the message of the error is all that should be left
        self._stack.__exit__(kind, error, trace)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Run a step, and show what is being done."""
        if self._bar is not None:
            self._bar.set_description_str(name, refresh=True)
        self._between_steps()
        yield
        self._between_steps()
        if self._bar is not None:
            self._bar.update()

    def say(self, sentence: str) -> None:
        """Add a sentence on what was done."""
        self.steps.append(sentence)

    def note(self, sentence: str) -> None:
        """Add something that a reader should mind."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def write_summary(self, folder: Path, argv: Sequence[str]) -> None:
        """Write what was done, what to mind, and the command that did it."""
        notes = [f"Note: {note}" for note in self.notes]
        lines = [*self.steps, *notes, "", shlex.join(["scprograms", *argv])]
        with atomic_path(folder / "summary.txt") as part:
            part.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return time.perf_counter() - self.started

    def _keep(self, message: Warning | str, *_: Any, **__: Any) -> None:
        self.note(" ".join(str(message).split()))


def peak_memory_gib() -> float | None:
    """Largest resident memory of this process so far, where the platform tells."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    import sys

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**30 if sys.platform == "darwin" else 2**20)
