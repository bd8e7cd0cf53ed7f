"""NMF keeps scikit-learn's contract, its solvers do what the papers say, and ends where scikit-learn's ends."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import nnls
from sklearn import decomposition
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from planted import least_error, matched_correlations, planted
from scprograms._core.operators.dispatch import as_operator
from scprograms._core.operators.in_memory import DenseOperator
from scprograms.programs.engine import NMF
from scprograms.programs.engine._factorize import Factorizer
from scprograms.programs.engine._nmf import FLOOR
from scprograms.programs.engine._nmf_solvers import (
    _descend,
    alternate_non_negative,
    alternate_projected_gradient,
    non_negative_start,
    solve_loadings,
)

SOLVERS = [
    {"solver": "hals"},
    {"solver": "lsnmf"},
    {"solver": "cd"},
    {"solver": "mu"},
    {"solver": "mu", "loss": "kullback-leibler"},
]
each_solver = pytest.mark.parametrize("kwargs", SOLVERS, ids=lambda kwargs: "-".join(kwargs.values()))
ignore_convergence = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@parametrize_with_checks(
    [NMF(2, random_state=0, **kwargs) for kwargs in SOLVERS]
    + [NMF(1, random_state=0), NMF(3, init="random", random_state=0), NMF(2, init="nndsvd", random_state=0)]
)
@ignore_convergence
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def screen():
    return planted(400, 120, 5, seed=1)


def fitted(X, k=5, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = NMF(k, random_state=0, **kwargs)
        return model, model.fit_transform(X)


def frobenius(X, W, H):
    X = X.toarray() if sparse.issparse(X) else X
    return float(np.linalg.norm(X.astype(float) - W.astype(float) @ H.astype(float)))


def divergence(X, W, H):
    """Generalised Kullback-Leibler divergence, by its definition."""
    model = W.astype(float) @ H.astype(float)
    some = X > 0
    return float(np.sum(X[some] * np.log(X[some] / model[some])) - X.sum() + model.sum())


def some_start(X, k=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((X.shape[0], k)) + 0.1, rng.random((k, X.shape[1])) + 0.1


# --- solvers against brute force -----------------------------------------------------------------------------------


def brute_force_sweeps(F, cross, gram, n_sweeps):
    """Exact coordinate descent on 1/2 f G f' - f c over f >= 0, one entry at a time."""
    F = F.copy()
    for _ in range(n_sweeps):
        for i in range(F.shape[0]):
            for j in range(F.shape[1]):
                slope = cross[i, j] - sum(F[i, t] * gram[t, j] for t in range(F.shape[1]) if t != j)
                F[i, j] = max(0.0, slope / gram[j, j])
    return F


@pytest.mark.parametrize("n_sweeps", [1, 3])
def test_a_hals_sweep_is_the_double_loop(n_sweeps):
    X = planted(130, 20, 4, seed=2)[0]
    W, H = some_start(X)
    expected = brute_force_sweeps(W, X @ H.T, H @ H.T, n_sweeps)
    _descend(W, X @ H.T, H @ H.T, n_sweeps=n_sweeps)
    np.testing.assert_allclose(W, expected, rtol=1e-10, atol=1e-12)
    assert (W == 0).any()


