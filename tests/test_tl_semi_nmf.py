"""tl.semi_nmf writes exactly its slots, all or none of them, and says what is wrong with bad input."""

from __future__ import annotations

import copy
import sys
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

import scprograms as scp
from planted import least_error, matched_correlations
from scprograms import ProgramsWarning
from scprograms._anndata import matrix, slots
from scprograms.programs.engine import SemiNMF

SLOTS = {
    "obsm": {"X_semi_nmf"},
    "varm": {"semi_nmf_loadings", "semi_nmf_model"},
    "obs": {"semi_nmf_program"},
    "uns": {"semi_nmf"},
}
FIGURES = {"params", "programs", "history", "error", "error_bound", "error_ratio", "l1_penalty", "n_iter", "converged"}


def make_screen(seed=0) -> AnnData:
    adata = scp.datasets.simulate_screen(
        400, 150, 5, n_cell_types=2, n_perturbations=6, library_size=800, random_state=seed
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


def dense(adata, layer=None):
    X = adata.X if layer is None else adata.layers[layer]
    return np.asarray(X.toarray() if sparse.issparse(X) else X, dtype=float)


def assert_equal(a, b):
    """Equal in content and in type, however deep."""
    if isinstance(a, dict) or (hasattr(a, "keys") and not isinstance(a, pd.DataFrame | pd.Series)):
        assert list(a) == list(b)
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b)
    elif sparse.issparse(a):
        assert a.format == b.format
        for part in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(a, part), getattr(b, part))
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b or (a != a and b != b)


def assert_same_adata(a, b):
    for slot in ("X", "obs", "var", "layers", "obsm", "varm", "obsp", "uns"):
        x, y = getattr(a, slot), getattr(b, slot)
        assert_equal(x, y) if slot in ("X", "obs", "var") else assert_equal(dict(x), dict(y))


@pytest.fixture
def unchanged():
    """Whatever happens to the AnnData given to it within the test, it must be as before at its end."""
    watched = []

    def watch(adata):
        watched.append((adata, adata.copy(), copy.deepcopy(dict(adata.uns))))
        return adata

    yield watch
    assert watched
    for adata, before, uns in watched:
        assert_same_adata(adata, before)
        assert_equal(dict(adata.uns), uns)


# --- slots ---------------------------------------------------------------------------------------------------------


def test_exactly_the_slots_of_the_contract(adata):
    before = {slot: set(getattr(adata, slot).keys()) for slot in SLOTS}
    X = adata.X.copy()
    assert scp.tl.semi_nmf(adata, 5) is None
    for slot, names in SLOTS.items():
        assert set(getattr(adata, slot).keys()) - before[slot] == names
    assert_equal(adata.X, X)
    assert not adata.varp
    assert not adata.obsp

    W, H = adata.obsm["X_semi_nmf"], adata.varm["semi_nmf_loadings"]
    assert W.shape == (400, 5)
    assert H.shape == (150, 5)
    assert W.dtype == H.dtype == np.float32
    assert (W >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(H, axis=0), 1, rtol=1e-5)

    model = adata.varm["semi_nmf_model"]
    assert list(model.columns) == ["baseline", "center", "scale", "used"]
    assert model.index.equals(adata.var_names)
    assert model["used"].dtype == bool
    assert model["used"].all()

    uns = adata.uns["semi_nmf"]
    assert set(uns) == FIGURES
    programs = uns["programs"]
    assert list(programs.index) == [f"program_{i}" for i in range(5)]
    assert list(programs.columns) == ["variance_explained", "sparsity", "stability"]
    assert programs["variance_explained"].is_monotonic_decreasing
    np.testing.assert_allclose(programs["sparsity"], (W == 0).mean(axis=0))
    assert programs["stability"].isna().all()
    history = uns["history"]
    assert set(history.columns) == {"iteration", "stage", "loss", "error_ratio"}
    assert set(history["stage"]) == {"compressed", "full"}
    assert history["iteration"].dtype.kind == "i"
    assert history["loss"].iloc[-1] == uns["error"]
    np.testing.assert_allclose(history["error_ratio"], history["loss"] / uns["error_bound"])


def test_the_figures_equal_the_dense_residual(adata):
    scp.tl.semi_nmf(adata, 5)
    X, uns = dense(adata), adata.uns["semi_nmf"]
    left = X - adata.obsm["X_semi_nmf"].astype(float) @ adata.varm["semi_nmf_loadings"].T
    assert uns["error"] == pytest.approx(np.linalg.norm(left), rel=1e-5)
    assert uns["error_ratio"] == pytest.approx(uns["error"] / uns["error_bound"])
    assert uns["error_bound"] == pytest.approx(least_error(X, 5), rel=1e-3)
    assert uns["error_ratio"] <= 1.005
    assert uns["converged"] is True


