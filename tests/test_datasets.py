"""Simulated screens hold what they promise; public screens arrive whole or not at all."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from scipy.optimize import linear_sum_assignment

from scprograms import datasets
from scprograms.datasets import _public, _simulate, planted_gene_sets, simulate_screen

HARD = {"activity": 0.5, "usage_correlation": 0.3, "n_cell_types": 1}


@pytest.fixture(scope="module")
def screen():
    return simulate_screen()


@pytest.fixture(scope="module")
def plain_screen():
    """No variation but that of the cells: what differs between perturbations is their effect."""
    return simulate_screen(8000, 400, 8, n_perturbations=10, guide_sd=0, random_state=1)


def small(**kwargs):
    return simulate_screen(**{"n_cells": 150, "n_genes": 120, "n_programs": 6, "n_perturbations": 6, **kwargs})


# --- counts and labels ---------------------------------------------------------------------------------------------


def test_counts_are_float32_csr_whole_numbers(screen):
    assert sparse.issparse(screen.X)
    assert screen.X.format == "csr"
    assert screen.X.dtype == np.float32
    assert screen.shape == (5000, 2000)
    assert (screen.X.data > 0).all()
    np.testing.assert_array_equal(screen.X.data, np.round(screen.X.data))


@pytest.mark.parametrize("setting", [{}, HARD], ids=["easy", "hard"])
def test_about_a_tenth_is_not_zero(setting, screen):
    adata = simulate_screen(2000, **setting) if setting else screen
    assert 0.08 < adata.X.nnz / np.prod(adata.shape) < 0.14
    sizes = np.asarray(adata.X.sum(axis=1)).ravel()
    assert 2000 < np.median(sizes) < 5000
    assert np.std(np.log(sizes)) == pytest.approx(0.35, rel=0.15)
    mitochondrial = adata.var_names.str.startswith("MT-")
    assert mitochondrial.sum() == 13
    assert 0.03 < np.median(np.asarray(adata.X[:, mitochondrial].sum(axis=1)).ravel() / sizes) < 0.12


def test_counts_have_the_mean_and_the_dispersion_of_the_model():
    adata = small(n_cells=20000, n_batches=1, batch_sd=0, knockdown=0, library_sd=0, dispersion=0.5, library_size=2000)
    mean = 2000 * adata.obsm["true_usages"].astype(float) @ adata.varm["true_loadings"].T.astype(float)
    counts = adata.X.toarray().astype(float)
    expressed = mean.mean(axis=0) > 2
    assert expressed.sum() > 10
    np.testing.assert_allclose(counts.mean(axis=0)[expressed], mean.mean(axis=0)[expressed], rtol=0.05)
    excess = ((counts - mean) ** 2 - mean).mean(axis=0) / (mean**2).mean(axis=0)
    assert np.median(excess[expressed]) == pytest.approx(0.5, rel=0.1)


def test_dispersion_zero_is_poisson():
    adata = small(n_cells=20000, batch_sd=0, knockdown=0, library_sd=0, dispersion=0)
    mean = 2500 * adata.obsm["true_usages"].astype(float) @ adata.varm["true_loadings"].T.astype(float)
    fano = ((adata.X.toarray() - mean) ** 2).mean(axis=0) / mean.mean(axis=0)
    assert np.median(fano) == pytest.approx(1, abs=0.03)


def test_labels(screen):
    obs = screen.obs
    assert list(obs.columns) == ["perturbation", "guide", "batch", "cell_type"]
    for column in obs:
        assert isinstance(obs[column].dtype, pd.CategoricalDtype)
        assert (obs[column].value_counts() > 0).all()
    assert obs["perturbation"].cat.categories[0] == "non-targeting"
    assert (obs["perturbation"] == "non-targeting").mean() == pytest.approx(0.1, abs=0.001)
    guides = obs.groupby("perturbation", observed=True)["guide"].nunique()
    assert guides["non-targeting"] == 12
    assert (guides.drop("non-targeting") == 3).all()
    assert obs.groupby("guide", observed=True)["perturbation"].nunique().max() == 1
    sizes = obs["guide"].value_counts()
    assert sizes.max() > 3 * sizes.min()
    assert obs["batch"].nunique() == 3
    assert obs["cell_type"].nunique() == 4


def test_batches_shift_genes():
    adata = small(n_cells=3000, batch_sd=0.5, n_batches=2)
    same = small(n_cells=3000, batch_sd=0, n_batches=2)
    changes = []
    for a in (adata, same):
        first = (a.obs["batch"] == "batch_0").to_numpy()
        sums = np.array([np.asarray(a.X[cells].sum(axis=0)).ravel() for cells in (first, ~first)])
        expressed = sums.min(axis=0) > 1000
        assert expressed.sum() > 20
        changes.append(np.std(np.log(sums[0, expressed] / sums[1, expressed])))
    assert changes[0] > 5 * changes[1]


def test_a_tiny_screen_has_no_unused_categories():  # row 52
    adata = small(n_cells=31, n_perturbations=6, n_batches=30, n_cell_types=5)
    for column in adata.obs:
        assert (adata.obs[column].value_counts() > 0).all()


# --- truth ---------------------------------------------------------------------------------------------------------


def test_shapes_and_names_of_the_truth(screen):
    truth = screen.uns["truth"]
    names = [f"planted_{i}" for i in range(20)]
    usages, loadings = screen.obsm["true_usages"], screen.varm["true_loadings"]
    assert usages.shape == (5000, 20)
    assert loadings.shape == (2000, 20)
    assert usages.min() >= 0
    assert loadings.min() >= 0
    np.testing.assert_allclose(usages.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(loadings.sum(axis=0), 1, rtol=1e-5)
    assert list(truth["programs"].index) == names
    assert list(truth["programs"]["kind"]) == ["housekeeping"] + ["identity"] * 3 + ["activity"] * 16
    assert list(truth["effects"].columns) == names
    assert list(truth["effects"].index) == list(screen.obs["perturbation"].cat.categories[1:])
    assert list(truth["guide_effects"].index) == list(screen.obs["guide"].cat.categories)
    assert truth["params"]["n_cells"] == 5000
    assert truth["params"]["random_state"] == 0


def test_identity_programs_mark_their_cell_type_alone(screen):
    programs, usages = screen.uns["truth"]["programs"], screen.obsm["true_usages"]
    for i, cell_type in enumerate(programs["cell_type"]):
        if cell_type:
            own = (screen.obs["cell_type"] == cell_type).to_numpy()
            assert (usages[own, i] > 0).all()
            assert (usages[~own, i] == 0).all()


def test_a_single_cell_type_has_no_identity_program():
    assert "identity" not in set(small(n_cell_types=1).uns["truth"]["programs"]["kind"])


@pytest.mark.parametrize("activity", [0.15, 0.5, 1.0])
def test_activity_is_the_share_of_the_cells_that_use_a_program(activity):
    adata = small(n_cells=3000, activity=activity, effect_size=0, guide_sd=0)
    kind = adata.uns["truth"]["programs"]["kind"] == "activity"
    assert (adata.obsm["true_usages"][:, kind] > 0).mean() == pytest.approx(activity, abs=0.02)


def test_signal_is_the_share_of_the_activity_programs():
    adata = small(n_cells=3000, n_programs=12, signal=0.3)
    kind = adata.uns["truth"]["programs"]["kind"] == "activity"
    assert adata.obsm["true_usages"][:, kind].sum(axis=1).mean() == pytest.approx(0.3, rel=0.25)


def test_usage_correlation_joins_the_programs_of_a_module():
    adata = simulate_screen(4000, 100, 9, n_cell_types=1, activity=0.5, usage_correlation=0.8, n_perturbations=4)
    correlation = stats.spearmanr(adata.obsm["true_usages"][:, 1:]).statistic
    together = correlation[:4, :4][np.triu_indices(4, 1)]
    apart = correlation[:4, 4:]
    assert together.min() > apart.max() + 0.2


def test_signatures_are_heavy_tailed_and_overlap(screen):
    truth, loadings = screen.uns["truth"], screen.varm["true_loadings"]
    counts = truth["markers"].groupby("program").size()
    assert (counts.drop("planted_0") == 80).all()
    assert ((loadings[:, 1:] > 0).sum(axis=0) == 80).all()
    ordered = -np.sort(-loadings[:, 1:], axis=0)
    assert (ordered[:8].sum(axis=0) > 0.25).all()  # a tenth of the signature, over a quarter of its weight
    member = (loadings[:, 1:] > 0).astype(int)
    shared = (member.T @ member)[np.triu_indices(19, 1)]
    assert shared.mean() > 1.5 * 80 * 80 / 2000  # more than by chance


# --- perturbations -------------------------------------------------------------------------------------------------


def test_effects_show_in_the_usages_with_their_sign(plain_screen):
    truth, usages = plain_screen.uns["truth"], plain_screen.obsm["true_usages"]
    labels = plain_screen.obs["perturbation"].to_numpy()
    control = usages[labels == "non-targeting"]
    planted = truth["effects"].stack()
    planted = planted[planted != 0]
    assert len(planted) >= 7
    assert {-1.0, 1.0} == set(np.sign(planted))
    for (perturbation, program), effect in planted.items():
        column = truth["effects"].columns.get_loc(program)
        test = stats.mannwhitneyu(usages[labels == perturbation, column], control[:, column])
        shift = usages[labels == perturbation, column].mean() - control[:, column].mean()
        assert np.sign(shift) == np.sign(effect)
        assert test.pvalue < 0.01


def test_null_perturbations_move_nothing(plain_screen):
    truth, usages = plain_screen.uns["truth"], plain_screen.obsm["true_usages"]
    null = truth["perturbations"]["null"]
    assert null.sum() == 3
    assert (truth["effects"][null] == 0).all(axis=None)
    assert (truth["effects"][~null] != 0).any(axis=1).all()
    labels = plain_screen.obs["perturbation"].to_numpy()
    control = usages[labels == "non-targeting"]
    pvalues = [
        stats.mannwhitneyu(usages[labels == perturbation, k], control[:, k]).pvalue
        for perturbation in null.index[null]
        for k in range(usages.shape[1])
    ]
    assert min(pvalues) > 0.05 / len(pvalues)


def test_null_perturbations_are_chosen_by_chance():
    chosen = [small(random_state=seed, null_fraction=0.5).uns["truth"]["perturbations"]["null"] for seed in range(4)]
    assert {int(null.sum()) for null in chosen} == {3}
    assert len({tuple(null) for null in chosen}) > 1


def test_only_activity_programs_are_moved(screen):
    truth = screen.uns["truth"]
    others = truth["programs"]["kind"] != "activity"
    assert (truth["effects"].loc[:, others.to_numpy()] == 0).all(axis=None)
    assert (truth["guide_effects"].loc[:, others.to_numpy()] == 0).all(axis=None)


def test_guides_vary_around_their_perturbation():
    adata = simulate_screen(
        1000, 100, 20, n_perturbations=40, guides_per_perturbation=5, n_control_guides=50, guide_sd=0.3
    )
    truth = adata.uns["truth"]
    activity = (truth["programs"]["kind"] == "activity").to_numpy()
    mean = truth["effects"].reindex(truth["guides"]["perturbation"], fill_value=0.0).to_numpy()
    deviation = (truth["guide_effects"].to_numpy() - mean)[:, activity]
    assert deviation.std() == pytest.approx(0.3, rel=0.05)
    control = (truth["guides"]["perturbation"] == "non-targeting").to_numpy()
    assert deviation[control].std() == pytest.approx(0.3, rel=0.1)
    assert (truth["guides"]["knockdown"][control] == 0).all()
    assert truth["guides"]["knockdown"][~control].mean() == pytest.approx(0.8, abs=0.03)
    assert truth["guides"]["knockdown"][~control].std() > 0.03


def test_guides_differ_in_the_usages_when_they_should():
    def pvalues(guide_sd):
        adata = simulate_screen(4000, 100, 8, n_perturbations=2, n_control_guides=20, control_fraction=0.8,
                                guide_sd=guide_sd)  # fmt: skip
        control = adata[adata.obs["perturbation"] == "non-targeting"]
        guide = control.obs["guide"].cat.codes.to_numpy()
        columns = control.obsm["true_usages"][:, 4:].T
        return [stats.kruskal(*(u[guide == g] for g in np.unique(guide))).pvalue for u in columns]

    assert max(pvalues(0.5)) < 1e-6
    assert min(pvalues(0.0)) > 1e-3


def test_targets_are_knocked_down_in_their_own_cells():
    adata = simulate_screen(3000, 400, 8, n_perturbations=10, effect_size=0, guide_sd=0, knockdown=0.8)
    measured = adata.uns["truth"]["perturbations"]["measured"]
    assert measured.sum() == 8
    for perturbation, inside in measured.items():
        assert (perturbation in adata.var_names) == inside
        assert not perturbation.startswith("MT-")
    kept = []
    for gene in measured.index[measured]:
        own, control = (
            adata[(adata.obs["perturbation"] == label).to_numpy(), gene].X.mean() for label in (gene, "non-targeting")
        )
        kept.append(own / control)
        other = adata[~adata.obs["perturbation"].isin([gene, "non-targeting"]).to_numpy(), gene].X.mean()
        assert other == pytest.approx(control, rel=0.6)
    assert np.mean(kept) == pytest.approx(0.2, abs=0.1)
    assert max(kept) < 0.6


def test_knockdown_of_zero_and_one():
    for knockdown in (0.0, 1.0):
        guides = small(knockdown=knockdown).uns["truth"]["guides"]
        targeting = guides["perturbation"] != "non-targeting"
        assert (guides["knockdown"][targeting] == knockdown).all()
    adata = small(n_cells=2000, knockdown=1.0)
    measured = adata.uns["truth"]["perturbations"]["measured"]
    for gene in measured.index[measured]:
        assert adata[(adata.obs["perturbation"] == gene).to_numpy(), gene].X.sum() == 0


def test_more_perturbations_than_genes():
    adata = simulate_screen(900, 60, 6, n_perturbations=200, guides_per_perturbation=1)
    assert adata.obs["perturbation"].nunique() == 201
    assert 0 < adata.uns["truth"]["perturbations"]["measured"].sum() < 60


# --- recovery ------------------------------------------------------------------------------------------------------


def recovery(adata, n_programs):
    """Correlations of true with NMF usages, matched; scikit-learn is the oracle for 'it can be found'."""
    from sklearn.decomposition import NMF

    logged = (adata.X.multiply(1e4 / np.asarray(adata.X.sum(axis=1)).reshape(-1, 1))).tocsr().log1p()
    usages = NMF(n_programs, init="nndsvda", max_iter=100, tol=1e-3).fit_transform(logged.astype(np.float32))
    table = np.corrcoef(adata.obsm["true_usages"].T, usages.T)[:n_programs, n_programs:]
    rows, columns = linear_sum_assignment(-table)
    return table[rows, columns]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("setting", "low", "high"), [({}, 0.9, 0.98), (HARD, 0.87, 0.96)], ids=["easy", "hard"]
)  # at 5,000 x 2,000 with 20 programs: 0.93-0.94 and 0.93
def test_planted_usages_can_be_recovered(setting, low, high):
    found = recovery(simulate_screen(2000, 1000, 10, **setting), 10)
    assert low < found.mean() < high
    assert found.min() > 0.7


# --- reproducibility -----------------------------------------------------------------------------------------------


def assert_same(a, b):
    assert (a.X != b.X).nnz == 0
    pd.testing.assert_frame_equal(a.obs, b.obs)
    np.testing.assert_array_equal(a.obsm["true_usages"], b.obsm["true_usages"])
    np.testing.assert_array_equal(a.varm["true_loadings"], b.varm["true_loadings"])
    for name, value in a.uns["truth"].items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, b.uns["truth"][name])


@pytest.mark.parametrize(
    "make",
    [lambda: 7, lambda: np.int64(7), lambda: np.random.default_rng(7), lambda: np.random.RandomState(7)],
    ids=["int", "numpy int", "Generator", "RandomState"],
)
def test_the_same_seed_gives_the_same_screen(make):  # row 33
    assert_same(small(random_state=make()), small(random_state=make()))


def test_different_seeds_differ():
    assert (small(random_state=0).X != small(random_state=1).X).nnz > 0
    for source in (None, np.random.default_rng(0), np.random.RandomState(0)):
        assert (small(random_state=source).X != small(random_state=source).X).nnz > 0


def test_random_state_is_recorded():
    assert small(random_state=np.int64(3)).uns["truth"]["params"]["random_state"] == 3
    assert small(random_state=None).uns["truth"]["params"]["random_state"] == "None"


def test_global_numpy_state_is_left_alone():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    small(random_state=None)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_memory_stays_below_a_dense_matrix(monkeypatch):
    import tracemalloc

    monkeypatch.setattr(_simulate, "_ENTRIES_PER_CHUNK", 2**17)
    tracemalloc.start()
    adata = simulate_screen(3000, 3000, 8, n_perturbations=5, library_size=500)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < adata.n_obs * adata.n_vars * 4


# --- storing -------------------------------------------------------------------------------------------------------


def test_h5ad_round_trip(tmp_path):  # row 43
    adata = small()
    adata.write_h5ad(tmp_path / "screen.h5ad")
    back = anndata.read_h5ad(tmp_path / "screen.h5ad")
    assert (adata.X != back.X).nnz == 0
    assert back.uns["truth"]["params"] == adata.uns["truth"]["params"]
    for name, table in adata.uns["truth"].items():
        if isinstance(table, pd.DataFrame):
            read = back.uns["truth"][name]
            assert list(read.columns) == list(table.columns)
            assert [str(i) for i in read.index] == [str(i) for i in table.index]
            for column in table:
                assert read[column].tolist() == table[column].tolist()
    assert planted_gene_sets(back) == planted_gene_sets(adata)


# --- bad arguments -------------------------------------------------------------------------------------------------

BAD = [
    ("n_cells", 0, ValueError),
    ("n_cells", 2.5, TypeError),  # row 24
    ("n_cells", 20, ValueError),  # fewer than guides
    ("n_genes", 10, ValueError),
    ("n_programs", 0, ValueError),  # row 23
    ("n_programs", "3", TypeError),  # row 24
    ("n_programs", True, TypeError),  # row 25
    ("n_programs", 4, ValueError),  # no activity program
    ("n_cell_types", 0, ValueError),
    ("n_cell_types", 6, ValueError),
    ("n_perturbations", 0, ValueError),
    ("guides_per_perturbation", 0, ValueError),
    ("n_control_guides", 0, ValueError),
    ("control_fraction", 1.5, ValueError),
    ("null_fraction", -0.1, ValueError),
    ("effect_size", -1, ValueError),
    ("effect_size", "big", TypeError),
    ("guide_sd", np.nan, ValueError),
    ("knockdown", 1.2, ValueError),
    ("activity", 0, ValueError),
    ("activity", 15, ValueError),
    ("usage_correlation", 2, ValueError),
    ("signal", 0, ValueError),
    ("signal", 1, ValueError),
    ("n_batches", 0, ValueError),
    ("batch_sd", -1, ValueError),
    ("library_size", 0, ValueError),
    ("library_sd", np.inf, ValueError),
    ("dispersion", -0.1, ValueError),
    ("random_state", -1, ValueError),
    ("random_state", "seed", TypeError),
    ("random_state", 1.5, TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), BAD, ids=[f"{name}={value}" for name, value, _ in BAD])
def test_bad_arguments_are_named(name, value, error):
    with pytest.raises(error, match=name):
        small(**{name: value})


def test_numpy_integers_are_fine():  # row 26
    assert_same(small(n_programs=np.int64(6)), small(n_programs=6))


# --- gene sets -----------------------------------------------------------------------------------------------------


def test_gene_sets_are_the_strongest_genes_and_decoys(screen):
    gene_sets = planted_gene_sets(screen, n_genes=30, n_decoys=7)
    assert list(gene_sets) == [f"planted_{i}" for i in range(20)] + [f"decoy_{i}" for i in range(7)]
    loadings = pd.DataFrame(screen.varm["true_loadings"], index=screen.var_names)
    for i in range(1, 20):
        assert gene_sets[f"planted_{i}"] == list(loadings[i].nlargest(30).index)
    for i in range(7):
        genes = gene_sets[f"decoy_{i}"]
        assert len(set(genes)) == 30
        assert set(genes) <= set(screen.var_names)
    assert json.loads(json.dumps(gene_sets)) == gene_sets
    assert planted_gene_sets(screen, n_genes=30, n_decoys=7) == gene_sets
    assert planted_gene_sets(screen, n_genes=30, n_decoys=7, random_state=1)["decoy_0"] != gene_sets["decoy_0"]


def test_gene_sets_of_a_filtered_panel(screen):
    some = screen[:, ::2]
    gene_sets = planted_gene_sets(some, n_genes=500)
    assert {gene for genes in gene_sets.values() for gene in genes} <= set(some.var_names)
    assert len(gene_sets["planted_3"]) < 80


def test_gene_sets_need_a_simulated_screen():  # row 36
    with pytest.raises(KeyError, match="simulate_screen"):
        planted_gene_sets(anndata.AnnData(np.ones((2, 2), dtype=np.float32)))
    for bad in ({"n_genes": 0}, {"n_decoys": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            planted_gene_sets(small(), **bad)


# --- downloads -----------------------------------------------------------------------------------------------------


@contextmanager
def serving(answer):
    """A server on this machine; ``answer(handler)`` writes the response. Yields its address and the requests seen."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            answer(self)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sending(content, *, status=200, length=None):
    def answer(handler):
        handler.send_response(status)
        if length != "none":
            handler.send_header("Content-Length", str(len(content) if length is None else length))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@pytest.fixture(scope="module")
