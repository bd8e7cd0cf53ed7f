"""How well accessibility is predicted, beside the mean of each peak and a random order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scprograms._draw import figure, palette

from . import tables

if TYPE_CHECKING:
    import os

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = {"mean": palette.CONTROL, "ridge": palette.BLUE, "knn": palette.PURPLE, "network": palette.VERMILION}
_NAMES = {"mean": "mean of each peak", "ridge": "ridge", "knn": "kNN", "network": "network"}
_BOX: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "framealpha": 0.85}
_CHANCE: dict[str, Any] = {"color": "0.25", "linestyle": ":", "linewidth": 1.0}


def precision_recall(
    data: Any,
    *,
    key: str = "accessibility",
    atac: str = "atac",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes | Figure:
    """Draw precision over recall on the test cells, of all models.

    A dot marks the threshold that was chosen on the validation cells. The dotted line is the prevalence: the precision
    of a random order.

    Parameters
    ----------
    data
        MuData or mapping, after :func:`scprograms.tl.train_accessibility`, or the AnnData of the accessibility.
    key
        ``key_added`` of the training.
    atac
        Name of the modality.
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
    The axes, or the figure.

    Raises
    ------
    KeyError
        There is no report under ``key``, or no such modality.

    Examples
    --------
    >>> import scprograms as scp
    >>> data = scp.datasets.simulate_multiome(400, 200, 60)
    >>> model = scp.tl.train_accessibility(data, model="ridge", n_peaks=50)
    >>> ax = scp.pl.precision_recall(data, show=False)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('recall', 'precision')
    """
    models = tables.accessibility(data, key=key, atac=atac)
    curves = tables.accessibility(data, of="curves", key=key, atac=atac)
    calls = tables.accessibility(data, of="confusion", key=key, atac=atac)
    fig, ax, owned = figure.sized_axes(ax, width=3.6, height=3.2, left=0.65, right=0.2, bottom=0.55, top=0.35)
    _draw_curves(ax, models, curves, calls)
    return figure.finish(fig, ax, owned=owned, show=show, return_fig=return_fig, save=save)


def accessibility_report(
    data: Any,
    *,
    key: str = "accessibility",
    atac: str = "atac",
    show: bool | None = None,
    return_fig: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> list[Axes] | Figure:
    """Draw the whole report on one page: curves, PR-AUC with intervals, peaks, calibration, calls and training.

    Parameters
    ----------
    data
        MuData or mapping, after :func:`scprograms.tl.train_accessibility`, or the AnnData of the accessibility.
    key
        ``key_added`` of the training.
    atac
        Name of the modality.
    show
        True shows the figure at once, False takes it out of pyplot, and None leaves it open for a notebook to display.
    return_fig
        Return the figure in place of the axes.
    save
        File to write; its suffix says the format.

    Returns
    -------
    Six axes, row by row, or the figure: precision over recall; PR-AUC of the models over all entries, peaks and cells,
    each with what a random order reaches; PR-AUC of each peak by the chosen model against that of a random order;
    share that is open against predicted probability; the calls of the chosen model; and the PR-AUC of the network
    during its training, or, without network, PR-AUC of each cell against that by the mean of each peak.

    Raises
    ------
    KeyError
        There is no report under ``key``, or no such modality.

    Examples
    --------
    >>> import scprograms as scp
    >>> data = scp.datasets.simulate_multiome(400, 200, 60)
    >>> model = scp.tl.train_accessibility(data, model="ridge", n_peaks=50)
    >>> len(scp.pl.accessibility_report(data, show=False))
    6
    """
    from matplotlib import pyplot as plt

    def table(of: Any) -> pd.DataFrame:
        return tables.accessibility(data, of=of, key=key, atac=atac)

    models = table("models")
    chosen = models.attrs["chosen"]
    fig, grid = plt.subplots(2, 3, figsize=(11.4, 7.2))
    axes: list[Axes] = list(grid.ravel())
    fig.subplots_adjust(left=0.06, right=0.985, bottom=0.075, top=0.9, wspace=0.34, hspace=0.38)
    fig.suptitle(_headline(models), x=0.06, y=0.975, ha="left", fontsize=11)
    _draw_curves(axes[0], models, table("curves"), table("confusion"))
    _draw_summary(axes[1], models)
    _draw_peaks(axes[2], table("peaks"), chosen)
    _draw_calibration(axes[3], table("calibration"))
    _draw_calls(axes[4], table("confusion").loc[chosen], chosen)
    history = table("history")
    if len(history):
        _draw_history(axes[5], history, table("validation"))
    else:
        _draw_cells(axes[5], table("cells"), chosen)
    return figure.finish(fig, axes, owned=True, show=show, return_fig=return_fig, save=save)


def _headline(models: pd.DataFrame) -> str:
    chosen, params = models.attrs["chosen"], models.attrs["params"]
    row = models.loc[chosen]
    gain = f"{row['gain']:+.3f} ({row['gain_low']:+.3f} to {row['gain_high']:+.3f}) over the mean of each peak"
    tail = gain if chosen != "mean" else "nothing did better on the validation cells"
    how = ", chosen by model='auto'" if params.get("model") == "auto" else ""
    return f"{_NAMES[chosen]}{how}: PR-AUC {row['pr_auc']:.3f}, {tail}; {params['n_test']:,} test cells"


def _draw_curves(ax: Axes, models: pd.DataFrame, curves: pd.DataFrame, calls: pd.DataFrame) -> None:
    for name in models.index:
        part = curves[curves["model"] == name]
        color, label = _COLORS[name], f"{_NAMES[name]} ({models.loc[name, 'pr_auc']:.3f})"
        width = 2.0 if name == models.attrs["chosen"] else 1.1
        ax.plot(part["recall"], part["precision"], color=color, linewidth=width, label=label, gid=f"curve {name}")
        ax.plot(calls.loc[name, "recall"], calls.loc[name, "precision"], "o", color=color, markersize=5,
                markeredgecolor="white", markeredgewidth=0.8, zorder=4)  # fmt: skip
    prevalence = float(models["prevalence"].iloc[0])
    ax.axhline(prevalence, **_CHANCE, label=f"random order ({prevalence:.3f})")
    # The first few entries make the curve jump: they would set the limits.
    settled = curves.loc[curves["recall"] >= 0.02, "precision"]
    top = float(max(settled.max() if len(settled) else 1.0, calls["precision"].max(), prevalence))
    ax.set_xlim(0, 1.005)
    top = min(1.0, top * 1.08)
    legend = ax.legend(
        frameon=False, fontsize=figure.SMALL_SIZE, title_fontsize=figure.SMALL_SIZE, labelspacing=0.3, ncols=2,
        columnspacing=1.0, handlelength=1.5, title="model (PR-AUC)", loc="upper right", borderaxespad=0.1,
    )  # fmt: skip
    # The legend has a band of its own above all curves, whatever their shape.
    height = figure.size_of(ax)[1]
    band = (-(-len(legend.get_texts()) // 2) + 1) * 1.45 * figure.SMALL_SIZE / 72 + 0.12
    ax.set_ylim(0, top * height / max(height - band, 0.3 * height))
    ax.set_yticks([tick for tick in ax.get_yticks() if 0 <= tick <= top + 1e-9])
    _finish_axes(ax, "recall", "precision", "Precision and recall, all entries")


def _draw_summary(ax: Axes, models: pd.DataFrame) -> None:
    kinds = {"all entries": ("pr_auc", "prevalence"), "per peak": ("pr_auc_per_peak", "chance_per_peak"),
             "per cell": ("pr_auc_per_cell", "chance_per_cell")}  # fmt: skip
    n = len(models)
    step = 0.8 / n
    for g, (value, chance) in enumerate(kinds.values()):
        level = float(models[chance].iloc[0])
        for i, name in enumerate(models.index):
            x, row = g - 0.4 + step * (i + 0.5), models.loc[name]
            ax.bar(x, row[value], width=step * 0.9, color=_COLORS[name], label=_NAMES[name] if g == 0 else None)
            if value == "pr_auc":
                ends = [[row[value] - row["low"]], [row["high"] - row[value]]]
                ax.errorbar(x, row[value], yerr=np.maximum(ends, 0), color="black", linewidth=0.9, capsize=2)
            top = row["high"] if value == "pr_auc" else row[value]
            ax.annotate(f"{row[value]:.2f}", (x, np.nanmax([top, level])),
                        xytext=(0, 2), textcoords="offset points", ha="center", fontsize=6.5)  # fmt: skip
        label = "random order" if g == 0 else "_"
        ax.hlines(level, g - 0.44, g + 0.44, color="black", linestyle=":", linewidth=1.3, label=label, zorder=3)
    ax.set_xticks(range(len(kinds)), list(kinds))
    ax.margins(y=0.32)
    ax.legend(frameon=False, fontsize=figure.SMALL_SIZE, ncols=2, loc="upper left", handlelength=1.4, columnspacing=1.0)
    _finish_axes(ax, "", "PR-AUC", "PR-AUC of each model")


def _draw_peaks(ax: Axes, peaks: pd.DataFrame, chosen: str) -> None:
    known = peaks.dropna(subset=["chance", chosen])
    above = float(np.mean(known[chosen] > known["chance"])) if len(known) else np.nan
    ax.scatter(known["chance"], known[chosen], s=8, color=_COLORS[chosen], alpha=0.5, linewidths=0)
    top = float(max(known[chosen].max(), known["chance"].max())) * 1.05 if len(known) else 1.0
    ax.plot([0, top], [0, top], **_CHANCE)
    ax.set_xlim(0, float(known["chance"].max()) * 1.1 if len(known) else 1)
    ax.set_ylim(0, top)
    ax.text(0.03, 0.97, f"{len(known):,} peaks, {above:.0%} above a random order", transform=ax.transAxes,
            va="top", fontsize=figure.SMALL_SIZE,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})  # fmt: skip
    _finish_axes(ax, "PR-AUC of a random order", f"PR-AUC of {_NAMES[chosen]}", "Each peak, over cells")


def _draw_calibration(ax: Axes, table: pd.DataFrame) -> None:
    top = float(table[["predicted", "observed"]].to_numpy().max()) * 1.06
    ax.plot([0, top], [0, top], **_CHANCE)
    for name in dict.fromkeys(table["model"]):
        part = table[table["model"] == name]
        ax.plot(part["predicted"], part["observed"], "o-", color=_COLORS[name], markersize=3.5, linewidth=1.1,
                label=_NAMES[name])  # fmt: skip
    ax.set_xlim(0, top)
    ax.set_ylim(0, top)
    ax.legend(frameon=False, fontsize=figure.SMALL_SIZE, loc="best")
    _finish_axes(ax, "predicted probability", "share that is open", "Calibration, bins of equal size")


def _draw_calls(ax: Axes, row: pd.Series, chosen: str) -> None:
    counts = np.array(
        [[row["true_negatives"], row["false_positives"]], [row["false_negatives"], row["true_positives"]]], dtype=float
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i in range(2):
        for j in range(2):
            color = "white" if shares[i, j] > 0.55 else "black"
            ax.text(j, i, f"{counts[i, j]:,.0f}\n{shares[i, j]:.0%} of the row", ha="center", va="center", fontsize=9,
                    color=color)  # fmt: skip
    ax.set_xticks([0, 1], ["called closed", "called open"])
    ax.set_yticks([0, 1], ["closed", "open"], rotation=90, va="center")
    ax.tick_params(length=0)
    inside = row["odds_ratio_within_peaks"]
    within = f"{inside:.2f}" if np.isfinite(inside) else "not defined"
    odds = f"odds ratio {row['odds_ratio']:.2f}, within peaks {within}"
    p = f"{10 ** row['log10_p']:.2g}" if row["log10_p"] > -300 else f"1e{row['log10_p']:,.0f}"
    ax.set_xlabel(f"{odds}\nF1 {row['f1']:.3f}; Fisher's p (one side, entries taken for independent): {p}", fontsize=8)
    figure.set_title(ax, f"Calls of {_NAMES[chosen]} at {row['threshold']:.3f}")
    ax.spines[:].set_visible(False)


def _draw_history(ax: Axes, history: pd.DataFrame, validation: pd.DataFrame) -> None:
    ax.plot(history["epoch"], history["validation_pr_auc"], "o-", color=_COLORS["network"], markersize=3,
            linewidth=1.2, label="network")  # fmt: skip
    best = int(history["validation_pr_auc"].to_numpy().argmax())
    ax.axvline(history["epoch"].iloc[best], color="0.6", linewidth=0.8, linestyle="--", label="epoch that is kept")
    for name in validation.index:
        if name != "network":
            ax.axhline(validation.loc[name, "pr_auc"], color=_COLORS[name], linewidth=1, label=_NAMES[name])
    _leave_room_below(ax)
    ax.legend(frameon=False, fontsize=7, ncols=2, loc="lower right")
    _finish_axes(ax, "epoch", "PR-AUC on validation cells", "Training of the network")
    losses = ax.twinx()
    style: dict[str, Any] = {"color": "0.45", "linewidth": 0.9, "linestyle": "-."}
    losses.plot(history["epoch"], history["loss"], **style)
    _leave_room_below(losses)
    losses.set_ylabel("training loss (dash-dotted)", fontsize=8, color="0.35")
    losses.tick_params(labelsize=7, colors="0.35")
    losses.spines[["top", "left"]].set_visible(False)
    # On the upper axes, so that no line runs through the names.
    losses.legend(*ax.get_legend_handles_labels(), fontsize=7, ncols=2, loc="lower right", **_BOX)


def _leave_room_below(ax: Axes) -> None:
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.35 * (high - low), high)


def _draw_cells(ax: Axes, cells: pd.DataFrame, chosen: str) -> None:
    other = "mean" if chosen != "mean" else "chance"
    known = cells.dropna(subset=[other, chosen])
    ax.scatter(known[other], known[chosen], s=8, color=_COLORS[chosen], alpha=0.5, linewidths=0)
    top = float(known[[other, chosen]].to_numpy().max()) * 1.05 if len(known) else 1.0
    ax.plot([0, top], [0, top], **_CHANCE)
    ax.set_xlim(0, top)
    ax.set_ylim(0, top)
    label = "the mean of each peak" if other == "mean" else "a random order"
    _finish_axes(ax, f"PR-AUC of {label}", f"PR-AUC of {_NAMES[chosen]}", "Each cell, over peaks")


def _finish_axes(ax: Axes, x: str, y: str, title: str) -> None:
    figure.name_axes(ax, x, y)
    figure.set_title(ax, title)
