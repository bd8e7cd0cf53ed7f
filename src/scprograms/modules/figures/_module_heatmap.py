"""Features by module x samples: what is accessible where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms._anndata import slot_names
from scprograms._core.validate import check_int, check_real
from scprograms._draw import figure
from scprograms._draw.pixels import allocate_rows
from scprograms.modules import tables

from ._module_colors import module_colors

if TYPE_CHECKING:
    import os

    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_AT_MOST_NAMED = 90
_STRIP, _GAP = 0.13, 0.05


def module_heatmap(
    adata: AnnData,
    *,
    key: str = "nmf",
    layer: str | None = None,
    n_pixels: int = 600,
    percentile: float = 99,
    cmap: str = "magma_r",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes | Figure:
    """Draw the accessibility of features, ordered by module, in all samples, ordered by module.

    Each feature is divided by its largest value over the samples; rows of pixels are means of features, the most
    specific ones of a module on top. Below the modules follow the shared and the non-specific features (or unassigned
    ones), in the order of the module that they have the largest share in. Bars show the modules of features (left) and
    of samples (top).

    Parameters
    ----------
    adata
        Samples x features, after :func:`scprograms.tl.assign_modules`.
    key
        ``key_added`` of the factorization.
    layer
        Layer with the values; None means ``.X``.
    n_pixels
        Rows of pixels that the features are averaged to, in proportion to the sizes of modules.
    percentile
        The value, as a percentile from 0 to 100 of all that is drawn, at which colours end.
    cmap
        Colour map.
    ax
        Axes to draw in; by default new ones whose size suits the number of samples.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    The axes of the heatmap, or the figure.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, it has no modules yet, or there is no such layer.
    TypeError
        ``n_pixels`` is no integer.
    ValueError
        ``n_pixels`` is below 1, or the percentile is not within 0 and 100.

    Examples
    --------
    >>> import scprograms as scp
    >>> counts = scp.datasets.simulate_modules(1000, 12, 4)
    >>> adata = scp.pp.pseudobulk(counts, ["subtype", "region"], min_cells=1)
    >>> scp.tl.nmf(adata, 4)
    >>> scp.tl.assign_modules(adata)
    >>> ax = scp.pl.module_heatmap(adata, n_pixels=200, show=False)
    >>> ax.images[0].get_array().shape
    (200, 36)
    """
    n_pixels = check_int("n_pixels", n_pixels, at_least=1)
    percentile = check_real("percentile", percentile, at_least=0, at_most=100)
    features, samples = tables.modules(adata, key=key, of="features"), tables.modules(adata, key=key, of="samples")
    sizes = features["module"].value_counts(sort=False).drop(slot_names.INACTIVE)
    sizes = sizes[sizes > 0]
    rows = allocate_rows(sizes.to_numpy(), n_pixels)
    profiles = tables.module_profiles(
        adata, key=key, layer=layer, n_rows=dict(zip(map(str, sizes.index), rows.tolist(), strict=True))
    )
    place = np.lexsort((-samples["contribution"].fillna(0).to_numpy(), samples["module"].cat.codes.to_numpy()))
    profiles, samples = profiles.iloc[:, place], samples.iloc[place]

    named = len(samples) <= _AT_MOST_NAMED
    labels = [f"{name} ({size:,})" for name, size in sizes.items()]
    side = figure.text_width(labels, 8) + 0.7
    fig, ax, owned = figure.sized_axes(
        ax,
        width=float(np.clip(0.13 * len(samples), 2.5, 7)),
        height=6.0,
        left=side + _STRIP + _GAP,
        right=1.3,
        bottom=(figure.text_width(list(samples.index), 7) if named else 0.15) + 0.25,
        top=0.5,
    )
    low, high = figure.color_limits(profiles.to_numpy(), percentile=percentile, symmetric=False)
    drawn = ax.imshow(
        profiles.to_numpy(), aspect="auto", interpolation="nearest", cmap=cmap, vmin=low, vmax=high, rasterized=True
    )
    colors = module_colors(adata, key, list(features["module"].cat.categories) + list(samples["module"].cat.categories))
    _strips(ax, [colors[name] for name in profiles.index], [colors[str(name)] for name in samples["module"]])
    edges = np.cumsum(rows)
    for edge in edges[:-1]:
        ax.axhline(edge - 0.5, color="white", linewidth=0.4)
    ax.set_yticks([])
    figure.label_rows(
        ax, edges - rows / 2 - 0.5, labels, fontsize=8, importance=sizes.to_numpy(), pad=_STRIP + _GAP + 0.02
    )
    if named:
        figure.label_columns(ax, list(samples.index))
    else:
        ax.set_xticks([])
        ax.set_xlabel(f"{len(samples):,} samples", fontsize=figure.LABEL_SIZE)
    title = f"{int(sizes.sum()):,} features in {len(samples):,} samples, by module"
    figure.set_title(ax, title, pad=72 * (_STRIP + _GAP) + 4)
    figure.side_colorbar(ax, drawn, "mean share of a feature's maximum", pad=0.15)
    return figure.finish(fig, ax, owned=owned, show=show, return_fig=return_fig, save=save)


def _strips(ax: Axes, row_colors: list[str], column_colors: list[str]) -> None:
    """Draw the bars of colours left of and above an image."""
    from matplotlib.colors import to_rgba_array

    width, height = figure.size_of(ax)
    left = ax.inset_axes((-(_STRIP + _GAP) / width, 0, _STRIP / width, 1))
    left.imshow(to_rgba_array(row_colors)[:, None, :], aspect="auto", interpolation="nearest")
    above = ax.inset_axes((0, 1 + _GAP / height, 1, _STRIP / height))
    above.imshow(to_rgba_array(column_colors)[None, :, :], aspect="auto", interpolation="nearest")
    for strip, gid in ((left, "modules of features"), (above, "modules of samples")):
        strip.set_axis_off()
        strip.set_gid(gid)
