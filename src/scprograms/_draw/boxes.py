"""Many boxes in one panel."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from . import figure, palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class PanelLayout:
    """The grid of panels, in inches, and how the groups around one are named."""

    n_columns: int
    width: float
    height: float
    below: float
    above: float
    fontsize: float
    two_sided: bool
    n_named: int


TITLE = 0.3
"""Height of a panel's title."""
_BESIDE = 0.55
_CAPTION = 0.3
_CAPTION_SIZE = 8.0


def panel_layout(names: list[str], n_panels: int, *, first: bool) -> PanelLayout:
    """Choose panels so wide that each group's name stays legible, down to 5.5 points above and below the panel.

    ``first``: the first group keeps its place, at the left, and so its name below.
    """
    n, two_sided = len(names), len(names) > 80
    fontsize = 7.0 if n <= 80 else 5.5
    pitch = fontsize * 1.3 / 72
    width = float(np.clip(n * pitch / (2 if two_sided else 1), 2.4, 16))
    return PanelLayout(
        n_columns=max(1, min(n_panels, 4, int(16 // (width + _BESIDE)))),
        width=width,
        height=1.6,
        below=figure.text_width(names, fontsize) + 0.12,
        above=TITLE + (figure.text_width(names[int(first) :], fontsize) + 0.05 if two_sided else 0),
        fontsize=fontsize,
        two_sided=two_sided,
        n_named=min(n, int(width / pitch + 0.5) * 2) if two_sided else n,
    )


def new_panels(layout: PanelLayout, n_panels: int) -> tuple[Figure, list[Axes]]:
    """Open a figure with panels, row by row; an automatic layout would measure every one of thousands of names."""
    from matplotlib import pyplot as plt

    n_rows = -(-n_panels // layout.n_columns)
    pitch_x, pitch_y = layout.width + _BESIDE, layout.above + layout.height + layout.below
    full = (layout.n_columns * pitch_x + 0.1, n_rows * pitch_y + _CAPTION)
    fig = plt.figure(figsize=full)
    panels = []
    for i in range(n_panels):
        row, column = divmod(i, layout.n_columns)
        left, low = column * pitch_x + _BESIDE, full[1] - row * pitch_y - layout.above - layout.height
        panels.append(fig.add_axes((left / full[0], low / full[1], layout.width / full[0], layout.height / full[1])))
    return fig, panels


def add_caption(fig: Figure, panels: list[Axes], caption: str) -> None:
    """Say below the panels what boxes are, in lines that are no wider than the figure; it grows by what they need."""
    width, height = fig.get_size_inches()
    lines = textwrap.wrap(caption, max(20, int(width / (_CAPTION_SIZE * 0.57 / 72))))
    more = (len(lines) - 1) * 1.3 * _CAPTION_SIZE / 72
    places = [ax.get_position() for ax in panels]
    fig.set_figheight(height + more)
    for ax, box in zip(panels, places, strict=True):
        low, high = (box.y0 * height + more) / (height + more), box.height * height / (height + more)
        ax.set_position((box.x0, low, box.width, high))
    fig.text(
        0.5,
        0.05 / (height + more),
        "\n".join(lines),
        ha="center",
        va="bottom",
        multialignment="left",
        fontsize=_CAPTION_SIZE,
    )


def summaries(
    values: np.ndarray, codes: np.ndarray, names: list[str], colors: list[str], *, order: str | None, first: bool
) -> pd.DataFrame:
    """Return the box of every group in the order of drawing; ``first`` keeps the first group in its place.

    Quartiles are interpolated linearly; whiskers end at the last value within 1.5 times their range from the box.
    """
    labelled = codes >= 0
    values, codes = values[labelled].astype(np.float64), codes[labelled]
    by_group = np.lexsort((values, codes))
    sizes = np.bincount(codes, minlength=len(names))
    parts = np.split(values[by_group], np.cumsum(sizes)[:-1])
    boxes = pd.DataFrame([_box(part) for part in parts], columns=["q1", "med", "q3", "low", "high", "mean"])
    boxes["name"], boxes["color"] = names, colors
    if order is None:
        return boxes
    keys = ["med", "mean"] if order == "median" else ["mean", "med"]
    rest = boxes.iloc[int(first) :].sort_values(keys, ascending=False, kind="stable")
    return pd.concat([boxes.iloc[: int(first)], rest], ignore_index=True)


def _box(ascending: np.ndarray) -> tuple[float, ...]:
    at = np.array([0.25, 0.5, 0.75]) * (len(ascending) - 1)
    below = at.astype(np.int64)
    above = np.minimum(below + 1, len(ascending) - 1)
    q1, median, q3 = ascending[below] + (at - below) * (ascending[above] - ascending[below])
    reach = 1.5 * (q3 - q1)
    low = ascending[np.searchsorted(ascending, q1 - reach, side="left")]
    high = ascending[np.searchsorted(ascending, q3 + reach, side="right") - 1]
    # Between two distant values a quartile may lie beyond the last value within reach.
    return q1, median, q3, min(low, q1), max(high, q3), ascending.mean()


def draw_boxes(ax: Axes, boxes: pd.DataFrame, layout: PanelLayout, *, reference: bool) -> None:
    """Draw boxes as few collections (one artist per box would take minutes for hundreds of groups)."""
    from matplotlib.collections import PolyCollection

    x, half = np.arange(len(boxes)), 0.35
    ax.vlines(x, boxes["low"], boxes["q1"], colors="0.3", linewidths=0.7)
    ax.vlines(x, boxes["q3"], boxes["high"], colors="0.3", linewidths=0.7)
    corners = np.stack(
        [
            np.stack([x - half, boxes["q1"]], axis=1),
            np.stack([x + half, boxes["q1"]], axis=1),
            np.stack([x + half, boxes["q3"]], axis=1),
            np.stack([x - half, boxes["q3"]], axis=1),
        ],
        axis=1,
    )
    ax.add_collection(
        PolyCollection(list(corners), facecolors=list(boxes["color"]), edgecolors="0.3", linewidths=0.6, gid="boxes")
    )
    ax.hlines(boxes["med"], x - half, x + half, colors="black", linewidths=1.2, gid="medians")
    size = float(np.clip(900 / len(boxes), 2, 14))
    ax.scatter(x, boxes["mean"], s=size, color="white", edgecolors="black", linewidths=0.5, zorder=3, gid="means")
    if reference:
        ax.axhline(boxes["med"].iloc[0], color=palette.CONTROL, linewidth=0.8, linestyle="--", zorder=0.5)
        ax.axvline(0.5, color="0.8", linewidth=0.6, zorder=0.5)
    ax.set_xlim(-0.7, len(boxes) - 0.3)
    ax.tick_params(axis="y", labelsize=7)
    ax.spines[["top", "right"]].set_visible(layout.two_sided)
    _name_groups(ax, boxes, layout, reference=reference)


def _name_groups(ax: Axes, boxes: pd.DataFrame, layout: PanelLayout, *, reference: bool) -> None:
    # Where there is no room for all names, the groups that stand out are the ones to name.
    distance = np.abs(boxes["mean"].to_numpy() - np.median(boxes["mean"]))
    if reference:
        distance[0] = np.inf
    named = np.sort(np.argsort(-distance, kind="stable")[: layout.n_named])
    below, above = (named[::2], named[1::2]) if layout.two_sided else (named, named[:0])
    ax.set_xticks(below, boxes["name"].iloc[below], rotation=90, fontsize=layout.fontsize)
    ax.tick_params(axis="x", length=2, pad=1)
    if reference:
        ax.get_xticklabels()[0].set_fontweight("bold")
    for x in above:
        ax.text(
            x,
            1.02,
            boxes["name"].iloc[x],
            transform=ax.get_xaxis_transform(),
            rotation=90,
            fontsize=layout.fontsize,
            ha="center",
            va="bottom",
            gid="upper name",
        )
    if len(named) < len(boxes):
        ax.set_xlabel(f"the {len(named)} of {len(boxes)} groups that stand out are named", fontsize=7)
