"""Consensus: programs that come back, the same whatever the threads or interruptions, and each with its stability."""

from __future__ import annotations

import tracemalloc
import warnings
from pathlib import Path

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import roc_auc_score

import scprograms as scp
from planted import matched_correlations, planted
from scprograms import ProgramsWarning
from scprograms.programs import _checkpoint
from scprograms.programs.engine import NMF, OrthogonalNMF, SemiNMF, consensus_programs, pooled_similarity

mpl.use("Agg")

METHODS = ("semi_nmf", "nmf", "onmf")
KEY = "semi_nmf_consensus"


def log_normalised(adata):
    X = adata.X.copy()
    X.data *= np.repeat(1e4 / np.asarray(X.sum(axis=1)).ravel(), np.diff(X.indptr)).astype(np.float32)
    adata.X = X.log1p()
    return adata


@pytest.fixture(scope="module")
def screen():
    return log_normalised(scp.datasets.simulate_screen(1000, 400, 8, n_perturbations=6, random_state=0))


@pytest.fixture(scope="module")
def small():
    adata = log_normalised(scp.datasets.simulate_screen(300, 120, 4, n_cell_types=2, n_perturbations=4))
    adata.var["some"] = np.arange(adata.n_vars) % 4 != 0
    return adata


@pytest.fixture(scope="module")
def done(small):
    return scp.tl.consensus(small, 4, n_runs=6, copy=True)


def same(a, b, key=KEY):
    np.testing.assert_array_equal(a.obsm[f"X_{key}"], b.obsm[f"X_{key}"])
    np.testing.assert_array_equal(a.varm[f"{key}_loadings"], b.varm[f"{key}_loadings"])
    pd.testing.assert_frame_equal(a.uns[key]["programs"], b.uns[key]["programs"])
    pd.testing.assert_frame_equal(a.uns[key]["consensus"]["cosines"], b.uns[key]["consensus"]["cosines"])


# --- what it finds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "single", "margin"), [("semi_nmf", SemiNMF, 0.002), ("nmf", NMF, 0.02)])
@pytest.mark.parametrize("grouping", ["align", "kmeans"])
def test_no_worse_than_a_single_run_on_planted_programs(screen, method, single, margin, grouping):
    found = consensus_programs(screen.X, 8, method=method, grouping=grouping, n_runs=10, random_state=0)
    truth = screen.obsm["true_usages"]
    alone = matched_correlations(single(8, random_state=0).fit_transform(screen.X), truth).mean()
    assert matched_correlations(found.usages, truth).mean() >= alone - margin
    assert found.model.error_ >= found.model.error_bound_ * (1 - 1e-6)


@pytest.mark.parametrize("grouping", ["align", "kmeans"])
def test_spurious_programs_are_the_unstable_ones(screen, grouping):
    found = consensus_programs(screen.X, 12, grouping=grouping, n_runs=20, random_state=0)
    truth = screen.obsm["true_usages"]
    correlation = np.corrcoef(found.usages.T, truth.T)[:12, 12:]
    real = np.isin(np.arange(12), linear_sum_assignment(-correlation)[0])
    assert roc_auc_score(real, found.stability) >= 0.9


def test_exact_programs_are_found_exactly():
    X, W, H = planted(500, 60, 4, signed=True, noise=0.0)
    found = consensus_programs(X, 4, n_runs=5, random_state=0)
    assert found.stability.min() > 0.999
    # Loadings of unit norm in the span of the true ones, and an error of nothing but the penalty.
    assert np.linalg.lstsq(H.T, found.model.components_.T)[1].max(initial=0) < 1e-10
    assert found.model.error_ < 0.05 * np.linalg.norm(X)
    assert matched_correlations(found.usages, W).min() > 0.95


def test_stability_is_the_mean_matched_cosine(small):
    """By hand, from the runs."""
    found = consensus_programs(small.X, 5, n_runs=4, random_state=3)
    H = found.model.components_.astype(float)
    H /= np.linalg.norm(H, axis=1, keepdims=True)
    expected = np.zeros(5)
    for run in found.runs.astype(float):
        np.testing.assert_allclose(np.linalg.norm(run, axis=1), 1, rtol=1e-5)
        cosine = H @ run.T
        rows, columns = linear_sum_assignment(cosine, maximize=True)
        expected += cosine[rows, columns] / 4
    np.testing.assert_allclose(found.stability, expected, atol=1e-5)


