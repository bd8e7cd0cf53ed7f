"""Orthogonal NMF: rows of H are orthonormal, genes are dealt out as well as brute force can, and tl.onmf writes it."""

from __future__ import annotations

import itertools
import warnings

import anndata as ad
import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse
from scipy.optimize import linear_sum_assignment, nnls
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import scprograms as scp
from planted import least_error, matched_correlations
from scprograms import ProgramsWarning
from scprograms._anndata import slots
from scprograms._core.operators.dispatch import as_operator
from scprograms.programs.engine import OrthogonalNMF
from scprograms.programs.engine._onmf_solvers import (
    dealt_out,
    multiply,
    random_factors,
    unit_columns,
    without_strangers,
)


def disjoint(n_obs=400, n_vars=120, k=5, *, noise=0.2, seed=0, dtype=np.float64):
    """Return X, the usages and the program of each gene: sparse gamma usages, each gene in one program."""
    rng = np.random.default_rng(seed)
    W = rng.gamma(1.0, size=(n_obs, k)) * (rng.random((n_obs, k)) < 0.4)
    labels = rng.permutation(np.arange(n_vars) % k)
    H = rng.uniform(0.5, 1.5, size=n_vars) * (labels == np.arange(k)[:, None])
    X = np.maximum(W @ H + noise * rng.normal(size=(n_obs, n_vars)), 0)
    return X.astype(dtype), W, labels


def fit(X, k=5, **kwargs):
    model = OrthogonalNMF(k, **{"random_state": 0, **kwargs})
    return model, model.fit_transform(X)


def dense_error(X, W, H):
    return np.linalg.norm(X - W.astype(float) @ H.astype(float))


def assert_is_orthogonal(model, W):
    H = model.components_.astype(float)
    assert np.linalg.norm(H @ H.T - np.eye(len(H))) <= 1e-6
    assert (H >= 0).all()
    assert (W >= 0).all()
    assert ((H > 0).sum(axis=0) <= 1).all()
    np.testing.assert_array_equal(model.labels_, np.where(H.any(axis=0), H.argmax(axis=0), -1))


