"""Permutation tests within strata, against plain loops over the same draws, exact enumeration and statsmodels."""

from __future__ import annotations

import _thread
import itertools
import threading
import time

import numpy as np
import pandas as pd
import pytest
from scipy.stats import gamma, gumbel_r, rankdata

from scprograms.perturbation.engine import (
    one_way_anova,
    permutation_anova,
    permutation_contrasts,
    permuted_codes,
    permuted_group,
)


def screen(sizes, *, k=4, n_strata=1, seed=0, zeros=0.6, effect=0.0):
    """Sparse usages, groups spread unevenly over strata, and a shift of each stratum."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    weights = rng.dirichlet(np.full(n_strata, 3.0), size=len(sizes))
    strata = np.array([rng.choice(n_strata, p=weights[c]) for c in codes])
    values = rng.gamma(0.5, size=(len(codes), k)) * (rng.random((len(codes), k)) > zeros)
    return values + 0.2 * strata[:, None] + effect * rng.random((len(sizes), k))[codes], codes, strata


def explained(values, codes, strata):
    """Sum of squares that groups explain beyond strata, by least squares on indicators."""
    used = (codes >= 0) & (strata >= 0)
    of_strata = pd.get_dummies(strata[used]).to_numpy(dtype=float)
    both = np.hstack([of_strata, pd.get_dummies(codes[used]).to_numpy(dtype=float)])
    y = values[used].astype(float)

    def residual(X):
        return np.sum((y - X @ np.linalg.lstsq(X, y, rcond=1e-10)[0]) ** 2, axis=0)

    return residual(of_strata) - residual(both), residual(both)


def adjusted_difference(values, group, others, strata):
    """Differences of means within strata, averaged with weights n m / (n + m)."""
    total, weights = 0.0, 0.0
    for s in np.unique(strata):
        a, b = values[group & (strata == s)], values[others & (strata == s)]
        if len(a) and len(b):
            weight = len(a) * len(b) / (len(a) + len(b))
            total, weights = total + weight * (a.mean(axis=0) - b.mean(axis=0)), weights + weight
    return total / weights


DESIGNS = {
    "two-groups": ((15, 25), 1),
    "one-stratum": ((20, 35, 8, 1), 1),
    "strata": ((20, 45, 8, 30), 3),
    "many-strata": ((30, 12, 1, 25, 3), 6),
}


@pytest.mark.parametrize("design", DESIGNS)
def test_the_omnibus_equals_a_loop_over_the_same_draws(design):
    sizes, n_strata = DESIGNS[design]
    values, codes, strata = screen(sizes, n_strata=n_strata, effect=0.3)
    codes[::9], strata[1::11] = -1, -1
    result = permutation_anova(values, codes, strata=strata, n_permutations=99, random_state=7, statistic="F")
    observed = explained(values, codes, strata)[0]
    hits = np.zeros(values.shape[1], dtype=int)
    for i in range(99):
        # Permuted among the cells that take part: the others keep their code, and have no stratum.
        permuted = permuted_codes(codes, i, strata=strata, random_state=7)
        hits += explained(values, permuted, strata)[0] >= observed * (1 - 1e-9)
    np.testing.assert_array_equal(result.n_hits, hits)
    np.testing.assert_array_equal(result.p, (1 + hits) / 100)
    np.testing.assert_array_equal(result.n_permutations, 99)
    np.testing.assert_allclose(result.log10_p, np.log10(result.p))


def furthest(ranks, codes, strata):
    """Largest sum of a group's ranks, centred within strata, over its standard deviation under permutation."""
    out = []
    for group in np.unique(codes[(codes >= 0) & (strata >= 0)]):
        total, variance = 0.0, 0.0
        for s in np.unique(strata[strata >= 0]):
            here = (codes >= 0) & (strata == s)
            N, n = here.sum(), np.sum(here & (codes == group))
            if N > 1:
                total = total + np.sum(ranks[here & (codes == group)] - ranks[here].mean(axis=0), axis=0)
                variance = variance + n * (N - n) / N * ranks[here].var(axis=0, ddof=1)
        out.append(np.divide(np.abs(total), np.sqrt(variance), out=np.zeros_like(total), where=variance > 0))
    return np.max(out, axis=0)


