"""PR-AUC, tests, splits, baselines and the choice among them, on arrays: against scikit-learn, scipy and loops."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, precision_recall_curve

from scprograms.accessibility.engine import (
    AccessibilityModel,
    average_precision,
    average_precision_of_columns,
    distance_weights,
    evaluate,
    fisher_test,
    moments,
    most_variable,
    odds_ratio_within_peaks,
    split_cells,
    untied_precision,
)
from scprograms.accessibility.engine._baselines import Neighbours, as_probability, components, ridge_path
from scprograms.accessibility.engine._genes import GeneScaler, principal_axes
from scprograms.accessibility.engine._nearby import LocalTerm, input_weights
from scprograms.accessibility.engine._precision_recall import Ranking, chance_precision
from scprograms.accessibility.engine._probability import calibrated, calibration_table, fit_calibration
from scprograms.datasets import simulate_multiome


def entries(n=60, p=40, seed=0, levels=None):
    rng = np.random.default_rng(seed)
    scores = rng.random((n, p))
    if levels:
        scores = np.round(scores * levels) / levels
    return rng.random((n, p)) < 0.3 * scores, scores


@pytest.fixture(scope="module")
def multiome():
    return simulate_multiome(1200, 300, 120, random_state=1)


def arrays(data):
    return data["rna"].X, data["atac"].X.toarray() > 0, data["atac"].layers["true_probability"]


@pytest.fixture(scope="module")
def fitted(multiome):
    X, Y, _ = arrays(multiome)
    split = split_cells(len(Y))
    return AccessibilityModel("ridge").fit(X, Y, split), split


# --- PR-AUC --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [None, 1, 5])
def test_pr_auc_is_that_of_scikit_learn(levels):
    y, s = entries(levels=levels)
    assert average_precision(y, s) == pytest.approx(average_precision_score(y.ravel(), s.ravel()), abs=1e-12)
    expected = [average_precision_score(y[:, j], s[:, j]) for j in range(y.shape[1])]
    np.testing.assert_allclose(average_precision_of_columns(y, s), expected, atol=1e-12)


def test_pr_auc_does_not_depend_on_the_order_of_entries_or_on_a_monotone_map():
    y, s = entries(levels=5)
    order = np.random.default_rng(1).permutation(len(y))
    assert average_precision(y[order], s[order]) == pytest.approx(average_precision(y, s), abs=1e-14)
    assert average_precision(y, np.exp(3 * s)) == pytest.approx(average_precision(y, s), abs=1e-14)


def test_pr_auc_at_its_limits():
    y, s = entries()
    assert average_precision(y, y.astype(float)) == 1
    assert average_precision(y, np.zeros(y.shape)) == pytest.approx(y.mean())
    assert np.isnan(average_precision(np.zeros_like(y), s))
    assert np.isnan(average_precision_of_columns(np.zeros_like(y), s)).all()


def test_weights_of_cells_count_cells_several_times():
    y, s = entries(levels=7)
    times = np.random.default_rng(2).integers(0, 4, len(y))
    expected = average_precision_score(np.repeat(y, times, axis=0).ravel(), np.repeat(s, times, axis=0).ravel())
    assert Ranking(y, s).average_precision(times) == pytest.approx(expected, abs=1e-12)


def test_curve_lies_on_that_of_scikit_learn_and_ends_at_full_recall():
    y, s = entries(levels=30)
    curve = Ranking(y, s).curve()
    precision, recall, thresholds = precision_recall_curve(y.ravel(), s.ravel())
    known = dict(zip(thresholds, zip(precision, recall, strict=False), strict=False))
    for row in curve.itertuples():
        assert (row.precision, row.recall) == pytest.approx(known[row.threshold], abs=1e-12)
    assert curve["recall"].iloc[-1] == 1
    assert len(Ranking(*entries(300, 200)).curve(at_most=50)) <= 51


def test_best_threshold_has_the_highest_f1():
    y, s = entries(levels=20)
    reached = {t: f1_score(y.ravel(), (s >= t).ravel()) for t in np.unique(s)}
    assert reached[Ranking(y, s).best_f1()] == pytest.approx(max(reached.values()))
    with pytest.raises(ValueError, match="no accessible entry"):
        Ranking(np.zeros_like(y), s).best_f1()


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_untied_precision_is_the_mean_over_random_orders_of_ties(levels):
    y, s = entries(12, 5, seed=4, levels=levels)
    noise = np.random.default_rng(0)
    orders = [average_precision(y, s + 1e-6 * noise.random(s.shape)) for _ in range(3000)]
    assert untied_precision(y, s) == pytest.approx(np.mean(orders), abs=4 * np.std(orders) / np.sqrt(3000))
    assert untied_precision(y, s) > average_precision(y, s)
    times = noise.integers(0, 4, len(y))
    repeated = untied_precision(np.repeat(y, times, axis=0), np.repeat(s, times, axis=0))
    assert Ranking(y, s).untied_precision(times) == pytest.approx(repeated, abs=1e-12)


def test_without_ties_both_precisions_are_the_same():
    y, s = entries()
    assert untied_precision(y, s) == pytest.approx(average_precision(y, s), abs=1e-12)
    k = np.array([[True], [False], [True], [False]])
    assert untied_precision(k, np.zeros((4, 1))) == pytest.approx(chance_precision(np.array([2]), 4)[0])
    assert np.isnan(untied_precision(np.zeros_like(y), s))


@pytest.mark.parametrize("n", [5, 25])
def test_chance_is_the_mean_over_all_or_many_orders(n):
    rng = np.random.default_rng(0)
    for k in (1, 2, n - 1, n):
        y = np.arange(n) < k
        orders = list(itertools.permutations(range(n))) if n == 5 else [rng.permutation(n) for _ in range(4000)]
        mean = np.mean([average_precision(y[:, None], np.array(order)[:, None]) for order in orders])
        assert chance_precision(np.array([k]), n)[0] == pytest.approx(mean, abs=1e-12 if n == 5 else 0.012)
    assert np.isnan(chance_precision(np.array([0]), n)[0])


@pytest.mark.parametrize(
    ("y", "s", "message"),
    [
        (np.ones((2, 3), bool), np.ones((3, 2)), "shape"),
        (np.ones((2, 2), bool), np.array([[1, np.nan], [0, 0]]), "NaN"),
    ],
)
def test_what_has_no_rank(y, s, message):
    with pytest.raises(ValueError, match=message):
        average_precision(y, s)


# --- Fisher, odds, calibration -------------------------------------------------------------------------------------

PUBLISHED = [[794_347, 260_786], [56_532, 56_335]]


@pytest.mark.parametrize("table", [[[50, 10], [12, 9]], [[5, 0], [3, 2]], [[9, 9], [1, 1]], [[100, 1], [2, 30]]])
def test_fisher_is_that_of_scipy(table):
    found = fisher_test(np.array(table))
    expected = stats.fisher_exact(table)
    assert found["odds_ratio"] == pytest.approx(expected.statistic)
    assert found["p"] == pytest.approx(expected.pvalue)
    one_side = stats.fisher_exact(table, alternative="greater").pvalue
    assert found["log10_p"] == pytest.approx(np.log10(one_side), abs=1e-9)


def test_the_published_table_has_the_published_odds_and_a_p_value_that_does_not_underflow():
    found = fisher_test(np.array(PUBLISHED))
    assert found["odds_ratio"] == pytest.approx(3.04, abs=0.01)
    assert found["p"] == 0
    assert -1e5 < found["log10_p"] < -5000


def test_odds_within_peaks_are_those_of_mantel_and_haenszel_by_loops():
    y, s = entries()
    called = s > 0.6
    above = below = 0.0
    for j in range(y.shape[1]):
        a, b = np.sum(y[:, j] & called[:, j]), np.sum(y[:, j] & ~called[:, j])
        c, d = np.sum(~y[:, j] & called[:, j]), np.sum(~y[:, j] & ~called[:, j])
        above, below = above + a * d / len(y), below + b * c / len(y)
    assert odds_ratio_within_peaks(y, called) == pytest.approx(above / below)


def test_the_mean_of_each_peak_has_odds_over_all_entries_but_none_within_peaks():
    rng = np.random.default_rng(0)
    share = np.linspace(0.02, 0.5, 50)
    y = rng.random((200, 50)) < share
    called = np.tile(share > 0.2, (200, 1))
    table = np.array([[np.sum(~y & ~called), np.sum(~y & called)], [np.sum(y & ~called), np.sum(y & called)]])
    assert fisher_test(table)["odds_ratio"] > 3
    assert fisher_test(table)["p"] < 1e-100
    assert np.isnan(odds_ratio_within_peaks(y, called))


def test_calibration_is_the_logistic_regression_on_logits():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.02, 0.98, 4000)
    y = rng.random(4000) < 1 / (1 + np.exp(-(0.5 * np.log(p / (1 - p)) - 1)))
    slope, intercept = fit_calibration(y, p)
    oracle = LogisticRegression(C=np.inf, tol=1e-8).fit(np.log(p / (1 - p))[:, None], y)
    assert (slope, intercept) == pytest.approx((oracle.coef_[0, 0], oracle.intercept_[0]), abs=1e-3)
    assert slope == pytest.approx(0.5, abs=0.06)
    fixed = calibrated(p, slope, intercept)
    assert (np.diff(fixed[np.argsort(p)]) >= 0).all()
    assert fixed.mean() == pytest.approx(y.mean(), abs=1e-4)


def test_calibration_never_turns_the_order_around():
    p = np.linspace(0.1, 0.9, 200)
    assert fit_calibration(p < 0.5, p) == (1.0, 0.0)


def test_calibration_table_covers_all_entries():
    y, s = entries()
    table = calibration_table(y, s)
    assert table["n"].sum() == y.size
    assert np.average(table["observed"], weights=table["n"]) == pytest.approx(y.mean())
    assert np.average(table["predicted"], weights=table["n"]) == pytest.approx(s.mean())
    assert len(table) == 10
    assert len(calibration_table(y, np.full(y.shape, 0.3))) == 1


def test_probabilities_keep_their_order_and_their_middle():
    values = np.linspace(-1, 2, 3001)
    p = as_probability(values)
    assert ((p > 0) & (p < 1)).all()
    assert (np.diff(p) > 0).all()
    middle = (values >= 0.01) & (values <= 0.99)
    np.testing.assert_array_equal(p[middle], values[middle])


# --- splits --------------------------------------------------------------------------------------------------------


def test_random_split_has_the_published_shares_and_covers_all_cells_once():
    split = split_cells(1000)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [720, 80, 200]
    np.testing.assert_array_equal(np.sort(np.concatenate([split.train, split.validation, split.test])), np.arange(1000))
    np.testing.assert_array_equal(split_cells(1000).test, split.test)
    assert (split_cells(1000, random_state=1).test != split.test).any()


@pytest.mark.parametrize("n_groups", [2, 3, 8])
def test_groups_are_in_one_part_alone(n_groups):
    groups = np.random.default_rng(0).integers(-1, n_groups, 500)
    split = split_cells(500, groups=groups)
    labels = split.labels(500)
    assert (labels[groups < 0] == "").all()
    test = set(groups[split.test])
    assert not test & set(groups[np.concatenate([split.train, split.validation])])
    assert len(split.test) == np.isin(groups, list(test)).sum()
    if n_groups > 2:
        assert not set(groups[split.train]) & set(groups[split.validation])
    assert min(len(split.train), len(split.validation), len(split.test)) > 0


def test_groups_to_test_on_can_be_named():
    groups = np.arange(100) % 4
    np.testing.assert_array_equal(split_cells(100, groups=groups, test_groups=[2]).test, np.arange(2, 100, 4))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_cells": 3}, "too few"),
        ({"n_cells": 30, "groups": np.zeros(30, int)}, "at least 2"),
        ({"n_cells": 30, "groups": np.arange(30) % 2, "test_groups": [0, 1]}, "leaves 0 cells"),
    ],
)
def test_splits_that_cannot_be_made(kwargs, message):
    with pytest.raises(ValueError, match=message):
        split_cells(**kwargs)


# --- genes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
def test_moments(form):
    X = np.random.default_rng(0).poisson(0.5, (50, 20)).astype(np.float32)
    X[:, 3] = 100
    mean, variance = moments(form(X))
    np.testing.assert_allclose(mean, X.mean(axis=0, dtype=float))
    np.testing.assert_allclose(variance, X.astype(float).var(axis=0), atol=1e-10)


def test_most_variable_never_takes_what_does_not_vary():
    np.testing.assert_array_equal(most_variable(np.array([0, 3, 1, 2, 0.0]), 2), [1, 3])
    np.testing.assert_array_equal(most_variable(np.array([0, 3, 1, 2, 0.0]), 9), [1, 2, 3])


def test_z_scores_are_those_of_the_training_cells_and_sparse_is_dense():
    X = np.random.default_rng(0).poisson(1, (80, 12)).astype(np.float32)
    X[:60, 5] = 0
    scaler = GeneScaler.fit(X[:60], max_value=3)
    expected = (X - X[:60].mean(axis=0)) / np.where(np.arange(12) == 5, 1, X[:60].std(axis=0))
    expected[:, 5] = 0
    expected = np.minimum(expected, 3)
    assert expected.max() == 3
    V = np.random.default_rng(1).standard_normal((12, 4))
    for form in (np.asarray, sparse.csr_matrix):
        clipped = scaler.clip(form(X))
        np.testing.assert_allclose(scaler.rows(clipped, slice(None)), expected, atol=1e-5)
        np.testing.assert_allclose(scaler.times(clipped, V), expected @ V, atol=1e-5)
        np.testing.assert_allclose(scaler.times_transposed(clipped, expected[:, :3]), expected.T @ expected[:, :3],
                                   atol=1e-3)  # fmt: skip


def test_axes_are_principal_components():
    X = np.random.default_rng(0).poisson(2, (200, 30)).astype(np.float32)
    scaler = GeneScaler.fit(X, max_value=np.inf)
    axes, places = components(scaler, scaler.clip(sparse.csr_matrix(X)), 6)
    Z = scaler.rows(X, slice(None)).astype(float)
    oracle = PCA(6, svd_solver="full").fit(Z)
    np.testing.assert_allclose(np.abs(np.sum(axes.T * oracle.components_, axis=1)), 1, atol=1e-5)
    np.testing.assert_allclose(places.var(axis=0, ddof=1), oracle.explained_variance_, rtol=1e-4)
    assert principal_axes(scaler, scaler.clip(X[:5]), 50).shape[1] <= 4


# --- baselines -----------------------------------------------------------------------------------------------------


def test_ridge_is_that_of_scikit_learn_and_ends_at_the_mean(multiome):
    X, Y, _ = arrays(multiome)
    scaler = GeneScaler.fit(X[:800], max_value=10)
    clipped = scaler.clip(X)
    axes, places = components(scaler, clipped[:800], 10)
    path = list(ridge_path(scaler, axes, places, Y[:800].astype(float), None))
    unit = np.trace((places - places.mean(axis=0)).T @ (places - places.mean(axis=0))) / 10
    for ridge in path[:-1:4]:
        oracle = Ridge(alpha=ridge.penalty * unit).fit(places, Y[:800])
        there = scaler.times(clipped[800:], axes)
        np.testing.assert_allclose(ridge.scores(clipped[800:]), as_probability(oracle.predict(there)), atol=1e-7)
    np.testing.assert_allclose(path[-1].scores(clipped[800:]), np.tile(as_probability(Y[:800].mean(axis=0)), (400, 1)))


def test_neighbours_are_the_nearest_by_a_loop(multiome):
    X, Y, _ = arrays(multiome)
    scaler = GeneScaler.fit(X[:300], max_value=10)
    clipped = scaler.clip(X)
    axes, places = components(scaler, clipped[:300], 5)
    mean = Y[:300].mean(axis=0)
    found = Neighbours(scaler, axes, mean, places, Y[:300], 7).scores(clipped[300:310])
    for i, place in enumerate(scaler.times(clipped[300:310], axes)):
        near = np.argsort(np.sum((places - place) ** 2, axis=1))[:7]
        np.testing.assert_allclose(found[i], as_probability((Y[near].sum(axis=0) + 5 * mean) / 12), atol=1e-12)


# --- the model -----------------------------------------------------------------------------------------------------


def test_ridge_comes_near_the_oracle_and_leaves_the_mean_behind(multiome, fitted):
    X, Y, P = arrays(multiome)
    model, split = fitted
    there = split.test
    reached = {name: average_precision(Y[there], model.predict_proba(X[there], model=name))
               for name in model.candidates_}  # fmt: skip
    oracle = average_precision(Y[there], P[there])
    assert list(reached) == ["mean", "ridge", "knn"]
    assert reached["ridge"] > 0.85 * oracle
    assert reached["knn"] > 0.75 * oracle
    assert reached["mean"] < 0.7 * oracle
    assert max(reached.values()) < oracle


def test_probabilities_are_calibrated_on_test_cells(multiome, fitted):
    X, Y, _ = arrays(multiome)
    model, split = fitted
    table = calibration_table(Y[split.test], model.predict_proba(X[split.test]))
    assert np.abs(table["predicted"] - table["observed"]).max() < 0.08


def test_predict_is_the_probability_from_the_threshold_on(multiome, fitted):
    X, _, _ = arrays(multiome)
    model, _ = fitted
    np.testing.assert_array_equal(model.predict(X), model.predict_proba(X) >= np.float32(model.threshold_))
    assert 0 < model.threshold_ < 1


def test_test_cells_are_not_looked_at(multiome, fitted):
    X, Y, _ = arrays(multiome)
    model, split = fitted
    changed, other = Y.copy(), X.copy().tolil()
    changed[split.test] = ~changed[split.test]
    other[split.test[:20]] = 9
    again = AccessibilityModel("ridge").fit(sparse.csr_matrix(other), changed, split)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    pd.testing.assert_frame_equal(again.validation_, model.validation_)


def test_dense_is_sparse(multiome, fitted):
    X, Y, _ = arrays(multiome)
    model, split = fitted
    again = AccessibilityModel("ridge").fit(X.toarray(), Y, split)
    np.testing.assert_allclose(again.predict_proba(X.toarray()), model.predict_proba(X), atol=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_without_coupling_auto_is_not_below_the_mean(seed, monkeypatch):
    from scprograms.accessibility.engine import _model

    def no_torch():
        raise ImportError

    monkeypatch.setattr(_model, "check_torch", no_torch)
    data = simulate_multiome(300, 100, 60, coupling=0, random_state=seed)
    X, Y, _ = arrays(data)
    split = split_cells(300, random_state=seed)
    model = AccessibilityModel("auto").fit(X, Y, split)
    test = split.test
    mean = average_precision(Y[test], model.predict_proba(X[test], model="mean"))
    assert average_precision(Y[test], model.predict_proba(X[test])) >= mean - 0.01


def test_auto_takes_the_best_that_validation_can_tell_and_else_the_simplest(multiome):
    X, Y, _ = arrays(multiome)
    split = split_cells(len(Y))
    model = AccessibilityModel("auto", settings={"hidden": [8], "epochs": 1, "patience": 1}).fit(X, Y, split)
    table = model.validation_
    near = table.index[(table["behind"] <= table["se"]).to_numpy()]
    assert model.model_ == near[0]
    assert table["behind"].min() == 0
    assert model.model_ != "mean"


@pytest.mark.parametrize("name", ["mean", "ridge", "knn"])
@pytest.mark.parametrize("near", [False, True])
def test_a_model_survives_a_file_bit_for_bit(name, near, multiome, tmp_path):
    X, Y, _ = arrays(multiome)
    weights = weights_of(multiome) if near else None
    model = AccessibilityModel(name, n_components=8).fit(X, Y, split_cells(len(Y)), near=weights)
    model.write(tmp_path / "model.npz")
    again = AccessibilityModel.read(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(again.predict_proba(X, model="mean"), model.predict_proba(X, model="mean"))
    assert (again.model_, again.genes_, again.peaks_) == (model.model_, model.genes_, model.peaks_)
    assert again.threshold_ == model.threshold_
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.npz"]
    again.write(tmp_path / "again.npz")
    np.testing.assert_array_equal(AccessibilityModel.read(tmp_path / "again.npz").predict(X), model.predict(X))


def test_an_older_file_stays_whole_where_writing_fails(fitted, tmp_path, monkeypatch):
    model, _ = fitted
    path = tmp_path / "model.npz"
    model.write(path)
    before = path.read_bytes()

    def fail(handle, **arrays):
        handle.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        model.write(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]


@pytest.mark.parametrize("what", ["text", "cut", "pickle", "other", "newer", "missing", "array"])
def test_files_that_are_no_models(what, fitted, tmp_path):
    path = tmp_path / "model.npz"
    if what == "text":
        path.write_text("no archive")
    elif what == "cut":
        fitted[0].write(path)
        path.write_bytes(path.read_bytes()[:2000])
    elif what == "pickle":
        np.savez(path, header=np.array([{"format": "x"}], dtype=object), allow_pickle=True)
    elif what in ("other", "newer"):
        header = {"format": "scprograms.AccessibilityModel" if what == "newer" else "x", "version": 99}
        np.savez(path, header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8))
    elif what == "array":
        with path.open("wb") as handle:
            np.save(handle, np.arange(3))
    message = {"missing": "does not exist", "newer": "newer scprograms", "other": "no model"}.get(what, "damaged")
    with pytest.raises(FileNotFoundError if what == "missing" else ValueError, match=message):
        AccessibilityModel.read(path)


def test_errors_of_the_model(multiome, fitted):
    X, Y, _ = arrays(multiome)
    model, split = fitted
    with pytest.raises(ValueError, match="Choose one of 'auto'"):
        AccessibilityModel("forest")
    with pytest.raises(ValueError, match="X has 9 genes"):
        model.predict_proba(X[:, :9])
    with pytest.raises(ValueError, match="not fitted or not kept"):
        model.predict_proba(X, model="network")
    closed = Y.copy()
    closed[split.validation] = False
    with pytest.raises(ValueError, match=r"No target peak is accessible in the \d+ validation cells"):
        AccessibilityModel("ridge").fit(X, closed, split)
    with pytest.raises(ValueError, match="No gene varies"):
        AccessibilityModel("ridge").fit(np.ones(X.shape), Y, split)
    with pytest.raises(ValueError, match="not fitted"):
        AccessibilityModel("ridge").write("nowhere.npz")
    assert AccessibilityModel("auto").fit(np.ones(X.shape), Y, split).model_ == "mean"


def test_the_network_without_torch_says_what_to_install(multiome, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    X, Y, _ = arrays(multiome)
    split = split_cells(len(Y))
    with pytest.raises(ImportError, match=r'pip install "scprograms\[deep\]"'):
        AccessibilityModel("network").fit(X, Y, split)
    assert AccessibilityModel("auto").fit(X, Y, split).model_ in ("ridge", "knn")


# --- distances -----------------------------------------------------------------------------------------------------


def weights_of(data, scale=20_000.0):
    genes = data["rna"].var
    genes = genes.assign(position=np.where(genes["strand"] == "+", genes["start"], genes["end"]))
    return distance_weights(genes, data["atac"].var, scale=scale)


def test_distance_weights_by_a_loop():
    genes = pd.DataFrame({"chrom": ["chr1", "chr1", "chr2", None], "position": [100.0, 5000, 100, np.nan]})
    peaks = pd.DataFrame({"chrom": ["chr1", "chr2", "chr9"], "start": [150, 50, 1], "end": [400, 300, 2]})
    found = distance_weights(genes, peaks, scale=1000.0).toarray()
    expected = np.zeros((4, 3))
    expected[0, 0] = np.exp(-50 / 1000)
    expected[1, 0] = np.exp(-4600 / 1000)
    expected[2, 1] = 1
    np.testing.assert_allclose(found, expected)
    assert distance_weights(genes, peaks, scale=900.0).toarray()[1, 0] == 0  # beyond five scales
    np.testing.assert_allclose(input_weights(distance_weights(genes, peaks, scale=1000.0), boost=2)[[2, 3]], [3, 1])


def test_local_terms_are_standardized_sums_of_z_scores_near_each_peak(multiome):
    X = multiome["rna"].X
    near = weights_of(multiome)
    scaler = GeneScaler.fit(X, max_value=10, weight=input_weights(near, boost=1))
    clipped = scaler.clip(X)
    term = LocalTerm.fit(near, scaler, clipped)
    Z = scaler.rows(clipped, slice(None)).astype(float) / scaler.weight
    sums = Z @ near.toarray()
    np.testing.assert_allclose(term.training, (sums - sums.mean(axis=0)) / sums.std(axis=0), atol=1e-3)
    np.testing.assert_allclose(term.of(scaler, clipped[:7]), term.training[:7], atol=1e-9)


def test_distances_help_where_peaks_follow_the_gene_beside_them():
    """A peak follows the expression of one gene, which no principal component of few cells can single out."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((700, 400))
    Y = rng.random((700, 100)) < 1 / (1 + np.exp(2 - 1.5 * X[:, :100]))
    near = sparse.csc_array((np.ones(100), (np.arange(100), np.arange(100))), shape=(400, 100))
    split = split_cells(700)
    with_, without = (AccessibilityModel("ridge").fit(X, Y, split, near=n) for n in (near, None))
    test = split.test
    gain = average_precision(Y[test], with_.predict_proba(X[test])) - average_precision(
        Y[test], without.predict_proba(X[test])
    )
    assert gain > 0.1


