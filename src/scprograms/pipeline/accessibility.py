"""``scprograms accessibility``: models of accessibility from files, into a folder of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scprograms import get, pl, tl
from scprograms._anndata import slot_names
from scprograms._anndata.transaction import write
from scprograms._core.files import atomic_path
from scprograms.accessibility.engine import AccessibilityModel

from ._h5ad import write_h5ad
from ._journal import InputError, Journal, explained, one_line

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

    from anndata import AnnData

MODEL_FILE, ATAC_FILE, PREDICTIONS_FILE = "model.npz", "atac.h5ad", "predictions.h5ad"
OWN_FILES = ("tables/*.csv", "figures/*.png", "figures/*.pdf", MODEL_FILE, ATAC_FILE, PREDICTIONS_FILE, "summary.txt")
_TARGET_SUM = 1e4
_SETTINGS = (
    "model", "n_genes", "n_peaks", "layer", "atac_layer", "groupby", "test_groups", "gene_distance",
    "hidden", "dropout", "normalization", "optimizer", "learning_rate", "epochs", "batch_size",
    "focal_weight", "dice_weight", "device", "random_state",
)  # fmt: skip


def train(options: Namespace, journal: Journal, stage: Path) -> list[str]:
    """Fit, test and write."""
    with journal.step("reading"):
        data = _read(options, journal)
        if len(data) < 2:
            msg = "Training needs both modalities: pass DATA.h5mu, or RNA.h5ad ATAC.h5ad."
            raise InputError(msg)
    with journal.step("training"):
        settings = {name: getattr(options, name) for name in _SETTINGS}
        try:
            with explained():
                model = tl.train_accessibility(data, **settings)
        except ImportError as error:
            raise InputError(one_line(error)) from error
        model.write(stage / MODEL_FILE)
    with journal.step("writing"):
        _write(data["atac"], stage)
    return [get.accessibility(data["atac"]).attrs["summary"]]


def predict(options: Namespace, journal: Journal, stage: Path) -> list[str]:
    """Predict by a model from a file."""
    with journal.step("reading"):
        with explained():
            model = AccessibilityModel.read(options.model_file)
        data = _read(options, journal)
    with journal.step("predicting"), explained():
        if len(data) == 1:
            found = tl.predict_accessibility(data["rna"], model, layer=options.layer)
        else:
            tl.predict_accessibility(data, model, layer=options.layer, atac_layer=options.atac_layer, evaluate=True)
    with journal.step("writing"):
        if len(data) == 1:
            write_h5ad(found, stage / PREDICTIONS_FILE)
            summary = f"Predicted {found.n_vars:,} peaks of {found.n_obs:,} cells."
        else:
            _write(data["atac"], stage)
            summary = get.accessibility(data["atac"]).attrs["summary"]
    return [summary]


def report(options: Namespace, journal: Journal, stage: Path) -> list[str]:
    """Write tables and figures of a file that has a report."""
    with journal.step("reading"):
        adata = _read_h5ad(options.atac_file)
        with explained():
            summary = get.accessibility(adata).attrs["summary"]
    with journal.step("writing"):
        _write_report(adata, stage)
    return [summary]


def _read(options: Namespace, journal: Journal) -> dict[str, AnnData]:
    paths = options.data
    if len(paths) > 2:
        msg = f"{len(paths)} files: pass DATA.h5mu, or RNA.h5ad ATAC.h5ad."
        raise InputError(msg)
    if len(paths) == 1 and paths[0].suffix == ".h5mu":
        data = _read_h5mu(paths[0], options)
    else:
        data = {name: _read_h5ad(path) for name, path in zip(("rna", "atac"), paths, strict=False)}
    if options.normalize:
        import scanpy as sc

        if options.layer is not None:
            write(data["rna"], X=data["rna"].layers[options.layer].copy())
            options.layer = None
        sc.pp.normalize_total(data["rna"], target_sum=_TARGET_SUM)
        sc.pp.log1p(data["rna"])
    sizes = " and ".join(f"{adata.n_vars:,} in {name}" for name, adata in data.items())
    journal.say(f"Read {data['rna'].n_obs:,} cells with {sizes}.")
    return data


def _read_h5mu(path: Path, options: Namespace) -> dict[str, AnnData]:
    try:
        import mudata
    except ImportError as error:
        msg = (
            f'Reading {str(path)!r} needs mudata, which is not installed: pip install "scprograms[deep]". Or pass '
            "RNA.h5ad ATAC.h5ad."
        )
        raise InputError(msg) from error
    _check_is_file(path)
    try:
        mdata = mudata.read_h5mu(path)
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        msg = f"{str(path)!r} cannot be read as an .h5mu file: {one_line(error)[:200]}"
        raise InputError(msg) from error
    for name in (options.rna, options.atac):
        if name not in mdata.mod:
            msg = f"{name!r} is no modality of {str(path)!r}. There: {', '.join(map(repr, mdata.mod))}."
            raise InputError(msg)
    data = {"rna": mdata[options.rna], "atac": mdata[options.atac]}
    missing = mdata.obs.columns.difference(data["atac"].obs.columns)
    write(data["atac"], obs=mdata.obs[missing].reindex(data["atac"].obs_names))
    return data


def _read_h5ad(path: Path) -> AnnData:
    import anndata

    _check_is_file(path)
    try:
        return anndata.read_h5ad(path)
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        msg = f"{str(path)!r} cannot be read as an .h5ad file: {one_line(error)[:200]}"
        raise InputError(msg) from error


def _check_is_file(path: Path) -> None:
    if not path.is_file():
        msg = f"{str(path)!r} {'is a folder; pass a file' if path.is_dir() else 'does not exist'}."
        raise InputError(msg)


def _write(atac: AnnData, stage: Path) -> None:
    _write_report(atac, stage)
    write_h5ad(atac, stage / ATAC_FILE)


def _write_report(atac: AnnData, stage: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    for folder in ("tables", "figures"):
        (stage / folder).mkdir(exist_ok=True)
    tables: dict[str, Any] = {name: get.accessibility(atac, of=name) for name in slot_names.ACCESSIBILITY_TABLES}  # type: ignore[arg-type]
    for name, table in tables.items():
        with atomic_path(stage / "tables" / f"{name}.csv") as part:
            table.to_csv(part, index=name in ("models", "peaks", "cells", "confusion", "validation"))
    for suffix in ("png", "pdf"):
        pl.accessibility_report(atac, show=False, save=stage / "figures" / f"report.{suffix}")
        pl.precision_recall(atac, show=False, save=stage / "figures" / f"precision_recall.{suffix}")
    with atomic_path(stage / "summary.txt") as part:
        part.write_text(tables["models"].attrs["summary"] + "\n", encoding="utf-8")