@pytest.mark.parametrize("design", [name for name in DESIGNS if name != "two-groups"])
def test_both_statistics_equal_a_loop_over_the_same_draws(design):
    sizes, n_strata = DESIGNS[design]
    values, codes, strata = screen(sizes, n_strata=n_strata, effect=0.2, seed=5)
    codes[::9], strata[1::11] = -1, -1
    used = (codes >= 0) & (strata >= 0)
    ranks = np.zeros(values.shape)
    ranks[used] = rankdata(values[used], axis=0)
    options = {"strata": strata, "random_state": 7}

    def statistics(c):
        return np.stack([explained(values, c, strata)[0], furthest(ranks, c, strata)])

    pilot = np.array([statistics(permuted_codes(codes, 2**40 + i, **options)) for i in range(100)])
    (a, b), (sd_a, sd_b) = pilot.mean(axis=0), pilot.std(axis=0)
    scale = sd_b * np.sqrt(6) / np.pi
    share = (1 - 1 / (len(np.unique(codes[used])) - 1)) / 3

    def smaller(x):
        of_F = gamma.sf(x[0], a**2 / sd_a**2, scale=sd_a**2 / a) / (1 - share)
        return np.minimum(of_F, gumbel_r.sf(x[1], b - np.euler_gamma * scale, scale) / share)

    observed = smaller(statistics(codes))
    permuted = [smaller(statistics(permuted_codes(codes, i, **options))) for i in range(99)]
    hits = np.sum(permuted <= observed * (1 + 1e-9), axis=0)
    result = permutation_anova(values, codes, n_permutations=99, **options)
    np.testing.assert_array_equal(result.n_hits, hits)
    np.testing.assert_array_equal(result.p, (1 + hits) / 100)
    alone = permutation_anova(values, codes, n_permutations=99, statistic="F", **options)
    assert (alone.n_hits != hits).any()
    np.testing.assert_array_equal(alone.F, result.F)