@parametrize_with_checks(
    [
        OrthogonalNMF(n_components=1, random_state=0),
        OrthogonalNMF(n_components=2, random_state=0),
        OrthogonalNMF(n_components=2, init="random", random_state=0),
        OrthogonalNMF(n_components=2, solver="mu", tol=1e-3, random_state=0),
    ]
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# --- what is found -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["em", "mu"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(3))
def test_disjoint_programs_are_recovered(solver, dtype, seed):
    X, truth, labels = disjoint(seed=seed, dtype=dtype)
    model, W = fit(X, solver=solver, max_iter=2_000)
    assert_is_orthogonal(model, W)
    assert W.dtype == model.components_.dtype == dtype
    assert adjusted_rand_score(labels, model.labels_) >= 0.99
    assert matched_correlations(W, truth).min() >= 0.97
    assert model.error_ == pytest.approx(dense_error(X, W, model.components_), rel=1e-5)
    assert model.error_bound_ == pytest.approx(least_error(X, 5), rel=1e-4)
    assert 1 <= model.error_ratio_ == model.error_ / model.error_bound_
    assert model.history_[-1] == ("full", model.error_)
    assert np.all(np.diff(model.variance_explained_) <= 0)
    assert model.converged_


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_the_least_error_of_all_assignments_is_found(k, seed):
    X, _, _ = disjoint(30, 7, k, noise=0.4, seed=seed)
    total, least = np.square(X).sum(), np.inf
    top = {}
    for size in range(1, 8):
        for genes in itertools.combinations(range(7), size):
            top[genes] = np.linalg.norm(X[:, genes], 2) ** 2
    for labels in itertools.product(range(k), repeat=7):
        blocks = [tuple(g for g in range(7) if labels[g] == p) for p in range(k)]
        if all(blocks):
            least = min(least, total - sum(top[genes] for genes in blocks))
    model, _ = fit(X, k)
    starts = [fit(X, k, init="random", random_state=s)[0].error_ for s in range(5)]
    assert min(starts) >= np.sqrt(least) * (1 - 1e-9)
    assert model.error_ == pytest.approx(np.sqrt(least), rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("init", ["varimax", "random"])
def test_no_round_raises_the_error(seed, init):
    X, _, _ = disjoint(300, 100, 8, noise=0.8, seed=seed)
    model, _ = fit(X, 8, init=init, min_share=0, tol=0, max_iter=30, random_state=seed)
    for stage in ("compressed", "full"):
        errors = np.array([error for name, error in model.history_ if name == stage])
        assert len(errors) >= 2
        assert np.diff(errors).max() <= 1e-9 * errors[0]


def test_each_program_is_the_leading_singular_pair_of_its_genes():
    X, _, _ = disjoint(noise=0.5)
    model, W = fit(X, tol=1e-12, max_iter=1_000)
    for p in range(5):
        genes = model.labels_ == p
        u, s, vt = np.linalg.svd(X[:, genes], full_matrices=False)
        np.testing.assert_allclose(model.components_[p, genes], np.abs(vt[0]), atol=1e-5)
        np.testing.assert_allclose(W[:, p], s[0] * np.abs(u[:, 0]), atol=1e-4)


def test_usages_are_the_non_negative_least_squares_solution():
    X, _, _ = disjoint(n_obs=60)
    model, W = fit(X)
    expected = np.array([nnls(model.components_.T, x)[0] for x in X])
    np.testing.assert_allclose(W, expected, atol=1e-10)
    np.testing.assert_array_equal(model.transform(X), W)
    signed = np.random.default_rng(0).normal(size=(20, 120))
    with pytest.raises(ValueError, match="Negative values in data"):  # row 3
        model.transform(signed)


def test_planted_screen_against_the_dense_updates():
    """The hardened result of 60 of D-SPIN's updates, from the formula, has a larger error on a simulated screen."""
    adata = make_screen(n_cells=1_000, n_genes=300, n_programs=6)
    X = adata.X.toarray().astype(float)
    ours, W = fit(adata.X, 6)
    rng = np.random.default_rng(0)
    A, S = rng.random((1_000, 6)), np.abs(np.linalg.qr(rng.random((300, 6)))[0].T)
    for _ in range(60):
        A *= (X @ S.T) / (A @ (S @ S.T))
        S *= np.nan_to_num((A.T @ X) / np.maximum(S @ X.T @ A @ S, 1e-300))
    labels = (S / np.linalg.norm(S, axis=1, keepdims=True)).argmax(axis=0)
    explained = sum(np.linalg.norm(X[:, labels == p], 2) ** 2 for p in range(6) if (labels == p).any())
    assert ours.error_ <= np.sqrt(np.square(X).sum() - explained)
    assert_is_orthogonal(ours, W)

    rows = [np.random.default_rng(s).choice(1_000, 700, replace=False) for s in range(3)]
    for chosen in rows:
        cosines = ours.components_ @ fit(adata.X[chosen], 6)[0].components_.T
        assert cosines[linear_sum_assignment(-cosines)].mean() >= 0.95


# --- multiplicative updates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["dense", "csr"])
def test_multiplicative_updates_equal_the_formula_and_never_raise_the_error(form):
    X, _, _ = disjoint(200, 60, 4, noise=0.5)
    W, Ht = random_factors(X.shape, 4, rng=np.random.default_rng(0))
    errors: list[float] = []
    total = float(np.square(X).sum())
    found, converged = multiply(
        as_operator(sparse.csr_matrix(X) if form == "csr" else X),
        W,
        Ht,
        squared_norm=total,
        max_iter=150,
        tol=0.0,
        on_round=errors.append,
    )
    A, S, expected = W.copy(), Ht.T.copy(), []
    for _ in range(150):
        A *= np.sqrt((X @ S.T) / (A @ S @ S.T))
        S *= np.sqrt((A.T @ X) / (S @ X.T @ A @ S))
        expected.append(np.linalg.norm(X - A @ S))
    np.testing.assert_allclose(found.T, S, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(errors, expected, rtol=1e-9)
    assert np.diff(errors).max() <= 1e-9 * errors[0]
    assert not converged


@pytest.mark.parametrize("init", ["varimax", "random", "array"])
def test_the_soft_form_is_hardened_and_says_how_far_it_was(init):
    X, truth, labels = disjoint()
    model, W = fit(X, solver="mu", init=truth if init == "array" else init, max_iter=2_000)
    assert_is_orthogonal(model, W)
    assert 0 < model.orthogonality_ < 5
    errors = [error for _, error in model.history_[:-1]]
    assert np.diff(errors).max() <= 1e-9 * errors[0]
    if init != "random":
        assert adjusted_rand_score(labels, model.labels_) >= 0.99
    assert fit(X)[0].orthogonality_ == 0


# --- dealing out ---------------------------------------------------------------------------------------------------


def test_a_program_without_genes_takes_the_worst_explained_one():
    scores = np.array([[3.0, 1.0, 0.0], [2.0, 1.0, 0.0], [1.0, 0.5, 0.0], [0.0, 0.0, 0.0], [0.5, 2.0, 0.0]])
    squares = np.array([9.0, 8.0, 1.5, 0.0, 4.0])
    codes, best = dealt_out(scores, squares)
    np.testing.assert_array_equal(codes, [0, 2, 0, -1, 1])  # gene 1 leaves 4 of its 8 unexplained
    np.testing.assert_allclose(best, [3, np.sqrt(8), 1, 0, 2])
    # It may not take the only gene of another program.
    codes, _ = dealt_out(np.array([[2.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.1, 0.0, 0.0]]), np.array([5.0, 9.0, 1.0]))
    assert sorted(codes) == [0, 1, 2]


def test_no_program_ends_without_a_gene():
    """Genes in proportion to each other give no reason to be dealt out, and a start may leave programs empty."""
    x = np.random.default_rng(0).random((50, 1))
    X = x * np.arange(1.0, 9.0)
    start = np.tile(x, 3)
    for init in ("varimax", "random", start):
        model, W = fit(X, 3, init=init)
        assert_is_orthogonal(model, W)
        assert set(model.labels_) == {0, 1, 2}
        assert model.error_ <= 1e-6 * np.linalg.norm(X)


def test_genes_that_fit_no_program_are_unassigned():
    X, _, labels = disjoint(noise=0.0)
    stranger = np.zeros((400, 2))
    stranger[7, 0] = 1.0  # expressed by a single cell; the other one (row 6) by none
    model, W = fit(np.hstack([X, stranger]))
    assert_is_orthogonal(model, W)
    assert list(model.labels_[-2:]) == [-1, -1]
    assert adjusted_rand_score(labels, model.labels_[:-2]) == 1
    assert fit(np.hstack([X, stranger]), min_share=0)[0].labels_[-1] == -1

    Ht = unit_columns(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
    left = without_strangers(Ht, np.array([0.02, 0.5, 0.001]), 0.1)
    np.testing.assert_allclose(left, [[0, 0], [1, 0], [0, 1]])  # the last gene of a program stays


def test_cells_without_expression_have_no_usage():  # row 5
    X, _, _ = disjoint()
    X[3] = 0
    _, W = fit(X)
    assert (W[3] == 0).all()
    assert np.isfinite(W).all()


# --- the form of the input, threads, seeds -------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["em", "mu"])
def test_dense_csr_and_csc_agree(solver):
    X, _, _ = disjoint()
    reference, W = fit(X, solver=solver, max_iter=2_000)
    for other in (sparse.csr_matrix(X), sparse.csc_matrix(X), sparse.csr_array(X), X.astype(np.float32)):
        model, V = fit(other, solver=solver, max_iter=2_000)
        np.testing.assert_array_equal(model.labels_, reference.labels_)
        np.testing.assert_allclose(V, W, rtol=0, atol=(1e-4 if V.dtype == np.float32 else 1e-8) * W.max())
    wide, V = fit(X[:60])
    assert_is_orthogonal(wide, V)


@pytest.mark.parametrize("solver", ["em", "mu"])
def test_threads_and_repeats_change_nothing(solver):
    X = sparse.csr_matrix(disjoint(9_000, 60, 5, dtype=np.float32)[0])
    one, W = fit(X, solver=solver, n_jobs=1, max_iter=20, tol=0)
    for n_jobs in (1, 3):
        other, V = fit(X, solver=solver, n_jobs=n_jobs, max_iter=20, tol=0)
        np.testing.assert_array_equal(V, W)
        np.testing.assert_array_equal(other.components_, one.components_)


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"n_components": 0}, ValueError, "n_components=0 is too small"),  # row 23
        ({"n_components": 2.5}, TypeError, "n_components=2.5 is a float"),  # row 24
        ({"n_components": True}, TypeError, "n_components=True is a bool"),  # row 25
        ({"n_components": 121}, ValueError, "Pass at most 120"),  # row 27
        ({"tol": -1}, ValueError, "tol=-1"),  # row 31
        ({"max_iter": 0}, ValueError, "max_iter=0"),
        ({"solver": "hals"}, ValueError, "Choose one of 'em', 'mu'"),  # row 32
        ({"init": "svd"}, ValueError, "Choose one of 'varimax', 'random'"),
        ({"random_state": -1}, ValueError, "random_state=-1"),  # row 33
        ({"init": np.ones((3, 3))}, ValueError, r"init has shape \(3, 3\)"),  # row 34
        ({"init": -np.ones((400, 5))}, ValueError, "2000 negative values"),
        ({"n_jobs": 0}, ValueError, "n_jobs=0"),  # row 35
        ({"min_share": 2}, ValueError, "min_share=2"),
    ],
)
def test_bad_parameters(params, error, message):
    X, _, _ = disjoint()
    with pytest.raises(error, match=message):
        fit(X, **{"k" if name == "n_components" else name: value for name, value in params.items()})


