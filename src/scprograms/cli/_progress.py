"""What a command shows while it runs, and what it prints at the end."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scprograms.pipeline import Journal, peak_memory_gib

from ._signals import check_stop

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable, Iterator

_BAR = "{n_fmt}/{total_fmt} |{bar:24}| {elapsed} {desc}"


@contextmanager
def journal_of(options: Namespace, *, n_steps: int) -> Iterator[Journal]:
    """Journal of a command, with a bar in the terminal; figures need no screen, and signals end it between steps."""
    import matplotlib as mpl
    from tqdm import tqdm

    mpl.use("Agg")
    with (
        tqdm(total=n_steps, disable=options.quiet, bar_format=_BAR) as bar,
        Journal(bar, between_steps=check_stop) as journal,
    ):
        yield journal


def print_end(journal: Journal, options: Namespace, last: str, *, said: Iterable[str] = ()) -> None:
    """Print the notes, what was said, and the last line with time and memory; nothing where quiet."""
    if options.quiet:
        return
    memory = peak_memory_gib()
    used = "" if memory is None else f", {memory:.1f} GiB"
    for note in journal.notes:
        sys.stderr.write(f"scprograms: note: {note}\n")
    for sentence in said:
        sys.stdout.write(f"{sentence}\n")
    sys.stdout.write(f"{last} ({journal.seconds:.0f} s{used}).\n")
