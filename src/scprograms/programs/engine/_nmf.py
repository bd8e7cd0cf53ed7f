"""NMF: non-negative usages, non-negative loadings."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import sparse
from sklearn.decomposition import non_negative_factorization
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from scprograms._core import checks
from scprograms._core.operators.dask import DaskOperator
from scprograms._core.operators.dispatch import as_operator
from scprograms._core.operators.in_memory import LowRankOperator
from scprograms._core.operators.prepare import Readable, Source, check_non_negative, log_readings
from scprograms._core.progress import progress_bar
from scprograms._core.threads import resolve_n_jobs, threads

from ._base import ProgramEstimator, column_variances, order_of_programs
from ._factorize import Factorizer, sketch_rank
from ._nmf_solvers import alternate_non_negative, alternate_projected_gradient, non_negative_start, solve_loadings
from ._solvers import NNLS_SWEEPS, NNLS_TOL, error_of, with_explained
from ._starts import STARTS

if TYPE_CHECKING:
    from scprograms._core.matrix import Array, FloatArray
    from scprograms._core.operators.protocol import MatrixOperator

SOLVERS = ("hals", "cd", "mu", "lsnmf")
LOSSES = ("frobenius", "kullback-leibler")
DEFAULT_TOL = {"hals": 2e-3, "cd": 1e-4, "mu": 1e-4, "lsnmf": 1e-4}
FLOOR = 0.01


class NMF(ProgramEstimator):
    """NMF: ``X ~ W H`` with usages W >= 0 and loadings H >= 0.

    All solvers begin at the same start: that of semi-NMF, which knows no local minima to speak of, with its loadings
    clipped at 0. The default solver sweeps over the compressed matrix first and completes on the matrix itself.

    Parameters
    ----------
    n_components
        Number of programs k.
    init
        Start, as in ``SemiNMF``: ``"varimax"`` (default), ``"svd"``, ``"kmeans"``, ``"nndsvd"``, ``"random"``, or
        usages as an array n_obs x k.
    solver
        ``"hals"`` (default; sparse and threaded), ``"cd"`` or ``"mu"`` (scikit-learn's coordinate descent and
        multiplicative updates), or ``"lsnmf"`` (alternating least squares by projected gradient [1]_).
    loss
        ``"frobenius"``, or ``"kullback-leibler"`` with ``solver="mu"``.
    max_iter
        Largest number of sweeps, over the compressed matrix and then over the matrix itself.
    tol
        When to stop. ``"hals"``: a sweep changes the loadings (as rows of unit norm, in the Frobenius norm) and the
        error by less than this share of them (default 2e-3); asked as in ``SemiNMF``. ``"cd"`` and ``"mu"``: as in
        scikit-learn (1e-4); ``"lsnmf"``: the projected gradient falls below this share of the first one (1e-4).
    random_state
        Seed of the sketch and of random starts.
    n_jobs
        Number of threads; None means all. It never changes the result.
    verbose
        Show a progress bar.

    Attributes
    ----------
    components_ : ndarray, k x n_features
        H; rows have unit L2 norm and are ordered by the variance that their programs explain.
    variance_explained_ : ndarray, k
        Share of the variance of X in each program's term alone.
    error_, error_bound_, error_ratio_ : float
        Frobenius norm of the residual, that of the truncated SVD (which NMF need not attain), and their ratio.
    history_ : list of (stage, error)
        Error after each sweep, and at the end; the stage is ``"compressed"`` or ``"full"``. Scikit-learn's solvers
        report the end only.
    n_iter_, converged_
        Number of sweeps, and whether ``tol`` was reached.
    tol_
        ``tol``, or the solver's default where it is None.

    See Also
    --------
    scprograms.tl.nmf : the same on AnnData.

    References
    ----------
    .. [1] Lin (2007), Neural Computation 19:2756, https://doi.org/10.1162/neco.2007.19.10.2756

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.programs.engine import NMF
    >>> rng = np.random.default_rng(0)
    >>> X = rng.gamma(0.3, size=(200, 3)) @ rng.gamma(0.3, size=(3, 20)) + 0.01 * rng.random((200, 20))
    >>> model = NMF(3, random_state=0)
    >>> W = model.fit_transform(X)
    >>> bool((W >= 0).all() and (model.components_ >= 0).all())
    True
    """

    def __init__(
        self,
        n_components: int = 10,
        *,
        init: str | Array = "varimax",
        solver: Literal["hals", "cd", "mu", "lsnmf"] = "hals",
        loss: Literal["frobenius", "kullback-leibler"] = "frobenius",
        max_iter: int = 200,
        tol: float | None = None,
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.solver = solver
        self.loss = loss
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit_transform(self, X: Source, y: None = None, *, H: FloatArray | None = None) -> FloatArray:  # noqa: ARG002
        """Fit the model and return the usages.

        Parameters
        ----------
        X
            n_obs x n_features, non-negative: array, CSR, CSC or, for ``solver="hals"``, a dask array of them in chunks
            of rows; float32 stays float32.
        y
            Ignored.
        H
            Loadings to keep but for their norm and order (k x n_features); only the usages are then found.

        Returns
        -------
        W, n_obs x k, in the dtype of X.

        Raises
        ------
        ValueError
            If a parameter is out of range, or X has negative, NaN or infinite entries, or no signal.
        """
        self._check_params()
        rng = checks.generator(self.random_state)
        X = self._validated(X, reset=True, sketch_rank=sketch_rank(self.n_components), rng=rng)
        self.tol_ = tol = DEFAULT_TOL[self.solver] if self.tol is None else float(self.tol)
        run = Factorizer(
            n_components=self.n_components,
            init=self.init,
            solver="hals",
            l1=0.0,
            max_iter=self.max_iter,
            tol=tol,
            intercept=False,
            rng=rng,
        )
        with (
            threads(self.n_jobs),
            progress_bar(desc="NMF", unit="sweep", shown=self.verbose, delay=1) as bar,
        ):
            op = as_operator(X)
            if H is None:
                H = self._solve(op, X, run, tol, bar)
            else:
                H = checks.factor("H", H, (self.n_components, op.shape[1]), op.dtype, signed=False)
                run.sketch(op)
                self.converged_ = True
            usages = self._keep(op, X, H, run)
        log_readings(X, "NMF")
        if not self.converged_ and tol > 0:
            msg = f"tol={tol} was not reached within max_iter={self.max_iter} sweeps: raise max_iter or tol."
            warnings.warn(msg, ConvergenceWarning, stacklevel=2)
        return usages

    def transform(self, X: Source) -> FloatArray:
        """Return the usages of the fitted programs in new rows, for the loss of the fit and to convergence."""
        if self.loss == "frobenius":
            return super().transform(X)
        check_is_fitted(self)
        return self._usages_by_divergence(self._validated(X, reset=False), self.components_)

    def loadings_of(self, X: Source, W: FloatArray) -> dict[str, FloatArray]:
        """Return loadings for columns that need not have been in the fit, for its loss and to convergence.

        Parameters
        ----------
        X
            n_obs x any number of columns, non-negative, of the same cells as W.
        W
            Usages, n_obs x k.

        Returns
        -------
        ``loadings`` (k x n_columns, non-negative), and ``baseline``, ``center`` and ``scale`` (n_columns), which are 0,
        0 and 1.
        """
        check_is_fitted(self)
        X = self._wrapped(X)
        check_non_negative(X)
        with threads(self.n_jobs):
            if self.loss == "frobenius" or isinstance(X, DaskOperator):  # "mu" takes no dask array
                H = solve_loadings(as_operator(X), W)
            else:
                H = self._usages_by_divergence(X.T.astype(W.dtype), W.T).T
        n_vars = X.shape[1]
        return {
            "loadings": H.astype(W.dtype),
            "baseline": np.zeros(n_vars),
            "center": np.zeros(n_vars),
            "scale": np.ones(n_vars),
        }

    def _check_params(self) -> None:
        checks.positive_int("n_components", self.n_components)
        checks.positive_int("max_iter", self.max_iter)
        checks.one_of("solver", self.solver, SOLVERS)
        checks.one_of("loss", self.loss, LOSSES)
        if self.tol is not None:
            checks.non_negative("tol", self.tol)
        if isinstance(self.init, str):
            checks.one_of("init", self.init, STARTS)
        if self.loss != "frobenius" and self.solver != "mu":
            msg = f"loss={self.loss!r} needs solver='mu', not solver={self.solver!r}."
            raise ValueError(msg)
        resolve_n_jobs(self.n_jobs)

    def _validated(self, X: Source, *, reset: bool, **expected: Any) -> Readable:
        X = super()._validated(X, reset=reset, **expected)
        check_non_negative(X)
        return X

    def _solve(self, op: MatrixOperator, X: Readable, run: Factorizer, tol: float, bar: Any) -> FloatArray:
        """Return H, and set ``converged_``."""

        def record(stage: str, error: float) -> None:
            run.history.append((stage, error))
            run.n_iter += 1
            bar.update()

        compression, W = run.start(op)
        H = non_negative_start(compression, W, run.squared_norm)
        options: dict[str, Any] = {"squared_norm": run.squared_norm, "max_iter": self.max_iter, "tol": tol}
        if self.solver == "hals":
            compressed = LowRankOperator(compression.Y, compression.V)
            H, _ = alternate_non_negative(compressed, W, H, on_sweep=partial(record, "compressed"), **options)
            del compressed
        del compression  # larger than W, and done with
        if self.solver == "hals":
            H, self.converged_ = alternate_non_negative(op, W, H, on_sweep=partial(record, "full"), **options)
        elif self.solver == "lsnmf":
            _, H, self.converged_ = alternate_projected_gradient(op, W, H, on_sweep=partial(record, "full"), **options)
        else:
            if self.solver == "mu":  # what is zero stays zero under multiplication
                W, H = (np.maximum(F, FLOOR * F.mean()) for F in (W, H))
            _, H, run.n_iter = self._scikit_learn(X, W, H, tol=tol, max_iter=self.max_iter)
            self.converged_ = run.n_iter < self.max_iter
        return H

    def _scikit_learn(
        self, X: Readable, W: FloatArray | None, H: FloatArray, *, tol: float, max_iter: int
    ) -> tuple[FloatArray, FloatArray, int]:
        """Run scikit-learn's solver of that name from a given start; without W, H is kept as it is."""
        if sparse.issparse(X):
            X = X.tocsr()
            if not X.has_canonical_format:  # duplicate entries would enter the divergence one by one
                X = X.copy()
                X.sum_duplicates()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # ours names its own arguments
            found: tuple[FloatArray, FloatArray, int] = non_negative_factorization(
                X,
                W=None if W is None else np.ascontiguousarray(W, dtype=X.dtype),
                H=np.ascontiguousarray(H, dtype=X.dtype),
                n_components=self.n_components,
                init=None if W is None else "custom",
                update_H=W is not None,
                solver=self.solver,
                beta_loss=self.loss,
                tol=tol,
                max_iter=max_iter,
            )
        return found

    def _usages_by_divergence(self, X: Readable, H: FloatArray) -> FloatArray:
        with threads(self.n_jobs):
            return self._scikit_learn(X, None, H, tol=NNLS_TOL, max_iter=NNLS_SWEEPS)[0]

    def _keep(self, op: MatrixOperator, X: Readable, H: FloatArray, run: Factorizer) -> FloatArray:
        """Set the fitted attributes, and return the usages that transform() gives the same cells."""
        n_obs, n_vars = op.shape
        norms = np.linalg.norm(H.astype(np.float64), axis=1, keepdims=True)
        self.n_components_ = self.n_components
        self.components_ = (H / np.where(norms > 0, norms, 1)).astype(op.dtype)
        self.baseline_, self.center_, self.scale_ = np.zeros(n_vars), np.zeros(n_vars), np.ones(n_vars)
        self.l1_penalty_ = 0.0

        usages = self.transform(X)
        variance = column_variances(usages)
        order = order_of_programs(variance, self.components_)
        usages, self.components_ = np.ascontiguousarray(usages[:, order]), self.components_[order]
        spread = float(op.squared_deviations(op.column_sums() / n_obs).sum()) / n_obs
        self.variance_explained_ = variance[order] / (spread if spread > 0 else 1.0)

        loadings = self.components_.astype(np.float64)
        self.error_ = error_of(run.squared_norm, with_explained(op, usages, loadings, self.baseline_))
        self.error_bound_ = run.bound
        self.error_ratio_ = float("nan") if run.exact else self.error_ / run.bound
        self.history_, self.n_iter_ = [*run.history, ("full", self.error_)], run.n_iter
        return usages

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags
