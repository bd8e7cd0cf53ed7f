"""How far tests in which nothing is to be found are from a uniform distribution of p-values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import chdtri, ndtri, ndtri_exp

if TYPE_CHECKING:
    from scprograms._core.matrix import Array


MEDIAN_CHI2 = float(chdtri(1, 0.5))


LEVEL = 0.95


N_DRAWS = 1000


LEAST_COLUMNS = 3
"""With fewer programs nothing can be said of how lambda varies between them."""


# 1 / (2 f(m) m) with f the density of chi-square at its median m: of log lambda, times the root of the number of tests.
SD_LOG_MEDIAN = float(np.sqrt(np.pi / (2 * MEDIAN_CHI2)) * np.exp(MEDIAN_CHI2 / 2))


def inflation(log10_p: Array) -> float:
    """Return lambda: the median of the chi-square values (one degree of freedom) of p-values, over its expectation.

    Parameters
    ----------
    log10_p
        Any shape; NaN is left out.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.perturbation.engine.calibration import inflation
    >>> round(inflation(np.log10((np.arange(999) + 1) / 1000)), 3)
    1.0
    """
    return _lambda(_chi2(log10_p))


def _chi2(log10_p: Array) -> Array:
    return np.asarray(ndtri_exp(np.minimum(log10_p * np.log(10), 0.0) - np.log(2)) ** 2)


def _lambda(chi2: Array) -> float:
    known = chi2[~np.isnan(chi2)]
    return float(np.median(known) / MEDIAN_CHI2) if len(known) else float("nan")


def effective_columns(units: Array) -> float:
    """Return how many uncorrelated columns k correlated ones are worth: ``k / (1 + (k - 1) mean r^2)``.

    A squared correlation of two tests' statistics is that of their chi-square values, so this is the number by which
    the variance of their mean shrinks. What chance adds to r^2 is taken off.

    Parameters
    ----------
    units
        What the tests take as independent (guides or cells) x columns.
    """
    units = units[:, units.std(axis=0) > 0]
    n, k = units.shape
    if k < 2 or n < 3:
        return float(k)
    r2 = np.corrcoef(units, rowvar=False)[np.triu_indices(k, 1)] ** 2
    by_chance = 1 / (n - 1)
    mean = max(0.0, (float(r2.mean()) - by_chance) / (1 - by_chance))
    return float(k / (1 + (k - 1) * mean))


def inflation_interval(log10_p: Array, n_effective: float, *, n_independent: float, seed: int) -> tuple[float, float]:
    """Return an interval (95 %) of lambda: a bootstrap over columns, or the spread of a median where that is wider.

    The tests of a column share their guides, and are drawn together. Guides cannot be drawn with replacement instead:
    a guide that is in twice looks like two guides that do not differ. As many columns are drawn as k correlated ones
    are worth, less one, which makes up for the spread of few columns being less than that of many. A handful of columns
    may be alike by chance: the interval is never narrower than that of the median of so many independent tests.

    Parameters
    ----------
    log10_p
        Tests x columns.
    n_effective
        Of :func:`effective_columns`.
    n_independent
        About how many independent tests all of these are worth.
    seed
        Of the draws.

    Returns
    -------
    Both ends.
    """
    chi2 = _chi2(log10_p[:, ~np.isnan(log10_p).all(axis=0)])
    k = chi2.shape[1]
    reach = np.exp(ndtri((1 + LEVEL) / 2) * SD_LOG_MEDIAN / np.sqrt(n_independent))
    center = _lambda(chi2)
    low, high = center / reach, center * reach
    if k >= LEAST_COLUMNS:
        rng = np.random.default_rng(seed)
        n_drawn = int(np.clip(round(n_effective) - 1, 2, k))
        drawn = [_lambda(chi2[:, rng.integers(k, size=n_drawn)]) for _ in range(N_DRAWS)]
        ends = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        low, high = min(low, ends[0]), max(high, ends[1])
    return float(low), float(high)


def quantiles(log10_p: Array, *, n_independent: int | None = None) -> pd.DataFrame:
    """Return sorted -log10 p, what a uniform distribution lets expect of each, and its pointwise 95 % band.

    The i-th of n uniform values has a beta distribution. Fewer independent tests spread the same quantile as their
    own number does.
    """
    from scipy.special import betaincinv

    observed = np.sort(-log10_p[~np.isnan(log10_p)])
    n = len(observed)
    m = n if n_independent is None else min(n, n_independent)
    share = (np.arange(n, 0, -1) - 0.5) / n
    a, b = share * m + 0.5, (1 - share) * m + 0.5
    band = {"low": -np.log10(betaincinv(a, b, 0.975)), "high": -np.log10(betaincinv(a, b, 0.025))}
    return pd.DataFrame({"expected": -np.log10(share), "observed": observed} | band)
