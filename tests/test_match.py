"""Matched programs: against brute force, and the same whatever the order of genes and programs."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from factorized import factorized_screen
from scprograms import get, tl
from scprograms._core.matching import cosine_similarity, match_rows

COLUMNS = ["program_a", "program_b", "cosine", "jaccard", "n_overlap", "rank_correlation"]


def brute_cosines(A, B):
    return np.array([[a @ b / np.sqrt((a @ a) * (b @ b)) for b in B] for a in A])


def loadings(k, n_genes=40, seed=0):
    return np.random.default_rng(seed).normal(size=(k, n_genes))


@pytest.fixture
def a():
    return factorized_screen(n_programs=4, seed=0)


@pytest.fixture
def b(a):
    """Programs like those of ``a`` in another order, one of them reversed in sign, and two more; other genes too."""
    b = factorized_screen(n_programs=6, seed=1)
    H = b.varm["semi_nmf_loadings"].copy()
    for new, (old, sign) in {5: (0, 1), 2: (1, 1), 0: (2, 1), 3: (3, -1)}.items():
        H[:, new] = sign * a.varm["semi_nmf_loadings"][:, old] + 0.02 * H[:, new]
    b.varm["semi_nmf_loadings"] = H
    return b[:, ::-1].copy()


# --- arrays ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k_b", [3, 5, 6])
def test_no_other_pairing_has_a_larger_sum(seed, k_b):
    A, B = loadings(5, seed=seed), loadings(k_b, seed=100 + seed)
    found, cosines = match_rows(A, B), brute_cosines(A, B)
    np.testing.assert_allclose(cosine_similarity(A, B), cosines, atol=1e-12)
    if k_b >= 5:
        best = max(sum(cosines[i, p[i]] for i in range(5)) for p in itertools.permutations(range(k_b), 5))
    else:
        best = max(sum(cosines[p[j], j] for j in range(k_b)) for p in itertools.permutations(range(5), k_b))
    assert found.cosine.sum() == pytest.approx(best)
    np.testing.assert_allclose(found.cosine, cosines[found.rows_a, found.rows_b])
    assert len(set(found.rows_a)) == len(set(found.rows_b)) == min(5, k_b)
    assert (np.diff(found.cosine) <= 0).all()


def test_overlap_and_ranks_equal_brute_force():
    A, B = loadings(4), loadings(4, seed=1)
    A[1, 3:] = -np.abs(A[1, 3:])  # fewer genes are raised than are asked for
    found = match_rows(A, B, n_top=7)
    for i, (x, y) in enumerate(zip(A[found.rows_a], B[found.rows_b], strict=True)):
        tops = [{j for j in sorted(range(len(v)), key=lambda j: -v[j])[:7] if v[j] > 0} for v in (x, y)]
        assert found.n_overlap[i] == len(tops[0] & tops[1])
        assert found.jaccard[i] == pytest.approx(len(tops[0] & tops[1]) / len(tops[0] | tops[1]))
        assert found.rank_correlation[i] == pytest.approx(spearmanr(x, y)[0])


def test_a_program_and_its_negative_are_opposites():
    A = loadings(3)
    found = match_rows(A, np.vstack([-A[0], A[1], A[2]]))
    pairs = dict(zip(found.rows_a, found.rows_b, strict=True))
    assert pairs == {0: 0, 1: 1, 2: 2}
    assert found.cosine[-1] == pytest.approx(-1)
    assert found.n_overlap[-1] == 0


@pytest.mark.parametrize("noise", [0, 1e-13])
def test_sums_that_tie_do_not_follow_the_last_bits(noise):
    """Two doubled programs, and a negative one: several pairings have the same sum."""
    A = loadings(4)[[0, 1, 1, 2, 3]]
    B = A * np.array([[-1], [1], [1], [1], [1]])
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found = match_rows(*(M * (1 + noise * rng.normal(size=M.shape)) for M in (A, B)))
        np.testing.assert_array_equal(found.rows_a, [1, 2, 3, 4, 0])
        np.testing.assert_array_equal(found.rows_b, [1, 2, 3, 4, 0])


def test_programs_without_loadings_stay_unmatched():
    A = loadings(3)
    A[1] = 0
    found = match_rows(A, loadings(3, seed=1))
    assert set(found.rows_a) == {0, 2}
    assert np.isfinite(found.cosine).all()
    assert len(match_rows(np.zeros((2, 5)), loadings(2, 5)).rows_a) == 0
    with pytest.raises(ValueError, match="A has 5 columns and B 6"):
        match_rows(np.ones((2, 5)), np.ones((2, 6)))


# --- AnnData ---------------------------------------------------------------------------------------------------------


def test_planted_pairs_are_found(a, b):
    table = tl.match_programs(a, b)
    assert list(table) == COLUMNS
    pairs = table.dropna().set_index("program_a")
    assert dict(pairs["program_b"].loc[["program_0", "program_1", "program_2"]]) == {
        "program_0": "program_5",
        "program_1": "program_2",
        "program_2": "program_0",
    }
    assert (pairs["cosine"].iloc[:3] > 0.99).all()
    assert pairs.loc["program_3", "cosine"] < 0.6
    left = table[table["program_a"].isna()]
    assert len(left) == 2
    assert left[["cosine", "jaccard", "n_overlap", "rank_correlation"]].isna().all(axis=None)
    assert sorted([*pairs["program_b"], *left["program_b"]]) == [f"program_{i}" for i in range(6)]


def test_sides_can_be_swapped(a, b):
    one, other = tl.match_programs(a, b), tl.match_programs(b, a)
    other = other.rename(columns={"program_a": "program_b", "program_b": "program_a"})[COLUMNS]
    pd.testing.assert_frame_equal(one.dropna(), other.dropna(), check_dtype=False)


def test_order_of_genes_and_cells_does_not_matter(a, b):
    rng = np.random.default_rng(0)
    shuffled = b[rng.permutation(b.n_obs), rng.permutation(b.n_vars)].copy()
    pd.testing.assert_frame_equal(tl.match_programs(a, b), tl.match_programs(a, shuffled))


def test_relabelled_programs_have_the_same_partners(a, b):
    order = [3, 1, 0, 2]
    before = tl.match_programs(a, b).dropna()
    a.varm["semi_nmf_loadings"] = a.varm["semi_nmf_loadings"][:, order]
    after = tl.match_programs(a, b).dropna()
    names = {f"program_{new}": f"program_{old}" for new, old in enumerate(order)}
    np.testing.assert_array_equal(after["program_a"].map(names).to_numpy(), before["program_a"].to_numpy())
    np.testing.assert_array_equal(after["program_b"].to_numpy(), before["program_b"].to_numpy())
    np.testing.assert_allclose(after["cosine"], before["cosine"])


def test_one_anndata_with_two_keys(a, b):
    a.uns["other"] = a.uns["semi_nmf"]
    a.varm["other_loadings"], a.varm["other_model"] = a.varm["semi_nmf_loadings"], a.varm["semi_nmf_model"]
    table = tl.match_programs(a, a, key_b="other", n_genes=10)
    assert (table["program_a"] == table["program_b"]).all()
    np.testing.assert_allclose(table[["cosine", "jaccard", "rank_correlation"]], 1)


def test_only_genes_of_both_fits_count(a, b):
    a.varm["semi_nmf_model"]["used"] = np.arange(a.n_vars) < 40
    b.varm["semi_nmf_model"]["used"] = np.arange(b.n_vars) < 40  # in reverse order: 20 are shared
    expected = tl.match_programs(a[:, 20:40].copy(), b[:, 20:40].copy())
    pd.testing.assert_frame_equal(tl.match_programs(a, b), expected)
    similarity = get.program_similarity(a, b)
    brute = brute_cosines(
        a[:, 20:40].varm["semi_nmf_loadings"].T.astype(float), b[:, 20:40][:, ::-1].varm["semi_nmf_loadings"].T
    )
    np.testing.assert_allclose(similarity, brute, atol=1e-6)


def test_similarity_names_both_sides_and_sorts_by_the_matching(a, b):
    similarity = get.program_similarity(a, b)
    assert list(similarity.index) == [f"program_{i}" for i in range(4)]
    assert list(similarity.columns) == [f"program_{i}" for i in range(6)]
    table, ordered = tl.match_programs(a, b), get.program_similarity(a, b, matched=True)
    pairs = table.dropna()
    assert list(ordered.index) == list(pairs["program_a"])
    assert list(ordered.columns) == [*pairs["program_b"], *table["program_b"][table["program_a"].isna()]]
    np.testing.assert_allclose(np.diagonal(ordered), pairs["cosine"].astype(float))
    pd.testing.assert_frame_equal(ordered.loc[similarity.index, similarity.columns], similarity)
    a.varm["semi_nmf_loadings"][:, 1] = 0
    ordered = get.program_similarity(a, b, matched=True)
    assert ordered.index[-1] == "program_1"
    assert ordered.iloc[-1].isna().all()
    assert tl.match_programs(a, b)["program_a"].dropna().iloc[-1] == "program_1"


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [tl.match_programs, get.program_similarity])
def test_bad_input(function, a, b):
    with pytest.raises(TypeError, match=r"b is a pandas\.DataFrame"):  # row 47
        function(a, pd.DataFrame())
    with pytest.raises(TypeError, match=r"a is a numpy\.ndarray"):
        function(np.ones((2, 2)), b)
    with pytest.raises(KeyError, match=r"no factorization under key='nope'.*'semi_nmf'"):  # row 36
        function(a, b, key_b="nope")
    upper = b.copy()
    upper.var_names = upper.var_names.str.upper()
    with pytest.raises(ValueError, match=r"No gene entered the fits of both.*60 names differ in upper and lower case"):
        function(a, upper)
    b.var_names = ["same"] * b.n_vars
    with pytest.raises(ValueError, match=r"b\.var_names has 1 duplicates.*b\.var_names_make_unique"):  # row 39
        function(a, b)


@pytest.mark.parametrize(("n_genes", "error"), [(0, ValueError), (1.5, TypeError), (True, TypeError)])
def test_n_genes_is_a_count(a, b, n_genes, error):
    with pytest.raises(error, match="n_genes"):
        tl.match_programs(a, b, n_genes=n_genes)
