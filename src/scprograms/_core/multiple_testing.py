"""Control of the false discovery rate over families of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import false_discovery_control

if TYPE_CHECKING:
    from scprograms._core.matrix import Array


def benjamini_hochberg(p: Array) -> Array:
    """Adjust p-values by Benjamini and Hochberg; NaN marks a test that was not made.

    Parameters
    ----------
    p
        p-values. Each row of a matrix is a family of its own. NaN stays NaN and counts in no family.

    Returns
    -------
    Adjusted p-values ("q"), of the shape of ``p``.

    Raises
    ------
    ValueError
        If a p-value lies outside 0 to 1.

    References
    ----------
    Benjamini and Hochberg (1995), Journal of the Royal Statistical Society B 57, 289-300,
    https://doi.org/10.1111/j.2517-6161.1995.tb02031.x

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms._core.multiple_testing import benjamini_hochberg
    >>> benjamini_hochberg(np.array([0.01, np.nan, 0.04])).round(2)
    array([0.02,  nan, 0.04])
    """
    p = np.asarray(p, dtype=np.float64)
    if (outside := (p < 0) | (p > 1)).any():
        msg = f"p has {int(outside.sum())} values outside 0 to 1: pass p-values, with NaN for tests that were not made."
        raise ValueError(msg)
    if p.ndim == 2:
        if p.size and not np.isnan(p).any():
            return np.asarray(false_discovery_control(p, axis=1, method="bh"))
        return np.array([benjamini_hochberg(family) for family in p]).reshape(p.shape)
    q = np.full(p.shape, np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        q[tested] = false_discovery_control(p[tested], method="bh")
    return q
