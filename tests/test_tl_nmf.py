"""tl.nmf writes the slots of a factorization, refuses what it cannot factorize, and readers and pictures take it."""

from __future__ import annotations

import warnings

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from scipy.optimize import nnls
from sklearn.exceptions import ConvergenceWarning

import scprograms as scp
from planted import matched_correlations
from scprograms import ProgramsWarning
from scprograms.programs.engine import NMF

SLOTS = {"obsm": {"X_nmf"}, "varm": {"nmf_loadings", "nmf_model"}, "obs": {"nmf_program"}, "uns": {"nmf"}}
SHAPE = (300, 120)


@pytest.fixture(scope="module")
def template():
    adata = scp.datasets.simulate_screen(*SHAPE, 5, n_cell_types=2, n_perturbations=6, library_size=800, random_state=0)
    X = adata.X.copy()
    X.data *= np.repeat(1e4 / np.asarray(X.sum(axis=1)).ravel(), np.diff(X.indptr)).astype(np.float32)
    adata.X = X.log1p()
    adata.layers["doubled"] = adata.X * 2
    adata.var["highly_variable"] = np.arange(adata.n_vars) % 3 != 0
    return adata


@pytest.fixture
def adata(template):
    return template.copy()


@pytest.fixture(autouse=True)
def _close_figures():
    mpl.use("agg")
    yield
    from matplotlib import pyplot as plt

    plt.close("all")


def values(shape=(30, 20)):
    return np.random.default_rng(0).gamma(1, size=shape)


# --- slots ---------------------------------------------------------------------------------------------------------


def test_the_slots_are_those_of_semi_nmf(adata):
    before = {slot: set(getattr(adata, slot).keys()) for slot in SLOTS}
    X = adata.X.copy()
    assert scp.tl.nmf(adata, 5) is None
    for slot, names in SLOTS.items():
        assert set(getattr(adata, slot).keys()) - before[slot] == names
    assert (adata.X != X).nnz == 0

    W, H, uns = adata.obsm["X_nmf"], adata.varm["nmf_loadings"], adata.uns["nmf"]
    assert W.dtype == H.dtype == np.float32
    assert (W >= 0).all()
    assert (H >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(H, axis=0), 1, rtol=1e-5)
    assert uns["error"] == pytest.approx(np.linalg.norm(X.toarray().astype(float) - W.astype(float) @ H.T), rel=1e-5)
    assert 1 <= uns["error_ratio"] == uns["error"] / uns["error_bound"]
    model = adata.varm["nmf_model"]
    assert (model["baseline"] == 0).all()
    assert (model["center"] == 0).all()
    assert (model["scale"] == 1).all()
    assert model["used"].all()
    assert uns["programs"]["variance_explained"].is_monotonic_decreasing

    scp.tl.semi_nmf(adata, 5)
    other = adata.uns["semi_nmf"]
    assert set(uns) == set(other)
    assert list(uns["programs"].columns) == list(other["programs"].columns)
    assert list(uns["history"].columns) == list(other["history"].columns)
    assert list(uns["programs"].index) == list(other["programs"].index)


def test_the_result_is_the_estimators(adata):
    scp.tl.nmf(adata, 4, random_state=7)
    np.testing.assert_array_equal(adata.obsm["X_nmf"], NMF(4, random_state=7).fit_transform(adata.X))