def test_bad_matrices():
    X, _, _ = disjoint()
    with pytest.raises(ValueError, match="Negative values in data: 48000 of 48000"):  # row 3
        fit(-X - 1)
    with pytest.raises(ValueError, match="no signal"):  # row 4
        fit(np.zeros((20, 20)))
    few = np.zeros((50, 40))
    few[:, :4] = X[:50, :4] + 1
    with pytest.raises(ValueError, match="4 of them with a signal"):  # row 27: genes without signal are not enough
        fit(few)
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):  # row 30
        assert not fit(disjoint(noise=1.0)[0], max_iter=1)[0].converged_


# --- tl.onmf -------------------------------------------------------------------------------------------------------


def make_screen(n_cells=400, n_genes=150, n_programs=5) -> AnnData:
    adata = scp.datasets.simulate_screen(
        n_cells, n_genes, n_programs, n_cell_types=2, n_perturbations=6, library_size=800, random_state=0
    )
    X = adata.X.copy()
    X.data *= np.repeat(1e4 / np.asarray(X.sum(axis=1)).ravel(), np.diff(X.indptr)).astype(np.float32)
    adata.X = X.log1p()
    adata.layers["doubled"] = adata.X * 2
    adata.var["highly_variable"] = np.arange(adata.n_vars) % 3 != 0
    return adata


