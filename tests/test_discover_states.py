"""Discovery of states: planted ones are found, absent ones are not, and its measures are their definitions."""

from __future__ import annotations

import itertools

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

import scprograms as scp
from scprograms import ProgramsWarning
from scprograms._core.workers import active_client, spread
from scprograms.states import _discover_states as module
from scprograms.states.engine.discovery import describe_factors, matched_stability, scaled_genes


@pytest.fixture(scope="module")
def cells():
    return scp.datasets.simulate_states(2000, 500, n_cell_types=2, n_markers=50)


@pytest.fixture(scope="module")
def found(cells):
    return scp.tl.discover_states(cells, "cell_type", sample_key="sample", n_factors=range(2, 6), n_jobs=1, copy=True)


def small(**options):
    return scp.datasets.simulate_states(
        **{"n_obs": 500, "n_vars": 200, "n_samples": 2, "n_cell_types": 1, "n_markers": 40, "effect": 2, **options}
    )


# --- what is found -------------------------------------------------------------------------------------------------


def test_planted_states_are_found(found):
    for name in found.obs["cell_type"].cat.categories:
        part = found.obs[found.obs["cell_type"] == name].dropna(subset=["discovery_state"])
        assert len(part) > 0.85 * (found.obs["cell_type"] == name).sum()
        assert adjusted_rand_score(part["state"], part["discovery_state"]) > 0.95
    assert found.obs["discovery_state"].cat.categories.tolist() == ["state_0", "state_1", "state_2"]


def test_tables_say_what_led_there(found):
    states, types, sweep, markers = (
        scp.get.discovered_states(found, of=of) for of in ("states", "cell_types", "sweep", "markers")
    )
    assert types["n_states"].tolist() == [3, 3]
    assert types["n_labelled"].sum() == found.obs["discovery_state"].notna().sum()
    kept = states[states["kept"]]
    assert (kept["n_markers"] > 10).all()
    assert (kept["negative_ratio"] < 1).all()
    assert (states.loc[~states["kept"], "state"] == "").all()
    for row in kept.itertuples():
        inside = (found.obs["cell_type"] == row.cell_type) & (found.obs["discovery_state"] == row.state)
        assert inside.sum() == row.n_cells
        assert found.obs.loc[inside, "sample"].nunique() == row.n_samples
        assert ((markers["cell_type"] == row.cell_type) & (markers["state"] == row.state)).sum() == row.n_markers
    for name, part in kept.groupby("cell_type"):
        assert part["n_cells"].is_monotonic_decreasing
        assert part["state"].tolist() == [f"state_{i}" for i in range(len(part))], name
    assert sweep.groupby("cell_type")["chosen"].sum().tolist() == [1, 1]
    for _, part in sweep.groupby("cell_type"):
        stable = part[part["stability"] >= 0.9]
        assert part.loc[part["chosen"], "n_factors"].item() == stable["n_factors"].max()
    assert (markers["difference"] >= 0.25).all()


def test_markers_are_planted_ones(found):
    markers = scp.get.discovered_states(found, of="markers")
    for (name, _), part in markers.groupby(["cell_type", "state"]):
        planted = found.varm["true_markers"].filter(regex=f"^{name}:").loc[part["gene"]]
        assert (planted != 0).any(axis=1).mean() > 0.9
        assert part["difference"].is_monotonic_decreasing


def test_labels_train_a_recovery_model(found):
    with pytest.warns(ProgramsWarning):
        model = scp.tl.train_recovery(found, "discovery_state", "cell_type", sample_key="sample", n_runs=3, n_jobs=1)
    assert model.states == {name: ["state_0", "state_1", "state_2"] for name in ("type_0", "type_1")}


def test_where_there_are_none_none_are_found():
    adata = scp.datasets.simulate_states(1000, 400, n_cell_types=1, effect=0)
    with pytest.warns(ProgramsWarning, match=r"No cell type has states \(type_0: 0 of \d factors are states"):
        scp.tl.discover_states(adata, "cell_type", sample_key="sample", n_factors=range(2, 5), n_jobs=1)
    assert adata.obs["discovery_state"].isna().all()
    assert scp.get.discovered_states(adata)["kept"].sum() == 0
    assert scp.get.discovered_states(adata, of="markers").empty


