"""One self-contained page on an analysis."""

from __future__ import annotations

import base64
import datetime as dt
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scprograms._anndata import slot_names
from scprograms._anndata.slots import read_fit
from scprograms._core.files import atomic_path, check_folder

from . import formats
from ._code import code_of
from ._summary import Summary, few_cells, summarise
from ._versions import versions
from .figures import DPI, Picture, write_figures

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from anndata import AnnData

_AT_MOST_ROWS = 60
"""Perturbations in the map of effects: the strongest, where there are more."""
_PIXELS_PER_INCH = 105
"""Of figures on the page: letters of 8 points are then as large as those of tables."""
_FULL_COLOR = 1.0
"""Effect at which the colour of the map is full, at least."""


def write_html(
    adata: AnnData,
    groupby: str,
    path: str | os.PathLike[str],
    *,
    control: str | None = None,
    key: str = "semi_nmf",
    max_q: float = 0.05,
    batch: str | None = None,
    title: str | None = None,
    steps: Sequence[str] = (),
    notes: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    pictures: Sequence[Picture] | None = None,
    extra: Sequence[Mapping[str, Any]] = (),
    files: Mapping[str, str] | None = None,
    repeat: Mapping[str, str] | None = None,
) -> None:
    """Write a page that says in words, tables and figures what was found: one file, which needs no network.

    Parameters
    ----------
    adata
        Cells x genes, factorized and tested with :func:`scprograms.tl.program_anova` and
        :func:`scprograms.tl.perturbation_effects`. What :func:`scprograms.tl.program_enrichment`,
        :func:`scprograms.tl.annotate_programs` and :func:`scprograms.tl.calibrate` found is shown where they were
        called.
    groupby
        Column of ``.obs`` with the perturbations, as tested.
    path
        File to write; an older one stays whole until the new one is.
    control
        Level of ``groupby`` to compare with; None where groups were compared with all other cells
        (``versus="rest"``).
    key
        ``key_added`` of the factorization.
    max_q
        Largest adjusted p-value that counts as significant.
    batch
        Column of ``.obs`` with batches that was tested as well: the page sets its effect beside the perturbations'.
    title
        Title of the page.
    steps
        Sentences on what was done before, such as quality control.
    notes
        Sentences that a reader should mind, such as warnings.
    parameters
        What to list as parameters; by default those of the factorization.
    pictures
        Figures from :func:`write_figures`; by default all are drawn for the page.
    extra
        Further sections: ``title``, and any of ``text`` (sentences), ``columns`` and ``rows`` (a table), ``picture``.
    files
        Files that lie beside the page, and what they hold.
    repeat
        Code that repeats the analysis, by what it is written in; by default the calls in Python from the factorization
        on, with the parameters that are stored with the results.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or it was not tested on ``groupby`` (and ``batch``).
    ValueError
        ``control`` is no level of ``groupby``, effects were tested against something else, or gene names are not
        unique.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> from scprograms import report
    >>> adata = scp.datasets.simulate_screen(300, 100, n_programs=5)
    >>> sc.pp.normalize_total(adata)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 5)
    >>> scp.tl.program_anova(adata, "perturbation", method="replicate", replicate="guide")
    >>> scp.tl.perturbation_effects(adata, "perturbation", "non-targeting", replicate="guide")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "report.html")
    ...     report.write_html(adata, "perturbation", path, control="non-targeting", pictures=[])
    ...     "non-targeting" in path.read_text(encoding="utf-8")
    True
    """
    check_folder(path)
    control = None if control is None else str(control)  # such as False, of a column of booleans
    summary = summarise(adata, groupby, control, key=key, max_q=max_q, batch=batch)
    with tempfile.TemporaryDirectory() as folder:
        if pictures is None:
            pictures = write_figures(adata, groupby, folder, control=control, key=key, max_q=max_q, formats=("png",))
        embedded = [_embed(picture) for picture in pictures]
    if parameters is None:
        parameters = read_fit(adata, key)[slot_names.PARAMS]
    html = _template().render(
        title=title or f"Gene programs by {groupby}",
        date=dt.datetime.now().astimezone().strftime("%d %B %Y"),
        groupby=groupby,
        key=key,
        batch=batch,
        n_cells=adata.n_obs,
        n_genes=adata.n_vars,
        summary=summary,
        small=few_cells(summary),
        map=_map(summary),
        steps=list(steps),
        notes=list(notes),
        pictures=embedded,
        extra=[
            {**section, "picture": _embed(section["picture"])} if "picture" in section else section for section in extra
        ],
        files=dict(files or {}),
        repeat=dict(repeat or {"In Python": code_of(adata, groupby, control, key=key, batch=batch)}),
        parameters={name: str(value) for name, value in parameters.items()},
        versions=versions(),
        q=formats.format_q,
        number=formats.format_number,
    )
    with atomic_path(path) as part:
        part.write_text(html, encoding="utf-8")


def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Names of genes and terms come from files: whatever is in them is text.
    environment = Environment(
        loader=PackageLoader("scprograms.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja")


def _embed(picture: Picture) -> dict[str, Any]:
    content = Path(picture.png).read_bytes()
    data = base64.b64encode(content).decode("ascii")
    pixels = int.from_bytes(content[16:20], "big")  # the first chunk of a PNG begins with its width
    return {
        "width": round(pixels / DPI * _PIXELS_PER_INCH),
        "name": picture.name,
        "title": picture.title,
        "caption": picture.caption,
        "source": f"data:image/png;base64,{data}",
    }


def _map(summary: Summary) -> dict[str, Any]:
    """Return perturbations x programs as coloured cells; both in the order of their strongest effect."""
    programs = [program.name for program in summary.programs]
    wide = summary.effects.pivot(index="perturbation", columns="program", values="effect")[programs]
    passed = summary.effects.pivot(index="perturbation", columns="program", values="q")[programs] <= summary.max_q
    sizes = summary.effects.groupby("perturbation")["n_cells"].max().astype(int).to_dict()
    largest_first = wide.abs().max(axis=1).fillna(0).sort_values(ascending=False, kind="stable").index
    order = sorted(largest_first, key=lambda name: sizes[name] < 10)[:_AT_MOST_ROWS]
    shown = wide.loc[order]
    top = max(_FULL_COLOR, float(np.nanpercentile(np.abs(shown), 99)) if shown.notna().any(axis=None) else 0.0)
    rows = []
    for name, values in zip(order, shown.to_numpy(), strict=True):
        cells = [
            {"text": formats.format_difference(v), "style": _color(v / top), "value": v, "significant": bool(found)}
            for v, found in zip(values, passed.loc[name], strict=True)
        ]
        rows.append({"name": name, "n_cells": sizes[name], "cells": cells})
    return {"rows": rows, "n_groups": len(wide)}


def _color(share: float) -> str:
    """Background from blue over white to red, and letters that stay legible on it."""
    if not np.isfinite(share):
        return ""
    strength = min(abs(share), 1.0)
    end = (178, 24, 43) if share > 0 else (33, 102, 172)
    red, green, blue = (round(255 + (channel - 255) * strength) for channel in end)
    return f"background:rgb({red},{green},{blue})" + (";color:#fff" if strength > 0.6 else "")
