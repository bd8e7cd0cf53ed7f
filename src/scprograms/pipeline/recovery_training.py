"""``scprograms recover train`` and ``aggregate``: models, in one go or from the runs of array jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scprograms import tl
from scprograms._core.validate import listing
from scprograms.report.formats import plural

from ._journal import InputError, Journal, explained
from ._recovery_cells import TRAINING, read_cells, training_arguments

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

    from anndata import AnnData

_RUN = "run_{:05d}.h5ad"


def train(options: Namespace, journal: Journal) -> list[str]:
    """Learn a model, or single runs of one."""
    if options.run_index is None:
        _check_model_path(options.out)
    else:
        _check_runs(options)
    with journal.step("reading"):
        adata = read_cells(options, journal, options.state)
    with journal.step("training"), explained():
        if options.run_index is None:
            model = tl.train_recovery(adata, options.state, options.cell_type, **training_arguments(options))
            model.write(options.out)
            _say_what(model, journal)
        else:
            _train_runs(adata, options, journal)
    return journal.steps


def _train_runs(adata: AnnData, options: Namespace, journal: Journal) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    arguments = training_arguments(options)
    for run in options.run_index:
        path = options.out / _RUN.format(run)
        if path.exists() and not options.overwrite:
            _check_same(path, tl.RecoveryModel.read(path), arguments)
            journal.say(f"Run {run} was there.")
            continue
        tl.train_recovery(adata, options.state, options.cell_type, **arguments, runs=[run]).write(path)
        journal.say(f"Did run {run}.")


def _check_runs(options: Namespace) -> None:
    if options.out.suffix == ".h5ad" or (options.out.exists() and not options.out.is_dir()):
        msg = f"--out={str(options.out)!r}: with --run-index, pass a folder for the runs."
        raise InputError(msg)
    beyond = [run for run in options.run_index if run >= options.n_runs]
    if beyond:
        msg = f"--run-index={beyond[0]} with --n-runs={options.n_runs}: runs go from 0 to {options.n_runs - 1}."
        raise InputError(msg)


def _check_same(path: Path, model: tl.RecoveryModel, arguments: dict[str, Any]) -> None:
    for name in TRAINING:
        if name in model.params and model.params[name] != arguments[name]:
            msg = (
                f"{str(path)!r} was made with {name}={model.params[name]!r}, not {arguments[name]!r}. Pass another "
                "folder, or --overwrite."
            )
            raise InputError(msg)


def aggregate(options: Namespace, journal: Journal) -> list[str]:
    """Put runs together."""
    _check_model_path(options.out)
    with journal.step("reading"), explained():
        paths = _run_files(options.runs)
        models = [tl.RecoveryModel.read(path) for path in paths]
    with journal.step("aggregating"), explained():
        n_runs = int(models[0].params["n_runs"])
        missing = sorted(set(range(n_runs)) - {_run_of(path) for path in paths})
        if missing:
            text = f"{plural(len(missing), 'run')} of {n_runs} missing: {', '.join(map(str, missing[:20]))}"
            if not options.allow_missing:
                msg = f"{text}. Do them, or pass --allow-missing."
                raise InputError(msg)
            journal.note(f"{text}; the model is that of the others.")
        model = tl.RecoveryModel.aggregate(models)
        model.write(options.out)
        journal.say(f"Put {plural(len(models), 'run')} together.")
        _say_what(model, journal)
    return journal.steps


def _run_files(paths: list[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            msg = f"{str(path)!r} does not exist."
            raise InputError(msg)
        files += sorted(path.glob("run_*.h5ad")) if path.is_dir() else [path]
    if not files:
        msg = f"There are no run_*.h5ad in {listing(paths)}: make them with 'scprograms recover train --run-index'."
        raise InputError(msg)
    return files


def _run_of(path: Path) -> int:
    number = path.stem.removeprefix("run_")
    if not number.isdecimal():
        msg = f"{str(path)!r} is not named as a run: run_00000.h5ad, for example."
        raise InputError(msg)
    return int(number)


def _check_model_path(path: Path) -> None:
    if path.suffix != ".h5ad" or path.is_dir():
        msg = f"--out={str(path)!r}: pass a file that ends in .h5ad."
        raise InputError(msg)
    if not path.parent.is_dir():
        msg = f"--out={str(path)!r}: there is no folder {str(path.parent)!r}."
        raise InputError(msg)


def _say_what(model: tl.RecoveryModel, journal: Journal) -> None:
    n_states = sum(len(names) for names in model.states.values())
    journal.say(f"Learned {plural(n_states, 'state')} of {plural(len(model.cell_types), 'cell type')}.")
