"""Chunks of a dask array give what the same matrix in memory gives, in few readings of few chunks at a time."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

import scprograms as scp
from planted import planted
from scprograms._core.operators import dask as dask_operator
from scprograms._core.operators.centred import CenteredOperator
from scprograms._core.operators.dask import DaskOperator
from scprograms._core.operators.dask_tasks import Moments, gram_of
from scprograms._core.operators.dispatch import as_operator
from scprograms._core.operators.in_memory import in_memory
from scprograms.programs.engine import NMF, OrthogonalNMF, SemiNMF, consensus_programs, project_usages, sweep_ranks

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

N_OBS, N_VARS, K = 4000, 150, 5
X = planted(N_OBS, N_VARS, K, dtype=np.float32)[0]
SIGNED = planted(N_OBS, N_VARS, K, signed=True, dtype=np.float32)[0]
UNEVEN = (1700, 1, 999, 1300)
HOLDERS = {"dense": np.array, "csr": sparse.csr_matrix, "csc": sparse.csc_array}


def chunked(matrix, rows=1000, holder="csr"):
    array = da.from_array(matrix, chunks=(rows, -1))
    return array if holder == "dense" else array.map_blocks(HOLDERS[holder])


@pytest.fixture(params=["gram", "sketch"])
def route(request, monkeypatch):
    """Both ways to sketch, whichever is cheaper."""
    monkeypatch.setattr(DaskOperator, "_gram_is_cheaper", lambda self: request.param == "gram")
    return request.param


def same(found, expected, *, tol=None):
    tol = (1e-4 if expected.dtype == np.float32 else 1e-8) if tol is None else tol
    np.testing.assert_allclose(found, expected, rtol=0, atol=tol * np.abs(expected).max())


# --- products ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("centered", [False, True])
def test_products_are_those_of_the_matrix(holder, centered):
    rng = np.random.default_rng(0)
    B, A = rng.normal(size=(N_VARS, 3)), rng.random((N_OBS, 3))
    center, scale = rng.random(N_VARS), 1 + rng.random(N_VARS)
    dense = X.astype(np.float64)
    op = DaskOperator(chunked(dense, UNEVEN, holder))
    op.expect(sketch_rank=4, rng=rng)
    if centered:
        op, dense = CenteredOperator(op, center, scale), (dense - center) / scale
    np.testing.assert_allclose(op.matmul(B), dense @ B, atol=1e-10)
    np.testing.assert_allclose(op.rmatmul(A), dense.T @ A, atol=1e-8)
    product, back = op.cross(B)
    np.testing.assert_allclose(product, dense @ B, atol=1e-10)
    np.testing.assert_allclose(back(), dense.T @ (dense @ B), atol=1e-6)
    np.testing.assert_allclose(op.gram(), dense.T @ dense, atol=1e-7)
    np.testing.assert_allclose(op.column_sums(), dense.sum(axis=0), atol=1e-8)
    np.testing.assert_allclose(op.squared_deviations(center), np.square(dense - center).sum(axis=0), rtol=1e-9)
    W = np.zeros_like(A)
    crossed = op.through(B, W, add_to)
    np.testing.assert_allclose(W, dense @ B, atol=1e-10)
    np.testing.assert_allclose(crossed, dense.T @ W, atol=1e-6)


def add_to(C, W):
    W += C


@pytest.mark.parametrize("holder", HOLDERS)
def test_some_rows_are_an_operator(holder):
    rows = np.sort(np.random.default_rng(0).choice(2800, 900, replace=False))  # none of the last chunk
    rows = rows[rows != 1700]  # nor of the chunk with one row
    op = DaskOperator(chunked(X.astype(np.float64), UNEVEN, holder)).rows(rows)
    dense, B = X[rows].astype(np.float64), np.eye(N_VARS)[:, :4]
    assert op.shape == dense.shape
    np.testing.assert_allclose(op.matmul(B), dense @ B)
    np.testing.assert_allclose(op.rmatmul(dense[:, :2]), dense.T @ dense[:, :2])
    np.testing.assert_allclose(op.column_sums(), dense.sum(axis=0))
    taken = DaskOperator(chunked(X, UNEVEN, holder)).take(rows)
    np.testing.assert_array_equal(taken.toarray() if sparse.issparse(taken) else taken, X[rows])


@pytest.mark.parametrize("density", [0.05, 0.6])
def test_gram_by_entries_and_by_blocks(density):
    block = sparse.random(500, 60, density, format="csr", random_state=0)
    doubled = sparse.csr_matrix((np.repeat(block.data / 2, 2), np.repeat(block.indices, 2), 2 * block.indptr))
    expected = block.toarray().T @ block.toarray()
    for held in (block, block.tocsc(), doubled, block.toarray()):
        np.testing.assert_allclose(gram_of(in_memory(held)), expected, atol=1e-10)


def test_moments_of_parts_do_not_cancel():
    values = 1e6 + np.random.default_rng(0).random((600, 3))
    whole = Moments.of(in_memory(values[:200]))
    for part in (values[200:201], values[201:]):
        whole = whole.plus(Moments.of(in_memory(part)))
    np.testing.assert_allclose(whole.deviations, np.square(values - values.mean(axis=0)).sum(axis=0), rtol=1e-8)


# --- the same factors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("holder", ["dense", "csr"])
@pytest.mark.parametrize("rows", [1000, 1700, UNEVEN, N_OBS], ids=str)
@pytest.mark.parametrize("scheduler", ["threads", "sync"])
def test_semi_nmf_is_that_in_memory(route, holder, rows, scheduler):
    expected = SemiNMF(K, random_state=0)
    W = expected.fit_transform(HOLDERS[holder](X))
    model = SemiNMF(K, random_state=0)
    with dask.config.set(scheduler=scheduler):
        same(model.fit_transform(chunked(X, rows, holder)), W)
        same(model.transform(chunked(X, rows, holder)), W)
    same(model.components_, expected.components_)
    assert model.error_ratio_ == pytest.approx(expected.error_ratio_, rel=1e-5)
    same(model.variance_explained_, expected.variance_explained_, tol=1e-5)


@pytest.mark.filterwarnings("ignore:The error still changed by more than tol")
@pytest.mark.parametrize(
    "options",
    [{}, {"center": "mean"}, {"scale": True}, {"center": "control"}, {"center": "control", "scale": True}],
    ids=str,
)
def test_centre_scale_and_baseline(route, options):
    control = np.arange(N_OBS) % 3 == 0 if options.get("center") == "control" else None
    expected = SemiNMF(K, random_state=0, **options)
    W = expected.fit_transform(SIGNED, control=control)
    model = SemiNMF(K, random_state=0, **options)
    same(model.fit_transform(chunked(SIGNED), control=control), W)
    for name in ("components_", "baseline_", "center_", "scale_"):
        np.testing.assert_allclose(getattr(model, name), getattr(expected, name), atol=1e-4)
    others = model.loadings_of(chunked(SIGNED[:, :7]), W, control=control)
    in_full = expected.loadings_of(SIGNED[:, :7], W, control=control)
    for name in others:
        np.testing.assert_allclose(others[name], in_full[name], atol=1e-4)


@pytest.mark.parametrize("init", ["svd", "nndsvd", "nmf", "kmeans", "random"])
def test_other_starts(init):
    W = SemiNMF(K, init=init, random_state=0).fit_transform(X.astype(np.float64))
    same(SemiNMF(K, init=init, random_state=0).fit_transform(chunked(X.astype(np.float64))), W)


@pytest.mark.parametrize("method", [NMF, OrthogonalNMF])
def test_non_negative_factors(route, method):
    dense = X.astype(np.float64)
    expected, model = method(K, random_state=0), method(K, random_state=0)
    W = expected.fit_transform(dense)
    same(model.fit_transform(chunked(dense)), W)
    same(model.components_, expected.components_)
    same(model.transform(chunked(dense)), W)
    same(model.loadings_of(chunked(dense[:, :9]), W)["loadings"], expected.loadings_of(dense[:, :9], W)["loadings"])


@pytest.mark.parametrize("method", ["semi_nmf", "nmf", "onmf"])
def test_consensus(method):
    dense = X.astype(np.float64)
    options = {"method": method, "n_runs": 3, "random_state": 0}
    expected, found = (consensus_programs(data, K, **options) for data in (dense, chunked(dense)))
    same(found.usages, expected.usages)
    same(found.model.components_, expected.model.components_)
    np.testing.assert_allclose(found.cosines, expected.cosines, atol=1e-4)


def test_rank_sweep():
    dense = X.astype(np.float64)
    options = {"n_folds": 2, "n_subsamples": 2, "max_cells": 500, "random_state": 0}
    expected, found = (sweep_ranks(data, [3, 5, 7], **options) for data in (dense, chunked(dense)))
    assert found.suggested == expected.suggested
    for name in ("error", "error_bound", "cv_error", "stability"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-4)


def test_projection_reads_twice():
    model = SemiNMF(K, random_state=0).fit(X)
    op = DaskOperator(chunked(X))
    expected, found = (project_usages(data, model.components_, penalty=model.l1_penalty_) for data in (X, op))
    same(found.usages, expected.usages)
    assert found.error == pytest.approx(expected.error, rel=1e-5)
    assert op.n_passes == 2


def test_more_columns_than_rows():
    wide = planted(90, 150, 3)[0]
    W = SemiNMF(3, random_state=0).fit_transform(wide)
    same(SemiNMF(3, random_state=0).fit_transform(chunked(wide, 40)), W)


def test_chunks_of_columns_and_of_unknown_height(caplog):
    W = SemiNMF(K, random_state=0).fit_transform(X)
    columns = da.from_array(X, chunks=(1000, 40))
    for array in (columns, columns.map_blocks(sparse.csr_matrix)):
        same(SemiNMF(K, random_state=0).fit_transform(array), W)
    assert "held whole" not in caplog.text
    DaskOperator(da.from_array(X, chunks=(-1, 40)))
    assert "held whole" in caplog.text
    whole = da.from_array(X, chunks=(1000, -1))
    unknown = whole[whole[:, 0] > -1]
    assert np.isnan(unknown.shape[0])
    same(SemiNMF(K, random_state=0).fit_transform(unknown), W)
    assert np.isnan(unknown.shape[0])  # the user's array is left as it was


# --- how often, and how much at a time -----------------------------------------------------------------------------


class Loader:
    """Loads chunks, and counts how often each is loaded and how many are alive at once."""

    def __init__(self, matrix, rows):
        self.matrix, self.rows, self.lock = matrix, rows, threading.Lock()
        self.n_chunks = -(-len(matrix) // rows)
        self.loads, self.alive, self.most = np.zeros(self.n_chunks, dtype=int), 0, 0

    def __call__(self, block_info=None):
        number = block_info[None]["chunk-location"][0]
        block = sparse.csr_matrix(self.matrix[number * self.rows : (number + 1) * self.rows])
        with self.lock:
            self.loads[number] += 1
            self.alive += 1
            self.most = max(self.most, self.alive)
        weakref.finalize(block, self._gone)
        return block

    def _gone(self):
        with self.lock:
            self.alive -= 1

    def array(self):
        heights = tuple(len(self.matrix[i : i + self.rows]) for i in range(0, len(self.matrix), self.rows))
        return da.map_blocks(
            self, chunks=(heights, (self.matrix.shape[1],)), dtype=self.matrix.dtype, meta=sparse.csr_matrix((0, 0))
        )


def test_a_fit_reads_the_data_five_times_or_as_often_as_the_sketch_iterates(route, caplog):
    loader = Loader(X, 250)
    op = DaskOperator(loader.array())
    with caplog.at_level(logging.INFO, logger="scprograms"):
        SemiNMF(K, random_state=0).fit(op)
    assert loader.loads[0] == op.n_passes + 1  # the first chunk was looked at beforehand
    assert set(loader.loads[1:]) == {op.n_passes}
    assert f"the data were read {op.n_passes} times" in caplog.text
    assert ("X'X" in caplog.text) == (route == "gram")
    if route == "gram":
        assert op.n_passes == 5
    else:
        q = iterations_in_memory()
        assert op.n_passes == 1 + q + 3


def iterations_in_memory():
    from scprograms._core.sums import squared_norm
    from scprograms._core.svd import compress
    from scprograms.programs.engine._factorize import SKETCH_TOL, sketch_rank

    op = as_operator(X)
    options = {"n_leading": K, "total": squared_norm(op), "tol": SKETCH_TOL}
    return compress(op, sketch_rank(K), rng=np.random.default_rng(0), **options).n_power_iterations


@pytest.mark.parametrize("scheduler", ["threads", "sync"])
def test_few_chunks_are_in_memory_at_once(route, scheduler):
    loader = Loader(X, 50)
    assert loader.n_chunks == 80
    with dask.config.set(scheduler=scheduler, num_workers=2):
        SemiNMF(K, random_state=0).fit(loader.array())
    assert loader.most <= (1 if scheduler == "sync" else 2) + 2
    assert loader.alive <= 1


def test_the_route_is_chosen_by_cost(monkeypatch):
    op = DaskOperator(chunked(X))
    op.expect(sketch_rank=16, rng=np.random.default_rng(0))
    assert op.gram() is not None
    wide = DaskOperator(chunked(X))
    monkeypatch.setattr(dask_operator, "MOST_GRAM_COLUMNS", N_VARS - 1)
    wide.expect(sketch_rank=16, rng=np.random.default_rng(0))
    assert wide.gram() is None


# --- what goes wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("holder", ["dense", "csr"])
def test_the_chunk_with_a_value_that_is_no_number_is_named_row_16(value, holder):
    bad = X.copy()
    bad[3 * 500 + 17, 3] = bad[3 * 500 + 20, 4] = bad[7 * 500, 0] = value
    n_nan, n_infinite = (2, 0) if np.isnan(value) else (0, 2)
    message = rf"Chunk 3 \(rows 1500 to 1999\) .* {n_nan} NaN and {n_infinite} infinite .* row 1517.* 1 more chunks"
    with pytest.raises(ValueError, match=message):
        SemiNMF(K).fit(chunked(bad, 500, holder))
    with pytest.raises(ValueError, match="row 1517"):
        project_usages(chunked(bad, 500, holder), np.ones((1, N_VARS)))


def fails_in_chunk_two(block, block_info=None):
    if block_info[0]["chunk-location"][0] == 2:
        msg = "Read less than announced"
        raise OSError(msg)
    return block


def test_the_chunk_that_cannot_be_loaded_is_named():
    array = da.from_array(X, chunks=(500, -1)).map_blocks(fails_in_chunk_two, meta=np.empty((0, 0), np.float32))
    with pytest.raises(OSError, match="less than announced") as caught:
        SemiNMF(K).fit(array)
    assert any("chunk 2 (rows 1000 to 1499) of 8" in note for note in caught.value.__notes__)


def test_a_truncated_chunk_is_named():
    short = da.from_array(X, chunks=(500, -1)).map_blocks(
        lambda block, block_info=None: block[: 100 if block_info[0]["chunk-location"][0] == 1 else None],
        dtype=X.dtype,
        meta=np.empty((0, 0), np.float32),
    )
    with pytest.raises(ValueError, match=r"shape \(100, 150\), but \(500, 150\) was announced") as caught:
        SemiNMF(K).fit(short)
    assert any("chunk 1 (rows 500 to 999)" in note for note in caught.value.__notes__)


def test_a_damaged_store_is_named_by_chunk(tmp_path):
    zarr = pytest.importorskip("zarr")
    store = zarr.open_array(str(tmp_path / "X.zarr"), mode="w", shape=X.shape, chunks=(1000, N_VARS), dtype=X.dtype)
    store[:] = X
    file = next(path for path in (tmp_path / "X.zarr").rglob("*") if path.is_file() and path.match("*2/0"))
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(Exception, match=r".") as caught:
        SemiNMF(K).fit(da.from_zarr(str(tmp_path / "X.zarr")))
    assert any("chunk 2 (rows 2000 to 2999) of 4" in note for note in caught.value.__notes__)


def test_solvers_that_need_the_matrix_in_memory_say_so():
    array = chunked(X)
    for model in (SemiNMF(K, solver="mu"), NMF(K, solver="cd"), NMF(K, solver="lsnmf"), OrthogonalNMF(K, solver="mu")):
        with pytest.raises(ValueError, match=r"in memory.*X.compute\(\)"):
            model.fit(array)
    with pytest.raises(ValueError, match="kullback-leibler"):
        project_usages(array, np.ones((1, N_VARS)), loss="kullback-leibler")


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (lambda: da.from_array(SIGNED, chunks=(900, -1)), ValueError, "Negative values in data: [0-9]+ of 600000"),
        (lambda: da.zeros((100, 9), chunks=(50, -1)), ValueError, "no signal"),
        (lambda: da.from_array(X.astype(complex), chunks=(900, -1)), TypeError, "complex"),
        (lambda: da.from_array(X[:, 0], chunks=900), ValueError, "cells x features"),
        (lambda: da.from_array(X[:0], chunks=(900, -1)), ValueError, "nothing to factorize"),
    ],
)
def test_bad_arrays(array, error, message):
    with pytest.raises(error, match=message):
        NMF(K).fit(array())


def test_new_cells_need_the_features_of_the_fit():
    model = SemiNMF(K, random_state=0).fit(X)
    with pytest.raises(ValueError, match="140 features"):
        model.transform(chunked(X[:, :140]))


# --- AnnData -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def screen():
    adata = scp.datasets.simulate_screen(n_cells=900, n_genes=200, n_programs=5, random_state=0)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    adata.X = sparse.csr_matrix(adata.X.astype(np.float64))
    adata.layers["dense"] = adata.X.toarray()
    adata.var["used"] = np.arange(adata.n_vars) % 4 != 0
    del adata.uns["truth"]
    return adata


@pytest.fixture(scope="module")
def stores(screen, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    screen.write_h5ad(folder / "screen.h5ad")
    screen.write_zarr(folder / "screen.zarr")
    return folder


def same_slots(found, expected, key="semi_nmf"):
    same(found.obsm[f"X_{key}"], expected.obsm[f"X_{key}"])
    same(found.varm[f"{key}_loadings"], expected.varm[f"{key}_loadings"])
    assert type(found.obsm[f"X_{key}"]) is np.ndarray
    assert (found.obs[f"{key}_program"] == expected.obs[f"{key}_program"]).mean() > 0.999


@pytest.mark.filterwarnings("ignore:.*may hold guides or replicates")
@pytest.mark.parametrize("store", ["screen.h5ad", "screen.zarr"])
@pytest.mark.parametrize("layer", [None, "dense"])
def test_lazily_read_anndata_rows_16_and_17(screen, stores, store, layer, tmp_path):
    pytest.importorskip("xarray")
    lazy = ad.experimental.read_lazy(stores / store)
    expected = scp.tl.semi_nmf(screen, 5, mask_var="used", copy=True)
    scp.tl.semi_nmf(lazy, 5, mask_var="used", layer=layer)
    same_slots(lazy, expected)
    assert hasattr(lazy.X, "dask")
    for adata in (lazy, expected):
        scp.tl.program_anova(adata, "perturbation")
    tables = [scp.get.anova(adata, "perturbation") for adata in (lazy, expected)]
    np.testing.assert_allclose(tables[0]["F"], tables[1]["F"], rtol=1e-2)
    lazy.write_h5ad(tmp_path / "done.h5ad")
    again = ad.experimental.read_lazy(tmp_path / "done.h5ad")
    assert list(scp.get.top_genes(again)["program_0"]) == list(scp.get.top_genes(expected)["program_0"])
    new = ad.experimental.read_lazy(stores / store)
    scp.tl.project(new, again, layer=layer)
    same_slots(new, expected)


@pytest.mark.parametrize("verb", ["nmf", "onmf", "consensus", "rank_sweep"])
def test_other_verbs_take_dask(screen, verb):
    call = {"consensus": {"n_runs": 3}, "rank_sweep": {"n_folds": 2, "n_subsamples": 2, "max_cells": 300}}.get(verb, {})
    ranks = [3, 5] if verb == "rank_sweep" else 5
    lazy, expected = screen.copy(), screen.copy()
    lazy.X = chunked(screen.layers["dense"], 300)
    for adata in (lazy, expected):
        getattr(scp.tl, verb)(adata, ranks, mask_var="used", **call)
    if verb == "rank_sweep":
        found, there = (scp.get.rank_sweep(adata) for adata in (lazy, expected))
        np.testing.assert_allclose(found["cv_error"], there["cv_error"], rtol=1e-3)
    else:
        same_slots(lazy, expected, key={"consensus": "semi_nmf_consensus"}.get(verb, verb))


@pytest.mark.parametrize("holder", ["csr", "dense"])
def test_backed_row_17(screen, tmp_path, holder):
    held = screen.copy()
    held.X = screen.X if holder == "csr" else screen.layers["dense"]
    held.write_h5ad(tmp_path / "backed.h5ad")
    backed = ad.read_h5ad(tmp_path / "backed.h5ad", backed="r")
    scp.tl.semi_nmf(backed, 5)
    same_slots(backed, scp.tl.semi_nmf(screen, 5, copy=True))
    with pytest.raises(TypeError, match=r"view.*to_memory"):
        scp.tl.semi_nmf(backed[:300], 5)
    backed.file.close()


def test_backed_by_column_says_what_to_do(screen, tmp_path):
    held = screen.copy()
    held.X = screen.X.tocsc()
    held.write_h5ad(tmp_path / "backed.h5ad")
    backed = ad.read_h5ad(tmp_path / "backed.h5ad", backed="r")
    with pytest.raises(TypeError, match=r"CSC.*to_memory\(\)"):
        scp.tl.semi_nmf(backed, 5)
    backed.file.close()


def test_checkpoint_knows_the_values_of_the_chunks(screen, tmp_path):
    adata, options = screen.copy(), {"n_runs": 2, "checkpoint": tmp_path}
    adata.X = chunked(screen.layers["dense"], 300)
    first = scp.tl.consensus(adata, 3, copy=True, **options)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    adata.X = chunked(screen.layers["dense"].copy(), 300)
    again = scp.tl.consensus(adata, 3, copy=True, **options)
    same_slots(again, first, key="semi_nmf_consensus")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    changed = screen.layers["dense"].copy()
    changed[0, 0] += 1
    adata.X = chunked(changed, 300)
    with pytest.warns(UserWarning, match="other data"):
        scp.tl.consensus(adata, 3, **options)


def test_raw_counts_are_noticed_and_a_failure_changes_nothing(screen):
    adata = screen.copy()
    adata.X = chunked(np.round(screen.layers["dense"]), 300)
    with pytest.warns(UserWarning, match="integers"):
        scp.tl.semi_nmf(adata, 3)
    before = (set(adata.obs), set(adata.obsm), set(adata.varm), set(adata.uns), list(adata.uns["semi_nmf"]))
    bad = screen.layers["dense"].copy()
    bad[700, 1] = np.nan
    adata.X = chunked(bad, 300)
    for verb in (scp.tl.semi_nmf, scp.tl.nmf, scp.tl.onmf, scp.tl.consensus):
        with pytest.raises(ValueError, match=r"Chunk 2 .* row 700"):
            verb(adata, 3)
    adata.var["fine"] = np.arange(adata.n_vars) != 1
    with pytest.raises(ValueError, match=r"Chunk 2 .* row 700"):  # of a gene that does not enter the fit
        scp.tl.semi_nmf(adata, 3, mask_var="fine")
    assert before == (set(adata.obs), set(adata.obsm), set(adata.varm), set(adata.uns), list(adata.uns["semi_nmf"]))


# --- a cluster -----------------------------------------------------------------------------------------------------


def load_and_die_once(block, flag, block_info=None):
    """Load a chunk; the worker that loads chunk 2 for the third time dies of it."""
    if block_info[0]["chunk-location"][0] == 2:
        tries = len(list(Path(flag).iterdir()))
        if tries <= 2:
            (Path(flag) / str(tries)).touch()
        if tries == 2:
            os._exit(1)
    return sparse.csr_matrix(block)


def test_a_cluster_in_this_process():
    distributed = pytest.importorskip("distributed")
    expected = SemiNMF(K, random_state=0)
    W = expected.fit_transform(X)
    with distributed.Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=":0"):
        model = SemiNMF(K, random_state=0)
        same(model.fit_transform(chunked(X)), W)
        same(model.components_, expected.components_)


@pytest.mark.slow
def test_a_cluster_of_processes_and_a_worker_that_dies_row_87(tmp_path):
    distributed = pytest.importorskip("distributed")
    expected = SemiNMF(K, random_state=0)
    W = expected.fit_transform(X)
    (tmp_path / "flag").mkdir()
    dying = da.from_array(X, chunks=(1000, -1)).map_blocks(
        load_and_die_once, str(tmp_path / "flag"), dtype=X.dtype, meta=sparse.csr_matrix((0, 0), dtype=X.dtype)
    )
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", local_directory=str(tmp_path)
    )
    with cluster, distributed.Client(cluster):
        for array in (chunked(X), dying):
            model = SemiNMF(K, random_state=0)
            same(model.fit_transform(array), W)
            same(model.components_, expected.components_)
    assert len(list((tmp_path / "flag").iterdir())) == 3  # it did die
