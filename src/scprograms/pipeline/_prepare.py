"""From a file to log-normalised expression: reading, quality control, normalisation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scprograms import get
from scprograms._anndata.transaction import write
from scprograms._core.validate import listing
from scprograms.report.formats import plural

from ._cell_cycle import score_cell_cycle
from ._journal import InputError, Journal, explained, one_line
from ._lazy import kind_of, open_screen, sums, with_one_index_type
from ._quality import check_control, quality_control

if TYPE_CHECKING:
    from anndata import AnnData

    from ._settings import Settings

PANEL = 1000
"""Fewer genes than this are a targeted panel: 10,000 counts per cell would inflate its few."""
_LARGEST_LOGARITHM = 50
_COLUMNS = ("groupby", "subset_obs", "batch", "replicate")


def read_screen(settings: Settings, journal: Journal) -> AnnData:
    """Screen from its file or zarr store, checked."""
    import anndata

    path = Path(settings.screen or "")
    if not path.exists():
        msg = f"{str(path)!r} does not exist: check the path of the screen."
        raise InputError(msg)
    if path.is_dir() and not settings.lazy:
        msg = f"{str(path)!r} is a folder; pass an .h5ad file, or {settings.spelled('lazy')} if it is a zarr store."
        raise InputError(msg)
    try:
        adata = open_screen(path, settings) if settings.lazy else anndata.read_h5ad(path)
    except InputError:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        kind = "a zarr store" if path.is_dir() else "an .h5ad file"
        msg = f"{str(path)!r} cannot be read as {kind}: {one_line(error)[:200]}"
        raise InputError(msg) from error
    return check_screen(adata, settings, journal, source=path.name)


def check_screen(adata: AnnData, settings: Settings, journal: Journal, *, source: str) -> AnnData:
    """Check the columns that the settings name; put the layer into ``.X``; make names unique."""
    columns = [(name, getattr(settings, name)) for name in _COLUMNS]
    for setting, column in [*columns, *(("strata", name) for name in settings.strata)]:
        if column is not None and column not in adata.obs:
            msg = f"{settings.spelled(setting)}={column!r} is no column of .obs. There: {listing(adata.obs.columns)}."
            raise InputError(msg)
    if settings.layer is not None and not settings.lazy:
        if settings.layer not in adata.layers:
            msg = f"{settings.given('layer')} is no layer. There: {listing(_layers(adata))}."
            raise InputError(msg)
        write(adata, X=adata.layers[settings.layer].copy())
    if adata.X is None or 0 in adata.shape:
        msg = f"{source!r} has no expression matrix in .X ({adata.n_obs} cells x {adata.n_vars} genes)."
        raise InputError(msg + f" Layers: {listing(_layers(adata))}; choose one with {settings.spelled('layer')}.")
    if not settings.lazy:
        write(adata, X=with_one_index_type(adata.X))
    check_control(adata, settings)
    for names, what, repair in (
        (adata.var_names, "genes", adata.var_names_make_unique),
        (adata.obs_names, "cells", adata.obs_names_make_unique),
    ):
        if not names.is_unique:
            journal.note(f"{names.duplicated().sum()} {what} had a name that occurs before; a number was appended.")
            repair()
    layer = "" if settings.layer is None else f", layer {settings.layer}"
    lazily = " The matrix stayed on disk and was read in chunks of cells." if settings.lazy else ""
    journal.say(f"Read {adata.n_obs:,} cells and {adata.n_vars:,} genes from {source}{layer}.{lazily}")
    return adata


def _layers(adata: AnnData) -> list[str]:
    return [name for name in adata.layers if name is not None]  # anndata 0.13 lists .X as the layer None


def prepare(adata: AnnData, settings: Settings, journal: Journal) -> tuple[AnnData, dict[str, Any]]:
    """Return the cells and genes that pass, log-normalised, and what was chosen on the way."""
    import scanpy as sc

    kind, largest = kind_of(adata.X)
    with journal.step("quality control"):
        adata = quality_control(adata, settings, journal, is_counts=kind == "counts")
    chosen: dict[str, Any] = {"matrix": kind}
    with journal.step("normalisation"):
        if kind == "counts":
            if not settings.lazy:
                write(adata, layers={"counts": adata.X.copy()})
            target = settings.target_sum or (None if adata.n_vars < PANEL else 1e4)
            depth = target or float(np.median(sums(adata.X, axis=1)))
            sc.pp.normalize_total(adata, target_sum=target)
            sc.pp.log1p(adata)
            chosen["target_sum"] = f"median ({depth:g})" if target is None else target
            why = ""
            if target is None:
                why = f", the median, since a panel of {plural(adata.n_vars, 'gene')} is not a whole transcriptome"
            journal.say(
                f"Scaled every cell to {depth:,.0f} counts{why}, and took the natural logarithm of 1 + x."
                + ("" if settings.lazy else ' The raw counts are in layers["counts"].')
            )
        else:
            what = "holds values below zero" if kind == "signed" else "holds numbers that are not whole"
            journal.say(f"The matrix {what}, so it was taken as normalised already and used as it is.")
            if settings.target_sum is not None:
                journal.note(f"{settings.spelled('target_sum')} had no effect: the matrix is normalised already.")
            if kind == "log" and largest > _LARGEST_LOGARITHM:
                journal.note(
                    f"The matrix has values up to {largest:,.0f}, too large for logarithms: it may be normalised "
                    f"but not log-transformed. Raw counts ({settings.spelled('layer')}) are the safest input."
                )
        score_cell_cycle(adata, settings, journal)
        _indicate_batches(adata, settings, journal)
        chosen["mask_var"] = _choose_genes(adata, settings, journal)
    return adata, chosen


def _indicate_batches(adata: AnnData, settings: Settings, journal: Journal) -> None:
    if settings.batch is None:
        return
    with explained():
        labels = get.labels(adata, settings.batch)
    # A slash would nest columns in the file.
    names = {f"batch{level}".replace("/", "_"): level for level in labels.cat.categories}
    write(adata, obs={name: (labels == level).astype(float) for name, level in names.items()})
    journal.say(f"Added {plural(len(names), 'indicator column')} for {settings.batch}: {listing(names, at_most=6)}.")


def _choose_genes(adata: AnnData, settings: Settings, journal: Journal) -> str | None:
    import scanpy as sc

    if settings.n_top_genes is None and not settings.hvg:
        return None
    limits = {"min_mean": 0.0125, "max_mean": 3, "min_disp": 0.5}
    if settings.n_top_genes is not None:
        if settings.n_top_genes >= adata.n_vars:
            journal.note(f"{settings.given('n_top_genes')} had no effect: there are {adata.n_vars:,} genes.")
            return None
        limits = {"n_top_genes": settings.n_top_genes}
    with explained():
        sc.pp.highly_variable_genes(adata, **limits)
    n_chosen = int(adata.var["highly_variable"].sum())
    if n_chosen == 0:
        msg = (
            f"{settings.spelled('hvg')} selects no gene of this matrix: choose a number with "
            f"{settings.spelled('n_top_genes')}, or leave it out."
        )
        raise InputError(msg)
    journal.say(f"Chose {n_chosen:,} highly variable genes for the fit; the others get loadings by least squares.")
    return "highly_variable"