def h5ad_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "screen.h5ad"
    small().write_h5ad(path)
    return path.read_bytes()


@pytest.fixture
def published(monkeypatch, h5ad_bytes):
    """Return a function that makes papalexi_2021 come from an address, as a small file with a known checksum."""

    def publish(url):
        digest = "md5:" + hashlib.md5(h5ad_bytes).hexdigest()
        screen = replace(_public._PAPALEXI, url=url + "file.h5ad", size=len(h5ad_bytes), digest=digest)
        monkeypatch.setattr(_public, "_PAPALEXI", screen)
        return screen

    return publish


def assert_empty(folder):
    assert not folder.exists() or list(folder.iterdir()) == []


def test_download_is_cached(published, h5ad_bytes, tmp_path):
    folder = tmp_path / "new" / "cache"
    with serving(sending(h5ad_bytes)) as (url, seen):
        screen = published(url)
        adata = datasets.papalexi_2021(path=folder)
        again = datasets.papalexi_2021(path=str(folder))
    assert len(seen) == 1
    assert [file.name for file in folder.iterdir()] == [screen.file_name]
    assert (adata.X != again.X).nnz == 0
    assert (adata.X != small().X).nnz == 0
    datasets.papalexi_2021(path=folder)  # and with the server gone


def test_cache_folder_from_the_environment(published, h5ad_bytes, tmp_path, monkeypatch):
    monkeypatch.setenv("SCPROGRAMS_DATA_DIR", str(tmp_path / "env"))
    with serving(sending(h5ad_bytes)) as (url, _):
        screen = published(url)
        datasets.papalexi_2021()
        assert (tmp_path / "env" / screen.file_name).exists()
        datasets.papalexi_2021(path=tmp_path / "argument")
    assert (tmp_path / "argument" / screen.file_name).exists()