def test_the_programs_are_the_planted_ones(adata):
    scp.tl.nmf(adata, 5)
    truth = adata.uns["truth"]["programs"]["kind"].to_numpy() != "housekeeping"
    assert matched_correlations(adata.obsm["X_nmf"], adata.obsm["true_usages"][:, truth]).mean() > 0.7


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        ({}, {"solver": "hals", "loss": "frobenius", "tol": 2e-3, "max_iter": 200, "init": "varimax"}),
        ({"solver": "lsnmf", "max_iter": np.int64(9)}, {"solver": "lsnmf", "tol": 1e-4, "max_iter": 9}),
        ({"solver": "cd", "tol": 0}, {"solver": "cd", "tol": 0.0}),
        ({"solver": "mu", "loss": "kullback-leibler"}, {"solver": "mu", "loss": "kullback-leibler"}),
        ({"init": np.ones((300, 4))}, {"init": "array"}),
        ({"random_state": None}, {"random_state": None}),
        ({"layer": "doubled", "mask_var": "highly_variable"}, {"layer": "doubled", "mask_var": "highly_variable"}),
    ],
    ids=str,
)
def test_params_are_plain_and_complete(given, recorded, adata):
    scp.tl.nmf(adata, np.int64(4), **given)
    defaults = {
        "n_programs": 4, "layer": None, "mask_var": None, "init": "varimax", "solver": "hals", "loss": "frobenius",
        "max_iter": 200, "tol": 1e-4 if recorded.get("solver") == "mu" else 2e-3, "random_state": 0, "method": "nmf",
    }  # fmt: skip
    expected = {name: value for name, value in {**defaults, **recorded}.items() if value is not None}
    params = adata.uns["nmf"]["params"]
    assert params == expected
    assert {type(value) for value in params.values()} <= {int, float, str}


@pytest.mark.parametrize("as_array", [False, True])
def test_genes_outside_the_mask_get_non_negative_least_squares_row_44(as_array, adata):
    used = adata.var["highly_variable"].to_numpy()
    scp.tl.nmf(adata, 4, mask_var=used if as_array else "highly_variable")
    np.testing.assert_array_equal(adata.varm["nmf_model"]["used"], used)
    W, H = adata.obsm["X_nmf"].astype(float), adata.varm["nmf_loadings"]
    expected = np.array([nnls(W, x)[0] for x in adata.X[:, np.flatnonzero(~used)].toarray().T.astype(float)])
    np.testing.assert_allclose(H[~used], expected, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(H[used], axis=0), 1, rtol=1e-5)
    alone = NMF(4, random_state=0)
    np.testing.assert_array_equal(W, alone.fit_transform(adata.X[:, np.flatnonzero(used)]))
    assert adata.uns["nmf"]["error"] == alone.error_


def test_layer_copy_and_view(template):
    result = scp.tl.nmf(template, 4, layer="doubled", copy=True)
    assert "X_nmf" not in template.obsm
    scp.tl.nmf(view := template[:200], 4)
    assert not view.is_view
    assert "X_nmf" not in template.obsm
    plain = scp.tl.nmf(template, 4, copy=True)
    W = plain.obsm["X_nmf"]
    np.testing.assert_allclose(result.obsm["X_nmf"], 2 * W, atol=1e-3 * W.max())


@pytest.mark.filterwarnings("ignore")  # of anndata, about itself
def test_every_slot_survives_the_disk_row_43(adata, tmp_path):
    scp.tl.nmf(adata, 4, mask_var="highly_variable", random_state=None)
    adata.write_h5ad(tmp_path / "screen.h5ad")
    again = ad.read_h5ad(tmp_path / "screen.h5ad")
    np.testing.assert_array_equal(again.obsm["X_nmf"], adata.obsm["X_nmf"])
    np.testing.assert_array_equal(again.varm["nmf_loadings"], adata.varm["nmf_loadings"])
    loose = {"check_index_type": False, "check_names": False, "check_dtype": False}
    pd.testing.assert_frame_equal(again.varm["nmf_model"], adata.varm["nmf_model"], **loose)
    assert list(again.obs["nmf_program"]) == list(adata.obs["nmf_program"])
    read, written = again.uns["nmf"], adata.uns["nmf"]
    assert {k: (v.item() if hasattr(v, "item") else v) for k, v in read["params"].items()} == written["params"]
    for table in ("programs", "history"):
        pd.testing.assert_frame_equal(read[table], written[table], **loose)
    for figure in set(written) - {"params", "programs", "history"}:
        assert read[figure] == written[figure]


