"""Counts, means and sums of squares within groups of cells: what every test on groups starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from scprograms._core.matrix import Array

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class GroupMoments:
    """Moments of k columns within G groups; a group without cells has count 0 and zeros."""

    counts: Array
    """Cells per group, G."""
    center: Array
    """Some value of each column, k, which the deviations are relative to."""
    deviations: Array
    """Mean of each column in each group less ``center``, G x k: keeps the digits that a large offset would cost."""
    squares: Array
    """Sum of squared deviations from the group's mean, G x k; exactly 0 where all values are equal."""

    @property
    def means(self) -> Array:
        """Mean of each column in each group, G x k; 0 for a group without cells."""
        return np.where(self.counts[:, None] > 0, self.center + self.deviations, 0.0)


def compiled(function: Callable[P, T]) -> Callable[P, T]:
    # Without fastmath, unlike the kernels of the factorization: the order of the subtractions is the point here.
    kernel: Callable[P, T]
    try:
        kernel = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither the installation nor the user's cache folder is writable
        kernel = numba.njit(nogil=True)(function)
    return kernel


@compiled
def _add_deviations(values: Array, codes: Array, counts: Array, first: Array, sums: Array) -> None:
    for i in range(values.shape[0]):
        c = codes[i]
        if c < 0:
            continue
        if counts[c] == 0:
            for j in range(values.shape[1]):
                first[c, j] = values[i, j]
        counts[c] += 1
        for j in range(values.shape[1]):
            sums[c, j] += values[i, j] - first[c, j]


@compiled
def _add_squares(values: Array, codes: Array, first: Array, shift: Array, squares: Array) -> None:
    for i in range(values.shape[0]):
        c = codes[i]
        if c < 0:
            continue
        for j in range(values.shape[1]):
            deviation = (values[i, j] - first[c, j]) - shift[c, j]
            squares[c, j] += deviation * deviation


def group_moments(values: Array, codes: Array, *, n_groups: int | None = None) -> GroupMoments:
    """Compute counts, means and centred sums of squares of all columns within groups.

    Two passes in double precision whatever the dtype of ``values``, and no copy of them: the values of a group are
    taken relative to its first cell, then relative to its mean. So a group whose values are all equal has a sum of
    squares of exactly zero, and a large common offset costs no digits.

    Parameters
    ----------
    values
        n_obs x k, real and finite.
    codes
        Group of each row, 0, 1, ...; -1 leaves a row out.
    n_groups
        Number of groups G; by default one more than the largest code.

    Returns
    -------
    Counts, means and sums of squares.

    Raises
    ------
    ValueError
        If the shapes do not match, a code is out of range, or a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms._core.moments import group_moments
    >>> moments = group_moments(np.array([[1.0], [3.0], [5.0]]), np.array([0, 0, 1]))
    >>> moments.counts.tolist(), moments.means.tolist(), moments.squares.tolist()
    ([2, 1], [[2.0], [5.0]], [[2.0], [0.0]])
    """
    values, codes = _check(values, codes)
    largest = int(codes.max(initial=-1))
    n_groups = largest + 1 if n_groups is None else n_groups
    if largest >= n_groups or codes.min(initial=0) < -1:
        msg = f"codes run from {codes.min()} to {largest}; possible are -1 (left out) to {n_groups - 1}."
        raise ValueError(msg)
    counts = np.zeros(n_groups, dtype=np.int64)
    first, sums, squares = (np.zeros((n_groups, values.shape[1])) for _ in range(3))
    _add_deviations(values, codes, counts, first, sums)
    if not np.isfinite(sums).all():
        columns = np.flatnonzero(~np.isfinite(sums).all(axis=0)).tolist()
        msg = f"values has NaN or infinite entries in column(s) {columns}: remove or replace them."
        raise ValueError(msg)
    shift = sums / np.maximum(counts, 1)[:, None]
    _add_squares(values, codes, first, shift, squares)
    present = counts > 0
    center = first[present][:1].sum(axis=0)
    deviations = np.where(present[:, None], (first - center) + shift, 0.0)
    return GroupMoments(counts=counts, center=center, deviations=deviations, squares=squares)


def _check(values: Array, codes: Array) -> tuple[Array, Array]:
    values, codes = np.asarray(values), np.asarray(codes)
    if values.ndim != 2 or codes.shape != values.shape[:1] or codes.dtype.kind not in "iu":
        msg = (
            f"values has shape {values.shape} and codes shape {codes.shape} and dtype {codes.dtype}; "
            "a matrix and one integer code per row are needed."
        )
        raise ValueError(msg)
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    return values, codes.astype(np.int64, copy=False)