def test_the_programs_are_the_planted_ones(adata):
    scp.tl.semi_nmf(adata, 5)
    found = adata.uns["truth"]["programs"]["kind"].to_numpy() != "housekeeping"
    assert matched_correlations(adata.obsm["X_semi_nmf"], adata.obsm["true_usages"][:, found]).mean() > 0.7


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"scale": True}, {"center": "mean"}, {"center": "control", "scale": True}, {"fit_intercept": True}],
    ids=str,
)
def test_the_model_of_a_gene_is_all_that_is_needed_to_put_it_together_again(kwargs, adata):
    if kwargs.get("center") == "control":
        kwargs = {**kwargs, "control": ("perturbation", "non-targeting")}
    scp.tl.semi_nmf(adata, 4, **kwargs)
    model = adata.varm["semi_nmf_model"]
    terms = adata.obsm["X_semi_nmf"].astype(float) @ adata.varm["semi_nmf_loadings"].T
    left = (
        (dense(adata) - model["center"].to_numpy()) / model["scale"].to_numpy() - model["baseline"].to_numpy() - terms
    )
    assert adata.uns["semi_nmf"]["error"] == pytest.approx(np.linalg.norm(left), rel=1e-5)


def test_params_are_plain_and_complete(adata):
    scp.tl.semi_nmf(
        adata, np.int64(4), layer="doubled", mask_var="highly_variable", center="control", scale=True,
        control=("perturbation", "non-targeting"), l1=0.01, max_iter=50, random_state=np.int64(3),
    )  # fmt: skip
    params = adata.uns["semi_nmf"]["params"]
    assert params == {
        "n_programs": 4, "layer": "doubled", "mask_var": "highly_variable", "center": "control", "scale": True,
        "fit_intercept": False, "control": "perturbation = non-targeting", "init": "varimax", "solver": "hals",
        "l1": 0.01, "max_iter": 50, "tol": 1e-4, "random_state": 3, "method": "semi_nmf",
    }  # fmt: skip
    assert {type(value) for value in params.values()} <= {int, float, str, bool}


def test_the_same_arguments_give_the_estimators_result(adata):
    scp.tl.semi_nmf(adata, 4, scale=True, random_state=7)
    W = SemiNMF(4, scale=True, random_state=7).fit_transform(adata.X)
    np.testing.assert_array_equal(adata.obsm["X_semi_nmf"], W)


def test_ties_and_cells_without_usage_have_no_program(adata, monkeypatch):
    X = adata.X.toarray()
    X[5] = 0
    adata.X = sparse.csr_matrix(X)
    with pytest.warns(ProgramsWarning, match="1 of 400 cells have no expression at all"):
        scp.tl.semi_nmf(adata, 4)
    W, program = adata.obsm["X_semi_nmf"], adata.obs["semi_nmf_program"]
    assert list(program.cat.categories) == [f"program_{i}" for i in range(4)] + ["none"]
    top = [f"program_{i}" for i in W.argmax(axis=1)]
    clear = np.sort(W, axis=1)[:, -1] > np.sort(W, axis=1)[:, -2]
    assert program.iloc[5] == "none"
    assert (program[clear] == np.array(top)[clear]).all()
    assert (program[~clear] == "none").all()

    usages = np.zeros((400, 4))
    usages[1, 2], usages[2], usages[3, [0, 1]], usages[4] = 1, 1, 1, [3, 2, 2, 0]
    monkeypatch.setattr(SemiNMF, "fit_transform", _returning(usages))
    scp.tl.semi_nmf(make_screen(), 4)  # the estimator's own result is looked at, not this one's
    tied = make_screen()
    scp.tl.semi_nmf(tied, 4)
    assert list(tied.obs["semi_nmf_program"].iloc[:5]) == ["none", "program_2", "none", "none", "program_0"]


def _returning(usages):
    fit_transform = SemiNMF.fit_transform

    def fake(self, X, y=None, **kwargs):
        fit_transform(self, X, y, **kwargs)
        return usages.astype(X.dtype)

    return fake


@pytest.mark.parametrize(
    "holder", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array, np.asarray]
)
def test_a_layer_equals_x_row_12(holder, adata):
    adata.layers["same"] = holder(adata.X.toarray())
    scp.tl.semi_nmf(adata, 4)
    scp.tl.semi_nmf(adata, 4, layer="same", key_added="again")
    W = adata.obsm["X_semi_nmf"]
    np.testing.assert_allclose(adata.obsm["X_again"], W, atol=1e-5 * W.max())
    np.testing.assert_allclose(adata.varm["again_loadings"], adata.varm["semi_nmf_loadings"], atol=1e-5)


def test_raw_is_never_read(adata):
    plain = adata.copy()
    adata.raw = AnnData(sparse.csr_matrix(np.full(adata.shape, 9.0)), obs=adata.obs, var=adata.var)
    for a in (adata, plain):
        scp.tl.semi_nmf(a, 4)
    np.testing.assert_array_equal(adata.obsm["X_semi_nmf"], plain.obsm["X_semi_nmf"])