def test_default_cache_folder(monkeypatch):
    import pooch

    monkeypatch.delenv("SCPROGRAMS_DATA_DIR", raising=False)
    assert _public.cache_folder(None) == pooch.os_cache("scprograms").expanduser().resolve()


def test_no_server(published, tmp_path):  # row 76
    with serving(sending(b"")) as (url, _):
        pass  # a port at which nobody listens any more
    screen = published(url)
    start = time.monotonic()
    with pytest.raises(ConnectionError) as caught:
        datasets.papalexi_2021(path=tmp_path)
    assert time.monotonic() - start < 5
    for part in (screen.url, str(tmp_path / screen.file_name), screen.digest, "by hand", "offline"):
        assert part in str(caught.value)
    assert_empty(tmp_path)


def test_silent_server(published, tmp_path, monkeypatch):  # row 77
    monkeypatch.setattr(_public, "_TIMEOUT", (0.3, 0.3))
    hold = threading.Event()
    try:
        with serving(lambda handler: hold.wait(10)) as (url, _):
            published(url)
            start = time.monotonic()
            with pytest.raises(ConnectionError, match=r"silent for 0\.3 s"):
                datasets.papalexi_2021(path=tmp_path)
            assert time.monotonic() - start < 5
            hold.set()
    finally:
        hold.set()
    assert_empty(tmp_path)