# --- the report ----------------------------------------------------------------------------------------------------


def test_evaluation_is_what_scikit_learn_says():
    y, s = entries(80, 30)
    mean = np.tile(y[:40].mean(axis=0), (80, 1))
    found = evaluate(y, {"mean": mean, "ridge": s}, thresholds={"mean": 0.2, "ridge": 0.5}, training_mean=mean[0])
    row = found.models.loc["ridge"]
    assert row["pr_auc"] == pytest.approx(average_precision_score(y.ravel(), s.ravel()))
    assert row["brier"] == pytest.approx(brier_score_loss(y.ravel(), s.ravel()))
    assert row["prevalence"] == pytest.approx(y.mean())
    open_cells = y.any(axis=1)
    per_cell = [average_precision_score(a, b) for a, b in zip(y[open_cells], s[open_cells], strict=True)]
    assert row["pr_auc_per_cell"] == pytest.approx(np.mean(per_cell))
    assert row["low"] <= row["pr_auc"] <= row["high"]
    assert row["gain"] == pytest.approx(row["pr_auc"] - untied_precision(y, mean))
    assert row["gain_low"] <= row["gain"] <= row["gain_high"]
    assert found.models.loc["mean", ["gain", "gain_low", "gain_high"]].tolist() == [0, 0, 0]
    np.testing.assert_allclose(found.peaks["mean"], found.peaks["prevalence"].where(y.any(axis=0)), atol=1e-12)
    calls = found.confusion.loc["ridge"]
    assert calls["true_positives"] == np.sum(y & (s >= 0.5))
    assert calls["f1"] == pytest.approx(f1_score(y.ravel(), (s >= 0.5).ravel()))
    counts = calls[["true_negatives", "false_positives", "false_negatives", "true_positives"]].to_numpy(float)
    assert counts.sum() == y.size
    expected = stats.fisher_exact(counts.reshape(2, 2).astype(int))
    assert (calls["odds_ratio"], calls["p"]) == pytest.approx((expected.statistic, expected.pvalue))


def test_intervals_cover_the_spread_over_new_cells():
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 3, (100, 30))
    mean = np.tile(p.mean(axis=0), (100, 1))
    y = rng.random(p.shape) < p
    found = evaluate(y, {"mean": mean, "ridge": p}, thresholds={"mean": 0.2, "ridge": 0.3}, training_mean=mean[0],
                     n_resamples=300)  # fmt: skip
    draws = []
    for _ in range(300):
        rows = rng.beta(0.5, 3, (100, 30))
        draws.append(average_precision(rng.random(rows.shape) < rows, rows))
    width = found.models.loc["ridge", "high"] - found.models.loc["ridge", "low"]
    assert width == pytest.approx(np.quantile(draws, 0.975) - np.quantile(draws, 0.025), rel=0.35)
