"""Results do not hang on rounding: however the same data are held, cut or computed, the same factors come out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from planted import planted
from scprograms._core import rotation
from scprograms._core.rotation import simple_structure
from scprograms.programs.engine import NMF, OrthogonalNMF, SemiNMF
from scprograms.programs.engine._base import order_of_programs
from scprograms.programs.engine._nmf_solvers import change_of_columns
from scprograms.programs.engine._starts import signs_of

METHODS = {"semi_nmf": SemiNMF, "onmf": OrthogonalNMF, "nmf": NMF}
TOL = {np.float32: 1e-4, np.float64: 1e-8}
SCREENS = {"few": planted(3000, 150, 5)[0], "many": planted(1500, 300, 12, noise=0.6, seed=1)[0]}
K = {"few": 5, "many": 10}


def fit(X, method, k, **options):
    model = METHODS[method](k, random_state=0, **options)
    return model, model.fit_transform(X)


def assert_same(found, expected, *, tol):
    (model, W), (reference, W0) = found, expected
    assert model.n_iter_ == reference.n_iter_
    np.testing.assert_allclose(W, W0, rtol=0, atol=tol * W0.max())
    np.testing.assert_allclose(model.components_, reference.components_, rtol=0, atol=tol)


@pytest.fixture(scope="module", params=["few", "many"])
def name(request):
    return request.param


@pytest.fixture(scope="module", params=METHODS)
def method(request):
    return request.param


@pytest.fixture(scope="module", params=[np.float32, np.float64])
def case(request, name, method):
    """The data, what fits them, a fit of them as CSR, and the tolerance."""
    X = SCREENS[name].astype(request.param)
    return X, (method, K[name]), fit(sparse.csr_matrix(X), method, K[name]), TOL[request.param]


# --- formats, chunks, threads, processors ----------------------------------------------------------------------------


@pytest.mark.parametrize("holder", [np.asarray, np.asfortranarray, sparse.csc_matrix, sparse.csr_array])
def test_formats_agree(case, holder):
    X, which, expected, tol = case
    assert_same(fit(holder(X), *which), expected, tol=tol)


@pytest.mark.parametrize("heights", [250, 1024, "uneven", -1])
@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_chunks_agree(case, heights, holder):
    da = pytest.importorskip("dask.array")
    X, which, expected, tol = case
    n = len(X)
    heights = (n // 2, 1, n // 7, n - n // 2 - 1 - n // 7) if heights == "uneven" else heights
    assert_same(fit(da.from_array(X, chunks=(heights, -1)).map_blocks(holder), *which), expected, tol=tol)


@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_threads_agree(case, n_jobs):
    X, which, expected, tol = case
    assert_same(fit(sparse.csr_matrix(X), *which, n_jobs=n_jobs), expected, tol=tol)


def test_float32_agrees_with_float64(name, method):
    single, double = (fit(SCREENS[name].astype(dtype), method, K[name]) for dtype in (np.float32, np.float64))
    assert_same(single, double, tol=1e-4)


ON_ANOTHER_PROCESSOR = """
import sys
import numpy as np
from test_agreement import K, METHODS, SCREENS, fit
from scipy import sparse
for method in METHODS:
    model, W = fit(sparse.csr_matrix(SCREENS["few"].astype(np.float32)), method, K["few"])
    np.savez(f"{sys.argv[1]}/{method}.npz", W=W, H=model.components_, n_iter=model.n_iter_)
