"""The options of ``scprograms embed``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import _commands
from ._types import count, not_negative, number, positive, seed


def _share(text: str) -> float:
    return number(text, float, 0, "a share from 0 to 1", at_most=1)


def add_embed(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "embed",
        help="learn latent variables of chromatin accessibility with an autoencoder",
        description="Filter peaks and cells, train an autoencoder, and write the latent variables, the trained "
        "encoder, the loss, a UMAP by label and, where labels are known, how well clusters agree with them. Needs "
        'torch: pip install "scprograms[deep]".',
    )
    parser.set_defaults(command=_commands.embed)
    parser.add_argument("data", metavar="DATA", type=Path, help=".h5ad file of cells x peaks; or a table of peaks x "
                        "cells (.txt, .tsv, .csv, with .gz); or a folder with a matrix of peaks x cells (.mtx, .mtx.gz)"
                        ", its barcodes and peaks, as SCALE reads them")  # fmt: skip
    parser.add_argument("--layer", metavar="NAME", help="layer to use instead of .X")
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument("--label", metavar="COLUMN", help="column of .obs with the labels")
    labels.add_argument("--label-file", type=Path, metavar="FILE", help="labels: 'cell<TAB>label' a line, or one label "
                        "a line in the order of the cells")  # fmt: skip

    peaks = parser.add_argument_group("filter")
    peaks.add_argument("--min-fraction", type=_share, default=0.01, metavar="SHARE", help="keep peaks open in so many "
                       "of the cells (default: 0.01)")  # fmt: skip
    peaks.add_argument("--max-fraction", type=_share, default=0.9, metavar="SHARE", help="and in at most so many "
                       "(default: 0.9)")  # fmt: skip
    peaks.add_argument("--min-peaks", type=seed, default=100, metavar="N", help="keep cells with so many open peaks "
                       "(default: 100)")  # fmt: skip

    network = parser.add_argument_group("network")
    network.add_argument("--kind", choices=("basic", "sparse", "stacked", "vae"), default="vae", help="default: vae")
    network.add_argument("--n-latent", type=count, default=10, metavar="N", help="latent variables (default: 10)")
    network.add_argument("--layers", type=count, nargs="+", metavar="WIDTH", help="widths of the hidden layers")
    network.add_argument("--transform", choices=("tfidf", "binary", "none"), default="tfidf", help="what the encoder "
                         "sees (default: tfidf)")  # fmt: skip
    network.add_argument("--epochs", type=count, default=100, metavar="N", help="at most (default: 100)")
    network.add_argument("--pretrain-epochs", type=seed, default=30, metavar="N", help="of each layer of --kind "
                         "stacked, at most (default: 30)")  # fmt: skip
    network.add_argument("--patience", type=count, default=20, metavar="N", help="stop after so many epochs without a "
                         "lower loss of the cells held out (default: 20)")  # fmt: skip
    network.add_argument("--batch-size", type=count, default=100, metavar="N", help="default: 100")
    network.add_argument("--learning-rate", type=positive, metavar="RATE", help="default: by kind")
    network.add_argument("--sparsity-target", type=positive, default=0.03, metavar="SHARE", help="mean activation, of "
                         "--kind sparse (default: 0.03)")  # fmt: skip
    network.add_argument("--sparsity-weight", type=not_negative, default=1.0, metavar="WEIGHT", help="default: 1")
    network.add_argument("--device", metavar="NAME", help="cpu, cuda or mps (default: a GPU where there is one)")
    network.add_argument("--random-state", type=seed, default=0, metavar="SEED", help="default: 0")

    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="where to write")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--debug", action="store_true", help="show where an error happened")
