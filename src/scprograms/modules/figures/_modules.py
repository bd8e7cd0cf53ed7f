"""How specific features are, and which module each subtype has in each region."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scprograms._anndata import slot_names
from scprograms._anndata.cell_groups import labels
from scprograms._core.validate import check_int
from scprograms._draw import figure, palette
from scprograms.modules import tables

from ._module_colors import OTHERS, module_colors, short_name, text_color

if TYPE_CHECKING:
    import os

    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SPECIFIC_COLOR = palette.BLUE
_LARGEST_DOT = 170.0
"""Area, in square points."""


def feature_score(
    adata: AnnData,
    *,
    key: str = "nmf",
    n_bins: int = 100,
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> list[Axes] | Figure:
    """Draw the distribution of the feature scores with the thresholds, and the number of features of each module.

    Parameters
    ----------
    adata
        Samples x features, after :func:`scprograms.tl.assign_modules`.
    key
        ``key_added`` of the factorization.
    n_bins
        Bins of the histogram, from 0 to 1.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    The axes of the distribution and of the counts, or the figure.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or it has no modules yet.
    TypeError, ValueError
        ``n_bins`` is no integer of at least 1.

    Examples
    --------
    >>> import scprograms as scp
    >>> counts = scp.datasets.simulate_modules(1000, 12, 4)
    >>> adata = scp.pp.pseudobulk(counts, ["subtype", "region"], min_cells=1)
    >>> scp.tl.nmf(adata, 4)
    >>> scp.tl.assign_modules(adata)
    >>> distribution, counts = scp.pl.feature_score(adata, show=False)
    >>> distribution.get_xlabel(), len(counts.patches)
    ('feature score', 4)
    """
    from matplotlib import pyplot as plt

    n_bins = check_int("n_bins", n_bins, at_least=1)
    modules, features = tables.modules(adata, key=key), tables.modules(adata, key=key, of="features")
    kind = np.where(features["module"].isin(list(OTHERS)), features["module"].astype(str), "specific")
    height, fontsize = figure.row_layout(len(modules), at_most=7.0)
    height = max(height, 3.0)
    side = figure.text_width(list(modules.index), fontsize)
    wide = (0.75, 3.6, 0.55 + side, 2.4, 0.6)
    full_width, full_height = sum(wide), height + 1.0
    fig = plt.figure(figsize=(full_width, full_height))
    left, right = (
        fig.add_axes((start / full_width, 0.55 / full_height, width / full_width, height / full_height))
        for start, width in ((wide[0], wide[1]), (sum(wide[:3]), wide[3]))
    )
    _draw_distribution(left, features["score"], kind, n_bins)
    thresholds = [modules.attrs[name] for name in ("lower", "upper") if name in modules.attrs]
    for value in thresholds:
        left.axvline(value, color="black", linewidth=1, linestyle="--", gid="threshold")
    names = {"sd": "Median \N{PLUS-MINUS SIGN} SD", "mad": "Median + 3 x 1.4826 MAD", "raw_mad": "Median + 3 MAD"}
    rule = names.get(modules.attrs["rule"], f"Permutation, FDR {modules.attrs.get('fdr', np.nan):g}")
    figure.set_title(left, f"{rule}: " + (", ".join(f"{value:.3f}" for value in thresholds) or "no threshold"))

    colors = module_colors(adata, key, list(modules.index))
    counts = modules["n_specific"].to_numpy()
    right.barh(np.arange(len(modules)), counts, color=[colors[name] for name in modules.index], height=0.8)
    for i, count in enumerate(counts):
        right.annotate(f"{count:,}", (count, i), xytext=(3, 0), textcoords="offset points", va="center", fontsize=6)
    right.set_yticks(np.arange(len(modules)), list(modules.index), fontsize=fontsize)
    right.set_ylim(len(modules) - 0.4, -0.6)
    right.margins(x=0.18)
    figure.name_axes(right, "specific features")
    right.tick_params(axis="y", labelsize=fontsize)
    figure.set_title(right, f"Specific features of {len(modules)} modules")
    right.locator_params(axis="x", nbins=4)
    return figure.finish(fig, [left, right], owned=True, show=show, return_fig=return_fig, save=save)


def _draw_distribution(ax: Axes, score: pd.Series, kind: np.ndarray, n_bins: int) -> None:
    color_of = {
        slot_names.NON_SPECIFIC: OTHERS[slot_names.NON_SPECIFIC],
        slot_names.SHARED: OTHERS[slot_names.SHARED],
        slot_names.UNASSIGNED: OTHERS[slot_names.UNASSIGNED],
        "specific": _SPECIFIC_COLOR,
    }
    shown = [name for name in color_of if (kind == name).any()]
    values = [score.to_numpy()[kind == name] for name in shown]
    ax.hist(
        values,
        bins=np.linspace(0, 1, n_bins + 1).tolist(),
        stacked=True,
        color=[color_of[name] for name in shown],
        label=[f"{name} ({len(part):,})" for name, part in zip(shown, values, strict=True)],
    )
    if n_inactive := int((kind == slot_names.INACTIVE).sum()):
        ax.plot([], [], " ", label=f"without loadings: {n_inactive:,}")
    figure.name_axes(ax, "feature score", "features")
    ax.set_xlim(0, max(1.0, ax.get_xlim()[1]))
    ax.margins(y=0.3)
    box = {"facecolor": "white", "edgecolor": "none", "framealpha": 0.9, "borderaxespad": 0.1}
    ax.legend(fontsize=7, loc="upper left", reverse=True, **box)


def module_map(
    adata: AnnData,
    rows: str,
    columns: str | None = None,
    *,
    key: str = "nmf",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes | Figure:
    """Draw the module of every sample on a grid, such as subtypes x regions.

    The colour and the number of a dot are those of the module, its area is the contribution: the share of the module
    among the sample's usages. Rows are sorted by the module with the largest sum of contributions.

    Parameters
    ----------
    adata
        Samples x features, after :func:`scprograms.tl.assign_modules`.
    rows, columns
        Columns of ``.obs``. No two samples may have the same levels of both; None means a single column of dots.
    key
        ``key_added`` of the factorization.
    ax
        Axes to draw in; by default new ones whose size suits the grid.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    The axes, or the figure.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, it has no modules yet, or there is no such column.
    ValueError
        Several samples have the same place.

    Examples
    --------
    >>> import scprograms as scp
    >>> counts = scp.datasets.simulate_modules(1000, 12, 4)
    >>> adata = scp.pp.pseudobulk(counts, ["subtype", "region"], min_cells=1)
    >>> scp.tl.nmf(adata, 4)
    >>> scp.tl.assign_modules(adata)
    >>> ax = scp.pl.module_map(adata, "subtype", "region", show=False)
    >>> len(ax.collections[0].get_offsets())
    36
    """
    table = tables.modules(adata, key=key, of="samples")
    table["row"] = labels(adata, rows)
    table["column"] = labels(adata, columns) if columns is not None else pd.Categorical([""] * len(table))
    table = table.dropna(subset=["row", "column"])
    if table.duplicated(["row", "column"]).any():
        first = table.loc[table.duplicated(["row", "column"]), ["row", "column"]].iloc[0]
        place = " and ".join(repr(value) for value in (first["row"], first["column"]) if value)
        msg = (
            f"rows={rows!r}, columns={columns!r}: several samples lie at {place}. Name columns of adata.obs that tell "
            "samples apart, such as 'subtype' and 'region'."
        )
        raise ValueError(msg)
    row_names, column_names = _row_order(table), list(table["column"].cat.categories)
    colors = module_colors(adata, key, list(table["module"].cat.categories))
    used = [name for name in table["module"].cat.categories if (table["module"] == name).any()]
    step = 0.24
    fig, ax, owned = figure.sized_axes(
        ax,
        width=max(step * len(column_names), 0.4),
        height=max(step * len(row_names), 1.6),
        left=figure.text_width(row_names, 8) + 0.3,
        right=0.9 + figure.text_width(used, 7) * -(-len(used) // 24) * 1.6,
        bottom=0.2,
        top=figure.text_width(column_names, 8) + 0.3,
    )
    x = table["column"].cat.codes.to_numpy()
    y = table["row"].map({name: i for i, name in enumerate(row_names)}).to_numpy(dtype=float)
    area = _LARGEST_DOT * table["contribution"].fillna(0.05).to_numpy()
    fills = [colors[str(name)] for name in table["module"]]
    ax.scatter(x, y, s=area, c=fills, linewidths=0.3, edgecolors="0.3")
    for i, (name, fill) in enumerate(zip(table["module"], fills, strict=True)):
        if name not in OTHERS:
            ax.text(x[i], y[i], short_name(str(name)), ha="center", va="center", fontsize=5.5, color=text_color(fill))
    ax.set_xlim(-0.6, len(column_names) - 0.4)
    ax.set_ylim(len(row_names) - 0.4, -0.6)
    ax.set_yticks(range(len(row_names)), row_names, fontsize=8)
    ax.xaxis.tick_top()
    ax.set_xticks(range(len(column_names)), column_names, rotation=90, fontsize=8)
    ax.tick_params(length=0)
    ax.spines[:].set_color("0.8")
    figure.set_title(ax, "Module of each sample")
    _legends(ax, used, colors)
    return figure.finish(fig, ax, owned=owned, show=show, return_fig=return_fig, save=save)


def _row_order(table: pd.DataFrame) -> list[str]:
    """Return the rows, those of one module together."""
    sums = table.pivot_table(index="row", columns="module", values="contribution", aggfunc="sum", observed=False)
    sums = sums.fillna(0).loc[table["row"].cat.categories]
    order = np.argsort(sums.to_numpy().argmax(axis=1), kind="stable")
    return [str(sums.index[i]) for i in order]


def _legends(ax: Axes, used: list[str], colors: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    width, height = figure.size_of(ax)

    def dot(color: str, share: float, label: str) -> Line2D:
        style = {"markeredgecolor": "0.3", "markeredgewidth": 0.3, "markersize": np.sqrt(_LARGEST_DOT * share)}
        return Line2D([], [], linestyle="", marker="o", markerfacecolor=color, label=label, **style)

    sizes = [dot("0.8", share, f"{share:g}") for share in (0.25, 0.5, 1)]
    options: dict[str, Any] = {"frameon": False, "fontsize": figure.SMALL_SIZE, "title_fontsize": figure.LEGEND_SIZE}
    options |= {"borderaxespad": 0, "alignment": "left"}
    place: dict[str, Any] = {"loc": "upper left", "bbox_transform": ax.transAxes}
    first = ax.legend(
        handles=sizes, title="contribution", bbox_to_anchor=(1 + 0.15 / width, 1), labelspacing=0.9, **place, **options
    )
    ax.add_artist(first)
    ax.legend(
        handles=[dot(colors[name], 0.25, name) for name in used],
        title="module",
        bbox_to_anchor=(1 + 0.15 / width, 1 - 1.1 / height),
        ncols=-(-len(used) // 24),
        **place,
        **options,
    )
