"""How numbers of programs compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scprograms._draw import figure, palette
from scprograms.programs import tables

if TYPE_CHECKING:
    import os

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 2.6, 2.1
_LEFT, _RIGHT, _BOTTOM, _TOP, _GAP, _ROW_GAP = 0.85, 0.25, 0.55, 0.45, 0.95, 0.75


def rank_sweep(
    adata: AnnData,
    *,
    key: str = "semi_nmf",
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> list[Axes] | Figure:
    """Draw error, held-out error, stability and silhouette against the number of programs.

    What was not computed is left out. A line marks the suggested number; its reason is in
    ``.uns[key]["rank_sweep_reason"]``.

    Parameters
    ----------
    adata
        Cells x genes, after :func:`scprograms.tl.rank_sweep`.
    key
        Its ``key_added``.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    The axes in this order: error and its bound; held-out error, with one standard error over the folds; stability,
    with its standard deviation over pairs of subsamples; silhouette. Or the figure.

    Raises
    ------
    KeyError
        There is no rank sweep under ``key``.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.rank_sweep(adata, [3, 6, 9], n_folds=2, stability=False)
    >>> [ax.get_title(loc="left") for ax in scp.pl.rank_sweep(adata, show=False)]
    ['Error', 'Cross-validation', 'Silhouette']
    """
    from matplotlib import pyplot as plt
    from matplotlib.ticker import MaxNLocator

    table = tables.rank_sweep(adata, key=key)
    panels = [
        (name, column)
        for name, column in (
            ("Error", "error"),
            ("Cross-validation", "cv_error"),
            ("Stability", "stability"),
            ("Silhouette", "silhouette"),
        )
        if table[column].notna().any()
    ]
    n_columns = min(2, len(panels))
    n_rows = -(-len(panels) // n_columns)
    width = _LEFT + n_columns * _WIDTH + (n_columns - 1) * _GAP + _RIGHT
    height = _BOTTOM + n_rows * _HEIGHT + (n_rows - 1) * _ROW_GAP + _TOP
    fig = plt.figure(figsize=(width, height))
    axes = []
    for i, (name, column) in enumerate(panels):
        row, place = divmod(i, n_columns)
        left = _LEFT + place * (_WIDTH + _GAP)
        bottom = _BOTTOM + (n_rows - 1 - row) * (_HEIGHT + _ROW_GAP)
        ax = fig.add_axes((left / width, bottom / height, _WIDTH / width, _HEIGHT / height))
        _draw(ax, table, column)
        figure.set_title(ax, name)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.ticklabel_format(axis="y", useOffset=False)
        ax.margins(y=0.1)
        figure.name_axes(ax, "number of programs")
        axes.append(ax)
    return figure.finish(fig, axes, owned=True, show=show, return_fig=return_fig, save=save)


def _draw(ax: Axes, table: pd.DataFrame, column: str) -> None:
    """Draw one curve, and where the suggestion lies."""
    k = table["n_programs"]
    style: dict[str, Any] = {"marker": "o", "markersize": 3, "linewidth": 1.2, "color": palette.BLUE}
    spread = {
        "cv_error": table["cv_sd"] / np.sqrt(table.attrs["n_folds"]),
        "stability": table["stability_sd"],
    }.get(column)
    if spread is None:
        ax.plot(k, table[column], **style)
    else:
        ax.errorbar(k, table[column], spread, capsize=2, elinewidth=0.8, **style)
    label = {
        "error": "norm of the residual",
        "cv_error": "mean squared error of\nhidden entries (\N{PLUS-MINUS SIGN} 1 SE)",
        "stability": "matched cosine (\N{PLUS-MINUS SIGN} 1 SD)",
        "silhouette": "silhouette of loadings",
    }[column]
    ax.set_ylabel(label, fontsize=figure.LABEL_SIZE)
    suggested = int(k[table["suggested"]].iloc[0])
    ax.axvline(suggested, color=palette.VERMILION, linewidth=0.9, linestyle="--", zorder=0, label=f"k = {suggested}")
    if column == "error":
        ax.plot(k, table["error_bound"], color="0.5", linestyle=":", linewidth=1.2, zorder=3, label="least possible")
        ax.legend(frameon=False, fontsize=figure.LEGEND_SIZE)
