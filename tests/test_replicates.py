"""Tests on replicates against dense linear algebra, statsmodels and scipy, and their error rates on null screens."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import chi2, f_oneway, norm, pearson3, rankdata, truncnorm
from scipy.stats import t as student

from scprograms._core.f_distribution import f_tail
from scprograms._core.multiple_testing import benjamini_hochberg
from scprograms.perturbation.engine import one_way_anova, permuted_codes, replicate_anova, replicate_contrasts
from scprograms.perturbation.engine._replicate_statistics import PRIOR_CELLS
from scprograms.perturbation.engine._skewed_tail import skewed_t_tail


def screen(seed=0, k=4, guides=(4, 3, 2, 1, 3), sizes=(2, 40), guide_sd=0.3, n_batches=1):
    rng = np.random.default_rng(seed)
    group_of = np.repeat(np.arange(len(guides)), guides)
    guide = np.repeat(np.arange(len(group_of)), rng.integers(*sizes, len(group_of)))
    guide = rng.permutation(guide)
    batch = rng.integers(0, n_batches, len(guide))
    usage = rng.gamma(0.5, size=(len(guide), k)) * (rng.random((len(guide), k)) < 0.6)
    usage += guide_sd * rng.random((len(group_of), k))[guide] + 0.5 * batch[:, None]
    return usage, group_of[guide], guide, batch


class Oracle:
    """One column, cell by cell and matrix by matrix: y are means of replicate x stratum, V their covariance."""

    def __init__(self, x, codes, replicates, strata):
        self.cells = sorted(set(zip(replicates.tolist(), strata.tolist(), strict=True)))
        group = dict(zip(replicates.tolist(), codes.tolist(), strict=True))
        parts = [x[(replicates == r) & (strata == s)] for r, s in self.cells]
        self.group_of = np.array([group[r] for r, _ in self.cells])
        self.n, self.y = np.array([len(p) for p in parts]), np.array([p.mean() for p in parts])
        self.squares = np.array([np.sum((p - p.mean()) ** 2) for p in parts])
        self.cubes = np.array([np.sum((p - p.mean()) ** 3) for p in parts])
        self.s2 = self.squares.sum() / np.sum(self.n - 1)
        self.units = sorted(group)
        self.unit_group = np.array([group[r] for r in self.units])
        self.member = np.array([[r == u for r, _ in self.cells] for u in self.units], dtype=float)
        groups, levels = sorted(set(codes.tolist())), sorted(set(strata.tolist()))
        self.X = np.array([[g == c for c in groups] for g in self.group_of], dtype=float)
        dummies = np.array([[s == level for level in levels[1:]] for _, s in self.cells], dtype=float)
        self.X = np.hstack([self.X, dummies.reshape(len(self.cells), -1)])
        self.N = self.member @ self.n

    def gls(self, ratio):
        self.V = np.diag(1 / self.n) + ratio * self.member.T @ self.member
        inverse = np.linalg.inv(self.V)
        self.cov = np.linalg.inv(self.X.T @ inverse @ self.X)
        hat = self.X @ self.cov @ self.X.T @ inverse
        average = self.member * self.n / self.N[:, None]
        residual = average @ (np.eye(len(self.n)) - hat)
        W = np.diag(1 / (ratio + 1 / self.N))
        self.beta = self.cov @ self.X.T @ inverse @ self.y
        r = residual @ self.y
        # The mean of the sum of squares, by the trace formula.
        self.df = np.trace(W @ residual @ self.V @ residual.T)
        self.weights = np.diag(W)
        return r @ W @ r / self.s2 - self.df

    def solve(self):
        """The ratio of the variances, the factor by which both are smaller, and the sampling variance of the ratio."""
        ratio, scale = 0.0, 1.0
        excess = self.gls(0.0)
        if excess > 0:
            ratio = brentq(self.gls, 0, 1e3, xtol=1e-16, rtol=1e-15, maxiter=500)
        else:
            scale = max(excess / self.df + 1, chi2.ppf(0.01, self.df) / self.df)
        self.gls(ratio)
        assert (np.diff(self.unit_group) >= 0).all()
        total = np.bincount(self.unit_group, self.weights)[self.unit_group]
        return ratio, scale, 2 * self.df / np.sum(self.weights * (1 - self.weights / total)) ** 2

    def furthest(self, n_permutations, seed, stop=100):
        """p of the furthest group, over the draws of permuted_codes."""
        ratio, scale, variance = self.solve()
        error = np.sqrt(variance)
        mode = ratio if ratio > 0 else error * (scale - 1) * np.sqrt(self.df / 2)
        self.gls(truncnorm.mean(-mode / error, np.inf, loc=mode, scale=error))
        G, R, w = self.unit_group.max() + 1, len(self.units), self.weights
        average = self.member * self.n / self.N[:, None]
        means = average @ (self.y - self.X[:, G:] @ self.beta[G:])
        scores = np.sqrt(w) * (means - np.average(means, weights=w))
        scores -= scores.mean()
        Z = self.unit_group[:, None] == np.arange(G)
        sd = np.sqrt(w @ Z - (np.sqrt(w) @ Z) ** 2 / R)
        between = np.eye(G) - (w @ Z) / w.sum()
        inflation = np.diag(between @ self.cov[:G, :G] @ between.T) / (1 / (w @ Z) - 1 / w.sum())
        observed = np.max(np.abs((np.sqrt(w) * scores) @ Z) / sd / np.sqrt(inflation))
        # Replicates change places in the order of their scores, groups stand in the order of their sizes.
        slots = sorted((sorted(self.N[Z[:, g]].tolist()), g) for g in range(G))
        root = [np.sqrt([w[(n == self.N) & Z[:, g]][0] for n in sizes]) for sizes, g in slots]
        sd, cuts = sd[[g for _, g in slots]], np.cumsum([len(r) for r in root])[:-1]
        hits = 0
        for i in range(n_permutations):
            drawn = np.split(np.sort(scores)[permuted_codes(np.arange(R), i, random_state=seed)], cuts)
            sums = np.array([r @ x for r, x in zip(root, drawn, strict=True)])
            hits += np.max(np.abs(sums) / sd) >= observed * (1 - 1e-9)
            if hits == stop:
                return stop / (i + 1)
        return (hits + 1) / (n_permutations + 1)

    def contrast(self, group, control):
        ratio, scale, ratio_variance = self.solve()
        c = np.zeros(self.X.shape[1])
        c[group], c[control] = 1, -1
        a = np.zeros(len(self.units))
        for sign, g in ((1, group), (-1, control)):
            inside = self.unit_group == g
            a[inside] = sign * self.weights[inside] / self.weights[inside].sum()
        pair = np.isin(self.group_of, [group, control])
        variance = self.s2 * (c @ self.cov @ c)
        strata = np.array([level for _, level in self.cells])
        for level in set(strata.tolist()):
            here = strata == level
            common = self.squares[here].sum() + PRIOR_CELLS * self.s2
            common /= np.sum(self.n[here] - 1) + PRIOR_CELLS
            s2 = self.squares[here & pair].sum() + PRIOR_CELLS * common
            s2 /= np.sum(self.n[here & pair] - 1) + PRIOR_CELLS
            cells = self.member @ (self.n * here)
            variance += (s2 - self.s2) * np.sum(a**2 * cells / self.N**2)
        k3 = self.cubes[pair].sum() / np.sum((self.n - 1) * (self.n - 2) / self.n, where=pair)
        skewness = k3 * np.sum(a**3 / self.N**2) / variance**1.5
        df = self.df
        if ratio > 0:
            df = np.clip(2 * (c @ self.cov @ c) ** 2 / (np.sum(a**2) ** 2 * ratio_variance), 1, max(self.df, 1))
        difference, error = c @ self.beta, np.sqrt(variance * scale)
        z = norm.isf(student.sf(abs(difference / error), df))
        p = pearson3.sf(z, abs(skewness)) + pearson3.cdf(-z, abs(skewness))
        return difference, error, difference / error, df, p


@pytest.mark.parametrize("n_batches", [1, 3], ids=["no-strata", "strata"])
@pytest.mark.parametrize("guide_sd", [0.0, 0.5])
@pytest.mark.parametrize("scale", ["raw", "rank"])
def test_equals_a_brute_force_oracle(scale, guide_sd, n_batches):
    values, codes, guides, batch = screen(guide_sd=guide_sd, n_batches=n_batches, seed=3)
    result = replicate_contrasts(values, codes, guides, control=0, strata=batch, scale=scale)
    tested = values if scale == "raw" else rankdata(values, axis=0) / len(values)
    for j in range(values.shape[1]):
        on_test, on_values = Oracle(tested[:, j], codes, guides, batch), Oracle(values[:, j], codes, guides, batch)
        for g in range(1, 5):
            _, _, t, df, p = on_test.contrast(g, 0)
            expected = [*on_values.contrast(g, 0)[:2], t, df, p]
            found = [getattr(result, x)[g, j] for x in ("difference", "standard_error", "t", "df", "p")]
            np.testing.assert_allclose(found[:4], expected[:4], rtol=1e-10)
            assert found[4] == pytest.approx(expected[4], rel=1e-8)  # the oracle's own tails are good to that
    np.testing.assert_array_equal(result.n_replicates, [4, 3, 2, 1, 3])
    assert np.isnan(result.p[0]).all()


@pytest.mark.parametrize("n_batches", [1, 3], ids=["no-strata", "strata"])
@pytest.mark.parametrize("guide_sd", [0.0, 0.5])
def test_the_furthest_group_equals_a_loop_over_the_same_draws(guide_sd, n_batches):
    values, codes, guides, batch = screen(guide_sd=guide_sd, n_batches=n_batches, seed=3, k=5)
    values[codes == 4, 4] += 1  # the only column that cannot stop early
    result = replicate_anova(values, codes, guides, strata=batch, n_permutations=300, random_state=4)
    ranks = rankdata(values, axis=0) / len(values)
    expected = [Oracle(ranks[:, j], codes, guides, batch).furthest(300, 4) for j in range(5)]
    np.testing.assert_allclose(result.p_furthest, expected, rtol=1e-10)
    assert expected[4] < 0.1 < max(expected)
    share = (1 - 1 / 4) / 3
    both = np.minimum(result.p_all / (1 - share), result.p_furthest / share)
    np.testing.assert_allclose(result.p, np.minimum(both, 1), rtol=1e-10)
    np.testing.assert_allclose(result.log10_p, np.log10(result.p), rtol=1e-10, atol=1e-12)
    alone = replicate_anova(values, codes, guides, strata=batch, statistic="F")
    np.testing.assert_array_equal(alone.p, result.p_all)
    np.testing.assert_array_equal(alone.F, result.F)
    assert np.isnan(alone.p_furthest).all()
    for n_jobs in (1, 2):
        other = replicate_anova(values, codes, guides, strata=batch, n_permutations=300, random_state=4, n_jobs=n_jobs)
        np.testing.assert_array_equal(other.p, result.p)


def test_one_odd_replicate_is_no_group_that_stands_out_but_three_are():
    rng = np.random.default_rng(0)
    guides = np.repeat(np.arange(60), 20)
    values = rng.normal(size=(1200, 2))
    values[guides == 7, 0] += 8  # as far as it goes on ranks
    values[guides // 3 == 2, 1] += 0.7
    result = replicate_anova(values, guides // 3, guides)
    assert result.p_furthest[0] > 0.2
    assert result.p_furthest[1] < 0.005
    two = replicate_anova(values, guides // 30, guides)
    np.testing.assert_array_equal(two.p, two.p_all)
    assert np.isnan(two.p_furthest).all()


def test_p_keeps_its_digits_where_it_underflows():
    guides = np.arange(90) // 5
    values = (guides // 6)[:, None] * 1.0 + 1e-9 * np.random.default_rng(0).normal(size=(90, 1))
    result = replicate_anova(values, guides // 6, guides, scale="raw")
    assert result.log10_p[0] < -60
    alone = replicate_anova(values, guides // 6, guides, scale="raw", statistic="F")
    assert result.log10_p[0] == pytest.approx(alone.log10_p[0] - np.log10(1 - 1 / 6), rel=1e-12)


def test_equals_weighted_least_squares_of_statsmodels():
    import statsmodels.api as sm

    values, codes, guides, _ = screen(seed=5, guide_sd=0.8)
    result = replicate_contrasts(values, codes, guides, control=0, scale="raw")
    n = np.bincount(guides)
    group_of = np.array([codes[guides == r][0] for r in range(len(n))])
    ratio = result.replicate_share / (1 - result.replicate_share)
    X = sm.add_constant((group_of[:, None] == np.arange(1, 5)).astype(float))
    for j in range(values.shape[1]):
        y = np.array([values[guides == r, j].mean() for r in range(len(n))])
        fit = sm.WLS(y, X, weights=1 / (ratio[j] + 1 / n)).fit()
        np.testing.assert_allclose(result.difference[1:, j], fit.params[1:], rtol=1e-10)
        s2 = sum(np.sum((values[guides == r, j] - y[r]) ** 2) for r in range(len(n))) / np.sum(n - 1)
        if ratio[j] > 0:  # the ratio solves: weighted mean square = variance within
            assert fit.scale == pytest.approx(s2, rel=1e-10)
    assert (ratio > 0).any()


@pytest.mark.parametrize("scale", ["raw", "rank"])
def test_the_anova_of_equal_replicates_is_that_of_their_means(scale):
    values, codes, guides, _ = screen(sizes=(30, 31), guides=(5, 3, 4), guide_sd=0.2)
    result = replicate_anova(values, codes, guides, scale=scale)
    tested = values if scale == "raw" else rankdata(values, axis=0)
    means = np.array([tested[guides == r].mean(axis=0) for r in range(12)])
    expected = f_oneway(means[:5], means[5:8], means[8:])
    np.testing.assert_allclose(result.F, expected.statistic, rtol=1e-10)
    np.testing.assert_allclose(result.p_all, expected.pvalue, rtol=1e-10)
    np.testing.assert_allclose(result.df_between, 2, rtol=1e-10)
    np.testing.assert_allclose(result.df_within, 9, rtol=1e-10)
    np.testing.assert_array_equal(result.omega_squared, one_way_anova(values, codes).omega_squared)
    assert (result.n_groups, result.n_replicates, result.n_cells) == (3, 12, 360)


def test_the_anova_by_its_quadratic_forms():
    values, codes, guides, _ = screen(seed=8, guide_sd=0.6)
    result = replicate_anova(values, codes, guides, scale="raw")
    n = np.bincount(guides)
    group_of = np.array([codes[guides == r][0] for r in range(len(n))])
    w = 1 / (1 / np.median(n) + 1 / n)
    Z = (group_of[:, None] == np.arange(5)).astype(float)
    hat = Z @ np.linalg.inv(Z.T @ (w[:, None] * Z)) @ (Z.T * w)
    one = np.tile(w / w.sum(), (len(n), 1))
    A = (hat - one).T @ np.diag(w) @ (hat - one)
    E = (np.eye(len(n)) - hat).T @ np.diag(w) @ (np.eye(len(n)) - hat)
    for j in range(values.shape[1]):
        y = np.array([values[guides == r, j].mean() for r in range(len(n))])
        s2 = sum(np.sum((values[guides == r, j] - y[r]) ** 2) for r in range(len(n))) / np.sum(n - 1)
        s2_guide = (y @ E @ y - s2 * np.trace(E / n)) / np.trace(E)
        assert s2_guide > 0
        V = np.diag(s2_guide + s2 / n)
        expected = np.trace(A @ V)
        assert result.F[j] == pytest.approx(y @ A @ y / expected, rel=1e-10)
        assert result.df_between[j] == pytest.approx(expected**2 / np.trace(A @ V @ A @ V), rel=1e-10)
        noise = 2 * np.trace(E @ V @ E @ V) * (np.trace(A) / np.trace(E)) ** 2
        assert result.df_within[j] == pytest.approx(2 * expected**2 / noise, rel=1e-10)
        assert result.replicate_share[j] == pytest.approx(s2_guide / (s2_guide + s2), rel=1e-10)


def test_rest_is_one_group_of_all_others():
    values, codes, guides, _ = screen(guides=(3, 3), sizes=(20, 60))
    one = replicate_contrasts(values, codes, guides, control=0)
    rest = replicate_contrasts(values, codes, guides, control=None)
    for field in ("difference", "standard_error", "t", "df", "p"):
        np.testing.assert_allclose(getattr(rest, field)[1], getattr(one, field)[1], rtol=1e-10)
    np.testing.assert_allclose(rest.t[0], -one.t[1], rtol=1e-10)


# --- what must not matter ------------------------------------------------------------------------------------------

TESTS = [
    lambda *a, **k: replicate_anova(*a, **k).p,
    lambda *a, **k: replicate_contrasts(*a, control=0, **k).p[1:],
    lambda *a, **k: replicate_contrasts(*a, control=0, **k).t[1:],
]


@pytest.mark.parametrize("test", TESTS, ids=["anova", "p", "t"])
def test_invariances(test):
    values, codes, guides, batch = screen(n_batches=2)
    rng = np.random.default_rng(1)
    expected = test(values, codes, guides, strata=batch)
    order, names = rng.permutation(len(codes)), rng.permutation(50)
    again = test(values[order], codes[order], names[guides][order], strata=1 - batch[order])
    np.testing.assert_allclose(again, expected, rtol=1e-8)
    np.testing.assert_allclose(test(values**3 + 5, codes, guides, strata=batch), expected, rtol=1e-8)
    np.testing.assert_allclose(test(values.astype(np.float32), codes, guides, strata=batch), expected, rtol=1e-5)
    raw = test(values, codes, guides, strata=batch, scale="raw")
    moved = 3 * values + 7 * batch[:, None]  # strata take out what is common to a stratum
    np.testing.assert_allclose(test(moved, codes, guides, strata=batch, scale="raw"), raw, rtol=1e-7)
    extra = np.r_[codes, -1, 0, 0], np.r_[guides, 0, -1, 0], np.r_[batch, 0, 0, -1]
    np.testing.assert_array_equal(test(np.r_[values, values[:3]], extra[0], extra[1], strata=extra[2]), expected)
    depth = rng.normal(size=(len(codes), 2))
    with_depth = test(values, codes, guides, strata=batch, covariates=depth, scale="raw")
    tilted = values + depth @ rng.normal(size=(2, 4))
    np.testing.assert_allclose(
        test(tilted, codes, guides, strata=batch, covariates=depth, scale="raw"), with_depth, rtol=1e-7
    )


def test_codes_without_cells_are_no_groups_52():
    values, codes, guides, _ = screen()
    spread = np.array([1, 3, 4, 6, 8])[codes]
    result, expected = (replicate_contrasts(values, c, guides, control=d) for c, d in ((spread, 3), (codes, 1)))
    assert result.p.shape == (9, 4)
    np.testing.assert_array_equal(result.p[[1, 4, 6, 8]], expected.p[[0, 2, 3, 4]])
    np.testing.assert_array_equal(result.n_replicates, [0, 4, 0, 3, 2, 0, 1, 0, 3])
    assert np.isnan(result.p[[0, 2, 3, 5, 7]]).all()


# --- corners -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strata", [False, True])
def test_constant_programs_have_no_test_55(strata):
    values, codes, guides, batch = screen(n_batches=2)
    values[:, 1], values[:, 3] = 0.0, 0.1
    more = {"strata": batch, "covariates": values[:, [0]]} if strata else {}
    contrasts, anova = (
        replicate_contrasts(values, codes, guides, control=0, **more),
        replicate_anova(values, codes, guides, **more),
    )
    for x in (anova.p, anova.F, *contrasts.p[1:], *contrasts.t[1:], *contrasts.log10_p[1:]):
        assert np.isnan(x[[1, 3]]).all()
        assert np.isfinite(x[[0, 2]]).all()
    np.testing.assert_array_equal(contrasts.difference[1:, [1, 3]], 0)


def test_single_cells_as_replicates():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1], [12, 9])
    values = rng.normal(size=(21, 2)) + 2 * codes[:, None]
    result = replicate_contrasts(values, codes, np.arange(21), control=0, scale="raw")
    plain = f_oneway(values[:12], values[12:])
    np.testing.assert_allclose(result.t[1] ** 2, plain.statistic, rtol=1e-8)  # nothing is left but replicates
    np.testing.assert_allclose(result.p[1], plain.pvalue, rtol=1e-6)
    mixed = np.r_[np.arange(12), np.full(9, 12)]
    assert np.isfinite(replicate_contrasts(values, codes, mixed, control=0).p[1]).all()


def test_values_that_differ_between_groups_only():
    codes = np.repeat([0, 1], 20)
    guides = np.arange(40) // 5
    result = replicate_contrasts(codes[:, None] * 1.0, codes, guides, control=0)
    assert result.p[1, 0] < 1e-20
    assert replicate_anova(codes[:, None] * 1.0, codes, guides).p[0] < 1e-20


def test_strata_that_hold_whole_replicates_cost_degrees_of_freedom():
    values, codes, guides, _ = screen(guides=(6, 6), sizes=(30, 31))
    result = replicate_contrasts(values, codes, guides, control=0, strata=guides % 3)
    free = replicate_contrasts(values, codes, guides, control=0)
    assert (free.df[1] <= 10).all()
    assert (result.df[1] <= 8).all()
    anova = replicate_anova(values, codes, guides, strata=guides % 3)
    # Equal replicates, orthogonal strata: the textbook's two-way table of the means.
    import statsmodels.api as sm

    means = np.array([rankdata(values, axis=0)[guides == r].mean(axis=0) for r in range(12)])
    X = np.column_stack([np.ones(12), np.arange(12) >= 6, np.arange(12) % 3 == 1, np.arange(12) % 3 == 2]).astype(float)
    for j in range(4):
        fit = sm.OLS(means[:, j], X).fit()
        assert anova.F[j] == pytest.approx(fit.tvalues[1] ** 2, rel=1e-10)
        assert anova.p[j] == pytest.approx(fit.pvalues[1], rel=1e-10)


def test_groups_that_share_no_stratum_with_the_control_59():
    values, codes, guides, _ = screen()
    apart = np.where(codes >= 3, 1, 0)
    result = replicate_contrasts(values, codes, guides, control=0, strata=apart)
    assert np.isnan(result.p[3:]).all()
    np.testing.assert_allclose(
        result.difference[1], replicate_contrasts(values, codes, guides, control=0).difference[1]
    )
    for call in (
        lambda: replicate_anova(values, codes, guides, strata=apart),
        lambda: replicate_contrasts(values, codes, guides, control=None, strata=apart),
        lambda: replicate_contrasts(values, codes, guides, control=0, strata=codes),
    ):
        with pytest.raises(ValueError, match="share no stratum"):
            call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"replicates": lambda c, g: c}, "single replicate"),
        ({"replicates": lambda c, g: np.where(g == 0, 5, g)}, "several groups"),
        ({"codes": lambda c, g: np.zeros_like(c)}, "1 groups with rows"),
        ({"codes": lambda c, g: c.astype(float)}, "integer"),
        ({"replicates": lambda c, g: g[:-1]}, "replicates shape"),
        ({"strata": lambda c, g: g[:-1]}, "strata shape"),
        ({"covariates": lambda c, g: np.full((len(c), 1), np.nan)}, "covariates"),
        ({"covariates": lambda c, g: c * 1.0}, "covariates has shape"),
        ({"scale": lambda c, g: "log"}, "possible are"),
        ({"values": lambda c, g: np.full((len(c), 2), np.inf)}, r"column\(s\) \[0, 1\]"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_errors_name_what_is_wrong(change, message):
    values, codes, guides, _ = screen()
    arguments = {"values": values, "codes": codes, "replicates": guides}
    arguments |= {name: make(codes, guides) for name, make in change.items()}
    with pytest.raises(ValueError, match=message):
        replicate_contrasts(**arguments, control=0)
    with pytest.raises(ValueError, match=message):
        replicate_anova(**arguments)


def test_control_without_rows_48():
    values, codes, guides, _ = screen()
    with pytest.raises(ValueError, match=r"control=7 has no rows.*\[0, 1, 2, 3, 4\]"):
        replicate_contrasts(values, codes, guides, control=7)


def test_strata_that_leave_nothing():
    values, codes, guides, _ = screen(guides=(2, 1), sizes=(5, 9))
    with pytest.raises(ValueError, match="leave nothing"):
        replicate_anova(values, codes, guides, strata=np.array([0, 1, 1])[guides])


# --- the tail ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skewness", [0.01, 0.5, 3.0])
@pytest.mark.parametrize("t", [0.5, 3.0, -3.0, 9.0, 45.0])
def test_tail_of_a_skewed_statistic(t, skewness):
    mpmath.mp.dps = 40
    df = 1e6
    p, log10_p = skewed_t_tail(np.array([t]), np.array([df]), np.array([-skewness]))
    tail = mpmath.betainc(df / 2, 0.5, 0, df / (df + mpmath.mpf(t) ** 2), regularized=True)
    z = mpmath.findroot(lambda z: mpmath.log(mpmath.erfc(z / mpmath.sqrt(2))) - mpmath.log(tail), abs(t))
    a = 4 / mpmath.mpf(skewness) ** 2
    lower = mpmath.gammainc(a, 0, max(a - z * mpmath.sqrt(a), 0), regularized=True)
    exact = mpmath.gammainc(a, a + z * mpmath.sqrt(a), regularized=True) + lower
    assert p[0] == pytest.approx(float(exact), rel=1e-5)
    assert log10_p[0] == pytest.approx(float(mpmath.log10(exact)), rel=1e-7)


@pytest.mark.parametrize("t", [0.0, 1.0, 12.0, 60.0])
def test_tail_without_skewness_is_that_of_t(t):
    expected = f_tail(np.array([t**2]), 1, 1e7)[1]
    exactly, nearly = (skewed_t_tail(np.array([t]), np.array([1e7]), np.array([g]))[1] for g in (0.0, 2e-6))
    assert exactly == expected
    assert nearly[0] == pytest.approx(expected[0], abs=1e-5 + 1e-12 * t**6)
    p, log10_p = skewed_t_tail(np.array([np.inf, np.nan]), np.array([5.0]), np.array([0.3]))
    np.testing.assert_array_equal(p, [0, np.nan])
    np.testing.assert_array_equal(log10_p, [-np.inf, np.nan])


# --- error rates and power -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nulls():
    path = Path(__file__).parents[1] / "benchmarks" / "_nulls.py"
    if not path.is_file():
        pytest.skip("benchmarks/_nulls.py is not part of this distribution")
    spec = importlib.util.spec_from_file_location("_nulls", path)
    module = sys.modules["_nulls"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("null", "cell_level"),
    [
        ({"kind": "normal"}, (0.03, 0.07)),
        ({"kind": "zeros70", "guide_variance": 0.006}, (0.4, 1)),
        ({"kind": "zeros97"}, (0.07, 1)),
        ({"kind": "zeros70", "batches": "uneven"}, (0.8, 1)),
    ],
    ids=["normal", "guides-differ", "zeros97", "batches"],
)
def test_error_rates(nulls, null, cell_level):
    n_programs = 300
    s = nulls.simulate_null(n_programs=n_programs, seed=11, cells_per_guide=(5, 200), **null)
    strata = s.batch if "batches" in null else None
    p = replicate_contrasts(s.values, s.codes, s.replicates, control=0, strata=strata).p[1:]
    assert 0.035 < np.mean(p < 0.05) < 0.065
    assert np.mean(p < 0.001) < 0.0025
    small = np.argsort(np.bincount(s.codes)[1:])[:10]
    assert 0.03 < np.mean(p[small] < 0.05) < 0.07
    omnibus = replicate_anova(s.values, s.codes, s.replicates, strata=strata).p
    assert 0.015 < np.mean(omnibus < 0.05) < 0.09  # 300 tests: 0.05 +- 0.013
    assert np.mean(omnibus < 0.001) < 0.012
    low, high = cell_level
    assert low <= np.mean(one_way_anova(s.values, s.codes).p < 0.05) <= high


def test_depth_as_a_covariate_or_in_bins(nulls):
    s = nulls.simulate_null("zeros70", n_programs=300, seed=12, depth_shift=0.2)
    without = replicate_contrasts(s.values, s.codes, s.replicates, control=0).p[1:]
    assert np.mean(without < 0.05) > 0.08
    bins = np.searchsorted(np.quantile(s.depth, np.linspace(0, 1, 11)[1:-1]), s.depth)
    for more in ({"covariates": s.depth[:, None]}, {"strata": bins}):
        p = replicate_contrasts(s.values, s.codes, s.replicates, control=0, **more).p[1:]
        assert 0.04 < np.mean(p < 0.05) < 0.06


@pytest.mark.parametrize("kind", ["normal", "zeros70"])
def test_planted_effects_are_found(nulls, kind):
    rng = np.random.default_rng(0)
    effects = np.zeros((51, 60))
    moved = rng.random((50, 60)) < 0.2
    effects[1:] = moved * rng.uniform(0.2, 1.0, moved.shape)
    s = nulls.simulate_null(kind, n_programs=60, seed=13, guide_variance=0.0015, effects=effects)
    result = replicate_contrasts(s.values, s.codes, s.replicates, control=0)
    hits = np.array([benjamini_hochberg(p) for p in result.p[1:].T]).T < 0.05
    assert hits[moved].mean() > 0.85
    assert np.sum(hits & ~moved) < 0.08 * hits.sum()
    assert (result.t[1:][hits & moved] > 0).all()
    strong = moved.any(axis=0) & (effects.max(axis=0) > 0.9)
    assert (replicate_anova(s.values, s.codes, s.replicates).p[strong] < 1e-3).all()


def test_nulls_are_what_they_say(nulls):
    s = nulls.simulate_null("zeros97", n_programs=40, seed=1)
    assert np.mean(s.values == 0) == pytest.approx(0.97, abs=0.002)
    np.testing.assert_array_equal(s.values, nulls.simulate_null("zeros97", n_programs=40, seed=1).values)
    s = nulls.simulate_null("zeros70", n_programs=150, seed=2, guide_variance=0.05, cells_per_guide=200)
    share = replicate_anova(s.values, s.codes, s.replicates, scale="raw").replicate_share
    assert np.mean(share) == pytest.approx(0.05, abs=0.005)
    assert np.mean(s.values == 0) == pytest.approx(0.7, abs=0.01)
    assert s.values.std() == pytest.approx(nulls.usage_sd("zeros70"), rel=0.02)