def test_server_that_falls_silent_half_way(published, h5ad_bytes, tmp_path, monkeypatch):  # rows 77, 79
    monkeypatch.setattr(_public, "_TIMEOUT", (0.3, 0.3))
    hold = threading.Event()

    def answer(handler):
        sending(h5ad_bytes[:1000], length=len(h5ad_bytes))(handler)
        handler.wfile.flush()
        hold.wait(10)

    try:
        with serving(answer) as (url, _):
            published(url)
            with pytest.raises(ConnectionError, match=r"file\.h5ad"):
                datasets.papalexi_2021(path=tmp_path)
            hold.set()
    finally:
        hold.set()
    assert_empty(tmp_path)


def test_web_page_with_status_200(published, tmp_path):  # row 78
    with serving(sending(b"<!doctype html><html><body>Please sign in</body></html>")) as (url, _):
        published(url)
        with pytest.raises(OSError, match="not the published file"):
            datasets.papalexi_2021(path=tmp_path)
    assert_empty(tmp_path)


@pytest.mark.parametrize("length", [None, "none"], ids=["shorter length", "no length"])
def test_truncated_without_notice(length, published, h5ad_bytes, tmp_path):  # row 79
    with serving(sending(h5ad_bytes[:5000], length=length)) as (url, _):
        published(url)
        with pytest.raises(OSError, match="cut short"):
            datasets.papalexi_2021(path=tmp_path)
    assert_empty(tmp_path)


