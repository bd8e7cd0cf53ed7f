"""The options of ``scprograms accessibility``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _commands
from ._types import count, not_negative, positive, seed

if TYPE_CHECKING:
    import argparse


def add_accessibility(commands: Any) -> None:
    """Add the command, which has three of its own."""
    parser = commands.add_parser(
        "accessibility",
        help="predict chromatin accessibility from expression",
        description="Learn from multiome cells which peaks are open given the expression of the genes, and predict it "
        "where accessibility was not measured.",
    )
    own = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(own)
    _add_predict(own)
    _add_report(own)


def _add_train(own: Any) -> None:
    parser = own.add_parser("train", help="fit, choose and test models", description="Fit the mean of each peak, ridge "
                            "regression, kNN and (with torch) a network; choose on validation cells; report on test "
                            "cells.")  # fmt: skip
    parser.set_defaults(command=_commands.train_accessibility)
    _add_data(parser)
    parser.add_argument("--model", choices=("auto", "mean", "ridge", "knn", "network"), default="auto", help="default: "
                        "auto, the best on validation cells")  # fmt: skip
    parser.add_argument("--n-genes", type=count, default=10_000, metavar="N", help="most variable genes (default: "
                        "10,000)")  # fmt: skip
    parser.add_argument("--n-peaks", type=count, default=500, metavar="N", help="most variable peaks (default: 500)")
    parser.add_argument("--groupby", metavar="COLUMN", help="hold out whole groups of this column of .obs, such as "
                        "cell types")  # fmt: skip
    parser.add_argument("--test-groups", nargs="+", metavar="LEVEL", help="which of them to test on")
    parser.add_argument("--gene-distance", type=positive, metavar="BP", help="let genes count more the nearer they "
                        "lie to a peak: the distance at which weights have fallen to 1/e, such as 50000")  # fmt: skip
    network = parser.add_argument_group("network")
    network.add_argument(
        "--hidden", type=count, nargs="+", default=[1024, 512], metavar="WIDTH", help="default: 1024 512"
    )
    network.add_argument("--dropout", type=not_negative, default=0.3, help="default: 0.3")
    network.add_argument("--normalization", choices=("batch", "layer"), help="of hidden layers (default: none)")
    network.add_argument("--optimizer", choices=("rmsprop", "adam"), default="rmsprop", help="default: rmsprop")
    network.add_argument("--learning-rate", type=positive, default=1.5e-4, help="default: 0.00015")
    network.add_argument("--epochs", type=count, default=50, metavar="N", help="default: 50")
    network.add_argument("--batch-size", type=count, default=32, metavar="N", help="default: 32")
    network.add_argument("--focal-weight", type=not_negative, default=1.0, help="of the focal loss (default: 1)")
    network.add_argument("--dice-weight", type=not_negative, default=1.0, help="of the dice loss (default: 1)")
    network.add_argument("--device", metavar="NAME", help="of torch, such as cpu, cuda or mps")
    parser.add_argument("--random-state", type=seed, default=0, metavar="SEED", help="default: 0")
    _add_output(parser)


def _add_predict(own: Any) -> None:
    parser = own.add_parser("predict", help="predict for other cells", description="Predict accessibility of other "
                            "cells by a trained model. With both modalities, they are tested as well.")  # fmt: skip
    parser.set_defaults(command=_commands.predict_accessibility)
    parser.add_argument(
        "model_file", metavar="MODEL.npz", type=Path, help="as 'scprograms accessibility train' wrote it"
    )
    _add_data(parser)
    _add_output(parser)


def _add_report(own: Any) -> None:
    parser = own.add_parser("report", help="draw and tabulate a report again", description="Write tables and figures "
                            "of a file that train or predict wrote.")  # fmt: skip
    parser.set_defaults(command=_commands.report_accessibility)
    parser.add_argument("atac_file", metavar="ATAC.h5ad", type=Path, help="the accessibility with its report")
    _add_output(parser)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="+", metavar="FILE", type=Path, help="DATA.h5mu with both modalities, or "
                        "RNA.h5ad ATAC.h5ad (for predict, RNA.h5ad alone will do)")  # fmt: skip
    parser.add_argument("--rna", default="rna", metavar="NAME", help="of the modality in an .h5mu file (default: rna)")
    parser.add_argument("--atac", default="atac", metavar="NAME", help="default: atac")
    parser.add_argument("--layer", metavar="NAME", help="layer of the expression to use instead of .X")
    parser.add_argument("--atac-layer", metavar="NAME", help="layer of the accessibility to use instead of .X")
    parser.add_argument("--normalize", action="store_true", help="the expression is counts: scale each cell to 10,000 "
                        "and take log(1 + x) first")  # fmt: skip


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="where to write")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--debug", action="store_true", help="show where an error happened")
