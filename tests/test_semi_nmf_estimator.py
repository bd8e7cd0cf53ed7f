"""SemiNMF finds planted programs, at the error that its figures say, and does not depend on how its input is held."""

from __future__ import annotations

import logging
import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linear_sum_assignment, nnls
from sklearn.base import clone
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

from planted import least_error, matched_correlations, planted
from scprograms.datasets import simulate_screen
from scprograms.programs import engine
from scprograms.programs.engine import SemiNMF

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

INITS = ("varimax", "svd", "kmeans", "nndsvd", "random")


def fit(X, k=5, *, control=None, **kwargs):
    model = SemiNMF(k, **{"random_state": 0, **kwargs})
    return model, model.fit_transform(X, control=control)


def dense_error(model, X, W):
    """The residual in scaled units, formed entry by entry in float64."""
    X = X.toarray() if sparse.issparse(X) else X
    left = (X.astype(float) - model.center_) / model.scale_ - model.baseline_ - W.astype(float) @ model.components_
    return np.linalg.norm(left)


def assert_same_programs(W, V, *, atol):
    """The same usages, maybe in another order."""
    W, V = W / W.max(), V / V.max()
    rows, columns = linear_sum_assignment([[np.abs(w - v).max() for v in V.T] for w in W.T])
    np.testing.assert_allclose(W[:, rows], V[:, columns], rtol=0, atol=atol)


@pytest.fixture(scope="module")
def unsigned():
    return planted(500, 120, 5)[0]


@pytest.fixture(scope="module")
def signed():
    return planted(500, 120, 5, signed=True)[0]


# --- programs are found again --------------------------------------------------------------------------------------


def log_normalised(**kwargs):
    adata = simulate_screen(random_state=0, **kwargs)
    X = adata.X.copy()
    X.data *= np.repeat(1e4 / np.asarray(X.sum(axis=1)).ravel(), np.diff(X.indptr)).astype(np.float32)
    adata.X = X.log1p()
    return adata


@pytest.fixture(scope="module", params=["easy", "hard"])
def screen(request):
    """Five thousand cells and 2,000 genes with 20 programs, the usages of those to be found, and how well they are."""
    hard = {"activity": 0.5, "usage_correlation": 0.3, "n_cell_types": 1}
    adata = log_normalised(**(hard if request.param == "hard" else {}))
    # The usages of a cell sum to 1, so that of the housekeeping program is 1 minus the others. Loadings of either sign
    # can give its genes to a baseline that all programs share: its usage is not identifiable, and is left out.
    found = adata.uns["truth"]["programs"]["kind"].to_numpy() != "housekeeping"
    return adata.X, adata.obsm["true_usages"][:, found], {"easy": 0.92, "hard": 0.88}[request.param]


def test_programs_of_a_screen_are_recovered_at_the_least_error(screen):
    X, truth, at_least = screen
    model, W = fit(X, 20)
    recovery = matched_correlations(W, truth).mean()
    assert recovery >= at_least
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = NMF(20, init="nndsvda", random_state=0).fit_transform(X)
    assert recovery >= matched_correlations(theirs, truth).mean() - 0.01

    bound = least_error(X, 20)
    assert model.error_ / bound <= 1.002
    assert model.error_bound_ == pytest.approx(bound, rel=1e-4)
    assert model.error_ == pytest.approx(dense_error(model, X, W), rel=1e-5)

    closed, _ = fit(X.astype(float), 20, init="svd", l1=0)
    assert abs(closed.error_ / bound - 1) <= 1e-6
    assert abs(closed.error_ratio_ - 1) <= 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_signed_centred_programs_are_recovered_with_the_intercept(seed):
    X, truth, _ = planted(2_000, 200, 6, signed=True, noise=1.0, seed=seed)
    X -= X.mean(axis=0)
    model, W = fit(X, 6)
    assert model.intercept_
    assert matched_correlations(W, truth).mean() >= 0.97
    assert model.error_ / least_error(X, 6) <= 1.005
    _, without = fit(X, 6, fit_intercept=False)
    assert matched_correlations(without, truth).mean() < 0.9


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("solver", ["hals", "mu"])
@pytest.mark.parametrize("data", ["unsigned", "signed"])
def test_every_start_and_solver_comes_near_the_bound(init, solver, data, request):
    X = request.getfixturevalue(data)
    model, W = fit(X, init=init, solver=solver, max_iter=1_000, l1=0)
    assert W.shape == (500, 5)
    assert (W >= 0).all()
    assert np.isfinite(model.components_).all()
    bound = least_error(X - X.mean(axis=0) if model.intercept_ else X, 5)
    # Multiplicative updates stall on data with both signs: a reason why they are not the default.
    at_most = 1.5 if (solver, data) == ("mu", "signed") else 1.03
    assert 1 - 1e-9 <= model.error_ / bound <= at_most
    assert model.error_ == pytest.approx(dense_error(model, X, W), rel=1e-10)
    assert model.intercept_ == (data == "signed")


def test_start_as_an_array(unsigned):
    _, truth, _ = planted(500, 120, 5)
    before = truth.copy()
    model, W = fit(unsigned, init=truth)
    np.testing.assert_array_equal(truth, before)
    assert matched_correlations(W, truth).mean() > 0.95
    assert model.error_ratio_ < 1.01


def test_pbmc68k_reduced():
    """Scaled expression of blood cells: both signs, so the intercept comes by itself."""
    scanpy = pytest.importorskip("scanpy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scanpy reads an old file
        adata = scanpy.datasets.pbmc68k_reduced()
    X = adata.X
    model, W = fit(X, 10)
    assert model.intercept_
    assert (W >= 0).all()
    assert model.error_ / least_error(X - X.mean(axis=0, dtype=float), 10) <= 1.005
    assert model.error_ == pytest.approx(dense_error(model, X, W), rel=1e-5)
    labels = adata.obs["bulk_labels"]
    precision = np.array(
        [[average_precision_score(labels == label, w) for w in W.T] for label in labels.cat.categories]
    )
    rows, columns = linear_sum_assignment(-precision)
    assert precision[rows, columns].mean() >= 0.54


# --- how the input is held -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kwargs", [{}, {"scale": True}, {"init": "nndsvd"}, {"solver": "mu", "max_iter": 20, "tol": 0}], ids=str
)
@pytest.mark.parametrize("data", ["unsigned", "signed"])
def test_dense_and_sparse_agree_in_single_precision(kwargs, data, request):
    X = request.getfixturevalue(data).astype(np.float32)
    reference, W = fit(X, **kwargs)
    for held in (
        np.asfortranarray(X),
        sparse.csr_matrix(X),
        sparse.csc_matrix(X),
        sparse.csr_array(X),
        sparse.csc_array(X),
    ):
        model, V = fit(held, **kwargs)
        np.testing.assert_allclose(V, W, rtol=0, atol=1e-5 * W.max())
        np.testing.assert_allclose(model.components_, reference.components_, rtol=0, atol=1e-5)
        assert model.error_ == pytest.approx(reference.error_, rel=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("kwargs", [{}, {"scale": True}, {"solver": "mu"}, *({"init": i} for i in INITS)], ids=str)
def test_the_dtype_is_kept_row_9(dtype, holder, kwargs, unsigned):
    X = holder(unsigned.astype(dtype))
    model, W = fit(X, **kwargs)
    assert W.dtype == model.components_.dtype == model.transform(X).dtype == model.inverse_transform(W).dtype == dtype
    for figure in (model.baseline_, model.center_, model.scale_, model.variance_explained_):
        assert figure.dtype == np.float64


def test_single_precision_is_close_to_double(unsigned):
    (single, W), (double, V) = fit(unsigned.astype(np.float32)), fit(unsigned)
    np.testing.assert_allclose(W, V, atol=1e-3 * V.max())
    assert single.error_ == pytest.approx(double.error_, rel=1e-5)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, bool, np.float16])
def test_other_dtypes_are_cast_row_7_and_8(dtype, unsigned):
    X = np.round(unsigned).astype(dtype)
    _, W = fit(X)
    np.testing.assert_array_equal(W, fit(X.astype(float))[1])


# --- what must not matter ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["unsigned", "signed"])
@pytest.mark.parametrize("kwargs", [{}, {"solver": "mu"}, {"scale": True}], ids=str)
def test_the_order_of_the_cells(data, kwargs, request):
    X = request.getfixturevalue(data)
    order = np.random.default_rng(0).permutation(len(X))
    (model, W), (shuffled, V) = fit(X, **kwargs), fit(X[order], **kwargs)
    np.testing.assert_allclose(V, W[order], rtol=0, atol=1e-4 * W.max())
    np.testing.assert_allclose(shuffled.components_, model.components_, rtol=0, atol=1e-4)


@pytest.mark.parametrize("data", ["unsigned", "signed"])
def test_the_order_of_the_genes(data, request):
    X = request.getfixturevalue(data)
    order = np.random.default_rng(0).permutation(X.shape[1])
    (model, W), (shuffled, V) = fit(X), fit(X[:, order])
    # The sketch starts from other random directions: equal up to its tolerance, not to rounding.
    assert_same_programs(V, W, atol=0.01)
    np.testing.assert_allclose(shuffled.components_, model.components_[:, order], rtol=0, atol=0.01)


@pytest.mark.parametrize("kwargs", [{}, {"fit_intercept": True}, {"center": "mean", "scale": True}], ids=str)
def test_genes_without_counts_change_nothing_row_6(kwargs, unsigned):
    (model, W), (wide, V) = fit(unsigned, **kwargs), fit(np.hstack([unsigned, np.zeros((500, 7))]), **kwargs)
    assert_same_programs(V, W, atol=0.01)
    assert wide.error_ == pytest.approx(model.error_, rel=1e-4)
    np.testing.assert_allclose(wide.components_[:, -7:], 0, atol=1e-10)
    np.testing.assert_allclose(wide.baseline_[-7:] + wide.center_[-7:], 0, atol=1e-10)
    assert (wide.scale_[-7:] == 1).all()


@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix])
def test_cells_without_counts_have_no_usage_row_5(holder, unsigned):
    X = unsigned.copy()
    X[[0, 77, 499]] = 0
    _, W = fit(holder(X))
    np.testing.assert_array_equal(W[[0, 77, 499]], 0)
    assert np.isfinite(W).all()


@pytest.mark.parametrize("data", ["unsigned", "signed"])
@pytest.mark.parametrize("factor", [4.0, 2.0**-20])
def test_the_unit_of_the_matrix(data, factor, request):
    X = request.getfixturevalue(data)
    (model, W), (scaled, V) = fit(X), fit(X * factor)
    np.testing.assert_allclose(V, W * factor, rtol=1e-9, atol=1e-9 * factor)
    np.testing.assert_allclose(scaled.components_, model.components_, atol=1e-9)
    assert scaled.error_ == pytest.approx(factor * model.error_, rel=1e-9)
    assert scaled.error_ratio_ == pytest.approx(model.error_ratio_, rel=1e-9)
    assert scaled.l1_penalty_ == pytest.approx(factor * model.l1_penalty_, rel=1e-9)


@pytest.mark.parametrize("solver", ["hals", "mu"])
def test_a_shift_of_the_columns_is_only_a_shift_of_the_baseline(solver, signed):
    shift = np.random.default_rng(0).normal(scale=20, size=signed.shape[1])
    kwargs = {"fit_intercept": True, "solver": solver}
    (model, W), (shifted, V) = fit(signed, **kwargs), fit(signed + shift, **kwargs)
    np.testing.assert_allclose(V, W, rtol=0, atol=1e-6 * W.max())
    np.testing.assert_allclose(shifted.components_, model.components_, rtol=0, atol=1e-6)
    np.testing.assert_allclose(shifted.baseline_, model.baseline_ + shift, rtol=0, atol=1e-6 * np.abs(shift).max())
    assert shifted.error_ == pytest.approx(model.error_, rel=1e-9)


