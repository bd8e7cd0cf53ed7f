"""Semi-NMF: non-negative usages, free loadings."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from scprograms._core import checks
from scprograms._core.operators.dask import DaskOperator
from scprograms._core.operators.prepare import Prepared, Source, expect, log_readings, moments, prepare, wants_intercept
from scprograms._core.threads import resolve_n_jobs, threads

from ._base import ProgramEstimator, column_variances, order_of_programs
from ._factorize import Factorizer, sketch_rank
from ._solvers import Fit, fit_loadings
from ._starts import STARTS

if TYPE_CHECKING:
    from scprograms._core.matrix import Array, FloatArray

Init = Literal["varimax", "svd", "kmeans", "nndsvd", "nmf", "random"]
"""Where a fit of :class:`scprograms.programs.engine.SemiNMF` starts."""


class SemiNMF(ProgramEstimator):
    """Semi-NMF: ``X ~ center + scale * (baseline + W H)`` with usages W >= 0 and free loadings H.

    Since H is free, no factorization has an error below that of the rank-k truncated SVD, and many reach it. The
    default returns the one whose programs are used by few cells each: the leading left singular vectors, rotated by
    varimax, start hierarchical alternating least squares (HALS) on the compressed matrix, which a few sweeps on the
    matrix itself complete. Sparse input is never densified, and centring and scaling are implicit.

    Parameters
    ----------
    n_components
        Number of programs k.
    init
        Starting usages: ``"varimax"`` (default), ``"svd"`` (the closed form of least error [2]_), ``"kmeans"``,
        ``"nndsvd"``, ``"nmf"`` (an NMF, whose loadings are then set free: with more programs than the data hold they
        tend to change less between subsamples, but a response that is lost is not found as well), ``"random"`` (uniform
        on 0.2 to 1.2), or an array n_obs x k.
    solver
        ``"hals"`` (default), or ``"mu"`` for the multiplicative update [1]_ on the uncompressed matrix.
    l1
        Penalty on the sum of W, in units of the root mean square of the starting W: sparser usages at a slightly
        larger error. Only for ``solver="hals"``.
    center
        What to subtract from each column: nothing (default), its ``"mean"``, or its mean over the ``"control"`` cells.
    scale
        Divide each column by its standard deviation (over the control cells with ``center="control"``).
    fit_intercept
        Fit a free baseline per column; the result then does not depend on ``center="mean"``. None (default) turns it
        on when X has negative entries, or ``center="mean"`` or ``scale`` is used.
    max_iter
        Largest number of sweeps on the compressed matrix; a final one on the matrix itself follows.
    tol
        The sweeps end once one of them changes the error by less than this share of it. It is asked after 1, 2, 3, 4,
        6, 8, 12, 16, 24, ... sweeps and after the last, so that rounding does not decide on one sweep more.
    random_state
        Seed of the sketch and of random starts: an int, a Generator, a RandomState or None.
    n_jobs
        Number of threads; None means all. It never changes the result beyond rounding.
    verbose
        Show a progress bar.

    Attributes
    ----------
    components_ : ndarray, k x n_features
        H; rows have unit L2 norm and are ordered by the variance that their programs explain.
    baseline_, center_, scale_ : ndarray, n_features
        The baseline is in scaled units.
    variance_explained_ : ndarray, k
        Share of the variance of X in each program's term alone.
    error_, error_bound_, error_ratio_ : float
        Frobenius norm of the residual in scaled units, the least possible one (from the sketch, which overestimates it
        by about 1e-4), and their ratio; NaN where X has rank k or less.
    history_ : list of (stage, error)
        Error before the first and after each sweep; the stage is ``"compressed"`` or ``"full"``.
    n_iter_ : int
        Number of sweeps.
    converged_ : bool
        Whether ``tol`` was reached within ``max_iter``.
    l1_penalty_ : float
        The penalty in units of W.

    See Also
    --------
    scprograms.tl.semi_nmf : the same on AnnData.

    References
    ----------
    .. [1] Ding, Li & Jordan (2010), IEEE TPAMI 32:45, https://doi.org/10.1109/TPAMI.2008.277
    .. [2] Gillis & Kumar (2015), SIAM J. Matrix Anal. Appl. 36:1404, https://doi.org/10.1137/140993272

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.programs.engine import SemiNMF
    >>> rng = np.random.default_rng(0)
    >>> X = rng.gamma(0.3, size=(200, 3)) @ rng.normal(size=(3, 20)) + 0.5 * rng.normal(size=(200, 20))
    >>> model = SemiNMF(3, random_state=0)
    >>> W = model.fit_transform(X)
    >>> W.shape, model.components_.shape, bool((W >= 0).all())
    ((200, 3), (3, 20), True)
    >>> bool(model.error_ratio_ < 1.01)
    True
    """

    def __init__(
        self,
        n_components: int = 10,
        *,
        init: Init | Array = "varimax",
        solver: Literal["hals", "mu"] = "hals",
        l1: float = 0.02,
        center: Literal["mean", "control"] | None = None,
        scale: bool = False,
        fit_intercept: bool | None = None,
        max_iter: int = 100,
        tol: float = 1e-4,
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.solver = solver
        self.l1 = l1
        self.center = center
        self.scale = scale
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit_transform(
        self,
        X: Source,
        y: None = None,  # noqa: ARG002
        *,
        W: FloatArray | None = None,
        H: FloatArray | None = None,
        control: Array | None = None,
    ) -> FloatArray:
        """Fit the model and return the usages.

        Parameters
        ----------
        X
            n_obs x n_features: array, CSR, CSC, or a dask array of them in chunks of rows; float32 stays float32.
        y
            Ignored.
        W, H
            A factor to keep as it is (n_obs x k, or k x n_features); only the other one is then found.
        control
            Boolean mask of the control cells, for ``center="control"``.

        Returns
        -------
        W, n_obs x k, in the dtype of X.

        Raises
        ------
        ValueError
            If a parameter or factor is out of range, or X has NaN or infinite entries, or no signal.
        """
        self._check_params()
        if W is not None and H is not None:
            msg = "W and H are both given: leave out the factor that is to be found."
            raise ValueError(msg)
        X = self._wrapped(X)
        rng = checks.generator(self.random_state)
        expected: dict[str, Any] = {}
        if isinstance(X, DaskOperator):
            mask = checks.control_mask(control, self.center, X.shape[0])
            rows = None if mask is None else np.flatnonzero(mask)
            expected = {"sketch_rank": sketch_rank(self.n_components), "unscaled": not self.scale, "rows": rows}
        X = self._validated(X, reset=True, rng=rng, **expected)
        control = checks.control_mask(control, self.center, X.shape[0])
        run = Factorizer(
            n_components=self.n_components,
            init=self.init,
            solver=self.solver,
            l1=self.l1,
            max_iter=self.max_iter,
            tol=self.tol,
            intercept=wants_intercept(X, fit_intercept=self.fit_intercept, center=self.center, scale=self.scale),
            rng=rng,
            verbose=self.verbose,
        )
        if isinstance(self.init, str) and self.init == "nmf" and (run.intercept or self.center is not None):
            msg = (
                "init='nmf' starts from non-negative data as they are, but there are negative values, center or scale, "
                "or fit_intercept=True: leave those out, or choose another init."
            )
            raise ValueError(msg)
        with threads(self.n_jobs):
            center, scale = moments(X, center=self.center, scale=self.scale, control=control)
            prepared = prepare(X, center, scale, intercept=run.intercept)
            if W is not None:
                fit = run.fit_given_usages(prepared.op, W)
            elif H is not None:
                fit = run.fit_given_loadings(prepared.op, H)
            else:
                fit = run.fit(prepared.op)
            usages = self._keep(prepared, run, fit, ordered=W is None and H is None)
        log_readings(X, "Semi-NMF")
        if not self.converged_ and self.tol > 0:
            msg = (
                f"The error still changed by more than tol={self.tol} of it after max_iter={self.max_iter} sweeps: "
                "raise max_iter or tol."
            )
            warnings.warn(msg, ConvergenceWarning, stacklevel=2)
        return usages

    def loadings_of(self, X: Source, W: FloatArray, *, control: Array | None = None) -> dict[str, FloatArray]:
        """Return loadings and baseline by least squares for columns that need not have been in the fit.

        Parameters
        ----------
        X
            n_obs x any number of columns, of the same cells as W.
        W
            Usages, n_obs x k.
        control
            As in ``fit_transform``.

        Returns
        -------
        ``loadings`` (k x n_columns), and ``baseline``, ``center`` and ``scale`` (n_columns).
        """
        check_is_fitted(self)
        X = self._wrapped(X)
        control = checks.control_mask(control, self.center, X.shape[0])
        expect(X, rows=None if control is None else np.flatnonzero(control))
        with threads(self.n_jobs):
            center, scale = moments(X, center=self.center, scale=self.scale, control=control)
            prepared = prepare(X, center, scale, intercept=self.intercept_)
            found = fit_loadings(prepared.op, W, intercept=self.intercept_)
        return {
            "loadings": found.H.astype(W.dtype),
            "baseline": found.baseline + prepared.shift,
            "center": center,
            "scale": scale,
        }

    def _check_params(self) -> None:
        checks.positive_int("n_components", self.n_components)
        checks.positive_int("max_iter", self.max_iter)
        checks.non_negative("l1", self.l1)
        checks.non_negative("tol", self.tol)
        checks.one_of("solver", self.solver, ("hals", "mu"))
        checks.one_of("center", self.center, (None, "mean", "control"))
        checks.one_of("scale", self.scale, (True, False))
        checks.one_of("fit_intercept", self.fit_intercept, (None, True, False))
        if isinstance(self.init, str):
            checks.one_of("init", self.init, (*STARTS, "nmf"))
        resolve_n_jobs(self.n_jobs)

    def _keep(self, prepared: Prepared, run: Factorizer, fit: Fit, *, ordered: bool) -> FloatArray:
        """Set the fitted attributes, and return W with its programs in their final order."""
        W, H, op = fit.W, fit.loadings.H, prepared.op
        variance = column_variances(W) * np.square(H).sum(axis=1)
        spread = float(op.squared_deviations(op.column_sums() / op.shape[0]).sum()) / op.shape[0]
        order = order_of_programs(variance, H) if ordered else np.arange(len(variance))
        self.n_components_ = self.n_components
        self.intercept_ = run.intercept
        self.components_ = H[order].astype(W.dtype)
        self.baseline_ = fit.loadings.baseline + prepared.shift
        self.center_, self.scale_ = prepared.center, prepared.scale
        self.variance_explained_ = variance[order] / (spread if spread > 0 else 1.0)
        self.error_, self.error_bound_ = run.history[-1][1], run.bound
        self.error_ratio_ = float("nan") if run.exact else self.error_ / run.bound
        self.history_, self.n_iter_, self.l1_penalty_ = run.history, run.n_iter, run.penalty
        self.converged_ = fit.converged
        return np.ascontiguousarray(W[:, order])