@pytest.mark.parametrize("kwargs", [{}, {"fit_intercept": True}, {"scale": True}, {"center": "control"}], ids=str)
@pytest.mark.parametrize("as_array", [False, True])
def test_genes_outside_the_mask_get_least_squares_loadings_row_44(kwargs, as_array, adata):
    if "center" in kwargs:
        kwargs = {**kwargs, "control": (adata.obs["perturbation"] == "non-targeting").to_numpy()}
    used = adata.var["highly_variable"].to_numpy()
    scp.tl.semi_nmf(adata, 4, mask_var=used if as_array else "highly_variable", **kwargs)
    model, H = adata.varm["semi_nmf_model"], adata.varm["semi_nmf_loadings"]
    np.testing.assert_array_equal(model["used"], used)
    W = adata.obsm["X_semi_nmf"].astype(float)
    z = (dense(adata) - model["center"].to_numpy()) / model["scale"].to_numpy()
    intercept = adata.uns["semi_nmf"]["params"]["fit_intercept"]
    solution = np.linalg.lstsq(np.c_[W, np.ones((400, int(intercept)))], z, rcond=None)[0]
    np.testing.assert_allclose(H[~used].T, solution[:4, ~used], rtol=0, atol=1e-4)
    baseline = solution[4] if intercept else np.zeros(150)
    np.testing.assert_allclose(model["baseline"][~used], baseline[~used], rtol=0, atol=1e-4)
    # Those in the mask are least squares but for the penalty, which shrinks the usages a little after them.
    np.testing.assert_allclose(H[used].T, solution[:4, used], rtol=0, atol=0.03)
    np.testing.assert_allclose(np.linalg.norm(H[used], axis=0), 1, rtol=1e-5)
    # The fit saw the genes of the mask alone.
    control = kwargs.pop("control", None)
    alone = SemiNMF(4, random_state=0, **kwargs)
    W = alone.fit_transform(adata.X[:, np.flatnonzero(used)], control=control)
    np.testing.assert_array_equal(adata.obsm["X_semi_nmf"], W)
    assert adata.uns["semi_nmf"]["error"] == alone.error_


def test_copy(template, unchanged):
    result = scp.tl.semi_nmf(unchanged(template), 4, copy=True)
    in_place = template.copy()
    scp.tl.semi_nmf(in_place, 4)
    assert isinstance(result, AnnData)
    assert_same_adata(result, in_place)
    assert not np.shares_memory(result.X.data, template.X.data)


@pytest.mark.parametrize("axis", ["cells", "genes"])
def test_a_view_becomes_a_copy_without_a_warning_row_38(axis, template, unchanged):
    unchanged(template)
    view = template[:300] if axis == "cells" else template[:, :100]
    assert view.is_view
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(infer_string|chained_assignment)")  # anndata's own
        scp.tl.semi_nmf(view, 4)
    assert not view.is_view
    expected = (template[:300] if axis == "cells" else template[:, :100]).copy()
    scp.tl.semi_nmf(expected, 4)
    assert_same_adata(view, expected)


def test_copy_of_a_view(template, unchanged):
    view = unchanged(template)[:300]
    result = scp.tl.semi_nmf(view, 4, copy=True)
    assert view.is_view
    assert result.obsm["X_semi_nmf"].shape == (300, 4)


@pytest.mark.filterwarnings("ignore:.*may hold guides or replicates")
def test_a_second_fit_replaces_the_first_row_41(adata):
    scp.tl.semi_nmf(adata, 5)
    scp.tl.program_anova(adata, "perturbation")
    adata.uns["semi_nmf"]["enrichment"] = pd.DataFrame({"program": ["program_0"]})
    scp.tl.semi_nmf(adata, 3, key_added="other")
    assert "anova" in adata.uns["semi_nmf"]
    assert adata.obsm["X_semi_nmf"].shape[1] == 5
    scp.tl.semi_nmf(adata, 3)
    assert set(adata.uns["semi_nmf"]) == FIGURES
    assert adata.obsm["X_semi_nmf"].shape[1] == 3
    assert list(adata.obs["semi_nmf_program"].cat.categories)[-1] == "none"
    assert len(adata.obs["semi_nmf_program"].cat.categories) == 4


def test_genes_that_are_reordered_afterwards_take_their_loadings_along_row_45(adata):
    scp.tl.semi_nmf(adata, 4)
    order = np.random.default_rng(0).permutation(adata.n_vars)[:40]
    part = adata[:, order].copy()
    np.testing.assert_array_equal(part.varm["semi_nmf_loadings"], adata.varm["semi_nmf_loadings"][order])
    np.testing.assert_array_equal(
        scp.get.loadings(part).to_numpy(), scp.get.loadings(adata).loc[part.var_names].to_numpy()
    )


