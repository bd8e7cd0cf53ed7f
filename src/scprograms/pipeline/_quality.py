"""Quality control: which cells and genes enter the analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms import get
from scprograms._anndata.transaction import write
from scprograms._core.validate import listing
from scprograms.report.formats import plural

from ._journal import InputError, Journal, explained
from ._lazy import describe, n_not_zero

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from ._settings import Settings


def quality_control(adata: AnnData, settings: Settings, journal: Journal, *, is_counts: bool) -> AnnData:
    """Describe the cells, and keep those cells and genes that pass the filters."""
    if settings.subset_obs is not None:
        keep = _as_boolean(adata.obs[settings.subset_obs], settings)
        adata = _kept(adata, keep, f"cells where {settings.subset_obs} is true", journal)
    prefixes = (settings.mito_prefix,) if settings.mito_prefix else ("MT-", "mt-")
    write(adata, var={"mt": adata.var_names.str.startswith(prefixes)})
    starts = " or ".join(prefixes)
    (_describe_counts if is_counts else _describe_genes)(adata, settings, journal, starts)
    if settings.max_mito is not None and not adata.var["mt"].any():
        msg = (
            f"{settings.spelled('max_mito')}: no gene starts with {starts}. Name the right "
            f"{settings.spelled('mito_prefix')}, or leave it out."
        )
        raise InputError(msg)
    adata = _filter_genes(_filter_cells(adata, settings, journal), settings, journal)
    check_control(adata, settings, after=" after the filters")
    return adata


def _describe_counts(adata: AnnData, settings: Settings, journal: Journal, starts: str) -> None:
    """Measure counts, genes and the mitochondrial share of every cell."""
    import scanpy as sc

    if settings.lazy:
        describe(adata)
    else:
        sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=None, log1p=False, inplace=True)
    medians = adata.obs[["total_counts", "n_genes_by_counts", "pct_counts_mt"]].median()
    n_mito = int(adata.var["mt"].sum())
    mito = f"{medians['pct_counts_mt']:.1f} % of counts from {plural(n_mito, 'mitochondrial gene')}"
    if not n_mito:
        mito = f"no mitochondrial gene (none starts with {starts})"
    journal.say(
        f"Quality control: a cell has a median of {medians['total_counts']:,.0f} counts, "
        f"{medians['n_genes_by_counts']:,.0f} genes and {mito}."
    )


def _describe_genes(adata: AnnData, settings: Settings, journal: Journal, _starts: str) -> None:
    """Measure the number of genes of every cell, where the matrix holds no counts."""
    n_genes = n_not_zero(adata.X, axis=1)
    write(adata, obs={"n_genes_by_counts": n_genes})
    journal.say(
        f"Quality control: a cell has a median of {np.median(n_genes):,.0f} genes. Counts and the mitochondrial "
        "share are not known, because the matrix holds no counts."
    )
    if settings.min_counts is not None or settings.max_mito is not None:
        msg = (
            f"{settings.spelled('min_counts')} and {settings.spelled('max_mito')} need raw counts, which the "
            f"matrix does not hold. Name a {settings.spelled('layer')} that does."
        )
        raise InputError(msg)


def _filter_cells(adata: AnnData, settings: Settings, journal: Journal) -> AnnData:
    """Keep the cells that pass all limits."""
    n_genes = adata.obs["n_genes_by_counts"].to_numpy()
    filters = [(n_genes > 0, "cells with any expression")]
    if settings.min_counts is not None:
        enough = adata.obs["total_counts"].to_numpy() >= settings.min_counts
        filters.append((enough, f"cells with {settings.min_counts:g} counts"))
    if settings.min_genes is not None:
        filters.append((n_genes >= settings.min_genes, f"cells with {settings.min_genes} genes"))
    if settings.max_mito is not None:
        low = adata.obs["pct_counts_mt"].to_numpy() <= settings.max_mito
        filters.append((low, f"cells up to {settings.max_mito:g} % mitochondrial counts"))
    keep = np.ones(adata.n_obs, dtype=bool)
    for mask, what in filters:
        if not mask.all() or "any expression" not in what:
            journal.say(f"Filter: {what}; {int(np.sum(keep & ~mask)):,} more cells were removed.")
        keep &= mask
    return adata if keep.all() else _kept(adata, keep, "cells that pass the filters", journal)


def _filter_genes(adata: AnnData, settings: Settings, journal: Journal) -> AnnData:
    """Keep the genes that are seen in enough cells."""
    seen = n_not_zero(adata.X, axis=0) >= settings.min_cells
    if not seen.any():
        msg = f"No gene is seen in {plural(settings.min_cells, 'cell')}: lower {settings.spelled('min_cells')}."
        raise InputError(msg)
    if seen.all():
        return adata
    kept = adata[:, seen].copy()
    what = "never seen" if settings.min_cells == 1 else f"seen in fewer than {settings.min_cells} cells"
    journal.say(f"Removed {plural(int((~seen).sum()), 'gene')} {what}; {kept.n_vars:,} are left.")
    return kept


def _kept(adata: AnnData, keep: np.ndarray, what: str, journal: Journal) -> AnnData:
    n_kept = int(np.sum(keep))
    if n_kept == 0:
        msg = f"No cell is left of {adata.n_obs:,}: there are no {what}."
        raise InputError(msg)
    journal.say(f"Kept {n_kept:,} of {adata.n_obs:,} cells: {what}.")
    return adata[keep].copy()


def _as_boolean(column: pd.Series, settings: Settings) -> np.ndarray:
    words = column.astype(str).str.lower()
    known = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False, "nan": False}
    unknown = sorted(set(words) - set(known))
    if unknown:
        msg = f"{settings.given('subset_obs')} is not true or false everywhere; it holds {listing(unknown, at_most=4)}."
        raise InputError(msg)
    return words.map(known).to_numpy(dtype=bool)


def check_control(adata: AnnData, settings: Settings, *, after: str = "") -> None:
    """Raise unless there are control cells, where a control is named, and something to compare with."""
    with explained():
        groups = get.labels(adata, settings.groupby).cat.categories
    if settings.control is None and settings.center == "control":
        msg = f"{settings.given('center')} needs {settings.spelled('control')}, the level of the control cells."
        raise InputError(msg)
    if settings.control is not None and settings.control not in groups:
        msg = f"{settings.given('control')} is no level of {settings.groupby!r}{after}. There: {listing(groups)}."
        raise InputError(msg)
    if len(groups) < 2:
        msg = f"{settings.groupby!r} has no level but {groups[0]!r}{after}: there is nothing to compare."
        raise InputError(msg)