def test_the_furthest_group_is_found_where_all_together_are_weak():
    codes = np.repeat(np.arange(40), 30)
    rng = np.random.default_rng(3)
    values = rng.gamma(0.3, size=(1200, 20)) * (rng.random((1200, 20)) < np.where(codes == 5, 0.35, 0.05)[:, None])
    both = permutation_anova(values, codes, n_permutations=199)
    alone = permutation_anova(values, codes, n_permutations=199, statistic="F")
    assert (both.p < 0.05).mean() > (alone.p < 0.05).mean() + 0.1
    two = (permutation_anova(values, codes // 20, n_permutations=199, statistic=s) for s in ("F", "combined"))
    same(*two)


@pytest.mark.parametrize("control", [0, 1, None])
@pytest.mark.parametrize("design", DESIGNS)
def test_contrasts_equal_a_loop_over_the_same_draws(design, control):
    sizes, n_strata = DESIGNS[design]
    values, codes, strata = screen(sizes, n_strata=n_strata, effect=0.3)
    values[:, 0] = values[:, 0] > 0.4  # ties in plenty
    codes[::9], strata[1::11] = -1, -1
    used = (codes >= 0) & (strata >= 0)
    options = {"strata": strata, "random_state": 3}
    result = permutation_contrasts(values, codes, control, n_permutations=60, **options)
    for group in range(len(sizes)):
        if group == control:
            assert np.isnan(result.p[group]).all()
            assert not result.n_permutations[group].any()
            continue
        pair = used if control is None else used & np.isin(codes, [group, control])
        mine = used & (codes == group)
        shared = [s for s in np.unique(strata) if (mine & (strata == s)).any() and (pair & ~mine & (strata == s)).any()]
        if not shared:
            assert np.isnan(result.p[group]).all()
            continue
        observed = adjusted_difference(values, mine, pair & ~mine, strata)
        np.testing.assert_allclose(result.difference[group], observed, rtol=1e-10, atol=1e-13)
        hits = 0
        for i in range(60):
            drawn = permuted_group(codes, i, group=group, control=control, **options)
            assert not (drawn & ~pair).any()
            np.testing.assert_array_equal(np.bincount(strata[drawn]), np.bincount(strata[mine]))
            difference = adjusted_difference(values, drawn, pair & ~drawn, strata)
            hits = hits + (np.abs(difference) >= np.abs(observed) - 1e-9)
        varies = np.any([np.ptp(values[pair & (strata == s)], axis=0) > 0 for s in shared], axis=0)
        np.testing.assert_array_equal(result.n_hits[group], np.where(varies, hits, 0))
        np.testing.assert_array_equal(result.p[group], np.where(varies, (1 + hits) / 61, np.nan))


@pytest.mark.parametrize("design", DESIGNS)
def test_equals_statsmodels(design):
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    sizes, n_strata = DESIGNS[design]
    values, codes, strata = screen(sizes, n_strata=n_strata, effect=0.2)
    result = permutation_anova(values, codes, strata=strata, n_permutations=1)
    for j in range(values.shape[1]):
        frame = pd.DataFrame({"y": values[:, j], "g": codes.astype(str), "s": strata.astype(str)})
        table = anova_lm(ols("y ~ C(g)" + " + C(s)" * (n_strata > 1), data=frame).fit(), typ=2)
        assert result.F[j] == pytest.approx(table.loc["C(g)", "F"], rel=1e-10)
        assert (result.df_between, result.df_within) == tuple(table["df"][["C(g)", "Residual"]].astype(int))
    if n_strata == 1:
        plain = one_way_anova(values, codes)
        for name in ("F", "eta_squared", "omega_squared", "df_between", "df_within", "n_groups", "n_cells"):
            np.testing.assert_allclose(getattr(result, name), getattr(plain, name), rtol=1e-10)


def test_groups_that_share_no_stratum_cost_degrees_of_freedom_59():
    values, codes, _ = screen((20, 20, 20, 20, 10))
    strata = np.array([0, 0, 1, 1, 2])[codes]  # two parts without a group in common, and a stratum of one group
    result = permutation_anova(values, codes, strata=strata, n_permutations=19)
    between, within = explained(values, codes, strata)
    assert (result.df_between, result.df_within) == (2, 90 - 5)
    np.testing.assert_allclose(result.F, (between / 2) / (within / 85), rtol=1e-10)
    contrasts = permutation_contrasts(values, codes, 0, strata=strata, n_permutations=19)
    assert np.isfinite(contrasts.p[1]).all()
    assert np.isnan(contrasts.p[[0, 2, 3, 4]]).all()
    assert np.isnan(contrasts.difference[[2, 3, 4]]).all()


# --- the draws -------------------------------------------------------------------------------------------------------


def test_labels_stay_in_their_stratum():
    codes, strata = np.array([0, 1, 2, 3, 4, 5, -1, 6, 7]), np.array([0, 0, 0, 1, 1, 2, 1, -1, 1])
    seen = [permuted_codes(codes, i, strata=strata) for i in range(50)]
    for s in range(3):
        inside = (strata == s) & (codes >= 0)
        assert all(sorted(x[inside]) == sorted(codes[inside]) for x in seen)
        assert len({tuple(x[inside]) for x in seen}) == (6, 6, 1)[s]
    assert all(x[6] == -1 and x[7] == 6 for x in seen)


def test_every_permutation_is_equally_likely():
    n = 12_000
    counts = pd.Series([tuple(permuted_codes(np.arange(4), i, random_state=1)) for i in range(n)]).value_counts()
    assert len(counts) == 24
    assert ((counts - n / 24) ** 2 / (n / 24)).sum() < 49.7  # 0.999 of chi square with 23 degrees of freedom


@pytest.mark.parametrize("group", [1, 2], ids=["group-drawn", "control-drawn"])
def test_every_subset_is_equally_likely(group):
    codes, n = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2]), 7000
    drawn = pd.Series([tuple(permuted_group(codes, i, group=group, control=0).nonzero()[0]) for i in range(n)])
    counts = drawn.value_counts()
    assert len(counts) == {1: 10, 2: 35}[group]
    expected = n / len(counts)
    assert ((counts - expected) ** 2 / expected).sum() < {1: 27.9, 2: 65.2}[group]


