"""What captions say about tests: which one, with which unit, how many were made, and what q means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scprograms import get
from scprograms.perturbation.figures import kind

from ._effects import effects_params, effects_test
from .formats import TESTS, method_of, plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from anndata import AnnData

Q_MEANS = (
    "q is the p-value adjusted for the number of tests (Benjamini-Hochberg): of all results with q ≤ 0.05, about "
    "5 % are expected to be false at most"
)


def anova_in_words(adata: AnnData, groupby: str, *, key: str) -> str:
    """Return the test of programs over all groups."""
    table = get.anova(adata, groupby, key=key)
    first, method = table.iloc[0], method_of(table)
    unit = "the unit is the cell" + (f" ({first['n_cells']:,.0f} cells)" if "n_cells" in table else "")
    if method == "replicate":
        replicate = effects_params(adata, groupby, key=key).get("replicate", "guide or replicate")
        number = f" ({first['n_replicates']:,.0f} in all)" if "n_replicates" in table else ""
        unit = f"the unit is the {replicate}{number}, not the cell"
    return (
        f"Test: {TESTS[method]}, over all {plural(get.labels(adata, groupby).nunique(), 'group')}; {unit}. "
        f"{plural(int(table['q'].notna().sum()), 'program')} tested. {Q_MEANS}."
    )


def effects_in_words(adata: AnnData, groupby: str, *, key: str) -> str:
    """Return the test of the effects of single perturbations."""
    params, table = effects_params(adata, groupby, key=key), get.effects(adata, groupby, key=key)
    replicate = params.get("replicate")
    unit = f"the unit is the {replicate}, not the cell" if replicate else "the unit is the cell"
    return (
        f"Test: {effects_test(params)}; {unit}. {int(table['p'].notna().sum()):,} tests "
        f"({plural(table['perturbation'].nunique(), kind(table))} x "
        f"{plural(table['program'].nunique(), 'program')}), adjusted together. {Q_MEANS}."
    )


def enrichment_in_words(table: pd.DataFrame) -> str:
    """Return the test of gene sets; ``table`` holds all that were tested."""
    if "nes" in table:
        test, score = "ranked enrichment test of all genes by their loadings", "normalised enrichment score (NES)"
        family = "the terms of a library, for each program apart"
    else:
        family = "all terms of a library, for each program and direction apart"
        test, score = "hypergeometric test against the background", "combined score, -ln(p) times the odds ratio"
        if "n_genes" in table and len(table):
            test = (
                f"hypergeometric test of the {int(table['n_genes'].max())} top genes against a background of "
                f"{int(table['background_size'].max()):,} genes"
            )
    libraries = ", ".join(map(str, table["library"].unique()))
    return (
        f"Test: {test}; the unit is the gene. {libraries}: {len(table):,} tests of terms that share a gene with a "
        f"program; adjusted over {family}. Colour: {score}. {Q_MEANS}."
    )


def calibration_tests(summary: Mapping[str, Any] | pd.Series) -> str:
    """Return what a point of the picture of calibration is."""
    unit = f"{summary['replicate']}s" if summary["replicate"] else "cells"
    return (
        f"Each of the {summary['n_tests']:,} points is a p-value of a test within the control ({summary['n_units']:,} "
        f"{unit}, in {summary['n_pseudo_perturbations']:,} random groups of {summary['group_size']:,})"
    )