@pytest.mark.filterwarnings("ignore:.*may hold guides or replicates")
def test_readers_and_pictures_take_the_key(adata):
    scp.tl.nmf(adata, 4)
    scp.tl.program_anova(adata, "perturbation", key="nmf")
    assert scp.get.usages(adata, key="nmf").shape == (300, 4)
    assert scp.get.loadings(adata, key="nmf").shape == (120, 4)
    assert scp.get.top_genes(adata, key="nmf", n_genes=3).shape == (3, 4)
    assert len(scp.get.anova(adata, "perturbation", key="nmf")) == 4
    assert scp.get.programs(adata, key="nmf").shape == (300, 4)
    assert scp.get.history(adata, key="nmf")["stage"].isin(["compressed", "full"]).all()
    scp.pl.usage_heatmap(adata, "perturbation", key="nmf")
    scp.pl.program_boxplot(adata, "perturbation", key="nmf")
    scp.pl.loading_heatmap(adata, key="nmf")
    scp.pl.loading_clustermap(adata, key="nmf")
    scp.pl.convergence(adata, key="nmf")


def test_a_failure_halfway_leaves_the_adata_as_it_was_row_46(adata, monkeypatch):
    scp.tl.nmf(adata, 4)
    before = {slot: dict(getattr(adata, slot)) for slot in ("obsm", "varm", "uns")}

    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(NMF, "loadings_of", fail)
    with pytest.raises(KeyboardInterrupt):
        scp.tl.nmf(adata, 3, mask_var="highly_variable")
    for slot, entries in before.items():
        now = dict(getattr(adata, slot))
        assert list(now) == list(entries)
    np.testing.assert_array_equal(adata.obsm["X_nmf"], before["obsm"]["X_nmf"])
    assert adata.uns["nmf"]["params"]["n_programs"] == 4


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("holder", [np.array, sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize("layer", [None, "scaled"])
def test_negative_values_row_3(holder, layer):
    X = values()
    X[3, 4], X[5, 6] = -2.5, -1
    adata = AnnData(holder(X if layer is None else np.abs(X)), layers={} if layer is None else {layer: holder(X)})
    where = r"adata\.X" if layer is None else r"adata\.layers\['scaled'\]"
    message = f"{where} has 2 negative values, the lowest is -2.5; NMF needs non-negative ones: use scp.tl.semi_nmf"
    for mask in (None, np.arange(20) > 10):  # also where only genes outside the fit have them
        with pytest.raises(ValueError, match=message):
            scp.tl.nmf(adata, 3, layer=layer, mask_var=mask)
    assert not adata.uns
    assert not adata.obsm


@pytest.mark.parametrize("holder", [np.array, sparse.csr_matrix])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        pytest.param(np.nan, "has 1 NaN and 0 infinite", id="row-1"),
        pytest.param(np.inf, "has 0 NaN and 1 infinite", id="row-2"),
        pytest.param(-np.inf, "has 0 NaN and 1 infinite", id="row-2-negative"),
    ],
)
def test_missing_and_infinite_values(bad, message, holder):
    X = values()
    X[3, 4] = bad
    with pytest.raises(ValueError, match=rf"adata\.X {message}"):
        scp.tl.nmf(AnnData(holder(X)), 3)


def test_no_signal_row_4():
    with pytest.raises(ValueError, match=r"adata\.X has no signal"):
        scp.tl.nmf(AnnData(sparse.csr_matrix(np.zeros((9, 5)))), 2)


def test_empty_cells_and_genes_rows_5_6():
    X = values()
    X[[2, 9]], X[:, [0, 7]] = 0, 0
    adata = AnnData(sparse.csr_matrix(X))
    with pytest.warns(ProgramsWarning, match="2 of 30 cells have no expression"):
        scp.tl.nmf(adata, 3)
    np.testing.assert_array_equal(adata.obsm["X_nmf"][[2, 9]], 0)
    np.testing.assert_array_equal(adata.varm["nmf_loadings"][[0, 7]], 0)
    assert (adata.obs["nmf_program"].iloc[[2, 9]] == "none").all()


