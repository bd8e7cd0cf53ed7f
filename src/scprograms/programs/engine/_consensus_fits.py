"""The fits of a consensus: short ones on resampled cells, and that of all cells to given loadings."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from scprograms._core.operators.dispatch import as_operator
from scprograms._core.operators.in_memory import LowRankOperator
from scprograms._core.operators.prepare import Readable, expect, prepare
from scprograms._core.threads import threads

from ._base import ProgramEstimator, order_of_programs
from ._factorize import Factorizer, sketch_rank
from ._nmf import NMF
from ._nmf_solvers import ROUGH_TOL, alternate_non_negative, non_negative_start
from ._onmf import OrthogonalNMF
from ._semi_nmf import SemiNMF
from ._solvers import fit_loadings

if TYPE_CHECKING:
    from scprograms._core.matrix import FloatArray
    from scprograms._core.operators.protocol import MatrixOperator

    from ._base import ProgramEstimator

RUN_SWEEPS = {"semi_nmf": 3, "nmf": 10, "onmf": 10}
"""Sweeps of a run: it only has to say which programs there are."""
NMF_START_SWEEPS = 50
CONSENSUS_METHODS = tuple(RUN_SWEEPS)


def unit_loadings_of(
    op: MatrixOperator, k: int, method: str, *, init: str, intercept: bool, rng: np.random.Generator
) -> FloatArray:
    """Return the loadings of a fit of few sweeps; its usages are never completed."""
    expect(op, sketch_rank=sketch_rank(k), rng=rng)
    if method == "onmf":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = OrthogonalNMF(k, max_iter=RUN_SWEEPS[method], random_state=rng)
            model.fit_operator(op, rng)
            return model.components_
    run = Factorizer(
        n_components=k,
        init=init,
        solver="hals",
        l1=SemiNMF().l1,
        max_iter=RUN_SWEEPS[method],
        tol=SemiNMF().tol,
        intercept=intercept,
        rng=rng,
        nmf_sweeps=NMF_START_SWEEPS,
    )
    op = prepare(op, np.zeros(op.shape[1]), np.ones(op.shape[1]), intercept=intercept).op
    if method == "nmf":
        H = _descend_non_negative(op, run)
    elif init == "nmf":
        # Set free, and left there: sweeps would turn the programs into directions in which the runs differ.
        H = fit_loadings(op, run.start(op)[1], intercept=intercept).H
    else:
        H = run.descend(op).loadings.H
    return unit_rows_of(H).astype(op.dtype)


def _descend_non_negative(op: MatrixOperator, run: Factorizer) -> FloatArray:
    compression, W = run.start(op)
    H = non_negative_start(compression, W, run.squared_norm)
    for part in (LowRankOperator(compression.Y, compression.V), op):
        H, _ = alternate_non_negative(
            part,
            W,
            H,
            squared_norm=run.squared_norm,
            max_iter=run.max_iter,
            tol=ROUGH_TOL,
            on_sweep=lambda _: None,
        )
    return H


def unit_rows_of(H: FloatArray) -> FloatArray:
    """Return rows of unit norm in float64; a row of zeros stays one."""
    H = H.astype(np.float64)
    norms = np.linalg.norm(H, axis=-1, keepdims=True)
    return H / np.where(norms > 0, norms, 1)


def refit(
    X: Readable, H: FloatArray, method: str, *, random_state: int, n_jobs: int | None
) -> tuple[ProgramEstimator, FloatArray]:
    """Return the estimator with these loadings, in the order of the variance they explain, and their usages."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if method == "onmf":
            return _refit_orthogonal(X, H, random_state=random_state, n_jobs=n_jobs)
        if method == "nmf":
            nmf = NMF(len(H), random_state=random_state, n_jobs=n_jobs)
            return nmf, nmf.fit_transform(X, H=H)
        model = SemiNMF(len(H), random_state=random_state, n_jobs=n_jobs)
        W = model.fit_transform(X, H=H)
    order = order_of_programs(model.variance_explained_, model.components_)
    model.components_, model.variance_explained_ = model.components_[order], model.variance_explained_[order]
    return model, np.ascontiguousarray(W[:, order])


def _refit_orthogonal(
    X: Readable, H: FloatArray, *, random_state: int, n_jobs: int | None
) -> tuple[ProgramEstimator, FloatArray]:
    model = OrthogonalNMF(len(H), random_state=random_state, n_jobs=n_jobs)
    validated = model._validated(X, reset=True)
    run = Factorizer(
        n_components=len(H),
        init="varimax",
        solver="em",
        l1=0.0,
        max_iter=model.max_iter,
        tol=0.0,
        intercept=False,
        rng=np.random.default_rng(random_state),
    )
    with threads(n_jobs):
        op = as_operator(validated)
        run.sketch(op)
        model.tol_, model.orthogonality_, model.converged_ = 0.0, 0.0, True
        return model, model._keep(op, run, _in_one_program(H).T)


def _in_one_program(H: FloatArray) -> FloatArray:
    """Leave each gene to the program that it has the largest loading in; a program without any keeps its largest."""
    alone = np.where(np.arange(len(H))[:, None] == H.argmax(axis=0), H, 0.0)
    for program in np.flatnonzero(~alone.any(axis=1) & H.any(axis=1)):
        gene = int(H[program].argmax())
        alone[:, gene] = 0.0
        alone[program, gene] = H[program, gene]
    return unit_rows_of(alone)
