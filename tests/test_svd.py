"""The sketch has the leading singular values and subspaces that Lanczos and LAPACK find."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import svds

from planted import planted
from scprograms._core.operators.centred import CenteredOperator
from scprograms._core.operators.dispatch import as_operator
from scprograms._core.sums import squared_norm
from scprograms._core.svd import MAX_POWER_ITERATIONS, compress

SHAPES = [(2_000, 90), (90, 2_000), (300, 300)]


def sketch(X, rank, *, n_leading=None, tol=1e-9, seed=0):
    op = as_operator(X)
    return compress(
        op,
        rank,
        n_leading=rank if n_leading is None else n_leading,
        total=squared_norm(op),
        rng=np.random.default_rng(seed),
        tol=tol,
    )


def assert_orthonormal(A, *, atol):
    np.testing.assert_allclose(A.T @ A, np.eye(A.shape[1]), atol=atol)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-9), (np.float32, 1e-5)])
def test_singular_values_equal_those_of_lanczos(shape, dtype, rtol):
    X = sparse.csr_array(planted(*shape, 6, noise=0.05)[0].astype(dtype))
    found = sketch(X, 12, n_leading=6)
    truth = svds(X.astype(float), 6, tol=1e-10, return_singular_vectors=False, random_state=0)
    np.testing.assert_allclose(found.singular_values[:6], np.sort(truth)[::-1], rtol=rtol)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "atol"), [(np.float64, 1e-10), (np.float32, 1e-4)])
def test_the_parts_fit_together(shape, dtype, atol):
    X = planted(*shape, 6)[0].astype(dtype)
    found = sketch(X, 12, n_leading=6)
    assert found.Y.shape == (shape[0], 12)
    assert found.V.shape == (shape[1], 12)
    assert found.Y.dtype == found.V.dtype == dtype
    assert found.singular_values.dtype == np.float64
    assert (np.diff(found.singular_values) <= 0).all()
    assert_orthonormal(found.V, atol=atol)
    assert_orthonormal(found.left(12), atol=atol)
    np.testing.assert_allclose(np.linalg.norm(found.Y, axis=0), found.singular_values, rtol=max(atol, 1e-10))
    assert 2 <= found.n_power_iterations <= MAX_POWER_ITERATIONS
    # The best rank-6 approximation, by LAPACK.
    U, s, Vt = np.linalg.svd(X.astype(float), full_matrices=False)
    best = (U[:, :6] * s[:6]) @ Vt[:6]
    scale = np.abs(best).max()
    np.testing.assert_allclose(found.Y[:, :6] @ found.V[:, :6].T, best, rtol=0, atol=max(1e-4, atol) * scale)


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (12, 12), (1, 5), (5, 1)])
def test_the_full_rank_is_exact(shape):
    X = np.random.default_rng(0).normal(size=shape)
    found = sketch(X, 50)
    np.testing.assert_allclose(found.singular_values, np.linalg.svd(X, compute_uv=False), rtol=1e-12)
    np.testing.assert_allclose(found.Y @ found.V.T, X, atol=1e-12)


@pytest.mark.parametrize("shape", [(200, 50), (50, 200)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rank_deficient_matrices(shape, dtype):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(shape[0], 4)) @ rng.normal(size=(4, shape[1]))).astype(dtype)
    found = sketch(X, 10)
    truth = np.linalg.svd(X.astype(float), compute_uv=False)[:4]
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(found.singular_values[:4], truth, rtol=50 * eps)
    assert (found.singular_values[4:] <= 10 * np.sqrt(eps) * truth[0]).all()
    for array in (found.Y, found.V, found.left(10)):
        assert np.isfinite(array).all()
    np.testing.assert_allclose(found.Y @ found.V.T, X, atol=200 * eps * np.abs(X).max())


def test_a_flat_spectrum_gets_more_passes_than_a_steep_one():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(500, 200))
    steep = planted(500, 200, 5, noise=0.01)[0]
    assert (
        sketch(flat, 12, n_leading=5).n_power_iterations > sketch(steep, 12, n_leading=5, tol=1e-5).n_power_iterations
    )


def test_of_the_centred_matrix():
    X, _, _ = planted(500, 80, 5)
    op = CenteredOperator(as_operator(sparse.csr_array(X)), X.mean(axis=0), X.std(axis=0))
    found = compress(op, 80, n_leading=5, total=squared_norm(op), rng=np.random.default_rng(0))
    truth = np.linalg.svd((X - X.mean(axis=0)) / X.std(axis=0), compute_uv=False)
    np.testing.assert_allclose(found.singular_values[:70], truth[:70], rtol=1e-9)


def test_the_seed_does_not_matter_once_converged():
    X = planted(1_000, 100, 5, noise=0.05)[0]
    a, b = (sketch(X, 15, n_leading=5, tol=1e-12, seed=seed) for seed in (0, 1))
    np.testing.assert_allclose(a.singular_values[:5], b.singular_values[:5], rtol=1e-10)
    np.testing.assert_allclose(np.abs(np.sum(a.V[:, :5] * b.V[:, :5], axis=0)), 1, atol=1e-8)
