"""The course of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from scprograms._core.validate import check_choice
from scprograms._draw import figure, palette
from scprograms.programs import tables

if TYPE_CHECKING:
    import os

    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STAGES = {"compressed": "projected matrix", "full": "whole matrix"}


def convergence(
    adata: AnnData,
    *,
    key: str = "semi_nmf",
    metric: Literal["error_ratio", "loss"] = "error_ratio",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes | Figure:
    """Draw the error of a fit against its iterations.

    Parameters
    ----------
    adata
        Cells x genes, factorized.
    key
        ``key_added`` of the factorization.
    metric
        ``"error_ratio"``: the error over the smallest one that a fit of this rank can have (1 is perfect), or
        ``"loss"``: what the solver minimises.
    ax
        Axes to draw in; new ones by default.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    The axes, with one line per stage of the fit, or the figure.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or none that recorded its course.
    ValueError
        ``metric`` is not known.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> scp.pl.convergence(adata, show=False).get_xlabel()
    'iteration'
    """
    from matplotlib.ticker import MaxNLocator

    check_choice("metric", metric, ("error_ratio", "loss"))
    history = tables.history(adata, key=key)
    fig, ax, owned = figure.sized_axes(ax, width=3.6, height=2.6, left=0.9, right=0.3, bottom=0.6, top=0.4)
    colors = (palette.BLUE, palette.VERMILION)
    for color, (stage, part) in zip(colors, history.groupby("stage", sort=False, observed=True), strict=False):
        marker = "o" if len(part) <= 60 else None
        label = _STAGES.get(str(stage), str(stage))
        ax.plot(part["iteration"], part[metric], color=color, marker=marker, markersize=3, linewidth=1.2, label=label)
    last = history.iloc[-1]
    ax.annotate(
        f"{last[metric]:.6g}",
        (last["iteration"], last[metric]),
        xytext=(0, 6),
        textcoords="offset points",
        ha="right",
        fontsize=8,
    )
    if metric == "error_ratio":
        ax.axhline(1, color="0.5", linewidth=0.8, linestyle="--", label="smallest possible")
    values = history[metric]
    if values.min() > 0 and values.max() > 10 * values.min():
        ax.set_yscale("log")
    else:
        ax.ticklabel_format(axis="y", useOffset=False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.name_axes(ax, "iteration", "error / smallest possible error" if metric == "error_ratio" else "loss")
    figure.set_title(ax, f"Course of the fit of {tables.usages(adata, key=key).shape[1]} programs")
    ax.legend(frameon=False, fontsize=figure.LEGEND_SIZE)
    ax.margins(y=0.1)
    return figure.finish(fig, ax, owned=owned, show=show, return_fig=return_fig, save=save)