def test_aligned_loadings_are_means_of_the_matched(small):
    found = consensus_programs(small.X, 4, n_runs=5, random_state=0)
    mean = np.stack([run[match] for run, match in zip(found.runs, found.matches, strict=True)]).mean(axis=0)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(found.model.components_, mean, atol=1e-5)


def test_usages_are_those_of_the_loadings(small):
    found = consensus_programs(small.X, 4, n_runs=5, random_state=0)
    np.testing.assert_allclose(found.model.transform(small.X), found.usages, atol=1e-4)
    assert (np.diff(found.model.variance_explained_) <= 0).all()


def test_signed_data_get_a_baseline():
    X = planted(300, 50, 3, signed=True)[0]
    X -= X.mean(axis=0)
    found = consensus_programs(X, 3, n_runs=4, random_state=0)
    assert np.abs(found.model.baseline_).max() > 0
    assert found.stability.min() > 0.9


def test_nmf_keeps_given_loadings(small):
    fitted = NMF(4, random_state=0)
    W = fitted.fit_transform(small.X)
    again = NMF(4, random_state=0)
    np.testing.assert_allclose(again.fit_transform(small.X, H=3 * fitted.components_[::-1]), W, atol=1e-4)
    np.testing.assert_allclose(again.components_, fitted.components_, atol=1e-6)
    assert again.error_ == pytest.approx(fitted.error_, rel=1e-6)
    with pytest.raises(ValueError, match="H has 4 negative values; loadings are never negative here"):
        again.fit_transform(small.X, H=np.where(np.arange(120) == 3, -1, fitted.components_))
    with pytest.raises(ValueError, match=r"H has shape \(3, 120\)"):
        again.fit_transform(small.X, H=fitted.components_[:3])


@pytest.mark.parametrize("k", [1, 2])
def test_few_programs(small, k):
    found = consensus_programs(small.X, k, n_runs=2, random_state=0)
    assert found.usages.shape == (small.n_obs, k)
    similarity, runs, programs = pooled_similarity(found, at_most=300)
    np.testing.assert_allclose(np.diag(similarity), 1, atol=1e-5)
    assert runs.tolist() == [0, 1] * k
    assert programs.tolist() == np.repeat(range(k), 2).tolist()


# --- the density filter --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grouping", ["align", "kmeans"])
def test_density_filter(screen, grouping):
    options = {"n_runs": 8, "grouping": grouping, "random_state": 0}
    plain = consensus_programs(screen.X, 12, **options)
    all_kept = consensus_programs(screen.X, 12, density_threshold=2, **options)
    np.testing.assert_array_equal(plain.model.components_, all_kept.model.components_)
    filtered = consensus_programs(screen.X, 12, density_threshold=0.3, **options)
    assert not np.array_equal(plain.model.components_, filtered.model.components_)
    np.testing.assert_array_equal(plain.runs, filtered.runs)
    with pytest.raises(ValueError, match=r"leaves \d+ of 96 programs of the runs, fewer than 12.*Raise it"):
        consensus_programs(screen.X, 12, density_threshold=1e-4, **options)


def test_density_by_brute_force(small):
    from scprograms.programs.engine._consensus import _dense_enough

    runs = consensus_programs(small.X, 5, n_runs=10, random_state=0).runs
    pooled = runs.reshape(-1, runs.shape[2]).astype(float)
    distance = np.linalg.norm(pooled[:, None] - pooled[None], axis=2)
    density = np.sort(distance, axis=1)[:, 1:4].mean(axis=1)
    threshold = float(np.median(density)) + 1e-4
    np.testing.assert_array_equal(_dense_enough(runs, threshold).ravel(), density <= threshold)


# --- the same result ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_threads_change_nothing(screen, method):
    X = sparse.vstack([screen.X] * 6).tocsr()  # several blocks of rows
    one, two = (consensus_programs(X, 4, method=method, n_runs=3, random_state=1, n_jobs=n) for n in (1, 2))
    np.testing.assert_array_equal(one.runs, two.runs)
    np.testing.assert_array_equal(one.usages, two.usages)
    np.testing.assert_array_equal(one.model.components_, two.model.components_)


