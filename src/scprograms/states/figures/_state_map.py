"""Where the cells of each state are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scprograms._anndata import cell_groups, slot_names
from scprograms._core.validate import check_real
from scprograms._draw import figure, palette
from scprograms._draw.panels import panels
from scprograms.states import tables

if TYPE_CHECKING:
    import os

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_UNASSIGNED = "no state assigned"
"""Cells without a value: a discovery gives none to those of a factor that is no state."""
_BACKGROUND = {slot_names.NON_STATE: palette.WITHOUT, _UNASSIGNED: "#EBEBEB"}
_MANY = 20_000


def state_map(
    adata: AnnData,
    split_by: str | None = None,
    *,
    key: str = "recovery",
    basis: str = "spatial",
    size: float | None = None,
    at_most: int = 4,
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> list[Axes] | Figure:
    """Draw recovered or discovered states at the places of their cells.

    Cells without a state are small and grey, beneath the others: "non-state" are those that fit no state of a model;
    a discovery assigns no state to the cells of a factor that is none. Over the image of a tissue, draw the same column
    with squidpy: ``squidpy.pl.spatial_scatter(adata, color=f"{key}_state")``; with scanpy alone:
    ``scanpy.pl.embedding(adata, basis="spatial", color=f"{key}_state")``.

    Parameters
    ----------
    adata
        Cells x genes, after :func:`scprograms.tl.recover_states` or :func:`scprograms.tl.discover_states`.
    split_by
        Column of ``.obs``, such as the cell types or the samples: a panel for each. In all of them, the cells of the
        others are left out. By default a single panel.
    key
        ``key_added`` of the recovery or discovery.
    basis
        Entry of ``.obsm`` with the places: its first two columns are x and y.
    size
        Area of a dot in square points; by default one that suits the number of cells.
    at_most
        Panels beside each other.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    The axes, or the figure. Colours are those of ``.uns[f"{key}_state_colors"]``, where there are some.

    Raises
    ------
    KeyError
        There is no state under ``key``, no such basis, or no such column.
    ValueError
        The basis has fewer than two columns, or no cell has a label in ``split_by``.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_states(600, 300, n_cell_types=2, n_markers=40, effect=1.5)
    >>> scp.tl.discover_states(adata, "cell_type", sample_key="sample", n_factors=3, max_negative_ratio=1.5)
    >>> axes = scp.pl.state_map(adata, "cell_type", key="discovery", show=False)
    >>> [ax.get_title(loc="left").split()[0] for ax in axes]
    ['type_0', 'type_1']
    """
    table = tables.recovered_states(adata, key=key, basis=basis)
    names = [str(name) for name in table["state"].cat.categories]
    table["state"] = table["state"].astype(object).where(table["state"].notna(), _UNASSIGNED).astype(str)
    own = palette.category_colors([name for name in names if name != slot_names.NON_STATE])
    own |= {name: color for name, color in table.attrs.get("colors", {}).items() if name in own}
    there = set(table["state"])
    colors = {name: color for name, color in own.items() if name in there}
    legend = {**colors, **{name: color for name, color in _BACKGROUND.items() if name in there}}
    groups = [("", np.ones(len(table), dtype=bool))]
    if split_by is not None:
        labels = cell_groups.labels(adata, split_by)
        groups = [(str(name), (labels == name).to_numpy()) for name in labels.cat.categories]
    fig, axes = panels(
        [(2.6, 2.6)] * len(groups),
        left=0.15,
        right=0.15,
        bottom=0.15,
        top=0.35,
        edge=figure.text_width(list(legend), 8) + 0.6,
        at_most=at_most,
    )
    for ax, (name, inside) in zip(axes, groups, strict=True):
        part = table[inside]
        area = float(np.clip(6000 / max(len(part), 1), 0.4, 16)) if size is None else check_real("size", size)
        _scatter(ax, part, colors, area)
        figure.set_title(ax, f"{name} ({len(part):,} cells)" if name else f"{len(part):,} cells")
    _legend(axes[min(len(axes), at_most) - 1], legend)
    return figure.finish(fig, axes, owned=True, show=show, return_fig=return_fig, save=save)


def _scatter(ax: Axes, table: pd.DataFrame, colors: dict[str, str], area: float) -> None:
    style: dict[str, Any] = {"linewidths": 0, "rasterized": len(table) > _MANY}
    without = ~table["state"].isin(list(colors)).to_numpy()
    x, y = table["x"].to_numpy(), table["y"].to_numpy()
    greys = [_BACKGROUND[name] for name in table["state"][without]]
    ax.scatter(x[without], y[without], s=area / 2, c=greys, gid=slot_names.NON_STATE, **style)
    known = np.flatnonzero(~without)
    # In an order of their own: the state that is drawn last would hide the others.
    known = np.random.default_rng(0).permutation(known)
    ax.scatter(
        x[known], y[known], s=area, c=[colors[name] for name in table["state"].iloc[known]], gid="states", **style
    )
    ax.set_aspect("equal", adjustable="datalim")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_color("0.8")


def _legend(ax: Axes, colors: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=5, color=color, label=name)
        for name, color in colors.items()
    ]
    ax.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1.06, 1), frameon=False,
        fontsize=figure.LEGEND_SIZE, borderaxespad=0, handletextpad=0.2,
    )  # fmt: skip