def test_iterations_of_hals_are_those_sweeps_in_turn():
    X = planted(90, 20, 4, seed=2)[0]
    W, H = some_start(X)
    expected_W, expected_H = W.copy(), H.copy()
    for _ in range(3):
        expected_W = brute_force_sweeps(expected_W, X @ expected_H.T, expected_H @ expected_H.T, 3)
        expected_H = brute_force_sweeps(expected_H.T, X.T @ expected_W, expected_W.T @ expected_W, 3).T
    errors = []
    H, converged = alternate_non_negative(
        DenseOperator(X), W, H, squared_norm=np.sum(X**2), max_iter=3, tol=0.0, on_sweep=errors.append
    )
    np.testing.assert_allclose(W, expected_W, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(H, expected_H, rtol=1e-8, atol=1e-10)
    assert errors[-1] == pytest.approx(frobenius(X, W, H))
    assert not converged


def reference_subproblem(V, W, H, tol):
    """One non-negative least squares problem by Lin's rules: V ~ W H for fixed W."""
    alpha = 1.0
    for i in range(10):
        gradient = W.T @ W @ H - W.T @ V
        if np.sqrt(sum(g**2 for g, h in zip(gradient.ravel(), H.ravel(), strict=True) if g < 0 or h > 0)) < tol:
            return H, gradient, i
        candidates = []
        for _ in range(10):
            new = np.maximum(H - alpha * gradient, 0)
            d = new - H
            enough = 0.99 * np.trace(gradient.T @ d) + 0.5 * np.trace(d.T @ W.T @ W @ d) < 0
            candidates.append((new, enough))
            first_was_enough = candidates[0][1]
            if not first_was_enough:
                if enough:
                    H = new
                    break
                alpha *= 0.1
                continue
            if not enough or (len(candidates) > 1 and (new == candidates[-2][0]).all()):
                H = candidates[-2][0]
                break
            alpha /= 0.1
        else:
            H = candidates[-1][0] if candidates[0][1] else H
    return H, gradient, 9


def reference_lsnmf(V, W, H, max_iter, tol):
    first = np.linalg.norm(np.vstack([W @ H @ H.T - V @ H.T, (W.T @ W @ H - W.T @ V).T]))
    tol_w = tol_h = max(1e-3, tol) * first
    n_iter, left = 0, np.inf
    while left >= tol * first and n_iter < max_iter:
        n_iter += 1
        Wt, gradient_w, n = reference_subproblem(V.T, H.T, W.T, tol_w)
        W = Wt.T
        tol_w *= 0.1 if n == 0 else 1
        H, gradient_h, n = reference_subproblem(V, W, H, tol_h)
        tol_h *= 0.1 if n == 0 else 1
        left_w = gradient_w.T[(gradient_w.T < 0) | (W > 0)]
        left_h = gradient_h[(gradient_h < 0) | (H > 0)]
        left = np.linalg.norm(np.concatenate([left_w, left_h]))
    return W, H, n_iter


@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize(("max_iter", "scale"), [(1, 1.0), (4, 1.0), (4, 1e-3), (4, 30.0), (12, 1.0)])
def test_lsnmf_follows_the_published_rules(max_iter, scale, holder):
    X = scale * planted(60, 25, 4, seed=3)[0]
    W, H = some_start(X)
    expected_W, expected_H, _ = reference_lsnmf(X, W.copy(), H.copy(), max_iter, 1e-9)
    errors = []
    found_W, found_H, converged = alternate_projected_gradient(
        as_operator(holder(X)), W, H, squared_norm=np.sum(X**2), max_iter=max_iter, tol=1e-9, on_sweep=errors.append
    )
    np.testing.assert_allclose(found_W, expected_W, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found_H, expected_H, rtol=1e-8, atol=1e-8)
    assert errors[-1] == pytest.approx(frobenius(X, expected_W, expected_H))
    assert len(errors) == max_iter
    assert not converged


def test_lsnmf_stops_where_the_published_rules_stop():
    X = planted(60, 25, 3, seed=4)[0]
    W, H = some_start(X, 3)
    *_, n_iter = reference_lsnmf(X, W.copy(), H.copy(), 200, 1e-3)
    errors = []
    *_, converged = alternate_projected_gradient(
        DenseOperator(X), W, H, squared_norm=np.sum(X**2), max_iter=200, tol=1e-3, on_sweep=errors.append
    )
    assert converged
    assert len(errors) == n_iter < 200


# --- what a fit ends with ------------------------------------------------------------------------------------------


@each_solver
def test_the_figures_are_those_of_the_factors(screen, kwargs):
    X = screen[0]
    model, W = fitted(X, **kwargs)
    H = model.components_
    assert (W >= 0).all()
    assert (H >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(H, axis=1), 1)
    assert model.error_ == model.history_[-1][1] == pytest.approx(frobenius(X, W, H))
    assert model.error_bound_ == pytest.approx(least_error(sparse.csr_matrix(X), 5), rel=1e-3)
    assert 1 <= model.error_ratio_ == model.error_ / model.error_bound_
    expected = W.var(axis=0) / X.var(axis=0).sum()
    np.testing.assert_allclose(model.variance_explained_, expected)
    assert (np.diff(model.variance_explained_) <= 0).all()
    assert model.n_iter_ > 0


@pytest.mark.parametrize("solver", ["hals", "lsnmf"])
@pytest.mark.parametrize("init", ["varimax", "random", "kmeans"])
def test_the_loss_never_rises(solver, init, screen):
    model, _ = fitted(screen[0], 8, solver=solver, init=init, tol=1e-9, max_iter=60)
    for stage in {stage for stage, _ in model.history_}:
        errors = np.array([error for s, error in model.history_ if s == stage])
        assert len(errors) > 2
        assert (np.diff(errors) <= 1e-10 * errors[0]).all()


@each_solver
def test_planted_programs_are_found(kwargs):
    X, W, _ = planted(800, 150, 6, noise=0.1, seed=5)
    assert matched_correlations(fitted(X, 6, **kwargs)[1], W).min() > 0.95


@each_solver
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_holds_the_matrix_changes_nothing(dtype, kwargs, screen):
    X = screen[0].astype(dtype)
    model, W = fitted(X, **kwargs)
    tolerance = {np.float32: 1e-4, np.float64: 1e-8}[dtype]
    if kwargs.get("solver") in {"cd", "mu"} and dtype == np.float32:
        tolerance = 3e-3  # scikit-learn ends these, by an error whose last bits depend on what holds the matrix
    for holder in (sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array):
        other, usages = fitted(holder(X), **kwargs)
        assert usages.dtype == other.components_.dtype == W.dtype == dtype
        np.testing.assert_allclose(usages, W, atol=tolerance * W.max())
        np.testing.assert_allclose(other.components_, model.components_, atol=tolerance)
        assert other.error_ == pytest.approx(model.error_, rel=1e-5)


@each_solver
def test_entries_that_are_not_canonical(kwargs, screen):
    X = sparse.csr_matrix(screen[0])
    twice = sparse.csr_matrix((np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), X.indptr * 2), shape=X.shape)
    W = fitted(X, **kwargs)[1]
    np.testing.assert_allclose(fitted(twice, **kwargs)[1], W, atol=1e-4 * W.max())
    assert twice.nnz == 2 * X.nnz