@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("scale", [False, True])
def test_centring_on_the_mean_equals_an_intercept_on_the_matrix_as_it_is(holder, scale, unsigned):
    X = holder(unsigned)
    (centred, W), (free, V) = (
        fit(X, scale=scale, **kwargs) for kwargs in ({"center": "mean"}, {"fit_intercept": True})
    )
    np.testing.assert_allclose(W, V, rtol=0, atol=1e-8 * V.max())
    np.testing.assert_allclose(centred.components_, free.components_, atol=1e-8)
    np.testing.assert_allclose(centred.center_, unsigned.mean(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(free.center_, 0)
    sd = unsigned.std(axis=0, ddof=1) if scale else 1.0
    np.testing.assert_allclose(centred.scale_, sd, rtol=1e-10)
    np.testing.assert_allclose(centred.center_ / sd + centred.baseline_, free.baseline_, atol=1e-8)
    # And for dense data, it equals an intercept on what was centred and scaled by hand.
    _, by_hand = fit((unsigned - unsigned.mean(axis=0)) / sd, fit_intercept=True)
    np.testing.assert_allclose(W, by_hand, rtol=0, atol=1e-6 * V.max())


# --- centre, scale and intercept -----------------------------------------------------------------------------------


@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize("scale", [False, True])
def test_programs_as_deviations_from_control(holder, scale, unsigned):
    control = np.arange(500) % 4 == 0
    model, W = fit(holder(unsigned), center="control", scale=scale, control=control)
    np.testing.assert_allclose(model.center_, unsigned[control].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(model.scale_, unsigned[control].std(axis=0, ddof=1) if scale else 1.0, rtol=1e-10)
    np.testing.assert_array_equal(model.baseline_, 0)
    assert not model.intercept_
    assert model.error_ == pytest.approx(dense_error(model, unsigned, W), rel=1e-10)
    assert model.error_bound_ == pytest.approx(least_error((unsigned - model.center_) / model.scale_, 5), rel=1e-3)


@pytest.mark.parametrize(
    ("kwargs", "signs", "expected"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"center": "mean"}, False, True),
        ({"scale": True}, False, True),
        ({"center": "control"}, True, False),
        ({"fit_intercept": False}, True, False),
        ({"fit_intercept": True}, False, True),
        ({"fit_intercept": True, "center": "control"}, False, True),
    ],
    ids=str,
)
def test_when_there_is_an_intercept(kwargs, signs, expected, unsigned, signed):
    model, _ = fit(signed if signs else unsigned, control=np.arange(500) < 50, **kwargs)
    assert model.intercept_ is expected
    assert model.baseline_.any() == expected


def test_one_negative_entry_turns_the_intercept_on_and_the_log_says_so(unsigned, caplog):
    X = unsigned.copy()
    X[3, 4] = -1e-9
    with caplog.at_level(logging.INFO, logger="scprograms"):
        model, _ = fit(X)
    assert model.intercept_
    assert "1 of 60000 values are negative" in caplog.text


@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("kwargs", [{"scale": True}, {"scale": True, "center": "control"}], ids=str)
def test_a_gene_without_variance_is_not_scaled(holder, kwargs, unsigned, caplog):
    X = unsigned.copy()
    X[:, 7] = 0.1
    X[:100, 8] = 0
    with caplog.at_level(logging.INFO, logger="scprograms"):
        model, W = fit(holder(X), control=np.arange(500) < 100, **kwargs)
    constant = 2 if "center" in kwargs else 1
    assert model.scale_[7] == 1
    assert (model.scale_[8] == 1) == (constant == 2)
    assert f"{constant} of 120 columns have no variance" in caplog.text
    assert np.isfinite(W).all()
    assert np.isfinite(model.components_).all()


def test_scaled_signed_data_has_non_negative_usages(signed):
    model, W = fit(signed, scale=True, center="mean")
    assert (W >= 0).all()
    assert model.intercept_
    z = (signed - signed.mean(axis=0)) / signed.std(axis=0, ddof=1)
    assert model.error_ / least_error(z, 5) <= 1.01
    assert model.error_ == pytest.approx(np.linalg.norm(z - (W @ model.components_ + model.baseline_)), rel=1e-10)


def test_either_side_may_be_the_longer_one():
    X, truth, _ = planted(60, 3_000, 4, noise=0.2)
    model, W = fit(sparse.csr_matrix(X), 4)
    assert matched_correlations(W, truth).mean() > 0.95
    assert model.error_ / least_error(X, 4) < 1.01


# --- given factors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix])
def test_given_usages_get_least_squares_loadings(intercept, holder):
    X, W, _ = planted(300, 80, 5, signed=True)
    model = SemiNMF(5, fit_intercept=intercept, random_state=0)
    kept = model.fit_transform(holder(X), W=W)
    np.testing.assert_array_equal(kept, W)
    expected = np.linalg.lstsq(np.c_[W, np.ones((300, int(intercept)))], X, rcond=None)[0]
    np.testing.assert_allclose(model.components_, expected[:5], rtol=0, atol=1e-10)
    np.testing.assert_allclose(model.baseline_, expected[5] if intercept else 0, rtol=0, atol=1e-10)
    assert model.error_ == pytest.approx(dense_error(model, X, W), rel=1e-10)


@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix])
def test_given_loadings_get_non_negative_least_squares_usages(holder):
    X, _, H = planted(200, 80, 5, signed=True)
    model = SemiNMF(5, fit_intercept=False, l1=0, random_state=0)
    W = model.fit_transform(holder(X), H=H)
    np.testing.assert_array_equal(model.components_, H)
    expected = np.array([nnls(H.T, x)[0] for x in X])
    np.testing.assert_allclose(W, expected, atol=1e-5 * expected.max())
    assert model.error_ == pytest.approx(dense_error(model, X, W), rel=1e-10)


