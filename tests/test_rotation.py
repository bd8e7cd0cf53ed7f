"""The rotation to simple structure finds planted axes and the best angle that a search over all angles finds."""

from __future__ import annotations

import numpy as np
import pytest

from scprograms._core import rotation as _rotation
from scprograms._core.rotation import simple_structure


def sparse_axes(n, k, *, seed=0, share=0.15, signs=False):
    """Orthonormal columns, each of them large in few rows: what simple structure is."""
    rng = np.random.default_rng(seed)
    Z = np.zeros((n, k))
    owner = np.where(rng.random(n) < share * k, rng.integers(0, k, n), -1)
    for j in range(k):
        Z[owner == j, j] = rng.gamma(2.0, size=(owner == j).sum())
    if signs:
        Z *= rng.choice([-1, 1], size=k)
    return Z / np.linalg.norm(Z, axis=0)


def random_rotation(k, *, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(k, k)))[0]


def is_signed_permutation(R, *, atol):
    return np.allclose(np.sort(np.abs(R), axis=0)[-1], 1, atol=atol)


def varimax(Z):
    return float(np.sum(np.mean(Z**4, axis=0) - np.mean(Z**2, axis=0) ** 2))


def third_moments(Z):
    return float(np.abs(np.mean(Z**3, axis=0)).sum())


def rotate(U, **kwargs):
    return simple_structure(U, rng=np.random.default_rng(0), **kwargs)


@pytest.mark.parametrize("k", [2, 5, 20])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_is_orthogonal(k, dtype):
    U = np.linalg.qr(np.random.default_rng(k).normal(size=(300, k)))[0].astype(dtype)
    R = rotate(U)
    assert R.shape == (k, k)
    np.testing.assert_allclose(R.T @ R, np.eye(k), atol=1e-12)


@pytest.mark.parametrize("k", [2, 4, 8])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_axes_are_recovered(k, seed):
    Z = sparse_axes(3_000, k, seed=seed, share=0.1, signs=True)
    Q = random_rotation(k, seed=seed)
    R = rotate(Z @ Q)
    assert is_signed_permutation(Q @ R, atol=0.01)
    assert not is_signed_permutation(Q, atol=0.01)


def test_the_result_does_not_depend_on_the_rotation_it_starts_from():
    Z = sparse_axes(2_000, 5)
    one, two = (np.abs(Z @ Q @ rotate(Z @ Q)) for Q in (random_rotation(5, seed=1), random_rotation(5, seed=2)))
    order = [int(np.argmax(one[:, [j]].T @ two)) for j in range(5)]
    assert sorted(order) == list(range(5))
    np.testing.assert_allclose(one, two[:, order], atol=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_both_stages_end_at_the_best_of_all_angles(seed, monkeypatch):
    """For k=2 the rotations are the angles from 0 to pi/2, since swaps and signs change no criterion."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.gamma(0.5, size=(400, 2)) * (rng.random((400, 2)) < 0.5))[0]
    U = U @ random_rotation(2, seed=seed) * np.sqrt(400)
    angles = np.linspace(0, np.pi / 2, 2_001)
    turns = [U @ np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in angles]

    rotation = rotate(U / np.sqrt(400))
    found = third_moments(U @ rotation)
    values = np.array([third_moments(Z) for Z in turns])
    # The second stage climbs from the varimax rotation: to a maximum, and not below where it began.
    peaks = values[(values >= np.roll(values, 1)) & (values >= np.roll(values, -1))]
    assert np.abs(peaks - found).min() <= 1e-5 * found

    stages = []
    ascend = _rotation._ascend

    def record(gradient, k):
        stages.append(ascend(gradient, k))
        return stages[-1]

    monkeypatch.setattr(_rotation, "_ascend", record)
    rotate(U / np.sqrt(400))
    assert varimax(U @ stages[0]) >= max(varimax(Z) for Z in turns) * (1 - 1e-6)
    assert found >= third_moments(U @ stages[0]) * (1 - 1e-12)
    np.testing.assert_allclose(stages[0] @ stages[1], rotation, atol=1e-12)


@pytest.mark.parametrize("k", [3, 6])
def test_no_random_rotation_is_better(k):
    Z = sparse_axes(1_500, k) @ random_rotation(k, seed=0) * np.sqrt(1_500)
    found = Z @ rotate(Z / np.sqrt(1_500))
    others = [Z @ random_rotation(k, seed=seed) for seed in range(300)]
    assert varimax(found) > max(map(varimax, others))
    assert third_moments(found) > max(map(third_moments, others))


def test_a_weighted_sample_of_many_rows_is_close_to_all_of_them(monkeypatch):
    Z = sparse_axes(60_000, 4)
    # A rare program: 60 cells of 60,000.
    rare = np.zeros((60_000, 1))
    rare[np.random.default_rng(1).choice(60_000, 60, replace=False)] = 1
    U = np.linalg.qr(np.hstack([Z, rare]))[0] @ random_rotation(5, seed=0)
    sampled = rotate(U)
    monkeypatch.setattr(_rotation, "MAX_ROWS", 10**9)
    full = rotate(U)
    np.testing.assert_allclose(sampled.T @ sampled, np.eye(5), atol=1e-12)
    cosines = np.abs(full.T @ sampled)
    assert (np.sort(cosines, axis=0)[-1] > 0.999).all()
    assert not np.array_equal(sampled, full)


def test_one_axis_is_not_turned():
    np.testing.assert_array_equal(rotate(np.ones((5, 1))), np.eye(1))


def test_degenerate_axes_stay_finite():
    U = np.zeros((50, 3))
    U[:, 0] = 1 / np.sqrt(50)
    R = rotate(U)
    assert np.isfinite(R).all()
    np.testing.assert_allclose(R.T @ R, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("k", [3, 12])
def test_the_rotation_without_the_tensor_is_the_same(k, monkeypatch):
    """Of many axes the third moments would not fit in memory: the gradient then comes from the rows."""
    U = sparse_axes(2_000, k, share=0.5 / k) @ random_rotation(k, seed=k)
    expected = rotate(U)
    monkeypatch.setattr(_rotation, "MAX_TENSOR", k - 1)
    monkeypatch.setattr(_rotation, "_third_moments", None)
    np.testing.assert_allclose(rotate(U), expected, atol=1e-9)
