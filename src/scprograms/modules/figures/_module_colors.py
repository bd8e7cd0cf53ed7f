"""Colours of modules: as many as there are, neighbours apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scprograms._anndata import slot_names
from scprograms._anndata.cell_groups import colors
from scprograms._anndata.slot_names import Slots
from scprograms._draw import palette

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

OTHERS = {
    slot_names.SHARED: "#B3B3B3",
    slot_names.NON_SPECIFIC: "#595959",
    slot_names.UNASSIGNED: palette.WITHOUT,
    slot_names.UNCLASSIFIED: palette.WITHOUT,
    slot_names.INACTIVE: "#F2F2F2",
}


def module_colors(adata: AnnData, key: str, names: Sequence[str]) -> dict[str, str]:
    """Return the colour of each module: the palette of ``.obs[f"{key}_module"]`` where one is stored, else our own."""
    stored = colors(adata, Slots(key).module) or {}
    modules = [name for name in dict.fromkeys(names) if name not in OTHERS]
    own = palette.program_colors(adata, key, modules)
    return {name: stored.get(name) or own.get(name) or OTHERS[name] for name in names}


def text_color(color: str) -> str:
    """Return black or white, whichever can be read on a colour."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(color)
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "white"


def short_name(name: str) -> str:
    """``program_12`` becomes ``12``; other names stay."""
    return name.rpartition("_")[2] if name.startswith("program_") else name
