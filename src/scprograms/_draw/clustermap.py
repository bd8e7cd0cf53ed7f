"""Layout of clustered heat maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


ROOM_ABOVE = 0.6
"""Inches for the title of a clustermap."""


def place_clustermap(grid, *, width: float, height: float, branches: float, side: float, bottom: float) -> None:
    full_width, full_height = grid.figure.get_size_inches()
    grid.figure.set_layout_engine("none")

    def place(ax: Axes, left: float, low: float, wide: float, high: float) -> None:
        ax.set_position((left / full_width, low / full_height, wide / full_width, high / full_height))

    place(grid.ax_heatmap, branches, bottom, width, height)
    place(grid.ax_row_dendrogram, 0, bottom, branches, height)
    place(grid.ax_col_dendrogram, branches, bottom + height, width, branches * 0.9)
    tall = min(2.0, height)
    place(grid.ax_cbar, branches + width + side + 0.4, bottom + height - tall, 0.14, tall)
