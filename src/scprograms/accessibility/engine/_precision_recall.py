"""Precision and recall of accessibility: over all entries, over the cells of a peak, and over the peaks of a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import digamma

if TYPE_CHECKING:
    from scprograms._core.matrix import Array


class Ranking:
    """Entries of a cells x peaks matrix from the highest score to the lowest, ready to be weighted by cells.

    Entries with equal scores are taken together, so that their order does not matter. The average precision is the sum
    over thresholds of the precision times the gain in recall, without interpolation.

    Parameters
    ----------
    observed
        Cells x peaks, which entries are accessible.
    scores
        Cells x peaks, higher where accessibility is more likely.
    """

    def __init__(self, observed: Array, scores: Array) -> None:
        if observed.shape != scores.shape or observed.ndim != 2:
            msg = f"observed has shape {observed.shape} and scores {scores.shape}; both are cells x peaks."
            raise ValueError(msg)
        flat = np.asarray(scores).ravel()
        if not np.isfinite(flat).all():
            msg = "scores has NaN or infinite values, which have no rank."
            raise ValueError(msg)
        order = np.argsort(-flat, kind="stable")
        ranked = flat[order]
        self._observed = np.asarray(observed, dtype=bool).ravel()[order]
        self._cell = order // max(1, observed.shape[1])
        self._n_cells = len(observed)
        self._last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.empty(0, int)
        self.thresholds: Array = ranked[self._last]
        """The distinct scores, descending."""

    def counts(self, cells: Array | None = None) -> tuple[Array, Array]:
        """Return the true and the false positives at each threshold; ``cells`` says how often each cell counts."""
        weight = np.ones(len(self._observed)) if cells is None else np.asarray(cells, dtype=float)[self._cell]
        positives = np.cumsum(weight * self._observed)[self._last]
        return positives, np.cumsum(weight)[self._last] - positives

    def average_precision(self, cells: Array | None = None) -> float:
        """Return the area under the curve of precision over recall; NaN where nothing is accessible."""
        true, false = self.counts(cells)
        if not len(true) or true[-1] <= 0:
            return float("nan")
        selected = true + false
        precision = np.divide(true, selected, out=np.zeros_like(true), where=selected > 0)
        return float(np.sum(np.diff(true, prepend=0.0) * precision) / true[-1])

    def untied_precision(self, cells: Array | None = None) -> float:
        """Return the average precision to expect if entries of equal scores stood in random order.

        Any noise within the cells of a peak raises the average precision of few entries, for early ranks weigh most.
        Models that tie cells, as the mean of each peak does, are compared with others fairly by this one.
        """
        true, false = self.counts(cells)
        if not len(true) or true[-1] <= 0:
            return float("nan")
        r, n = np.diff(true, prepend=0.0), np.diff(true + false, prepend=0.0)
        kept = r > 0
        r, n, after, above = r[kept], n[kept], (true + false)[kept], true[kept]
        before, found = after - n, above - r
        # Sums of 1 / rank and of (i - 1) / rank over the ranks of the tied entries, i counting within them.
        inverse = digamma(after + 1) - digamma(before + 1)
        step = np.divide(r - 1, n - 1, out=np.zeros_like(r), where=n > 1)
        sums = (found + 1) * inverse + step * (n - (before + 1) * inverse)
        return float(np.sum(r / n * sums) / true[-1])

    def curve(self, *, at_most: int = 500) -> pd.DataFrame:
        """Return ``threshold, precision, recall``, thinned evenly in recall to about ``at_most`` rows."""
        true, false = self.counts()
        if not len(true) or true[-1] <= 0:
            return pd.DataFrame({"threshold": [], "precision": [], "recall": []}, dtype=float)
        recall, precision = true / true[-1], true / (true + false)
        marks = np.linspace(0, 1, at_most)
        rows = np.unique(np.append(np.searchsorted(recall, marks), len(recall) - 1).clip(max=len(recall) - 1))
        return pd.DataFrame(
            {"threshold": self.thresholds[rows].astype(float), "precision": precision[rows], "recall": recall[rows]}
        )

    def best_f1(self) -> float:
        """Return the threshold, from which on entries are called accessible, that has the highest F1."""
        true, false = self.counts()
        if not len(true) or true[-1] <= 0:
            msg = "observed has no accessible entry: no threshold can be chosen on it."
            raise ValueError(msg)
        return float(self.thresholds[int(np.argmax(2 * true / (true + false + true[-1])))])


def average_precision(observed: Array, scores: Array) -> float:
    """Return the average precision over all entries of a cells x peaks matrix, NaN where nothing is accessible.

    Parameters
    ----------
    observed
        Cells x peaks, which entries are accessible.
    scores
        Cells x peaks, higher where accessibility is more likely.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.accessibility.engine import average_precision
    >>> observed = np.array([[1, 0], [1, 1], [0, 0]], dtype=bool)
    >>> average_precision(observed, np.array([[0.9, 0.1], [0.8, 0.7], [0.2, 0.3]]))
    1.0
    """
    return Ranking(observed, scores).average_precision()


def untied_precision(observed: Array, scores: Array) -> float:
    """Return the average precision over all entries to expect if entries of equal scores stood in random order.

    Parameters
    ----------
    observed
        Cells x peaks, which entries are accessible.
    scores
        Cells x peaks, higher where accessibility is more likely.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.accessibility.engine import untied_precision
    >>> observed = np.array([[1, 0], [1, 1], [0, 0]], dtype=bool)
    >>> round(untied_precision(observed, np.full((3, 2), 0.5)), 2)
    0.65
    """
    return Ranking(observed, scores).untied_precision()


def average_precision_of_columns(observed: Array, scores: Array) -> Array:
    """Return the average precision of each column; NaN where none of its entries is accessible.

    Parameters
    ----------
    observed
        Cells x peaks, or peaks x cells, which entries are accessible.
    scores
        Of the same shape, higher where accessibility is more likely.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.accessibility.engine import average_precision_of_columns
    >>> observed = np.array([[1, 0], [1, 1], [0, 0]], dtype=bool)
    >>> average_precision_of_columns(observed, np.array([[0.9, 0.9], [0.8, 0.7], [0.2, 0.3]])).tolist()
    [1.0, 0.5]
    """
    columns = zip(np.asarray(observed).T, np.asarray(scores).T, strict=True)
    return np.array([Ranking(y[:, None], s[:, None]).average_precision() if y.any() else np.nan for y, s in columns])


def chance_precision(n_open: Array, n: int) -> Array:
    """Return the expected average precision of a random order without ties; NaN where nothing is open.

    It exceeds the prevalence, by much where there are few entries: the first of the ranks are worth most.

    Parameters
    ----------
    n_open
        How many entries are open, one number for each peak or cell.
    n
        Of how many.

    References
    ----------
    Bestgen (2015), Exact expected average precision of the random baseline for system evaluation, Prague Bulletin of
    Mathematical Linguistics 103:131, https://doi.org/10.1515/pralin-2015-0007
    """
    k = np.asarray(n_open, dtype=float)
    harmonic = float(np.sum(1 / np.arange(1, n + 1)))
    expected = (harmonic + (k - 1) / max(1, n - 1) * (n - harmonic)) / n
    return np.where(k > 0, expected, np.nan)


def resampled_precisions(
    observed: Array, scores: dict[str, Array], *, n_resamples: int, random_state: int
) -> pd.DataFrame:
    """Return the average precision of each model in resamples of the cells, the same for all, ties in random order.

    Parameters
    ----------
    observed
        Cells x peaks, which entries are accessible.
    scores
        Cells x peaks for each model.
    n_resamples
        How often cells are drawn with replacement.
    random_state
        Seed of the draws.
    """
    n = len(observed)
    rng = np.random.default_rng(random_state)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples)
    found = {}
    for name, values in scores.items():
        ranking = Ranking(observed, values)
        found[name] = [ranking.untied_precision(cells) for cells in drawn]
    return pd.DataFrame(found)
