"""Perturbations x programs as dots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms._core.validate import check_real
from scprograms._draw import dots, figure

from . import _effects

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PITCH = 0.21
"""Inches from dot to dot."""
_NAMED_PITCH = 0.27
"""The same where two lines of a program's name have to fit."""


def effects_dotplot(
    adata: AnnData,
    groupby: str,
    *,
    key: str = "semi_nmf",
    perturbations: str | Iterable[str] | None = None,
    programs: str | Iterable[str] | None = None,
    n_perturbations: int | None = 40,
    max_q: float = 0.05,
    size_cap: float = 10,
    percentile: float = 99,
    names: bool = False,
    cmap: str = "RdBu_r",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes | Figure:
    """Draw what every perturbation does to every program: colour is the effect, area is -log10 of the q-value.

    Perturbations are in the order of the program that they change most, those that raise it first; those without a
    significant effect come last.

    Parameters
    ----------
    adata
        Cells x genes, factorized and tested with :func:`scprograms.tl.perturbation_effects`.
    groupby
        Column of ``.obs`` that was tested.
    key
        ``key_added`` of the factorization.
    perturbations
        Perturbations to draw, in this order.
    programs
        Names of the programs to draw, in this order; all by default.
    n_perturbations
        How many to draw without ``perturbations``: those with the smallest p-values in any of the programs, of ties
        those with the largest effects. None draws all.
    max_q
        Dots with at most this q-value have a dark outline.
    size_cap
        ``-log10 q`` at which dots stop to grow; the legend says so where a dot reaches it.
    percentile
        The magnitude, as a percentile from 0 to 100 of the effects, at which colours end on both sides of zero.
    names
        Write the names of :func:`scprograms.tl.annotate_programs` in place of ``program_0`` and so on.
    cmap
        Colour map, diverging.
    ax
        Axes to draw in; by default new ones whose size suits the numbers of perturbations and programs.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    The axes of the dots (perturbations x programs), or the figure. What was not tested has no dot.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, its effects were not tested, or its programs have no names.
    TypeError
        ``n_perturbations`` is no integer, or a limit no number.
    ValueError
        A perturbation or program is not known, or a number is out of range.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> scp.tl.perturbation_effects(adata, "perturbation", "non-targeting", replicate="guide")
    >>> ax = scp.pl.effects_dotplot(adata, "perturbation", show=False)
    >>> len(ax.get_yticklabels()), len(ax.get_xticklabels())
    (5, 3)
    """
    max_q = check_real("max_q", max_q, at_least=0, at_most=1)
    size_cap = check_real("size_cap", size_cap, at_least=0.1)
    percentile = check_real("percentile", percentile, at_least=0, at_most=100)
    table, rows, columns, n_all = _effects.chosen_effects(
        adata, groupby, key=key, perturbations=perturbations, programs=programs, n_perturbations=n_perturbations
    )
    labels = _effects.program_labels(adata, key, columns, names=names)
    if perturbations is None:
        rows = _by_program(table, rows, columns, max_q)
    table = table[table["effect"].notna() & table["q"].notna()]
    fig, ax, owned = figure.sized_axes(
        ax,
        width=max(1.0, (_NAMED_PITCH if names else _PITCH) * len(columns) + 0.1),
        height=max(2.6, _PITCH * len(rows) + 0.1),
        left=figure.text_width(rows, 8) + 0.2,
        right=1.4,
        bottom=figure.text_width(labels, 7 if names else 8) + 0.25,
        top=0.55,
    )
    strength = dots.strength(table["q"])
    largest = float(min(size_cap, max(strength.max(initial=0), 2)))
    low, high = figure.color_limits(
        table["effect"].to_numpy() if len(table) else np.ones(1), percentile=percentile, symmetric=True
    )
    scale = min(1.0, _room(ax, len(rows), len(columns)))
    significant = (table["q"] <= max_q).to_numpy()
    # Small dots above large ones: none can hide where axes are crowded.
    order = np.argsort(-strength, kind="stable")
    drawn = ax.scatter(
        table["program"].map({name: i for i, name in enumerate(columns)}).to_numpy()[order],
        table["perturbation"].map({name: i for i, name in enumerate(rows)}).to_numpy()[order],
        s=dots.LARGEST * scale * np.minimum(strength[order] / largest, 1),
        c=table["effect"].to_numpy()[order],
        cmap=cmap,
        vmin=low,
        vmax=high,
        edgecolors=["black" if passed else "none" for passed in significant[order]],
        linewidths=0.7,
        gid="dots",
    )
    ax.set_xlim(-0.6, len(columns) - 0.4)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    _, height = figure.size_of(ax)
    ax.set_xticks(
        range(len(columns)), labels, rotation=90, fontsize=7 if names else 8, linespacing=1.0, multialignment="right"
    )
    ax.set_yticks(range(len(rows)), rows, fontsize=float(np.clip(72 * height / len(rows) * 0.8, 2, 8)))
    ax.tick_params(length=2)
    ax.grid(color="0.92", linewidth=0.5)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    figure.set_title(ax, _effects.title(table, len(rows), n_all if perturbations is None else len(rows)))
    figure.side_colorbar(ax, drawn, _effects.EFFECT, pad=0.2, height=1.5)
    capped = bool((strength > size_cap).any())
    dots.size_legend(ax, largest, below=1.7, capped=capped, outlined=f"q ≤ {max_q:g}", scale=scale)
    return figure.finish(fig, ax, owned=owned, show=show, return_fig=return_fig, save=save)


def _room(ax: Axes, n_rows: int, n_columns: int) -> float:
    """Return the area of the largest dot that has room, in units of the usual one."""
    width, height = figure.size_of(ax)
    pitch = min(width / max(1, n_columns), height / max(1, n_rows)) * 72
    return pitch**2 * np.pi / 4 / dots.LARGEST


def _by_program(table: pd.DataFrame, rows: list[str], columns: list[str], max_q: float) -> list[str]:
    effect = _effects.matrix(table, "effect", rows, columns).fillna(0).to_numpy()
    if not effect.size:
        return rows
    # A perturbation with a significant effect has its place by its largest one of those.
    significant = np.where(_effects.matrix(table, "q", rows, columns).to_numpy() <= max_q, effect, 0)
    without = np.asarray(~significant.any(axis=1))
    top = np.abs(np.where(without[:, None], effect, significant)).argmax(axis=1)
    return [rows[i] for i in np.lexsort((-effect[np.arange(len(rows)), top], top, without))]
