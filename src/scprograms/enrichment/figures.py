"""Enriched gene sets of programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scprograms._core.validate import check_real
from scprograms._draw import dots, figure
from scprograms._draw.pixels import few_ticks, wrap_term

from . import tables

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

_LINE = 0.12
"""Height of a line of a term."""


def enrichment_dotplot(
    adata: AnnData,
    *,
    key: str = "semi_nmf",
    programs: str | Iterable[str] | None = None,
    direction: Literal["up", "down"] | None = None,
    library: str | None = None,
    n_top: int = 3,
    max_q: float | None = 0.05,
    size_cap: float = 10,
    representative: bool = True,
    wrap: int = 54,
    cmap: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes | Figure:
    """Draw the best terms of every program as dots: colour is the score, area is -log10 of the q-value.

    A term that is among the best of one program has a dot under every program in which it passes ``max_q``.

    Parameters
    ----------
    adata
        Cells x genes, factorized and tested with :func:`scprograms.tl.program_enrichment`.
    key
        ``key_added`` of the factorization.
    programs
        Names of the programs to draw, in this order; all that have a term by default.
    direction
        Terms of the raised or of the lowered genes; both by default, in columns of their own.
    library
        Terms of this gene-set library; all by default.
    n_top
        Terms per program.
    max_q
        Largest q-value (adjusted p-value) to draw; None draws every term that was tested.
    size_cap
        ``-log10 q`` at which dots stop to grow; the legend says so where a dot reaches it.
    representative
        Take the ``n_top`` from different groups of redundant terms (see :func:`scprograms.tl.program_enrichment`),
        where the table says these: near synonyms leave no room for what else a program is about.
    wrap
        Characters per line of a term; what three lines cannot hold ends in an ellipsis.
    cmap
        Colour map. By default a sequential one for combined scores, and a diverging one about zero for the normalised
        enrichment scores (NES) of a ranked test.
    ax
        Axes to draw in; by default new ones whose size suits the numbers of terms and programs.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    The axes of the dots, or the figure.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or no enrichment of it.
    TypeError
        ``n_top`` is no integer, or ``max_q`` no number.
    ValueError
        A program, direction or library is not known, or no term passes ``max_q``.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> gene_sets = scp.datasets.planted_gene_sets(adata, n_genes=20)
    >>> scp.tl.program_enrichment(adata, gene_sets, n_genes=20)
    >>> ax = scp.pl.enrichment_dotplot(adata, n_top=1, show=False)
    >>> [label.get_text().split("_")[0] for label in ax.get_yticklabels()]
    ['planted', 'planted', 'planted']
    """
    size_cap = check_real("size_cap", size_cap, at_least=0.1)
    chosen: dict[str, Any] = {"key": key, "programs": programs, "direction": direction, "library": library}
    table = tables.enrichment(adata, **chosen, max_q=max_q)
    if table.empty:
        smallest = tables.enrichment(adata, **chosen)["q"].min()
        msg = f"No term has q <= max_q={max_q}: the smallest is {smallest:.2g}. Raise max_q, or pass max_q=None."
        raise ValueError(msg)
    distinct = representative and "representative" in table
    best = tables.enrichment(adata, **chosen, max_q=max_q, n_top=n_top, representative=distinct)
    terms = best[["library", "term"]].drop_duplicates().reset_index(drop=True)
    table = table.merge(terms.assign(row=terms.index), on=["library", "term"])
    found = table[["program", "direction"]].drop_duplicates()
    columns = [pair for program in best["program"].unique() for pair in _pairs(found, program)]
    two_way = table["direction"].nunique() > 1
    names = [f"{program} {way}" if two_way else program for program, way in columns]
    table = table.assign(
        column=[columns.index(pair) for pair in zip(table["program"], table["direction"], strict=True)]
    )

    texts = [wrap_term(str(term), width=wrap) for term in terms["term"]]
    lines = np.asarray([text.count("\n") + 1 for text in texts]) + 0.45
    y = np.cumsum(lines) - lines / 2
    fig, ax, owned = figure.sized_axes(
        ax,
        width=max(1.2, 0.24 * len(names)),
        height=max(2.2, lines.sum() * _LINE),
        left=figure.text_width(texts, 7) + 0.2,
        right=1.45,
        bottom=figure.text_width(names, 8) + 0.3,
        top=0.4,
    )
    strength = dots.strength(table["q"])
    largest = float(min(size_cap, max(strength.max(), 2)))
    drawn = _draw_dots(ax, table, y, cmap, np.minimum(strength / largest, 1))
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_ylim(lines.sum(), 0)
    ax.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    ax.set_yticks(y, texts, fontsize=7, linespacing=1.0)
    ax.tick_params(length=2)
    ax.grid(color="0.92", linewidth=0.5)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    name = "combined score" if "combined_score" in table else "normalised enrichment score"
    figure.set_title(ax, _title(n_top, max_q, distinct=distinct))
    bar = figure.side_colorbar(ax, drawn, name, pad=0.2, height=1.3)
    if bar.ax.get_yscale() == "log":
        ticks = few_ticks(*drawn.get_clim())
        bar.set_ticks(ticks, labels=[f"{tick:,.0f}" if tick < 1e5 else f"{tick:.0e}" for tick in ticks])
        bar.minorticks_off()
    dots.size_legend(ax, largest, below=1.45, capped=bool((strength > size_cap).any()))
    return figure.finish(fig, ax, owned=owned, show=show, return_fig=return_fig, save=save)


def _title(n_top: int, max_q: float | None, *, distinct: bool) -> str:
    limit = "" if max_q is None else f" with q ≤ {max_q:g}"
    return f"The best {n_top}{' distinct' if distinct else ''} terms of each program{limit}"


def _pairs(columns: pd.DataFrame, program: str) -> list[tuple[str, str]]:
    ways = columns.loc[columns["program"] == program, "direction"]
    return [(program, way) for way in ("up", "down") if way in set(ways)]


def _draw_dots(ax: Axes, table: pd.DataFrame, y: np.ndarray, cmap: str | None, share: np.ndarray) -> PathCollection:
    from matplotlib.colors import LogNorm, Normalize

    if "combined_score" in table:
        score = table["combined_score"].to_numpy(dtype=float)
        score = np.minimum(score, score[np.isfinite(score)].max(initial=1.0))
        low, high = float(score.min()), float(score.max())
        norm = LogNorm(low, high) if low > 0 and high > 30 * low else Normalize(min(low, 0), high)
    else:
        score = table["nes"].to_numpy(dtype=float)
        norm = Normalize(-np.abs(score).max(), np.abs(score).max())
    return ax.scatter(
        table["column"],
        y[table["row"]],
        s=dots.LARGEST * share,
        c=score,
        norm=norm,
        cmap=cmap or ("viridis_r" if "combined_score" in table else "RdBu_r"),
        edgecolors="0.3",
        linewidths=0.4,
        gid="dots",
    )
