"""Orthogonal NMF: non-negative usages, non-negative loadings, and every gene in at most one program."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from scprograms._core import checks
from scprograms._core.operators.dispatch import as_operator
from scprograms._core.operators.prepare import Readable, Source, check_non_negative, log_readings
from scprograms._core.progress import progress_bar
from scprograms._core.threads import resolve_n_jobs, threads

from ._base import ProgramEstimator, column_variances, order_of_programs
from ._factorize import Factorizer, sketch_rank
from ._onmf_solvers import (
    deal_compressed,
    deal_genes,
    dealt_out,
    error_of_usages,
    loadings_in_one_program,
    multiply,
    off_diagonal,
    positive_factors,
    random_factors,
    random_genes,
    rotated_loadings,
    unit_columns,
    unit_loadings,
    without_strangers,
)

if TYPE_CHECKING:
    from scprograms._core.matrix import Array, FloatArray
    from scprograms._core.operators.protocol import MatrixOperator

SOLVERS = ("em", "mu")
STARTS = ("varimax", "random")
DEFAULT_TOL = {"em": 1e-6, "mu": 1e-4}


class OrthogonalNMF(ProgramEstimator):
    """Orthogonal NMF: ``X ~ W H`` with usages W >= 0, loadings H >= 0 and ``H H' = I``.

    Non-negative rows that are orthogonal share no gene, so every gene belongs to at most one program. The default
    solver alternates between dealing out the genes and fitting each program to its own [1]_: on the compressed matrix
    first, then on the matrix itself, where no round raises the error. The best usages for given loadings are ``X H'``.

    Parameters
    ----------
    n_components
        Number of programs k; at most the smaller side of X.
    init
        Start: ``"varimax"`` (default; right singular vectors in simple structure), ``"random"`` (k genes drawn; for
        ``solver="mu"`` uniform factors), or usages as an array n_obs x k.
    solver
        ``"em"`` (default), or ``"mu"``: multiplicative updates that draw H towards orthogonality [2]_, with square
        roots, without which the error alternates. They do not arrive there, so their result is hardened: each gene goes
        to the program with the largest of its loadings (of rows with unit norm), and each program is then fitted to its
        genes. ``orthogonality_`` tells how far from orthogonal H was before.
    min_share
        A gene of whose sum of squares its program explains less than this share gets a loading of 0 and no program
        (``labels_`` is -1), as does a gene that no cell using a program expresses. A program keeps its best gene.
    max_iter
        Largest number of rounds on the compressed matrix, and again on the matrix itself.
    tol
        Rounds end once one changes the error by less than this share of it. None means 1e-6 for ``"em"`` and 1e-4 for
        ``"mu"``.
    random_state
        Seed of the sketch and of random starts: an int, a Generator, a RandomState or None.
    n_jobs
        Number of threads; None means all. It never changes the result.
    verbose
        Show a progress bar.

    Attributes
    ----------
    components_ : ndarray, k x n_features
        H; rows have unit L2 norm and are ordered by the variance that their programs explain.
    labels_ : ndarray, n_features
        The program of each gene, or -1.
    orthogonality_ : float
        Frobenius norm of the off-diagonal part of ``H H'`` for rows of unit norm, before genes were dealt out: 0 for
        ``solver="em"``, where they always are.
    variance_explained_ : ndarray, k
        Share of the variance of X in each program's term alone.
    error_, error_bound_, error_ratio_ : float
        Frobenius norm of the residual, that of the truncated SVD (which orthogonal NMF need not attain), and their
        ratio.
    history_ : list of (stage, error)
        Error after each round, and at the end; the stage is ``"compressed"`` or ``"full"``. The rounds of
        ``solver="mu"`` are those before the hardening, which raises the error.
    n_iter_, converged_
        Number of rounds, and whether ``tol`` was reached on the matrix itself.
    tol_
        ``tol``, or the solver's default where it is None.

    See Also
    --------
    scprograms.tl.onmf : the same on AnnData.

    References
    ----------
    .. [1] Pompili, Gillis, Absil & Glineur (2014), Neurocomputing 141:15, https://doi.org/10.1016/j.neucom.2014.02.018
    .. [2] Ding, Li, Peng & Park (2006), KDD 2006:126, https://doi.org/10.1145/1150402.1150420

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.programs.engine import OrthogonalNMF
    >>> rng = np.random.default_rng(0)
    >>> H = np.kron(np.eye(3), rng.uniform(0.5, 1.5, size=8))
    >>> X = rng.gamma(0.3, size=(200, 3)) @ H + 0.01 * rng.random((200, 24))
    >>> model = OrthogonalNMF(3, random_state=0)
    >>> W = model.fit_transform(X)
    >>> bool(np.allclose(model.components_ @ model.components_.T, np.eye(3)))
    True
    >>> np.bincount(model.labels_)
    array([8, 8, 8])
    """

    genes_are_disjoint = True
    chunked_solver = "em"

    def __init__(
        self,
        n_components: int = 10,
        *,
        init: Literal["varimax", "random"] | Array = "varimax",
        solver: Literal["em", "mu"] = "em",
        min_share: float = 0.01,
        max_iter: int = 200,
        tol: float | None = None,
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.solver = solver
        self.min_share = min_share
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit_transform(self, X: Source, y: None = None) -> FloatArray:  # noqa: ARG002
        """Fit the model and return the usages.

        Parameters
        ----------
        X
            n_obs x n_features, non-negative: array, CSR, CSC, or a dask array of them in chunks of rows.
        y
            Ignored.

        Returns
        -------
        W, n_obs x k, in the dtype of X.

        Raises
        ------
        ValueError
            If a parameter is out of range, there are more programs than cells, genes, or genes with a signal, or X has
            negative, NaN or infinite entries, or no signal.
        """
        self._check_params()
        with threads(self.n_jobs):
            rng = checks.generator(self.random_state)
            X = self._validated(X, reset=True, sketch_rank=sketch_rank(self.n_components), rng=rng)
            usages = self.fit_operator(as_operator(X), rng)
        if not self.converged_ and self.tol_ > 0:
            msg = f"tol={self.tol_} was not reached within max_iter={self.max_iter} rounds: raise max_iter or tol."
            warnings.warn(msg, ConvergenceWarning, stacklevel=2)
        return usages

    def fit_operator(self, op: MatrixOperator, rng: np.random.Generator) -> FloatArray:
        """Fit what has the products of a matrix, unchecked and on the threads of the context; return the usages."""
        self.tol_ = tol = DEFAULT_TOL[self.solver] if self.tol is None else float(self.tol)
        squares = op.squared_deviations(np.zeros(op.shape[1]))
        self._check_rank(op.shape, int(np.count_nonzero(squares)))
        run = Factorizer(
            n_components=self.n_components,
            init="varimax",
            solver=self.solver,
            l1=0.0,
            max_iter=self.max_iter,
            tol=tol,
            intercept=False,
            rng=rng,
        )
        with progress_bar(desc="oNMF", unit="round", shown=self.verbose, delay=1) as bar:
            usages = self._keep(op, run, self._solve(op, squares, run, bar))
        log_readings(op, "Orthogonal NMF")
        return usages

    def transform(self, X: Source) -> FloatArray:
        """Return the usages of the fitted programs in new rows, ``max(0, X H')``: the exact least squares solution."""
        check_is_fitted(self)
        with threads(self.n_jobs):
            return self._usages(as_operator(self._validated(X, reset=False)))

    def loadings_of(self, X: Source, W: FloatArray) -> dict[str, FloatArray]:
        """Return the loadings of columns that need not have been in the fit, each in the program that fits it best.

        Parameters
        ----------
        X
            n_obs x any number of columns, non-negative, of the same cells as W.
        W
            Usages, n_obs x k.

        Returns
        -------
        ``loadings`` (k x n_columns; at most one in a column, by least squares, or none by the rule of ``min_share``),
        and ``baseline``, ``center`` and ``scale`` (n_columns), which are 0, 0 and 1.
        """
        check_is_fitted(self)
        check_non_negative(X := self._wrapped(X))
        with threads(self.n_jobs):
            Ht = loadings_in_one_program(as_operator(X), W, min_share=self.min_share)
        zeros, ones = np.zeros(len(Ht)), np.ones(len(Ht))
        return {"loadings": Ht.T.astype(W.dtype), "baseline": zeros, "center": zeros, "scale": ones}

    def _check_params(self) -> None:
        checks.positive_int("n_components", self.n_components)
        checks.positive_int("max_iter", self.max_iter)
        checks.one_of("solver", self.solver, SOLVERS)
        if checks.non_negative("min_share", self.min_share) > 1:
            msg = f"min_share={self.min_share} is not possible: a share is at most 1."
            raise ValueError(msg)
        checks.non_negative("tol", 0.0 if self.tol is None else self.tol)
        if isinstance(self.init, str):
            checks.one_of("init", self.init, STARTS)
        resolve_n_jobs(self.n_jobs)

    def _check_rank(self, shape: tuple[int, int], n_with_signal: int) -> None:
        k, (n_obs, n_vars) = self.n_components, shape
        if k > min(n_obs, n_with_signal):
            msg = (
                f"n_components={k} is too large for n_samples={n_obs} and n_features={n_vars}, {n_with_signal} of them "
                f"with a signal: every program needs a gene of its own. Pass at most {min(n_obs, n_with_signal)}."
            )
            raise ValueError(msg)

    def _validated(self, X: Source, *, reset: bool, **expected: Any) -> Readable:
        X = super()._validated(X, reset=reset, **expected)
        check_non_negative(X)
        return X

    def _solve(self, op: MatrixOperator, squares: FloatArray, run: Factorizer, bar: Any) -> FloatArray:
        """Return H transposed, and set ``converged_`` and ``orthogonality_``."""

        def record(stage: str, error: float) -> None:
            run.history.append((stage, error))
            run.n_iter += 1
            bar.update()

        on_full = partial(record, "full")
        options: dict[str, Any] = {"max_iter": self.max_iter, "tol": run.tol}
        k, compression = self.n_components, run.sketch(op)
        Ht: FloatArray
        if not isinstance(self.init, str):
            W = checks.factor("init", self.init, (op.shape[0], k), op.dtype, signed=False)
            Ht = op.rmatmul(unit_columns(W)).astype(np.float64)
        elif self.init == "varimax":
            Ht = rotated_loadings(compression, k, rng=run.rng)
        elif self.solver == "em":
            Ht = random_genes(compression, k, rng=run.rng)
        else:
            W, Ht = random_factors(op.shape, k, rng=run.rng)
        if self.solver == "em":
            Ht = deal_compressed(
                compression,
                unit_loadings(*dealt_out(unit_columns(Ht), squares), k),
                squared_norm=run.squared_norm,
                on_round=partial(record, "compressed"),
                **options,
            )
            del compression
            Ht, explained, self.converged_ = deal_genes(op, Ht, squares=squares, on_round=on_full, **options)
            self.orthogonality_ = 0.0
        else:
            if not isinstance(self.init, str) or self.init == "varimax":
                W, Ht = positive_factors(op, Ht)
            Ht, self.converged_ = multiply(op, W, Ht, squared_norm=run.squared_norm, on_round=on_full, **options)
            self.orthogonality_ = off_diagonal(Ht)
            Ht = unit_loadings(*dealt_out(unit_columns(Ht), squares), k)
            options["tol"] = DEFAULT_TOL["em"]
            Ht, explained, _ = deal_genes(op, Ht, squares=squares, on_round=lambda _: None, fixed=True, **options)
        shares = np.divide(explained, squares, out=np.zeros_like(squares), where=squares > 0)
        return without_strangers(Ht, shares, self.min_share)

    def _usages(self, op: MatrixOperator) -> FloatArray:
        return np.maximum(op.matmul(self.components_.T), 0)

    def _keep(self, op: MatrixOperator, run: Factorizer, Ht: FloatArray) -> FloatArray:
        """Set the fitted attributes, and return the usages that transform() gives the same cells."""
        n_obs, n_vars = op.shape
        self.n_components_ = self.n_components
        self.baseline_, self.center_, self.scale_ = np.zeros(n_vars), np.zeros(n_vars), np.ones(n_vars)
        self.l1_penalty_ = 0.0
        self.components_ = np.ascontiguousarray(Ht.T).astype(op.dtype)
        usages = self._usages(op)
        variance = column_variances(usages)
        order = order_of_programs(variance, self.components_)
        usages, self.components_ = np.ascontiguousarray(usages[:, order]), self.components_[order]
        self.labels_ = np.where(self.components_.any(axis=0), self.components_.argmax(axis=0), -1)
        spread = float(op.squared_deviations(op.column_sums() / n_obs).sum()) / n_obs
        self.variance_explained_ = variance[order] / (spread if spread > 0 else 1.0)
        self.error_, self.error_bound_ = error_of_usages(run.squared_norm, usages), run.bound
        self.error_ratio_ = float("nan") if run.exact else self.error_ / run.bound
        self.history_, self.n_iter_ = [*run.history, ("full", self.error_)], run.n_iter
        return usages

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags
