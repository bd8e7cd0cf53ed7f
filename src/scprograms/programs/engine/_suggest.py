"""The rule by which a number of programs is suggested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scprograms._core.matrix import FloatArray

STABILITY_FLOOR = 0.7
PLATEAU = 0.95


@dataclass
class RankCurves:
    """What was found for each number of programs; NaN where it was not asked for."""

    ranks: list[int]
    """Numbers of programs that were tried, n."""
    error: FloatArray
    """Frobenius norm of the residual, n."""
    error_bound: FloatArray
    """The least possible one, n."""
    error_ratio: FloatArray
    """Their ratio, n."""
    cv_error: FloatArray
    """Mean over the folds of the mean squared error on hidden entries."""
    cv_sd: FloatArray
    """Its standard deviation over the folds, n."""
    stability: FloatArray
    """Mean cosine between matched programs of subsamples, n."""
    stability_sd: FloatArray
    """Its standard deviation over pairs of subsamples, n."""
    silhouette: FloatArray
    """Mean silhouette width of the pooled programs, n."""
    n_folds: int
    """Folds of the cross-validation."""
    suggested: int
    """The number to take."""
    reason: str
    """Why."""


def suggest(curves: RankCurves) -> tuple[int, str]:
    """Return the suggested number of programs and why."""
    ranks = np.array(curves.ranks)
    if np.isnan(curves.cv_error).all():
        by_stability = not np.isnan(curves.stability).all()
        values = curves.stability if by_stability else curves.silhouette
        name = "stability" if by_stability else "silhouette"
        best = np.nanmax(values) if not np.isnan(values).all() else np.nan
        k = int(ranks[values >= PLATEAU * best].max()) if np.isfinite(best) else int(ranks[0])
        return k, f"{k}: the largest with a {name} of at least {PLATEAU} times the highest (no cross-validation)."
    least = int(np.argmin(curves.cv_error))
    limit = curves.cv_error[least] + curves.cv_sd[least] / np.sqrt(curves.n_folds)
    k = int(ranks[curves.cv_error <= limit].min())
    reason = f"{k}: the smallest within one standard error of the least held-out error (at {ranks[least]})"
    if least == len(ranks) - 1 and len(ranks) > 1:
        reason += ", which is the end of the range: larger numbers may predict better"
    elif k == ranks[0] and len(ranks) > 1:
        reason += "; it is the start of the range: smaller numbers may do as well"
    stable = curves.stability[curves.ranks.index(k)]
    if np.isnan(stable):
        return k, reason + "; stability was not computed."
    if stable >= STABILITY_FLOOR:
        return k, reason + f"; its stability is {stable:.2f}."
    smaller = ranks[(ranks < k) & (curves.stability >= STABILITY_FLOOR)]
    if not smaller.size:
        return k, reason + f"; its stability is only {stable:.2f}, and no smaller number reaches {STABILITY_FLOOR}."
    lower = int(smaller.max())
    return lower, (
        f"{lower}: the largest with a stability of at least {STABILITY_FLOOR} that is below {k}, which predicts best "
        f"within one standard error but has a stability of {stable:.2f}."
    )
