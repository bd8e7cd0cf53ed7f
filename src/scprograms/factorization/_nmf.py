"""NMF: non-negative usages, non-negative loadings."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import non_negative_factorization
from sklearn.exceptions import ConvergenceWarning
from tqdm.auto import tqdm

from . import _checks
from ._base import ProgramEstimator, column_variances
from ._factorize import Factorizer
from ._nmf_solvers import alternate_non_negative, alternate_projected_gradient, non_negative_start
from ._operators import DenseOperator, LowRankOperator, MatrixOperator, as_operator
from ._parallel import resolve_n_jobs, threads
from ._prepare import Matrix, has_negative
from ._solvers import error_of, unit_rows, with_explained
from ._starts import STARTS

SOLVERS = ("hals", "cd", "mu", "lsnmf")
LOSSES = ("frobenius", "kullback-leibler")
DEFAULT_TOL = {"hals": 1e-6, "cd": 1e-4, "mu": 1e-4, "lsnmf": 1e-4}
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
        Largest number of sweeps.
    tol
        When to stop. ``"hals"``: a sweep changes the error by less than this share of it (default 1e-6); ``"cd"`` and
        ``"mu"``: as in scikit-learn (1e-4); ``"lsnmf"``: the projected gradient falls below this share of the first
        one (1e-4).
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

    References
    ----------
    .. [1] Lin (2007), Neural Computation 19:2756, https://doi.org/10.1162/neco.2007.19.10.2756

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.factorization import NMF
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
        init: str | NDArray = "varimax",
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

    def fit_transform(self, X: Matrix, y: None = None) -> NDArray:  # noqa: ARG002
        """Fit the model and return the usages.

        Parameters
        ----------
        X
            n_obs x n_features, non-negative: array, CSR or CSC; float32 stays float32.
        y
            Ignored.

        Returns
        -------
        W, n_obs x k, in the dtype of X.

        Raises
        ------
        ValueError
            If a parameter is out of range, or X has negative, NaN or infinite entries, or no signal.
        """
        self._check_params()
        X = self._validated(X, reset=True)
        _check_non_negative(X)
        tol = DEFAULT_TOL[self.solver] if self.tol is None else self.tol
        with threads(self.n_jobs):
            run = Factorizer(
                n_components=self.n_components,
                init=self.init,
                solver="hals",
                l1=0.0,
                max_iter=self.max_iter,
                tol=tol,
                intercept=False,
                rng=_checks.generator(self.random_state),
            )
            op = as_operator(X)
            compression, W = run.start(op)
            compressed = LowRankOperator(compression.Y, compression.V)
            H = non_negative_start(DenseOperator(compression.Y), compression.V, W, run.squared_norm)
            with tqdm(
                total=self.max_iter, desc="NMF", unit="sweep", disable=not self.verbose, delay=1, leave=False
            ) as bar:
                W, H, self.converged_ = self._solve(op, compressed, X, W, H, tol, run, bar)
            self._keep(W, H)
            usages = self.transform(X)
            self._describe(op, usages, run)
        if not self.converged_ and tol > 0:
            msg = f"tol={tol} was not reached within max_iter={self.max_iter} sweeps: raise max_iter or tol."
            warnings.warn(msg, ConvergenceWarning, stacklevel=2)
        return usages

    def transform(self, X: Matrix) -> NDArray:
        """Return the usages of the fitted programs in new rows, for the loss of the fit and to convergence."""
        if self.loss == "frobenius":
            return super().transform(X)
        X = self._validated(X, reset=False)
        _check_non_negative(X)
        return self._scikit_learn(X, None, self.components_, 1e-6, update_H=False)[0]

    def _check_params(self) -> None:
        _checks.positive_int("n_components", self.n_components)
        _checks.positive_int("max_iter", self.max_iter)
        _checks.one_of("solver", self.solver, SOLVERS)
        _checks.one_of("loss", self.loss, LOSSES)
        if self.tol is not None:
            _checks.non_negative("tol", self.tol)
        if isinstance(self.init, str):
            _checks.one_of("init", self.init, STARTS)
        if self.loss != "frobenius" and self.solver != "mu":
            msg = f"loss={self.loss!r} needs solver='mu', not solver={self.solver!r}."
            raise ValueError(msg)
        resolve_n_jobs(self.n_jobs)

    def _solve(
        self,
        op: MatrixOperator,
        compressed: LowRankOperator,
        X: Matrix,
        W: NDArray,
        H: NDArray,
        tol: float,
        run: Factorizer,
        bar: Any,
    ) -> tuple[NDArray, NDArray, bool]:
        def on_sweep(stage: str) -> Any:
            def record(error: float) -> None:
                run.history.append((stage, error))
                bar.update()

            return record

        common = {"squared_norm": run.squared_norm, "tol": tol}
        if self.solver == "hals":
            H, _ = alternate_non_negative(
                compressed, W, H, max_iter=self.max_iter, on_sweep=on_sweep("compressed"), **common
            )
            H, converged = alternate_non_negative(op, W, H, max_iter=self.max_iter, on_sweep=on_sweep("full"), **common)
            return W, H, converged
        if self.solver == "lsnmf":
            return alternate_projected_gradient(op, W, H, max_iter=self.max_iter, on_sweep=on_sweep("full"), **common)
        W, H, n_iter = self._scikit_learn(X, W, H, tol)
        run.n_iter = n_iter
        return W, H, n_iter < self.max_iter

    def _scikit_learn(
        self, X: Matrix, W: NDArray | None, H: NDArray, tol: float, *, update_H: bool = True
    ) -> tuple[NDArray, NDArray, int]:
        if W is not None and self.solver == "mu":
            # What is zero stays zero under multiplication.
            W, H = (np.maximum(F, FLOOR * F.mean()) for F in (W, H))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # ours names its own arguments
            return non_negative_factorization(
                X.tocsr() if sparse.issparse(X) else X,
                W=None if W is None else np.ascontiguousarray(W, dtype=X.dtype),
                H=np.ascontiguousarray(H, dtype=X.dtype),
                n_components=self.n_components,
                init="custom" if update_H else None,
                update_H=update_H,
                solver=self.solver,
                beta_loss=self.loss,
                tol=tol,
                max_iter=self.max_iter,
            )

    def _keep(self, W: NDArray, H: NDArray) -> None:
        """Set H, its rows of unit norm and in order."""
        W, H = W.copy(), H.astype(np.float64)
        unit_rows(W, H)
        order = np.argsort(-column_variances(W), kind="stable")
        n_vars = H.shape[1]
        self.n_components_ = self.n_components
        self.components_ = H[order].astype(W.dtype)
        self.baseline_, self.center_, self.scale_ = np.zeros(n_vars), np.zeros(n_vars), np.ones(n_vars)
        self.l1_penalty_ = 0.0

    def _describe(self, op: MatrixOperator, W: NDArray, run: Factorizer) -> None:
        H = self.components_.astype(np.float64)
        error = error_of(run.squared_norm, with_explained(op, W, H, self.baseline_))
        run.history.append(("full", error))
        spread = float(op.squared_deviations(op.column_sums() / op.shape[0]).sum()) / op.shape[0]
        self.variance_explained_ = column_variances(W) / (spread if spread > 0 else 1.0)
        self.error_, self.error_bound_ = error, run.bound
        self.error_ratio_ = float("nan") if run.exact else error / run.bound
        self.history_, self.n_iter_ = run.history, max(run.n_iter, len(run.history) - 1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


def _check_non_negative(X: Matrix) -> None:
    if has_negative(X):
        values = X.data if sparse.issparse(X) else X
        msg = (
            f"Negative values in data: {int((values < 0).sum())} of {values.size}, the lowest is {values.min():g}. NMF "
            "needs non-negative data; use semi-NMF, or pass the data before centring and scaling."
        )
        raise ValueError(msg)
