"""Programs of two factorizations side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms._draw import figure
from scprograms.programs import tables

if TYPE_CHECKING:
    import os

    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_AT_MOST_WRITTEN = 15
"""Pairs up to which every cosine of a pair is written into its cell."""


def program_similarity(
    a: AnnData,
    b: AnnData,
    *,
    key: str = "semi_nmf",
    key_b: str | None = None,
    names: tuple[str, str] = ("a", "b"),
    cmap: str = "RdBu_r",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes | Figure:
    """Draw how alike the programs of two factorizations are: the cosines of their loadings, matched pairs first.

    The pairs of :func:`scprograms.tl.match_programs` lie on the diagonal, framed, the most similar at the upper left;
    programs that are left over follow.

    Parameters
    ----------
    a
        Factorized cells x genes: its programs are the rows. Gene names must be unique.
    b
        Another one, or the same with another ``key_b``: its programs are the columns.
    key
        Key of the factorization in ``a``.
    key_b
        Key of the factorization in ``b``; ``key`` by default.
    names
        What to call the two.
    cmap
        Colour map, diverging; it ends at -1 and 1.
    ax
        Axes to draw in; by default new ones whose size suits the numbers of programs.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    The axes of the heatmap (programs of ``a`` x programs of ``b``), or the figure.

    Raises
    ------
    KeyError
        There is no factorization under a key.
    TypeError
        ``a`` or ``b`` is no AnnData.
    ValueError
        No gene is shared, or gene names are not unique.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> scp.tl.semi_nmf(adata, 4, key_added="four")
    >>> ax = scp.pl.program_similarity(adata, adata, key_b="four", names=("three", "four"), show=False)
    >>> ax.images[0].get_array().shape
    (3, 4)
    """
    from matplotlib import colormaps

    table = tables.program_similarity(a, b, key=key, key_b=key_b, matched=True)
    n_rows, n_columns = table.shape
    pitch = float(np.clip(10 / max(table.shape), 0.14, 0.32))
    side = figure.text_width(list(table.index), 8)
    fig, ax, owned = figure.sized_axes(
        ax,
        width=max(pitch * n_columns, 0.6),
        height=max(pitch * n_rows, 0.6),
        left=side + 0.75,
        right=1.3,
        bottom=figure.text_width(list(table.columns), 8) + 0.65,
        top=0.55,
    )
    colors = colormaps[cmap].with_extremes(bad="0.8")
    drawn = ax.imshow(table.to_numpy(), aspect="auto", interpolation="nearest", cmap=colors, vmin=-1, vmax=1)
    _, height = figure.size_of(ax)
    fontsize = float(np.clip(72 * height / n_rows * 0.8, 3.5, 8))
    ax.set_yticks(range(n_rows), list(table.index), fontsize=fontsize)
    ax.tick_params(axis="y", length=2, pad=2)
    figure.label_columns(ax, list(table.columns))
    ax.set_ylabel(f"programs of {names[0]}", fontsize=figure.LABEL_SIZE)
    ax.set_xlabel(f"programs of {names[1]}", fontsize=figure.LABEL_SIZE)
    figure.set_title(ax, "Similarity of programs (frames: matched)")
    _mark_pairs(ax, np.diagonal(table.to_numpy()), fontsize=fontsize)
    figure.side_colorbar(ax, drawn, "cosine of loadings", pad=0.2, height=1.6)
    return figure.finish(fig, ax, owned=owned, show=show, return_fig=return_fig, save=save)


def _mark_pairs(ax: Axes, cosines: np.ndarray, *, fontsize: float) -> None:
    """Frame the matched pairs, and write their cosines where there is room."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    pairs = np.flatnonzero(~np.isnan(cosines)).tolist()
    frames = [Rectangle((i - 0.5, i - 0.5), 1, 1) for i in pairs]
    ax.add_collection(
        PatchCollection(frames, facecolors="none", edgecolors="black", linewidths=0.8, gid="matched pairs"),
        autolim=False,
    )
    if len(pairs) > _AT_MOST_WRITTEN:
        return
    for i in pairs:
        shade = "white" if abs(cosines[i]) > 0.6 else "black"
        text = f"{cosines[i]:.2f}".replace("-0.", "−.").replace("0.", ".")
        ax.text(i, i, text, ha="center", va="center_baseline", fontsize=min(fontsize, 7), color=shade)
