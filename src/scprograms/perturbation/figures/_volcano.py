"""Effect against significance, of one program or of one perturbation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms._core.validate import check_int, check_real
from scprograms._draw import figure, palette
from scprograms._draw.pixels import spread, wrap_term
from scprograms.perturbation import tables

from . import _effects

if TYPE_CHECKING:
    import os

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = {"up": palette.UP, "down": palette.DOWN, "neither": palette.NEITHER}
_FONT = 7.0
_PAD = 0.12


def volcano(
    adata: AnnData,
    groupby: str,
    *,
    key: str = "semi_nmf",
    program: str | None = None,
    perturbation: str | None = None,
    max_q: float = 0.05,
    n_labels: int = 20,
    names: bool = False,
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes | Figure:
    """Draw the effects of all perturbations on one program, or of one perturbation on all programs, against -log10 p.

    Labels stand beside the points, at the left for lowered and at the right for raised usage, each with a line to its
    point.

    Parameters
    ----------
    adata
        Cells x genes, factorized and tested with :func:`scprograms.tl.perturbation_effects`.
    groupby
        Column of ``.obs`` that was tested.
    key
        ``key_added`` of the factorization.
    program
        Draw the perturbations, by their effects on this program.
    perturbation
        Draw the programs, by the effects of this perturbation on them. Give this or ``program``.
    max_q
        Points with at most this q-value are coloured.
    n_labels
        Points to name, at most: of those with ``q <= max_q`` the ones with the smallest p-values, of ties those with
        the largest effects; fewer where the axes have no room.
    names
        Write the names of :func:`scprograms.tl.annotate_programs` in place of ``program_0`` and so on.
    ax
        Axes to draw in; new ones by default.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    The axes, or the figure. What was not tested is not drawn.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, its effects were not tested, or its programs have no names.
    TypeError
        ``n_labels`` is no integer, or ``max_q`` no number.
    ValueError
        Both or neither of ``program`` and ``perturbation`` are given, the one that is given is not known or has no
        effect that could be tested, or a number is out of range.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> scp.tl.perturbation_effects(adata, "perturbation", "non-targeting", replicate="guide")
    >>> ax = scp.pl.volcano(adata, "perturbation", program="program_0", show=False)
    >>> ax.collections[0].get_offsets().shape
    (5, 2)
    """
    if (program is None) == (perturbation is None):
        msg = (
            f"program={program!r} and perturbation={perturbation!r}: give one of them. With program= every point is a "
            "perturbation, with perturbation= every point is a program."
        )
        raise ValueError(msg)
    max_q = check_real("max_q", max_q, at_least=0, at_most=1)
    n_labels = check_int("n_labels", n_labels, at_least=0)
    one = str(program if perturbation is None else perturbation)
    table = tables.effects(adata, groupby, key=key, perturbation=perturbation, program=program)
    table = table[np.isfinite(table["effect"]) & np.isfinite(table["log10_p"])].reset_index(drop=True)
    if table.empty:
        msg = f"{one!r} has no effect that could be tested: there is nothing to draw."
        raise ValueError(msg)
    many = "perturbation" if perturbation is None else "program"
    texts = list(table[many])
    if many == "program":
        texts = _effects.program_labels(adata, key, texts, names=names)
    elif names:
        one = f"{one}: {_effects.program_names(adata, key, [one])[0]}"

    significant = (table["q"] <= max_q).to_numpy()
    effect, height = table["effect"].to_numpy(dtype=float), -table["log10_p"].to_numpy(dtype=float)
    way = np.where(significant, np.where(effect > 0, "up", "down"), "neither")
    fig, ax, owned = figure.sized_axes(
        ax,
        width=5.6 if many == "perturbation" or not names else 7.5,
        height=4.2,
        left=0.65,
        right=0.2,
        bottom=0.6,
        top=0.6,
    )
    for name in ("neither", "down", "up"):
        points = way == name
        ax.scatter(
            effect[points],
            height[points],
            s=14 if len(table) <= 300 else 7,
            c=_COLORS[name],
            linewidths=0,
            rasterized=len(table) > 5000,
            gid=name,
        )
    ax.axvline(0, color="0.8", linewidth=0.6, zorder=0)
    top = float(height.max()) * 1.06 or 1.0
    ax.set_ylim(-0.02 * top, top)
    _label(ax, table, texts, way, n_labels=n_labels)
    what = _effects.kind(table) if many == "perturbation" else many
    counts = f"{(way == 'up').sum()} raise it, {(way == 'down').sum()} lower it"
    if what == "group":
        counts = f"{(way == 'up').sum()} use it more, {(way == 'down').sum()} less,"
    if many == "program":
        counts = f"{(way == 'up').sum()} raised, {(way == 'down').sum()} lowered"
    figure.set_title(ax, f"{wrap_term(one, width=76)}\n{len(table):,} {what}s; {counts} at q ≤ {max_q:g}")
    figure.name_axes(ax, _effects.EFFECT, figure.LOG10_P)
    return figure.finish(fig, ax, owned=owned, show=show, return_fig=return_fig, save=save)


def _label(ax: Axes, table: pd.DataFrame, texts: list[str], way: np.ndarray, *, n_labels: int) -> None:
    """Widen the axes by a column of labels on either side that needs one; no two labels overlap."""
    effect, log10_p = table["effect"].to_numpy(dtype=float), table["log10_p"].to_numpy(dtype=float)
    ranked = np.lexsort((-np.abs(effect), log10_p))
    ranked = ranked[way[ranked] != "neither"][:n_labels]
    width, height = figure.size_of(ax)
    bottom, top = ax.get_ylim()
    lines = max((texts[i].count("\n") + 1 for i in ranked), default=1)
    gap = _FONT * (1.2 * lines + 0.1) / 72 / height * (top - bottom)
    capacity = max(1, int((top - bottom) / gap))
    sides = {name: ranked[way[ranked] == name][:capacity] for name in ("down", "up")}
    room = {
        name: figure.text_width([texts[i] for i in rows], _FONT) + 2 * _PAD if len(rows) else _PAD
        for name, rows in sides.items()
    }
    # Names so long that they would leave no room for the points run over the edge of the axes instead.
    shrink = min(1.0, 0.7 * width / (room["up"] + room["down"]))
    room = {name: inches * shrink for name, inches in room.items()}
    low, high = min(float(effect.min()), 0.0), max(float(effect.max()), 0.0)
    per_inch = ((high - low) or 1.0) / (width - room["up"] - room["down"])
    ax.set_xlim(low - room["down"] * per_inch, high + room["up"] * per_inch)
    for name, rows in sides.items():
        order = rows[np.lexsort((np.abs(effect[rows]), -log10_p[rows]))]
        at = spread(-log10_p[order], gap, low=bottom + gap / 2, high=top - gap / 2)
        right = name == "up"
        edge = high + _PAD * per_inch if right else low - _PAD * per_inch
        for i, y in zip(order, at, strict=True):
            ax.annotate(
                texts[i],
                (effect[i], -log10_p[i]),
                xytext=(edge, y),
                fontsize=_FONT,
                ha="left" if right else "right",
                va="center",
                linespacing=1.0,
                arrowprops={
                    "arrowstyle": "-",
                    "color": "0.6",
                    "linewidth": 0.4,
                    "shrinkA": 1,
                    "shrinkB": 2,
                    "relpos": (0.0 if right else 1.0, 0.5),
                },
                gid="label",
            )
