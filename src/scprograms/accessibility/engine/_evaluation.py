"""How good predictions are on cells that no model has seen, beside the simplest ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from ._precision_recall import Ranking, average_precision_of_columns, chance_precision, resampled_precisions
from ._probability import brier_score, calibration_error, calibration_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scprograms._core.matrix import Array

MEAN = "mean"
_INTERVAL = (0.025, 0.975)


@dataclass(frozen=True)
class Evaluation:
    """Tables of one test; :func:`scprograms.get.accessibility` says their columns."""

    models: pd.DataFrame
    """A row per model: PR-AUC with its interval, what it gains over the mean of each peak, calibration."""
    peaks: pd.DataFrame
    """A row per peak: how often it is open, and the PR-AUC of each model."""
    cells: pd.DataFrame
    """A row per cell, with the same columns."""
    calibration: pd.DataFrame
    """A row per model and bin of the predicted probability."""
    confusion: pd.DataFrame
    """A row per model: calls from its threshold on."""
    curves: pd.DataFrame
    """Points of precision over recall of each model."""


def fisher_test(table: Array) -> dict[str, float]:
    """Return the odds ratio and the p-value of Fisher's exact test, two-sided, and of a table with odds above 1.

    Parameters
    ----------
    table
        2 x 2: rows are observed closed and open, columns predicted closed and open.

    Returns
    -------
    ``odds_ratio``, ``p``, and ``log10_p``: the decimal logarithm of the one-sided p-value, which does not underflow.

    Examples
    --------
    >>> from scprograms.accessibility.engine import fisher_test
    >>> fisher_test([[8, 2], [1, 5]])["odds_ratio"]
    20.0
    """
    counts = np.asarray(table, dtype=np.int64)
    (tn, fp), (fn, tp) = counts.tolist()
    result = stats.fisher_exact(counts)
    total, positive, called = tn + fp + fn + tp, fn + tp, fp + tp
    return {
        "odds_ratio": float(result.statistic),
        "p": float(result.pvalue),
        "log10_p": _log10_at_least(tp, total, positive, called),
    }


def _log10_at_least(tp: int, total: int, positive: int, called: int) -> float:
    """Return log10 of the chance of at least ``tp``, by summing the terms of the distribution in logarithms."""
    from scipy.special import gammaln, logsumexp

    lowest, highest = max(0, positive + called - total), min(positive, called)
    if tp <= lowest:
        return 0.0
    k = np.arange(tp, highest + 1, dtype=np.float64)

    def choose(n: Any, r: Any) -> Any:
        return gammaln(n + 1) - gammaln(r + 1) - gammaln(n - r + 1)

    terms = choose(positive, k) + choose(total - positive, called - k) - choose(total, called)
    return float(min(0.0, logsumexp(terms) / np.log(10)))


def odds_ratio_within_peaks(observed: Array, called: Array) -> float:
    """Return the Mantel-Haenszel odds ratio [1]_ over peaks: how far calls tell the cells of a peak apart.

    Peaks that are called in all cells or in none add nothing, so the mean of each peak, which odds over all entries
    flatter, has no such ratio: NaN.

    Parameters
    ----------
    observed
        Cells x peaks, boolean: which entries are accessible.
    called
        Cells x peaks, boolean: which entries are predicted to be.

    References
    ----------
    .. [1] Mantel & Haenszel (1959), J. Natl. Cancer Inst. 22:719, https://doi.org/10.1093/jnci/22.4.719

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.accessibility.engine import odds_ratio_within_peaks
    >>> observed = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], dtype=bool)
    >>> called = np.array([[1, 0], [0, 1], [0, 0], [1, 1]], dtype=bool)
    >>> odds_ratio_within_peaks(observed, called)
    5.0
    """
    y, c = np.asarray(observed, dtype=bool), np.asarray(called, dtype=bool)
    agree = np.sum(y & c, axis=0) * np.sum(~y & ~c, axis=0)
    differ = np.sum(y & ~c, axis=0) * np.sum(~y & c, axis=0)
    if differ.sum() == 0:
        return float("inf") if agree.sum() > 0 else float("nan")
    return float(agree.sum() / differ.sum())


def confusion(observed: Array, probability: Array, threshold: float) -> dict[str, float]:
    """Return the confusion table of calls from a threshold on, and what follows from it."""
    y, called = np.asarray(observed, dtype=bool), probability >= threshold
    tp, fp = int(np.sum(y & called)), int(np.sum(~y & called))
    fn, tn = int(np.sum(y & ~called)), int(np.sum(~y & ~called))
    return {
        "threshold": float(threshold),
        "true_positives": tp,
        "false_positives": fp,
        "false_negatives": fn,
        "true_negatives": tn,
        "precision": tp / (tp + fp) if tp + fp else float("nan"),
        "recall": tp / (tp + fn) if tp + fn else float("nan"),
        "f1": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else float("nan"),
        **fisher_test(np.array([[tn, fp], [fn, tp]])),
        "odds_ratio_within_peaks": odds_ratio_within_peaks(y, called),
    }


def evaluate(
    observed: Array,
    probabilities: Mapping[str, Array],
    *,
    thresholds: Mapping[str, float],
    training_mean: Array,
    n_resamples: int = 100,
    random_state: int = 0,
) -> Evaluation:
    """Compare models on the same cells.

    Parameters
    ----------
    observed
        Cells x peaks, boolean.
    probabilities
        Cells x peaks for each model, by name; "mean" among them.
    thresholds
        Of each model, chosen elsewhere.
    training_mean
        Share of the training cells in which each peak is accessible.
    n_resamples
        Resamples of the cells, for intervals.
    random_state
        Seed of the resamples.

    Returns
    -------
    Tables of models, peaks, cells, calibration, calls and curves.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.accessibility.engine import evaluate
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.random((200, 5))
    >>> open_ = rng.random((200, 5)) < truth
    >>> mean = np.tile(open_.mean(axis=0), (200, 1))
    >>> cutoff = {"mean": 0.5, "oracle": 0.5}
    >>> found = evaluate(open_, {"mean": mean, "oracle": truth}, thresholds=cutoff, training_mean=mean[0])
    >>> found.models["gain"].gt(0).to_dict()
    {'mean': False, 'oracle': True}
    """
    y = np.asarray(observed, dtype=bool)
    scores = dict(probabilities)
    resampled = resampled_precisions(y, scores, n_resamples=n_resamples, random_state=random_state)
    rows, curves, calibrations, confusions = [], [], [], []
    peaks = pd.DataFrame({"training_prevalence": training_mean, "prevalence": y.mean(axis=0)})
    peaks["chance"] = chance_precision(y.sum(axis=0), y.shape[0])
    cells = pd.DataFrame({"prevalence": y.mean(axis=1), "chance": chance_precision(y.sum(axis=1), y.shape[1])})
    for name, p in scores.items():
        ranking = Ranking(y, p)
        peaks[name] = average_precision_of_columns(y, p)
        cells[name] = average_precision_of_columns(y.T, p.T)
        gain = resampled[name] - resampled[MEAN]
        low, high = resampled[name].quantile(_INTERVAL)
        rows.append(
            {
                "model": name,
                "pr_auc": ranking.average_precision(),
                "low": low,
                "high": high,
                "gain": ranking.untied_precision(),
                "gain_low": gain.quantile(_INTERVAL[0]),
                "gain_high": gain.quantile(_INTERVAL[1]),
                "pr_auc_per_peak": peaks[name].mean(),
                "pr_auc_per_cell": cells[name].mean(),
                "chance_per_peak": peaks["chance"].mean(),
                "chance_per_cell": cells["chance"].mean(),
                "prevalence": y.mean(),
                "brier": brier_score(y, p),
                "calibration_error": calibration_error(y, p),
            }
        )
        curves.append(ranking.curve().assign(model=name))
        calibrations.append(calibration_table(y, p).assign(model=name))
        confusions.append({"model": name, **confusion(y, p, thresholds[name])})
    models = pd.DataFrame(rows).set_index("model")
    models["gain"] -= models["gain"].loc[MEAN]
    return Evaluation(
        models=models,
        peaks=peaks,
        cells=cells,
        calibration=_model_first(calibrations),
        confusion=pd.DataFrame(confusions).set_index("model"),
        curves=_model_first(curves),
    )


def _model_first(tables: list[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(tables, ignore_index=True)
    return table[["model", *[column for column in table.columns if column != "model"]]]
