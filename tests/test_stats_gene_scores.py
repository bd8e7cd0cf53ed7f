"""Gene scores against an ordinary least squares fit of the z-scored matrix."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from scprograms.enrichment.engine import _gene_scores, gene_scores


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.poisson(0.7, size=(400, 30)).astype(np.float64)
    W = rng.gamma(0.5, size=(400, 3))
    X[:, :5] += np.round(W[:, :1] * 4)
    X[:, 7] = 3.0
    X[:, 8] = 0.0
    return X, W


def by_definition(X, W):
    deviation = X.std(axis=0)
    Z = np.divide(X - X.mean(axis=0), deviation, out=np.zeros_like(X), where=deviation > 0)
    return np.linalg.lstsq(np.column_stack([np.ones(len(W)), W]), Z, rcond=None)[0][1:]


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_equals_least_squares(data, kind, dtype, monkeypatch):
    X, W = data
    monkeypatch.setattr(_gene_scores, "ROWS_PER_BLOCK", 64)
    monkeypatch.setattr(_gene_scores, "GENES_PER_BLOCK", 7)
    scores = gene_scores(kind(X.astype(dtype)), W)
    np.testing.assert_allclose(scores, by_definition(X, W), atol=1e-11)
    assert scores[0, :5].min() > 3 * np.abs(scores[0, 5:]).max()


def test_gene_and_program_that_do_not_vary_score_zero(data):
    X, W = data
    W[:, 1] = 0.25
    scores = gene_scores(sparse.csr_array(X), W)
    assert not scores[:, [7, 8]].any()
    np.testing.assert_allclose(scores[1], 0, atol=1e-12)
    np.testing.assert_allclose(scores[[0, 2]], by_definition(X, W[:, [0, 2]]), atol=1e-11)


def test_constant_gene_at_an_awkward_level(data):
    X, W = data
    X[:, 7] = 0.1
    assert not gene_scores(X, W)[:, 7].any()


def test_input_is_left_alone(data):
    X, W = data
    matrix, before = sparse.csr_matrix(X), sparse.csr_matrix(X)
    gene_scores(matrix, W)
    np.testing.assert_array_equal(matrix.toarray(), before.toarray())


def test_rows_must_match(data):
    X, W = data
    with pytest.raises(ValueError, match="one row per cell"):
        gene_scores(X, W[:-1])
