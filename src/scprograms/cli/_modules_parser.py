"""The options of ``scprograms modules``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import _commands
from ._types import count, not_negative, percent, seed


def add_modules(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "modules",
        help="find the modules of chromatin accessibility",
        description="Pseudo-bulk, non-negative matrix factorization, feature scores and modules of the features (such "
        "as cCREs), samples and groups, with tables, figures and a BED file for each module.",
    )
    parser.set_defaults(command=_commands.modules)
    parser.add_argument("peaks", metavar="PEAKS.h5ad", type=Path, help="cells x features with counts; or samples x "
                        "features")  # fmt: skip
    parser.add_argument("--groupby", required=True, nargs="+", metavar="COLUMN", help="columns of .obs that make a "
                        "sample, such as subtype region")  # fmt: skip
    parser.add_argument("--layer", metavar="NAME", help="layer to use instead of .X")

    bulk = parser.add_argument_group("pseudo-bulk")
    bulk.add_argument("--min-cells", type=count, default=10, metavar="N", help="keep samples of so many cells "
                      "(default: 10)")  # fmt: skip
    bulk.add_argument("--cap-percentile", type=percent, metavar="PERCENT", help="lower all values above this "
                      "percentile to it, such as 99.99")  # fmt: skip

    fit = parser.add_argument_group("modules")
    fit.add_argument("-k", "--n-modules", type=count, default=30, metavar="K", help="default: 30")
    fit.add_argument("--tradeoff", type=count, nargs="+", default=[], metavar="K", help="compare these numbers of "
                     "modules as well")  # fmt: skip
    fit.add_argument("--stability", type=count, metavar="N", help="refit on so many resamples of the samples, and say "
                     "how well each module comes back")  # fmt: skip
    fit.add_argument("--rule", choices=("sd", "mad", "raw_mad", "permutation"), default="sd", help="which features are "
                     "specific (default: sd, above median + SD of the feature scores)")  # fmt: skip
    fit.add_argument("--scale", choices=("l2", "max", "raw"), default="l2", help="unit of the modules (default: l2)")
    fit.add_argument("--min-contribution", type=not_negative, default=0.0, metavar="SHARE", help="leave samples whose "
                     "largest share is below unclassified (default: 0)")  # fmt: skip
    fit.add_argument("--random-state", type=seed, default=0, metavar="SEED", help="default: 0")
    fit.add_argument("--n-jobs", type=count, metavar="N", help="threads (default: all)")

    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="where to write")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--debug", action="store_true", help="show where an error happened")