def test_given_loadings_with_an_intercept_reach_the_joint_optimum():
    X, _, H = planted(150, 60, 4, signed=True)
    X += np.linspace(-3, 3, 60)
    model = SemiNMF(4, fit_intercept=True, l1=0, tol=1e-12, max_iter=2_000, random_state=0)
    W = model.fit_transform(X, H=H)
    np.testing.assert_allclose(model.baseline_, (X - W @ H).mean(axis=0), atol=1e-6)
    expected = np.array([nnls(H.T, x - model.baseline_)[0] for x in X])
    np.testing.assert_allclose(W, expected, atol=1e-3 * expected.max())


def test_both_factors_given_is_an_error(unsigned):
    with pytest.raises(ValueError, match="W and H are both given"):
        SemiNMF(2).fit_transform(unsigned, W=np.ones((500, 2)), H=np.ones((2, 120)))


# --- the other methods ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"l1": 0}, {"fit_intercept": True}, {"center": "control", "scale": True}, {"init": "kmeans", "scale": True}],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_transform_gives_the_usages_of_the_fit(kwargs, dtype, unsigned):
    X = sparse.csr_matrix(unsigned.astype(dtype))
    model, W = fit(X, control=np.arange(500) < 100, **kwargs)
    # Against the control cells all programs look alike, and coordinate descent is slow: it ends a little earlier.
    atol = (1e-3 if "center" in kwargs else 1e-5 if dtype == np.float64 else 1e-4) * W.max()
    np.testing.assert_allclose(model.transform(X), W, rtol=0, atol=atol)
    # A cell's usage is its own: it does not depend on the cells beside it.
    np.testing.assert_allclose(model.transform(X[100:140]), W[100:140], rtol=0, atol=atol)
    np.testing.assert_allclose(model.transform(X.toarray()), W, rtol=0, atol=atol)


def test_inverse_transform(unsigned):
    control = np.arange(500) < 100
    model, W = fit(unsigned, center="control", scale=True, fit_intercept=True, control=control)
    modelled = model.inverse_transform(W)
    expected = (W @ model.components_ + model.baseline_) * model.scale_ + model.center_
    np.testing.assert_allclose(modelled, expected, rtol=1e-12)
    left = np.linalg.norm((unsigned - modelled) / model.scale_)
    assert left == pytest.approx(model.error_, rel=1e-10)


@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize("kwargs", [{}, {"center": "mean", "scale": True}], ids=str)
def test_residual_equals_the_dense_formula(holder, kwargs):
    X = planted(1_500, 40, 3)[0]  # more rows than are taken at once
    model, W = fit(holder(X), 3, **kwargs)
    modelled = (W @ model.components_ + model.baseline_) * model.scale_ + model.center_
    expected = 100 * np.abs(X - modelled).sum() / np.abs(X).sum()
    assert model.residual(holder(X), W) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("kwargs", [{}, {"fit_intercept": True, "scale": True}, {"center": "control"}], ids=str)
