"""The genes by which a recovery model knows each state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms._draw import figure
from scprograms._draw.panels import panels
from scprograms.states import tables

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from scprograms.states.tables import HasSignatures

_ROW, _COLUMN, _FONT = 0.14, 0.3, 7
_PER_ROW = 6


def recovery_signatures(
    model: HasSignatures,
    *,
    cell_types: str | Sequence[str] | None = None,
    n_genes: int = 8,
    cmap: str = "magma_r",
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> list[Axes] | Figure:
    """Draw the weights of the features that tell the states of each cell type apart.

    Features are grouped by the state that they weigh most in, by how much more. "GENE +" is expression above the mean
    of the sample, and "GENE −" below it.

    Parameters
    ----------
    model
        From :func:`scprograms.tl.train_recovery`.
    cell_types
        One cell type or several; all by default.
    n_genes
        At most so many features for each state.
    cmap
        Colour map of the weights, which start at 0.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    The axes of the cell types, or the figure.

    Raises
    ------
    TypeError
        ``model`` is no recovery model.
    ValueError
        A cell type is not in the model.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_states(600, 300, n_samples=3, n_cell_types=2, n_markers=40)
    >>> model = scp.tl.train_recovery(adata, "state", "cell_type", sample_key="sample", n_runs=3)
    >>> ax = scp.pl.recovery_signatures(model, n_genes=5, show=False)[0]
    >>> ax.images[0].get_array().shape
    (15, 3)
    """
    table = tables.recovery_signatures(model, cell_types=cell_types, n_genes=n_genes)
    names = list(dict.fromkeys(table["cell_type"]))
    weights = {name: model.signature(name) for name in names}
    parts = {name: table[table["cell_type"] == name] for name in names}
    rows = {name: [_label(gene, part) for gene, part in zip(t["gene"], t["part"], strict=True)]
            for name, t in parts.items()}  # fmt: skip
    values = {name: weights[name].loc[_features(parts[name])].to_numpy(dtype=float) for name in names}
    top = max(float(each.max()) for each in values.values())
    columns = [str(state) for each in weights.values() for state in each]
    fig, axes = panels(
        [(_COLUMN * each.shape[1], _ROW * each.shape[0]) for each in values.values()],
        left=figure.text_width([label for each in rows.values() for label in each], _FONT) + 0.2,
        right=0.15,
        bottom=figure.text_width(columns, _FONT + 1) + 0.2,
        top=0.35,
        edge=0.85,
        at_most=_PER_ROW,
    )
    for ax, name in zip(axes, names, strict=True):
        image = values[name]
        drawn = ax.imshow(image, aspect="auto", interpolation="nearest", cmap=cmap, vmin=0, vmax=top)
        ax.set_yticks(range(len(image)), rows[name], fontsize=_FONT)
        ax.set_xticks(range(image.shape[1]), list(weights[name].columns.astype(str)), rotation=90, fontsize=_FONT + 1)
        ax.tick_params(length=2, pad=2)
        states = parts[name]["state"].to_numpy()
        for at in np.flatnonzero(states[1:] != states[:-1]):
            ax.axhline(at + 0.5, color="white", linewidth=1.5)
        figure.set_title(ax, name)
    last = axes[min(len(axes), _PER_ROW) - 1]
    beyond = figure.text_width([names[axes.index(last)]], 10) - figure.size_of(last)[0]
    figure.side_colorbar(last, drawn, "weight (standard deviations)", pad=max(0.2, beyond + 0.1), height=1.3)
    return figure.finish(fig, axes, owned=True, show=show, return_fig=return_fig, save=save)


def _label(gene: str, part: str) -> str:
    return f"{gene} {'+' if part == 'pos' else '−'}"


def _features(table: pd.DataFrame) -> list[str]:
    return [f"{gene}__{part}" for gene, part in zip(table["gene"], table["part"], strict=True)]