# --- on disk -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
@pytest.mark.parametrize("kwargs", [{}, {"center": "control", "scale": True, "mask_var": "highly_variable"}], ids=str)
@pytest.mark.filterwarnings("ignore")  # of zarr and anndata, about themselves
def test_every_slot_survives_the_disk_row_43(suffix, kwargs, adata, tmp_path):
    if suffix == "zarr":
        pytest.importorskip("zarr")
    if "center" in kwargs:
        kwargs = {**kwargs, "control": ("perturbation", "non-targeting")}
    scp.tl.semi_nmf(adata, 4, **kwargs)
    path = tmp_path / f"screen.{suffix}"
    adata.write_h5ad(path) if suffix == "h5ad" else adata.write_zarr(path)
    again = ad.read_h5ad(path) if suffix == "h5ad" else ad.read_zarr(path)
    np.testing.assert_array_equal(again.obsm["X_semi_nmf"], adata.obsm["X_semi_nmf"])
    np.testing.assert_array_equal(again.varm["semi_nmf_loadings"], adata.varm["semi_nmf_loadings"])
    pd.testing.assert_frame_equal(
        again.varm["semi_nmf_model"], adata.varm["semi_nmf_model"], check_index_type=False, check_names=False
    )
    assert list(again.obs["semi_nmf_program"]) == list(adata.obs["semi_nmf_program"])
    read, written = again.uns["semi_nmf"], adata.uns["semi_nmf"]
    assert set(read) == FIGURES
    assert {k: (v.item() if hasattr(v, "item") else v) for k, v in read["params"].items()} == written["params"]
    for table in ("programs", "history"):
        pd.testing.assert_frame_equal(
            read[table], written[table], check_index_type=False, check_dtype=False, check_names=False
        )
    for figure in ("error", "error_bound", "error_ratio", "n_iter", "converged"):
        assert read[figure] == written[figure]
    # And the verbs that come next accept what was read.
    scp.tl.program_anova(again, "perturbation")
    assert scp.get.usages(again).shape == (400, 4)


# --- a call that fails changes nothing -----------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["fit", "loadings", "write"])
def test_a_failure_halfway_leaves_the_adata_as_it_was_row_46(where, adata, unchanged, monkeypatch):
    scp.tl.semi_nmf(adata, 4)
    unchanged(adata)

    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    target = {
        "fit": (SemiNMF, "fit_transform"),
        "loadings": (SemiNMF, "loadings_of"),
        "write": (slots, "_strongest_program"),
    }
    monkeypatch.setattr(*target[where], fail)
    with pytest.raises(KeyboardInterrupt):
        scp.tl.semi_nmf(adata, 3, layer="doubled", mask_var="highly_variable")


def test_a_failing_copy_leaves_the_adata_as_it_was_row_46(adata, unchanged):
    with pytest.raises(ValueError, match="n_programs=0"):
        scp.tl.semi_nmf(unchanged(adata), 0, copy=True)


# --- bad input: the matrix -----------------------------------------------------------------------------------------


def with_matrix(X, *, layer):
    """The matrix as X or, beside another X, as a layer."""
    if layer is None:
        return AnnData(X)
    adata = AnnData(np.ones(X.shape))
    adata.layers[layer] = X
    return adata


def values(seed=0, shape=(30, 20)):
    return np.random.default_rng(seed).gamma(1, size=shape)


@pytest.mark.parametrize("holder", [np.array, sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize("layer", [None, "counts"])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        pytest.param([np.nan, np.nan], "has 2 NaN and 0 infinite values", id="row-1"),
        pytest.param([np.inf, -np.inf], "has 0 NaN and 2 infinite values", id="row-2"),
        pytest.param([np.nan, np.inf], "has 1 NaN and 1 infinite values", id="row-1-2"),
    ],
)
def test_missing_and_infinite_values(holder, layer, bad, message):
    X = values()
    X[3, 4], X[5, 6] = bad
    adata = with_matrix(holder(X), layer=layer)
    where = r"adata\.X" if layer is None else r"adata\.layers\['counts'\]"
    with pytest.raises(ValueError, match=f"{where} {message}"):
        scp.tl.semi_nmf(adata, 3, layer=layer)
    assert not adata.uns
    assert not adata.obsm


def test_negative_values_are_fine_row_3():
    adata = AnnData(values() - 1)
    scp.tl.semi_nmf(adata, 3)
    assert adata.uns["semi_nmf"]["params"]["fit_intercept"] is True
    assert (adata.obsm["X_semi_nmf"] >= 0).all()


@pytest.mark.parametrize("holder", [np.array, sparse.csr_matrix])
def test_no_signal_row_4(holder):
    with pytest.raises(ValueError, match=r"adata\.X has no signal: all of its values are zero"):
        scp.tl.semi_nmf(AnnData(holder(np.zeros((9, 5)))), 2)


@pytest.mark.parametrize("holder", [np.array, sparse.csr_matrix, sparse.csc_matrix])
def test_empty_cells_row_5(holder):
    X = values()
    X[[2, 9]] = 0
    adata = AnnData(holder(X))
    with pytest.warns(ProgramsWarning, match="2 of 30 cells have no expression") as caught:
        scp.tl.semi_nmf(adata, 3)
    assert caught[0].filename == __file__  # the warning points to the caller's line
    np.testing.assert_array_equal(adata.obsm["X_semi_nmf"][[2, 9]], 0)
    assert (adata.obs["semi_nmf_program"].iloc[[2, 9]] == "none").all()


def test_empty_genes_row_6():
    X = values()
    X[:, [0, 7]] = 0
    adata = AnnData(sparse.csr_matrix(X))
    scp.tl.semi_nmf(adata, 3)
    np.testing.assert_allclose(adata.varm["semi_nmf_loadings"][[0, 7]], 0, atol=1e-12)
    assert np.isfinite(adata.varm["semi_nmf_model"][["baseline", "center", "scale"]]).all(axis=None)


