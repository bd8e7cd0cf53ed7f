"""Usages of learned programs in cells that they were not learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import sparse

from scprograms._core import checks
from scprograms._core.operators.prepare import prepare
from scprograms._core.operators.protocol import DaskArray, is_dask
from scprograms._core.sums import squared_norm
from scprograms._core.threads import threads

from ._base import column_variances
from ._nmf import NMF
from ._solvers import Loadings, error_of, solve_usages_and_cross, with_explained

if TYPE_CHECKING:
    from scprograms._core.matrix import FloatArray, Matrix


@dataclass(frozen=True)
class Projection:
    """Usages of given programs, and how well these fit."""

    usages: FloatArray
    """W, n_obs x k, in the dtype of the data."""
    variance_explained: FloatArray
    """Share of the variance of the data in each program's term alone, k."""
    error: float
    """Frobenius norm of the residual, in scaled units."""


def project_usages(
    X: Matrix | DaskArray,
    loadings: FloatArray,
    *,
    baseline: FloatArray | None = None,
    center: FloatArray | None = None,
    scale: FloatArray | None = None,
    penalty: float = 0.0,
    loss: Literal["frobenius", "kullback-leibler"] = "frobenius",
    n_jobs: int | None = None,
) -> Projection:
    """Find the usages W >= 0 of ``X ~ center + scale * (baseline + W H)`` for given loadings H, cell by cell.

    The penalty is that of the fit, where every row h of H had unit norm: a program that fits a cell alone ends at its
    usage without penalty, less ``penalty``. Where columns of the fit are missing from X, and the norm of h is below 1,
    ``penalty * ||h||^2`` has the same effect: the usages of all cells shrink by as much as in the fit.

    Parameters
    ----------
    X
        n_obs x n_features: array, CSR or CSC, which stays sparse, or a dask array of them in chunks of rows, which is
        read twice; float32 stays float32.
    loadings
        H, k x n_features: of the features of X, in their order. A program without loadings gets usages of 0.
    baseline, center, scale
        The model of the features; nothing is added, subtracted or divided by default.
    penalty
        Penalty on the sum of W, ``l1_penalty_`` of the fitted estimator.
    loss
        ``"frobenius"`` (solved exactly), or ``"kullback-leibler"`` (multiplicative updates by scikit-learn until they
        hardly change anything; baseline, centre, scale and penalty must be absent).
    n_jobs
        Number of threads; None means all. It never changes the result.

    Returns
    -------
    The usages, the variance that each program explains, and the error.

    Raises
    ------
    ValueError
        If shapes do not fit, or a value is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.programs.engine import SemiNMF, project_usages
    >>> rng = np.random.default_rng(0)
    >>> X = rng.gamma(0.3, size=(200, 3)) @ rng.normal(size=(3, 20)) + 0.5 * rng.normal(size=(200, 20))
    >>> model = SemiNMF(3, random_state=0).fit(X)
    >>> found = project_usages(X, model.components_, baseline=model.baseline_, penalty=model.l1_penalty_)
    >>> bool(np.allclose(found.usages, model.transform(X)))
    True
    """
    n_vars = X.shape[1]
    H = checks.factor("loadings", loadings, (len(loadings), n_vars), np.dtype(float), signed=True)
    penalty = checks.non_negative("penalty", penalty)
    checks.one_of("loss", loss, ("frobenius", "kullback-leibler"))
    b, m, s = (
        np.full(n_vars, default)
        if value is None
        else checks.factor(name, value, (n_vars,), np.dtype(float), signed=True)
        for name, value, default in (("baseline", baseline, 0.0), ("center", center, 0.0), ("scale", scale, 1.0))
    )
    if not (s > 0).all():
        msg = f"scale has {int((s <= 0).sum())} values that are not positive: a column without variance has scale 1."
        raise ValueError(msg)
    with threads(n_jobs):
        op = prepare(X, m, s, intercept=False).op
        total = squared_norm(op)  # before all else: it looks at the values of a dask array
        if loss == "kullback-leibler":
            if penalty or b.any() or m.any() or (s != 1).any():
                msg = "loss='kullback-leibler' knows no baseline, center, scale or penalty: leave them out."
                raise ValueError(msg)
            if is_dask(X):
                msg = "loss='kullback-leibler' needs the matrix in memory, and X is a dask array: pass X.compute()."
                raise ValueError(msg)
            W, cross = _by_divergence(X, H, op.dtype, n_jobs=n_jobs), None
        else:
            shrinkage = penalty * np.linalg.norm(H, axis=1)  # of usages in units of h / ||h||, as the solver takes it
            W, cross = solve_usages_and_cross(op, Loadings(H, b, 0.0), penalty=shrinkage)
        error = error_of(total, with_explained(op, W, H, b, cross=cross))
        spread = float(op.squared_deviations(op.column_sums() / op.shape[0]).sum()) / op.shape[0]
    variance = column_variances(W) * np.square(H).sum(axis=1)
    return Projection(W, variance / (spread if spread > 0 else 1.0), error)


def _by_divergence(X: Matrix, H: FloatArray, dtype: np.dtype, *, n_jobs: int | None) -> FloatArray:
    """Return the usages that ``NMF`` with this loss gives new cells."""
    model = NMF(len(H), solver="mu", loss="kullback-leibler", n_jobs=n_jobs)
    model.components_ = H.astype(dtype)
    model.n_features_in_ = H.shape[1]
    return model.transform(X.astype(dtype, copy=False) if sparse.issparse(X) else np.asarray(X, dtype=dtype))
