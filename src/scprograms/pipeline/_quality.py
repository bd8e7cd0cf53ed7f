"""Quality control: which cells and genes enter the analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scprograms import get
from scprograms._anndata.transaction import write
from scprograms._core.validate import listing
from scprograms.report.formats import plural

from ._journal import InputError, Journal, explained
from ._lazy import describe, n_not_zero

if TYPE_CHECKING:
    from anndata import AnnData

    from ._settings import Settings


def quality_control(adata: AnnData, settings: Settings, journal: Journal, *, is_counts: bool) -> AnnData:
    """Describe the cells, and keep those cells and genes that pass the filters."""
    import scanpy as sc

    if settings.subset_obs is not None:
        keep = _as_boolean(adata.obs[settings.subset_obs], settings)
        adata = _kept(adata, keep, f"cells where {settings.subset_obs} is true", journal)
    prefixes = (settings.mito_prefix,) if settings.mito_prefix else ("MT-", "mt-")
    write(adata, var={"mt": adata.var_names.str.startswith(prefixes)})
    n_mito = int(adata.var["mt"].sum())
    if is_counts:
        if settings.lazy:
            describe(adata)
        else:
            sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=None, log1p=False, inplace=True)
        n_genes = adata.obs["n_genes_by_counts"].to_numpy()
        medians = adata.obs[["total_counts", "n_genes_by_counts", "pct_counts_mt"]].median()
        mito = f"{medians['pct_counts_mt']:.1f} % of counts from {plural(n_mito, 'mitochondrial gene')}"
        if not n_mito:
            mito = f"no mitochondrial gene (none starts with {' or '.join(prefixes)})"
        journal.say(
            f"Quality control: a cell has a median of {medians['total_counts']:,.0f} counts, "
            f"{medians['n_genes_by_counts']:,.0f} genes and {mito}."
        )
    else:
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
    if settings.max_mito is not None and not n_mito:
        msg = (
            f"{settings.spelled('max_mito')}: no gene starts with {' or '.join(prefixes)}. Name the right "
            f"{settings.spelled('mito_prefix')}, or leave it out."
        )
        raise InputError(msg)
    filters = [(n_genes > 0, "cells with any expression")]
    if settings.min_counts is not None:
        filters.append((adata.obs["total_counts"] >= settings.min_counts, f"cells with {settings.min_counts:g} counts"))
    if settings.min_genes is not None:
        filters.append((n_genes >= settings.min_genes, f"cells with {settings.min_genes} genes"))
    if settings.max_mito is not None:
        filters.append((adata.obs["pct_counts_mt"] <= settings.max_mito, f"cells up to {settings.max_mito:g} % "
                        "mitochondrial counts"))  # fmt: skip
    keep = np.ones(adata.n_obs, dtype=bool)
    for mask, what in filters:
        mask = np.asarray(mask, dtype=bool)
        if not mask.all() or "any expression" not in what:
            journal.say(f"Filter: {what}; {int(np.sum(keep & ~mask)):,} more cells were removed.")
        keep &= mask
    if not keep.all():
        adata = _kept(adata, keep, "cells that pass the filters", journal)
    seen = n_not_zero(adata.X, axis=0) >= settings.min_cells
    if not seen.any():
        msg = f"No gene is seen in {plural(settings.min_cells, 'cell')}: lower {settings.spelled('min_cells')}."
        raise InputError(msg)
    if not seen.all():
        adata = adata[:, seen].copy()
        what = "never seen" if settings.min_cells == 1 else f"seen in fewer than {settings.min_cells} cells"
        journal.say(f"Removed {plural(int((~seen).sum()), 'gene')} {what}; {adata.n_vars:,} are left.")
    check_control(adata, settings, after=" after the filters")
    return adata


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
