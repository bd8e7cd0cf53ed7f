"""Recovery engine: closed forms against iterations and loops, the convex solver against scipy, ranks by definition."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize, sparse, special

from scprograms._core.threads import threads
from scprograms.states.engine import (
    Strata,
    TrainingOptions,
    aggregate,
    agreement,
    balanced_scaling,
    calibrate,
    draw_runs,
    fit_identity,
    fit_profiles,
    hold_out,
    identity_margin,
    lower_bound,
    match_states,
    posneg,
    profile_distance,
    rank_in,
    recover,
    solve_states,
    specific_features,
    state_means,
    stratum_moments,
    train,
    z_scores,
)
from scprograms.states.engine import _conformal as conformal
from scprograms.states.engine import _identity as identity
from scprograms.states.engine import _profiles as profiles
from scprograms.states.engine import _solver as solver

KANG = Path(__file__).parents[2] / "shared/data/kang2018_pbmc_ifnb/kang2018_pbmc_ifnb_scgen_valid.h5ad"


def updates_of_w(V, H, n_updates, seed=0):
    """Multiplicative updates of W for KL(V | W H) with H fixed, as in the published training."""
    W = np.random.default_rng(seed).uniform(size=(V.shape[0], H.shape[0]))
    for _ in range(n_updates):
        W = W * ((V / (W @ H)) @ H.T) / H.sum(axis=1)
    return W


def one_hot(states, n_states):
    return (states == np.arange(n_states)[:, None]) + 2.2e-16


def kl_loss(h, v, W):
    f = W @ h
    return f.sum() - np.sum(v[v > 0] * np.log(f[v > 0]))


def problems(n=60, m=40, k=4, seed=0):
    rng = np.random.default_rng(seed)
    W = rng.gamma(0.5, size=(m, k))
    V = rng.poisson(rng.gamma(0.4, size=(n, k)) * 3 @ W.T) * rng.gamma(1.0, size=(n, m))
    V[0] = 0
    return V, W


# --- signatures ----------------------------------------------------------------------------------------------------


def test_state_means_are_where_420_updates_end():
    rng = np.random.default_rng(1)
    V, states = posneg(rng.normal(size=(150, 30))), np.arange(150) % 3
    found = state_means(V, states, 3)
    np.testing.assert_allclose(found, updates_of_w(V.T, one_hot(states, 3), 420), atol=1e-6)
    by_loops = [[math.fsum(V[states == c, j]) / np.sum(states == c) for c in range(3)] for j in range(V.shape[1])]
    np.testing.assert_allclose(found, by_loops, rtol=1e-12)


@pytest.mark.shared_data
def test_state_means_are_where_420_updates_end_on_real_data():
    if not KANG.exists():
        pytest.skip("the screens beside the project are absent")
    import anndata as ad

    adata = ad.read_h5ad(KANG)
    adata = adata[adata.obs["cell_type"] == "NK"]
    X = adata.X.toarray().astype(np.float64)
    X = np.log1p(1e4 * X / X.sum(axis=1, keepdims=True))
    X = X[:, np.argsort(-X.var(axis=0))[:300]]
    states = (adata.obs["condition"] == "stimulated").to_numpy().astype(int)
    V = posneg(z_scores(X, X.mean(axis=0), X.std(axis=0)))
    found = state_means(V, states, 2)
    assert np.abs(found - updates_of_w(V.T, one_hot(states, 2), 420)).max() < 1e-6


def test_specific_features_by_a_loop():
    W = np.random.default_rng(0).gamma(1.0, size=(60, 4))
    W[:3] = 1  # led by none
    found = specific_features(W, 5)
    for c in range(4):
        lead = {j: w[c] - max(np.delete(w, c)) for j, w in enumerate(W) if w[c] > max(np.delete(w, c))}
        assert set(np.flatnonzero(found[:, c])) == set(sorted(lead, key=lead.get, reverse=True)[:5])


def test_genes_are_kept_if_chosen_for_the_same_state_in_more_than_half_of_the_runs():
    # Features of genes a, b, c: positive parts, then negative ones. Two states, one feature each per run.
    base = np.full((6, 2), 0.1)
    runs = np.stack([base] * 4)
    runs[:3, 0, 0] = 2  # a__pos, state 0, in three of four
    runs[3, 1, 0] = 2  # b__pos, state 0, in one
    runs[:2, 4, 1] = 2  # b__neg, state 1, in two: exactly half
    runs[2:, 5, 1] = 2  # c__neg, state 1, in two
    genes, W, spread, chosen = aggregate(runs, 1)
    assert genes.tolist() == [0]
    np.testing.assert_allclose(W, runs[:, [0, 3]].mean(axis=0))
    np.testing.assert_allclose(spread, runs[:, [0, 3]].std(axis=0))
    assert chosen.tolist() == [[0.75, 0], [0, 0]]


def test_draws_differ_keep_rare_states_and_balance_samples():
    samples = np.repeat([0, 1, 2], [400, 60, 60])
    states = np.where(np.arange(520) % 20 == 0, 1, 0)
    strata = Strata.of(samples, states)
    draws = [strata.draw(200, np.random.default_rng(i)) for i in range(50)]
    assert len({tuple(d) for d in draws}) == 50
    for drawn in draws:
        assert len(drawn) <= 200
        assert len(set(drawn)) == len(drawn)
        taken = np.bincount(strata.of_cell[drawn], minlength=6).reshape(3, 2)
        assert taken[0, 0] <= 60  # the median of its state: 380 cells do not outvote 57
        assert (taken[:, 1] == np.round(0.8 * strata.sizes.reshape(3, 2)[:, 1])).all()
    assert len(strata.draw(6, np.random.default_rng(0))) == 6
    times = np.bincount(np.concatenate(draws), minlength=520)
    rare = strata.of_cell[np.newaxis] == np.flatnonzero(strata.state == 1)[:, np.newaxis]
    assert times[rare.any(axis=0)].min() > 25  # no cell is left out by all runs: each is in 80 % of them
    assert times[rare.any(axis=0)].max() < 50


def test_a_run_depends_on_its_own_number_only():
    rng = np.random.default_rng(0)
    X, states = rng.normal(size=(90, 40)), np.arange(90) % 3
    X[states == 1, :8] += 2
    options = TrainingOptions(n_runs=6)
    whole = draw_runs(X, np.zeros(90, int), states, options)
    part = draw_runs(X, np.zeros(90, int), states, options, runs=[4])
    np.testing.assert_array_equal(part.runs[0], whole.runs[4])
    assert np.abs(whole.runs[0] - whole.runs[1]).max() > 1e-3


# --- scaling -------------------------------------------------------------------------------------------------------


def test_stratum_moments_by_loops_dense_and_sparse():
    rng = np.random.default_rng(2)
    X = rng.poisson(0.7, size=(80, 12)) * rng.random((80, 12))
    X[:, 3] = 1.7  # constant: its variance is exactly 0
    samples, states = rng.integers(0, 3, 80), rng.integers(0, 2, 80)
    strata = Strata.of(samples, states)
    for matrix in (X, sparse.csr_matrix(X), sparse.csr_array(X.astype(np.float32))):
        found = stratum_moments(matrix, strata)
        for g, (s, c) in enumerate(zip(strata.sample, strata.state, strict=True)):
            mine = X[(samples == s) & (states == c)]
            np.testing.assert_allclose(found.means[g], mine.mean(axis=0), rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(found.variances[g], mine.var(axis=0), rtol=1e-5, atol=1e-6)
        assert not found.variances[:, 3].any()
        np.testing.assert_array_equal(found.n_detected, (X != 0).sum(axis=0))


def test_scaling_is_weighted_least_squares_of_samples_and_states():
    rng = np.random.default_rng(3)
    samples, states = rng.integers(0, 4, 300), rng.integers(0, 3, 300)
    states[samples == 3] = 0  # a sample of one state
    X = rng.normal(size=(300, 5)) + 2 * samples[:, None] + states[:, None]
    strata = Strata.of(samples, states)
    moments = stratum_moments(X, strata)
    found = balanced_scaling(moments, strata)

    def loss(flat):
        center, effects = flat[:20].reshape(4, 5), flat[20:].reshape(3, 5)
        rest = moments.means - center[strata.sample] - effects[strata.state]
        return np.sum((strata.sizes / (strata.sizes + 10))[:, None] * rest**2) + np.sum(effects.sum(axis=0) ** 2)

    best = optimize.minimize(loss, np.zeros(35), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(np.concatenate([found.center.ravel(), found.effects.ravel()]), best.x, atol=1e-6)
    np.testing.assert_allclose(found.effects.sum(axis=0), 0, atol=1e-12)


def test_one_sample_with_even_states_has_the_mean_and_deviation_of_its_cells():
    rng = np.random.default_rng(4)
    states = np.arange(3000) % 3
    X = rng.normal(size=(3000, 4)) + np.array([0, 1, 3])[states][:, None]
    strata = Strata.of(np.zeros(3000, int), states)
    found = balanced_scaling(stratum_moments(X, strata), strata)
    np.testing.assert_allclose(found.center[0], X.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(found.scale[0], X.std(axis=0), rtol=1e-3)  # n - 3, not n, within states


def test_a_sample_of_mostly_one_state_is_not_centred_on_it():
    rng = np.random.default_rng(5)
    samples = np.repeat([0, 1, 2], 200)
    states = np.concatenate([np.arange(200) % 2, (np.arange(200) % 40 == 0).astype(int), np.zeros(200, int)])
    X = rng.normal(scale=0.1, size=(600, 1)) + states[:, None] + 5 * samples[:, None]
    strata = Strata.of(samples, states)
    found = balanced_scaling(stratum_moments(X, strata), strata)
    np.testing.assert_allclose(found.center[:, 0], [0.5, 5.5, 10.5], atol=0.06)
    np.testing.assert_allclose(found.effects[:, 0], [-0.5, 0.5], atol=0.05)


def test_z_scores_are_clipped_and_genes_without_variance_are_zero():
    X = np.array([[0.0, 5.0, 1e9], [1.0, 5.0, 0.0]])
    Z = z_scores(X, np.array([0.5, 4.0, 0.0]), np.array([0.5, 0.0, 1.0]))
    assert Z.tolist() == [[-1, 0, 10], [1, 0, 0]]
    assert posneg(Z).tolist() == [[0, 0, 10, 1, 0, 0], [1, 0, 0, 0, 0, 0]]


def test_states_are_linked_by_samples_they_share():
    strata = Strata.of(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 2, 3]))
    labels = strata.components()
    assert labels[0] == labels[1] == labels[2] != labels[3]


# --- usages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 4, 9])
def test_kl_usages_are_the_optimum_that_scipy_finds(k):
    V, W = problems(k=k, seed=k)
    found = solve_states(V, W)
    floored = np.maximum(W, solver.FLOOR * W.max())
    for h, v in zip(found, V, strict=True):
        start = np.full(k, v.sum() / W.sum() + 1e-3)
        gradient = lambda x, v=v: floored.sum(axis=0) - floored.T @ (v / (floored @ x))  # noqa: E731
        best = optimize.minimize(
            kl_loss,
            start,
            (v, floored),
            jac=lambda x, v, W, gradient=gradient: gradient(x),
            bounds=[(1e-12, None)] * k,
            method="L-BFGS-B",
            options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 5000},
        )
        if v.any():
            assert kl_loss(h, v, floored) <= best.fun + 1e-9 * abs(best.fun)
            slope = gradient(np.maximum(h, 1e-300)) / floored.sum(axis=0)
            assert slope.min() > -1e-6
            assert np.abs(slope * h).max() < 1e-6 * max(h.max(), 1)
        else:
            assert not h.any()


def test_kl_usages_are_where_many_updates_end():
    V, W = problems(m=120)
    H = np.full((len(V), 4), V.mean() + 1e-3)
    floored = np.maximum(W, solver.FLOOR * W.max())
    for _ in range(20_000):
        H *= ((V / (H @ floored.T + 1e-300)) @ floored) / floored.sum(axis=0)
    np.testing.assert_allclose(solve_states(V, W), H, atol=1e-5)


def test_frobenius_usages_are_those_of_scipy():
    V, W = problems()
    expected = np.array([optimize.nnls(W, v)[0] for v in V])
    np.testing.assert_allclose(solve_states(V, W, loss="frobenius"), expected, atol=1e-9)


@pytest.mark.parametrize("loss", ["kl", "frobenius"])
def test_exact_mixtures_are_found_exactly(loss):
    _, W = problems(m=30)
    H = np.random.default_rng(0).gamma(1.0, size=(50, 4)) * (np.random.default_rng(1).random((50, 4)) < 0.6)
    np.testing.assert_allclose(solve_states(H @ W.T, W, loss=loss), H, atol=1e-6)


@pytest.mark.parametrize("loss", ["kl", "frobenius"])
def test_chunks_order_and_threads_do_not_change_a_bit(loss, monkeypatch):
    V, W = problems(n=301)
    whole = solve_states(V, W, loss=loss)
    monkeypatch.setattr(solver, "_ROWS", 7)
    np.testing.assert_array_equal(solve_states(V, W, loss=loss), whole)
    with threads(3):
        np.testing.assert_array_equal(solve_states(V, W, loss=loss), whole)
    order = np.random.default_rng(0).permutation(301)
    np.testing.assert_array_equal(solve_states(V[order], W, loss=loss), whole[order])


def test_hard_usages_are_finite():
    rng = np.random.default_rng(0)
    W = np.zeros((20, 3))
    W[:5, 0], W[5:10, 1] = 1, 1
    W[:, 2] = W[:, 0]  # twice the same state; half of the features fit none
    V = rng.gamma(0.3, size=(30, 20)) * 10.0 ** rng.integers(-8, 8, (30, 1))
    for loss in ("kl", "frobenius"):
        H = solve_states(V, W, loss=loss)
        assert np.isfinite(H).all()
        assert (H >= 0).all()
    H = solve_states(V, W)
    # The total is that of all features; it is shared out as the features that do fit a state are.
    fits = V[:, :5].sum(axis=1), V[:, 5:10].sum(axis=1)
    expected = V.sum(axis=1) / 5 * fits[0] / (fits[0] + fits[1])
    np.testing.assert_allclose(H[:, 0] + H[:, 2], expected, rtol=1e-5)


# --- identity ------------------------------------------------------------------------------------------------------


def typed(n=60, n_types=3, n_genes=50, seed=0):
    """Cells of types with ten markers each; every other cell is in a state, the same ten genes in all types."""
    rng = np.random.default_rng(seed)
    types, states = np.repeat(np.arange(n_types), n), np.arange(n * n_types) % 2
    rates = np.full((n_types, 2, n_genes), 0.5)
    for t in range(n_types):
        rates[t, :, 10 * t : 10 * t + 10] = 3
    rates[:, 1, -10:] = 3
    return np.log1p(rng.poisson(rates[types, states]).astype(float)), types, states


def test_identity_is_the_optimum_of_a_penalised_logistic_regression(monkeypatch):
    X, types, _ = typed(n=40)
    X, types = X[20:], types[20:]  # types of different size
    found = fit_identity(X, types, 3)
    values = X[:, found.genes]
    scale = values.std(axis=0) + 0.2
    Z = (values - values.mean(axis=0)) / scale
    weight = 1 / np.sqrt(np.bincount(types)[types])
    weight /= weight.mean()

    def loss(x):
        B, b = x[:-3].reshape(3, -1), x[-3:]
        logits = Z @ B.T + b
        own = logits[np.arange(len(Z)), types]
        return np.sum(weight * (special.logsumexp(logits, axis=1) - own)) + 15 * np.sum(B**2)

    best = optimize.minimize(loss, np.zeros(3 * Z.shape[1] + 3), method="L-BFGS-B", options={"maxfun": 10**6})
    B, b = best.x[:-3].reshape(3, -1), best.x[-3:]
    logits = Z @ B.T + b
    expected = logits[:, 1] - np.delete(logits, 1, axis=1).max(axis=1)
    margins = identity_margin(values, found, np.ones(len(found.genes), bool), 1)
    np.testing.assert_allclose(margins, np.minimum(expected, 1), atol=2e-3)  # all that are certain are equal
    monkeypatch.setattr(identity, "CERTAIN", np.inf)
    margins = identity_margin(values, found, np.ones(len(found.genes), bool), 1)
    np.testing.assert_allclose(margins, expected, atol=2e-3)


def test_identity_tells_types_and_needs_two_of_them(monkeypatch):
    X, types, _ = typed()
    found = fit_identity(X, types, 3)
    sparsely = fit_identity(sparse.csr_array(X), types, 3)
    np.testing.assert_array_equal(found.genes, sparsely.genes)
    np.testing.assert_allclose(found.weights, sparsely.weights, atol=1e-6)
    assert set(range(30)) <= set(found.genes)
    assert found.cell_types.tolist() == [0, 1, 2]
    everything = np.ones(len(found.genes), bool)
    margins = identity_margin(X[:, found.genes], found, everything, 1)
    assert margins[types == 1].min() > 0 > margins[types != 1].max()
    two = fit_identity(X[types < 2], types[types < 2], 3)
    margins = identity_margin(X[:, two.genes], two, np.ones(len(two.genes), bool), 1)
    assert margins[types == 1].min() > 0 > margins[types == 0].max()
    assert fit_identity(X[types == 0], types[types == 0], 3) is None
    monkeypatch.setattr(identity, "CERTAIN", np.inf)
    # A missing gene counts as the mean of the type that the cell is said to be of.
    present = np.arange(len(found.genes)) % 3 > 0
    filled = X[:, found.genes].copy()
    filled[:, ~present] = X[types == 2][:, found.genes[~present]].mean(axis=0)
    fewer = identity_margin(X[:, found.genes[present]], found, present, 2)
    np.testing.assert_allclose(fewer, identity_margin(filled, found, everything, 2), atol=1e-9)
    monkeypatch.setattr(identity, "MOST_CELLS", 30)
    some = fit_identity(X, types, 3)
    margins = identity_margin(X[:, some.genes], some, np.ones(len(some.genes), bool), 1)
    assert margins[types == 1].min() > 0 > margins[types != 1].max()


def test_cells_of_all_groups_have_unit_covariance_along_the_axes_of_profiles(monkeypatch):
    monkeypatch.setattr(profiles, "SHRINKAGE", 0)
    X, types, states = typed(n=90)
    X, types, states = X[50:], types[50:], states[50:]
    found = fit_profiles(X, types, states)
    sparsely = fit_profiles(sparse.csr_array(X), types, states)
    np.testing.assert_allclose(found.means, sparsely.means, atol=1e-12)
    assert list(zip(found.cell_types, found.states, strict=True)) == list(itertools.product(range(3), range(2)))
    assert 2 <= found.axes.shape[1] <= 4  # three types and one state that they have in common: 3
    within = np.zeros((found.axes.shape[1],) * 2)
    everything = np.ones(len(found.genes), bool)
    for g in range(6):
        mine = (types == found.cell_types[g]) & (states == found.states[g])
        values = X[mine][:, found.genes]
        np.testing.assert_allclose(found.means[:, g], values.mean(axis=0))
        within += np.cov((values @ found.axes).T, bias=True) / 6
        distance = profile_distance(values, found, everything, *divmod(g, 2))
        middle = found.means[:, g] @ found.axes
        np.testing.assert_allclose(distance, [math.dist(v @ found.axes, middle) for v in values])
    np.testing.assert_allclose(within, np.eye(len(within)), atol=1e-9)
    present = np.arange(len(found.genes)) % 3 > 0
    filled = np.where(present, X[:, found.genes], found.means[:, 0])
    fewer = profile_distance(X[:, found.genes[present]], found, present, 0, 0)
    np.testing.assert_allclose(fewer, profile_distance(filled, found, everything, 0, 0))
    assert np.isnan(profile_distance(filled, found, everything, 5, 0)).all()
    assert fit_profiles(X[types == 0], types[types == 0], states[types == 0]) is None


def test_a_type_with_one_state_is_known_by_its_mean_and_other_states_are_far_from_it():
    X, types, states = typed(n=400)
    new = np.arange(len(X)) % 4 < 2
    samples = np.arange(len(X)) // 4 % 4
    out = (types == 1) & (states == 1)
    kept = ~new & ~out
    options = TrainingOptions(n_runs=4)
    trained = train(X[kept], types[kept], states[kept], samples[kept], 3, options)
    assert (trained.single, trained.states[1].tolist(), set(trained.signatures)) == ({1: 0}, [0], {0, 2})
    held_out = hold_out(X[kept], types[kept], states[kept], samples[kept], 3, 2, options)
    mine = types[kept][held_out.cells] == 1
    assert mine.sum() == np.sum(types[kept] == 1)
    calibration = calibrate(held_out, types[kept], trained, 0.95)
    cells = new & (types == 1)
    found = recover(X[cells], types[cells], samples[cells], trained, 2)
    assert set(found.state) == {0}
    np.testing.assert_array_equal(found.shares, [[1, 0]] * cells.sum())
    fits = calibration.scores(types[cells], found) >= calibration.threshold(1, 0)
    assert fits[states[cells] == 0].mean() > 0.85
    assert fits[states[cells] == 1].mean() < 0.05
    foreign = recover(X[types != 1], types[types != 1] * 0 + 1, samples[types != 1], trained, 2)
    assert np.mean(calibration.scores(np.ones(len(foreign.state), int), foreign) < calibration.threshold(1, 0)) > 0.95


def test_held_out_cells_of_a_type_that_is_left_with_one_state_do_not_count():
    X, types, states = typed(n=100)
    rare = (types == 0) & (states == 1)
    kept = ~rare | (np.cumsum(rare) <= 5)  # of these five, a fold is left with four
    X, types, states = X[kept], types[kept], states[kept]
    options = TrainingOptions(n_runs=3)
    held_out = hold_out(X, types, states, np.zeros(len(X), int), 3, 2, options)
    assert not np.any(types[held_out.cells] == 0)
    assert np.any(types[held_out.cells] == 1)


# --- thresholds ----------------------------------------------------------------------------------------------------


def test_lower_bound_is_the_kth_lowest():
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 100.0))
    assert lower_bound(scores, 0.95) == 5  # 0.05 * 100
    assert lower_bound(scores, 0.9) == 10
    assert lower_bound(np.arange(18.0), 0.95) == 0  # 0.05 * 19 < 1: nothing can be refused at this rate
    assert lower_bound(np.arange(1.0, 20.0), 0.95) == 1


def test_a_new_value_is_below_the_bound_at_the_nominal_rate():
    rng = np.random.default_rng(0)
    below = [rng.normal() < lower_bound(rng.normal(size=39), 0.9) for _ in range(20_000)]
    assert np.mean(below) == pytest.approx(0.1, abs=0.007)  # exactly 4 / 40


def test_ranks_are_shares_of_the_values_exceeded():
    ordered = np.array([1.0, 2.0, 4.0])
    found = rank_in(ordered, np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 9.0, -50.0, np.nan]))
    np.testing.assert_allclose(found, [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.75, 0, np.nan])
    assert np.isnan(rank_in(np.zeros(0), np.ones(2))).all()


def screen(n=600, n_samples=4, seed=0, effect=1.5):
    """Two types with two states each, in samples with batch effects."""
    rng = np.random.default_rng(seed)
    types, states, samples = (rng.integers(0, k, n) for k in (2, 2, n_samples))
    log_rates = rng.normal(0, 0.4, (n_samples, 80))[samples]
    log_rates[types == 1, 60:] += 1.5
    for t, c in itertools.product(range(2), range(2)):
        at = 30 * t + 15 * c
        log_rates[np.ix_((types == t) & (states == c), np.arange(at, at + 15))] += effect
    return np.log1p(rng.poisson(np.exp(log_rates))).astype(np.float32), types, states, samples


def test_folds_are_samples_where_states_are_still_there_and_linked_without_one():
    _, types, states, samples = screen()
    options = TrainingOptions()
    fold, by_sample = conformal.make_folds(types, states, samples, 2, options)
    assert by_sample.tolist() == [True, True]
    for t in range(2):
        for s in range(4):
            assert len(set(fold[(types == t) & (samples == s)])) == 1
    # The profiles of one type must not know the sample that is left out of another.
    assert [len(set(fold[samples == s])) for s in range(4)] == [1] * 4
    alone = np.where((types == 0) & (samples > 0), 0, states)  # state 1 of type 0 in one sample only
    fold, by_sample = conformal.make_folds(types, alone, samples, 2, options)
    assert by_sample.tolist() == [False, True]
    sizes = np.bincount(fold[types == 0])
    assert len(sizes) == 5
    assert sizes.max() - sizes.min() <= 1
    unlabelled = np.where(np.arange(600) < 100, -1, states)
    assert (conformal.make_folds(types, unlabelled, samples, 2, options)[0][:100] == -1).all()


def test_held_out_cells_have_no_part_in_what_they_are_given(monkeypatch):
    X, types, states, samples = screen()
    seen = []

    def watched(matrix, *args, **kwargs):
        seen.append(matrix)
        return train(matrix, *args, **kwargs)

    monkeypatch.setattr(conformal, "train", watched)
    held_out = conformal.hold_out(X, types, states, samples, 2, 2, TrainingOptions(n_runs=3))
    assert sorted(held_out.cells) == list(range(600))  # each labelled cell once
    fold, _ = conformal.make_folds(types, states, samples, 2, TrainingOptions())
    assert [len(part) for part in seen] == [int((fold != f).sum()) for f in np.unique(fold)]
    order = np.argsort(held_out.cells)
    assert np.mean(held_out.state[order] == states) > 0.9


def test_one_state_fits_none_where_nothing_says_where_the_centre_is():
    X, types, states, samples = screen(900)
    trained = train(X, types, states, samples, 2, TrainingOptions(n_runs=3))
    one = (types == 0) & (states == 1)
    alone, both = (recover(X[m], types[m], samples[m] * 0, trained, 2) for m in (one, types == 0))
    assert np.median(alone.agreement) < 0.3 < 0.6 < np.median(both.agreement)


def test_result_of_recovery_is_that_of_a_loop_over_cells():
    X, types, states, samples = screen()
    trained = train(X, types, states, samples, 2, TrainingOptions(n_runs=4))
    found = recover(X, types, samples, trained, 2)
    signature = trained.signatures[1]
    mine = np.flatnonzero((types == 1) & (samples == 2))
    values = X[np.ix_(mine, signature.genes)].astype(float)
    p = len(signature.genes)
    signed = signature.W[:p] - signature.W[p:]

    def cosine(z, c):
        return z @ signed[:, c] / math.sqrt((z @ z) * (signed[:, c] @ signed[:, c]))

    def best(z):
        cosines = [cosine(z, 0), cosine(z, 1)]
        return int(np.argmax(cosines)), max(0, *cosines) ** 2

    center, scale = values.mean(axis=0), values.std(axis=0)
    for _ in range(3):
        near = [best(z) for z in np.clip((values - center) / scale, -10, 10)]
        rest = np.array([x - signature.effects[:, c] for x, (c, _) in zip(values, near, strict=True)])
        weights = [w for _, w in near]
        center = np.average(rest, axis=0, weights=weights)
        within = np.average((rest - center) ** 2, axis=0, weights=weights)
        scale = np.sqrt(within + np.mean(signature.effects**2, axis=1))
    Z = np.clip((values - center) / scale, -10, 10)
    by_squares = recover(X, types, samples, trained, 2, loss="frobenius")
    toward = (signed[:, 0] - signed[:, 1]) / np.linalg.norm(signed[:, 0] - signed[:, 1])
    middle = signed.mean(axis=1)
    for i, z in zip(mine, Z, strict=True):
        h = optimize.nnls(signature.W, np.concatenate([np.maximum(z, 0), np.maximum(-z, 0)]))[0]
        np.testing.assert_allclose(by_squares.shares[i], h / h.sum(), atol=1e-8)
        c = found.state[i]
        assert c == int(found.shares[i].argmax())
        # Two states differ in one direction: how far the cell has come from the middle to its state.
        way = (z - middle) @ toward / ((signed[:, c] - middle) @ toward)
        assert found.agreement[i] == pytest.approx(min(way, 1), abs=1e-9)
    np.testing.assert_allclose(found.shares.sum(axis=1), 1)
    assert np.mean(found.state == states) > 0.95


def test_agreement_is_one_sided_and_within_the_span_of_the_states():
    signed = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    middle = np.array([1, 1, 1, 0]) / 3
    own = np.zeros(6, int)
    Z = np.array(
        [
            signed[:, 0],
            middle,
            middle + 3 * (signed[:, 0] - middle),  # beyond the state
            signed[:, 0] + [0, 0, 0, 9],  # where states do not differ
            signed[:, 0] + [0.5, 0.5, 0.5, 0],  # nor here
            signed[:, 1],
        ]
    )
    length = np.linalg.norm(signed[:, 0] - middle)
    np.testing.assert_allclose(agreement(Z, signed, own), [1, 0, 1, 1, 1, 1 - math.sqrt(2) / length], atol=1e-12)
    assert np.isnan(agreement(Z[:1], signed, np.array([-1]))).all()
    assert agreement(Z[:1], np.ones((4, 3)), np.array([0])).tolist() == [0]  # states that are all alike


def test_matching_against_training_is_a_least_squares_problem_per_cell():
    rng = np.random.default_rng(3)
    states, samples = np.tile([0, 1, 2], 60), np.repeat([0, 1], 90)
    X = rng.normal(2, 1, (180, 24)) + 2 * np.eye(3)[states].repeat(8, axis=1)
    signature = draw_runs(X, samples, states, TrainingOptions(n_runs=3)).signature(20)
    present = np.ones(len(signature.genes), dtype=bool)
    present[[0, 5]] = False  # two genes were not measured in the new cells
    values, rows = X[:, signature.genes[present]], np.concatenate([present, present])
    own, shares, near = match_states(values, samples, signature, present, loss="frobenius", reference="training")
    for i in range(0, 180, 7):
        z = np.clip((values[i] - signature.center[present]) / signature.scale[present], -10, 10)
        usage = optimize.nnls(signature.W[rows], np.concatenate([z.clip(0), (-z).clip(0)]))[0]
        np.testing.assert_allclose(shares[i], usage / usage.sum(), atol=1e-6)
        assert own[i] == usage.argmax()
    assert (own == states).mean() > 0.95
    assert near.max() <= 1
