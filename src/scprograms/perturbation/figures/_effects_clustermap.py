"""Perturbations with the same signature together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms._core.clustering import cluster_rows
from scprograms._core.validate import check_real, warn
from scprograms._draw import figure
from scprograms._draw.clustermap import ROOM_ABOVE, place_clustermap

from . import _effects

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_AT_MOST_CLUSTERED = 5000
_AT_MOST_NAMED = 130


def effects_clustermap(
    adata: AnnData,
    groupby: str,
    *,
    key: str = "semi_nmf",
    perturbations: str | Iterable[str] | None = None,
    programs: str | Iterable[str] | None = None,
    n_perturbations: int | None = 80,
    max_q: float = 0.05,
    percentile: float = 99,
    names: bool = False,
    cmap: str = "RdBu_r",
    method: str = "average",
    metric: str = "cosine",
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> dict[str, Axes] | Figure:
    """Draw the effects of perturbations on programs, with perturbations of the same signature next to each other.

    Parameters
    ----------
    adata
        Cells x genes, factorized and tested with :func:`scprograms.tl.perturbation_effects`.
    groupby
        Column of ``.obs`` that was tested.
    key
        ``key_added`` of the factorization.
    perturbations
        Perturbations to draw.
    programs
        Names of the programs to draw; all by default.
    n_perturbations
        How many to draw without ``perturbations``: those with the smallest p-values in any of the programs, of ties
        those with the largest effects. None draws all. More than 130 are drawn without their names.
    max_q
        Effects with at most this q-value have a point, where rows are named.
    percentile
        The magnitude, as a percentile from 0 to 100 of the effects, at which colours end on both sides of zero.
    names
        Write the names of :func:`scprograms.tl.annotate_programs` in place of ``program_0`` and so on.
    cmap
        Colour map, diverging.
    method, metric
        Linkage and distance of the clustering, as in :func:`scipy.cluster.hierarchy.linkage`. The cosine compares
        signatures whatever their strength. Effects that were not tested count as zero here.
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
        There is no factorization under ``key``, its effects were not tested, or its programs have no names.
    TypeError
        ``n_perturbations`` is no integer, or a limit no number.
    ValueError
        A perturbation, program, ``method`` or ``metric`` is not known, or a number is out of range.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> scp.tl.perturbation_effects(adata, "perturbation", "non-targeting", replicate="guide")
    >>> sorted(scp.pl.effects_clustermap(adata, "perturbation", show=False))
    ['colorbar', 'column_dendrogram', 'heatmap', 'row_dendrogram']
    """
    import seaborn as sns

    max_q = check_real("max_q", max_q, at_least=0, at_most=1)
    percentile = check_real("percentile", percentile, at_least=0, at_most=100)
    tested, rows, columns, n_all = _effects.chosen_effects(
        adata, groupby, key=key, perturbations=perturbations, programs=programs, n_perturbations=n_perturbations
    )
    labels = _effects.program_labels(adata, key, columns, names=names)
    table = _effects.matrix(tested, "effect", rows, columns)
    by_row = cluster_rows(table.to_numpy(), method, metric) if len(rows) <= _AT_MOST_CLUSTERED else None
    if len(rows) > _AT_MOST_CLUSTERED:
        kind = _effects.kind(tested)
        warn(f"{len(rows):,} {kind}s are too many to cluster: they keep their order. Pass n_perturbations=.")
    by_column = cluster_rows(table.to_numpy().T, method, metric)
    named = len(rows) <= _AT_MOST_NAMED
    pitch = float(np.clip(10 / len(rows), 0.085, 0.16))
    fontsize = min(8.0, pitch * 72 * 0.82)
    side = figure.text_width(rows, fontsize) if named else 0.4
    per_column = 0.27 if names else 0.2 if len(columns) <= 25 else 0.17
    width, height = max(1.2, per_column * len(columns)), max(1.5, len(rows) * pitch) if named else 8.0
    branches, bottom = 0.8, figure.text_width(labels, 7 if names else 8) + 0.3
    low, high = figure.color_limits(
        np.append(table.to_numpy()[table.notna()], 0), percentile=percentile, symmetric=True
    )
    grid = sns.clustermap(
        table.fillna(0),
        mask=table.isna(),
        cmap=cmap,
        vmin=low,
        vmax=high,
        row_cluster=by_row is not None,
        col_cluster=by_column is not None,
        row_linkage=by_row,
        col_linkage=by_column,
        xticklabels=labels,
        yticklabels=named,
        figsize=(branches + width + side + 1.3, branches + height + bottom + ROOM_ABOVE),
        tree_kws={"linewidths": 0.8 if named else 0.3},
        rasterized=True,
    )
    place_clustermap(grid, width=width, height=height, branches=branches, side=side, bottom=bottom)
    heatmap = grid.ax_heatmap
    heatmap.set_facecolor("0.8")
    heatmap.set_xlabel("")
    heatmap.set_ylabel("" if named else f"{len(rows):,} {_effects.kind(tested)}s", fontsize=figure.LABEL_SIZE)
    heatmap.tick_params(axis="y", labelsize=fontsize, length=2, pad=1, labelrotation=0)
    heatmap.tick_params(axis="x", labelsize=7 if names else 8, length=2, labelrotation=90)
    for label in heatmap.get_xticklabels():
        label.set(multialignment="right", linespacing=1.0)
    grid.ax_cbar.set_ylabel(
        figure.fit_lines(_effects.EFFECT, min(2.0, height), figure.TICK_SIZE), fontsize=figure.TICK_SIZE
    )
    grid.ax_cbar.tick_params(labelsize=figure.SMALL_SIZE, length=2)
    notes = [_effects.title(tested, len(rows), n_all if perturbations is None else len(rows))]
    if named:
        _mark(
            grid, _effects.matrix(tested, "q", rows, columns).to_numpy() <= max_q, np.abs(table.to_numpy()) > 0.6 * high
        )
        notes.append(f"Points: q ≤ {max_q:g}.")
    figure.set_title(grid.ax_col_dendrogram, "\n".join(notes), pad=4)
    axes = {
        "heatmap": heatmap,
        "row_dendrogram": grid.ax_row_dendrogram,
        "column_dendrogram": grid.ax_col_dendrogram,
        "colorbar": grid.ax_cbar,
    }
    return figure.finish(grid.figure, axes, owned=True, show=show, return_fig=return_fig, save=save)


def _mark(grid, significant: np.ndarray, dark: np.ndarray) -> None:
    """Put a point into the cells of significant effects, in the order of the clusters."""
    rows = grid.dendrogram_row.reordered_ind if grid.dendrogram_row else np.arange(significant.shape[0])
    columns = grid.dendrogram_col.reordered_ind if grid.dendrogram_col else np.arange(significant.shape[1])
    order = np.ix_(rows, columns)
    y, x = np.nonzero(significant[order])
    colors = np.where(dark[order][y, x], "white", "black")
    grid.ax_heatmap.scatter(x + 0.5, y + 0.5, s=3, c=colors, linewidths=0, gid="significant")