def test_loadings_of_other_columns_are_least_squares(kwargs, unsigned):
    control = np.arange(500) < 100
    model, W = fit(unsigned[:, :80], control=control, **kwargs)
    found = model.loadings_of(sparse.csr_matrix(unsigned), W, control=control)
    z = (unsigned - found["center"]) / found["scale"]
    solution = np.linalg.lstsq(np.c_[W, np.ones((500, int(model.intercept_)))], z, rcond=None)[0]
    np.testing.assert_allclose(found["loadings"], solution[:5], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found["baseline"], solution[5] if model.intercept_ else 0, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found["center"][:80], model.center_, atol=1e-12)
    np.testing.assert_allclose(found["scale"][:80], model.scale_, atol=1e-12)


def test_programs_are_in_order_with_unit_loadings(unsigned):
    model, W = fit(unsigned)
    np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1, rtol=1e-12)
    assert (np.diff(model.variance_explained_) <= 0).all()
    total = unsigned.var(axis=0).sum()
    expected = [np.outer(w, h).var(axis=0).sum() / total for w, h in zip(W.T, model.components_, strict=True)]
    np.testing.assert_allclose(model.variance_explained_, expected, rtol=1e-10)


def test_more_penalty_means_more_zeros_and_more_error(unsigned):
    fits = [fit(unsigned, l1=l1) for l1 in (0.0, 0.02, 0.1, 0.3)]
    zeros = [np.mean(W == 0) for _, W in fits]
    errors = [model.error_ for model, _ in fits]
    assert zeros == sorted(zeros)
    assert errors == sorted(errors)
    assert zeros[-1] > zeros[0] + 0.1
    assert fits[0][0].l1_penalty_ == 0


def test_the_history_is_the_course_of_the_error(unsigned):
    model, W = fit(unsigned, max_iter=7, tol=0)
    stages, errors = zip(*model.history_, strict=True)
    assert set(stages) == {"compressed", "full"}
    assert list(stages) == sorted(stages)
    assert errors[-1] == model.error_ == pytest.approx(dense_error(model, unsigned, W), rel=1e-10)
    assert model.n_iter_ == 7 + 1
    assert min(errors) >= model.error_bound_ * (1 - 1e-6)


# --- convergence, seeds, copies ------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["hals", "mu"])
def test_unconverged_fits_warn_row_30(solver, unsigned):
    with pytest.warns(ConvergenceWarning, match="max_iter=1 sweeps"):
        model, _ = fit(unsigned, solver=solver, max_iter=1, tol=1e-12)
    assert not model.converged_
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model, _ = fit(unsigned, solver=solver, max_iter=1_000)
    assert model.converged_
    assert model.n_iter_ < 1_000


SEEDS = {
    "int": lambda: 3,
    "np.int64": lambda: np.int64(3),
    "RandomState": lambda: np.random.RandomState(3),
    "Generator": lambda: np.random.default_rng(3),
    "SeedSequence": lambda: np.random.SeedSequence(3),
}


@pytest.mark.parametrize("kind", SEEDS)
@pytest.mark.parametrize("init", ["varimax", "random", "kmeans"])
def test_the_same_seed_gives_the_same_programs_row_33(kind, init, unsigned):
    one, two = (fit(unsigned, init=init, random_state=SEEDS[kind]())[1] for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_seeds_differ_and_none_is_a_seed_row_33(unsigned):
    one, two = (fit(unsigned, init="random", random_state=seed)[1] for seed in (0, 1))
    assert np.abs(one - two).max() > 0.01
    assert np.isfinite(fit(unsigned, random_state=None)[1]).all()


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (True, TypeError), ("a", TypeError), (0.5, TypeError)])
def test_bad_seeds_row_33(seed, error, unsigned):
    with pytest.raises(error, match=f"random_state={seed!r}"):
        fit(unsigned, random_state=seed)


def test_the_default_hardly_depends_on_the_seed(unsigned):
    assert_same_programs(fit(unsigned, random_state=0)[1], fit(unsigned, random_state=1)[1], atol=0.02)


def test_pickle_and_clone(unsigned):
    model, W = fit(unsigned, l1=0.05, scale=True)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.transform(unsigned), model.transform(unsigned))
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    assert not hasattr(fresh, "components_")
    np.testing.assert_array_equal(fresh.fit_transform(unsigned), W)


