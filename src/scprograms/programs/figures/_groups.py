"""Programs between groups of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from scprograms import get
from scprograms._validate import check_choice, check_int, check_real
from scprograms.get._select import select_programs

from . import _figure, _palette
from ._boxes import TITLE, add_caption, draw_boxes, new_panels, panel_layout, summaries
from ._pixels import allocate_rows, average_rows

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    import pandas as pd
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
    usages, groups, names = _read(adata, groupby, key, control, programs)
    order = np.argsort(groups.cat.codes.to_numpy(), kind="stable")
    order = order[len(order) - groups.notna().sum() :]
    sizes = np.bincount(groups.cat.codes.to_numpy()[order], minlength=len(names))

    shown = [_marked(name, control) for name in names]
    height, fontsize = _figure.row_layout(len(names), at_most=15.2)
    side = _figure.text_width(shown, fontsize)
    fig, ax, owned = _figure.sized_axes(
        ax,
        width=float(np.clip(0.17 * usages.shape[1], 2.2, 12)),
        height=max(height, 4.5),
        left=side + 0.9,
        right=side + 1.6,
        bottom=_figure.text_width(list(usages), 8) + 0.3,
        top=0.4,
    )
    height = _figure.size_of(ax)[1]
    rows = allocate_rows(sizes, int(height * fig.dpi))
    image = average_rows(usages.to_numpy()[order], sizes, rows)
    label = "usage"
    if standard_scale:
        image = image / [_figure.color_limits(column, percentile=percentile, symmetric=False)[1] for column in image.T]
        top, label = 1.0, f"usage / {percentile:g}th percentile of the program"
    else:
        top = _figure.color_limits(image, percentile=percentile, symmetric=False)[1]

    edges = np.concatenate([[0], np.cumsum(rows)]) - 0.5
    drawn = ax.imshow(image, aspect="auto", interpolation="nearest", cmap=cmap, vmin=0, vmax=top, rasterized=True)
    thin = 0.3 * rows.min() / rows.sum() * height * 72
    ax.hlines(edges[1:-1], -0.5, usages.shape[1] - 0.5, colors="white", linewidths=min(0.5, thin), gid="separators")
    ax.set_ylim(edges[-1], edges[0])
    colors = _palette.group_colors(adata, groupby, control=control)
    _color_strip(ax, rows, [colors[name] for name in names])
    centers = (edges[:-1] + edges[1:]) / 2
    priority = np.where(np.asarray(names) == str(control), np.inf, sizes)
    n_named, right = _figure.label_rows(
        ax, centers, shown, fontsize=fontsize, importance=priority, bold=[_marked(control, control)], pad=0.2
    )
    ax.set_yticks([])
    _figure.label_columns(ax, list(usages))
    title = f"Usage of programs in {len(order):,} cells, by {groupby}"
    if n_named < len(names):
        title = f"{title}\nThe {n_named} largest of {len(names)} groups are named."
    _figure.set_title(ax, title)
    _figure.side_colorbar(ax, drawn, label, pad=0.15 + right)
    return _figure.finish(fig, ax, owned=owned, show=show, return_fig=return_fig, save=save)


def program_boxplot(
    adata: AnnData,
    groupby: str,
    *,
    key: str = "semi_nmf",
    programs: str | Iterable[str] | None = None,
    n_top: int | None = 12,
    control: str | None = None,
    order: Literal["median", "mean"] | None = "median",
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> list[Axes] | Figure:
    """Draw the usage of programs by group: one panel per program, one box per group.

    Boxes span the quartiles, whiskers reach to the last cell within 1.5 times that range, and a dot is the mean, which
    shows what a median of zero hides. Outliers are not drawn.

    Parameters
    ----------
    adata
        Cells x genes, factorized.
    groupby
        Column of ``.obs``, such as the perturbation. Its palette is ``.uns[f"{groupby}_colors"]``, where stored.
    key
        ``key_added`` of the factorization.
    programs
        Names of the programs to draw, in this order. By default those that differ most between the groups, by
        :func:`scprograms.tl.program_anova`, or all in their own order where that has not been called.
    n_top
        How many programs to draw where ``programs`` does not say which; None draws all.
    control
        Level to put first and to mark; a line carries its median across.
    order
        Sort the other groups by their median (then their mean) or their mean, highest first; None keeps the order of
        the categories.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    The axes of the panels, or the figure. Titles carry the q-value where the programs have been tested.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or no column ``groupby``.
    TypeError
        ``n_top`` is no integer.
    ValueError
        ``control``, ``order`` or a program is not known, ``n_top`` is below 1, or no cell has a label.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> axes = scp.pl.program_boxplot(adata, "perturbation", control="non-targeting", show=False)
    >>> len(axes)
    3
    """
    check_choice("order", order, ("median", "mean", None))
    n_top = None if n_top is None else check_int("n_top", n_top, at_least=1)
    usages, groups, names = _read(adata, groupby, key, control, programs)
    tested = _tested(adata, groupby, key)
    if programs is None:
        best = list(usages) if tested is None else list(tested.sort_values(["log10_p", "q"], kind="stable").index)
        usages = usages[best[:n_top]]
    colors = _box_colors(adata, groupby, names, control)

    layout = panel_layout(names, usages.shape[1], first=control is not None)
    fig, panels = new_panels(layout, usages.shape[1])
    codes = groups.cat.codes.to_numpy()
    for ax, program in zip(panels, usages, strict=True):
        boxes = summaries(usages[program].to_numpy(), codes, names, colors, order=order, first=control is not None)
        draw_boxes(ax, boxes, layout, reference=control is not None)
        q = "" if tested is None else f"  ({_figure.format_q(tested.loc[program, 'q'])})"
        _figure.set_title(ax, f"{program}{q}", pad=4 + 72 * (layout.above - TITLE))
    for ax in panels[:: layout.n_columns]:
        ax.set_ylabel("usage", fontsize=_figure.LABEL_SIZE)
    caption = "box: quartiles; bar: median; dot: mean"
    if control is not None:
        caption += f"; dashed line: median of the control, {control} (bold)"
    add_caption(fig, panels, caption)
    return _figure.finish(fig, panels, owned=True, show=show, return_fig=return_fig, save=save)


def _read(
    adata: AnnData, groupby: str, key: str, control: str | None, programs: str | Iterable[str] | None
) -> tuple[pd.DataFrame, pd.Series, list[str]]:
    usages = get.usages(adata, key=key)
    usages = usages[select_programs(programs, list(usages))]
    groups = get.labels(adata, groupby, control=control)
    return usages, groups, list(groups.cat.categories)


def _box_colors(adata: AnnData, groupby: str, names: list[str], control: str | None) -> list[str]:
    """Return the colours of groups; without a palette, more than a few have one colour."""
    colors = _palette.group_colors(adata, groupby, control=control)
    if len(names) > _palette.AT_MOST_BOXES and get.colors(adata, groupby) is None:
        colors = {name: _palette.NEUTRAL if name != control else _palette.CONTROL for name in names}
    return [colors[name] for name in names]


def _tested(adata: AnnData, groupby: str, key: str) -> pd.DataFrame | None:
    try:
        return get.anova(adata, groupby, key=key)
    except KeyError:
        return None


def _marked(name: str | None, control: str | None) -> str:
    return f"{name} (control)" if control is not None and str(name) == str(control) else str(name)


def _color_strip(ax: Axes, rows: np.ndarray, colors: list[str]) -> None:
    from matplotlib.colors import to_rgba_array

    width, _ = _figure.size_of(ax)
    strip = ax.inset_axes((-0.18 / width, 0, 0.13 / width, 1), sharey=ax)
    image = np.repeat(to_rgba_array(colors), rows, axis=0)[:, None, :]
    limits = ax.get_ylim()
    strip.imshow(image, aspect="auto", interpolation="nearest", rasterized=True)
    ax.set_ylim(limits)
    strip.set_axis_off()
    strip.set_gid("colour strip")
