"""One factorization of an operator, from the sketch to the last sweep."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scprograms._core import checks
from scprograms._core.operators.in_memory import LowRankOperator, SketchOperator
from scprograms._core.progress import is_look, progress_bar
from scprograms._core.sums import squared_norm
from scprograms._core.svd import Compression, compress
from scprograms._core.threads import for_blocks

from ._nmf_solvers import alternate_non_negative, non_negative_start
from ._solvers import (
    Fit,
    Loadings,
    alternate,
    error_of,
    fit_baseline,
    fit_loadings,
    root_mean_square,
    solve_usages,
    solve_usages_and_cross,
    sweeps_of,
    update_by_hals,
    update_by_multiplication,
    with_explained,
)
from ._starts import starting_usages

if TYPE_CHECKING:
    from scprograms._core.matrix import FloatArray
    from scprograms._core.operators.protocol import MatrixOperator

OVERSAMPLING = 10
NMF_START_SWEEPS = 200
NMF_START_TOL = 2e-3
NMF_START_ROWS = 4096  # so many cells say which programs there are; the others only need their usages
NMF_USAGE_SWEEPS = 10
POLISH_SWEEPS = 1
SKETCH_TOL = 1e-4
SKETCH_TOL_CLOSED_FORM = 1e-9


def sketch_rank(n_components: int) -> int:
    """Return the number of directions to sketch: some to spare, and whole vector registers for the kernels."""
    return -(-(n_components + OVERSAMPLING) // 16) * 16


@dataclass
class Factorizer:
    """The options of a semi-NMF and, as it goes on, what there is to say about it."""

    n_components: int
    init: str | FloatArray
    solver: str
    l1: float
    max_iter: int
    tol: float
    intercept: bool
    rng: np.random.Generator
    verbose: bool = False
    nmf_sweeps: int = NMF_START_SWEEPS
    """At most so many sweeps of the NMF behind ``init="nmf"``."""

    bound: float = float("nan")
    """Error of the truncated SVD: no factorization has less."""
    exact: bool = False
    """Whether X has rank k or less: the bound is then rounding error, and a ratio to it means nothing."""
    penalty: float = 0.0
    history: list[tuple[str, float]] = field(default_factory=list)
    n_iter: int = 0
    squared_norm: float = float("nan")

    def fit(self, op: MatrixOperator) -> Fit:
        """Sketch, start, sweep on the compressed matrix, and complete on the matrix itself."""
        with progress_bar(total=self.max_iter, desc="semi-NMF", unit="sweep", shown=self.verbose, delay=1) as bar:
            if self.solver == "mu":
                _, W = self.start(op)
                return self._alive(self._sweep("full", op, W, self.max_iter, self.tol, bar))
            rough = self.descend(op, bar)
        # Usages solved to the end for the final loadings: those that transform() gives the same cells.
        W, cross = solve_usages_and_cross(op, rough.loadings, penalty=self.penalty, start=rough.W)
        loadings = with_explained(op, W, rough.loadings.H, rough.loadings.baseline, cross=cross)
        self._record("full", error_of(self.squared_norm, loadings))
        return self._alive(Fit(W, loadings, converged=rough.converged))

    def descend(self, op: MatrixOperator, bar: Any = None) -> Fit:
        """Sketch, start and sweep: the final loadings, and usages that are one sweep behind them."""
        compression, W = self.start(op)
        compressed = SketchOperator(compression.Y)
        converged = self._sweep("compressed", compressed, W, self.max_iter, self.tol, bar).converged
        del compression, compressed  # as large as W and more, and done with
        return Fit(W, self._sweep("full", op, W, POLISH_SWEEPS, 0.0, bar).loadings, converged)

    def start(self, op: MatrixOperator) -> tuple[Compression, FloatArray]:
        """Return the sketch and the starting usages."""
        k, (n_obs, n_vars) = self.n_components, op.shape
        if k > min(n_obs, n_vars):
            checks.logger.warning("%d programs exceed the smaller side of the matrix (%d x %d).", k, n_obs, n_vars)
        compression = self.sketch(op)
        if not isinstance(self.init, str):
            return compression, checks.factor("init", self.init, (n_obs, k), op.dtype, signed=False)
        if self.init == "nmf":
            return compression, self._nmf_usages(compression)
        return compression, starting_usages(self.init, compression, k, intercept=self.intercept, rng=self.rng)

    def _nmf_usages(self, compression: Compression) -> FloatArray:
        """Return the usages of an NMF of the compressed matrix: programs of genes that go up, to be set free."""
        W = starting_usages("varimax", compression, self.n_components, intercept=False, rng=self.rng)
        if len(W) <= NMF_START_ROWS:
            self._fit_non_negative(compression, W)
            return W
        rows = np.sort(self.rng.choice(len(W), NMF_START_ROWS, replace=False))
        part = replace(compression, Y=np.ascontiguousarray(compression.Y[rows]))
        H = self._fit_non_negative(part, np.ascontiguousarray(W[rows]))
        whole = LowRankOperator(compression.Y, compression.V)
        sweeps = sweeps_of(Loadings(H, np.zeros(H.shape[1]), 0.0), W.dtype, penalty=0.0, n_sweeps=NMF_USAGE_SWEEPS)
        C = whole.matmul(H.T.astype(W.dtype))
        for_blocks(lambda start, stop: sweeps(C[start:stop], W[start:stop]), len(W))
        return W

    def _fit_non_negative(self, compression: Compression, W: FloatArray) -> FloatArray:
        """Fit an NMF from usages, in place, and return its loadings."""
        norm = float(np.einsum("ij,ij->", compression.Y, compression.Y, dtype=np.float64))
        H, _ = alternate_non_negative(
            LowRankOperator(compression.Y, compression.V),
            W,
            non_negative_start(compression, W, norm),
            squared_norm=norm,
            max_iter=self.nmf_sweeps,
            tol=NMF_START_TOL,
            on_sweep=lambda _: None,
        )
        return H

    def sketch(self, op: MatrixOperator) -> Compression:
        """Return the leading directions of the matrix, and set ``squared_norm``, ``bound`` and ``exact``."""
        self._set_norm(op)
        return self._compress(op)

    def _alive(self, fit: Fit) -> Fit:
        if not fit.W.any():
            init = repr(self.init) if isinstance(self.init, str) else "an array"
            msg = f"Every usage ended at 0 with l1={self.l1} and init={init}: lower l1, or start from another init."
            raise ValueError(msg)
        return fit

    def fit_given_usages(self, op: MatrixOperator, W: FloatArray) -> Fit:
        """Find the loadings for usages that are kept."""
        self._set_norm(op)
        W = checks.factor("W", W, (op.shape[0], self.n_components), op.dtype, signed=False)
        self._compress(op)
        fit = Fit(W, fit_loadings(op, W, intercept=self.intercept), converged=True)
        self._record("full", error_of(self.squared_norm, fit.loadings))
        return fit

    def fit_given_loadings(self, op: MatrixOperator, H: FloatArray) -> Fit:
        """Find the usages, and the baseline where there is one, for loadings that are kept."""
        self._set_norm(op)
        H = checks.factor("H", H, (self.n_components, op.shape[1]), np.dtype(float), signed=True)
        self._compress(op)
        loadings, converged, errors = Loadings(H, np.zeros(op.shape[1]), 0.0), False, [np.inf]
        while not converged and self.n_iter < self.max_iter:
            if self.penalty == 0 and self.l1 > 0:
                W = solve_usages(op, loadings, penalty=self.penalty)
                self.penalty = self.l1 * root_mean_square(W * np.linalg.norm(H, axis=1).astype(W.dtype))
            W, cross = solve_usages_and_cross(op, loadings, penalty=self.penalty)
            loadings = with_explained(op, W, H, fit_baseline(op, W, H, intercept=self.intercept), cross=cross)
            errors.append(error_of(self.squared_norm, loadings))
            self._record("full", errors[-1])
            self.n_iter += 1
            asked = is_look(self.n_iter) or self.n_iter == self.max_iter
            converged = not self.intercept or (asked and abs(errors[-2] - errors[-1]) <= self.tol * errors[-1])
        return Fit(W, loadings, converged=converged)

    def _set_norm(self, op: MatrixOperator) -> None:
        self.squared_norm = squared_norm(op)
        limits = np.finfo(op.dtype)
        if not self.squared_norm < float(limits.max):
            msg = f"X has values so large that its squared norm overflows in {op.dtype}: divide it by a constant."
            raise ValueError(msg)
        if self.squared_norm < float(limits.tiny):
            msg = (
                f"X has no signal: its columns are constant (n_samples = {op.shape[0]}), or its values so small that "
                f"its squared norm, {self.squared_norm:.1e}, underflows in {op.dtype}."
            )
            raise ValueError(msg)

    def _compress(self, op: MatrixOperator) -> Compression:
        k = self.n_components
        closed_form = isinstance(self.init, str) and self.init == "svd"
        compression = compress(
            op,
            sketch_rank(k),
            n_leading=k,
            total=self.squared_norm,
            rng=self.rng,
            tol=SKETCH_TOL_CLOSED_FORM if closed_form else SKETCH_TOL,
        )
        tail = self.squared_norm - float(np.square(compression.singular_values[:k]).sum())
        self.bound = float(np.sqrt(max(tail, 0.0)))
        self.exact = tail <= max(1e-12, 10 * np.finfo(op.dtype).eps) * self.squared_norm
        return compression

    def _sweep(self, stage: str, op: MatrixOperator, W: FloatArray, max_iter: int, tol: float, bar: Any) -> Fit:
        def update(op: MatrixOperator, W: FloatArray, loadings: Loadings) -> FloatArray | None:
            self.n_iter += 1
            if self.solver == "mu":
                update_by_multiplication(op, W, loadings)
                return None
            if self.penalty == 0:
                # Set once, when H first has unit rows, and kept: there is one objective.
                self.penalty = self.l1 * root_mean_square(W)
            return update_by_hals(op, W, loadings, penalty=self.penalty)

        def on_sweep(error: float) -> None:
            self._record(stage, error)
            if bar is not None:
                bar.update()

        return alternate(
            op,
            W,
            update,
            squared_norm=self.squared_norm,
            intercept=self.intercept,
            max_iter=max_iter,
            tol=tol,
            on_sweep=on_sweep,
        )

    def _record(self, stage: str, error: float) -> None:
        self.history.append((stage, error))
