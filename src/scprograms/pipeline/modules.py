"""``scprograms modules``: from accessibility to modules, in a folder of results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scprograms import get, pl, pp, report, tl
from scprograms._anndata.slot_names import table_name
from scprograms._core.files import atomic_path
from scprograms._core.validate import listing
from scprograms.report.figures import save_picture
from scprograms.report.formats import plural

from ._h5ad import write_h5ad
from ._journal import InputError, Journal, explained, one_line

if TYPE_CHECKING:
    from argparse import Namespace

    import pandas as pd
    from anndata import AnnData

KEY = "nmf"
N_STEPS = 6
OWN_FILES = ("beds/*.bed", "figures/*.png", "figures/*.pdf", "groups_*.csv")


def find_modules(options: Namespace, journal: Journal, stage: Path) -> None:
    """Find the modules of the file that the options name, and write everything into the folder."""
    with journal.step("reading"):
        adata = _read(options, journal)
    with journal.step("pseudo-bulk"):
        adata = _pseudobulk(adata, options, journal)
    with journal.step("factorization"):
        _factorize(adata, options, journal)
    with journal.step("modules"):
        _assign(adata, options, journal)
    with journal.step("figures"):
        _draw(adata, options, stage / "figures", journal)
    with journal.step("tables"):
        _write(adata, options, stage, journal)


def _read(options: Namespace, journal: Journal) -> AnnData:
    import anndata

    path = Path(options.peaks)
    if not path.is_file():
        msg = f"{str(path)!r} {'is a folder; pass an .h5ad file' if path.is_dir() else 'does not exist'}."
        raise InputError(msg)
    try:
        adata = anndata.read_h5ad(path)
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        msg = f"{str(path)!r} cannot be read as an .h5ad file: {one_line(error)[:200]}"
        raise InputError(msg) from error
    for column in options.groupby:
        if column not in adata.obs:
            msg = f"--groupby={column!r} is no column of .obs. There: {listing(adata.obs.columns)}."
            raise InputError(msg)
    with explained():
        get.coordinates(adata)  # before anything takes time: BED files need them
    source = "" if options.layer is None else f", layer {options.layer}"
    journal.say(f"Read {adata.n_obs:,} rows and {adata.n_vars:,} features from {path.name}{source}.")
    return adata


def _pseudobulk(adata: AnnData, options: Namespace, journal: Journal) -> AnnData:
    aggregated = not adata.obs.duplicated(options.groupby).any()
    with explained():
        bulk = pp.pseudobulk(
            adata,
            options.groupby,
            layer=options.layer,
            min_cells=1 if aggregated else options.min_cells,
            cap_percentile=options.cap_percentile,
        )
    columns = " x ".join(options.groupby)
    if aggregated:
        journal.say(f"Every row is a {columns} of its own, so rows were taken as {bulk.n_obs:,} samples.")
    else:
        journal.say(
            f"Summed {bulk.obs['n_cells'].sum():,} cells into {bulk.n_obs:,} samples ({columns}) of at least "
            f"{plural(options.min_cells, 'cell')}."
        )
    density = bulk.layers["counts"].nnz / np.prod(bulk.shape)
    cap = bulk.uns["pseudobulk"].get("cap")
    journal.say(
        f"Scaled every sample to a million counts; {density:.0%} of the values are not zero."
        + (
            ""
            if cap is None
            else f" Values above {cap:,.4g} (percentile {options.cap_percentile:g}) were lowered to it."
        )
    )
    if options.n_modules > bulk.n_obs or options.n_modules < 2:
        msg = f"-k {options.n_modules}: pass from 2 to {bulk.n_obs}, the number of samples."
        raise InputError(msg)
    return bulk


def _factorize(adata: AnnData, options: Namespace, journal: Journal) -> None:
    common: dict[str, Any] = {"random_state": options.random_state, "n_jobs": options.n_jobs, "key_added": KEY}
    with explained():
        if options.tradeoff:
            tl.module_tradeoff(adata, options.tradeoff, **common)
            table = get.module_tradeoff(adata, key=KEY)
            best = int(table.loc[table["suggested"], "n_programs"].iloc[0])
            journal.say(f"By the tradeoff of sparseness and entropy, {best} modules would be chosen.")
        if options.stability is None:
            tl.nmf(adata, options.n_modules, **common)
        else:
            tl.consensus(adata, options.n_modules, method="nmf", n_runs=options.stability, **common)
    ratio = get.history(adata, key=KEY)["error_ratio"].iloc[-1]
    journal.say(
        f"Found {plural(options.n_modules, 'module')} by non-negative matrix factorization. The error is {ratio:.4f} "
        "times that of the best approximation with as many components of either sign."
    )
    if options.stability is not None:
        table = get.programs(adata, key=KEY).var
        weak = table.index[table["stability"] < 0.7].tolist()
        journal.say(
            f"Modules are those that come back in {options.stability} refits on 70 % of the samples; mean stability "
            f"{table['stability'].mean():.2f}. Below 0.7: {', '.join(weak) or 'none'}."
        )


def _assign(adata: AnnData, options: Namespace, journal: Journal) -> None:
    with explained():
        tl.assign_modules(
            adata,
            options.groupby,
            key=KEY,
            rule=options.rule,
            scale=options.scale,
            min_contribution=options.min_contribution,
            random_state=options.random_state,
        )
    features = get.modules(adata, key=KEY, of="features")["module"].value_counts()
    own = get.modules(adata, key=KEY)["n_specific"]
    others = ", ".join(f"{count:,} are {name}" for name, count in features.items() if name not in own.index and count)
    journal.say(f"{own.sum():,} features are specific to one module; {others or 'there are no others'}.")


def _draw(adata: AnnData, options: Namespace, folder: Path, journal: Journal) -> None:
    def draw(name: str, function: Any, *args: Any) -> None:
        fig = function(adata, *args, key=KEY, show=False, return_fig=True)
        save_picture(fig, folder, name=name, title=name, caption="")

    draw("module_heatmap", pl.module_heatmap)
    draw("feature_score", pl.feature_score)
    if len(options.groupby) <= 2:
        draw("module_map", pl.module_map, *options.groupby)
    else:
        journal.note("The map of modules has two axes: it is drawn for one or two columns of --groupby only.")


def _write(adata: AnnData, options: Namespace, stage: Path, journal: Journal) -> None:
    tables: dict[str, pd.DataFrame] = {
        "features.csv.gz": get.modules(adata, key=KEY, of="features"),
        "samples.csv": get.modules(adata, key=KEY, of="samples"),
        "modules.csv": get.modules(adata, key=KEY).join(get.programs(adata, key=KEY).var),
    }
    for column in options.groupby:
        name = f"groups_{table_name(column)}.csv"
        tables[name] = get.modules(adata, key=KEY, of="groups", groupby=column)
    if options.tradeoff:
        tables["tradeoff.csv"] = get.module_tradeoff(adata, key=KEY)
    for name, table in tables.items():
        with atomic_path(stage / name) as part:
            table.to_csv(part)
    report.write_beds(adata, stage / "beds", key=KEY)
    write_h5ad(adata, stage / "modules.h5ad")
    journal.write_summary(stage, options.argv)
