"""Hierarchical clustering."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist

if TYPE_CHECKING:
    from scprograms._core.matrix import Array


def cluster_rows(values: Array, method: str, metric: str) -> Array | None:
    """Linkage of the rows, as :func:`scipy.cluster.hierarchy.linkage` has it; None for fewer than two.

    Missing values count as 0. By a metric of directions, a row of zeros is as far from all others as one at a right
    angle.
    """
    if len(values) < 2:
        return None
    # The stubs know literals alone; the names are the caller's, and scipy looks at them.
    distance = pdist(np.nan_to_num(values, nan=0.0), metric)  # type: ignore[call-overload]
    return linkage(np.nan_to_num(distance, nan=1.0), method)  # type: ignore[arg-type]