def test_unstable_numbers_of_factors_are_refused():
    adata = small(effect=0.3)
    with pytest.warns(ProgramsWarning, match="stability is at most"):
        scp.tl.discover_states(adata, "cell_type", n_factors=[5, 6], min_stability=0.99, n_jobs=1)
    assert not scp.get.discovered_states(adata, of="sweep")["chosen"].any()
    scp.tl.discover_states(adata, "cell_type", n_factors=3, min_stability=1, max_negative_ratio=9, min_markers=0)
    assert scp.get.discovered_states(adata, of="sweep")["chosen"].all()  # a single number is not chosen, but given


# --- invariances ---------------------------------------------------------------------------------------------------


def test_types_do_not_matter_to_each_other(cells, found):
    one = cells[cells.obs["cell_type"] == "type_1"].copy()
    scp.tl.discover_states(one, "cell_type", sample_key="sample", n_factors=range(2, 6), n_jobs=1)
    assert one.obs["discovery_state"].astype(str).equals(found.obs.loc[one.obs_names, "discovery_state"].astype(str))


def test_dense_and_sparse_and_threads_agree():
    adata = small()
    dense = adata.copy()
    dense.X = dense.X.toarray()
    options = {"sample_key": "sample", "n_factors": [2, 3], "max_negative_ratio": 1.5}
    for n_jobs, part in ((1, adata), (2, dense)):
        scp.tl.discover_states(part, "cell_type", **options, n_jobs=n_jobs)
    assert adata.obs["discovery_state"].equals(dense.obs["discovery_state"])
    pd.testing.assert_frame_equal(adata.uns["discovery"]["states"], dense.uns["discovery"]["states"])


def test_a_dask_client_does_the_same():
    distributed = pytest.importorskip("distributed")
    adata = small(n_cell_types=2)
    options = {"sample_key": "sample", "n_factors": [2, 3], "max_negative_ratio": 1.5, "n_jobs": 1}
    scp.tl.discover_states(adata, "cell_type", **options)
    assert active_client() is None
    with distributed.Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as client:
        assert active_client() is client
        again = scp.tl.discover_states(adata, "cell_type", **options, copy=True)
    assert active_client() is None
    assert adata.obs["discovery_state"].notna().any()
    assert again.obs["discovery_state"].equals(adata.obs["discovery_state"])


def test_tasks_come_back_in_their_order(monkeypatch):
    tasks = [(i, "x") for i in range(4)]
    plain = [(0, "x", 1), (1, "x", 1), (2, "x", 1), (3, "x", 1)]
    assert spread(_task, tasks, n_jobs=1, worth_processes=True) == plain
    assert spread(_task, tasks, n_jobs=3, worth_processes=False) == [(i, "x", 3) for i in range(4)]
    assert spread(_task, tasks[:1], n_jobs=3, worth_processes=True) == [(0, "x", 3)]
    import joblib

    with joblib.parallel_config(backend="threading"):
        assert spread(_task, tasks, n_jobs=2, worth_processes=True) == plain


def _task(i, name, *, n_jobs):
    return i, name, n_jobs


def test_results_survive_the_disk_and_the_input_stays(cells, found, tmp_path):
    assert "discovery_state" not in cells.obs
    assert "discovery" not in cells.uns
    found.write_h5ad(tmp_path / "found.h5ad")
    again = ad.read_h5ad(tmp_path / "found.h5ad")
    for of in ("states", "cell_types", "sweep", "markers"):
        pd.testing.assert_frame_equal(
            scp.get.discovered_states(again, of=of).astype(object).reset_index(drop=True),
            scp.get.discovered_states(found, of=of).astype(object),
            check_column_type=False,
            check_dtype=False,
        )
    assert again.obs["discovery_state"].astype(str).equals(found.obs["discovery_state"].astype(str))
    assert again.uns["discovery"]["params"]["cell_type_key"] == "cell_type"


# --- the measures, by their definitions ----------------------------------------------------------------------------