@pytest.mark.parametrize("grouping", ["align", "kmeans"])
def test_same_seed_same_result(small, grouping):
    results = [scp.tl.consensus(small, 4, n_runs=4, grouping=grouping, random_state=5, copy=True) for _ in range(2)]
    same(*results)
    other = scp.tl.consensus(small, 4, n_runs=4, grouping=grouping, random_state=6, copy=True)
    assert not np.array_equal(other.obsm[f"X_{KEY}"], results[0].obsm[f"X_{KEY}"])


def test_a_run_depends_neither_on_its_neighbours_nor_on_how_many_there_are(small):
    few, many = (consensus_programs(small.X, 4, n_runs=n, random_state=0).runs for n in (3, 6))
    np.testing.assert_array_equal(few, many[:3])
    assert not np.array_equal(many[0], many[1])


def test_dense_equals_sparse(small):
    a, b = (consensus_programs(X, 4, n_runs=3, random_state=0) for X in (small.X, small.X.toarray()))
    np.testing.assert_allclose(a.model.components_, b.model.components_, atol=1e-3)


def test_memory_does_not_grow_with_runs_times_cells(screen):
    X = sparse.vstack([screen.X] * 4).tocsr()
    peaks = []
    for n_runs in (4, 24):
        tracemalloc.start()
        consensus_programs(X, 4, n_runs=n_runs, random_state=0, n_jobs=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 20 * 4 * X.shape[0] * 4 / 2  # half of what 20 more usages of 4000 x 4 would take


# --- interrupted and resumed (rows 85 to 88) ----------------------------------------------------------------------


def count_runs(monkeypatch, *, stop_at=None, error=KeyboardInterrupt):
    """Count the runs that are computed, full-data fits aside, and stop one of them."""
    from scprograms.programs.engine import _consensus

    computed, original = [], _consensus.unit_loadings_of

    def counted(X, *args, **kwargs):
        if X.shape[0] < 300:
            computed.append(X.shape[0])
            if len(computed) == stop_at:
                raise error("stopped")
        return original(X, *args, **kwargs)

    monkeypatch.setattr(_consensus, "unit_loadings_of", counted)
    return computed


def test_resumed_is_uninterrupted_and_leaves_no_partial_keys_row_88(small, done, tmp_path, monkeypatch):
    adata = small.copy()
    with monkeypatch.context() as patched:
        count_runs(patched, stop_at=4)
        with pytest.raises(KeyboardInterrupt):
            scp.tl.consensus(adata, 4, n_runs=6, checkpoint=tmp_path / "runs")
    assert set(adata.uns) == set(small.uns)
    assert set(adata.obsm) == set(small.obsm)
    assert len(list((tmp_path / "runs").iterdir())) == 3

    computed = count_runs(monkeypatch)
    scp.tl.consensus(adata, 4, n_runs=6, checkpoint=tmp_path / "runs", n_jobs=1)
    assert len(computed) == 3
    same(adata, done)


def test_a_failing_run_is_named_row_87(small, monkeypatch):
    count_runs(monkeypatch, stop_at=2, error=RuntimeError)
    with pytest.raises(RuntimeError) as caught:
        scp.tl.consensus(small.copy(), 4, n_runs=3, random_state=7)
    assert caught.value.__notes__ == ["In run 1 of 3 with 4 programs and random_state=7."]


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "other shape", "not finite", "text"])
def test_damaged_files_are_computed_again_row_86(small, done, tmp_path, damage):
    scp.tl.consensus(small, 4, n_runs=6, checkpoint=tmp_path, copy=True)
    file = sorted(tmp_path.iterdir())[2]
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif damage == "other shape":
        np.savez(file, loadings=np.ones((3, 7), dtype=np.float32))
    elif damage == "not finite":
        np.savez(file, loadings=np.full((4, small.n_vars), np.nan, dtype=np.float32))
    else:
        file.write_bytes({"truncated": content[:200], "empty": b"", "text": b"loadings"}[damage])
    with pytest.warns(ProgramsWarning, match="the run is computed again"):
        again = scp.tl.consensus(small, 4, n_runs=6, checkpoint=tmp_path, copy=True)
    same(again, done)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(scp.tl.consensus(small, 4, n_runs=6, checkpoint=tmp_path, copy=True), done)


