"""The genes of programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from scprograms._anndata.selection import select_programs
from scprograms._core.clustering import cluster_rows
from scprograms._core.validate import check_choice, check_real, warn
from scprograms._draw import figure
from scprograms._draw.clustermap import ROOM_ABOVE, place_clustermap
from scprograms.programs import tables

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
_AT_MOST_CLUSTERED = 5000
"""Hierarchical clustering holds the distance of every pair of genes: 100 MB here, 1.6 GB at 20,000."""
_AT_MOST_NAMED = 300


def loading_heatmap(
    adata: AnnData,
    *,
    key: str = "semi_nmf",
    programs: str | Iterable[str] | None = None,
    n_genes: int | None = 5,
    direction: Literal["up", "down", "both"] = "up",
    percentile: float = 99,
    cmap: str = "RdBu_r",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes | Figure:
    """Draw the loadings of the top genes of every program, in the order of the programs.

    Parameters
    ----------
    adata
        Cells x genes, factorized. Gene names must be unique.
    key
        ``key_added`` of the factorization.
    programs
        Names of the programs to draw, in this order; all by default.
    n_genes
        Genes per program (and direction); a gene at the top of several is drawn once, with the first. None draws all
        genes in their own order.
    direction
        Which genes: those that the program raises, lowers, or both.
    percentile
        The magnitude, as a percentile from 0 to 100 of all that is drawn, at which colours end on both sides of zero.
    cmap
        Colour map, diverging.
    ax
        Axes to draw in; by default new ones whose size suits the numbers of genes and programs.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    The axes of the heatmap (genes x programs), or the figure.

    Raises
    ------
    KeyError
        There is no factorization under ``key``.
    TypeError
        ``n_genes`` is no integer.
    ValueError
        A program or ``direction`` is not known, ``n_genes`` is below 1, the percentile is not within 0 and 100, or gene
        names are not unique.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> ax = scp.pl.loading_heatmap(adata, n_genes=4, show=False)
    >>> ax.images[0].get_array().shape[1]
    3
    """
    percentile = check_real("percentile", percentile, at_least=0, at_most=100)
    table = _top_loadings(adata, key, programs, n_genes, direction)
    named = len(table) <= _AT_MOST_NAMED
    height, fontsize = figure.row_layout(len(table) if named else 60, at_most=15.2)
    side = figure.text_width(list(table.index), fontsize) if named else 0.1
    fig, ax, owned = figure.sized_axes(
        ax,
        width=float(np.clip(0.17 * table.shape[1], 1.2, 12)),
        height=height,
        left=side + 0.9,
        right=side + 1.6,
        bottom=figure.text_width(list(table.columns), 8) + 0.3,
        top=0.55,
    )
    low, high = figure.color_limits(table.to_numpy(), percentile=percentile, symmetric=True)
    drawn = ax.imshow(
        table.to_numpy(), aspect="auto", interpolation="nearest" if named else "auto", cmap=cmap, vmin=low, vmax=high
    )
    ax.set_yticks([])
    right = 0.0
    if named:
        importance = table.abs().max(axis=1).to_numpy()
        _, right = figure.label_rows(
            ax, np.arange(len(table)), list(table.index), fontsize=fontsize, importance=importance
        )
    else:
        ax.set_ylabel(f"{len(table):,} genes", fontsize=figure.LABEL_SIZE)
    figure.label_columns(ax, list(table.columns))
    figure.set_title(ax, _title(n_genes, direction, len(table)))
    figure.side_colorbar(ax, drawn, "loading", pad=0.15 + right)
    return figure.finish(fig, ax, owned=owned, show=show, return_fig=return_fig, save=save)


def loading_clustermap(
    adata: AnnData,
    *,
    key: str = "semi_nmf",
    programs: str | Iterable[str] | None = None,
    n_genes: int | None = 3,
    direction: Literal["up", "down", "both"] = "both",
    percentile: float = 99,
    cmap: str = "RdBu_r",
    method: str = "average",
    metric: str = "euclidean",
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> dict[str, Axes] | Figure:
    """Draw the loadings with genes and programs clustered hierarchically.

    Parameters
    ----------
    adata
        Cells x genes, factorized. Gene names must be unique.
    key
        ``key_added`` of the factorization.
    programs
        Names of the programs to draw; all by default.
    n_genes
        Genes per program (and direction); None draws all genes. More than 5,000 genes are not clustered but sorted by
        the program that loads highest on them.
    direction
        Which genes: those that the program raises, lowers, or both.
    percentile
        The magnitude, as a percentile from 0 to 100 of all that is drawn, at which colours end on both sides of zero.
    cmap
        Colour map, diverging.
    method
        Linkage of the clustering, as in :func:`scipy.cluster.hierarchy.linkage`.
    metric
        Distance between rows and between columns, as in :func:`scipy.spatial.distance.pdist`.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    The axes ``heatmap``, ``row_dendrogram``, ``column_dendrogram`` and ``colorbar``, or the figure.

    Raises
    ------
    KeyError
        There is no factorization under ``key``.
    TypeError
        ``n_genes`` is no integer.
    ValueError
        A program, ``direction``, ``method`` or ``metric`` is not known, ``n_genes`` is below 1, the percentile is not
        within 0 and 100, or gene names are not unique.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> axes = scp.pl.loading_clustermap(adata, n_genes=4, show=False)
    >>> sorted(axes)
    ['colorbar', 'column_dendrogram', 'heatmap', 'row_dendrogram']
    """
    import seaborn as sns

    percentile = check_real("percentile", percentile, at_least=0, at_most=100)
    table = _top_loadings(adata, key, programs, n_genes, direction).astype("float64")
    clustered = 1 < len(table) <= _AT_MOST_CLUSTERED
    if len(table) > _AT_MOST_CLUSTERED:
        warn(f"{len(table):,} genes are too many to cluster: they are sorted by program. Pass n_genes= for fewer.")
        best = table.to_numpy().argmax(axis=1)
        table = table.iloc[np.lexsort((-table.to_numpy().max(axis=1), best))]
    named = len(table) <= (_AT_MOST_NAMED if n_genes is not None else 100)
    pitch = float(np.clip(10 / len(table), 0.085, 0.14))
    fontsize = pitch * 72 * 0.82
    side = figure.text_width(list(table.index), fontsize) if named else 0.4
    width, height = float(np.clip(0.17 * table.shape[1], 1.6, 12)), max(2.5, len(table) * pitch) if named else 8.0
    branches, bottom = 0.8, figure.text_width(list(table.columns), 8) + 0.3
    figsize = (branches + width + side + 1.3, branches + height + bottom + ROOM_ABOVE)
    low, high = figure.color_limits(table.to_numpy(), percentile=percentile, symmetric=True)
    grid = sns.clustermap(
        table,
        cmap=cmap,
        vmin=low,
        vmax=high,
        row_cluster=clustered,
        col_cluster=table.shape[1] > 1,
        row_linkage=cluster_rows(table.to_numpy(), method, metric) if clustered else None,
        col_linkage=cluster_rows(table.to_numpy().T, method, metric),
        xticklabels=True,
        yticklabels=named,
        figsize=figsize,
        rasterized=True,
    )
    place_clustermap(grid, width=width, height=height, branches=branches, side=side, bottom=bottom)
    heatmap = grid.ax_heatmap
    heatmap.set_xlabel("")
    heatmap.set_ylabel("" if named else f"{len(table):,} genes", fontsize=figure.LABEL_SIZE)
    heatmap.tick_params(axis="y", labelsize=fontsize, length=2, pad=1)
    heatmap.tick_params(axis="x", labelsize=float(np.clip(72 * width / table.shape[1] * 0.8, 3.5, 8)), length=2)
    figure.set_title(grid.ax_col_dendrogram, _title(n_genes, direction, len(table)), pad=4)
    grid.ax_cbar.set_ylabel("loading", fontsize=figure.TICK_SIZE)
    grid.ax_cbar.tick_params(labelsize=figure.SMALL_SIZE, length=2)
    axes = {
        "heatmap": heatmap,
        "row_dendrogram": grid.ax_row_dendrogram,
        "column_dendrogram": grid.ax_col_dendrogram,
        "colorbar": grid.ax_cbar,
    }
    return figure.finish(grid.figure, axes, owned=True, show=show, return_fig=return_fig, save=save)


def _title(n_genes: int | None, direction: str, n_drawn: int) -> str:
    if n_genes is None:
        return f"Loadings of all {n_drawn:,} genes"
    ways = {"up": "most raised", "down": "most lowered", "both": "most raised and most lowered"}[direction]
    return f"The {n_genes} {ways} genes of each program"


def _top_loadings(
    adata: AnnData, key: str, programs: str | Iterable[str] | None, n_genes: int | None, direction: str
) -> pd.DataFrame:
    """Genes x programs: the genes at the top of any of the programs, grouped by the first of these."""
    check_choice("direction", direction, ("up", "down", "both"))
    table = tables.loadings(adata, key=key)
    table = table[select_programs(programs, list(table.columns))]
    if n_genes is None:
        return table
    directions: list[Any] = ["up", "down"] if direction == "both" else [direction]
    parts = [
        tables.top_genes(adata, key=key, n_genes=n_genes, direction=way, programs=list(table.columns), layout="long")
        for way in directions
    ]
    order = list(table.columns)
    genes = pd.concat(parts).sort_values("program", key=lambda names: names.map(order.index), kind="stable")
    return table.loc[genes["gene"].drop_duplicates()]
