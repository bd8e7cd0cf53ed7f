"""Usages per perturbation as box plots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from scprograms._anndata import cell_groups
from scprograms._core.validate import check_choice, check_int
from scprograms._draw import figure, palette
from scprograms._draw.boxes import TITLE, add_caption, draw_boxes, new_panels, panel_layout, summaries
from scprograms.perturbation import tables as perturbation_tables
from scprograms.programs.tables import usages_by_group

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
    usages, groups, names = usages_by_group(adata, groupby, key=key, control=control, programs=programs)
    tested = _tested(adata, groupby, key)
    if programs is None:
        best = list(usages) if tested is None else list(tested.sort_values(["log10_p", "q"], kind="stable").index)
        usages = usages[best[:n_top]]
    colors = _box_colors(adata, groupby, names, control)

    layout = panel_layout(names, usages.shape[1], first=control is not None)
    fig, panels = new_panels(layout, usages.shape[1])
    codes = groups.cat.codes.to_numpy()
    for ax, program in zip(panels, usages.columns, strict=True):
        boxes = summaries(usages[program].to_numpy(), codes, names, colors, order=order, first=control is not None)
        draw_boxes(ax, boxes, layout, reference=control is not None)
        q = "" if tested is None else f"  ({figure.format_q(tested['q'].loc[program])})"
        figure.set_title(ax, f"{program}{q}", pad=4 + 72 * (layout.above - TITLE))
    for ax in panels[:: layout.n_columns]:
        ax.set_ylabel("usage", fontsize=figure.LABEL_SIZE)
    caption = "box: quartiles; bar: median; dot: mean"
    if control is not None:
        caption += f"; dashed line: median of the control, {control} (bold)"
    add_caption(fig, panels, caption)
    return figure.finish(fig, panels, owned=True, show=show, return_fig=return_fig, save=save)


def _box_colors(adata: AnnData, groupby: str, names: list[str], control: str | None) -> list[str]:
    """Return the colours of groups; without a palette, more than a few have one colour."""
    colors = palette.group_colors(adata, groupby, control=control)
    if len(names) > palette.AT_MOST_BOXES and cell_groups.colors(adata, groupby) is None:
        colors = {name: palette.NEUTRAL if name != control else palette.CONTROL for name in names}
    return [colors[name] for name in names]


def _tested(adata: AnnData, groupby: str, key: str) -> pd.DataFrame | None:
    try:
        return perturbation_tables.anova(adata, groupby, key=key)
    except KeyError:
        return None