def test_draws_differ_between_permutations_seeds_and_groups():
    codes = np.repeat([0, 1, 2], 30)
    draws = [permuted_codes(codes, i, random_state=s) for i in range(20) for s in range(3)]
    assert len({x.tobytes() for x in draws}) == 60
    one, two = (permuted_group(codes, 0, group=g, control=0) for g in (1, 2))
    assert not np.array_equal(one[codes == 0], two[codes == 0])
    np.testing.assert_array_equal(permuted_codes(codes, 4), permuted_codes(codes, 4, random_state=0))


def test_agrees_with_full_enumeration():
    rng = np.random.default_rng(2)
    values, codes, strata = rng.normal(size=(12, 3)), np.tile([0, 1, 1], 4), np.repeat([0, 1], 6)
    splits = [
        set(a) | {6 + i for i in b}
        for a in itertools.combinations(range(6), 2)
        for b in itertools.combinations(range(6), 2)
    ]
    masks = np.array([[i in split for i in range(12)] for split in splits])
    assert len(masks) == 225
    differences = np.array([adjusted_difference(values, mask, ~mask, strata) for mask in masks])
    observed = adjusted_difference(values, codes == 0, codes == 1, strata)
    exact = (np.abs(differences) >= np.abs(observed) - 1e-12).mean(axis=0)
    contrasts = permutation_contrasts(values, codes, 1, strata=strata, n_permutations=20_000)
    np.testing.assert_allclose(contrasts.p[0], exact, atol=0.015)
    np.testing.assert_allclose(contrasts.z[0], observed / differences.std(axis=0), rtol=1e-10)
    # With two groups F rises with the size of the difference.
    np.testing.assert_allclose(
        permutation_anova(values, codes, strata=strata, n_permutations=20_000).p, exact, atol=0.015
    )


# --- what must not matter --------------------------------------------------------------------------------------------

TESTS = {
    "anova": permutation_anova,
    "contrasts": lambda v, c, **kw: permutation_contrasts(v, c, 0, **kw),
    "rest": lambda v, c, **kw: permutation_contrasts(v, c, None, **kw),
}


def same(a, b):
    for name in ("p", "n_hits", "n_permutations"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("stop_after", [None, 5])
@pytest.mark.parametrize("test", TESTS)
def test_threads_do_not_matter(test, stop_after):
    values, codes, strata = screen((50, 80, 20, 33), n_strata=3, k=7, effect=0.2)
    options = {"strata": strata, "n_permutations": 150, "stop_after": stop_after}
    one = TESTS[test](values, codes, n_jobs=1, **options)
    for n_jobs in (2, 5, None, -1):
        other = TESTS[test](values, codes, n_jobs=n_jobs, **options)
        for name in vars(one):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("test", TESTS)
def test_big_tasks_are_cut_without_a_difference(test, monkeypatch):
    from scprograms._core import resampling as _resampling
    from scprograms.perturbation.engine import _permutation_contrasts

    values, codes, strata = screen((50, 80, 20, 33), n_strata=3, effect=0.2)
    options = {"strata": strata, "n_permutations": 150, "stop_after": 20}
    whole = TESTS[test](values, codes, **options)
    monkeypatch.setattr(_permutation_contrasts, "DRAWS_PER_TASK", 100)
    monkeypatch.setattr(_resampling, "PERMUTATIONS_PER_ROUND", 16)
    monkeypatch.setattr(_resampling, "PERMUTATIONS_PER_TASK", 3)
    same(whole, TESTS[test](values, codes, **options))


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, bool])
def test_dtype_and_memory_layout_do_not_matter_7_8_9(test, dtype):
    values, codes, strata = screen((50, 80, 20), n_strata=2, effect=0.2)
    values = (4 * values).astype(dtype)
    options = {"strata": strata, "n_permutations": 60}
    reference = TESTS[test](values.astype(np.float64), codes, **options)
    for other in (values, np.asfortranarray(values), np.repeat(values, 2, axis=0)[::2]):
        other.flags.writeable = False
        same(reference, TESTS[test](other, codes.astype(np.int16), **options))