@pytest.mark.parametrize(
    "other", [{"method": "nmf"}, {"subsample": 0.5}, {"random_state": 1}, {"n_programs": 3}, {"mask_var": "some"}, {}]
)
def test_runs_of_other_data_or_arguments_never_mix_row_85(small, tmp_path, monkeypatch, other):
    scp.tl.consensus(small, 4, n_runs=2, checkpoint=tmp_path, copy=True)
    changed, computed = small.copy(), count_runs(monkeypatch)
    if not other:  # one value of the matrix
        changed.X.data[17] += 0.5
    options = {"n_programs": 4, "n_runs": 2, **other}
    with pytest.warns(ProgramsWarning, match="holds 2 runs of other data or arguments: they are not used"):
        scp.tl.consensus(changed, checkpoint=tmp_path, **options)
    assert len(computed) == 2
    assert len(list(tmp_path.iterdir())) == 4


def test_more_runs_and_another_grouping_continue(small, tmp_path, monkeypatch):
    scp.tl.consensus(small, 4, n_runs=3, checkpoint=tmp_path, copy=True)
    computed = count_runs(monkeypatch)
    scp.tl.consensus(small, 4, n_runs=5, grouping="kmeans", checkpoint=tmp_path, copy=True)
    assert len(computed) == 2


def test_digest_sees_every_part_of_a_matrix():
    X = sparse.random(50, 30, 0.2, format="csr", random_state=0, dtype=np.float32)
    seen = {_checkpoint.digest(M, {"a": 1}) for M in (X, X.toarray(), X.tocsc(), X.astype(float), X[:, ::-1], X[:-1])}
    assert len(seen | {_checkpoint.digest(X, {"a": 2})}) == 7
    assert _checkpoint.digest(X.copy(), {"a": 1}) == _checkpoint.digest(X, {"a": 1})
    dense = X.toarray()
    assert _checkpoint.digest(dense, {}) == _checkpoint.digest(np.asfortranarray(dense), {})


