"""How the runs of a consensus agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms._draw import figure, palette
from scprograms.programs import tables

if TYPE_CHECKING:
    import os

    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STRIP, _BARS, _GAP = 0.14, 1.1, 0.12
_BOTTOM, _TOP, _RIGHT = 0.55, 0.35, 1.15


def consensus(
    adata: AnnData,
    *,
    key: str = "semi_nmf_consensus",
    cmap: str = "RdBu_r",
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> dict[str, Axes] | Figure:
    """Draw how similar the programs of different runs are, and the stability of the programs that they make up.

    Rows and columns are programs of runs (of about 300 programs' worth of runs, at equal distances), sorted by the
    program of the consensus that they are matched to. A program that comes back is a block of its own on the diagonal;
    one that has only been put together from what was left over is not.

    Parameters
    ----------
    adata
        Cells x genes, after :func:`scprograms.tl.consensus`.
    key
        Its ``key_added``.
    cmap
        Colour map of the cosines, diverging.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    The axes ``heatmap``, ``programs`` (colour strip), ``stability`` (mean cosine over all runs, and the middle half of
    the runs as a line) and ``colorbar``, or the figure.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or it is no consensus.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.consensus(adata, 4, n_runs=5)
    >>> sorted(scp.pl.consensus(adata, show=False))
    ['colorbar', 'heatmap', 'programs', 'stability']
    """
    from matplotlib.colors import ListedColormap, to_rgb

    cosines, similarity = tables.consensus(adata, key=key), tables.consensus_similarity(adata, key=key)
    names, stability = list(cosines.columns), cosines.mean().to_numpy()
    codes = np.array([names.index(name) for name in similarity.index.get_level_values("program")])
    size = np.bincount(codes, minlength=len(names))
    centers = np.cumsum(size) - size / 2 - 0.5

    fontsize = 8.0 if len(names) <= 30 else 6.0
    side = float(np.clip(len(names) * fontsize * 1.3 / 72, 4.2, 10))
    left = figure.text_width(names, fontsize) + 0.75 + _STRIP
    fig, heatmap, _ = figure.sized_axes(
        None,
        width=side,
        height=side,
        left=left,
        right=_GAP + _BARS + _RIGHT,
        bottom=_BOTTOM,
        top=_TOP,
    )
    image = heatmap.imshow(
        similarity.to_numpy(), cmap=cmap, vmin=-1, vmax=1, aspect="auto", interpolation="none", rasterized=True
    )
    heatmap.set_xticks([])
    heatmap.set_yticks([])
    heatmap.set_xlabel(f"programs of {size[0]} of {len(cosines)} runs", fontsize=figure.LABEL_SIZE)
    figure.set_title(heatmap, f"Programs of {len(cosines)} runs, by the program that they are matched to")

    strip = heatmap.inset_axes((-(_STRIP + 0.05) / side, 0, _STRIP / side, 1))
    own = palette.program_colors(adata, key, names)
    colors = ListedColormap([to_rgb(own[name]) for name in names])
    strip.imshow(codes[:, None], cmap=colors, vmin=-0.5, vmax=len(names) - 0.5, aspect="auto", interpolation="none")
    strip.set_axis_off()
    _, room = figure.label_rows(heatmap, centers, names, fontsize=fontsize, importance=stability, pad=_STRIP + 0.05)

    bars = heatmap.inset_axes((1 + (_GAP + room) / side, 0, _BARS / side, 1))
    bars.barh(centers, stability, height=0.8 * size, color=colors(np.arange(len(names))))
    low, high = np.quantile(cosines.to_numpy(), (0.25, 0.75), axis=0)
    bars.hlines(centers, low, high, color="0.2", linewidth=1)
    bars.set_ylim(heatmap.get_ylim())
    bars.set_xlim(min(0.0, float(low.min())), 1)
    bars.set_yticks([])
    figure.name_axes(bars, "stability\n(mean cosine)")
    bars.tick_params(labelsize=figure.SMALL_SIZE, length=2)
    bar = figure.side_colorbar(heatmap, image, "cosine of loadings", pad=_GAP + room + _BARS + 0.3)
    axes = {"heatmap": heatmap, "programs": strip, "stability": bars, "colorbar": bar.ax}
    return figure.finish(fig, axes, owned=True, show=show, return_fig=return_fig, save=save)