@each_solver
def test_threads_and_repeats_change_no_bit(kwargs):
    X = sparse.csr_matrix(planted(5000, 40, 4, seed=6, dtype=np.float32)[0])
    results = {
        (model.components_.tobytes(), W.tobytes())
        for model, W in (fitted(X, 4, n_jobs=n_jobs, max_iter=15, **kwargs) for n_jobs in (1, 2, 3, None))
    }
    assert len(results) == 1


@each_solver
def test_transform_gives_the_usages_of_the_fit(kwargs, screen):
    X = screen[0]
    model, W = fitted(X, **kwargs)
    np.testing.assert_allclose(model.transform(X), W, atol=1e-4 * W.max())
    np.testing.assert_allclose(model.transform(sparse.csr_matrix(X[:50])), W[:50], atol=1e-4 * W.max())


def test_transform_is_non_negative_least_squares(screen):
    model, W = fitted(screen[0])
    expected = np.array([nnls(model.components_.T, x)[0] for x in screen[0][:40]])
    np.testing.assert_allclose(W[:40], expected, atol=1e-4 * W.max())


@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_loadings_of_other_columns_are_non_negative_least_squares(dtype, holder, screen):
    X = (10 * screen[0]).astype(dtype)
    model, W = fitted(X[:, :80])
    found = model.loadings_of(holder(X[:, 80:]), W)
    expected = np.array([nnls(W.astype(float), x.astype(float))[0] for x in X[:, 80:].T]).T
    np.testing.assert_allclose(found["loadings"], expected, atol=1e-4 * expected.max())
    assert found["loadings"].dtype == W.dtype
    assert (found["loadings"] >= 0).all()
    for name, value in (("baseline", 0), ("center", 0), ("scale", 1)):
        np.testing.assert_array_equal(found[name], np.full(40, value))


def test_a_program_that_no_cell_uses_has_no_loadings(screen):
    X = screen[0]
    W = np.c_[screen[1][:, :2], np.zeros(400)]
    H = solve_loadings(DenseOperator(X), W)
    np.testing.assert_array_equal(H[2], 0)
    np.testing.assert_allclose(H[:2, 3], nnls(W[:, :2], X[:, 3])[0], rtol=1e-5, atol=1e-8)


def test_loadings_of_other_columns_are_for_the_loss_of_the_fit(screen):
    X = screen[0]
    model, W = fitted(X[:, :80], solver="mu", loss="kullback-leibler")
    H = model.loadings_of(sparse.csr_matrix(X[:, 80:]), W)["loadings"]
    best = divergence(X[:, 80:], W + 1e-12, H)
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert best <= divergence(X[:, 80:], W + 1e-12, H * rng.uniform(0.8, 1.2, H.shape)) + 1e-9
    squares = solve_loadings(DenseOperator(X[:, 80:]), W)
    assert frobenius(X[:, 80:], W, squares) < frobenius(X[:, 80:], W, H)