@pytest.mark.filterwarnings("ignore::scprograms.ProgramsWarning")
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
@pytest.mark.parametrize("loss", ["frobenius", "kullback-leibler"])
def test_other_dtypes_row_7(dtype, loss):
    X = np.round(values() * 2).astype(dtype)
    mask = np.arange(20) < 15
    results = []
    for given in (X, X.astype(float)):
        adata = AnnData(sparse.csr_matrix(given))
        scp.tl.nmf(adata, 3, mask_var=mask, loss=loss, solver="hals" if loss == "frobenius" else "mu", max_iter=500)
        results.append((adata.obsm["X_nmf"], adata.varm["nmf_loadings"]))
        assert results[-1][0].dtype == np.float64
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_no_cells_or_genes_row_20(shape):
    with pytest.raises(ValueError, match=f"adata has {shape[0]} cells and {shape[1]} genes"):
        scp.tl.nmf(AnnData(np.zeros(shape)), 3)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        pytest.param({"n_programs": 0}, ValueError, "n_programs=0 is too small", id="row-23"),
        pytest.param({"n_programs": 2.5}, TypeError, "n_programs=2.5 is a float", id="row-24"),
        pytest.param({"n_programs": True}, TypeError, "n_programs=True is a bool", id="row-25"),
        pytest.param({"n_programs": 10**9}, ValueError, "n_programs=1000000000 is far beyond", id="row-28"),
        pytest.param({"max_iter": 0}, ValueError, "max_iter=0", id="row-31"),
        pytest.param({"tol": -1e-3}, ValueError, "tol=-0.001", id="row-31-tol"),
        pytest.param({"solver": "als"}, ValueError, "solver='als' is not known.*'lsnmf'", id="row-32-solver"),
        pytest.param({"loss": "l1"}, ValueError, "loss='l1' is not known.*'kullback-leibler'", id="row-32-loss"),
        pytest.param({"loss": "kullback-leibler"}, ValueError, "needs solver='mu'", id="row-32-pair"),
        pytest.param({"init": "pca"}, ValueError, "init='pca' is not known", id="row-32-init"),
        pytest.param({"random_state": "seed"}, TypeError, "random_state='seed'", id="row-33"),
        pytest.param({"init": np.ones((3, 3))}, ValueError, r"init has shape \(3, 3\); \(300, 3\)", id="row-34"),
        pytest.param({"n_jobs": 0}, ValueError, "n_jobs=0", id="row-35"),
        pytest.param({"layer": "zz"}, KeyError, r"'zz' is not in adata\.layers", id="row-36"),
        pytest.param({"mask_var": "hvg"}, KeyError, r"'hvg' is not in adata\.var", id="row-36-var"),
        pytest.param({"mask_var": np.ones(7, bool)}, ValueError, r"mask_var has .* shape \(7,\)", id="row-37"),
        pytest.param({"key_added": "a/b"}, ValueError, "key_added='a/b' cannot name a slot", id="row-42"),
    ],
)
def test_bad_arguments(kwargs, error, message, adata):
    with pytest.raises(error, match=message):
        scp.tl.nmf(adata, **{"n_programs": 3, **kwargs})
    assert "X_nmf" not in adata.obsm
    assert "nmf" not in adata.uns


def test_more_programs_than_directions_row_27(adata):
    adata = adata[:12].copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        with pytest.warns(ProgramsWarning, match="n_programs=14 exceeds the 12 directions"):
            scp.tl.nmf(adata, 14)
    assert adata.obsm["X_nmf"].shape == (12, 14)
    assert np.isfinite(adata.obsm["X_nmf"]).all()


def test_not_converged_row_30(adata):
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        scp.tl.nmf(adata, 3, max_iter=1)
    assert adata.uns["nmf"]["converged"] is False


def test_not_an_anndata_row_47():
    with pytest.raises(TypeError, match=r"adata is a numpy\.ndarray"):
        scp.tl.nmf(values(), 3)
