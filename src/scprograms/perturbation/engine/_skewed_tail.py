"""Two-sided p-values of t statistics whose numerator is skewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammainc, gammaincc, gammaln, ndtri_exp

from scprograms._core.f_distribution import SMALLEST_P, f_tail

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

SYMMETRIC = 1e-6  # a skewness below this changes no digit that matters
LARGE = 1e5
FAR = 8.0
MAX_TERMS = 10_000


def skewed_t_tail(t: Array, df: Array, skewness: Array) -> tuple[Array, Array]:
    """Return p and log10(p) of ``|t|`` or more, in either direction, where the numerator of t has the given skewness.

    The t statistic is taken to the normal deviate of the same tail probability, and this is referred to a Pearson
    type III distribution (a shifted gamma) of mean 0, variance 1 and that skewness, the distribution of sums of zeros
    and gammas to a good approximation. The two tails are added, not doubled: with much skewness one of them is empty.

    Parameters
    ----------
    t, df, skewness
        Arrays that broadcast against each other; NaN gives NaN.

    Returns
    -------
    p and log10(p); log10(p) keeps its digits where p underflows to 0.
    """
    t, df, skewness = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (t, df, skewness)))
    p, log10_p = f_tail(t**2, 1, df)
    skewed = (np.abs(skewness) > SYMMETRIC) & np.isfinite(t)
    if skewed.any():
        z = -ndtri_exp(np.minimum(log10_p[skewed] * np.log(10), 0.0) - np.log(2))
        shape = 4 / skewness[skewed] ** 2
        step = z * np.sqrt(shape)
        lower = gammainc(shape, np.maximum(shape - step, 0.0))
        p[skewed] = np.minimum(gammaincc(shape, shape + step) + lower, 1.0)
        with np.errstate(divide="ignore"):
            log10_p[skewed] = np.log10(p[skewed])
        far = skewed.copy()
        # gammainc loses all digits of the far lower tail where the shape is large.
        far[skewed] = (p[skewed] < SMALLEST_P) | ((shape > LARGE) & (z > FAR))
        if far.any():
            log10_p[far] = _log_tails(shape[far[skewed]], step[far[skewed]]) / np.log(10)
            p[far] = 10 ** log10_p[far]
    return p, log10_p


def _log_tails(a: Array, step: Array) -> Array:
    """Return the logarithm of P(a, a - step) + Q(a, a + step), many standard deviations out."""
    upper = _log_density(a, step) + np.log(_upper_fraction(a, step))
    # The lower tail counts beside the upper one only where the shape is large; there a few terms in 1/z are enough.
    with np.errstate(divide="ignore", invalid="ignore"):
        v = a / step**2
        lower = _log_density(a, -step) - np.log(step) + np.log1p(v * (-1 + v * (3 + v * (-15 + v * (105 - 945 * v)))))
    return np.where(a > LARGE, np.logaddexp(upper, np.where(step < a, lower, -np.inf)), upper)


def _log_density(a: Array, excess: Array) -> Array:
    """Return the logarithm of x^a exp(-x) / Gamma(a) at x = a + excess (Stirling for large a)."""
    stirling = 0.5 * np.log(a / (2 * np.pi)) - 1 / (12 * a)
    with np.errstate(divide="ignore", invalid="ignore"):
        return a * np.log1p(excess / a) - excess + np.where(a > LARGE, stirling, a * np.log(a) - a - gammaln(a))


def _upper_fraction(a: Array, excess: Array) -> Array:
    """Evaluate 1/(x+1-a - 1(1-a)/(x+3-a - 2(2-a)/(x+5-a - ...))) of DLMF 8.9.2 by Lentz's method."""
    b = excess + 1
    c, d = np.full_like(b, 1e300), 1 / b
    value = d.copy()
    for n in range(1, MAX_TERMS):
        term = -n * (n - a)
        b = b + 2
        d = 1 / (term * d + b)
        c = b + term / c
        value = value * c * d
        if np.all(np.abs(c * d - 1) < 1e-15):
            break
    return value
