"""What the pictures of perturbation effects share: which perturbations they draw, and how programs are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms._anndata.program_names import program_names
from scprograms._core.validate import check_int
from scprograms._draw.pixels import wrap_term
from scprograms.perturbation import tables
from scprograms.programs import tables as programs_tables

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from anndata import AnnData

EFFECT = "effect (standard deviations)"


def chosen_effects(
    adata: AnnData,
    groupby: str,
    *,
    key: str,
    perturbations: str | Iterable[str] | None,
    programs: str | Iterable[str] | None,
    n_perturbations: int | None,
) -> tuple[pd.DataFrame, list[str], list[str], int]:
    """Return the effects to draw, their perturbations, their programs, and how many perturbations there are.

    Without names, the ``n_perturbations`` with the smallest p-values in any of the programs are taken, of ties those
    with the largest effects.
    """
    if n_perturbations is not None:
        n_perturbations = check_int("n_perturbations", n_perturbations, at_least=1)
    if perturbations is not None:
        perturbations = [perturbations] if isinstance(perturbations, str) else list(map(str, perturbations))
    if programs is not None:
        programs = [programs] if isinstance(programs, str) else list(programs)
    table = tables.effects(adata, groupby, key=key, perturbation=perturbations, program=programs)
    available = list(dict.fromkeys(table["perturbation"]))
    if perturbations is not None:
        names = list(dict.fromkeys(perturbations))
    elif n_perturbations is None or n_perturbations >= len(available):
        names = available
    else:
        names = _strongest(table)[:n_perturbations]
        table = table[table["perturbation"].isin(names)]
    found = set(table["program"])
    wanted = programs if programs is not None else list(programs_tables.usages(adata, key=key).columns)
    return table, names, [name for name in dict.fromkeys(wanted) if name in found], len(available)


def _strongest(table: pd.DataFrame) -> list[str]:
    groups = table.assign(size=-table["effect"].abs()).groupby("perturbation", sort=False, observed=True)
    best = groups.agg(log10_p=("log10_p", "min"), size=("size", "min"))
    return [str(name) for name in best.sort_values(["log10_p", "size"], kind="stable").index]


def matrix(table: pd.DataFrame, column: str, rows: list[str], columns: list[str]) -> pd.DataFrame:
    """Return a column of the effects as perturbations x programs; what was not tested is missing."""
    wide = table.pivot_table(index="perturbation", columns="program", values=column, dropna=False, observed=True)
    return wide.reindex(index=rows, columns=columns).astype(np.float64)


def program_labels(adata: AnnData, key: str, programs: list[str], *, names: bool) -> list[str]:
    """Return what to write for each program: ``program_0`` and so on, or with ``names`` two lines of its name."""
    if not names:
        return programs
    return [wrap_term(name, width=40, n_lines=2) for name in program_names(adata, key, programs)]


def kind(table: pd.DataFrame) -> str:
    """Return what to call a row: what is compared with all other cells need not be a perturbation."""
    return "group" if table.attrs.get("versus") == "rest" else "perturbation"


def title(table: pd.DataFrame, n_drawn: int, n_all: int) -> str:
    """Return what is drawn: all perturbations, or which of them."""
    is_group = kind(table) == "group"
    what = f"{kind(table)}{'' if n_drawn == n_all == 1 else 's'}"
    if n_drawn >= n_all:
        return f"Programs in {n_drawn:,} {what}" if is_group else f"Effects of {n_drawn:,} {what} on programs"
    effects = "Programs in" if is_group else "Effects on programs of"
    return f"{effects} the {n_drawn} of {n_all:,} {what} with the smallest p"