@pytest.fixture(scope="module")
def template():
    return make_screen()


@pytest.fixture
def adata(template):
    return template.copy()


def test_the_slots(adata, tmp_path):
    before = {slot: set(getattr(adata, slot).keys()) for slot in ("obs", "var", "obsm", "varm", "uns")}
    assert scp.tl.onmf(adata, 5) is None
    written = {slot: set(getattr(adata, slot).keys()) - names for slot, names in before.items()}
    assert written == {
        "obs": {"onmf_program"},
        "var": {"onmf_program"},
        "obsm": {"X_onmf"},
        "varm": {"onmf_loadings", "onmf_model"},
        "uns": {"onmf"},
    }
    loadings, program = adata.varm["onmf_loadings"], adata.var["onmf_program"]
    assert list(program.cat.categories) == [*(f"program_{i}" for i in range(5)), "unassigned"]
    assert ((loadings > 0).sum(axis=1) == (program != "unassigned").to_numpy()).all()
    for i in range(5):
        np.testing.assert_array_equal(program == f"program_{i}", loadings[:, i] > 0)
    np.testing.assert_allclose(loadings.T @ loadings, np.eye(5), atol=1e-6)
    np.testing.assert_allclose(adata.obsm["X_onmf"], np.maximum(adata.X @ loadings, 0), rtol=1e-4, atol=1e-5)
    model = OrthogonalNMF(5, random_state=0).fit(adata.X)
    np.testing.assert_array_equal(model.components_.T, loadings)
    params = adata.uns["onmf"]["params"]
    assert params["method"] == "onmf"
    assert params["orthogonality"] == 0
    assert params["tol"] == 1e-6

    adata.write_h5ad(tmp_path / "x.h5ad")  # row 43
    back = ad.read_h5ad(tmp_path / "x.h5ad")
    assert list(back.var["onmf_program"]) == list(program)
    np.testing.assert_array_equal(back.varm["onmf_loadings"], loadings)
    assert scp.get.usages(back, key="onmf").shape == (400, 5)


