"""What a network must beat: the mean of each peak, ridge regression on principal components, and nearest cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._genes import GeneScaler, principal_axes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scprograms._core.matrix import Array, Matrix

    from ._nearby import LocalTerm

_EDGE = 0.01
_PENALTIES = np.append(np.logspace(-2, 4, 13), np.inf)
"""In units of the mean variance of the components; infinite means the mean of each peak."""
_NEIGHBOURS = (5, 10, 20, 50, 100, 200)
_PRIOR_CELLS = 5.0
"""A cell's neighbours count as if so many average cells were among them: peaks then never tie at 0."""


def as_probability(values: Array) -> Array:
    """Return values strictly between 0 and 1, in the same order: what lies within 1 to 99 % stays as it is."""
    low = _EDGE / (1 + np.maximum(_EDGE - values, 0) / _EDGE)
    high = 1 - _EDGE / (1 + np.maximum(values - (1 - _EDGE), 0) / _EDGE)
    return np.where(values < _EDGE, low, np.where(values > 1 - _EDGE, high, values))


@dataclass(frozen=True)
class PeakMean:
    """Every cell gets the share of training cells in which a peak is accessible."""

    mean: Array

    def scores(self, clipped: Matrix, local: Array | None = None) -> Array:  # noqa: ARG002
        """Return cells x peaks."""
        n = clipped.shape[0]
        return np.tile(as_probability(self.mean), (n, 1))


@dataclass(frozen=True)
class Ridge:
    """Linear in the principal components, and in the expression near a peak where that is used."""

    scaler: GeneScaler
    axes: Array
    centre: Array
    mean: Array
    slopes: Array
    """Components x peaks."""
    local: Array
    """Slope of the expression near each peak; zeros without it."""
    penalty: float

    def scores(self, clipped: Matrix, local: Array | None = None) -> Array:
        """Return cells x peaks."""
        values = self.mean + (self.scaler.times(clipped, self.axes) - self.centre) @ self.slopes
        if local is not None:
            values = values + local * self.local
        return as_probability(values)


@dataclass(frozen=True)
class Neighbours:
    """The mean of the training cells that are nearest in the principal components."""

    scaler: GeneScaler
    axes: Array
    mean: Array
    cells: Array
    """Components of the training cells, cells x components."""
    observed: Array
    """Training cells x peaks, boolean."""
    n_neighbours: int

    def scores(self, clipped: Matrix, local: Array | None = None) -> Array:  # noqa: ARG002
        """Return cells x peaks."""
        return self.at(self.nearest(clipped, self.n_neighbours), self.n_neighbours)

    def nearest(self, clipped: Matrix, n: int) -> Array:
        """Return the indices of the ``n`` nearest training cells of each cell, the nearest first."""
        from sklearn.neighbors import NearestNeighbors

        points = self.scaler.times(clipped, self.axes)
        return np.asarray(
            NearestNeighbors(n_neighbors=n, algorithm="brute").fit(self.cells).kneighbors(points, return_distance=False)
        )

    def at(self, nearest: Array, n: int) -> Array:
        """Return cells x peaks by the first ``n`` of the nearest cells."""
        found = np.empty((len(nearest), len(self.mean)))
        for i, row in enumerate(nearest):
            found[i] = self.observed[row[:n]].sum(axis=0)
        return as_probability((found + _PRIOR_CELLS * self.mean) / (n + _PRIOR_CELLS))


def components(scaler: GeneScaler, clipped: Matrix, n: int) -> tuple[Array, Array]:
    """Return the principal axes of the training cells, genes x components, and the cells' places on them."""
    axes = principal_axes(scaler, clipped, n)
    return axes, scaler.times(clipped, axes)


def ridge_path(
    scaler: GeneScaler, axes: Array, places: Array, observed: Array, local: LocalTerm | None
) -> Iterator[Ridge]:
    """Yield ridge regressions from the least to the largest penalty; the last is the mean of each peak.

    With expression near the peak, its slope is fitted to what the components leave, by as strong a penalty.
    """
    centre, mean = places.mean(axis=0), observed.mean(axis=0)
    T, Y = places - centre, observed - mean
    gram, right = T.T @ T, T.T @ Y
    unit = float(np.trace(gram)) / max(1, len(gram))
    eye = np.eye(len(gram))
    for penalty in _PENALTIES:
        slopes = np.zeros_like(right) if np.isinf(penalty) else np.linalg.solve(gram + penalty * unit * eye, right)
        near = np.zeros(Y.shape[1])
        if local is not None and not np.isinf(penalty):
            L = local.training
            near = np.sum(L * (Y - T @ slopes), axis=0) / (np.sum(L**2, axis=0) + penalty * len(L))
        yield Ridge(scaler, axes, centre, mean, slopes, near, float(penalty))


def neighbour_numbers(n_cells: int) -> list[int]:
    """Return the numbers of neighbours to choose from."""
    return [n for n in _NEIGHBOURS if n <= n_cells] or [n_cells]
