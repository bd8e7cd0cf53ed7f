"""All tables of an analysis in one Excel file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scprograms import get
from scprograms._anndata import slot_names
from scprograms._anndata.slots import read_fit
from scprograms._core.files import atomic_path

from ._effects import program_names
from ._versions import versions

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from anndata import AnnData

MAX_ROWS = 250_000
"""Rows per sheet. Excel stops at 1,048,576, but hardly opens a file of that size."""
_MAX_CHARACTERS = 32_767
_FORMATS = {"p": "0.00E+00", "whole": "#,##0", "decimal": "0.000"}
"""How numbers show; what is stored is the number itself."""
_SAFE = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}


def write_excel(
    adata: AnnData,
    groupby: str,
    path: str | os.PathLike[str],
    *,
    key: str = "semi_nmf",
    max_q: float = 0.05,
    n_top: int = 3,
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """Write the tests of the programs and their enriched terms as an Excel file.

    Parameters
    ----------
    adata
        Cells x genes, factorized and tested with :func:`scprograms.tl.program_anova`; the sheets on gene sets have no
        rows where :func:`scprograms.tl.program_enrichment` was not called, and those on effects are left out where
        :func:`scprograms.tl.perturbation_effects` and :func:`scprograms.tl.calibrate` were not.
    groupby
        Column of ``.obs`` that was tested.
    path
        File to write, of suffix ``.xlsx``; an older one stays whole until the new one is.
    key
        ``key_added`` of the factorization.
    max_q
        Largest adjusted p-value that counts as significant.
    n_top
        Terms per program and direction on the sheet of the top terms.
    parameters
        What to list as parameters; by default those of the factorization.

    Returns
    -------
    None. The sheets are ``W_ANOVA`` (all programs), ``Significant Factors`` (those with q up to ``max_q``, the
    strongest evidence first), ``Pathway Enrichment`` (all terms, best first), ``Top Pathways`` (the best significant
    terms), ``Perturbation Effects`` (every perturbation x program), ``Calibration`` (the summary of the tests within
    the control), ``Parameters`` and ``Versions``. Programs that have names stand with them. A sheet ends after 250,000
    rows, with a note; its first row stays in sight and has filters. All text is stored as text.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or ``groupby`` has not been tested on it.
    ValueError
        ``path`` has another suffix.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> from scprograms import report
    >>> adata = scp.datasets.simulate_screen(300, 100, n_programs=5)
    >>> sc.pp.normalize_total(adata)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 5)
    >>> scp.tl.program_anova(adata, "perturbation", method="replicate", replicate="guide")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report.write_excel(adata, "perturbation", pathlib.Path(folder, "programs.xlsx"))
    """
    if Path(path).suffix.lower() != ".xlsx":
        # Excel warns that such a file may be damaged, or does not open it.
        msg = f"path={str(path)!r} does not end in '.xlsx', the format that is written: choose such a name."
        raise ValueError(msg)
    anova = get.anova(adata, groupby, key=key)
    significant = anova[anova["q"] <= max_q].sort_values(["log10_p", "q"], kind="stable")
    try:
        terms = get.enrichment(adata, key=key)
    except KeyError:
        terms = pd.DataFrame(columns=["program", "direction", "library", "term", "p", "q", "genes"])
    best = terms[terms["q"] <= max_q].groupby(["program", "direction"], sort=False, observed=True).head(n_top)
    sheets = {
        "W_ANOVA": anova.rename_axis("program").reset_index(),
        "Significant Factors": significant.rename_axis("program").reset_index(),
        "Pathway Enrichment": terms,
        "Top Pathways": best,
    }
    with contextlib.suppress(KeyError):
        sheets["Perturbation Effects"] = get.effects(adata, groupby, key=key)
    with contextlib.suppress(KeyError):
        summary = get.calibration(adata, groupby, key=key, what="summary").iloc[0]
        sheets["Calibration"] = pd.DataFrame({"quantity": list(summary.index), "value": list(summary)})
    if names := program_names(adata, key=key):
        for sheet in ("W_ANOVA", "Significant Factors", "Perturbation Effects"):
            if sheet in sheets:
                place = 1 + list(sheets[sheet].columns).index("program")
                sheets[sheet].insert(place, "name", sheets[sheet]["program"].map(names))
    if parameters is None:
        parameters = read_fit(adata, key)[slot_names.PARAMS]
    about = {f"rows of {name!r}": len(table) for name, table in sheets.items()}
    sheets["Parameters"] = _as_sheet({**parameters, **about}, "parameter")
    sheets["Versions"] = _as_sheet(versions(), "software")
    with atomic_path(path) as part:
        _write(part, sheets)


def _as_sheet(entries: Mapping[str, Any], name: str) -> pd.DataFrame:
    values = [value if type(value) in (int, float) else str(value) for value in entries.values()]
    return pd.DataFrame({name: list(entries), "value": pd.Series(values, dtype=object)})


def _write(path: os.PathLike[str], sheets: Mapping[str, pd.DataFrame]) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(str(path), {**_SAFE, "constant_memory": True}) as book:
        bold = book.add_format({"bold": True, "bottom": 1, "bg_color": "#F0F3F6"})
        formats = {name: book.add_format({"num_format": form}) for name, form in _FORMATS.items()}
        for name, table in sheets.items():
            sheet = book.add_worksheet(name)
            sheet.freeze_panes(1, 1)
            shown = table.head(MAX_ROWS)
            sheet.autofilter(0, 0, max(1, len(shown)), max(0, len(table.columns) - 1))
            for column, title in enumerate(table.columns):
                texts = [*map(_width_sample, shown[title].head(200)), ""]
                # Beside a title stands the arrow of its filter.
                sheet.set_column(column, column, min(60, max(len(str(title)) + 4, 2 + max(map(len, texts)))))
                sheet.write_string(0, column, str(title), bold)
            of_columns = [_format_of(str(title)) for title in shown]
            for row, values in enumerate(zip(*(shown[title].tolist() for title in shown), strict=True), start=1):
                for column, (value, form) in enumerate(zip(values, of_columns, strict=True)):
                    _write_cell(sheet, row, column, value, formats, form)
            if len(shown) < len(table):
                note = f"The first {len(shown):,} of {len(table):,} rows; the others are in the AnnData."
                sheet.write_string(len(shown) + 1, 0, note)


def _decimal(value: float) -> str:
    """Return the format in which a number shows its first digits: what is very small or large needs a power."""
    return "decimal" if value == 0 or 1e-3 <= abs(value) < 1e6 else "p"


def _format_of(title: str) -> str | None:
    """Return the number format of a column of p-values or q-values; others go by what they hold."""
    return "p" if title in ("p", "q") else None


def _width_sample(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _write_cell(
    sheet: Any, row: int, column: int, value: Any, formats: Mapping[str, Any], form: str | None = None
) -> None:
    if isinstance(value, bool | np.bool_):
        sheet.write_boolean(row, column, bool(value))
    elif isinstance(value, int | float | np.number):
        if np.isfinite(value):
            whole = isinstance(value, int | np.integer)
            sheet.write_number(row, column, value, formats[form or ("whole" if whole else _decimal(float(value)))])
        elif not np.isnan(value):  # Excel has no infinity; what is missing stays empty
            sheet.write_string(row, column, "inf" if value > 0 else "-inf")
    elif value is not None and value is not pd.NA:
        text = str(value)
        if len(text) > _MAX_CHARACTERS:
            text = f"{text[: _MAX_CHARACTERS - 2]} …"
        sheet.write_string(row, column, text)