def test_nothing_is_left_of_a_failed_write(small, tmp_path, monkeypatch):
    def full(path, **arrays):
        Path(path).write_bytes(b"half")
        msg = "No space left on device"
        raise OSError(msg)

    monkeypatch.setattr(_checkpoint.np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        scp.tl.consensus(small.copy(), 4, n_runs=2, checkpoint=tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- slots ---------------------------------------------------------------------------------------------------------


def test_slots_and_reader(small, done):
    before = {slot: set(getattr(small, slot)) for slot in ("obs", "var", "obsm", "varm", "uns")}
    new = {slot: set(getattr(done, slot)) - names for slot, names in before.items()}
    assert new == {
        "obs": {f"{KEY}_program"},
        "var": set(),
        "obsm": {f"X_{KEY}"},
        "varm": {f"{KEY}_loadings", f"{KEY}_model"},
        "uns": {KEY},
    }
    entry, cosines = done.uns[KEY], scp.get.consensus(done)
    assert entry["params"] == {
        "n_programs": 4,
        "init": "varimax",
        "random_state": 0,
        "method": "semi_nmf",
        "n_runs": 6,
        "subsample": 0.7,
        "grouping": "align",
    }
    np.testing.assert_allclose(entry["programs"]["stability"], cosines.mean())
    assert cosines.shape == (6, 4)
    assert done.obsm[f"X_{KEY}"].dtype == np.float32
    assert entry["history"]["loss"].iloc[-1] == entry["error"]
    similarity = scp.get.consensus_similarity(done)
    assert similarity.shape == (24, 24)
    assert similarity.index.get_level_values("program").tolist() == np.repeat(list(cosines), 6).tolist()
    np.testing.assert_allclose(np.diag(similarity), 1, atol=1e-5)


def test_nmf_and_genes_outside_the_fit(small):
    adata = scp.tl.consensus(small, 4, method="nmf", n_runs=3, mask_var="some", copy=True)
    loadings = adata.varm["nmf_consensus_loadings"]
    assert loadings.shape == (120, 4)
    assert (loadings >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(loadings[small.var["some"]], axis=0), 1, rtol=1e-5)
    assert loadings[~small.var["some"]].any()


def test_onmf_keeps_every_gene_in_one_program(screen):
    found = consensus_programs(screen.X, 8, method="onmf", n_runs=6, random_state=0)
    H = found.model.components_.astype(float)
    assert np.linalg.norm(H @ H.T - np.eye(8)) < 1e-5
    np.testing.assert_allclose(found.usages, screen.X @ H.T, atol=1e-3)
    alone = OrthogonalNMF(8, random_state=0).fit_transform(screen.X)
    truth = screen.obsm["true_usages"]
    assert matched_correlations(found.usages, truth).mean() >= matched_correlations(alone, truth).mean() - 0.01

    adata = scp.tl.consensus(screen, 8, method="onmf", n_runs=6, copy=True)
    loadings = adata.varm["onmf_consensus_loadings"]
    assert (np.count_nonzero(loadings, axis=1) <= 1).all()
    names = adata.var["onmf_consensus_program"].astype(str).to_numpy()
    assigned = loadings.any(axis=1)
    assert names[assigned].tolist() == [f"program_{i}" for i in loadings[assigned].argmax(axis=1)]
    assert set(names[~assigned]) <= {"unassigned"}


@pytest.mark.filterwarnings("ignore:.*may hold guides or replicates")
def test_other_verbs_take_it(done):
    scp.tl.program_anova(done, "perturbation", key=KEY)
    assert len(scp.get.anova(done, "perturbation", key=KEY)) == 4
    assert scp.get.top_genes(done, key=KEY, n_genes=3).shape == (3, 4)


def test_h5ad_round_trip(done, tmp_path):
    done.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    same(done, back)
    pd.testing.assert_frame_equal(scp.get.consensus(back), scp.get.consensus(done), check_names=False)
    np.testing.assert_array_equal(scp.get.consensus_similarity(back), scp.get.consensus_similarity(done))
    assert set(scp.pl.consensus(back, show=False)) == {"heatmap", "programs", "stability", "colorbar"}


def test_what_is_stored_of_the_runs_stays_small(small):
    adata = scp.tl.consensus(small, 10, n_runs=40, copy=True)
    assert scp.get.consensus(adata).shape == (40, 10)
    similarity = scp.get.consensus_similarity(adata)
    assert similarity.shape == (300, 300)
    assert similarity.index.get_level_values("run").min() == 0
    assert similarity.index.get_level_values("run").max() == 39


# --- the figure ----------------------------------------------------------------------------------------------------


def test_figure_shows_the_tables(done, tmp_path):
    axes = scp.pl.consensus(done, show=False, save=tmp_path / "a.png")
    similarity, stability = scp.get.consensus_similarity(done), done.uns[KEY]["programs"]["stability"]
    np.testing.assert_allclose(axes["heatmap"].images[0].get_array(), similarity)
    np.testing.assert_allclose([bar.get_width() for bar in axes["stability"].patches], stability)
    centers = [bar.get_y() + bar.get_height() / 2 for bar in axes["stability"].patches]
    np.testing.assert_allclose(centers, np.arange(4) * 6 + 2.5)
    assert axes["stability"].get_ylim() == axes["heatmap"].get_ylim()
    assert axes["programs"].images[0].get_array().ravel().tolist() == np.repeat(range(4), 6).tolist()
    texts = [text.get_text() for text in axes["heatmap"].texts]
    assert texts == list(stability.index)
    assert (tmp_path / "a.png").stat().st_size > 1000
    mpl.pyplot.close("all")


# --- bad inputs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "pca"}, ValueError, "method='pca' is not known.*'semi_nmf', 'nmf', 'onmf'"),
        ({"grouping": "mean"}, ValueError, "grouping='mean' is not known.*'align', 'kmeans'"),
        ({"n_programs": 0}, ValueError, "n_programs=0 is too small"),
        ({"n_runs": 1}, ValueError, "n_runs=1 is too small; pass an integer of at least 2"),
        ({"n_runs": 2.0}, TypeError, "n_runs=2.0 is a float"),
        ({"subsample": 0}, ValueError, "subsample=0 draws no cell"),
        ({"subsample": 1.5}, ValueError, r"subsample=1.5 is out of range"),
        ({"density_threshold": -1}, ValueError, "density_threshold=-1 is out of range"),
        ({"density_threshold": 3}, ValueError, "density_threshold=3 is out of range"),
        ({"key_added": "a/b"}, ValueError, "key_added='a/b' cannot name a slot"),
        ({"layer": "counts2"}, KeyError, "'counts2' is not in adata.layers"),
        ({"mask_var": "nothing"}, KeyError, "'nothing' is not in adata.var"),
        ({"random_state": "zero"}, TypeError, "random_state='zero' is a str"),
        ({"n_jobs": 0}, ValueError, "n_jobs=0 is not possible"),
        ({"checkpoint": 3}, TypeError, "checkpoint=3 is a int"),
        ({"checkpoint": __file__}, NotADirectoryError, "is a file; pass a folder"),
        ({"checkpoint": "x", "random_state": None}, ValueError, "random_state=None cannot be found again"),
    ],
)
def test_bad_arguments(small, options, error, message):
    adata = small.copy()
    with pytest.raises(error, match=message):
        scp.tl.consensus(adata, **{"n_programs": 3, "n_runs": 2, **options})
    assert not adata.uns.keys() - small.uns.keys()
    assert not Path("x").exists()