@pytest.mark.filterwarnings("ignore::scprograms.ProgramsWarning")
@pytest.mark.parametrize("holder", [np.array, sparse.csr_matrix])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool, np.longdouble])
def test_other_dtypes_row_7(holder, dtype):
    X = np.round(values() * 2).astype(dtype)
    adata, expected = AnnData(holder(X)), AnnData(holder(X.astype(float)))
    for a in (adata, expected):
        scp.tl.semi_nmf(a, 3)
    assert adata.obsm["X_semi_nmf"].dtype == np.float64
    np.testing.assert_array_equal(adata.obsm["X_semi_nmf"], expected.obsm["X_semi_nmf"])
    assert adata.X.dtype == dtype


def test_half_precision_row_8():
    adata = AnnData(values().astype(np.float16))
    scp.tl.semi_nmf(adata, 3)
    expected = SemiNMF(3, random_state=0).fit_transform(values().astype(np.float16).astype(float))
    np.testing.assert_allclose(adata.obsm["X_semi_nmf"], expected, rtol=1e-4, atol=1e-4)


def test_single_precision_stays_and_statistics_are_double_row_9(adata):
    scp.tl.semi_nmf(adata, 3, scale=True)
    assert adata.obsm["X_semi_nmf"].dtype == adata.varm["semi_nmf_loadings"].dtype == np.float32
    assert (adata.varm["semi_nmf_model"].dtypes[["baseline", "center", "scale"]] == np.float64).all()
    assert adata.uns["semi_nmf"]["programs"]["variance_explained"].dtype == np.float64


@pytest.mark.parametrize("layer", [None, "counts"])
@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        pytest.param(object, "object", id="row-10"),
        pytest.param(complex, "complex128", id="row-11"),
        pytest.param(str, "<U32", id="row-10-str"),
    ],
)
def test_matrices_of_no_real_numbers(layer, dtype, name):
    where = r"adata\.X" if layer is None else r"adata\.layers\['counts'\]"
    with pytest.raises(TypeError, match=f"{where} has dtype {name}; real numbers are needed"):
        scp.tl.semi_nmf(with_matrix(values().astype(dtype), layer=layer), 3, layer=layer)


def test_other_sparse_formats_are_converted_row_13():
    """AnnData itself takes none of them today; the reader does."""

    class Screen:
        n_obs, n_vars, isbacked, layers = 30, 20, False, {}
        X = sparse.coo_matrix(values())

    assert matrix.read_matrix(Screen()).format == "csr"
    np.testing.assert_array_equal(matrix.read_matrix(Screen()).toarray(), values())


def test_entries_that_are_not_canonical_row_14(adata):
    expected = adata.copy()
    X = adata.X
    doubled = sparse.csr_matrix(
        (np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), X.indptr * 2), shape=X.shape, dtype=np.float32
    )
    adata.X = doubled
    for a in (adata, expected):
        scp.tl.semi_nmf(a, 4)
    W = expected.obsm["X_semi_nmf"]
    np.testing.assert_allclose(adata.obsm["X_semi_nmf"], W, atol=1e-5 * W.max())
    assert adata.X.nnz == 2 * X.nnz


def test_long_indices_row_15(adata):
    expected = adata.copy()
    adata.X.indices, adata.X.indptr = adata.X.indices.astype(np.int64), adata.X.indptr.astype(np.int64)
    for a in (adata, expected):
        scp.tl.semi_nmf(a, 4)
    np.testing.assert_array_equal(adata.obsm["X_semi_nmf"], expected.obsm["X_semi_nmf"])


def test_backed_without_dask_says_how_to_load_row_17(adata, tmp_path, monkeypatch):
    adata.write_h5ad(tmp_path / "screen.h5ad")
    backed = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    monkeypatch.setitem(sys.modules, "dask.array", None)  # as where it is not installed
    with pytest.raises(TypeError, match=r"scprograms\[dask\].*load it first with adata = adata\.to_memory\(\)"):
        scp.tl.semi_nmf(backed, 3)
    backed.file.close()


def test_read_only_and_memory_mapped_row_18(tmp_path):
    on_disk = np.memmap(tmp_path / "X", dtype=np.float64, mode="w+", shape=(30, 20))
    on_disk[:] = values()
    on_disk.flush()
    expected = AnnData(values())
    scp.tl.semi_nmf(expected, 3)
    frozen = values()
    frozen.flags.writeable = False
    for X in (np.memmap(tmp_path / "X", dtype=np.float64, mode="r", shape=(30, 20)), frozen):
        adata = AnnData(X)
        scp.tl.semi_nmf(adata, 3)
        np.testing.assert_array_equal(adata.obsm["X_semi_nmf"], expected.obsm["X_semi_nmf"])


def test_no_matrix_row_19(adata):
    del adata.X
    with pytest.raises(ValueError, match=r"adata\.X is empty\. Name a layer with layer=; there: 'doubled'"):
        scp.tl.semi_nmf(adata, 3)
    scp.tl.semi_nmf(adata, 3, layer="doubled")
    assert "X_semi_nmf" in adata.obsm


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_no_cells_or_genes_row_20(shape):
    with pytest.raises(ValueError, match=f"adata has {shape[0]} cells and {shape[1]} genes"):
        scp.tl.semi_nmf(AnnData(np.zeros(shape)), 3)