"""


def test_processors_agree(tmp_path):
    """Kernels for any processor, and products of the BLAS as an older one takes them."""
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": "generic",
        "OPENBLAS_CORETYPE": "Haswell",
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    subprocess.run([sys.executable, "-c", ON_ANOTHER_PROCESSOR, str(tmp_path)], env=environment, check=True)
    for method in METHODS:
        model, W = fit(sparse.csr_matrix(SCREENS["few"].astype(np.float32)), method, K["few"])
        with np.load(tmp_path / f"{method}.npz") as other:
            assert other["n_iter"] == model.n_iter_
            np.testing.assert_allclose(other["W"], W, rtol=0, atol=1e-4 * W.max())
            np.testing.assert_allclose(other["H"], model.components_, rtol=0, atol=1e-4)


# --- the last bits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_last_bits_of_the_data_do_not_decide(case, seed):
    """Each value moves by its rounding: far more than a sum in another order does."""
    X, which, expected, tol = case
    noise = 1 + np.finfo(X.dtype).eps * np.random.default_rng(seed).uniform(-1, 1, X.shape)
    assert_same(fit(sparse.csr_matrix(X * noise.astype(X.dtype)), *which), expected, tol=tol)


def test_the_sample_of_rows_does_not_follow_the_last_bits(monkeypatch):
    monkeypatch.setattr(rotation, "MAX_ROWS", 500)
    rng = np.random.default_rng(0)
    U = np.linalg.qr(rng.gamma(0.3, size=(4000, 6)))[0].astype(np.float32)
    expected = simple_structure(U, rng=np.random.default_rng(0))
    for seed in range(10):
        noise = 1 + 1e-7 * np.random.default_rng(seed).uniform(-1, 1, U.shape)
        found = simple_structure((U * noise).astype(np.float32), rng=np.random.default_rng(0))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_the_sample_of_rows_has_about_the_size_that_is_asked_for(monkeypatch):
    monkeypatch.setattr(rotation, "MAX_ROWS", 500)
    seen = []

    def record(U, weights):
        seen.append((len(U), weights))
        return np.ones((3, 3, 3))

    monkeypatch.setattr(rotation, "_third_moments", record)
    simple_structure(np.linalg.qr(np.random.default_rng(0).normal(size=(5000, 3)))[0], rng=np.random.default_rng(1))
    (n, weights), *_ = seen
    assert 400 < n < 600
    assert weights.sum() == pytest.approx(1, abs=0.1)


# --- ties ------------------------------------------------------------------------------------------------------------


def test_the_order_of_programs_that_tie_does_not_follow_the_last_bits():
    H = np.eye(6)[[4, 1, 3, 0, 5, 2]]
    variance = np.array([1.0, 3.0, 1.0, 2.0, 1.0, 3.0])
    for seed in range(20):
        noise = 1 + 1e-5 * np.random.default_rng(seed).normal(size=6)
        np.testing.assert_array_equal(order_of_programs(variance * noise, H), [1, 5, 3, 2, 0, 4])


def test_programs_that_do_not_tie_are_in_the_order_of_their_variance():
    variance, H = np.random.default_rng(0).gamma(1, size=30), np.random.default_rng(1).normal(size=(30, 9))
    np.testing.assert_array_equal(order_of_programs(variance, H), np.argsort(-variance))
    np.testing.assert_array_equal(order_of_programs(np.zeros(3), np.zeros((3, 4))), [0, 1, 2])


def test_the_side_of_an_axis_that_is_as_heavy_on_both():
    scores = np.array([[0.1, 0.1, 1.0], [-1.0, -2.0, -1.0], [1.0, 3.0, 0.0], [-0.1, 0.1, 0.2]])
    squares = np.square(scores)
    heavier, total = (np.sign(scores) * squares).sum(axis=0), squares.sum(axis=0)
    for noise in (-1e-6, 0, 1e-6):
        np.testing.assert_array_equal(signs_of(heavier + noise, total, scores), [-1, 1, 1])
        np.testing.assert_array_equal(signs_of(-heavier + noise, total, -scores), [1, -1, -1])


def test_the_change_of_loadings_is_that_of_unit_columns():
    A = np.random.default_rng(0).random((20, 3))
    B = A + 0.1 * np.random.default_rng(1).random((20, 3))
    units = [M / np.linalg.norm(M, axis=0) for M in (A, B)]
    expected = np.sqrt(np.square(units[1] - units[0]).sum() / 3)
    assert change_of_columns(A, B) == pytest.approx(expected)
    assert change_of_columns(A * [1, 10, 100], B * [5, 1, 2]) == pytest.approx(expected)
    assert change_of_columns(np.zeros((4, 2)), np.zeros((4, 2))) == 0
