"""The exact end of non-negative least squares, against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from scprograms._core.nnls import finish_rows


def problem(k=8, n=300, condition=1e4, seed=0):
    """Return G, C and an offset with usages on both sides of zero, from programs that are much alike."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(k, k)))[0]
    G = Q * np.geomspace(1, condition, k) @ Q.T / condition
    W = np.maximum(rng.normal(size=(n, k)), 0)
    return G, W @ G + 0.01 * rng.normal(size=(n, k)), np.full(k, 0.002)


def oracle(G, C, offset):
    L = np.linalg.cholesky(G)
    return np.array([optimize.nnls(L.T, np.linalg.solve(L, c - offset), maxiter=10_000)[0] for c in C])


@pytest.mark.parametrize("condition", [1, 1e3, 1e6])
@pytest.mark.parametrize("start", ["zero", "all", "random"])
def test_equals_scipy_from_any_start(condition, start):
    G, C, offset = problem(condition=condition)
    W = {"zero": np.zeros_like(C), "all": np.ones_like(C), "random": np.random.default_rng(1).random(C.shape).round()}[
        start
    ]
    finish_rows(W, C, G, offset, 0, len(W))
    expected = oracle(G, C, offset)
    np.testing.assert_allclose(W, expected, atol=1e-7 * expected.max())
    assert (W >= 0).all()
    np.testing.assert_array_equal(W == 0, expected == 0)


def test_rows_outside_the_range_stay():
    G, C, offset = problem()
    W = np.ones_like(C)
    finish_rows(W, C, G, offset, 10, 20)
    assert (W[:10] == 1).all()
    assert (W[20:] == 1).all()
    assert not (W[10:20] == 1).any()


def test_a_row_does_not_depend_on_its_neighbours():
    G, C, offset = problem()
    whole, parts = np.zeros_like(C), np.zeros_like(C)
    finish_rows(whole, C, G, offset, 0, len(C))
    for i in range(len(C)):
        finish_rows(parts, C, G, offset, i, i + 1)
    np.testing.assert_array_equal(whole, parts)


def test_dead_and_doubled_programs_do_no_harm():
    G, C, offset = problem(k=4, condition=10)
    doubled = G[np.ix_([0, 1, 2, 3, 3], [0, 1, 2, 3, 3])]
    W = np.ones((len(C), 5))
    finish_rows(W, C[:, [0, 1, 2, 3, 3]], doubled, offset[[0, 1, 2, 3, 3]], 0, len(C))
    assert np.isfinite(W).all()
    assert (W >= 0).all()
    dead = np.zeros((5, 5))
    dead[:4, :4] = G
    W = np.zeros((len(C), 5))
    finish_rows(W, np.pad(C, [(0, 0), (0, 1)]), dead, np.append(offset, 0), 0, len(C))
    np.testing.assert_allclose(W[:, :4], oracle(G, C, offset), atol=1e-8)
    assert not W[:, 4].any()
