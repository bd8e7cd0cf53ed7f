"""The options of ``scprograms recover``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _commands
from ._types import count, not_negative, seed

if TYPE_CHECKING:
    import argparse


def add_recover(commands: Any) -> None:
    """Add the command and what it can do."""
    recover = commands.add_parser(
        "recover",
        help="learn states of cell types, and find them in other cells",
        description="Learn the states of each cell type from labelled cells, find them in other cells, and measure how "
        "well that works in samples that were left out.",
    )
    steps = recover.add_subparsers(required=True, metavar="STEP")

    discover = steps.add_parser(
        "discover",
        help="find states that nobody has labelled",
        description="Find the states of each cell type from the data alone, and write the cells with their states: "
        "'scprograms recover train FOLDER/discovered.h5ad --state discovery_state ...' learns them.",
    )
    discover.set_defaults(command=_commands.discover_states)
    _add_cells(discover, labelled=False)
    discover.add_argument("--n-factors", type=count, nargs="+", metavar="K", help="numbers of factors to choose from "
                          "(default: 2 to 8)")  # fmt: skip
    discover.add_argument("--max-negative-ratio", type=not_negative, default=1.0, metavar="RATIO", help="negative "
                          "weights of a state, as a multiple of the positive ones (default: 1)")  # fmt: skip
    _add_basis(discover)
    discover.add_argument("--random-state", type=seed, default=0, metavar="SEED", help="default: 0")
    discover.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="where to write")
    _add_common(discover)

    train = steps.add_parser(
        "train",
        help="learn the signatures of labelled states",
        description="Learn the signatures of labelled states. For the array jobs of a scheduler, each task does "
        "one run: scprograms recover train CELLS.h5ad ... --run-index $SLURM_ARRAY_TASK_ID -o RUNS; then "
        "'scprograms recover aggregate RUNS -o MODEL.h5ad' gives the model of all runs.",
    )
    train.set_defaults(command=_commands.train_recovery)
    _add_cells(train, labelled=True)
    _add_training(train)
    train.add_argument("--run-index", type=seed, nargs="+", metavar="I", help="do only these runs, from 0 to --n-runs "
                       "less 1, and write run_00000.h5ad, ... into the folder -o; those that are there are not done "
                       "again")  # fmt: skip
    train.add_argument("--overwrite", action="store_true", help="do runs again that are there")
    train.add_argument("-o", "--out", type=Path, required=True, metavar="MODEL.h5ad|FOLDER", help="where to write")
    _add_common(train)

    aggregate = steps.add_parser(
        "aggregate",
        help="put the runs of array jobs together",
        description="Put the runs of array jobs together: the model is that of one training with all of them.",
    )
    aggregate.set_defaults(command=_commands.aggregate_recovery)
    aggregate.add_argument(
        "runs", nargs="+", type=Path, metavar="FOLDER|RUN.h5ad", help="what 'train --run-index' wrote"
    )
    aggregate.add_argument("--allow-missing", action="store_true", help="go on where runs are missing")
    aggregate.add_argument("-o", "--out", type=Path, required=True, metavar="MODEL.h5ad", help="where to write")
    _add_common(aggregate)

    apply = steps.add_parser(
        "apply",
        help="find the states in other cells",
        description="Find the states in other cells: tables, a map where cells have places, and the cells themselves.",
    )
    apply.set_defaults(command=_commands.apply_recovery)
    _add_cells(apply, labelled=False)
    apply.add_argument("--model", type=Path, required=True, metavar="MODEL.h5ad", help="from 'train' or 'aggregate'")
    apply.add_argument("--min-score", type=float, metavar="SCORE", help="cells below are in no state (default: the "
                       "thresholds of the model)")  # fmt: skip
    apply.add_argument("--loss", choices=("kl", "frobenius"), default="kl", help="default: kl")
    _add_basis(apply)
    apply.add_argument("--no-h5ad", action="store_true", help="write tables and figures only")
    apply.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="where to write")
    _add_common(apply)

    validate = steps.add_parser(
        "validate",
        help="leave each sample out in turn",
        description="Train on all samples but one, predict that one, and compare: confusion, and F1 of each state.",
    )
    validate.set_defaults(command=_commands.validate_recovery)
    _add_cells(validate, labelled=True, needs_samples=True)
    _add_training(validate)
    validate.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="where to write")
    _add_common(validate)


def _add_cells(parser: argparse.ArgumentParser, *, labelled: bool, needs_samples: bool = False) -> None:
    parser.add_argument("cells", metavar="CELLS.h5ad", type=Path, help="cells x genes, log-normalised")
    parser.add_argument("--cell-type", required=True, metavar="COLUMN", help="column of .obs with the cell types")
    if labelled:
        parser.add_argument("--state", required=True, metavar="COLUMN", help="column of .obs with the states")
    parser.add_argument("--sample", required=needs_samples, metavar="COLUMN", help="column of .obs with the samples, "
                        "such as donors: expression is scaled within each")  # fmt: skip
    parser.add_argument("--layer", metavar="NAME", help="layer to use instead of .X")


def _add_basis(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--basis", default="spatial", metavar="NAME", help="entry of .obsm to draw the states at, if "
                        "there (default: spatial)")  # fmt: skip


def _add_training(parser: argparse.ArgumentParser) -> None:
    fit = parser.add_argument_group("training")
    fit.add_argument("--n-features", type=count, default=300, metavar="N", help="genes that enter (default: 300)")
    fit.add_argument("--n-features-per-state", type=count, default=50, metavar="N", help="default: 50")
    fit.add_argument("--n-cells", type=count, default=2500, metavar="N", help="cells of a type in each run (default: "
                     "2500)")  # fmt: skip
    fit.add_argument("--n-runs", type=count, default=50, metavar="N", help="default: 50")
    fit.add_argument("--confidence", type=_share, default=0.95, metavar="SHARE", help="share of the cells of a state "
                     "that its threshold lets through (default: 0.95)")  # fmt: skip
    fit.add_argument("--random-state", type=seed, default=0, metavar="SEED", help="default: 0")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--n-jobs", type=count, metavar="N", help="workers (default: all)")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--debug", action="store_true", help="show where an error happened")


def _share(text: str) -> float:
    from ._types import number

    return float(number(text, float, 0, "a share from 0 to 1", at_most=1))
