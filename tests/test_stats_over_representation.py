"""The hypergeometric test of many lists and terms against scipy, one pair at a time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import false_discovery_control, hypergeom

from scprograms.enrichment.engine import over_representation


def memberships(n_genes=300, n_terms=40, n_lists=5, seed=0):
    rng = np.random.default_rng(seed)
    terms = rng.random((n_terms, n_genes)) < rng.uniform(0.01, 0.2, (n_terms, 1))
    lists = rng.random((n_lists, n_genes)) < 0.08
    lists[0] = terms[0]
    return terms, lists


def test_equals_one_test_at_a_time():
    terms, lists = memberships()
    result = over_representation(sparse.csr_array(terms), sparse.csr_array(lists))
    N = terms.shape[1]
    for i, chosen in enumerate(lists):
        p = np.array([hypergeom.sf(np.sum(t & chosen) - 1, N, t.sum(), chosen.sum()) for t in terms])
        np.testing.assert_array_equal(result.p[i], p)
        np.testing.assert_array_equal(result.q[i], false_discovery_control(p))
        for j, term in enumerate(terms):
            a, b = np.sum(term & chosen), np.sum(term & ~chosen)
            c, d = np.sum(~term & chosen), np.sum(~term & ~chosen)
            odds_ratio = (a + 0.5) * (d + 0.5) / ((b + 0.5) * (c + 0.5))
            assert result.overlap[i, j] == a
            assert result.odds_ratio[i, j] == pytest.approx(odds_ratio, rel=1e-14)
            assert result.combined_score[i, j] == pytest.approx(-np.log(p[j]) * odds_ratio, rel=1e-12, abs=1e-12)


def test_terms_without_overlap_stay_in_the_family():
    terms, lists = np.zeros((10, 50), bool), np.zeros((1, 50), bool)
    lists[0, :5] = terms[0, :5] = True
    for j in range(1, 10):
        terms[j, 5 * j : 5 * j + 5] = True
    result = over_representation(sparse.csr_array(terms), sparse.csr_array(lists))
    assert result.q[0, 0] == pytest.approx(10 * result.p[0, 0], rel=1e-14)
    assert (result.p[0, 1:] == 1).all()
    assert (result.combined_score[0, 1:] == 0).all()


def test_score_is_finite_where_p_underflows():
    one = sparse.csr_array(np.arange(4000)[None, :] < 500)
    result = over_representation(one, one)
    assert result.p[0, 0] == 0
    log_p = -np.sum(np.log(np.arange(3501, 4001)) - np.log(np.arange(1, 501)))  # 1 / (4000 choose 500)
    assert result.combined_score[0, 0] == pytest.approx(-log_p * result.odds_ratio[0, 0], rel=1e-9)


def test_repeated_and_explicit_zero_entries_count_as_membership():
    terms, lists = memberships()
    doubled = sparse.csr_array(terms.astype(float) * 3)
    doubled.indices = np.repeat(doubled.indices, 2)
    doubled.data = np.repeat(doubled.data, 2)
    doubled.indptr = doubled.indptr * 2
    doubled = sparse.csr_array((doubled.data, doubled.indices, doubled.indptr), shape=terms.shape)
    zero = sparse.csr_array((np.r_[0.0, 1.0], (np.r_[0, 0], np.r_[1, 2])), shape=(1, lists.shape[1]))
    plain = over_representation(sparse.csr_array(terms), sparse.csr_array(lists))
    np.testing.assert_array_equal(over_representation(doubled, sparse.csr_array(lists)).p, plain.p)
    assert over_representation(zero, zero).overlap.tolist() == [[1]]


def test_order_of_terms_and_genes_does_not_matter():
    terms, lists = memberships()
    rng = np.random.default_rng(1)
    rows, genes = rng.permutation(len(terms)), rng.permutation(terms.shape[1])
    plain = over_representation(sparse.csr_array(terms), sparse.csr_array(lists))
    mixed = over_representation(sparse.csr_array(terms[rows][:, genes]), sparse.csr_array(lists[:, genes]))
    np.testing.assert_array_equal(mixed.p, plain.p[:, rows])
    np.testing.assert_array_equal(mixed.q, plain.q[:, rows])


def test_nothing_overlaps_67():
    terms = sparse.csr_array(np.eye(3, 10))
    lists = sparse.csr_array(np.eye(1, 10, k=9))
    result = over_representation(terms, lists)
    assert (result.p == 1).all()
    assert (result.q == 1).all()


def test_background_too_large_to_pack():
    N = 2_500_000
    one = sparse.csr_array((np.ones(100), (np.zeros(100, int), np.arange(100))), shape=(1, N))
    two = sparse.csr_array((np.ones(100), (np.zeros(100, int), np.arange(98, 198))), shape=(1, N))
    assert over_representation(one, two).p[0, 0] == hypergeom.sf(1, N, 100, 100)


def test_different_genes():
    with pytest.raises(ValueError, match="same genes"):
        over_representation(sparse.csr_array(np.eye(3)), sparse.csr_array(np.eye(4)))