def test_names_of_the_output(unsigned):
    model = SemiNMF(3, random_state=0).set_output(transform="pandas")
    assert list(model.fit_transform(unsigned).columns) == ["seminmf0", "seminmf1", "seminmf2"]


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("holder", [np.array, sparse.csr_matrix], ids=["dense", "csr"])
@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")],
    ids=["row-1", "row-2", "row-2-"],
)
def test_missing_and_infinite_values(holder, value, message, unsigned):
    X = unsigned.copy()
    X[3, 4] = value
    with pytest.raises(ValueError, match=message):
        fit(holder(X))


@pytest.mark.parametrize("holder", [np.array, sparse.csr_matrix, sparse.csc_array], ids=["dense", "csr", "csc"])
@pytest.mark.parametrize(
    ("X", "kwargs"),
    [(np.zeros((9, 5)), {}), (np.ones((9, 5)), {"fit_intercept": True}), (np.full((9, 5), 0.5), {"scale": True})],
    ids=["zeros", "constant", "constant-scaled"],
)
def test_no_signal_row_4(holder, X, kwargs):
    with pytest.raises(ValueError, match="no signal"):
        fit(holder(X), 2, **kwargs)


@pytest.mark.parametrize("holder", [np.array, sparse.csr_matrix], ids=["dense", "csr"])
@pytest.mark.parametrize(
    ("scale", "dtype", "message"),
    [(1e300, float, "large"), (1e30, np.float32, "large"), (1e-300, float, "small"), (1e-30, np.float32, "small")],
)
def test_extreme_units_are_refused_row_22(holder, scale, dtype, message, unsigned):
    with pytest.raises(ValueError, match=message):
        fit(holder((unsigned * scale).astype(dtype)))


@pytest.mark.parametrize(("scale", "dtype"), [(1e150, float), (1e-100, float), (1e15, np.float32), (1e-12, np.float32)])
def test_unusual_units_are_fine_row_22(scale, dtype, unsigned):
    model, W = fit((unsigned * scale).astype(dtype))
    assert np.isfinite(W).all()
    assert model.error_ratio_ == pytest.approx(fit(unsigned)[0].error_ratio_, rel=1e-2)


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (1, 1), (2, 2)])
@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("k", [1, 3])
def test_one_cell_or_gene_row_21_and_more_programs_than_directions_row_27(shape, init, k, caplog):
    X = np.random.default_rng(0).random(shape) + 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model, W = fit(X, k, init=init)
    assert W.shape == (shape[0], k)
    assert np.isfinite(W).all()
    assert model.error_ <= 0.1 * np.linalg.norm(X) or k < min(shape)
    if k > min(shape):
        assert f"{k} programs exceed the smaller side of the matrix ({shape[0]} x {shape[1]})" in caplog.text