# --- against scikit-learn ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kwargs", SOLVERS[2:], ids=lambda kwargs: "-".join(kwargs.values()))
def test_scikit_learns_solvers_run_from_our_start(kwargs, screen):
    X, loss = screen[0], kwargs.get("loss", "frobenius")
    run = Factorizer(5, "varimax", "hals", 0.0, 200, 0.0, intercept=False, rng=np.random.default_rng(0))
    compression, W = run.start(DenseOperator(X))
    H = non_negative_start(compression, W, run.squared_norm)
    if kwargs["solver"] == "mu":
        W, H = (np.maximum(F, FLOOR * F.mean()) for F in (W, H))
    losses = []
    for max_iter in (1, 10, 60):
        reference = decomposition.NMF(
            5, init="custom", solver=kwargs["solver"], beta_loss=loss, tol=0, max_iter=max_iter
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            reference.fit_transform(X, W=W.copy(), H=H.copy())
        model, usages = fitted(X, tol=0.0, max_iter=max_iter, **kwargs)
        expected = reference.components_ / np.linalg.norm(reference.components_, axis=1, keepdims=True)
        order = np.argmax(model.components_ @ expected.T, axis=1)
        assert sorted(order) == list(range(5))
        np.testing.assert_allclose(model.components_, expected[order], atol=1e-10)
        assert model.n_iter_ == max_iter
        if loss == "frobenius":
            losses.append(frobenius(X, usages, model.components_))
        else:
            losses.append(np.sqrt(2 * divergence(X, usages, model.components_)))
        # Scikit-learn's figure is that of its last iterate; our usages are solved to the end.
        assert losses[-1] <= reference.reconstruction_err_ * (1 + 1e-9)
    assert losses[0] > losses[1] > losses[2]
    assert losses[-1] == pytest.approx(reference.reconstruction_err_, rel=0.01)


def test_the_divergence_is_as_small_as_scikit_learns(screen):
    X = screen[0]
    model, W = fitted(X, solver="mu", loss="kullback-leibler", max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        reference = decomposition.NMF(
            5, init="nndsvda", solver="mu", beta_loss="kullback-leibler", max_iter=300, random_state=0
        ).fit(X)
    found = np.sqrt(2 * divergence(X, W, model.components_))
    assert found <= 1.001 * reference.reconstruction_err_
    squares = fitted(X)[0]
    W = model.transform(X)
    assert divergence(X, W, model.components_) < divergence(X, squares.transform(X) + 1e-12, squares.components_)


@pytest.mark.parametrize(("solver", "goal"), [("hals", 1.0005), ("lsnmf", 1.005)])
@pytest.mark.parametrize("k", [6, 15])
def test_the_error_is_as_small_as_scikit_learns(solver, goal, k):
    X = sparse.csr_matrix(planted(1500, 300, 10, seed=7, dtype=np.float32)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        reference = decomposition.NMF(k, solver="cd", init="nndsvda", max_iter=200, random_state=0).fit(X)
    model, W = fitted(X, k, solver=solver)
    least = frobenius(X, reference.transform(X), reference.components_)
    assert frobenius(X, W, model.components_) <= goal * least


# --- programs that die ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dead", ["usages", "loadings", "both"])
@pytest.mark.parametrize("n_dead", [1, 3])
def test_dead_programs_are_revived(n_dead, dead):
    X = planted(300, 60, 5, noise=0.05, seed=8)[0]
    W, H = some_start(X, 5)
    if dead != "loadings":
        W[:, :n_dead] = 0
        H[:n_dead] = -1 if dead == "usages" else 0  # negative loadings keep the usages at zero
    else:
        H[:n_dead] = 0
    kept_W, kept_H = W[:, n_dead:].copy(), np.ascontiguousarray(H[n_dead:])
    options = {"squared_norm": np.sum(X**2), "max_iter": 100, "tol": 0.0}
    errors, without = [], []
    H, _ = alternate_non_negative(DenseOperator(X), W, H, on_sweep=errors.append, **options)
    alternate_non_negative(DenseOperator(X), kept_W, kept_H, on_sweep=without.append, **options)
    assert W.any(axis=0).all()
    assert H.any(axis=1).all()
    assert (np.diff(errors) <= 1e-10 * errors[0]).all()
    assert errors[-1] < 0.8 * without[-1]
    assert errors[-1] == pytest.approx(frobenius(X, W, H))


def test_a_program_revives_where_the_others_explain_least():
    rng = np.random.default_rng(0)
    X = np.zeros((200, 30))
    X[:150, :10], X[150:, 20:] = rng.gamma(2, size=(150, 10)), rng.gamma(2, size=(50, 10))
    W, H = np.c_[np.ones(200), np.zeros(200)], np.zeros((2, 30))
    H[0, :10] = 1
    alternate_non_negative(
        DenseOperator(X), W, H, squared_norm=np.sum(X**2), max_iter=2, tol=0.0, on_sweep=lambda _: None
    )
    assert (W[150:, 1] > 0).all()
    assert not W[:150, 1].any()


# --- parameters and bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "rounding"), [(np.float32, 1e-3), (np.float64, 1e-7)])
@pytest.mark.parametrize("solver", ["hals", "lsnmf"])
def test_an_exact_matrix_converges_at_rounding(solver, dtype, rounding):
    _, W, H = planted(200, 40, 3, seed=9)
    X = (W @ H).astype(dtype)
    model = NMF(3, solver=solver, random_state=0).fit(X)
    assert model.converged_
    assert model.n_iter_ < 100
    assert np.isnan(model.error_ratio_)
    if solver == "hals":
        assert frobenius(X, model.transform(X), model.components_) <= rounding * np.linalg.norm(X)


@pytest.mark.parametrize("shape", [(1, 20), (30, 1), (2, 2)])
@each_solver
def test_small_matrices(kwargs, shape):
    X = np.random.default_rng(0).random(shape) + 0.1
    model, W = fitted(X, 3, **kwargs)
    assert W.shape == (shape[0], 3)
    assert np.isfinite(W).all()
    assert np.isfinite(model.components_).all()


@each_solver
def test_empty_cells_and_genes(kwargs, screen):
    X = screen[0].copy()
    X[[2, 9]], X[:, [0, 7]] = 0, 0
    model, W = fitted(sparse.csr_matrix(X), **kwargs)
    np.testing.assert_allclose(W[[2, 9]], 0, atol=1e-10)
    np.testing.assert_allclose(model.components_[:, [0, 7]], 0, atol=1e-10)


@each_solver
def test_not_converged(kwargs, screen):
    with pytest.warns(ConvergenceWarning, match=r"tol=1e-12 was not reached within max_iter=2 sweeps"):
        model = NMF(5, max_iter=2, tol=1e-12, random_state=0, **kwargs).fit(screen[0])
    assert not model.converged_


@each_solver
@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix])
def test_negative_values_row_3(holder, kwargs, screen):
    X = screen[0].copy()
    X[3, 4] = -2.5
    message = r"Negative values in data: 1 of \d+, the lowest is -2.5.*semi-NMF"
    with pytest.raises(ValueError, match=message):
        NMF(3, **kwargs).fit(holder(X))
    model, W = fitted(screen[0], 3, max_iter=3, **kwargs)
    with pytest.raises(ValueError, match=message):
        model.transform(holder(X))
    with pytest.raises(ValueError, match=message):
        model.loadings_of(holder(X), W)


@each_solver
def test_nothing_works_before_the_fit(kwargs, screen):
    for call in (NMF(**kwargs).transform, lambda X: NMF(**kwargs).loadings_of(X, X)):
        with pytest.raises(NotFittedError):
            call(screen[0])


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"n_components": 0}, ValueError, "n_components=0"),
        ({"n_components": 2.0}, TypeError, "n_components=2.0"),
        ({"max_iter": 0}, ValueError, "max_iter=0"),
        ({"tol": -1}, ValueError, "tol=-1"),
        ({"solver": "bpp"}, ValueError, "solver='bpp' is not known. Choose one of 'hals', 'cd', 'mu', 'lsnmf'"),
        ({"loss": "l1"}, ValueError, "loss='l1' is not known. Choose one of 'frobenius', 'kullback-leibler'"),
        ({"loss": "kullback-leibler"}, ValueError, "loss='kullback-leibler' needs solver='mu', not solver='hals'"),
        ({"init": "pca"}, ValueError, "init='pca'"),
        ({"init": np.ones((3, 3))}, ValueError, r"init has shape \(3, 3\)"),
        ({"n_jobs": 0}, ValueError, "n_jobs=0"),
    ],
    ids=str,
)
def test_bad_parameters(kwargs, error, message, screen):
    with pytest.raises(error, match=message):
        NMF(**kwargs).fit(screen[0])


def test_defaults_of_tol_are_recorded(screen):
    assert fitted(screen[0])[0].tol_ == 2e-3
    assert fitted(screen[0], solver="lsnmf")[0].tol_ == 1e-4
    assert fitted(screen[0], tol=0.5)[0].tol_ == 0.5


def test_a_start_that_is_passed_in_is_kept_as_it_was(screen):
    start = np.random.default_rng(0).random((400, 3))
    before = start.copy()
    model, W = fitted(screen[0], 3, init=start)
    np.testing.assert_array_equal(start, before)
    assert clone(model).init is not model.init
    assert not np.shares_memory(W, start)
