"""What a page says about each program: names, numbers and sentences, without any markup."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scprograms import get
from scprograms._anndata import slot_names
from scprograms._anndata.slots import read_fit
from scprograms.perturbation.figures import kind

from ._effects import (
    FEWEST_CELLS,
    calibration_in_words,
    compared_with,
    effects_params,
    effects_test,
    program_names,
    read_effects,
    strongest,
)
from .formats import (
    MINUS,
    NOTHING,
    TESTS,
    enumerate_names,
    format_difference,
    format_number,
    format_q,
    method_of,
    plural,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anndata import AnnData

N_IN_SHORT = 5
"""Programs that are told in sentences at the top."""
CLEAR = 0.2
"""Standardised difference from which a sentence names a perturbation (Cohen's "small" effect)."""
_N_GENES, _N_GROUPS, _N_TERMS = 15, 10, 5

_GO_ID = re.compile(r"\s*\(GO:\d+\)$")

# Words in names of columns of .obs that tell which cells are not independent of each other.
_UNITS = ("guide", "grna", "replicate", "rep", "batch", "donor", "patient", "clone", "sample", "lane", "gem")


@dataclass(frozen=True)
class Program:
    """One program on the page."""

    name: str
    called: str
    """Its name by :func:`scprograms.tl.annotate_programs`; empty where there is none."""
    up: list[tuple[str, str]]
    """Raised genes and their loadings."""
    down: list[tuple[str, str]]
    groups: list[dict[str, Any]]
    """The strongest perturbations: ``name, n_cells, effect, value, q, significant, own`` (a gene of the program)."""
    terms: dict[str, list[dict[str, Any]]]
    """Per direction: ``term, library, q, overlap, genes, significant``."""
    numbers: dict[str, float]
    sentences: list[str]

    @property
    def label_up(self) -> str:
        """The first raised genes."""
        return ", ".join(gene for gene, _ in self.up[:4]) or NOTHING

    @property
    def label_down(self) -> str:
        """The first lowered genes."""
        return ", ".join(gene for gene, _ in self.down[:4]) or NOTHING


@dataclass(frozen=True)
class Summary:
    """Everything that a page says about an analysis."""

    programs: list[Program]
    effects: pd.DataFrame
    effects_test: str
    """Test of the effects, in words."""
    calibration: list[str]
    """What the test finds where there is nothing; empty if that was not tried."""
    groups: list[tuple[str, int]]
    """Groups and their sizes, the control first where there is one."""
    kind_of_group: str
    """What to call a group, in one word."""
    compared_with: str
    """What groups are compared with, in words."""
    in_short: list[str]
    leading: list[Program]
    """The programs to tell of first: significant, strongest evidence first."""
    units: list[str]
    """Columns of ``.obs`` that may hold guides or replicates, with their numbers of levels."""
    method: str
    """Method of the test."""
    has_terms: bool
    max_q: float
    n_genes: int = _N_GENES


def summarise(
    adata: AnnData, groupby: str, control: str | None, *, key: str, max_q: float, batch: str | None = None
) -> Summary:
    """Read all results off a factorized and tested screen."""
    anova = get.anova(adata, groupby, key=key)
    about = read_fit(adata, key)[slot_names.PROGRAMS]
    effects = read_effects(adata, groupby, control, key=key)
    called = program_names(adata, key=key)
    sizes = get.labels(adata, groupby, control=control).value_counts(sort=False)
    try:
        terms = get.enrichment(adata, key=key)
    except KeyError:
        terms = None
    numbers = anova[["F", "log10_p", "q", "eta_squared"]].join(about[["variance_explained", "sparsity"]])
    if batch is not None:
        numbers["eta_squared_batch"] = get.anova(adata, batch, key=key)["eta_squared"]
    genes = {
        way: get.top_genes(adata, key=key, n_genes=_N_GENES, direction=way, layout="long") for way in ("up", "down")
    }
    programs = []
    for name in anova.index:
        ends = {way: _genes(table, name) for way, table in genes.items()}
        top = strongest(effects[effects["program"] == name], n_top=_N_GROUPS)
        own = {gene for genes_of_end in ends.values() for gene, _ in genes_of_end}
        found = {way: _terms(terms, name, way, max_q) for way in ("up", "down")}
        rows: Iterable[Any] = top.itertuples()
        programs.append(
            Program(
                name=str(name),
                called=called.get(str(name), ""),
                up=ends["up"],
                down=ends["down"],
                groups=[
                    {
                        "name": row.perturbation,
                        "n_cells": int(row.n_cells),
                        "effect": format_difference(row.effect),
                        "value": row.effect,
                        "q": format_q(row.q),
                        "significant": bool(row.q <= max_q),
                        "own": row.perturbation in own,
                    }
                    for row in rows
                ],
                terms=found,
                numbers=numbers.loc[name].to_dict(),
                sentences=_sentences(top[top["q"] <= max_q], ends, found, control, max_q),
            )
        )
    programs.sort(key=lambda program: np.nan_to_num(program.numbers["log10_p"], nan=np.inf))
    return Summary(
        programs=programs,
        effects=effects,
        effects_test=effects_test(effects_params(adata, groupby, key=key)),
        calibration=calibration_in_words(adata, groupby, key=key),
        groups=[(str(name), int(n)) for name, n in sizes.items()],
        kind_of_group=kind(effects),
        compared_with=compared_with(control),
        in_short=_in_short(programs, effects, groupby, max_q, n_groups=len(sizes), method=method_of(anova)),
        leading=[program for program in programs if program.numbers["q"] <= max_q][:N_IN_SHORT],
        units=_units(adata, groupby, anova, strata=str(effects_params(adata, groupby, key=key).get("strata", ""))),
        method=method_of(anova),
        has_terms=terms is not None,
        max_q=max_q,
    )


def _genes(table: pd.DataFrame, program: str) -> list[tuple[str, str]]:
    rows: Iterable[Any] = table[table["program"] == program].itertuples()
    return [(str(row.gene), format_number(row.loading, 2).replace("-", MINUS)) for row in rows]


def _terms(terms: pd.DataFrame | None, program: str, direction: str, max_q: float) -> list[dict[str, Any]]:
    if terms is None:
        return []
    part = terms[(terms["program"] == program) & (terms["direction"] == direction)].head(_N_TERMS)
    return [
        {
            "term": str(row["term"]),
            "short": _GO_ID.sub("", str(row["term"])),
            "library": str(row["library"]),
            "q": format_q(row["q"]),
            "q_value": row["q"],
            "overlap": f"{row['overlap']} of {row['term_size']}" if "overlap" in row else str(row["term_size"]),
            "genes": str(row["genes"]).replace(";", ", "),
            "significant": bool(row["q"] <= max_q),
        }
        for _, row in part.iterrows()
    ]


def _sentences(
    top: pd.DataFrame,
    ends: dict[str, list[tuple[str, str]]],
    terms: dict[str, list[dict[str, Any]]],
    control: str | None,
    max_q: float,
) -> list[str]:
    up, down = ([gene for gene, _ in ends[way][:3]] for way in ("up", "down"))
    under = "in" if kind(top) == "group" else "under"
    sentences = []
    for sign, word in ((1, "more"), (-1, "less")):
        moved = top[sign * top["effect"] >= CLEAR]
        if moved.empty:
            continue
        # The product decides what a cell shows: less of a program means less of the genes that it raises.
        more, less = (up, down) if sign > 0 else (down, up)
        rows: Iterable[Any] = moved.itertuples()
        named = [f"{row.perturbation} ({format_difference(row.effect)})" for row in rows]
        sentences.append(
            f"Compared with {compared_with(control)}, used {word} {under} {enumerate_names(named, at_most=6)}; this "
            f"shifts the cells {' and '.join(_shifts(more, less))}."
        )
    if not sentences:
        sentences.append(f"No {kind(top)} shifts its mean usage by {CLEAR} standard deviations at q ≤ {max_q:g}.")
    for way, word in (("up", "raised"), ("down", "lowered")):
        found = [term for term in terms[way] if term["significant"]]
        if found:
            sentences.append(
                f"Its {word} genes are enriched in {found[0]['term']} (q = {found[0]['q']}; "
                f"{enumerate_names(found[0]['genes'].split(', '), at_most=8)})."
            )
    return sentences


def _shifts(more: list[str], less: list[str]) -> list[str]:
    ways = (("towards", more), ("away from", less))
    return [f"{way} {enumerate_names(genes)}" for way, genes in ways if genes]


def _in_short(
    programs: list[Program], effects: pd.DataFrame, groupby: str, max_q: float, *, n_groups: int, method: str
) -> list[str]:
    n_found = sum(program.numbers["q"] <= max_q for program in programs)
    lines = [
        f"{n_found} of {plural(len(programs), 'program')} differ between the {n_groups} groups of {groupby} at "
        f"q ≤ {max_q:g} ({TESTS[method]}, Benjamini-Hochberg over the programs; see the warning below).",
        _effects_in_short(effects, max_q),
    ]
    if n_found > N_IN_SHORT:
        lines.append(f"The {N_IN_SHORT} programs with the strongest evidence:")
    if not n_found:
        lines.append("No program is told apart from chance by this test over all groups at once.")
    return lines


def _effects_in_short(effects: pd.DataFrame, max_q: float) -> str:
    found = effects[effects["q"] <= max_q]
    n_groups, n_pairs = effects["perturbation"].nunique(), int(effects["p"].notna().sum())
    if found.empty:
        return f"None of the {n_pairs:,} effects of single {kind(effects)}s on single programs has q ≤ {max_q:g}."
    return (
        f"{plural(found['perturbation'].nunique(), kind(effects))} of {n_groups} "
        f"{'changes' if found['perturbation'].nunique() == 1 else 'change'} the usage of "
        f"{plural(found['program'].nunique(), 'program')}: {len(found):,} of {n_pairs:,} effects have q ≤ {max_q:g}."
    )


def _units(adata: AnnData, groupby: str, anova: pd.DataFrame, *, strata: str) -> list[str]:
    found = []
    told = set(str(anova["unused_replicates"].iloc[0]).split(",")) if "unused_replicates" in anova else set()
    for name in map(str, adata.obs.columns):
        words = name.lower().replace(".", "_").replace("-", "_").split("_")
        column = adata.obs[name]
        named = not pd.api.types.is_numeric_dtype(column) and any(w.rstrip("s") in _UNITS for w in words)
        if name in (groupby, *strata.split(", ")) or not (named or name in told):
            continue
        n_levels = column.nunique()
        if 1 < n_levels <= adata.n_obs / 2:
            found.append(f"{name} with {n_levels} levels")
    return found


def few_cells(summary: Summary) -> list[str]:
    """Return the groups that are too small to be named as the strongest."""
    tested = set(summary.effects["perturbation"].astype(str))
    return [name for name, n in summary.groups if n < FEWEST_CELLS and name in tested]