def test_connection_that_breaks_off(published, h5ad_bytes, tmp_path):  # row 79
    with serving(sending(h5ad_bytes[:5000], length=len(h5ad_bytes))) as (url, _):
        published(url)
        with pytest.raises(OSError, match=r"broke off|cut short"):
            datasets.papalexi_2021(path=tmp_path)
    assert_empty(tmp_path)


@pytest.mark.parametrize(("status", "text"), [(403, "403"), (404, "404"), (429, "wait"), (503, "503")])
def test_refusals(status, text, published, tmp_path):  # row 80
    with serving(sending(b"no", status=status)) as (url, _):
        published(url)
        with pytest.raises(ConnectionError, match=text):
            datasets.papalexi_2021(path=tmp_path)
    assert_empty(tmp_path)


def test_a_broken_file_in_the_cache_is_replaced(published, h5ad_bytes, tmp_path, caplog):  # row 86
    with serving(sending(h5ad_bytes)) as (url, seen), caplog.at_level(logging.WARNING, "scprograms"):
        screen = published(url)
        (tmp_path / screen.file_name).write_bytes(h5ad_bytes[:100])
        assert datasets.papalexi_2021(path=tmp_path).n_obs == 150
    assert len(seen) == 1
    assert "not the published file" in caplog.text


