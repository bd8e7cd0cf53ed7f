"""How embeddings compare, and maps of cells by label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms._anndata import cell_groups
from scprograms._core.validate import check_choice, check_has_key
from scprograms._draw import figure, palette
from scprograms._draw.pixels import few_ticks

from . import tables

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLES = {
    "ari": "adjusted Rand index",
    "nmi": "normalised mutual\ninformation",
    "homogeneity": "homogeneity",
    "silhouette": "silhouette of labels",
    "knn_accuracy": "accuracy of neighbours",
    "seconds": "seconds",
    "cpu_seconds": "seconds of CPU",
}
_PANEL_WIDTH, _GAP = 1.7, 0.25
_MAP_SIDE, _MAP_GAP, _MAP_TITLE = 2.2, 0.25, 0.3


def embedding_comparison(
    adata: AnnData,
    *,
    key: str = "embedding_comparison",
    metrics: Sequence[str] = ("ari", "nmi", "homogeneity", "silhouette", "knn_accuracy", "seconds"),
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> list[Axes] | Figure:
    """Draw how well embeddings tell labels apart: every seed, and the interval of the mean.

    Parameters
    ----------
    adata
        Cells x peaks, after :func:`scprograms.tl.compare_embeddings`.
    key
        Its ``key_added``.
    metrics
        Panels, from left to right; embeddings are in the order of the first. ``"seconds"`` are left out where none was
        measured.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    One axes per metric, or the figure.

    Raises
    ------
    KeyError
        There is no comparison under ``key``.
    ValueError
        A metric is not known.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_peaks(300, 1000, 4)
    >>> scp.tl.compare_embeddings(adata, ["lsi", "pca"], "cell_type", n_latent=5, n_seeds=2, progress=False)
    >>> [ax.get_xlabel() for ax in scp.pl.embedding_comparison(adata, metrics=["ari"], show=False)]
    ['adjusted Rand index']
    """
    from matplotlib import pyplot as plt

    for metric in metrics:
        check_choice("metrics", metric, _TITLES)
    summary = tables.embedding_comparison(adata, key=key)
    runs = tables.embedding_comparison(adata, key=key, summary=False)
    metrics = [metric for metric in metrics if runs[metric].notna().any()]
    by_metric = {m: summary[summary["metric"] == m].set_index("embedding") for m in metrics}
    order = by_metric[metrics[0]]["mean"].sort_values(kind="stable").index
    left = figure.text_width(list(order), 9) + 0.2
    height = max(0.9, 0.26 * len(order))
    full = (left + len(metrics) * (_PANEL_WIDTH + _GAP), height + 0.95)
    fig = plt.figure(figsize=full)
    panels = []
    for i, metric in enumerate(metrics):
        x = left + i * (_PANEL_WIDTH + _GAP)
        ax = fig.add_axes((x / full[0], 0.65 / full[1], _PANEL_WIDTH / full[0], height / full[1]))
        table = by_metric[metric].loc[order]
        y = np.arange(len(order))
        for row, name in enumerate(order):
            points = runs.loc[runs["embedding"] == name, metric]
            ax.plot(points, np.full(len(points), row), "o", color="0.65", markersize=3, zorder=2)
        ax.hlines(y, table["low"], table["high"], color=palette.BLUE, linewidth=1.4, zorder=3)
        ax.plot(table["mean"], y, "o", color=palette.BLUE, markersize=5, zorder=4)
        ax.set_yticks(y, order if i == 0 else [""] * len(order))
        ax.set_ylim(-0.6, len(order) - 0.4)
        ax.set_xlabel(_TITLES[metric], fontsize=9)
        ax.tick_params(axis="x", labelsize=7)
        ax.tick_params(axis="y", labelsize=9, length=0)
        ax.grid(axis="y", color="0.92", linewidth=0.8)
        ax.set_axisbelow(True)
        ax.spines[["top", "right", "left"]].set_visible(False)
        if "seconds" in metric:
            ax.set_xscale("log")
            low, high = runs[metric].min() / 1.6, runs[metric].max() * 1.6
            ax.set_xlim(low, high)
            ax.set_xticks(few_ticks(low, high))
            ax.minorticks_off()
            ax.xaxis.set_major_formatter("{x:g}")
        else:  # an interval of few seeds may reach beyond what a score can be
            low, high = runs[metric].min(), runs[metric].max()
            ax.set_xlim(low - 0.12 * (high - low) - 0.02, high + 0.12 * (high - low) + 0.02)
        panels.append(ax)
    attrs = summary.attrs
    fig.text(
        left / full[0],
        1 - 0.06 / full[1],
        f"{attrs['n_cells']:,} cells, {attrs['n_labels']} labels in {attrs['label_key']}; mean of {attrs['n_seeds']} "
        "seeds with its 95 % interval, and each seed",
        fontsize=8,
        va="top",
    )
    return figure.finish(fig, panels, owned=True, show=show, return_fig=return_fig, save=save)


def embedding_maps(
    adata: AnnData,
    label_key: str,
    names: str | Sequence[str] | None = None,
    *,
    n_columns: int = 3,
    size: float | None = None,
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> list[Axes] | Figure:
    """Draw the cells of several maps, side by side, coloured by a label.

    Parameters
    ----------
    adata
        Cells x peaks.
    label_key
        Column of ``.obs`` to colour by. The palette is that of ``.uns[f"{label_key}_colors"]``, where it is stored.
    names
        Entries of ``.obsm``, of which the first two columns are drawn. None means all that begin with ``"X_umap"``, as
        written by ``tl.compare_embeddings(..., umap=True)`` and by scanpy.
    n_columns
        Maps in a row.
    size
        Area of a point, in square points; by default the less, the more cells there are.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    One axes per map, or the figure.

    Raises
    ------
    KeyError
        ``label_key`` is no column of ``.obs``, or a name is not in ``.obsm``.
    ValueError
        There is no map, or one has fewer than two columns.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_peaks(300, 1000, 4)
    >>> scp.tl.compare_embeddings(adata, ["lsi", "pca"], "cell_type", n_latent=5, n_seeds=2, progress=False)
    >>> axes = scp.pl.embedding_maps(adata, "cell_type", ["X_lsi", "X_pca"], show=False)
    >>> [ax.get_title(loc="left") for ax in axes]
    ['lsi', 'pca']
    """
    from matplotlib import pyplot as plt

    chosen = [name for name in adata.obsm if name.startswith("X_umap")] if names is None else names
    chosen = [chosen] if isinstance(chosen, str) else list(chosen)
    if not chosen:
        msg = "There is no map in adata.obsm: call scp.tl.compare_embeddings(..., umap=True), or sc.tl.umap."
        raise ValueError(msg)
    for name in chosen:
        check_has_key(adata.obsm, name, where="adata.obsm")
    labels = cell_groups.labels(adata, label_key)
    levels = list(labels.cat.categories)
    codes = labels.cat.codes.to_numpy()
    colors = list(palette.group_colors(adata, label_key).values())
    columns = min(n_columns, len(chosen))
    rows = -(-len(chosen) // columns)
    legend = figure.text_width(levels, 8) + 0.4
    full = (
        0.1 + columns * (_MAP_SIDE + _MAP_GAP) + legend,
        max(0.1 + rows * (_MAP_SIDE + _MAP_TITLE), 0.2 * len(levels) + 0.3),
    )
    fig = plt.figure(figsize=full)
    order = np.random.default_rng(0).permutation(len(codes))  # no label lies on top of the others
    area = float(np.clip(12_000 / max(1, len(codes)), 0.5, 14)) if size is None else size
    shown = np.array([*colors, palette.WITHOUT])[codes[order]]  # code -1 takes the last colour
    panels = []
    for i, name in enumerate(chosen):
        row, column = divmod(i, columns)
        x, y = 0.1 + column * (_MAP_SIDE + _MAP_GAP), full[1] - (row + 1) * (_MAP_SIDE + _MAP_TITLE)
        ax = fig.add_axes((x / full[0], y / full[1], _MAP_SIDE / full[0], _MAP_SIDE / full[1]))
        points = tables.embedding_map(adata, name).to_numpy()[order]
        ax.scatter(points[:, 0], points[:, 1], s=area, c=shown, linewidths=0, rasterized=True)
        figure.set_title(ax, name.removeprefix("X_").removeprefix("umap_"))
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("0.8")
        panels.append(ax)
    handles = [plt.Line2D([], [], marker="o", linestyle="", color=color, markersize=5) for color in colors]
    right = (0.1 + columns * (_MAP_SIDE + _MAP_GAP)) / full[0]
    fig.legend(
        handles, levels, loc="upper left", bbox_to_anchor=(right - 0.15 / full[0], 1 - 0.2 / full[1]), frameon=False,
        fontsize=8, title=label_key, title_fontsize=8, handletextpad=0.1, alignment="left",
    )  # fmt: skip
    return figure.finish(fig, panels, owned=True, show=show, return_fig=return_fig, save=save)


def training_history(
    adata: AnnData,
    *,
    key: str = "autoencoder",
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> list[Axes] | Figure:
    """Draw the loss of a network against its epochs, of the training cells and of those held out.

    Parameters
    ----------
    adata
        Cells x peaks, after :func:`scprograms.tl.autoencoder`.
    key
        Its ``key_added``.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    One axes per stage of the training, or the figure. The loss of training cells is that of the steps, with dropout and
    warm-up; a line marks the epoch of the least loss of the cells held out.

    Raises
    ------
    KeyError
        There is no training under ``key``.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_peaks(300, 1000, 4)
    >>> scp.tl.autoencoder(adata, "basic", 5, epochs=3, device="cpu", progress=False)
    >>> [ax.get_title(loc="left") for ax in scp.pl.training_history(adata, show=False)]
    ['Training']
    """
    from matplotlib import pyplot as plt
    from matplotlib.ticker import MaxNLocator

    history = tables.training_history(adata, key=key)
    stages = list(history.groupby("stage", sort=False, observed=True))
    width, height, gap, left = 2.9, 2.2, 0.75, 0.8
    full = (left + len(stages) * width + (len(stages) - 1) * gap + 0.2, height + 0.95)
    fig = plt.figure(figsize=full)
    panels = []
    for i, (stage, part) in enumerate(stages):
        at = (left + i * (width + gap)) / full[0]
        ax = fig.add_axes((at, 0.55 / full[1], width / full[0], height / full[1]))
        ax.plot(part["epoch"], part["loss"], color=palette.BLUE, linewidth=1.2, label="training cells")
        held_out = part["held_out_loss"]
        if held_out.notna().any():
            ax.plot(part["epoch"], held_out, color=palette.VERMILION, linewidth=1.2, label="cells held out")
            ax.axvline(part["epoch"][held_out.idxmin()], color="0.6", linewidth=0.8, linestyle="--", zorder=0)
        figure.set_title(ax, str(stage).capitalize())
        figure.name_axes(ax, "epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        panels.append(ax)
    panels[0].set_ylabel("loss", fontsize=figure.LABEL_SIZE)
    panels[0].legend(frameon=False, fontsize=figure.LEGEND_SIZE)
    return figure.finish(fig, panels, owned=True, show=show, return_fig=return_fig, save=save)
