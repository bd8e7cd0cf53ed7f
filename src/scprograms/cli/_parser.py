"""The options of the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from scprograms._core.version import VERSION

from . import _commands
from ._types import count, not_negative, percent, positive, seed


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} ({self.prog} --help lists all options)\n")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; ``command`` of what it returns is the function to call."""
    from ._accessibility_parser import add_accessibility
    from ._embed_parser import add_embed
    from ._modules_parser import add_modules
    from ._recover_parser import add_recover

    parser = _Parser(prog="scprograms", description="Gene programs from perturbation screens.")
    parser.add_argument("--version", action="version", version=f"scprograms {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    _add_demo(commands)
    add_modules(commands)
    add_accessibility(commands)
    add_embed(commands)
    add_recover(commands)
    return parser


def _add_run(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="find and test the programs of a screen",
        description="Quality control, normalisation, semi-NMF, analysis of variance and enrichment of a screen, with "
        "tables, figures and a report to read.",
    )
    run.set_defaults(command=_commands.run)
    run.add_argument("screen", metavar="SCREEN.h5ad", type=Path, help="cells x genes; raw counts are best (with --lazy "
                     "a zarr store as well)")  # fmt: skip
    run.add_argument("--groupby", required=True, metavar="COLUMN", help="column of .obs with the perturbations")
    run.add_argument("--control", metavar="LEVEL", help="its level for control cells; without one, each group is "
                     "compared with all other cells")  # fmt: skip
    run.add_argument("--layer", metavar="NAME", help="layer to use instead of .X")
    run.add_argument("--lazy", action="store_true", help="leave the matrix on disk and read it in chunks of cells, for "
                     "screens that do not fit in memory; the result is written without the matrix")  # fmt: skip

    cells = run.add_argument_group("quality control")
    cells.add_argument("--subset-obs", metavar="COLUMN", help="keep cells where this column is true")
    cells.add_argument("--min-counts", type=not_negative, metavar="N", help="keep cells with so many counts")
    cells.add_argument("--min-genes", type=count, metavar="N", help="keep cells with so many genes")
    cells.add_argument("--max-mito", type=percent, metavar="PERCENT", help="keep cells with at most this share of "
                       "mitochondrial counts")  # fmt: skip
    cells.add_argument("--min-cells", type=count, default=1, metavar="N", help="keep genes seen in so many cells "
                       "(default: 1)")  # fmt: skip
    cells.add_argument("--mito-prefix", metavar="PREFIX", help="of mitochondrial genes (default: MT- or mt-)")
    cells.add_argument("--cell-cycle-genes", type=Path, metavar="FILE", help="43 genes of S phase, then those of G2M, "
                       "one a line")  # fmt: skip
    cells.add_argument("--s-genes", type=Path, metavar="FILE", help="genes of S phase, one a line")
    cells.add_argument("--g2m-genes", type=Path, metavar="FILE", help="genes of G2M phase, one a line")
    cells.add_argument("--batch", metavar="COLUMN", help="add an indicator column for each batch, and report how much "
                       "programs differ between batches")  # fmt: skip
    cells.add_argument("--target-sum", type=positive, metavar="N", help="counts per cell after normalisation (default:"
                       " 10,000; the median for panels of fewer than 1,000 genes)")  # fmt: skip
    tests = run.add_argument_group("tests")
    tests.add_argument("--replicate", metavar="COLUMN", help="column of .obs with the guides (or clones, donors) of "
                       "perturbations: they become the unit of the tests, and those of the control show whether the "
                       "test holds")  # fmt: skip
    tests.add_argument("--strata", metavar="COLUMN", nargs="+", action="extend", default=[], help="columns of .obs "
                       "within which perturbations are compared with the control, such as the batch")  # fmt: skip
    genes = cells.add_mutually_exclusive_group()
    genes.add_argument("--n-top-genes", type=count, metavar="N", help="fit on so many highly variable genes")
    genes.add_argument("--hvg", action="store_true", help="fit on highly variable genes (mean 0.0125 to 3, dispersion "
                       "from 0.5); all genes get loadings")  # fmt: skip
    _add_fit(run, n_programs=30)
    _add_gene_sets(run)
    _add_output(run)


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="do the same on a simulated screen, and show how well its programs are found",
        description="Simulate a screen with known programs and effects, analyse it as 'scprograms run' does, and "
        "compare what is found with what is true. Nothing is downloaded.",
    )
    demo.set_defaults(command=_commands.demo)
    demo.add_argument("--n-cells", type=count, default=4000, metavar="N", help="default: 4000")
    demo.add_argument("--n-genes-screen", type=count, default=2000, metavar="N", help="genes (default: 2000)")
    demo.add_argument("--n-planted", type=count, default=20, metavar="N", help="planted programs (default: 20)")
    _add_fit(demo, n_programs=None)
    _add_output(demo)


def _add_fit(parser: argparse.ArgumentParser, *, n_programs: int | None) -> None:
    fit = parser.add_argument_group("factorization")
    default = "as many as are planted" if n_programs is None else str(n_programs)
    fit.add_argument("-k", "--n-programs", type=count, default=n_programs, metavar="K", help=f"default: {default}")
    fit.add_argument("--center", choices=("mean", "control"), help="subtract each gene's mean, or its mean in control")
    fit.add_argument("--scale", action="store_true", help="divide each gene by its standard deviation")
    fit.add_argument("--l1", type=not_negative, default=0.02, help="penalty on the usages (default: 0.02)")
    fit.add_argument("--init", choices=("varimax", "svd", "kmeans", "nndsvd", "nmf", "random"), default="varimax",
                     help="start (default: varimax)")  # fmt: skip
    fit.add_argument("--random-state", type=seed, default=0, metavar="SEED", help="default: 0")
    fit.add_argument("--n-jobs", type=count, metavar="N", help="threads (default: all)")


def _add_gene_sets(parser: argparse.ArgumentParser) -> None:
    terms = parser.add_argument_group("enrichment")
    terms.add_argument("--gene-sets", action="append", default=[], metavar="FILE.gmt|LIBRARY", help="GMT file, or name "
                       "of an Enrichr library; may be given several times")  # fmt: skip
    terms.add_argument("--n-genes", type=count, metavar="N", help="top genes of a program that are tested (default: "
                       "100, at most a tenth of the fitted genes)")  # fmt: skip
    terms.add_argument("--min-size", type=count, default=10, metavar="N", help="smallest gene set (default: 10)")
    terms.add_argument("--max-size", type=count, default=500, metavar="N", help="largest gene set (default: 500)")
    terms.add_argument("--organism", choices=("human", "mouse", "fly", "yeast", "worm", "fish"), default="human",
                       help="of Enrichr libraries (default: human)")  # fmt: skip


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="where to write")
    parser.add_argument("--umap", action="store_true", help="draw a UMAP of the usages as well (takes longer)")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--debug", action="store_true", help="show where an error happened")