def test_one_cell_with_an_intercept_row_21():
    with pytest.raises(ValueError, match=r"n_samples = 1"):
        fit(np.ones((1, 9)), 1, fit_intercept=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("l1", [0.0, 0.02])
@pytest.mark.parametrize("k", [3, 6])
def test_a_ratio_to_rounding_error_is_not_given(dtype, l1, k):
    rng = np.random.default_rng(0)
    X = (rng.gamma(0.3, size=(200, 3)) @ rng.gamma(0.3, size=(3, 40))).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model, _ = fit(X, k, l1=l1)
    assert np.isnan(model.error_ratio_)
    assert model.error_ < 0.05 * np.linalg.norm(X)


@pytest.mark.parametrize("kwargs", [{"l1": 100.0}, {"init": np.zeros((500, 5))}], ids=["penalty", "start"])
def test_a_fit_without_usages_is_refused(kwargs, unsigned):
    with pytest.raises(ValueError, match="Every usage ended at 0 with l1="):
        fit(unsigned, **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        pytest.param({"n_components": 0}, ValueError, "n_components=0 is too small", id="row-23"),
        pytest.param({"n_components": -1}, ValueError, "n_components=-1 is too small", id="row-23-negative"),
        pytest.param({"n_components": 2.5}, TypeError, "n_components=2.5 is a float", id="row-24"),
        pytest.param({"n_components": "3"}, TypeError, "n_components='3' is a str", id="row-24-str"),
        pytest.param({"n_components": True}, TypeError, "n_components=True is a bool", id="row-25"),
        pytest.param({"max_iter": 0}, ValueError, "max_iter=0", id="row-31"),
        pytest.param({"tol": -1}, ValueError, "tol=-1", id="row-31-tol"),
        pytest.param({"tol": np.nan}, ValueError, "tol=nan", id="row-31-nan"),
        pytest.param({"l1": -0.1}, ValueError, "l1=-0.1", id="l1"),
        pytest.param({"l1": "x"}, TypeError, "l1='x' is a str", id="l1-str"),
        pytest.param(
            {"init": "pca"}, ValueError, "init='pca' is not known. Choose one of 'varimax', 'svd'", id="row-32"
        ),
        pytest.param(
            {"solver": "cd"}, ValueError, "solver='cd' is not known. Choose one of 'hals', 'mu'", id="row-32-s"
        ),
        pytest.param({"center": "median"}, ValueError, "center='median'", id="row-32-center"),
        pytest.param({"scale": "yes"}, ValueError, "scale='yes'", id="row-32-scale"),
        pytest.param({"fit_intercept": 1}, ValueError, "fit_intercept=1", id="row-32-intercept"),
        pytest.param({"init": np.ones((500, 4))}, ValueError, r"init has shape \(500, 4\); \(500, 5\)", id="row-34"),
        pytest.param({"init": -np.ones((500, 5))}, ValueError, "init has 2500 negative values", id="row-34-sign"),
        pytest.param({"init": np.full((500, 5), np.nan)}, ValueError, "init has NaN", id="row-34-nan"),
        pytest.param({"init": [["a"]]}, TypeError, "init is a list that is no array of numbers", id="row-34-dtype"),
        pytest.param({"n_jobs": 0}, ValueError, "n_jobs=0", id="row-35"),
        pytest.param({"center": "control"}, ValueError, "center='control' needs control=", id="row-48"),
    ],
)
def test_bad_parameters(kwargs, error, message, unsigned):
    with pytest.raises(error, match=message):
        SemiNMF(**{"n_components": 5, **kwargs}).fit(unsigned)


def test_numpy_integers_are_fine_row_26(unsigned):
    assert fit(unsigned, np.int64(3))[1].shape == (500, 3)


@pytest.mark.parametrize(
    "control", [np.zeros(500, bool), np.ones(499, bool), np.arange(500)], ids=["none", "short", "int"]
)
def test_bad_control_masks_row_37(control, unsigned):
    with pytest.raises(ValueError, match="control has dtype"):
        fit(unsigned, center="control", control=control)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"W": np.ones((499, 5))}, r"W has shape \(499, 5\)"),
        ({"W": -np.ones((500, 5))}, "W has 2500 negative values"),
        ({"H": np.ones((120, 5))}, r"H has shape \(120, 5\)"),
        ({"H": np.full((5, 120), np.inf)}, "H has NaN or infinite"),
    ],
    ids=["W-shape", "W-sign", "H-shape", "H-inf"],
)
def test_bad_factors_row_34(given, message, unsigned):
    with pytest.raises(ValueError, match=message):
        SemiNMF(5).fit_transform(unsigned, **given)


def test_the_nmf_start_is_an_nmf_whose_loadings_are_set_free():
    X = _non_negative()
    free = SemiNMF(4, init="nmf", l1=0, random_state=0).fit(X)
    usages = engine.NMF(4, random_state=0).fit_transform(X)
    by_hand = SemiNMF(4, init=usages, l1=0, random_state=0).fit(X)
    assert free.error_ == pytest.approx(by_hand.error_, rel=1e-3)
    assert free.error_ < engine.NMF(4, random_state=0).fit(X).error_ * (1 + 1e-4)
    similarity = np.abs(free.components_ @ by_hand.components_.T)
    assert similarity.max(axis=1).min() > 0.99


def _non_negative():
    rng = np.random.default_rng(3)
    W = rng.gamma(1.0, size=(300, 4)) * (rng.random((300, 4)) < 0.4)
    return W @ rng.gamma(0.5, size=(4, 40)) + 0.2 * rng.random((300, 40))


@pytest.mark.parametrize("options", [{"fit_intercept": True}, {"center": "mean"}, {"scale": True}])
def test_the_nmf_start_needs_data_as_they_are(options):
    with pytest.raises(ValueError, match="init='nmf' starts from non-negative data"):
        SemiNMF(3, init="nmf", **options).fit(_non_negative())
