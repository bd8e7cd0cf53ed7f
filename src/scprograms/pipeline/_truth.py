"""How much of the truth an analysis of a simulated screen found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scprograms import get
from scprograms._core.matching import best_pairs, cosine_similarity
from scprograms._draw.figure import LABEL_SIZE, SMALL_SIZE, TICK_SIZE, TITLE_SIZE
from scprograms.report.figures import Picture, save_picture
from scprograms.report.formats import NOTHING, format_difference, format_q

from ._tests import KEY, MAX_Q

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from anndata import AnnData

    from ._journal import Journal

FOUND = 0.8
"""Correlation of the usages from which a planted program counts as found."""


def match_programs(true: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the correlations of usages (true x found), and the found program of each true one (-1: none is left).

    Each found program is given to one true program, so that the sum of the correlations is largest.
    """
    centred = [usages.astype(np.float64) - usages.mean(axis=0, dtype=np.float64) for usages in (true, found)]
    correlations = np.nan_to_num(cosine_similarity(centred[0].T, centred[1].T))
    partner = np.full(len(correlations), -1)
    rows, columns = best_pairs(correlations)
    partner[rows] = columns
    return correlations, partner


def compare_with_truth(adata: AnnData, stage: Path, journal: Journal) -> list[dict[str, Any]]:
    """Section of the report on a simulated screen: planted programs and effects beside those found."""
    with journal.step("comparison with the truth"):
        truth, usages = adata.uns["truth"], get.usages(adata, key=KEY)
        correlations, partner = match_programs(np.asarray(adata.obsm["true_usages"]), usages.to_numpy())
        rows = recovery_table(adata, correlations, partner)
        planted = truth["programs"].index.tolist()
        n_found = int((rows["correlation"] >= FOUND).sum())
        moved = rows[rows["perturbations"] > 0]
        picture = _correlation_picture(correlations, partner, planted, list(usages.columns), stage / "figures")
        text = [
            f"{n_found} of {len(planted)} planted programs were found: their usages correlate with those of a found "
            f"program by {FOUND} or more (mean over all {rows['correlation'].mean():.3f}, smallest "
            f"{rows['correlation'].min():.3f}).",
            f"{int(rows['perturbations'].sum())} effects of perturbations are planted, on {len(moved)} of the programs."
            f" In the found programs {int(rows['right_way'].sum())} of them have the right sign, and "
            f"{int(rows['detected'].sum())} are detected (q ≤ {MAX_Q:g} as well): a perturbation has few guides, and "
            "guides vary in the simulation as they do in screens. Of the "
            f"{int(rows['others'].sum())} pairs without a planted effect, {int(rows['others_detected'].sum())} have q "
            f"≤ {MAX_Q:g}; usages are shares of a cell, so one that rises lowers the others.",
            f"The analysis of variance tells {int(moved['differs'].sum())} of these {len(moved)} programs apart from "
            f"chance, and {int(rows.loc[rows['perturbations'] == 0, 'differs'].sum())} of the "
            f"{len(rows) - len(moved)} that no perturbation moves. The housekeeping program is hard to correlate: "
            "every cell uses it, to much the same extent.",
            "In the table, signature q is that of the planted genes among the raised genes of the found program; moved "
            "by: how many perturbations push the planted program; right sign, detected: how many of these were found; "
            "strongest effect: the planted one (in standard deviations of the simulation), then that on the found "
            "program; q: of the analysis of variance.",
        ]
        journal.say(f"Compared with the truth: {n_found} of {len(planted)} planted programs were found.")
        lines: Iterable[Any] = rows.itertuples()
        shown = [
            [row.Index, row.kind, row.found, f"{row.correlation:.3f}", row.term, str(row.perturbations),
             *(f"{n} of {row.perturbations}" if row.perturbations else NOTHING for n in (row.right_way, row.detected)),
             row.strongest, format_q(row.q)]
            for row in lines
        ]  # fmt: skip
        columns = ["Planted", "Kind", "Found as", "Correlation", "Signature q", "Moved by", "Right sign",
                   "Detected", "Strongest effect", "q"]  # fmt: skip
    return [
        {"title": "How well the truth was found", "text": text, "columns": columns, "rows": shown, "picture": picture}
    ]


