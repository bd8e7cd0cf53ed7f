"""Grids of panels, in inches."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def panels(
    sizes: Sequence[tuple[float, float]],
    *,
    left: float,
    right: float,
    bottom: float,
    top: float,
    edge: float = 0.0,
    at_most: int = 4,
) -> tuple[Figure, list[Axes]]:
    """Return a figure with axes of these widths and heights, each at the upper left of its place.

    All have the same margins, beside which the figure has more room at its right ``edge``.
    """
    from matplotlib import pyplot as plt

    n_columns = min(len(sizes), at_most)
    n_rows = -(-len(sizes) // n_columns)
    one_width = left + max(width for width, _ in sizes) + right
    one_height = bottom + max(height for _, height in sizes) + top
    full_width, full_height = n_columns * one_width + edge, n_rows * one_height
    fig = plt.figure(figsize=(full_width, full_height))
    axes = []
    for i, (width, height) in enumerate(sizes):
        row, column = divmod(i, n_columns)
        x, y = column * one_width + left, full_height - row * one_height - top - height
        axes.append(fig.add_axes((x / full_width, y / full_height, width / full_width, height / full_height)))
    return fig, axes
