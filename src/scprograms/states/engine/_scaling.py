"""Z-scores within samples, and their positive and negative parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

CLIP = 10.0


def z_scores(values: Array, center: Array, scale: Array) -> Array:
    """Return ``(values - center) / scale`` within +-10; 0 where the scale is 0.

    Parameters
    ----------
    values
        Cells x genes.
    center, scale
        Of each gene, or of each gene for each cell.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import z_scores
    >>> z_scores(np.array([[3.0, 7.0, 99.0]]), np.array([1.0, 7.0, 0.0]), np.array([2.0, 0.0, 1.0])).tolist()
    [[1.0, 0.0, 10.0]]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        Z = (values - center) / scale
    return np.clip(np.where(scale > 0, Z, 0.0), -CLIP, CLIP)


def posneg(Z: Array) -> Array:
    """Return the positive parts of all columns, then the negative parts with their sign turned: n x 2p.

    So scaled expression, which has signs, becomes a matrix that non-negative factorizations take [1]_.

    Parameters
    ----------
    Z
        Cells x genes, n x p, of either sign.

    References
    ----------
    .. [1] Luca et al. (2021), Cell 184:5482, https://doi.org/10.1016/j.cell.2021.09.014

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import posneg
    >>> posneg(np.array([[2.0, -1.0]])).tolist()
    [[2.0, 0.0, 0.0, 1.0]]
    """
    return np.concatenate([np.maximum(Z, 0), np.maximum(-Z, 0)], axis=1)
