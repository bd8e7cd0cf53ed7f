"""From a matrix and the options ``center``, ``scale`` and ``fit_intercept`` to the operator that is factorized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

from scprograms._core.checks import logger
from scprograms._core.matrix import Array, FloatArray, Matrix

from .centred import CenteredOperator
from .dask import DaskOperator
from .dispatch import AnyMatrix, as_operator
from .protocol import DaskArray, MatrixOperator

Readable: TypeAlias = Matrix | DaskOperator
"""Cells x genes whose values can be looked at: in memory, or a chunk at a time."""

Source: TypeAlias = Readable | DaskArray
"""What the engines take."""


@dataclass(frozen=True)
class Prepared:
    """``(X - center) / scale`` as an operator. With an intercept it is centred on the mean as well.

    The mean is then part of the baseline: ``shift`` holds what was subtracted on top of ``center``, in scaled units.
    """

    op: MatrixOperator
    center: FloatArray
    scale: FloatArray
    shift: FloatArray


def expect(X: AnyMatrix, **expected: Any) -> None:
    """Tell a matrix that is read a chunk at a time what its first reading should find; all else needs no notice."""
    if isinstance(X, DaskOperator):
        X.expect(**expected)


def log_readings(X: AnyMatrix, what: str) -> None:
    """Say how often the data were read, where each reading costs."""
    if isinstance(X, DaskOperator):
        logger.info("%s: the data were read %d times so far.", what, X.n_passes)


def negatives(X: Readable) -> tuple[int, int, float]:
    """Return how many of how many (stored) values are below zero, and the lowest value."""
    if isinstance(X, DaskOperator):
        found = X.first()
        return found.n_negative, found.n_values, found.lowest
    values = X.data if sparse.issparse(X) else X
    lowest = float(values.min(initial=0))
    return (int((values < 0).sum()) if lowest < 0 else 0), values.size, lowest


def has_negative(X: Readable) -> bool:
    """Whether any entry is below zero."""
    return negatives(X)[0] > 0


def check_non_negative(X: Readable) -> None:
    """Raise where a method without signed loadings meets an entry below zero."""
    n_negative, n_values, lowest = negatives(X)
    if n_negative:
        msg = (
            f"Negative values in data: {n_negative} of {n_values}, the lowest is {lowest:g}. NMF "
            "needs non-negative data; use semi-NMF, or pass the data before centring and scaling."
        )
        raise ValueError(msg)


def wants_intercept(X: Readable, *, fit_intercept: bool | None, center: str | None, scale: bool) -> bool:
    """Resolve ``fit_intercept=None``: a free baseline where zero is not a natural floor of the data.

    ``center="control"`` fixes the baseline at the mean of the control cells, so there is none to fit.
    """
    if fit_intercept is not None:
        return bool(fit_intercept)
    if center == "control":
        return False
    n_negative, n_values, lowest = negatives(X)
    if n_negative:
        logger.info(
            "fit_intercept=True, since %d of %d values are negative (the lowest is %g).", n_negative, n_values, lowest
        )
    elif center is not None or scale:
        logger.info("fit_intercept=True, since center=%r and scale=%r.", center, scale)
    return n_negative > 0 or center is not None or scale


def moments(X: Readable, *, center: str | None, scale: bool, control: Array | None) -> tuple[FloatArray, FloatArray]:
    """Return what to subtract from, and to divide, each column by; a column without variance is divided by 1."""
    n_vars = X.shape[1]
    if center is None and not scale:
        return np.zeros(n_vars), np.ones(n_vars)
    reference: MatrixOperator = as_operator(X)
    if control is not None:
        rows = np.flatnonzero(control)
        reference = X.rows(rows) if isinstance(X, DaskOperator) else as_operator(X[rows])
    n_obs = reference.shape[0]
    mean = reference.column_sums() / n_obs
    sd = np.ones(n_vars)
    if scale:
        sd = np.sqrt(reference.squared_deviations(mean) / max(n_obs - 1, 1))
        constant = sd <= 1e-7 * np.maximum(np.abs(mean), 1e-30)
        if constant.any():
            logger.info("%d of %d columns have no variance: they are not scaled.", int(constant.sum()), n_vars)
        sd[constant] = 1
    return (np.zeros(n_vars) if center is None else mean), sd


def prepare(X: AnyMatrix, center: FloatArray, scale: FloatArray, *, intercept: bool) -> Prepared:
    """Wrap a matrix such that nothing is densified."""
    op: MatrixOperator = as_operator(X)
    shift = np.zeros(op.shape[1])
    if intercept:
        mean = op.column_sums() / op.shape[0]
        shift = (mean - center) / scale
        return Prepared(CenteredOperator(op, mean, scale), center, scale, shift)
    if center.any() or (scale != 1).any():
        op = CenteredOperator(op, center, scale)
    return Prepared(op, center, scale, shift)
