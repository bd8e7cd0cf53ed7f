"""Colours of categories: the stored palette where there is one, else the same own colours in every picture."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING

from scprograms._anndata import cell_groups
from scprograms._anndata.cell_groups import labels
from scprograms._anndata.slot_names import Slots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData

BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
"""Of lines and points that are no category: what is looked at, what it is compared with, and a third."""
CYCLE = ("#E69F00", BLUE, "#009E73", VERMILION, "#56B4E9", PURPLE, "#F0E442")
"""Okabe & Ito (2008) without black; yellow, which is pale on white, comes last."""
CATEGORIES = (
    *CYCLE,
    "#69003C", "#2D1E96", "#694B00", "#5AD296", "#8778F0", "#A51E69", "#4B4B96", "#965A3C", "#005A5A", "#96F096",
    "#B4C3FF", "#4B2D69", "#691E00",
)  # fmt: skip
"""Each further colour is the one that is farthest from all before it, to full sight and without red or green cones."""
UP, DOWN, NEITHER = "#B2182B", "#2166AC", "#A6A6A6"
"""Raised, lowered, and neither: the ends of the diverging map."""
CONTROL = "#7F7F7F"
WITHOUT = "#D9D9D9"
"""Cells that have no category."""
NEUTRAL = "#9ECAE1"
"""Groups that are too many to be told apart by colour."""
AT_MOST_BOXES = len(CYCLE) + 1
"""Groups with boxes in colours of their own: those of more would be too dark for the bar of the median."""
_GOLDEN = 0.6180339887


def category_colors(
    names: Sequence[str], stored: Mapping[str, str] | None = None, *, control: str | None = None
) -> dict[str, str]:
    """Return the colour of each of all categories of a column, given in their order.

    The control is grey, and takes no colour from the others, unless a palette is stored.
    """
    if stored is not None:
        return {name: stored[name] for name in names}
    colors = {name: CATEGORIES[i] if i < len(CATEGORIES) else further_color(i) for i, name in enumerate(names)}
    return colors if control is None else {**colors, str(control): CONTROL}


def group_colors(adata: AnnData, groupby: str, *, control: str | None = None) -> dict[str, str]:
    """Return the colour of each group of a column of ``.obs``."""
    names = list(labels(adata, groupby).cat.categories)
    return category_colors(names, cell_groups.colors(adata, groupby), control=control)


def program_colors(adata: AnnData, key: str, names: Sequence[str]) -> dict[str, str]:
    """Return the colour of each program: that of ``.obs[f"{key}_program"]``, where a palette of it is stored."""
    try:
        stored = cell_groups.colors(adata, Slots(key).program) or {}
    except (KeyError, ValueError):  # no such column, or no cell with a program
        stored = {}
    return {**category_colors(names), **{name: color for name, color in stored.items() if name in names}}


def further_color(i: int) -> str:
    """Return the i-th of any number of colours: hue by the golden ratio, in turn light and dark."""
    red, green, blue = colorsys.hls_to_rgb((0.07 + i * _GOLDEN) % 1, (0.42, 0.66, 0.54)[i % 3], (0.75, 0.7, 0.5)[i % 3])
    return f"#{round(255 * red):02X}{round(255 * green):02X}{round(255 * blue):02X}"