def test_a_broken_file_in_the_cache_offline(published, tmp_path):
    with serving(sending(b"")) as (url, _):
        pass
    screen = published(url)
    (tmp_path / screen.file_name).write_bytes(b"<html>")
    with pytest.raises(ConnectionError, match="was removed"):
        datasets.papalexi_2021(path=tmp_path)
    assert_empty(tmp_path)


def test_a_file_placed_by_hand_needs_no_network(published, h5ad_bytes, tmp_path):
    screen = published("http://127.0.0.1:9/")
    (tmp_path / screen.file_name).write_bytes(h5ad_bytes)
    assert datasets.papalexi_2021(path=tmp_path).n_obs == 150


@pytest.mark.parametrize("name", ["norman_2019", "papalexi_2021", "replogle_2022_k562_essential"])
def test_every_public_screen_says_what_it_would_fetch(name, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(_public, "_fetch", lambda screen, folder: asked.append((screen, folder)) or "nothing")
    monkeypatch.setattr(_public.anndata, "read_h5ad", lambda path: path)
    assert getattr(datasets, name)(path=tmp_path) == "nothing"
    screen, folder = asked[0]
    assert folder == tmp_path.resolve()
    assert screen.url.startswith("https://zenodo.org/records/13350497/files/")
    assert screen.url.endswith(screen.file_name)
    algorithm, checksum = screen.digest.split(":")
    assert len(checksum) == {"md5": 32, "sha256": 64}[algorithm]
    assert screen.size > 1e8
    author = name.split("_")[0]
    assert screen.file_name.lower().startswith(author)


@pytest.mark.internet
def test_papalexi_from_zenodo(tmp_path):
    adata = datasets.papalexi_2021(path=tmp_path)
    assert adata.n_obs == 20729
    assert "control" in set(adata.obs["perturbation"])


def test_import_loads_neither_pooch_nor_requests():
    code = (
        "import anndata, sys; before = set(sys.modules); import scprograms.datasets; "
        "print(sorted({'pooch', 'requests', 'scanpy', 'matplotlib.pyplot'} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
