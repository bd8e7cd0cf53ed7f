"""Quantiles of p-values where there is nothing to find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from scprograms._draw import figure, palette
from scprograms.perturbation import tables
from scprograms.perturbation.engine.calibration import quantiles

if TYPE_CHECKING:
    import os

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = {"pseudo": palette.BLUE, "effects": palette.VERMILION}
_ROOM = 1.6
"""Effects far beyond the null are drawn at the edge, at this multiple of the largest null value."""


def calibration(
    adata: AnnData,
    groupby: str,
    *,
    key: str = "semi_nmf",
    effects: bool = False,
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes | Figure:
    """Draw -log10 p of tests within the control against what a uniform distribution lets expect.

    Points on the diagonal mean that the test holds; points above it that it finds too much. The band holds 95 % of the
    values at each place if the test holds; it is that of about as many independent tests as these are worth.

    Parameters
    ----------
    adata
        Cells x genes, factorized and calibrated with :func:`scprograms.tl.calibrate`.
    groupby
        Column of ``.obs`` that was calibrated.
    key
        ``key_added`` of the factorization.
    effects
        Draw the p-values of :func:`scprograms.tl.perturbation_effects` as well. Those far beyond all others are
        triangles at the upper edge.
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
    The axes, or the figure. The title gives lambda, its interval and the number of discoveries.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, it was not calibrated, or its effects were not tested.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5, n_control_guides=6)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> scp.tl.calibrate(adata, "perturbation", "non-targeting", replicate="guide", n_splits=5)
    >>> scp.pl.calibration(adata, "perturbation", show=False).get_title(loc="left").splitlines()[0]
    'Replicate test within the control'
    """
    summary = tables.calibration(adata, groupby, key=key, what="summary").iloc[0]
    null = tables.calibration(adata, groupby, key=key, what="qq")
    real = None
    if effects:
        real = quantiles(tables.effects(adata, groupby, key=key)["log10_p"].to_numpy(dtype=float))
    fig, ax, owned = figure.sized_axes(ax, width=3.4, height=3.4, left=0.65, right=0.2, bottom=0.6, top=0.85)
    right = max(float(part["expected"].max()) for part in (null, real) if part is not None and len(part)) * 1.04
    top = max(right, float(null["observed"].max()) * 1.08)
    if real is not None and len(real):
        top = max(top, min(float(real["observed"].max()) * 1.05, _ROOM * top))
    ax.fill_between(null["expected"], null["low"], null["high"], color="0.88", linewidth=0, label="95 % if it holds")
    ax.plot([0, right], [0, right], color="0.4", linewidth=0.8)
    if real is not None:
        _points(ax, real, top, "effects", f"{len(real):,} effects")
    _points(ax, null, top, "pseudo", f"{len(null):,} tests within the control")
    ax.set_xlim(0, right)
    ax.set_ylim(-0.015 * top, top * 1.015)
    figure.set_title(ax, _title(summary))
    figure.name_axes(ax, f"expected {figure.LOG10_P}", f"observed {figure.LOG10_P}")
    ax.legend(frameon=False, fontsize=figure.SMALL_SIZE, loc=_free_corner(null, right, top), handletextpad=0.4)
    return figure.finish(fig, ax, owned=owned, show=show, return_fig=return_fig, save=save)


def _points(ax: Axes, table: pd.DataFrame, top: float, name: str, label: str) -> None:
    """Draw quantiles, with triangles at the edge for those beyond it."""
    expected, observed = table["expected"].to_numpy(), table["observed"].to_numpy()
    beyond = observed > top
    many = len(table) > 5000
    ax.scatter(
        expected[~beyond],
        observed[~beyond],
        s=5 if many else 9,
        c=_COLORS[name],
        linewidths=0,
        rasterized=many,
        gid=name,
        label=label,
        zorder=3,
    )
    if beyond.any():
        ax.scatter(
            expected[beyond],
            np.full(beyond.sum(), top),
            s=12,
            c=_COLORS[name],
            marker="^",
            linewidths=0,
            clip_on=False,
            rasterized=many,
            gid=f"{name} beyond",
            label=f"{beyond.sum():,} of them beyond",
            zorder=3,
        )


def _free_corner(null: pd.DataFrame, right: float, top: float) -> Literal["lower right", "upper left"]:
    """Return the corner that no point is in: below the diagonal, unless the test finds far too little."""
    late = null["observed"][null["expected"] > 0.35 * right]
    return "lower right" if late.empty or float(late.min()) > 0.26 * top else "upper left"


def _title(summary: pd.Series) -> str:
    unit = "guides" if summary["replicate"] else "cells"
    low, high = summary["lambda_low"], summary["lambda_high"]
    interval = f" ({low:.2f} to {high:.2f})" if np.isfinite(low) else ""
    drawn = f"{summary['n_pseudo_perturbations']} groups of {summary['group_size']} control {unit}"
    hits = f"{summary['n_hits']} of {summary['n_tests']:,} tests at q ≤ 0.05"
    test = f"{str(summary['method']).capitalize()} test within the control"
    return f"{test}\nλ = {summary['lambda']:.2f}{interval}\n{drawn}\n{hits}"
