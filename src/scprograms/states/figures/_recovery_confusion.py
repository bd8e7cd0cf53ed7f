"""Which states held-out cells are taken for, a panel for each cell type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms._anndata import slot_names
from scprograms._core.validate import listing
from scprograms._draw import figure
from scprograms._draw.panels import panels
from scprograms.states import tables

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STEP = 0.42
_FONT = 8


def recovery_confusion(
    adata: AnnData,
    *,
    key: str = "recovery",
    cell_types: str | Sequence[str] | None = None,
    cmap: str = "Blues",
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> list[Axes] | Figure:
    """Draw which states held-out cells were taken for, in percent of the cells of each state.

    Rows are the states that cells are labelled with, with the number of cells; columns are what they are predicted as.
    F1 stands on the right of each row, in grey and brackets for a state that is not recoverable, and its mean over the
    states of a cell type in the title.

    Parameters
    ----------
    adata
        Cells x genes, after :func:`scprograms.tl.cross_validate_recovery`.
    key
        ``key_added`` of the cross-validation.
    cell_types
        One cell type or several; all by default.
    cmap
        Colour map of the shares, from 0 to 100 %.
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
    KeyError
        There is no cross-validation under ``key``.
    ValueError
        A cell type was not cross-validated.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_states(600, 300, n_samples=3, n_cell_types=1, n_markers=40)
    >>> scp.tl.cross_validate_recovery(adata, "state", "cell_type", sample_key="sample", n_runs=3)
    >>> ax = scp.pl.recovery_confusion(adata, show=False)[0]
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['state_0', 'state_1', 'state_2', 'non-state']
    """
    table, states = tables.recovery_confusion(adata, key=key), tables.recovery_states(adata, key=key)
    names = _chosen(list(dict.fromkeys(table["cell_type"])), cell_types)
    parts = {name: _matrix(table[table["cell_type"] == name]) for name in names}
    rows = {name: [f"{state} ({n:,})" for state, n in totals.items()] for name, (_, totals) in parts.items()}
    labels = [label for each in rows.values() for label in each]
    columns = [str(label) for shares, _ in parts.values() for label in shares]
    at_most = 4 if max(map(len, rows.values())) <= 6 else 2
    fig, axes = panels(
        [(_STEP * shares.shape[1], _STEP * shares.shape[0]) for shares, _ in parts.values()],
        left=figure.text_width(labels, _FONT) + 0.2,
        right=0.65,
        bottom=figure.text_width(columns, _FONT) + 0.3,
        top=0.55,
        edge=0.95,
        at_most=at_most,
    )
    for ax, name in zip(axes, names, strict=True):
        shares, _ = parts[name]
        _draw(ax, shares, rows[name], cmap)
        _write_f1(ax, states[states["cell_type"].astype(str) == name], list(shares.index), name)
    last = axes[min(len(axes), at_most) - 1]
    bar = figure.side_colorbar(last, axes[0].images[0], "% of the state's cells", pad=0.75, height=1.3)
    bar.set_ticks([0, 50, 100])
    return figure.finish(fig, axes, owned=True, show=show, return_fig=return_fig, save=save)


def _chosen(there: list[str], wanted: str | Sequence[str] | None) -> list[str]:
    if wanted is None:
        return there
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    if not names or (unknown := [name for name in names if name not in there]):
        msg = f"cell_types={listing(unknown if names else [])} were not cross-validated. There: {listing(there)}."
        raise ValueError(msg)
    return names


def _matrix(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return percentages, states x predicted with non-state last, and the cells of each state."""
    states = list(dict.fromkeys(table["state"]))
    others = [name for name in dict.fromkeys(table["predicted"]) if name not in (*states, slot_names.NON_STATE)]
    columns = [*(name for name in states if name in set(table["predicted"])), *others]
    columns += [slot_names.NON_STATE] if slot_names.NON_STATE in set(table["predicted"]) else []
    shares = table.pivot_table(index="state", columns="predicted", values="share", aggfunc="sum", observed=True)
    totals = table.groupby("state", observed=True)["n_cells"].sum()
    return 100 * shares.reindex(index=states, columns=columns).fillna(0), {name: int(totals[name]) for name in states}


def _draw(ax: Axes, shares: pd.DataFrame, rows: list[str], cmap: str) -> None:
    values = shares.to_numpy()
    ax.imshow(values, aspect="auto", interpolation="nearest", cmap=cmap, vmin=0, vmax=100, origin="upper")
    for (i, j), value in np.ndenumerate(values):
        if value > 0:
            text = f"{value:.0f}" if value >= 0.5 else "<1"
            shade = "white" if value > 55 else "black"
            ax.text(j, i, text, ha="center", va="center_baseline", fontsize=_FONT - 1, color=shade)
    ax.set_yticks(range(len(rows)), rows, fontsize=_FONT)
    ax.set_xticks(range(shares.shape[1]), list(shares.columns), rotation=90, fontsize=_FONT)
    ax.tick_params(length=2, pad=2)
    if list(shares.columns)[-1] == slot_names.NON_STATE:
        ax.axvline(shares.shape[1] - 1.5, color="0.3", linewidth=0.8)


def _write_f1(ax: Axes, states: pd.DataFrame, rows: list[str], name: str) -> None:
    """Write F1 beside each row, and its mean into the title."""
    states = states.set_index(states["state"].astype(str)).reindex(rows)
    right = ax.get_xlim()[1] + 0.15
    ax.text(right, -0.62, "F1", fontsize=_FONT - 1, va="bottom", ha="left")
    for i, (f1, good) in enumerate(zip(states["f1"], states["recoverable"], strict=True)):
        text = "–" if np.isnan(f1) else f"{f1:.2f}"
        recoverable = bool(good == True)  # noqa: E712  missing is not recoverable
        ax.text(
            right,
            i,
            text if recoverable else f"({text})",
            fontsize=_FONT - 1,
            va="center_baseline",
            ha="left",
            color="black" if recoverable else "0.5",
        )
    mean = states["f1"].mean()
    figure.set_title(ax, name + ("" if np.isnan(mean) else f"\nmacro-F1 {mean:.2f}"), pad=12)
