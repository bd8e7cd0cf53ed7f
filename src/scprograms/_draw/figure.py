"""How figures are opened, sized, labelled, saved and handed back. All lengths are inches."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scprograms._core.files import atomic_path

from .pixels import spread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure

TITLE_SIZE, LABEL_SIZE, TICK_SIZE, LEGEND_SIZE, SMALL_SIZE = 9.0, 9.0, 8.0, 8.0, 7.0
"""Of letters, in points: titles, names of axes, ticks, legends; and what has little room, such as colour bars."""
LOG10_P, LOG10_Q = "$-\\log_{10}$ p", "$-\\log_{10}$ q"
SAVE_DPI = 200


def sized_axes(
    ax: Axes | None, *, width: float, height: float, left: float, right: float, bottom: float, top: float
) -> tuple[Figure, Axes, bool]:
    """Return (figure, axes, whether they are ours): ``ax`` as it is, or new axes of this size with these margins."""
    if ax is not None:
        return ax.figure.figure, ax, False
    from matplotlib import pyplot as plt

    full_width, full_height = left + width + right, bottom + height + top
    fig = plt.figure(figsize=(full_width, full_height))
    rectangle = (left / full_width, bottom / full_height, width / full_width, height / full_height)
    return fig, fig.add_axes(rectangle), True


def size_of(ax: Axes) -> tuple[float, float]:
    """Width and height of axes."""
    box, dpi = ax.get_window_extent(), ax.figure.figure.dpi
    return box.width / dpi, box.height / dpi


def text_width(texts: Sequence[str], fontsize: float) -> float:
    """About the width of the longest of these texts (lines of one text count apart)."""
    longest = max((len(line) for text in texts for line in str(text).split("\n")), default=0)
    return longest * fontsize * 0.62 / 72


def set_title(ax: Axes, title: str, *, pad: float | None = None) -> None:
    """Write what axes show above them, at the left, in lines that end within the figure."""
    figure = ax.figure.figure
    room = figure.get_figwidth() - ax.get_window_extent().x0 / figure.dpi
    ax.set_title(fit_lines(title, room, TITLE_SIZE), fontsize=TITLE_SIZE, loc="left", pad=pad)


def fit_lines(text: str, room: float, fontsize: float) -> str:
    """Break a text into lines of at most about this length."""
    width = max(12, int(room / (fontsize * 0.57 / 72)))
    return "\n".join(part for line in text.split("\n") for part in textwrap.wrap(line, width) or [""])


def name_axes(ax: Axes, x: str | None = None, y: str | None = None) -> None:
    """Name both axes, and leave away the lines at the top and at the right."""
    if x is not None:
        ax.set_xlabel(x, fontsize=LABEL_SIZE)
    if y is not None:
        ax.set_ylabel(y, fontsize=LABEL_SIZE)
    ax.tick_params(labelsize=TICK_SIZE)
    ax.spines[["top", "right"]].set_visible(False)


def color_limits(values: np.ndarray, *, percentile: float, symmetric: bool) -> tuple[float, float]:
    """Limits of a colour map that outliers do not stretch."""
    magnitude = np.abs(values)
    top = float(np.percentile(magnitude, percentile)) or float(magnitude.max()) or 1.0
    return (-top, top) if symmetric else (0.0, top)


def side_colorbar(ax: Axes, mappable: ScalarMappable, label: str, *, pad: float, height: float = 2.0) -> Colorbar:
    """Draw a named colour bar at the upper right, ``pad`` away from the axes."""
    width, total = size_of(ax)
    share = min(1.0, height / total)
    box = ax.inset_axes((1 + pad / width, 1 - share, 0.14 / width, share))
    bar = ax.figure.figure.colorbar(mappable, cax=box)
    bar.set_label(fit_lines(label, share * total, TICK_SIZE), fontsize=TICK_SIZE)
    bar.outline.set_visible(False)
    box.tick_params(labelsize=SMALL_SIZE, length=2)
    return bar


def label_rows(
    ax: Axes,
    centers: np.ndarray,
    names: Sequence[str],
    *,
    fontsize: float,
    importance: np.ndarray,
    bold: Sequence[str] = (),
    pad: float = 0.0,
) -> tuple[int, float]:
    """Name the rows of an image beside it, moved apart where they are thin, with a line from each row to its name.

    Names go to the left; where one column has no room for them all, every other one goes to the right; where two have
    not, only the rows of the greatest importance are named. Returns how many are, and the room taken on the right.

    Parameters
    ----------
    ax
        The axes of the image, with y running downwards.
    centers
        Where the rows lie, in data coordinates, ascending.
    names
        Their names.
    fontsize
        In points.
    importance
        Which rows to name where there is no room for all: the largest.
    bold
        Names to print bold.
    pad
        Room on the left side for what stands between image and names.
    """
    width, height = size_of(ax)
    bottom, top = sorted(ax.get_ylim())
    gap = fontsize * 1.2 / 72 / height * (top - bottom)
    capacity = max(1, int((top - bottom) / gap))
    shown = np.sort(np.argsort(-np.asarray(importance), kind="stable")[: 2 * capacity])
    sides = [shown] if len(shown) <= capacity else [shown[::2], shown[1::2]]
    transform = ax.get_yaxis_transform()
    for rows, direction, start in zip(sides, (-1, 1), (-pad / width, 1.0), strict=False):
        at = spread(np.asarray(centers, dtype=float)[rows], gap, low=bottom + gap / 2, high=top - gap / 2)
        # Steep lines are hard to follow: the farther names are moved, the longer their lines.
        moved = np.abs(at - np.asarray(centers)[rows]).max() / (top - bottom) * height
        reach = float(np.clip(0.35 * moved, 0.12, 0.6))
        elbow, end, text = (start + direction * step / width for step in (0.03, 0.03 + reach, 0.06 + reach))
        lines = [
            [(start, center), (elbow, center), (end, y)]
            for center, y in zip(np.asarray(centers)[rows], at, strict=True)
        ]
        _add_lines(ax, lines, transform)
        for row, y in zip(rows, at, strict=True):
            name = str(names[row])
            ax.text(
                text,
                y,
                name,
                transform=transform,
                fontsize=fontsize,
                fontweight="bold" if name in bold else "normal",
                ha="right" if direction < 0 else "left",
                va="center_baseline",
                gid="row label",
            )
    right = text_width([names[i] for i in sides[1]], fontsize) + reach + 0.1 if len(sides) > 1 else 0.0
    return len(shown), right


def _add_lines(ax: Axes, lines: list[list[tuple[float, float]]], transform: Any) -> None:
    from matplotlib.collections import LineCollection

    ax.add_collection(
        LineCollection(lines, colors="0.4", linewidths=0.4, transform=transform, clip_on=False), autolim=False
    )


def row_layout(n_rows: int, *, at_most: float) -> tuple[float, float]:
    """Height of axes with so many named rows, and the font size of the names."""
    fontsize = 8.0 if n_rows <= 60 else 6.0
    return float(np.clip(n_rows * fontsize * 1.35 / 72, 2.5, at_most)), fontsize


def label_columns(ax: Axes, names: Sequence[str]) -> None:
    """Name the columns of an image below it, upright."""
    width, _ = size_of(ax)
    fontsize = float(np.clip(72 * width / max(1, len(names)) * 0.8, 3.5, 8))
    ax.set_xticks(range(len(names)), names, rotation=90, fontsize=fontsize)
    ax.tick_params(axis="x", length=2, pad=2)


def format_q(q: float) -> str:
    """``q = 0.012``, ``q = 3.1e-45``; a q-value that underflowed to zero is given as a bound."""
    if not np.isfinite(q):
        return "q not defined"
    if q == 0:
        return "q < 1e-300"
    return f"q = {q:.2g}" if q >= 1e-3 else f"q = {q:.1e}"


def finish(
    fig: Figure, axes: Any, *, owned: bool, show: bool | None, return_fig: bool, save: str | os.PathLike[str] | None
) -> Any:
    """Save, show or close a figure, and return the axes or the figure.

    ``show=None`` leaves a new figure open, so that a notebook displays it; ``False`` takes it out of pyplot (it can
    still be saved); ``True`` shows it at once.
    """
    from matplotlib import pyplot as plt

    if save is not None:
        try:
            save_figure(fig, save)
        except BaseException:
            if owned:
                plt.close(fig)
            raise
    if show:
        plt.show()
    elif show is False and owned:
        plt.close(fig)
    return fig if return_fig else axes


def text_stays_text() -> AbstractContextManager[None]:
    """Within this context letters stay letters in PDF and SVG, so that a figure can be edited and searched."""
    import matplotlib as mpl

    return mpl.rc_context({"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"})


def save_figure(fig: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure in the format of the path's suffix; an older file stays whole until the new one is."""
    if not isinstance(path, str | os.PathLike):
        msg = f"save={path!r} is a {type(path).__name__}; pass the path of a file, such as 'figure.png'."
        raise TypeError(msg)
    path = Path(path)
    form, known = path.suffix.lower().removeprefix("."), sorted(fig.canvas.get_supported_filetypes())
    if form not in known:
        msg = f"save={str(path)!r} has no suffix that names a picture format. Choose one of {', '.join(known)}."
        raise ValueError(msg)
    if not path.parent.is_dir():
        msg = f"save={str(path)!r}: the folder {str(path.parent)!r} does not exist. Make it first."
        raise FileNotFoundError(msg)
    with atomic_path(path) as part, text_stays_text():
        fig.savefig(part, format=form, dpi=SAVE_DPI, bbox_inches="tight", pad_inches=0.08)
