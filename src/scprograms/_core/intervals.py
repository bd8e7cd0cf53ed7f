"""Confidence intervals."""

from __future__ import annotations

from math import sqrt

from scipy.special import stdtrit


def half_width(sd: float, n: int, *, level: float) -> float:
    """Half of the interval of a mean of ``n`` values with standard deviation ``sd``, by Student's t."""
    return float(stdtrit(n - 1, 0.5 + level / 2)) * sd / sqrt(n)
