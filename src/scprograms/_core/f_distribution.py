"""Upper tail of the F distribution, also where the probability is too small for a double."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaln, fdtrc

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

SMALLEST_P = 1e-280  # below, fdtrc soon loses digits and then underflows
MAX_TERMS = 100_000
TINY = 1e-300


def f_tail(F: Array, df_between: float | Array, df_within: float | Array) -> tuple[Array, Array]:
    """Return p and log10(p) of F statistics; log10(p) keeps its digits where p underflows to 0.

    Parameters
    ----------
    F
        F statistics, 0 to infinity; NaN gives NaN.
    df_between, df_within
        Degrees of freedom of numerator and denominator; numbers, or arrays that broadcast against ``F``.

    Returns
    -------
    p and log10(p), of the shape of ``F``.
    """
    F = np.asarray(F, dtype=np.float64)
    p = np.asarray(fdtrc(df_between, df_within, F), dtype=np.float64)
    p = np.where(np.isposinf(F), 0.0, p)
    with np.errstate(divide="ignore"):
        log10_p = np.log10(p)
    small = (p < SMALLEST_P) & np.isfinite(F)
    if small.any():
        df1, df2 = (np.broadcast_to(df, F.shape)[small] for df in (df_between, df_within))
        log10_p[small] = _log_tail(F[small], df1, df2) / np.log(10)
    return p, log10_p


def _log_tail(F: Array, df_between: Array, df_within: Array) -> Array:
    # p = I_x(a, b), the regularised incomplete beta function (DLMF 8.17.20-22): its leading factor in logarithms
    # times a continued fraction of order one.
    a, b = df_within / 2, df_between / 2
    ratio = df_between * F / df_within
    log_x, log_1mx = -np.log1p(ratio), -np.log1p(1 / ratio)
    return a * log_x + b * log_1mx - np.log(a) - betaln(a, b) - np.log(_continued_fraction(a, b, np.exp(log_x)))


def _continued_fraction(a: Array, b: Array, x: Array) -> Array:
    """Evaluate 1 + d1/(1 + d2/(1 + ...)) of DLMF 8.17.22 by Lentz's method."""
    value, c, d = np.ones_like(x), np.ones_like(x), np.zeros_like(x)
    for n in range(1, MAX_TERMS):
        m = n // 2
        if n % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _away_from_zero(1 + term * d)
        c = _away_from_zero(1 + term / c)
        value = value * c * d
        if np.all(np.abs(c * d - 1) < 1e-15):
            break
    return value


def _away_from_zero(x: Array) -> Array:
    return np.where(np.abs(x) < TINY, TINY, x)