def test_scaled_genes_are_z_scores_within_samples_of_the_most_variable():
    rng = np.random.default_rng(0)
    X = rng.gamma(0.5, rng.gamma(1, size=30), size=(90, 30)).astype(np.float32) * (rng.random((90, 30)) < 0.6)
    X[:, 3] = 0
    samples = np.repeat([5, 2, 9], 30)
    X[samples == 2, 7] = 1.5
    for matrix in (X, sparse.csr_matrix(X)):
        Z, genes = scaled_genes(matrix, samples, 12)
        assert Z.dtype == np.float32
        ranks = sum(
            pd.Series(np.delete(X[samples == s].astype(float).std(axis=0), 3)).rank(method="first") for s in (5, 2, 9)
        )
        expected = np.delete(np.arange(30), 3)[np.argsort(-ranks.to_numpy(), kind="stable")[:12]]
        assert set(genes) == set(expected)
        for s in (5, 2, 9):
            part = X[samples == s][:, genes].astype(float)
            sd = part.std(axis=0)
            np.testing.assert_allclose(
                Z[samples == s], np.clip((part - part.mean(axis=0)) / np.where(sd > 0, sd, 1), -10, 10), atol=1e-5
            )


def test_stability_is_the_mean_cosine_of_the_best_matching():
    rng = np.random.default_rng(1)
    loadings = rng.gamma(1, size=(3, 20))
    runs = np.stack([loadings[rng.permutation(3)] + 0.3 * rng.gamma(1, size=(3, 20)) for _ in range(4)])
    total = np.zeros(3)
    for run in runs:
        D, E = (part[:, :10] - part[:, 10:] for part in (loadings, run))
        cosine = (D @ E.T) / np.outer(np.linalg.norm(D, axis=1), np.linalg.norm(E, axis=1))
        best = max(itertools.permutations(range(3)), key=lambda p: sum(cosine[i, p[i]] for i in range(3)))
        total += [cosine[i, best[i]] for i in range(3)]
    np.testing.assert_allclose(matched_stability(loadings, runs), total / 4, atol=1e-12)


def test_factors_are_described_by_their_definitions():
    rng = np.random.default_rng(2)
    n, p, k = 60, 8, 4
    scaled, usages, loadings = rng.normal(size=(n, p)), rng.gamma(0.5, size=(n, k)), rng.gamma(1, size=(k, 2 * p))
    loadings[1, p:] *= 5  # no candidate
    usages[:, 3] = 0  # a factor that no cell uses
    usages[0] = 0
    found = describe_factors(scaled, usages, loadings, loadings[None], min_difference=0.1, max_negative_ratio=1.5)
    norms = np.sqrt((loadings**2).sum(axis=1))
    sizes = dict.fromkeys(range(k), 0)
    labels = []
    for row in usages:
        best = max(range(k), key=lambda j: row[j] * norms[j])
        labels.append(best if row.any() else -1)
        sizes[best] += bool(row.any())
    order = sorted(range(k), key=lambda j: -sizes[j])
    assert found.order.tolist() == order
    assert found.labels.tolist() == [order.index(label) if label >= 0 else -1 for label in labels]
    ratio = {j: loadings[j, p:].sum() / loadings[j, :p].sum() for j in range(k)}
    candidates = [j for j in range(k) if ratio[j] < 1.5 and sizes[j]]
    np.testing.assert_allclose(found.negative_ratio, [ratio[j] for j in order])
    assert found.candidates.tolist() == [j in candidates for j in order]
    assert 1 not in candidates
    means = {
        j: scaled[[i for i in range(n) if labels[i] == j]].mean(axis=0) if sizes[j] else np.zeros(p) for j in order
    }
    for place, j in enumerate(order):
        others = [c for c in candidates if c != j]
        difference = means[j] - np.max([means[c] for c in others], axis=0)
        weight = loadings[j, :p] / norms[j] - np.max([loadings[c, :p] / norms[c] for c in others], axis=0)
        np.testing.assert_allclose(found.difference[place], difference)
        expected = (difference >= 0.1) & (weight > 0) & (sizes[j] > 0)
        np.testing.assert_array_equal(found.markers[place], expected)
    assert found.kept(min_markers=0).sum() <= len(candidates)


# --- what is refused, and what is left out -------------------------------------------------------------------------


