"""From scores to probabilities that mean what they say, and how well they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, logit

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

_EPS = 1e-7


def fit_calibration(observed: Array, scores: Array) -> tuple[float, float]:
    """Return slope and intercept of the logistic regression of what is observed on the logit of the scores.

    The slope is positive, so that the order of the scores stays. Where the logistic regression would turn it around,
    slope 1 and intercept 0 are returned: the scores stay as they are.

    References
    ----------
    Platt (1999), Probabilistic outputs for support vector machines.
    """
    x = logit(np.clip(np.asarray(scores, dtype=np.float64).ravel(), _EPS, 1 - _EPS))
    y = np.asarray(observed, dtype=np.float64).ravel()

    def loss(parameters: Array) -> tuple[float, Array]:
        z = parameters[0] * x + parameters[1]
        error = expit(z) - y
        return float(np.mean(np.logaddexp(0, z) - y * z)), np.array([np.mean(error * x), np.mean(error)])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS")
    slope, intercept = found.x
    if not (np.isfinite(found.x).all() and slope > 1e-3):
        return 1.0, 0.0
    return float(slope), float(intercept)


def calibrated(scores: Array, slope: float, intercept: float) -> Array:
    """Return probabilities, in the order of the scores."""
    return np.asarray(expit(slope * logit(np.clip(scores, _EPS, 1 - _EPS)) + intercept))


def calibration_table(observed: Array, probability: Array, *, n_bins: int = 10) -> pd.DataFrame:
    """Return ``predicted, observed, n`` in bins of about equally many entries, ascending."""
    p, y = np.asarray(probability, dtype=np.float64).ravel(), np.asarray(observed, dtype=bool).ravel()
    edges = np.unique(np.quantile(p, np.linspace(0, 1, n_bins + 1)[1:-1]))
    which = np.searchsorted(edges, p, side="left")
    n = np.bincount(which, minlength=len(edges) + 1)
    filled = n > 0
    return pd.DataFrame(
        {
            "predicted": np.bincount(which, weights=p, minlength=len(n))[filled] / n[filled],
            "observed": np.bincount(which, weights=y, minlength=len(n))[filled] / n[filled],
            "n": n[filled],
        }
    )


def calibration_error(observed: Array, probability: Array) -> float:
    """Return the mean difference between predicted and observed shares over the bins, weighted by their entries."""
    table = calibration_table(observed, probability)
    return float(np.average(np.abs(table["predicted"] - table["observed"]), weights=table["n"]))


def brier_score(observed: Array, probability: Array) -> float:
    """Return the mean squared difference between probability and what is observed."""
    return float(np.mean((np.asarray(probability, dtype=np.float64) - observed) ** 2))