@pytest.mark.parametrize("shape", [(1, 20), (30, 1)])
def test_one_cell_or_gene_row_21(shape):
    adata = AnnData(values(shape=shape))
    scp.tl.semi_nmf(adata, 1)
    assert np.isfinite(adata.obsm["X_semi_nmf"]).all()
    if shape[0] == 1:
        with pytest.raises(ValueError, match="n_samples = 1"):
            scp.tl.semi_nmf(AnnData(values(shape=shape)), 1, center="mean")


@pytest.mark.parametrize(("scale", "dtype"), [(1e300, np.float64), (1e307, np.float64), (1e25, np.float32)])
def test_huge_values_row_22(scale, dtype):
    with pytest.raises(ValueError, match="values so large"):
        scp.tl.semi_nmf(AnnData((values() * scale).astype(dtype)), 3)


def test_masked_arrays_are_refused():
    with pytest.raises(TypeError, match=r"adata\.X is a MaskedArray"):
        scp.tl.semi_nmf(AnnData(np.ma.masked_greater(values(), 2)), 3)


@pytest.mark.parametrize("holder", [np.array, sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize("layer", [None, "counts"])
def test_raw_counts_warn(holder, layer):
    adata = with_matrix(holder(np.random.default_rng(0).poisson(2, size=(30, 20)) + 1.0), layer=layer)
    where = r"adata\.X" if layer is None else r"adata\.layers\['counts'\]"
    with pytest.warns(ProgramsWarning, match=f"{where} holds integers, as raw counts do"):
        scp.tl.semi_nmf(adata, 3, layer=layer)


def test_a_gene_without_variance_and_scale():
    X = values()
    X[:, 4] = 0.5
    adata = AnnData(X)
    scp.tl.semi_nmf(adata, 3, scale=True)
    model = adata.varm["semi_nmf_model"]
    assert model["scale"].iloc[4] == 1
    np.testing.assert_allclose(adata.varm["semi_nmf_loadings"][4], 0, atol=1e-10)
    assert np.isfinite(adata.obsm["X_semi_nmf"]).all()


def test_constant_genes_only():
    with pytest.raises(ValueError, match="no signal: its columns are constant"):
        scp.tl.semi_nmf(AnnData(np.full((30, 20), 0.5)), 3, scale=True)


# --- bad input: parameters -----------------------------------------------------------------------------------------


NO_LEVEL = r"control='NTC' is no level of adata\.obs\['perturbation'\]\. There: .*non-targeting"
UNUSED_CONTROL = {"control": ("perturbation", "non-targeting")}


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        pytest.param({"n_programs": 0}, ValueError, "n_programs=0 is too small", id="row-23"),
        pytest.param({"n_programs": -1}, ValueError, "n_programs=-1 is too small", id="row-23-negative"),
        pytest.param({"n_programs": 2.5}, TypeError, "n_programs=2.5 is a float", id="row-24"),
        pytest.param({"n_programs": "3"}, TypeError, "n_programs='3' is a str", id="row-24-str"),
        pytest.param({"n_programs": True}, TypeError, "n_programs=True is a bool", id="row-25"),
        pytest.param({"n_programs": np.True_}, TypeError, r"n_programs=(np\.)?True_? is a bool", id="row-25-numpy"),
        pytest.param({"n_programs": 10**9}, ValueError, r"n_programs=1000000000 is far beyond.*GiB", id="row-28"),
        pytest.param({"max_iter": 0}, ValueError, "max_iter=0", id="row-31"),
        pytest.param({"tol": -1e-3}, ValueError, "tol=-0.001", id="row-31-tol"),
        pytest.param({"tol": np.inf}, ValueError, "tol=inf", id="row-31-inf"),
        pytest.param({"init": "pca"}, ValueError, "init='pca' is not known. Choose one of 'varimax'", id="row-32-init"),
        pytest.param({"solver": "cd"}, ValueError, "solver='cd' is not known.*'hals', 'mu'", id="row-32-solver"),
        pytest.param({"center": "median"}, ValueError, "center='median' is not known.*None, 'mean'", id="row-32-c"),
        pytest.param({"scale": None}, ValueError, "scale=None is not known.*True, False", id="row-32-scale"),
        pytest.param({"fit_intercept": "no"}, ValueError, "fit_intercept='no'", id="row-32-intercept"),
        pytest.param({"l1": -1}, ValueError, "l1=-1", id="l1"),
        pytest.param({"random_state": "seed"}, TypeError, "random_state='seed'", id="row-33"),
        pytest.param({"random_state": -3}, ValueError, "random_state=-3 is negative", id="row-33-negative"),
        pytest.param({"init": np.ones((3, 3))}, ValueError, r"init has shape \(3, 3\); \(400, 3\)", id="row-34"),
        pytest.param({"init": -np.ones((400, 3))}, ValueError, "init has 1200 negative values", id="row-34-sign"),
        pytest.param({"init": 5}, ValueError, r"init has shape \(\)", id="row-34-int"),
        pytest.param({"n_jobs": 0}, ValueError, "n_jobs=0", id="row-35"),
        pytest.param({"n_jobs": 1.5}, TypeError, "n_jobs=1.5 is a float", id="row-35-float"),
        pytest.param({"layer": "zz"}, KeyError, r"'zz' is not in adata\.layers\. There: 'doubled'", id="row-36"),
        pytest.param({"layer": ["doubled"]}, TypeError, r"adata\.layers.*\['doubled'\] \(list\)", id="row-36-list"),
        pytest.param({"mask_var": "hvg"}, KeyError, r"'hvg' is not in adata\.var\. There: 'highly", id="row-36-var"),
        pytest.param({"mask_var": np.ones(7, bool)}, ValueError, r"mask_var has .* shape \(7,\)", id="row-37"),
        pytest.param({"mask_var": np.arange(150)}, ValueError, "mask_var has dtype int64", id="row-37-dtype"),
        pytest.param({"mask_var": "score"}, ValueError, r"adata\.var\['score'\] has dtype float64", id="row-37-column"),
        pytest.param({"mask_var": np.zeros(150, bool)}, ValueError, "mask_var selects none of", id="empty-mask"),
        pytest.param({"key_added": "a/b"}, ValueError, "key_added='a/b' cannot name a slot", id="row-42"),
        pytest.param({"key_added": ""}, ValueError, "key_added='' cannot name a slot", id="row-42-empty"),
        pytest.param({"key_added": None}, TypeError, "key_added=None is a NoneType", id="row-42-none"),
        pytest.param({"center": "control"}, TypeError, "control=None: pass", id="row-48-none"),
        pytest.param(UNUSED_CONTROL, ValueError, "has no effect with center=None", id="row-48-unused"),
    ],
)
def test_bad_arguments(kwargs, error, message, adata, unchanged):
    adata.var["score"] = 1.0
    unchanged(adata)
    with pytest.raises(error, match=message):
        scp.tl.semi_nmf(adata, **{"n_programs": 3, **kwargs})