@pytest.mark.parametrize("test", TESTS)
def test_an_offset_and_a_scale_do_not_matter(test):
    values, codes, strata = screen((50, 80, 20), n_strata=2, effect=0.2)
    values = np.round(values * 4) / 4  # exact with the offset too; full of ties
    options = {"strata": strata, "n_permutations": 200}
    reference = TESTS[test](values, codes, **options)
    same(reference, TESTS[test](values + 2.0**24, codes, **options))
    same(reference, TESTS[test](values * 1e-9, codes, **options))
    same(reference, TESTS[test](values * 1e100, codes, **options))


@pytest.mark.parametrize("test", TESTS)
def test_names_of_groups_and_left_out_rows_do_not_matter(test):
    values, codes, strata = screen((50, 80, 20, 33), n_strata=2, effect=0.2)
    options = {"strata": strata, "n_permutations": 60}
    reference = TESTS[test](values, codes, **options)
    names = np.array([0, 9, 4, 6])
    renamed = TESTS[test](values, names[codes], **options)
    if test == "anova":
        same(reference, renamed)
    else:
        for name in ("p", "n_hits"):
            np.testing.assert_array_equal(getattr(renamed, name)[names], getattr(reference, name))
        for name in ("difference", "z"):
            np.testing.assert_allclose(getattr(renamed, name)[names], getattr(reference, name), rtol=1e-12, atol=1e-12)
        assert np.isnan(renamed.p[[1, 2, 3, 5, 7, 8]]).all()


def test_other_groups_do_not_matter_to_a_contrast():
    values, codes, strata = screen((50, 80, 20, 33), n_strata=2, effect=0.2)
    reference = permutation_contrasts(values, codes, 0, strata=strata, n_permutations=60)
    values[codes == 3] += 100
    changed = permutation_contrasts(values, codes, 0, strata=strata, n_permutations=60)
    without = permutation_contrasts(values, np.where(codes == 3, -1, codes), 0, strata=strata, n_permutations=60)
    for other in (changed, without):
        np.testing.assert_array_equal(other.p[1:3], reference.p[1:3])
    assert (changed.p[3] == 1 / 61).all()


def test_order_of_cells_matters_by_chance_only():
    values, codes, strata = screen((50, 80, 20, 33), n_strata=2, effect=0.1)
    order = np.random.default_rng(0).permutation(len(codes))
    for test in TESTS.values():
        a = test(values, codes, strata=strata, n_permutations=2000)
        b = test(values[order], codes[order], strata=strata[order], n_permutations=2000)
        np.testing.assert_allclose(a.p, b.p, atol=4 * np.sqrt(0.5 / 2000))
        assert not np.array_equal(a.p, b.p)


def test_random_state():
    values, codes, _ = screen((20, 30))
    a, b = (permutation_anova(values, codes, random_state=s).p for s in (0, 1))
    assert not np.array_equal(a, b)
    makers = (int, np.random.SeedSequence, np.random.default_rng, np.random.RandomState)
    for make in makers:
        same(*(permutation_anova(values, codes, random_state=make(5)) for _ in range(2)))
    assert np.isfinite(permutation_anova(values, codes, random_state=None).p).all()


# --- stopping --------------------------------------------------------------------------------------------------------


def besag_clifford(hits, stop_after):
    n = np.flatnonzero(np.cumsum(hits) == stop_after)
    return (
        (n[0] + 1, stop_after, stop_after / (n[0] + 1))
        if len(n)
        else (len(hits), hits.sum(), (1 + hits.sum()) / (1 + len(hits)))
    )


@pytest.mark.parametrize("stop_after", [1, 10])
def test_stopping_follows_besag_and_clifford(stop_after):
    values, codes, strata = screen((20, 45, 8), n_strata=2, k=6, effect=0.5)
    options = {"strata": strata, "random_state": 1}
    result = permutation_anova(values, codes, n_permutations=120, stop_after=stop_after, statistic="F", **options)
    observed = explained(values, codes, strata)[0]
    hits = np.array(
        [explained(values, permuted_codes(codes, i, **options), strata)[0] >= observed * (1 - 1e-9) for i in range(120)]
    )
    expected = [besag_clifford(hits[:, j], stop_after) for j in range(6)]
    assert len({n for n, *_ in expected}) > 2  # some stop, at different times, and some do not
    assert (result.n_permutations == 120).any()
    np.testing.assert_array_equal(np.column_stack([result.n_permutations, result.n_hits, result.p]), expected)


