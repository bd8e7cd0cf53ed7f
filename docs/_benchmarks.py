"""The page of benchmarks: the tables of benchmarks/README.md, with pictures drawn from them while the site is built."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESULTS = Path(__file__).parents[1] / "benchmarks" / "README.md"
OURS, PEER, OTHER = "#0072B2", "#E69F00", "#7F7F7F"


def section(text: str, script: str) -> str:
    """Return the section whose heading names this script."""
    for part in re.split(r"(?m)^(?=## )", text):
        if f"`{script}`" in part.partition("\n")[0]:
            return part
    msg = f"{RESULTS.name} has no section with `{script}` in its heading"
    raise LookupError(msg)


def tables(text: str) -> list[pd.DataFrame]:
    """Return the Markdown tables of a text; numbers as numbers, without what follows them in brackets."""
    found = []
    for block in re.findall(r"(?m)(?:^\|.*\|$\n?)+", text):
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.splitlines()]
        header, body = rows[0], [row + [""] * (len(rows[0]) - len(row)) for row in rows[2:]]
        found.append(pd.DataFrame([row[: len(header)] for row in body], columns=header))
    return found


def numbers(column: pd.Series) -> pd.Series:
    """Return the number at the start of each cell, NaN where there is none."""
    start = column.str.replace(",", "", regex=False).str.extract(r"^([-+]?\d+(?:\.\d+)?)", expand=False)
    return pd.to_numeric(start)


def draw_speed(text: str, axes: list[Axes]) -> None:
    """Draw time over the number of cells, from the table of peers."""
    table = tables(section(text, "peers.py"))[0]
    table = table[(table["k"] == "20") & table["data"].str.fullmatch(r"[\d,]+")]
    table = table.assign(cells=numbers(table["data"]), seconds=numbers(table["wall s"]))
    looks = {
        "scprograms": (OURS, "scprograms, semi-NMF"),
        "NMF": (PEER, "scikit-learn, NMF"),
        "randomized_svd": (OTHER, "scikit-learn, one truncated SVD"),
    }
    (ax,) = axes
    for method, (color, label) in looks.items():
        of = table[table["method"] == method].sort_values("cells")
        ax.plot(of["cells"], of["seconds"], "o-", color=color, label=label, ms=4)
    ax.set(xscale="log", yscale="log", xlabel="cells (2,000 genes, 20 programs)", ylabel="seconds, two cores")
    ax.legend(frameon=False)


def draw_level(text: str, axes: list[Axes]) -> None:
    """Draw how often tests call something where there is nothing, from the table of null screens."""
    table = tables(section(text, "calibration.py"))[0]
    table = table.assign(rate=numbers(table.iloc[:, 2]))
    (ax,) = axes
    nulls = list(dict.fromkeys(table["null"]))[::-1]
    recommended = table.iloc[:, 5].str.startswith("recommended")
    for rows, color, label in [
        (table["test"] == "anova", PEER, "analysis of variance of cells"),
        (recommended, OURS, "the test recommended for such data"),
    ]:
        ax.plot(
            table.loc[rows, "rate"], table.loc[rows, "null"].map(nulls.index), "o", color=color, label=label, ms=4.5
        )
    ax.axvline(0.05, color="0.3", lw=0.8, ls="--")
    ax.set_yticks(range(len(nulls)), nulls)
    ax.set(xscale="log", xlabel="share of programs called at p ≤ 0.05\nwhere nothing differs; 0.05 is right")
    ax.set_xticks([0.05, 0.1, 0.2, 0.5, 1], ["0.05", "0.1", "0.2", "0.5", "1"])
    ax.tick_params(axis="x", which="minor", length=0, labelbottom=False)
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1))


def draw_quality(text: str, axes: list[Axes]) -> None:
    """Draw what programs mean over whether they come back, from the table of real data."""
    table = tables(section(text, "quality.py"))[0]
    table = table.assign(stable=numbers(table["stability (sd)"]))
    methods = {"practice": OTHER, "scikit-learn NMF": PEER, "scprograms": OURS}
    panels = [
        ("papalexi", "top AUROC", "Papalexi: best AUROC of a target"),
        ("pbmc3k", "matched AP", "PBMC 3k: average precision of cell types"),
    ]
    for ax, (data, measure, title) in zip(axes, panels, strict=True):
        of_data = table[table["data"] == data]
        for method, color in methods.items():
            of = of_data[of_data["method"] == method]
            ax.plot(of["stable"], numbers(of[measure]), "o-", color=color, label=method, ms=4, lw=0.8)
            for x, y, k in zip(of["stable"], numbers(of[measure]), of["k"], strict=True):
                ax.annotate(k, (x, y), textcoords="offset points", xytext=(4, 4), fontsize=7, color=color)
        ax.set_title(title, fontsize=9)
        ax.set_xlabel("stability when cells are resampled")
    axes[0].legend(frameon=False, fontsize=8)


PICTURES = {
    "quality": (
        draw_quality,
        2,
        (8.5, 3.4),
        "quality.py",
        "What programs mean over whether they come back, for three methods and 10, 20 and 30 programs (the numbers at "
        "the points). Up and to the right is better.",
    ),
    "level": (
        draw_level,
        1,
        (5.2, 7.0),
        "calibration.py",
        "Simulated screens in which nothing is to be found, one row each. An analysis of variance with cells as the "
        "unit calls far too much where guides, batches or depth differ.",
    ),
    "speed": (
        draw_speed,
        1,
        (5.0, 3.6),
        "peers.py",
        "Time of one factorization over the number of cells. Both axes are logarithmic.",
    ),
}


def make(folder: Path) -> None:
    """Draw the pictures and write the page into ``folder``."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    text = RESULTS.read_text(encoding="utf-8")
    page = text.replace("a script in this folder", "a script in the folder `benchmarks/` of the repository", 1)
    for name, (draw, n_axes, size, script, caption) in PICTURES.items():
        fig, axes = plt.subplots(1, n_axes, figsize=size, squeeze=False, layout="constrained")
        draw(text, list(axes[0]))
        for ax in axes[0]:
            ax.spines[["top", "right"]].set_visible(False)
        fig.savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight", pad_inches=0.08)
        plt.close(fig)
        heading = section(text, script).splitlines()[0]
        page = page.replace(heading, f"{heading}\n\n```{{figure}} {name}.png\n:alt: {caption}\n\n{caption}\n```", 1)
    (folder / "index.md").write_text(page, encoding="utf-8")
