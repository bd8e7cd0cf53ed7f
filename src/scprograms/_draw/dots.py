"""Dots whose area says how significant something is, with their legend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

LARGEST = 90.0
"""Area, in square points."""


def strength(q: pd.Series) -> np.ndarray:
    """``-log10 q``; a q-value that underflowed to zero counts as the smallest float."""
    return -np.log10(np.maximum(q.to_numpy(dtype=float), np.finfo(float).tiny))


def size_legend(
    ax: Axes, largest: float, *, below: float, capped: bool = False, outlined: str | None = None, scale: float = 1.0
) -> None:
    """Say beside the axes, ``below`` inches under their top, which area is which ``-log10 q``.

    Parameters
    ----------
    ax
        The axes of the dots.
    largest
        The value of the largest dots.
    below
        Where the legend starts.
    capped
        Whether the largest dots stand for all values above as well.
    outlined
        What an outline says, where not all dots have one.
    scale
        Area of the largest dots, in units of the usual one.
    """
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(0, largest)
    values = [value for value in ticks if 0 < value < (largest - 1e-9 if capped else largest + 1e-9)]
    edge = "none" if outlined else "0.3"
    handles = [_dot(scale * value / largest, f"{value:g}", edge) for value in values]
    if capped:
        handles.append(_dot(scale, f"≥ {largest:g}", edge))
    if outlined:
        handles.append(_dot(0.5 * scale, outlined, "black"))
    width, height = figure.size_of(ax)
    ax.legend(
        handles=handles,
        title=figure.LOG10_Q,
        title_fontsize=figure.LEGEND_SIZE,
        fontsize=figure.SMALL_SIZE,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1 + 0.1 / width, 1 - below / height),
        borderaxespad=0,
        labelspacing=0.7,
    )


def _dot(share: float, label: str, edge: str) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D(
        [],
        [],
        linestyle="",
        marker="o",
        markersize=np.sqrt(LARGEST * share),
        markerfacecolor="0.7",
        markeredgecolor=edge,
        markeredgewidth=0.7 if edge == "black" else 0.4,
        label=label,
    )