@pytest.mark.parametrize(
    ("control", "error", "message"),
    [
        pytest.param(("perturbation", "NTC"), ValueError, NO_LEVEL, id="row-48"),
        pytest.param(
            ("guides", "x"), KeyError, r"'guides' is not in adata\.obs\. There: 'perturbation'", id="row-36-obs"
        ),
        pytest.param((["perturbation"], "x"), TypeError, r"single string, but got \['pert", id="list-valued-groupby"),
        pytest.param(("perturbation",), ValueError, r"control=\('perturbation',\): pass", id="row-48-short"),
        pytest.param("non-targeting", TypeError, "control='non-targeting': pass", id="row-48-str"),
        pytest.param(np.ones(5, bool), ValueError, r"control has dtype bool and shape \(5,\)", id="row-37-control"),
        pytest.param(np.zeros(400, bool), ValueError, "control selects none of the 400 cells", id="row-37-none"),
    ],
)
def test_bad_controls(control, error, message, adata, unchanged):
    unchanged(adata)
    with pytest.raises(error, match=message):
        scp.tl.semi_nmf(adata, 3, center="control", control=control)


def test_numpy_integers_row_26(adata):
    scp.tl.semi_nmf(adata, np.int32(3))
    assert type(adata.uns["semi_nmf"]["params"]["n_programs"]) is int


@pytest.mark.parametrize("mask", [None, np.arange(150) < 6])
def test_more_programs_than_directions_row_27(mask, adata):
    adata = adata[:12].copy() if mask is None else adata
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        with pytest.warns(ProgramsWarning, match=f"n_programs=14 exceeds the {12 if mask is None else 6} directions"):
            scp.tl.semi_nmf(adata, 14, mask_var=mask)
    assert adata.obsm["X_semi_nmf"].shape[1] == 14
    assert np.isnan(adata.uns["semi_nmf"]["error_ratio"])
    assert adata.uns["semi_nmf"]["history"]["error_ratio"].isna().all()


def test_not_converged_row_30(adata):
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        scp.tl.semi_nmf(adata, 3, max_iter=1, tol=1e-12)
    assert adata.uns["semi_nmf"]["converged"] is False


def test_seeds_row_33(adata):
    results = []
    for seed in (5, 5, np.random.default_rng(5), np.random.RandomState(5), None):
        scp.tl.semi_nmf(adata, 3, init="random", random_state=seed)
        results.append(adata.obsm["X_semi_nmf"].copy())
        recorded = adata.uns["semi_nmf"]["params"].get("random_state")
        assert recorded == (5 if isinstance(seed, int) else None)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_start_as_an_array_row_34(adata):
    start = np.random.default_rng(0).random((400, 3))
    scp.tl.semi_nmf(adata, 3, init=start)
    assert adata.uns["semi_nmf"]["params"]["init"] == "array"


def test_threads_do_not_change_the_result_row_35(adata):
    results = []
    for n_jobs in (1, 2, -1, None):
        scp.tl.semi_nmf(adata, 3, n_jobs=n_jobs)
        results.append(adata.obsm["X_semi_nmf"].tobytes())
    assert len(set(results)) == 1