def test_negative_values_are_refused_for_nmf(small):
    adata = small.copy()
    adata.X = adata.X.toarray() - 1
    with pytest.raises(ValueError, match=r"negative values.*use scp\.tl\.semi_nmf"):
        scp.tl.consensus(adata, 3, method="nmf", n_runs=2)
    with pytest.raises(TypeError, match=r"adata is a numpy\.ndarray"):
        scp.tl.consensus(adata.X, 3)


@pytest.mark.parametrize("function", [scp.get.consensus, scp.get.consensus_similarity, scp.pl.consensus])
def test_readers_say_what_is_missing(small, function):
    adata = small.copy()
    with pytest.raises(KeyError, match=r"no factorization under key='semi_nmf_consensus'.*tl\.consensus\(adata"):
        function(adata)
    scp.tl.semi_nmf(adata, 3)
    with pytest.raises(KeyError, match=r"Make one with scp\.tl\.consensus"):
        function(adata, key="semi_nmf")


def test_start_is_chosen_by_what_comes_back(screen):
    X = screen.X
    enough = consensus_programs(X, 8, n_runs=4, random_state=0)
    too_many = consensus_programs(X, 20, n_runs=4, random_state=0)
    assert (enough.init, too_many.init) == ("varimax", "nmf")
    chosen = consensus_programs(X, 20, n_runs=4, init="nmf", random_state=0)
    np.testing.assert_array_equal(too_many.runs, chosen.runs)
    np.testing.assert_array_equal(enough.runs, consensus_programs(X, 8, n_runs=4, init="varimax", random_state=0).runs)


def test_above_the_rank_parts_come_back_better_than_directions(screen):
    X = screen.X
    by_start = {init: consensus_programs(X, 20, n_runs=8, init=init, random_state=0) for init in ("varimax", "nmf")}
    assert by_start["nmf"].stability.mean() > by_start["varimax"].stability.mean() + 0.02


def test_loadings_of_an_nmf_start_are_free(screen):
    X = screen.X
    found = consensus_programs(X, 8, n_runs=3, init="nmf", random_state=0)
    assert (found.runs < -1e-3).any()


def test_start_of_signed_data(small):
    X = small.X.toarray() - 0.5
    assert consensus_programs(X, 3, n_runs=2, random_state=0).init == "varimax"
    with pytest.raises(ValueError, match="Negative values"):
        consensus_programs(X, 3, n_runs=2, init="nmf", random_state=0)
    with pytest.raises(ValueError, match="init"):
        consensus_programs(small.X, 3, n_runs=2, init="svd", random_state=0)


@pytest.mark.parametrize(("setting", "shown"), [(None, True), ("0", True), ("1", False)])
def test_bars_can_be_hidden_from_outside(monkeypatch, capsys, setting, shown):
    if setting is None:
        monkeypatch.delenv("TQDM_DISABLE", raising=False)
    else:
        monkeypatch.setenv("TQDM_DISABLE", setting)
    X = np.random.default_rng(0).gamma(1.0, size=(60, 12)).astype(np.float32)
    consensus_programs(X, 2, n_runs=3, random_state=0, verbose=True)
    assert ("consensus" in capsys.readouterr().err) == shown
