"""The commands: a bar over steps of the pipeline, a folder for their results, and what is printed at the end."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterable

    from scprograms.pipeline import Settings

# What a command needs is imported when it runs: --help is to be quick.


def run(options: Namespace) -> None:
    """Analyse a screen."""
    from scprograms import pipeline

    from ._progress import journal_of, print_end

    with journal_of(options, n_steps=pipeline.N_STEPS) as journal:
        pipeline.run(settings_of(options), options.out, journal, argv=options.argv)
    print_end(journal, options, f"Open {options.out / 'report.html'}")


def settings_of(options: Namespace) -> Settings:
    """Return the settings of the analysis that parsed options ask for."""
    from scprograms.pipeline import Settings

    names = {field.name for field in fields(Settings)} - {"in_shell"}
    return Settings(**{name: value for name, value in vars(options).items() if name in names}, in_shell=True)


def demo(options: Namespace) -> None:
    """Analyse a simulated screen."""
    from ._demo import demo as analyse_simulated

    analyse_simulated(options)


def modules(options: Namespace) -> None:
    """Find modules of chromatin."""
    from scprograms.pipeline import modules as steps

    _in_folder(options, steps.find_modules, n_steps=steps.N_STEPS, replaces=steps.OWN_FILES)


def embed(options: Namespace) -> None:
    """Train an autoencoder."""
    from scprograms.pipeline import embedding as steps

    _in_folder(options, steps.embed, n_steps=steps.N_STEPS, replaces=steps.OWN_FILES)


def train_accessibility(options: Namespace) -> None:
    """Train a model of accessibility."""
    from scprograms.pipeline import accessibility as steps

    _in_folder(options, steps.train, n_steps=3, replaces=steps.OWN_FILES)


def predict_accessibility(options: Namespace) -> None:
    """Predict accessibility by a model."""
    from scprograms.pipeline import accessibility as steps

    _in_folder(options, steps.predict, n_steps=3, replaces=steps.OWN_FILES)


def report_accessibility(options: Namespace) -> None:
    """Write the report of a model of accessibility."""
    from scprograms.pipeline import accessibility as steps

    _in_folder(options, steps.report, n_steps=2, replaces=steps.OWN_FILES[:3])


def discover_states(options: Namespace) -> None:
    """Discover states of cells."""
    from scprograms.pipeline import recovery as steps

    _in_folder(options, steps.discover, n_steps=3, replaces=("figures/state_map.*",))


def apply_recovery(options: Namespace) -> None:
    """Recover states in cells."""
    from scprograms.pipeline import recovery as steps

    _in_folder(options, steps.apply, n_steps=4, replaces=steps.OF_APPLY)


def validate_recovery(options: Namespace) -> None:
    """Cross-validate a recovery."""
    from scprograms.pipeline import recovery as steps

    _in_folder(options, steps.validate, n_steps=3, replaces=())


def train_recovery(options: Namespace) -> None:
    """Train a recovery, or single runs of one."""
    from scprograms.pipeline import recovery_training as steps

    from ._progress import journal_of, print_end

    with journal_of(options, n_steps=2) as journal:
        said = steps.train(options, journal)
    what = "The model is" if options.run_index is None else "Runs are"
    print_end(journal, options, f"{what} in {options.out}", said=said)


def aggregate_recovery(options: Namespace) -> None:
    """Put runs of a recovery together."""
    from scprograms.pipeline import recovery_training as steps

    from ._progress import journal_of, print_end

    with journal_of(options, n_steps=2) as journal:
        said = steps.aggregate(options, journal)
    print_end(journal, options, f"The model is in {options.out}", said=said)


def _in_folder(
    options: Namespace, steps: Callable[..., list[str] | None], *, n_steps: int, replaces: Iterable[str]
) -> None:
    from scprograms.pipeline import results_folder

    from ._progress import journal_of, print_end

    with results_folder(options.out, replaces=replaces) as stage, journal_of(options, n_steps=n_steps) as journal:
        said = steps(options, journal, stage)
    print_end(journal, options, f"Results are in {options.out}", said=said or ())