def test_genes_outside_the_fit_go_to_the_program_that_fits_them_best(adata):  # row 44
    scp.tl.onmf(adata, 5, mask_var="highly_variable", layer="doubled")
    W, loadings = adata.obsm["X_onmf"].astype(float), adata.varm["onmf_loadings"]
    used = adata.varm["onmf_model"]["used"].to_numpy()
    np.testing.assert_array_equal(used, adata.var["highly_variable"])
    np.testing.assert_allclose(loadings[used].T @ loadings[used], np.eye(5), atol=1e-6)
    X = adata.layers["doubled"].toarray().astype(float)
    for gene in np.flatnonzero(~used):
        slopes = W.T @ X[:, gene] / np.square(W).sum(axis=0)
        left = [np.square(X[:, gene] - W[:, p] * slopes[p]).sum() for p in range(5)]
        best = int(np.argmin(left))
        if adata.var["onmf_program"].iloc[gene] == "unassigned":
            assert min(left) >= 0.99 * np.square(X[:, gene]).sum()
        else:
            assert adata.var["onmf_program"].iloc[gene] == f"program_{best}"
            assert loadings[gene, best] == pytest.approx(slopes[best], rel=1e-4)
        assert (loadings[gene] > 0).sum() <= 1


def test_another_factorization_under_the_same_key_takes_the_genes_programs_away(adata):  # row 41
    scp.tl.onmf(adata, 4, key_added="programs")
    assert adata.var["programs_program"].nunique() >= 4
    scp.tl.semi_nmf(adata, 4, key_added="programs")
    assert "programs_program" not in adata.var


def test_copy_and_view(adata):  # row 38
    changed = scp.tl.onmf(adata, 4, solver="mu", max_iter=2_000, copy=True)
    assert "X_onmf" in changed.obsm
    assert "onmf_program" in changed.var
    assert changed.uns["onmf"]["params"]["orthogonality"] > 0
    assert "X_onmf" not in adata.obsm
    assert "onmf_program" not in adata.var
    view = adata[:300]
    with warnings.catch_warnings():
        warnings.simplefilter("error", ad.ImplicitModificationWarning)
        scp.tl.onmf(view, 4)
    assert view.obsm["X_onmf"].shape == (300, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_programs": 0}, ValueError, "n_programs=0"),  # row 23
        ({"n_programs": "3"}, TypeError, "n_programs='3'"),  # row 24
        ({"n_programs": 151}, ValueError, "n_programs=151 exceeds the 150 directions"),  # row 27
        ({"layer": "zz"}, KeyError, "'doubled'"),  # row 36
        ({"layer": "signed"}, ValueError, r"adata.layers\['signed'\] has \d+ negative values.*semi_nmf"),  # row 3
        ({"mask_var": np.ones(3, dtype=bool)}, ValueError, "mask_var"),  # row 37
        ({"key_added": "a/b"}, ValueError, "key_added='a/b'"),  # row 42
        ({"solver": "hals"}, ValueError, "solver='hals'"),  # row 32
    ],
)
def test_bad_arguments_change_nothing(adata, arguments, error, message):  # row 46
    adata.layers["signed"] = adata.X * -1
    keys = {slot: set(getattr(adata, slot).keys()) for slot in ("obs", "var", "obsm", "varm", "uns")}
    with pytest.raises(error, match=message):
        scp.tl.onmf(adata, **arguments)
    assert {slot: set(getattr(adata, slot).keys()) for slot in keys} == keys


def test_counts_are_warned_about(adata):
    adata.layers["counts"] = np.round(adata.X.toarray() * 3)
    with pytest.warns(ProgramsWarning, match="integers"):
        scp.tl.onmf(adata, 3, layer="counts")
    assert "onmf" in slots.keys_of(adata)
