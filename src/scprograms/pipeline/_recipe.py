"""Code for a notebook that repeats a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._settings import Settings


_MEASURES = 'sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=None, log1p=False, inplace=True)'
_LAZY_MEASURES = [  # those that filters need: for the others scanpy would hold the whole matrix
    'adata.obs["total_counts"] = sc.pp.filter_cells(adata.X, min_counts=0)[1].compute()',
    'mito = sc.pp.filter_cells(adata[:, adata.var["mt"]].X, min_counts=0)[1].compute()',
    'adata.obs["pct_counts_mt"] = 100 * mito / adata.obs["total_counts"]',
]


def notebook_code(settings: Settings, chosen: Mapping[str, Any]) -> str:
    """Return the calls that lead from the file to the same programs, tests and figures."""
    groupby, control = settings.groupby, settings.control
    lines = [
        "import anndata, scanpy as sc, scprograms as scp",
        "",
        *_opening(settings),
    ]
    if settings.layer is not None and not settings.lazy:
        lines.append(f"adata.X = adata.layers[{settings.layer!r}].copy()")
    if settings.subset_obs is not None:
        lines.append(
            f'adata = adata[adata.obs[{settings.subset_obs!r}].astype(str).str.lower().isin(["true", "1"])].copy()'
        )
    prefixes = (settings.mito_prefix,) if settings.mito_prefix else ("MT-", "mt-")
    if chosen["matrix"] == "counts":
        lines.append(f'adata.var["mt"] = adata.var_names.str.startswith({prefixes!r})')
        lines += _LAZY_MEASURES if settings.lazy else [_MEASURES]
    lines.append(f"sc.pp.filter_cells(adata, min_genes={settings.min_genes or 1})")
    if settings.min_counts is not None:
        lines.append(f'adata = adata[adata.obs["total_counts"] >= {settings.min_counts!r}].copy()')
    if settings.max_mito is not None:
        lines.append(f'adata = adata[adata.obs["pct_counts_mt"] <= {settings.max_mito!r}].copy()')
    lines.append(f"sc.pp.filter_genes(adata, min_cells={settings.min_cells})")
    if chosen["matrix"] == "counts":
        target = chosen["target_sum"]
        lines += [] if settings.lazy else ['adata.layers["counts"] = adata.X.copy()']
        lines += [
            f"sc.pp.normalize_total(adata{'' if isinstance(target, str) else f', target_sum={target:g}'})",
            "sc.pp.log1p(adata)",
        ]
    if chosen["mask_var"] is not None:
        which = (
            f"n_top_genes={settings.n_top_genes}"
            if settings.n_top_genes
            else "min_mean=0.0125, max_mean=3, min_disp=0.5"
        )
        lines.append(f"sc.pp.highly_variable_genes(adata, {which})")
    lines += ["", f"scp.tl.semi_nmf(adata, {', '.join(_fit_arguments(settings, chosen))})"]
    design = _design(settings)
    against = ', versus="rest"' if control is None else f", {control!r}"
    marked = "" if control is None else f", control={control!r}"
    lines.append(f"scp.tl.program_anova(adata, {groupby!r}{_anova_design(settings)})")
    lines.append(f"scp.tl.perturbation_effects(adata, {groupby!r}{against}{design})")
    if chosen["calibrated"]:
        lines.append(f"scp.tl.calibrate(adata, {groupby!r}, {control!r}{design})")
    if chosen["n_genes"] is not None:
        sizes = f"n_genes={chosen['n_genes']}, min_size={settings.min_size}, max_size={settings.max_size}"
        lines += [
            f"gene_sets = {list(map(str, settings.gene_sets))!r}",
            f'scp.tl.program_enrichment(adata, gene_sets, {sizes}, direction="both", organism={settings.organism!r})',
            "scp.tl.annotate_programs(adata)",
        ]
    lines += [
        "",
        f"scp.get.anova(adata, {groupby!r})",
        f"scp.get.effects(adata, {groupby!r})",
        f"scp.pl.program_boxplot(adata, {groupby!r}{marked})",
        f"scp.pl.effects_dotplot(adata, {groupby!r}{', names=True' if chosen['n_genes'] is not None else ''})",
    ]
    if chosen["calibrated"]:
        lines.append(f"scp.pl.calibration(adata, {groupby!r})")
    return "\n".join(lines)


def _opening(settings: Settings) -> list[str]:
    if settings.screen is None:
        return ["adata = ...  # the cells x genes that were analysed"]
    if not settings.lazy:
        return [f"adata = anndata.read_h5ad({str(settings.screen)!r})"]
    path, where = settings.screen, "X" if settings.layer is None else f"layers/{settings.layer}"
    call = f"zarr.open_group({str(path)!r}, " if path.is_dir() else f"h5py.File({str(path)!r}, "
    return [
        f"import {call.partition('.')[0]}",
        "",
        f'file = {call}mode="r")',
        f"X = anndata.experimental.read_elem_lazy(file[{where!r}])",
        'tables = {name: anndata.io.read_elem(file[name]) for name in ("obs", "var")}',
        "adata = anndata.AnnData(X.rechunk({1: -1}), **tables)",
    ]


def _anova_design(settings: Settings) -> str:
    return ', method="replicate"' + _design(settings, seed=False) if settings.replicate is not None else ""


def _design(settings: Settings, *, seed: bool = True) -> str:
    words = [f"replicate={settings.replicate!r}"] if settings.replicate is not None else []
    words += [f"strata={settings.strata!r}"] if settings.strata else []
    words += [f"random_state={settings.random_state}"] if seed else []
    return "".join(f", {word}" for word in words)


def _fit_arguments(settings: Settings, chosen: Mapping[str, Any]) -> list[str]:
    arguments = [str(settings.n_programs)]
    if chosen["mask_var"] is not None:
        arguments.append(f"mask_var={chosen['mask_var']!r}")
    if settings.center is not None:
        arguments.append(f"center={settings.center!r}")
    if settings.center == "control":
        arguments.append(f"control=({settings.groupby!r}, {settings.control!r})")
    if settings.scale:
        arguments.append("scale=True")
    return [*arguments, f"init={settings.init!r}", f"l1={settings.l1!r}", f"random_state={settings.random_state}"]
