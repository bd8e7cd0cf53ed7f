"""Effect sizes on arrays, against scipy and least squares, group by group."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from scprograms.perturbation.engine import group_effect_sizes

N_GROUPS, N_STRATA = 6, 4


def usages(seed=0, n=500, k=4, dtype=np.float64):
    """Sparse, with many ties, in uneven groups and strata; some cells without a group."""
    rng = np.random.default_rng(seed)
    values = (rng.gamma(0.3, size=(n, k)) * (rng.random((n, k)) < 0.5)).round(2).astype(dtype)
    return values, rng.integers(-1, N_GROUPS, n), np.minimum(rng.integers(0, 6, n), N_STRATA - 1)


def sides(codes, g, control):
    one = codes == g
    return one, (codes == control) if control is not None else (codes >= 0) & ~one


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("control", [2, None])
def test_one_stratum_equals_textbook_formulas(control, dtype):
    values, codes, _ = usages(dtype=dtype)
    found = group_effect_sizes(values, codes, control)
    values = values.astype(np.float64)
    for g in range(N_GROUPS):
        if g == control:
            assert np.isnan(found.effect[g]).all()
            assert np.isnan(found.auc[g]).all()
            continue
        a, b = (values[side] for side in sides(codes, g, control))
        squares = ((a - a.mean(axis=0)) ** 2).sum(axis=0) + ((b - b.mean(axis=0)) ** 2).sum(axis=0)
        difference = a.mean(axis=0) - b.mean(axis=0)
        np.testing.assert_allclose(found.difference[g], difference, rtol=1e-10)
        np.testing.assert_allclose(found.effect[g], difference / np.sqrt(squares / (len(a) + len(b) - 2)), rtol=1e-10)
        np.testing.assert_allclose(found.auc[g], mannwhitneyu(a, b).statistic / (len(a) * len(b)), rtol=1e-12)
        pseudo = 0.01 * values[codes >= 0].mean(axis=0)
        fold = np.log2((a.mean(axis=0) + pseudo) / (b.mean(axis=0) + pseudo))
        np.testing.assert_allclose(found.log2_fold_change[g], fold, rtol=1e-9)
        assert (found.n_cells[g], found.n_control[g]) == (len(a), len(b))


@pytest.mark.parametrize("control", [0, None])
def test_strata_equal_least_squares_and_pooled_ranks(control):
    values, codes, strata = usages(1)
    values += strata[:, None]
    found = group_effect_sizes(values, codes, control, strata=10 - 3 * strata)  # any integers name strata
    for g in range(1, N_GROUPS):
        one, other = sides(codes, g, control)
        rows = one | other
        design = np.column_stack([one[rows], *(strata[rows] == s for s in range(N_STRATA))]).astype(float)
        slope = np.linalg.lstsq(design, values[rows], rcond=None)[0][0]
        np.testing.assert_allclose(found.difference[g], slope, rtol=1e-9, atol=1e-12)
        wins, pairs, squares, freedom = 0.0, 0, 0.0, 0
        for s in range(N_STRATA):
            a, b = values[one & (strata == s)], values[other & (strata == s)]
            wins, pairs = wins + mannwhitneyu(a, b).statistic, pairs + len(a) * len(b)
            squares = squares + ((a - a.mean(axis=0)) ** 2).sum(axis=0) + ((b - b.mean(axis=0)) ** 2).sum(axis=0)
            freedom += len(a) + len(b) - 2
        np.testing.assert_allclose(found.auc[g], wins / pairs, rtol=1e-12)
        np.testing.assert_allclose(found.effect[g], slope / np.sqrt(squares / freedom), rtol=1e-9, atol=1e-12)


def test_large_reference_groups_count_ties_as_small_ones():
    rng = np.random.default_rng(2)
    values, codes = rng.poisson(1.0, size=(3000, 2)).astype(float), rng.integers(0, 3, 3000)
    found = group_effect_sizes(values, codes, 0)
    expected = mannwhitneyu(values[codes == 1], values[codes == 0]).statistic / np.sum(codes == 1) / np.sum(codes == 0)
    np.testing.assert_allclose(found.auc[1], expected, rtol=1e-12)


def test_a_stratum_with_one_side_says_nothing():
    values, codes, strata = usages(3)
    alone = (codes == 1) & (strata == 0)
    wild = values.copy()
    wild[alone] += 100
    keep = ~((codes == 0) & (strata == 0))
    found = group_effect_sizes(wild[keep], codes[keep], 0, strata=strata[keep])
    expected = group_effect_sizes(values[keep & ~alone], codes[keep & ~alone], 0, strata=strata[keep & ~alone])
    np.testing.assert_allclose(found.effect[1], expected.effect[1], rtol=1e-12)
    np.testing.assert_allclose(found.auc[1], expected.auc[1], rtol=1e-12)
    assert found.n_control[1] == expected.n_control[1] == np.sum((codes == 0) & keep)


def test_nothing_to_compare_is_missing():
    values, codes, strata = usages(4)
    values[:, 1] = 0.3  # row 55
    strata[codes == 5] = 9
    found = group_effect_sizes(values, codes, 0, strata=strata)
    assert np.isnan(found.effect[5]).all()
    assert np.isnan(found.auc[5]).all()
    assert found.n_control[5] == 0
    assert np.isnan(found.effect[1:5, 1]).all()
    assert (found.difference[1:5, 1] == 0).all()
    assert (found.auc[1:5, 1] == 0.5).all()
    assert np.isfinite(found.effect[1:5, 0]).all()
    np.testing.assert_allclose(found.log2_fold_change[1:5, 1], 0, atol=1e-14)


def test_fold_changes_need_a_zero():
    values, codes, _ = usages(5)
    values[:, 0] -= 0.1
    values[:, 1] = 0
    fold = group_effect_sizes(values, codes, 0).log2_fold_change
    assert np.isnan(fold[:, :2]).all()
    assert np.isfinite(fold[1:, 2:]).all()


def test_a_common_offset_costs_no_digits():
    values, codes, strata = usages(6)
    for control in (0, None):
        plain = group_effect_sizes(values, codes, control, strata=strata)
        moved = group_effect_sizes(values + 2.0**20, codes, control, strata=strata)
        np.testing.assert_allclose(moved.effect, plain.effect, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("codes", "control", "strata", "message"),
    [
        ([0, 1, 1], 5, None, "control=5 has no rows"),
        ([0, 1, 1], 0, [0, 1], "strata has shape"),
        ([0, 1], 0, None, "one integer code per row"),
    ],
)
def test_bad_arrays_are_named(codes, control, strata, message):
    with pytest.raises(ValueError, match=message):
        group_effect_sizes(
            np.ones((3, 2)), np.array(codes), control, strata=None if strata is None else np.array(strata)
        )


def test_missing_values_are_refused():
    values, codes, _ = usages(7)
    values[codes == 2, 1] = np.nan
    with pytest.raises(ValueError, match=r"NaN or infinite entries in column\(s\) \[1\]"):
        group_effect_sizes(values, codes, 0)
