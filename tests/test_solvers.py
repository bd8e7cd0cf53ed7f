"""Kernels and solvers against loops, scipy's NNLS, numpy's least squares and the formula of the published workflow."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import nnls

from planted import planted
from scprograms._core.kernels import LANES, hals_rows
from scprograms._core.operators.centred import CenteredOperator
from scprograms._core.operators.dispatch import as_operator
from scprograms._core.progress import is_look
from scprograms._core.sums import squared_norm
from scprograms.programs.engine import SemiNMF
from scprograms.programs.engine._solvers import (
    Fit,
    Loadings,
    _revive,
    alternate,
    error_of,
    fit_baseline,
    fit_loadings,
    root_mean_square,
    solve_ridge,
    solve_usages,
    unit_rows,
    update_by_hals,
    update_by_multiplication,
    with_explained,
)


def problem(n_obs=200, n_vars=60, k=5, *, seed=0, dtype=np.float64):
    """A matrix, positive usages that do not fit it, and signed loadings of different norms."""
    X, _, H = planted(n_obs, n_vars, k, signed=True, seed=seed, dtype=dtype)
    W = np.random.default_rng(seed + 100).gamma(1, size=(n_obs, k)).astype(dtype)
    return X, W, H * np.linspace(0.5, 3, k)[:, None]


def loadings_of(H, baseline=None):
    return Loadings(H, np.zeros(H.shape[1]) if baseline is None else baseline, 0.0)


def penalised_loss(X, W, H, penalty, baseline=0.0):
    return 0.5 * np.square(X - baseline - W @ H).sum() + penalty * W.sum()


# --- HALS ----------------------------------------------------------------------------------------------------------


def sweep_by_loops(X, W, H, penalty, baseline):
    """One Gauss-Seidel sweep, entry by entry, from the residual itself."""
    W = W.copy()
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            rest = X[i] - baseline - W[i] @ H + W[i, j] * H[j]
            W[i, j] = max(0.0, (rest @ H[j] - penalty) / (H[j] @ H[j]))
    return W


@pytest.mark.parametrize("n_obs", [LANES - 1, LANES, LANES + 1, 3 * LANES + 7])
@pytest.mark.parametrize("penalty", [0.0, 0.7])
@pytest.mark.parametrize("with_baseline", [False, True])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-10), (np.float32, 2e-4)])
def test_a_sweep_equals_loops_over_rows_and_columns(n_obs, penalty, with_baseline, dtype, rtol):
    X, W, H = problem(n_obs, dtype=dtype)
    baseline = np.linspace(-1, 1, X.shape[1]) if with_baseline else np.zeros(X.shape[1])
    expected = sweep_by_loops(X.astype(float), W.astype(float), H, penalty, baseline)
    update_by_hals(as_operator(X), W, loadings_of(H, baseline), penalty=penalty)
    assert (expected == 0).any()
    np.testing.assert_allclose(W, expected, rtol=rtol, atol=rtol * expected.max())


def test_a_range_of_rows_leaves_the_others_alone():
    X, W, H = problem()
    before, C, G = W.copy(), X @ H.T, H @ H.T
    hals_rows(W, C, G, np.zeros(5), 1, 0.0, 30, 171)
    np.testing.assert_array_equal(W[:30], before[:30])
    np.testing.assert_array_equal(W[171:], before[171:])
    assert (W[30:171] != before[30:171]).any(axis=1).all()


def test_a_program_without_loadings_is_left_alone():
    X, W, H = problem()
    H[2] = 0
    column = W[:, 2].copy()
    update_by_hals(as_operator(X), W, loadings_of(H), penalty=0.1)
    np.testing.assert_array_equal(W[:, 2], column)


@pytest.mark.parametrize("penalty", [0.0, 0.05, 1.0, 20.0])
def test_the_penalised_loss_never_rises_for_fixed_loadings(penalty):
    X, W, H = problem()
    losses = [penalised_loss(X, W, H, penalty)]
    for _ in range(40):
        hals_rows(W, X @ H.T, H @ H.T, np.full(5, penalty), 1, 0.0, 0, len(W))
        losses.append(penalised_loss(X, W, H, penalty))
    assert (np.diff(losses) <= 1e-12 * losses[0]).all()
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("update", ["hals", "mu"])
def test_the_reconstruction_error_never_rises_without_a_penalty(intercept, dtype, update):
    X, W, _ = problem(dtype=dtype)
    op, errors, dense_errors = as_operator(X), [], []

    def step(op, W, loadings):
        dense_errors.append(np.linalg.norm(X - loadings.baseline - W.astype(float) @ loadings.H))
        if update == "hals":
            update_by_hals(op, W, loadings, penalty=0.0)
        else:
            update_by_multiplication(op, W, loadings)

    alternate(
        op, W, step, squared_norm=squared_norm(op), intercept=intercept, max_iter=60, tol=0, on_sweep=errors.append
    )
    # The squared error is a difference of squares: its rounding is relative to ||X||^2, not to itself.
    slack = (1e-13 if dtype == np.float64 else 1e-6) * squared_norm(op) / errors[-1]
    assert len(errors) >= 30
    assert (np.diff(errors) <= slack).all()
    assert errors[-1] < 0.8 * errors[0]
    np.testing.assert_allclose(errors[: len(dense_errors)], dense_errors, rtol=0, atol=slack)


@pytest.mark.parametrize("dead", [[1], [0, 3]])
def test_dead_programs_are_revived(dead):
    X, W, _ = problem(400)
    W[:, dead] = 0
    op = as_operator(X)
    loadings = fit_loadings(op, W, intercept=False)
    C, G = X @ loadings.H.T, loadings.H @ loadings.H.T
    before = W.copy()
    _revive(W, C, G, np.zeros(5))
    living = np.setdiff1d(np.arange(5), dead)
    np.testing.assert_array_equal(W[:, living], before[:, living])
    rows = [np.flatnonzero(W[:, j]) for j in dead]
    assert all(len(r) == 4 for r in rows)  # 1 % of the cells each, and not the same ones
    assert len(np.unique(np.concatenate(rows))) == 4 * len(dead)


def test_a_fit_from_a_dead_start_ends_with_all_programs_in_use():
    X, truth, _ = planted(400, 100, 4, noise=0.05)
    start = np.maximum(truth + 0.01, 0)
    start[:, 2] = 0
    model = SemiNMF(4, init=start, random_state=0)
    W = model.fit_transform(X)
    assert (W.max(axis=0) > 0).all()
    assert model.error_ratio_ < 1.05


def test_nothing_is_revived_where_nothing_or_everything_is_dead():
    for W in (np.ones((10, 2)), np.zeros((10, 2))):
        before = W.copy()
        _revive(W, np.ones((10, 2)), np.eye(2), np.zeros(2))
        np.testing.assert_array_equal(W, before)


# --- usages for fixed loadings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_baseline", [False, True])
@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix, sparse.csc_array])
def test_usages_equal_scipys_nnls(with_baseline, holder):
    X, _, H = problem(150)
    baseline = np.linspace(-1, 1, X.shape[1]) if with_baseline else np.zeros(X.shape[1])
    expected = np.array([nnls(H.T, row - baseline)[0] for row in X])
    W = solve_usages(as_operator(holder(X)), loadings_of(H, baseline), penalty=0.0)
    assert (expected == 0).mean() > 0.1
    np.testing.assert_allclose(W, expected, atol=1e-5 * expected.max())
    np.testing.assert_array_equal(W[expected == 0], 0)


def test_usages_of_nearly_collinear_programs_reach_the_least_error():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=50)
    H = shared + 0.1 * rng.normal(size=(6, 50))
    X = rng.gamma(1, size=(80, 6)) @ H + rng.normal(size=(80, 50))
    W = solve_usages(as_operator(X), loadings_of(H), penalty=0.0)
    for row, w in zip(X, W, strict=True):
        assert np.linalg.norm(row - w @ H) <= nnls(H.T, row)[1] * (1 + 1e-4)


@pytest.mark.parametrize("penalty", [0.01, 1.0, 5.0])
@pytest.mark.parametrize("start", [None, "random"])
def test_penalised_usages_satisfy_the_optimality_conditions(penalty, start):
    """For unit rows h: gradient w h.h' - x.h' + penalty is 0 where w > 0, and not below 0 where w = 0."""
    X, W0, H = problem()
    W = solve_usages(as_operator(X), loadings_of(H), penalty=penalty, start=W0.copy() if start else None)
    norms = np.linalg.norm(H, axis=1)
    unit, scaled = H / norms[:, None], W * norms
    gradient = scaled @ (unit @ unit.T) - X @ unit.T + penalty
    assert (W >= 0).all()
    assert (W == 0).any()
    scale = np.abs(X @ unit.T).max()
    assert np.abs(gradient[W > 0]).max() <= 1e-4 * scale
    assert gradient[W == 0].min() >= -1e-4 * scale


def test_the_scale_of_the_loadings_moves_into_the_usages():
    X, _, H = problem()
    op = as_operator(X)
    plain, scaled = (
        solve_usages(op, loadings_of(h), penalty=2.0) for h in (H, H * np.array([[1], [10], [100], [1], [0.1]]))
    )
    np.testing.assert_allclose(scaled * np.array([1, 10, 100, 1, 0.1]), plain, atol=1e-5 * plain.max())


def test_a_start_leads_to_the_same_usages():
    X, W0, H = problem()
    op = as_operator(X)
    np.testing.assert_allclose(
        solve_usages(op, loadings_of(H), penalty=0.3, start=W0),
        solve_usages(op, loadings_of(H), penalty=0.3),
        atol=1e-5,
    )


# --- the multiplicative update -------------------------------------------------------------------------------------


def published_workflow(X, W, n_iter):
    """The update of the published workflow as its formula says, without the square root of Ding et al."""

    def plus(M):
        return (np.abs(M) + M) / 2

    def minus(M):
        return (np.abs(M) - M) / 2

    W = W.copy()
    H = np.linalg.solve(W.T @ W, W.T @ X)
    for _ in range(n_iter):
        A, B = X @ H.T, H @ H.T
        W *= (plus(A) + W @ minus(B)) / (minus(A) + W @ plus(B) + 1e-9)
        H = np.linalg.solve(W.T @ W, W.T @ X)
    return W, H


@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize("signed", [False, True])
def test_thirty_iterations_equal_the_published_workflow(holder, signed):
    X, _, _ = planted(300, 80, 6, signed=signed)
    W0 = np.random.default_rng(3).random((300, 6)) + 0.2
    W, H = published_workflow(X, W0, 30)
    model = SemiNMF(6, init=W0, solver="mu", max_iter=30, tol=0, fit_intercept=False, random_state=0)
    usages = model.fit_transform(holder(X))
    norms = np.linalg.norm(H, axis=1)
    order = [int(np.argmax(row)) for row in model.components_ @ (H / norms[:, None]).T]
    assert sorted(order) == list(range(6))
    np.testing.assert_allclose(model.components_ * norms[order, None], H[order], rtol=0, atol=1e-8 * np.abs(H).max())
    np.testing.assert_allclose(usages / norms[order], W[:, order], rtol=0, atol=1e-8 * W.max())
    assert model.error_ == pytest.approx(np.linalg.norm(X - W @ H), rel=1e-9)
    assert model.n_iter_ == 30


def test_one_multiplicative_update_with_a_baseline():
    X, W, H = problem()
    b = np.linspace(-1, 1, X.shape[1])
    A, B = (X - b) @ H.T, H @ H.T
    expected = (
        W * (np.clip(A, 0, None) + W @ np.clip(-B, 0, None)) / (np.clip(-A, 0, None) + W @ np.clip(B, 0, None) + 1e-9)
    )
    update_by_multiplication(as_operator(X), W, loadings_of(H, b))
    np.testing.assert_allclose(W, expected, rtol=1e-12)


# --- loadings and errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-10), (np.float32, 1e-5)])
@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix, sparse.csc_array])
def test_loadings_equal_least_squares(intercept, dtype, rtol, holder):
    X, W, _ = problem(dtype=dtype)
    design = np.hstack([W, np.ones((len(W), int(intercept)))]).astype(float)
    solution = np.linalg.lstsq(design, X.astype(float), rcond=None)[0]
    found = fit_loadings(as_operator(holder(X)), W, intercept=intercept)
    scale = np.abs(solution).max()
    np.testing.assert_allclose(found.H, solution[:5], rtol=0, atol=rtol * scale)
    np.testing.assert_allclose(found.baseline, solution[5] if intercept else 0, rtol=0, atol=rtol * scale)
    assert found.H.dtype == np.float64


def test_loadings_of_the_centred_operator_equal_those_of_the_centred_matrix():
    X, W, _ = problem()
    center, scale = X.mean(axis=0) + 1, X.std(axis=0)
    found = fit_loadings(CenteredOperator(as_operator(sparse.csr_array(X)), center, scale), W, intercept=True)
    expected = np.linalg.lstsq(np.c_[W, np.ones(len(W))], (X - center) / scale, rcond=None)[0]
    np.testing.assert_allclose(found.H, expected[:5], atol=1e-10)
    np.testing.assert_allclose(found.baseline, expected[5], atol=1e-10)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_the_error_equals_the_dense_residual(intercept, dtype, rtol):
    X, W, H = problem(dtype=dtype)
    op = as_operator(X)
    total = squared_norm(op)
    best = fit_loadings(op, W, intercept=intercept)
    residual = X - best.baseline - W.astype(float) @ best.H
    assert error_of(total, best) == pytest.approx(np.linalg.norm(residual), rel=rtol)
    assert error_of(total, with_explained(op, W, best.H, best.baseline)) == pytest.approx(
        np.linalg.norm(residual), rel=rtol
    )
    # Also for loadings that are not the best ones.
    for baseline in (np.zeros(X.shape[1]), np.linspace(-1, 2, X.shape[1])):
        given = with_explained(op, W, H, baseline)
        assert error_of(total, given) == pytest.approx(np.linalg.norm(X - baseline - W.astype(float) @ H), rel=rtol)


def test_the_baseline_equals_the_mean_of_what_is_left():
    X, W, H = problem()
    np.testing.assert_allclose(
        fit_baseline(as_operator(X), W, H, intercept=True), (X - W @ H).mean(axis=0), rtol=0, atol=1e-12
    )
    np.testing.assert_array_equal(fit_baseline(as_operator(X), W, H, intercept=False), 0)


def test_collinear_and_unused_programs_do_not_fail():
    X, W, _ = problem()
    W[:, 1] = W[:, 0]
    W[:, 2] = 0
    found = fit_loadings(as_operator(X), W, intercept=False)
    assert np.isfinite(found.H).all()
    np.testing.assert_allclose(found.H[2], 0, atol=1e-6)
    best = np.linalg.lstsq(W, X, rcond=None)[0]
    np.testing.assert_allclose(W @ found.H, W @ best, atol=1e-3)
    np.testing.assert_array_equal(solve_ridge(np.zeros((2, 2)), np.ones((2, 3))), 0)


def test_unit_rows_keep_the_product():
    _, W, H = problem()
    H[3] = 0
    product = W @ H
    unit_rows(W, H)
    np.testing.assert_allclose(W @ H, product, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(H, axis=1), [1, 1, 1, 0, 1])


def test_root_mean_square():
    assert root_mean_square(np.array([[3.0, 4.0]], dtype=np.float32)) == pytest.approx(np.sqrt(12.5))


def test_alternation_ends_at_the_tolerance():
    X, W, _ = problem()
    op, errors = as_operator(X), []

    def run(max_iter, tol) -> Fit:
        errors.clear()
        return alternate(
            op,
            W.copy(),
            lambda op, W, loadings: update_by_hals(op, W, loadings, penalty=0.0),
            squared_norm=squared_norm(op),
            intercept=False,
            max_iter=max_iter,
            tol=tol,
            on_sweep=errors.append,
        )

    assert run(500, 1e-3).converged
    changes, looks = np.abs(np.diff(errors)) / errors[1:], [n for n in range(1, 501) if is_look(n)]
    assert len(changes) in looks
    assert changes[-1] <= 1e-3
    assert all(changes[n - 1] > 1e-3 for n in looks if n < len(changes))
    assert not run(1, 1e-12).converged
    assert len(errors) == 2


def test_looks_lie_a_third_to_a_half_apart():
    looks = [n for n in range(1, 200) if is_look(n)]
    assert looks == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192]
