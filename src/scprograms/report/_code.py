"""The calls that made an analysis, from the parameters that it left in the data."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from scprograms import get, tl
from scprograms._anndata import slot_names
from scprograms._anndata.slots import read_fit

from ._effects import effects_params, program_names
from .formats import method_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData


def code_of(adata: AnnData, groupby: str, control: str | None, *, key: str, batch: str | None = None) -> str:
    """Return the calls in Python that lead from a normalised matrix to the tables and figures of a page.

    They hold the parameters that are stored with the results; what was done before, such as filters, is not stored.
    """
    fit, effects = read_fit(adata, key), effects_params(adata, groupby, key=key)
    end = _arguments({"key": key}) if key != "semi_nmf" else ""
    lines = [
        "import scprograms as scp",
        "",
        "# adata: the cells x genes that were factorized",
        *_fit(fit[slot_names.PARAMS], key),
    ]
    anova = get.anova(adata, groupby, key=key)
    design: dict[str, Any] = {"method": method_of(anova)}
    if design["method"] == "replicate":
        design |= {name: effects[name] for name in ("replicate", "strata") if name in effects}
    lines.append(f"scp.tl.program_anova(adata, {groupby!r}{_arguments(_known(tl.program_anova, design))}{end})")
    if batch is not None:
        lines.append(f"scp.tl.program_anova(adata, {batch!r}{end})")
    options = _known(tl.perturbation_effects, {name: value for name, value in effects.items() if name != "control"})
    against = "" if control is None else f", {control!r}"
    lines.append(f"scp.tl.perturbation_effects(adata, {groupby!r}{against}{_arguments(options)}{end})")
    if slot_names.CALIBRATION_SUMMARY in fit and slot_names.table_name(groupby) in fit[slot_names.CALIBRATION_SUMMARY]:
        summary = get.calibration(adata, groupby, key=key, what="summary").iloc[0]
        how = {
            name: summary[name] for name in ("method", "replicate", "strata", "covariates", "n_splits", "group_size")
        }
        how = {name: value for name, value in how.items() if value != ""}
        lines.append(f"scp.tl.calibrate(adata, {groupby!r}, {summary['control']!r}{_arguments(how)}{end})")
    if slot_names.ENRICHMENT in fit:
        table = get.enrichment(adata, key=key)
        libraries = ", ".join(map(str, table["library"].unique()))
        sizes = {"n_genes": table["n_genes"].max()} if "n_genes" in table and len(table) else {}
        lines.append(f"# gene_sets: a file, a dictionary or a name for {libraries}")
        lines.append(f"scp.tl.program_enrichment(adata, gene_sets{_arguments(sizes)}{end})")
        lines += [f"scp.tl.annotate_programs(adata{end})"] if program_names(adata, key=key) else []
    compared = "" if control is None else f", control={control!r}"
    lines += [
        "",
        f'scp.report.write_html(adata, {groupby!r}, "report.html"{compared}{end})',
        f'scp.report.write_figures(adata, {groupby!r}, "figures"{compared}{end})',
    ]
    return "\n".join(lines)


def _fit(params: Mapping[str, Any], key: str) -> list[str]:
    verb = getattr(tl, str(params.get("method")), None)
    if verb is None or slot_names.PROJECTED_FROM in params:
        return [f"# programs: {dict(params)}"]
    options = {name: value for name, value in params.items() if name not in ("method", "n_programs", "key_added")}
    options = _known(verb, options) | ({"key_added": key} if key != "semi_nmf" else {})
    return [f"scp.tl.{params['method']}(adata, {int(params['n_programs'])}{_arguments(options)})"]


def _known(verb: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave away what is stored but no argument, and what is the default anyway."""
    arguments = inspect.signature(verb).parameters
    found = {}
    for name, value in options.items():
        plain = _plain(name, value)
        if name in arguments and plain != arguments[name].default:
            found[name] = plain
    return found


def _plain(name: str, value: Any) -> Any:
    """Return a value as it would be typed; several names are stored as one text."""
    if isinstance(value, np.ndarray):
        return [_plain(name, each) for each in value.tolist()]
    if isinstance(value, np.generic):
        value = value.item()
    if name in ("strata", "covariates") and isinstance(value, str) and ", " in value:
        return value.split(", ")
    return value


def _arguments(options: Mapping[str, Any]) -> str:
    return "".join(f", {name}={_plain(name, value)!r}" for name, value in options.items())