@pytest.mark.parametrize("control", [0, None])
def test_stopping_of_contrasts_follows_besag_and_clifford(control):
    values, codes, strata = screen((40, 45, 8), n_strata=2, k=9, effect=0.5)
    options = {"strata": strata, "random_state": 1}
    result = permutation_contrasts(values, codes, control, n_permutations=120, stop_after=10, **options)
    assert len(np.unique(result.n_permutations[1:])) > 3
    for group in (1, 2):
        mine = codes == group
        pair = np.ones_like(mine) if control is None else np.isin(codes, [group, control])
        observed = adjusted_difference(values, mine, pair & ~mine, strata)
        hits = []
        for i in range(120):
            drawn = permuted_group(codes, i, group=group, control=control, **options)
            hits.append(np.abs(adjusted_difference(values, drawn, pair & ~drawn, strata)) >= np.abs(observed) - 1e-9)
        for j in range(9):
            found = (result.n_permutations[group, j], result.n_hits[group, j], result.p[group, j])
            assert found == besag_clifford(np.array(hits)[:, j], 10)


# --- odd inputs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("test", TESTS)
def test_constant_columns_have_no_test_55(test):
    values, codes, strata = screen((20, 30, 10), n_strata=2)
    values[:, 1], values[:, 3] = 0.1, 5 * strata  # constant, and constant within strata
    for stop_after in (None, 3):
        result = TESTS[test](values, codes, strata=strata, n_permutations=30, stop_after=stop_after)
        assert np.isnan(result.p[..., [1, 3]]).all()
        assert not result.n_permutations[..., [1, 3]].any()
        assert np.isfinite(result.p[..., [0, 2]]).any()
        if test == "anova":
            assert np.isnan(result.F[[1, 3]]).all()


def test_a_column_that_is_constant_in_one_pair_only():
    codes = np.repeat([0, 1, 2], 10)
    values = (np.arange(30) >= 25)[:, None].astype(float)
    result = permutation_contrasts(values, codes, 0, n_permutations=99)
    assert np.isnan(result.p[1, 0])
    assert result.difference[1, 0] == 0
    assert 1 / 100 <= result.p[2, 0] < 0.15


def test_p_is_never_zero_and_zero_within_variance_is_the_least_p_56():
    codes = np.repeat([0, 1, 2], 20)
    values = codes[:, None].astype(float)
    result = permutation_anova(values, codes, n_permutations=99)
    assert (result.F[0], result.p[0]) == (np.inf, 0.01)
    assert (permutation_contrasts(values, codes, 0, n_permutations=99).p[1:] == 0.01).all()
    assert permutation_anova(values, codes, n_permutations=1).p[0] == 0.5


def test_groups_of_one_cell_50():
    values, codes, _ = screen((30, 1, 1, 20))
    values[codes == 1, 0] = 1000
    result = permutation_contrasts(values, codes, 0, n_permutations=2000)
    assert result.p[1, 0] == pytest.approx(1 / 31, abs=0.02)  # exact: it is the largest of 31 cells
    assert np.isfinite(permutation_contrasts(values, codes, 1, n_permutations=20).p[[0, 2, 3]]).all()
    assert np.isfinite(permutation_anova(values, codes, n_permutations=20).p).all()


