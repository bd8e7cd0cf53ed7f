"""Expression near a peak: genes weigh more the nearer their start lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

if TYPE_CHECKING:
    from scprograms._core.matrix import AnySparse, Array, Matrix

    from ._genes import GeneScaler

REACH = 5.0
"""Genes beyond so many scales weigh nothing: less than 1 % of one at the peak."""


def distance_weights(genes: pd.DataFrame, peaks: pd.DataFrame, *, scale: float) -> sparse.csc_array:
    """Return genes x peaks: exp(-distance / scale) on the same chromosome, and zero beyond five scales.

    Parameters
    ----------
    genes
        A row per gene: ``chrom`` and ``position`` of its start; a missing ``chrom`` means that it is not known.
    peaks
        A row per peak: ``chrom, start, end``. The distance is that to the nearest base of the peak.
    scale
        Distance in base pairs at which the weight has fallen to 1/e.

    Examples
    --------
    >>> import pandas as pd
    >>> from scprograms.accessibility.engine import distance_weights
    >>> genes = pd.DataFrame({"chrom": ["chr1", "chr2"], "position": [5000, 5000]})
    >>> peaks = pd.DataFrame({"chrom": ["chr1", "chr1"], "start": [4900, 6000], "end": [5100, 6500]})
    >>> distance_weights(genes, peaks, scale=1000).toarray().round(2).tolist()
    [[1.0, 0.37], [0.0, 0.0]]
    """
    rows, columns, values = [], [], []
    position = genes["position"].to_numpy(dtype=float)
    chromosome = genes["chrom"].astype(object).to_numpy()
    on = {name: np.flatnonzero(chromosome == name) for name in pd.unique(peaks["chrom"])}
    for j, (chrom, start, end) in enumerate(zip(peaks["chrom"], peaks["start"], peaks["end"], strict=True)):
        near = on[chrom]
        distance = np.maximum(np.maximum(start - position[near], position[near] - end), 0)
        within = distance <= REACH * scale
        rows.append(near[within])
        columns.append(np.full(int(within.sum()), j))
        values.append(np.exp(-distance[within] / scale))
    together = [np.concatenate(part) if part else np.empty(0) for part in (values, rows, columns)]
    return sparse.csc_array(
        (together[0], (together[1].astype(np.int64), together[2].astype(np.int64))), shape=(len(genes), len(peaks))
    )


def input_weights(near: Matrix, *, boost: float) -> Array:
    """Return the weight of each gene in the input: 1, and up to 1 + ``boost`` for a gene at a target peak."""
    largest: Array | AnySparse = near.max(axis=1)
    top = largest.toarray().ravel() if sparse.issparse(largest) else np.asarray(largest).ravel()
    return np.asarray(1 + boost * top)


@dataclass(frozen=True)
class LocalTerm:
    """Weighted sums of the z-scores near each peak, standardized by the training cells."""

    near: sparse.csc_array
    centre: Array
    scale: Array
    training: Array
    """Training cells x peaks."""

    @classmethod
    def fit(cls, near: sparse.csc_array, scaler: GeneScaler, clipped: Matrix) -> LocalTerm:
        """Standardize by these cells; a peak without genes near it gets zeros."""
        values = _sums(near, scaler, clipped)
        centre, sd = values.mean(axis=0), values.std(axis=0)
        scale = np.where(sd > 1e-9, sd, np.inf)
        return cls(near, centre, scale, (values - centre) / scale)

    def of(self, scaler: GeneScaler, clipped: Matrix) -> Array:
        """Return cells x peaks for other cells."""
        return np.asarray((_sums(self.near, scaler, clipped) - self.centre) / self.scale)


def _sums(near: sparse.csc_array, scaler: GeneScaler, clipped: Matrix) -> Array:
    # Not weighted twice: the weights of the scaler are by the distance to any peak.
    weight = np.where(scaler.weight > 0, 1 / scaler.sd, 0.0)
    scaled = sparse.csc_array(near.multiply(weight[:, None]))
    product: Matrix = clipped @ scaled
    values = product.toarray() if sparse.issparse(product) else np.asarray(product)
    return np.asarray(values - scaler.mean @ scaled)
