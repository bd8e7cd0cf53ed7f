"""``scprograms run``: the analysis of a screen."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from scprograms import pipeline
from scprograms.pipeline import N_STEPS, Settings

from ._progress import journal_of, print_end

if TYPE_CHECKING:
    from argparse import Namespace


def run(options: Namespace) -> None:
    """Analyse the screen that the options name, and write everything into their folder."""
    with journal_of(options, n_steps=N_STEPS) as journal:
        pipeline.run(settings_of(options), options.out, journal, argv=options.argv)
    print_end(journal, options, f"Open {options.out / 'report.html'}")


def settings_of(options: Namespace) -> Settings:
    """Settings of the analysis that parsed options ask for."""
    names = {field.name for field in fields(Settings)} - {"in_shell"}
    return Settings(**{name: value for name, value in vars(options).items() if name in names}, in_shell=True)