def test_strata_of_one_group_or_one_cell_add_nothing():
    values, codes, strata = screen((30, 20, 10), n_strata=2)
    more = np.vstack([values, 100 + values[:6]]), np.append(codes, [2, 2, 2, 2, 2, 1]), np.append(strata, [2] * 5 + [3])
    for test in TESTS.values():
        a, b = test(values, codes, strata=strata), test(more[0], more[1], strata=more[2])
        np.testing.assert_allclose(a.p, b.p, atol=0.08)
    a = permutation_contrasts(values, codes, 0, strata=strata)
    np.testing.assert_allclose(
        permutation_contrasts(*more[:2], 0, strata=more[2]).difference, a.difference, rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": np.zeros(6)}, "codes has shape"),
        ({"codes": np.array([0, 0, 0, 1, 1])}, "values has shape"),
        ({"codes": np.array([0, 0, 0, 1, 1, -2])}, "codes has -2"),
        ({"codes": np.zeros(6, dtype=int)}, "groups"),
        ({"values": np.zeros(6)}, "values has shape"),
        ({"values": np.full((6, 2), np.nan)}, "NaN or infinite"),
        ({"values": np.zeros((4, 2))}, "values has shape"),
        ({"strata": np.zeros(5, dtype=int)}, "strata has shape"),
        ({"strata": np.zeros(6)}, "strata has shape"),
        ({"n_permutations": 0}, "n_permutations=0"),
        ({"n_permutations": 9.5}, "n_permutations=9.5"),
        ({"stop_after": 0}, "stop_after=0"),
        ({"n_jobs": 0}, "n_jobs=0"),
        ({"n_jobs": True}, "n_jobs=True"),
    ],
)
@pytest.mark.parametrize("test", TESTS)
def test_bad_input_is_named_1_2_35_49(test, change, message):
    arguments = {"values": np.arange(12.0).reshape(6, 2), "codes": np.array([0, 0, 0, 1, 1, 1])} | change
    with pytest.raises(ValueError, match=message):
        TESTS[test](arguments.pop("values"), arguments.pop("codes"), **arguments)


def test_bad_designs_are_named_48_51_59():
    values, codes = np.arange(12.0).reshape(6, 2), np.array([0, 0, 0, 1, 1, 1])
    with pytest.raises(ValueError, match="some stratum must have cells of two groups"):
        permutation_anova(values, codes, strata=codes)
    with pytest.raises(ValueError, match="more than one cell"):
        permutation_anova(values, np.arange(6))
    with pytest.raises(ValueError, match="control=7 has no rows"):
        permutation_contrasts(values, codes, 7)
    for group in (0, 5):
        with pytest.raises(ValueError, match=f"group={group} "):
            permuted_group(codes, 0, group=group, control=0)
    assert np.isnan(permutation_contrasts(values, codes, 0, strata=codes).p).all()


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("test", TESTS)
def test_ctrl_c_is_heard_88(test, n_jobs):
    values, codes, strata = screen((3000, 2000, 1000), n_strata=2)
    TESTS[test](values, codes, strata=strata, n_permutations=2)  # compiles
    threading.Timer(0.3, _thread.interrupt_main).start()
    begin = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        TESTS[test](values, codes, strata=strata, n_permutations=10**7, n_jobs=n_jobs)
    assert time.perf_counter() - begin < 20  # all of it would take an hour


# --- calibration -----------------------------------------------------------------------------------------------------


def test_calibrated_under_a_null_with_uneven_batches_where_free_permutation_is_not():
    rng = np.random.default_rng(0)
    n_groups, k = 20, 300
    codes = np.repeat(np.arange(n_groups), rng.integers(5, 60, n_groups))
    weights = rng.dirichlet(np.full(3, 0.5), size=n_groups)
    strata = np.array([rng.choice(3, p=weights[c]) for c in codes])
    active = rng.random((len(codes), k)) < np.array([0.02, 0.15, 0.8])[strata][:, None]
    values = rng.gamma(0.3, size=active.shape) * active
    p = permutation_anova(values, codes, strata=strata, n_permutations=199).p
    assert 0.02 < np.mean(p <= 0.05) < 0.085  # 0.05 +- 2.8 standard errors
    assert np.mean(permutation_anova(values, codes, n_permutations=199).p <= 0.05) > 0.2
    p = permutation_contrasts(values, codes, int(np.bincount(codes).argmax()), strata=strata, n_permutations=199).p
    # Small groups have discrete p-values, so fewer than 5 %.
    assert 0.03 < np.mean(p[np.isfinite(p)] <= 0.05) < 0.06
