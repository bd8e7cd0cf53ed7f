"""Programs between groups of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms._core.validate import check_real
from scprograms._draw import figure, palette
from scprograms._draw.pixels import allocate_rows, average_rows
from scprograms.programs import tables

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def usage_heatmap(
    adata: AnnData,
    groupby: str,
    *,
    key: str = "semi_nmf",
    control: str | None = None,
    programs: str | Iterable[str] | None = None,
    standard_scale: bool = True,
    percentile: float = 99,
    cmap: str = "viridis",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes | Figure:
    """Draw how much every cell uses every program, cells sorted by group.

    Cells are averaged to rows of pixels, so that any number of them draws at once; each group keeps at least one row.

    Parameters
    ----------
    adata
        Cells x genes, factorized.
    groupby
        Column of ``.obs``, such as the perturbation. Its palette is ``.uns[f"{groupby}_colors"]``, where stored.
    key
        ``key_added`` of the factorization.
    control
        Level to put first and to mark.
    programs
        Names of the programs to draw, in this order; all by default.
    standard_scale
        Divide each program by the percentile of its drawn rows, so that weakly used programs show as well; otherwise
        all share one scale, in the units of the factorized matrix.
    percentile
        The value, from 0 to 100, at which colours end.
    cmap
        Colour map.
    ax
        Axes to draw in; by default new ones whose size suits the numbers of groups and programs.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    The axes of the heatmap, or the figure. Groups are named beside it, alternately left and right where they are many;
    where there is no room for all, the largest groups are.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or no column ``groupby``.
    ValueError
        ``control`` or a program is not known, no cell has a label, or the percentile is not within 0 and 100.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> ax = scp.pl.usage_heatmap(adata, "perturbation", control="non-targeting", show=False)
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['program_0', 'program_1', 'program_2']
    """
    percentile = check_real("percentile", percentile, at_least=0, at_most=100)
    usages, groups, names = tables.usages_by_group(adata, groupby, key=key, control=control, programs=programs)
    order = np.argsort(groups.cat.codes.to_numpy(), kind="stable")
    order = order[len(order) - groups.notna().sum() :]
    sizes = np.bincount(groups.cat.codes.to_numpy()[order], minlength=len(names))

    shown = [_marked(name, control) for name in names]
    height, fontsize = figure.row_layout(len(names), at_most=15.2)
    side = figure.text_width(shown, fontsize)
    fig, ax, owned = figure.sized_axes(
        ax,
        width=float(np.clip(0.17 * usages.shape[1], 2.2, 12)),
        height=max(height, 4.5),
        left=side + 0.9,
        right=side + 1.6,
        bottom=figure.text_width(list(usages.columns), 8) + 0.3,
        top=0.4,
    )
    height = figure.size_of(ax)[1]
    rows = allocate_rows(sizes, int(height * fig.dpi))
    image = average_rows(usages.to_numpy()[order], sizes, rows)
    label = "usage"
    if standard_scale:
        image = image / [figure.color_limits(column, percentile=percentile, symmetric=False)[1] for column in image.T]
        top, label = 1.0, f"usage / {percentile:g}th percentile of the program"
    else:
        top = figure.color_limits(image, percentile=percentile, symmetric=False)[1]

    edges = np.concatenate([[0], np.cumsum(rows)]) - 0.5
    drawn = ax.imshow(image, aspect="auto", interpolation="nearest", cmap=cmap, vmin=0, vmax=top, rasterized=True)
    thin = 0.3 * rows.min() / rows.sum() * height * 72
    ax.hlines(edges[1:-1], -0.5, usages.shape[1] - 0.5, colors="white", linewidths=min(0.5, thin), gid="separators")
    ax.set_ylim(edges[-1], edges[0])
    colors = palette.group_colors(adata, groupby, control=control)
    _color_strip(ax, rows, [colors[name] for name in names])
    centers = (edges[:-1] + edges[1:]) / 2
    priority = np.where(np.asarray(names) == str(control), np.inf, sizes)
    n_named, right = figure.label_rows(
        ax, centers, shown, fontsize=fontsize, importance=priority, bold=[_marked(control, control)], pad=0.2
    )
    ax.set_yticks([])
    figure.label_columns(ax, list(usages.columns))
    title = f"Usage of programs in {len(order):,} cells, by {groupby}"
    if n_named < len(names):
        title = f"{title}\nThe {n_named} largest of {len(names)} groups are named."
    figure.set_title(ax, title)
    figure.side_colorbar(ax, drawn, label, pad=0.15 + right)
    return figure.finish(fig, ax, owned=owned, show=show, return_fig=return_fig, save=save)


def _marked(name: str | None, control: str | None) -> str:
    return f"{name} (control)" if control is not None and str(name) == str(control) else str(name)


def _color_strip(ax: Axes, rows: np.ndarray, colors: list[str]) -> None:
    from matplotlib.colors import to_rgba_array

    width, _ = figure.size_of(ax)
    strip = ax.inset_axes((-0.18 / width, 0, 0.13 / width, 1), sharey=ax)
    image = np.repeat(to_rgba_array(colors), rows, axis=0)[:, None, :]
    limits = ax.get_ylim()
    strip.imshow(image, aspect="auto", interpolation="nearest", rasterized=True)
    ax.set_ylim(limits)
    strip.set_axis_off()
    strip.set_gid("colour strip")