def recovery_table(adata: AnnData, correlations: np.ndarray, partner: np.ndarray) -> pd.DataFrame:
    """Return one row per planted program: its match, and what became of its planted effects."""
    truth = adata.uns["truth"]
    names = list(get.usages(adata, key=KEY))
    anova = get.anova(adata, "perturbation", key=KEY)
    terms = get.enrichment(adata, key=KEY, direction="up").set_index(["program", "term"])["q"]
    table = get.effects(adata, "perturbation", key=KEY).set_index(["program", "perturbation"])
    rows = []
    for i, (planted, about) in enumerate(truth["programs"].iterrows()):
        effects = truth["effects"][planted]
        effects = effects[effects != 0]
        name = names[partner[i]] if partner[i] >= 0 else None
        seen = table.loc[name] if name else table.iloc[:0].droplevel("program")
        passed = seen["q"] <= MAX_Q
        seen, others = seen.reindex(effects.index)["effect"], passed.drop(effects.index, errors="ignore")
        passed = passed.reindex(effects.index, fill_value=False) & (np.sign(seen) == np.sign(effects))
        top = effects.abs().idxmax() if len(effects) else None
        rows.append(
            {
                "kind": str(about["kind"]),
                "found": name or NOTHING,
                "correlation": correlations[i, partner[i]] if name else 0.0,
                "term": format_q(terms.get((name, planted), np.nan)),
                "perturbations": len(effects),
                "right_way": int((np.sign(seen) == np.sign(effects)).sum()),
                "detected": int(passed.sum()),
                "others": len(others),
                "others_detected": int(others.sum()),
                "strongest": _both(top, effects, seen) if top else NOTHING,
                "q": anova.loc[name, "q"] if name else np.nan,
                "differs": bool(name and anova.loc[name, "q"] <= MAX_Q),
            }
        )
    return pd.DataFrame(rows, index=truth["programs"].index)


def _both(group: str, true: pd.Series, found: pd.Series) -> str:
    return f"{group}: {format_difference(true[group])}, {format_difference(found[group])}"


def _correlation_picture(
    correlations: np.ndarray, partner: np.ndarray, planted: list[str], found: list[str], folder: Path
) -> Picture:
    from matplotlib import pyplot as plt

    matched = [column for column in partner if column >= 0]
    order = [*matched, *(column for column in range(len(found)) if column not in matched)]
    fig, ax = plt.subplots(figsize=(1.8 + 0.24 * len(found), 1.4 + 0.24 * len(planted)), layout="constrained")
    image = ax.imshow(correlations[:, order], cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    ax.set_xticks(range(len(found)), [found[column] for column in order], rotation=90, fontsize=7)
    ax.set_yticks(range(len(planted)), planted, fontsize=7)
    ax.set_xlabel("found program", fontsize=LABEL_SIZE)
    ax.set_ylabel("planted program", fontsize=LABEL_SIZE)
    ax.set_title("Planted and found programs", fontsize=TITLE_SIZE, loc="left")
    bar = fig.colorbar(image, ax=ax, shrink=0.6)
    bar.set_label("correlation of usages", fontsize=TICK_SIZE)
    bar.ax.tick_params(labelsize=SMALL_SIZE)
    caption = (
        "Pearson correlation over the cells between the usage of each planted program (rows) and of each found one "
        "(columns, in the order of their matches): a red diagonal means that every program was found once. "
        "The unit is the cell; no test is involved."
    )
    return save_picture(fig, folder, name="recovery", title="Planted and found programs", caption=caption)
