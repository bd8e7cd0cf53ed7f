"""The closed-form ANOVA against statsmodels, exact sums and mpmath."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pandas as pd
import pytest
from scipy.stats import f_oneway

from scprograms._core.f_distribution import f_tail
from scprograms._core.moments import group_moments
from scprograms.perturbation.engine import anova_from_moments, one_way_anova


def screen(sizes, k=4, seed=0, effect=0.3):
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    usage = rng.gamma(0.5, size=(len(codes), k)) * (rng.random((len(codes), k)) < 0.5)
    return usage + effect * rng.random((len(sizes), k))[codes], codes


@pytest.mark.parametrize(
    "sizes",
    [(40, 40, 40), (5, 120, 33, 61), (1, 50, 1, 30), (20, 0, 35, 0, 12)],
    ids=["balanced", "unbalanced", "singletons", "unused-categories-52"],
)
def test_equals_statsmodels(sizes):
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    values, codes = screen(sizes)
    result = one_way_anova(values, codes)
    # statsmodels counts unused categories as parameters: it gets used ones only.
    group = pd.Categorical.from_codes(codes, [f"g{i}" for i in range(len(sizes))]).remove_unused_categories()
    for j in range(values.shape[1]):
        table = anova_lm(
            ols("usage ~ C(group)", data=pd.DataFrame({"usage": values[:, j], "group": group})).fit(), typ=2
        )
        assert result.F[j] == pytest.approx(table.loc["C(group)", "F"], rel=1e-10)
        assert result.p[j] == pytest.approx(table.loc["C(group)", "PR(>F)"], rel=1e-10)
        assert (result.df_between, result.df_within) == tuple(table["df"].astype(int))
    assert (result.n_groups, result.n_cells) == (sum(size > 0 for size in sizes), sum(sizes))


def test_effect_sizes_by_definition():
    values, codes = screen((10, 25, 7))
    result = one_way_anova(values, codes)
    for j in range(values.shape[1]):
        groups = [values[codes == c, j] for c in range(3)]
        total = math.fsum((values[:, j] - values[:, j].mean()) ** 2)
        within = math.fsum(x for g in groups for x in (g - g.mean()) ** 2)
        error = within / (len(values) - 3)
        assert result.eta_squared[j] == pytest.approx((total - within) / total, rel=1e-12)
        assert result.omega_squared[j] == pytest.approx((total - within - 2 * error) / (total + error), rel=1e-12)


def test_cells_without_group_are_left_out():
    values, codes = screen((30, 20, 10))
    codes[::7] = -1
    part, whole = one_way_anova(values[codes >= 0], codes[codes >= 0]), one_way_anova(values, codes)
    np.testing.assert_array_equal(part.F, whole.F)
    assert whole.n_cells == np.sum(codes >= 0)


def test_order_of_cells_and_names_of_groups_do_not_matter():
    values, codes = screen((30, 20, 10, 3))
    reference = one_way_anova(values, codes)
    rng = np.random.default_rng(1)
    order, names = rng.permutation(len(codes)), rng.permutation(4)
    for other in (one_way_anova(values[order], codes[order]), one_way_anova(values, names[codes])):
        np.testing.assert_allclose(other.F, reference.F, rtol=1e-12)
        np.testing.assert_allclose(other.p, reference.p, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.uint8, bool])
def test_statistics_are_in_double_precision_9(dtype):
    values, codes = screen((300, 200, 100), effect=0.05)
    values = (values * 8).astype(dtype)
    narrow, wide = one_way_anova(values, codes), one_way_anova(values.astype(np.float64), codes)
    np.testing.assert_array_equal(narrow.F, wide.F)
    assert narrow.F.dtype == np.float64


def test_layout_and_write_protection_do_not_matter():
    values, codes = screen((30, 20, 10))
    reference = one_way_anova(values, codes)
    read_only = values.copy()
    read_only.flags.writeable = False
    for other in (np.asfortranarray(values), read_only, np.repeat(values, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(one_way_anova(other, codes.astype(np.int32)).F, reference.F)


def test_a_large_offset_costs_no_digits():
    values, codes = screen((300, 200, 100), effect=0.05)
    values = np.round(values * 2**20) / 2**20  # so that adding 2**20 is exact
    shifted = one_way_anova(values + 2**20, codes)
    np.testing.assert_allclose(shifted.F, one_way_anova(values, codes).F, rtol=1e-11)
    # 50,000 single-precision values around 4096: sums of squares in one pass would be off in every digit.
    rng = np.random.default_rng(0)
    narrow = (4096 + rng.normal(size=(50_000, 2))).astype(np.float32)
    codes = rng.integers(0, 5, len(narrow))
    expected = f_oneway(*(narrow[codes == c].astype(np.float64) - 4096 for c in range(5)))
    np.testing.assert_allclose(one_way_anova(narrow, codes).F, expected.statistic, rtol=1e-9)


def test_constant_column_is_not_tested_55():
    values, codes = screen((30, 20, 10))
    values[:, 1], values[:, 2] = 0.1, 0.0
    result = one_way_anova(values, codes)
    for field in (result.F, result.p, result.log10_p, result.eta_squared, result.omega_squared):
        np.testing.assert_array_equal(np.isnan(field), [False, True, True, False])


def test_no_variance_within_groups_56():
    codes = np.arange(3000) % 3
    values = np.array([0.1, 0.7, 0.3])[codes][:, None]
    result = one_way_anova(values, codes)
    assert result.F[0] == np.inf
    assert result.p[0] == 0
    assert result.log10_p[0] == -np.inf
    assert result.eta_squared[0] == result.omega_squared[0] == 1


def test_groups_with_equal_means_have_f_of_zero():
    result = one_way_anova(np.array([[1.0], [3.0], [1.0], [3.0]]), np.array([0, 0, 1, 1]))
    assert (result.F[0], result.p[0], result.log10_p[0]) == (0, 1, 0)


@pytest.mark.parametrize(
    ("values", "codes", "match"),
    [
        (np.ones((4, 1)), np.zeros(4, int), "at least two"),
        (np.ones((4, 1)), np.full(4, -1), "at least two"),
        (np.ones((4, 1)), np.arange(4), "single row"),
        (np.array([[1.0], [np.nan], [2], [3]]), np.array([0, 0, 1, 1]), "NaN or infinite entries in column"),
        (np.array([[1.0], [np.inf], [2], [3]]), np.array([0, 0, 1, 1]), "NaN or infinite entries in column"),
        (np.ones((4, 1)), np.zeros(3, int), "one integer code per row"),
        (np.ones((4, 1)), np.zeros(4), "one integer code per row"),
        (np.ones(4), np.zeros(4, int), "one integer code per row"),
        (np.ones((4, 1)), np.array([0, 1, -2, 1]), "left out"),
    ],
)
def test_bad_input(values, codes, match):
    with pytest.raises(ValueError, match=match):
        one_way_anova(values, codes)


def test_moments_by_definition():
    values, codes = screen((30, 0, 10))
    moments = group_moments(values, codes, n_groups=4)
    assert moments.counts.tolist() == [30, 0, 10, 0]
    for c in (0, 2):
        group = values[codes == c]
        np.testing.assert_allclose(moments.means[c], group.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(moments.squares[c], ((group - group.mean(axis=0)) ** 2).sum(axis=0), rtol=1e-12)
    assert not moments.means[[1, 3]].any()


def test_groups_without_rows_do_not_change_the_anova_of_moments():
    values, codes = screen((30, 0, 10))
    found = anova_from_moments(group_moments(values, codes, n_groups=4))
    np.testing.assert_allclose(found.F, f_oneway(values[codes == 0], values[codes == 2]).statistic, rtol=1e-10)
    with pytest.raises(ValueError, match="at least two"):
        anova_from_moments(group_moments(values[codes == 0], codes[codes == 0]))


@pytest.mark.parametrize(
    ("F", "df_between", "df_within"),
    [
        (3.0, 2, 57),
        (400.0, 3, 996),
        (1500.0, 1, 5000),
        (40.0, 199, 19_800),
        (1e6, 25, 16_000),
        (1e12, 4, 800),
        (2500.0, 7, 3),
        (1e200, 5, 8),
    ],
)
def test_log10_p_equals_mpmath_58(F, df_between, df_within):
    p, log10_p = f_tail(np.array([F]), df_between, df_within)
    with mpmath.workdps(60):
        x = mpmath.mpf(df_within) / (df_within + mpmath.mpf(df_between) * mpmath.mpf(F))
        exact = mpmath.betainc(mpmath.mpf(df_within) / 2, mpmath.mpf(df_between) / 2, 0, x, regularized=True)
        assert log10_p[0] == pytest.approx(float(mpmath.log10(exact)), rel=1e-10)
    if p[0] > 1e-300:
        assert math.log10(p[0]) == pytest.approx(log10_p[0], rel=1e-12)
    else:
        assert log10_p[0] < -280


def test_log10_p_has_no_seam_where_p_underflows():
    F = np.linspace(200, 1200, 2001)
    p, log10_p = f_tail(F, 3, 996)
    assert p[0] > 1e-300
    assert p[-1] == 0
    steps = np.diff(log10_p)
    assert (steps < 0).all()
    np.testing.assert_allclose(steps[1:], steps[:-1], rtol=0.01)


def test_many_groups_at_the_size_of_a_genome_wide_screen():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2000, 60_000)
    values = rng.random((60_000, 2), dtype=np.float32)
    values[:, 1] += 0.2 * rng.random(2000, dtype=np.float32)[codes]
    result = one_way_anova(values, codes)
    expected = f_oneway(*(values[codes == c].astype(np.float64) for c in np.unique(codes)))
    np.testing.assert_allclose(result.F, expected.statistic, rtol=1e-10)
    assert result.p[0] > 1e-4
    assert result.log10_p[1] < -100