def test_small_types_and_unknown_cells_are_left_out():
    adata = small(n_cell_types=2)
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(object)
    adata.obs.iloc[:30, adata.obs.columns.get_loc("cell_type")] = "few"
    adata.obs.iloc[30:40, adata.obs.columns.get_loc("cell_type")] = None
    with pytest.warns(ProgramsWarning, match="missing for 10 of 500 cells"):
        scp.tl.discover_states(adata, "cell_type", sample_key="sample", n_factors=3, max_negative_ratio=1.5, n_jobs=1)
    table = scp.get.discovered_states(adata, of="cell_types").set_index("cell_type")
    assert table.loc["few", "note"] == "fewer than min_cells=50 cells"
    assert adata.obs["discovery_state"].iloc[:40].isna().all()
    assert table.drop(index="few")["n_states"].tolist() == [3, 3]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cell_type_key": "nothing"}, KeyError, "'nothing' is not in adata.obs"),
        ({"sample_key": "nothing"}, KeyError, "'nothing' is not in adata.obs"),
        ({"layer": "nothing"}, KeyError, "'nothing' is not in adata.layers"),
        ({"n_factors": 1}, ValueError, "n_factors=1 is too small"),
        ({"n_factors": []}, ValueError, "n_factors is empty"),
        ({"n_factors": "3"}, TypeError, "n_factors='3'"),
        ({"n_factors": [2.0]}, TypeError, "n_factors=2.0"),
        ({"n_runs": 1}, ValueError, "n_runs=1"),
        ({"min_stability": 2}, ValueError, "min_stability=2"),
        ({"min_cells": 1}, ValueError, "min_cells=1"),
        ({"random_state": -1}, ValueError, "random_state=-1"),
        ({"key_added": "a/b"}, ValueError, "key_added='a/b'"),
    ],
)
def test_bad_arguments_change_nothing(options, error, message):
    adata = small(n_obs=60)
    before = adata.copy()
    with pytest.raises(error, match=message):
        scp.tl.discover_states(adata, **{"cell_type_key": "cell_type", **options})
    assert list(adata.obs) == list(before.obs)
    assert list(adata.uns) == list(before.uns)


def test_bad_data():
    adata = small(n_obs=60)
    twice = adata.copy()
    twice.var_names = ["same"] * 2 + twice.var_names[2:].tolist()
    with pytest.raises(ValueError, match=r"duplicates \('same'\)"):
        scp.tl.discover_states(twice, "cell_type")
    unknown = adata.copy()
    unknown.obs["cell_type"] = pd.Categorical([None] * adata.n_obs)
    with pytest.raises(ValueError, match="no label at all"):
        scp.tl.discover_states(unknown, "cell_type")
    nan = adata.copy()
    nan.X.data[0] = np.nan
    with pytest.raises(ValueError, match="1 NaN"):
        scp.tl.discover_states(nan, "cell_type")
    with pytest.raises(TypeError, match="AnnData is needed"):
        scp.tl.discover_states(adata.X, "cell_type")
    with pytest.warns(ProgramsWarning, match="holds integers"):
        scp.tl.discover_states(adata, "cell_type", layer="counts", n_factors=2)


def test_genes_that_do_not_vary():
    adata = ad.AnnData(
        np.ones((80, 5), np.float32), obs=pd.DataFrame({"t": ["a"] * 80}, index=[str(i) for i in range(80)])
    )
    with pytest.warns(ProgramsWarning) as caught:
        scp.tl.discover_states(adata, "t")
    assert any("fewer than 2 genes vary within samples" in str(w.message) for w in caught)


def test_getters_say_what_is_missing(cells):
    with pytest.raises(KeyError, match="no discovery of states under key='discovery'"):
        scp.get.discovered_states(cells)
    with pytest.raises(KeyError, match="recover_states"):
        scp.get.recovered_states(cells)
    with pytest.raises(KeyError, match="cross_validate_recovery"):
        scp.get.recovery_confusion(cells)


def test_the_default_range_is_tried():
    assert module._check_numbers(None) == list(range(2, 9))
    assert module._check_numbers((4, 2, 4)) == [2, 4]
