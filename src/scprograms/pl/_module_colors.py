"""Colours of modules: as many as there are, neighbours apart."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING

from scprograms import _keys, get
from scprograms._keys import Slots

from . import _figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

OTHERS = {
    _keys.SHARED: "#B3B3B3",
    _keys.NON_SPECIFIC: "#595959",
    _keys.UNASSIGNED: "#D9D9D9",
    _keys.UNCLASSIFIED: "#D9D9D9",
    _keys.INACTIVE: "#F2F2F2",
}
_GOLDEN = 0.6180339887


def module_colors(adata: AnnData, key: str, names: Sequence[str]) -> dict[str, str]:
    """Return the colour of each module: the palette of ``.obs[f"{key}_module"]`` where one is stored, else our own."""
    stored = get.colors(adata, Slots(key).module) or {}
    modules = [name for name in dict.fromkeys(names) if name not in OTHERS]
    if len(modules) <= len(_figure.CYCLE):
        own = dict(zip(modules, _figure.CYCLE, strict=False))
    else:
        own = {name: _color(i) for i, name in enumerate(modules)}
    return {name: stored.get(name) or own.get(name) or OTHERS[name] for name in names}


def _color(i: int) -> str:
    """Return the i-th of any number of colours: hue by the golden ratio, in turn light and dark."""
    red, green, blue = colorsys.hls_to_rgb((0.07 + i * _GOLDEN) % 1, (0.42, 0.66, 0.54)[i % 3], (0.75, 0.7, 0.5)[i % 3])
    return f"#{round(255 * red):02X}{round(255 * green):02X}{round(255 * blue):02X}"


def text_color(color: str) -> str:
    """Return black or white, whichever can be read on a colour."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"


def short_name(name: str) -> str:
    """``program_12`` becomes ``12``; other names stay."""
    return name.rpartition("_")[2] if name.startswith("program_") else name