# --- bad input: the AnnData and its labels -------------------------------------------------------------------------


class MuData:
    """Stands in for the class of that name: the message goes by the name."""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pd.DataFrame(values()), r"adata is a pandas\.DataFrame; an anndata\.AnnData is needed"),
        (values(), r"adata is a numpy\.ndarray"),
        (MuData(), r"adata is a .*MuData; .* Pass one modality, such as mdata\['rna'\]"),
        (None, "adata is a builtins.NoneType"),
    ],
    ids=["DataFrame", "ndarray", "MuData", "None"],
)
def test_not_an_anndata_row_47(given, message):
    with pytest.raises(TypeError, match=message):
        scp.tl.semi_nmf(given, 3)


@pytest.mark.filterwarnings("ignore:Variable names are not unique", "ignore:Observation names are not unique")
def test_duplicate_names_do_not_hinder_the_fit_row_39(adata):
    expected = adata.copy()
    scp.tl.semi_nmf(expected, 3)
    adata.var_names = ["gene"] * adata.n_vars
    adata.obs_names = ["cell"] * adata.n_obs
    scp.tl.semi_nmf(adata, 3, mask_var=np.ones(150, bool))
    np.testing.assert_array_equal(adata.varm["semi_nmf_loadings"], expected.varm["semi_nmf_loadings"])
    assert list(adata.obs["semi_nmf_program"]) == list(expected.obs["semi_nmf_program"])


@pytest.mark.filterwarnings("ignore")  # of anndata, which makes strings of them
def test_numbers_as_gene_names_row_40():
    adata = AnnData(values(), var=pd.DataFrame(index=range(20)))
    scp.tl.semi_nmf(adata, 3)
    assert list(adata.varm["semi_nmf_model"].index) == [str(i) for i in range(20)]


def test_unused_categories_of_the_control_column_row_52(adata):
    labels = adata.obs["perturbation"].cat.add_categories(["ghost"])
    adata.obs["perturbation"] = labels
    scp.tl.semi_nmf(adata, 3, center="control", control=("perturbation", "non-targeting"))
    control = (labels == "non-targeting").to_numpy()
    np.testing.assert_allclose(adata.varm["semi_nmf_model"]["center"], dense(adata)[control].mean(axis=0), rtol=1e-6)
    with pytest.raises(ValueError, match="control='ghost' is no level"):
        scp.tl.semi_nmf(adata, 3, center="control", control=("perturbation", "ghost"))


def test_cells_without_a_label_row_53(adata):
    labels = adata.obs["perturbation"].astype(object)
    labels.iloc[:7] = np.nan
    adata.obs["perturbation"] = labels
    with pytest.warns(ProgramsWarning, match=r"adata\.obs\['perturbation'\] is missing for 7 of 400 cells"):
        scp.tl.semi_nmf(adata, 3, center="control", control=("perturbation", "non-targeting"))
    control = (labels == "non-targeting").to_numpy()
    np.testing.assert_allclose(adata.varm["semi_nmf_model"]["center"], dense(adata)[control].mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "level"), [(np.arange(400) % 3, 0), (np.arange(400) % 2 == 0, True)], ids=["int", "bool"]
)
def test_labels_that_are_no_strings_row_54(labels, level, adata):
    adata.obs["group"] = labels
    scp.tl.semi_nmf(adata, 3, center="control", control=("group", level))
    np.testing.assert_allclose(
        adata.varm["semi_nmf_model"]["center"], dense(adata)[labels == level].mean(axis=0), rtol=1e-6
    )


def test_a_control_that_is_gone_after_filtering(adata):
    rest = adata[adata.obs["perturbation"] != "non-targeting"].copy()
    with pytest.raises(ValueError, match=r"control='non-targeting' is no level of adata\.obs\['perturbation'\]"):
        scp.tl.semi_nmf(rest, 3, center="control", control=("perturbation", "non-targeting"))


@pytest.mark.parametrize("scale", [False, True])
def test_one_control_cell(scale, adata):
    control = np.arange(400) == 17
    scp.tl.semi_nmf(adata, 3, center="control", control=control, scale=scale)
    assert np.isfinite(adata.obsm["X_semi_nmf"]).all()
    np.testing.assert_allclose(adata.varm["semi_nmf_model"]["center"], dense(adata)[17], rtol=1e-6)


def test_masks_of_other_kinds(adata):
    used = adata.var["highly_variable"].to_numpy()
    adata.var["objects"] = used.astype(object)
    adata.var["nullable"] = pd.array(used, dtype="boolean")
    expected = scp.tl.semi_nmf(adata, 3, mask_var=used, copy=True).obsm["X_semi_nmf"]
    for mask in ("objects", "nullable", list(used), pd.Series(used, index=adata.var_names)):
        scp.tl.semi_nmf(adata, 3, mask_var=mask)
        np.testing.assert_array_equal(adata.obsm["X_semi_nmf"], expected)
    adata.var["gap"] = pd.array([None, *used[1:]], dtype="boolean")
    with pytest.raises(ValueError, match=r"adata\.var\['gap'\] has dtype object"):
        scp.tl.semi_nmf(adata, 3, mask_var="gap")
