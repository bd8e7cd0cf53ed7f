"""Accessibility made ready, embeddings scored, smoothed, compared and drawn; nothing here needs torch."""

from __future__ import annotations

import importlib.util
import warnings

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy import sparse, stats
from sklearn.metrics import silhouette_score

import scprograms as scp
from scprograms.cli import main
from scprograms.embeddings.engine import embedding_scores, neighbor_means, tfidf
from scprograms.pipeline import InputError
from scprograms.pipeline._embedding_input import LABEL, add_labels, read_data

HAS_TORCH = importlib.util.find_spec("torch") is not None


@pytest.fixture(scope="module")
def template():
    return scp.datasets.simulate_peaks(300, 1500, 4, random_state=0)


@pytest.fixture
def adata(template):
    return template.copy()


@pytest.fixture(scope="module")
def compared(template):
    adata = template.copy()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="tol=.* was not reached")
        scp.tl.compare_embeddings(
            adata, ["factorizations", "semi_nmf_smooth"], "cell_type", n_latent=6, n_seeds=2, progress=False
        )
    return adata


@pytest.fixture(autouse=True)
def _close_figures():
    mpl.use("agg")
    yield
    from matplotlib import pyplot as plt

    plt.close("all")


# --- simulation and preprocessing ----------------------------------------------------------------------------------


def test_simulated_peaks_keep_their_promises():
    adata = scp.datasets.simulate_peaks(900, 4000, 3, fold_change=5, density=0.05, random_state=1)
    assert set(np.unique(adata.X.data)) == {1.0}
    assert adata.X.nnz / np.prod(adata.shape) == pytest.approx(0.05, rel=0.05)
    of_cell, of_peak = adata.obs["cell_type"].to_numpy(), adata.var["true_type"]
    ratios = []
    for name in adata.obs["cell_type"].cat.categories:
        peaks = (of_peak == name).to_numpy()
        inside, outside = (adata.X[of_cell == name][:, peaks].mean(), adata.X[of_cell != name][:, peaks].mean())
        ratios.append(inside / outside)
    assert 4 < np.mean(ratios) < 5.2  # below 5: a peak that is open already cannot open
    again = scp.datasets.simulate_peaks(900, 4000, 3, fold_change=5, density=0.05, random_state=1)
    assert (again.X != adata.X).nnz == 0


def test_filter_keeps_cells_first_then_peaks():
    X = np.zeros((4, 5))
    X[0] = [3, 1, 1, 0, 0]
    X[1] = [1, 1, 0, 1, 0]
    X[2] = [1, 2, 0, 0, 0]
    X[3] = [0, 0, 0, 0, 7]  # one open peak: out, and with it the only cell of the last peak
    adata = ad.AnnData(sparse.csr_matrix(X), var=pd.DataFrame(index=list("abcde")))
    kept = scp.pp.filter_peaks(adata, min_fraction=0.3, max_fraction=0.9, min_peaks=2)
    assert kept.shape == (3, 2)
    assert list(kept.var_names) == ["c", "d"]
    assert kept.obs["n_peaks"].tolist() == [3, 3, 2]
    assert kept.var["n_cells"].tolist() == [1, 1]
    assert adata.shape == (4, 5)


def test_filter_says_when_nothing_is_left(adata):
    with pytest.raises(ValueError, match=r"min_peaks=5000: none of the 300 cells.*the most is"):
        scp.pp.filter_peaks(adata, min_peaks=5000)
    with pytest.raises(ValueError, match="no peak is accessible in such a share"):
        scp.pp.filter_peaks(adata, min_fraction=0.99, max_fraction=1, min_peaks=1)
    with pytest.raises(ValueError, match=r"max_fraction=0\.1 is out of range"):
        scp.pp.filter_peaks(adata, min_fraction=0.2, max_fraction=0.1)


def test_binary_layer_is_one_where_open_and_leaves_the_rest_alone(adata):
    adata.X.data *= 3
    before = adata.X.copy()
    scp.pp.binarize(adata)
    assert (adata.layers["binary"] != (before > 0)).nnz == 0
    assert (before != adata.X).nnz == 0
    assert adata.layers["binary"].dtype == np.float32
    with pytest.raises(ValueError, match="negative values"):
        scp.pp.binarize(ad.AnnData(np.array([[1.0, -1.0]])))


@pytest.mark.parametrize("method", ["l2", "log_tfidf", "tf_logidf", "logtf_logidf"])
@pytest.mark.parametrize("binary", [True, False])
def test_tfidf_equals_its_formula(method, binary):
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.4, size=(30, 12)).astype(float)
    counts[counts.sum(axis=1) == 0, 0] = 1
    adata = ad.AnnData(sparse.csc_matrix(counts))
    scp.pp.tfidf(adata, method, binarize=binary, scale_factor=500)
    x = (counts > 0).astype(float) if binary else counts
    m = (counts > 0).sum(axis=0)
    with np.errstate(divide="ignore"):
        r, tf = np.where(m > 0, 30 / np.maximum(m, 1), 30), x / x.sum(axis=1, keepdims=True)
    if method == "l2":
        expected = x * np.log1p(r)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    else:
        expected = {
            "log_tfidf": np.log1p(500 * tf * r),
            "tf_logidf": tf * np.log1p(r),
            "logtf_logidf": np.log1p(500 * tf) * np.log1p(r),
        }[method]
    assert sparse.issparse(adata.layers["tfidf"])
    np.testing.assert_allclose(adata.layers["tfidf"].toarray(), expected, rtol=2e-6)
    assert adata.var["tfidf_n_cells"].tolist() == m.tolist()


def test_tfidf_of_an_empty_cell_is_zero_and_worth_a_warning():
    adata = ad.AnnData(sparse.csr_matrix([[1.0, 1.0], [0.0, 0.0]]))
    with pytest.warns(scp.ProgramsWarning, match="1 of 2 cells have no accessible peak"):
        scp.pp.tfidf(adata)
    assert adata.layers["tfidf"].nnz == 2
    with pytest.raises(ValueError, match="scale_factor=0 is out of range"):
        scp.pp.tfidf(adata, scale_factor=0)
    with pytest.raises(ValueError, match="method='idf' is not known"):
        scp.pp.tfidf(adata, "idf")


# --- scores --------------------------------------------------------------------------------------------------------


def test_scores_of_a_perfect_and_of_a_random_embedding():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(4), 60)
    good = embedding_scores(12 * np.eye(4)[codes] + rng.normal(size=(240, 4)), codes)
    assert [good[name] for name in ("ari", "nmi", "homogeneity", "knn_accuracy")] == pytest.approx([1, 1, 1, 1])
    bad = embedding_scores(rng.normal(size=(240, 4)), codes)
    assert abs(bad["ari"]) < 0.05
    assert abs(bad["knn_accuracy"] - 0.25) < 0.12
    assert bad["silhouette"] < 0.02


def test_silhouette_is_that_of_the_labels_not_of_the_clusters():
    rng = np.random.default_rng(1)
    codes = rng.integers(3, size=150)
    values = 20 * np.eye(3)[np.arange(150) % 3] + rng.normal(size=(150, 3))  # clusters that are not the labels
    assert embedding_scores(values, codes)["silhouette"] == pytest.approx(silhouette_score(values, codes))
    assert silhouette_score(values, np.arange(150) % 3) > 0.8 > embedding_scores(values, codes)["silhouette"]


def test_neighbours_vote_without_the_cell_itself():
    values = np.array([[0.0], [0.1], [0.25], [5.0], [5.1], [5.2]])
    codes = np.array([0, 0, 1, 1, 1, 1])
    assert embedding_scores(values, codes, n_clusters=2, n_neighbors=2)["knn_accuracy"] == pytest.approx(5 / 6)


def test_neighbour_means_equal_a_loop(adata):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 4))
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    expected = [unit[np.argsort(-(unit @ row), kind="stable")[:7]].mean(axis=0) for row in unit]
    np.testing.assert_allclose(neighbor_means(values, 7), expected)
    adata.obsm["X_a"] = np.vstack([values] * 6)
    scp.tl.smooth_embedding(adata, "X_a", n_neighbors=1)
    np.testing.assert_allclose(np.linalg.norm(adata.obsm["X_a_smooth"], axis=1), 1, rtol=1e-6)
    with pytest.raises(KeyError, match=r"'X_b' is not in adata\.obsm"):
        scp.tl.smooth_embedding(adata, "X_b")


# --- comparison ----------------------------------------------------------------------------------------------------


def test_comparison_has_a_row_per_embedding_and_seed(compared):
    runs = scp.get.embedding_comparison(compared, summary=False)
    names = ["lsi", "pca", "nmf", "lsnmf", "semi_nmf", "semi_nmf_smooth"]
    assert runs["embedding"].tolist() == [name for name in names for _ in range(2)]
    assert runs["seed"].tolist() == [0, 1] * 6
    table = scp.get.embedding_comparison(compared, metric="ari").set_index("embedding")
    assert (table.loc[["lsi", "pca", "semi_nmf", "semi_nmf_smooth"], "mean"] > 0.9).all()
    assert (runs["seconds"] > 0).all()
    assert compared.obsm["X_lsnmf"].shape == (300, 6)
    assert table.attrs["n_labels"] == 4


def test_intervals_are_students(compared):
    runs = scp.get.embedding_comparison(compared, summary=False)
    table = scp.get.embedding_comparison(compared, metric="seconds", level=0.9).set_index("embedding")
    values = runs.loc[runs["embedding"] == "nmf", "seconds"]
    low, high = stats.t.interval(0.9, 1, loc=values.mean(), scale=stats.sem(values))
    assert table.loc["nmf", ["low", "high"]].tolist() == pytest.approx([low, high])


def test_lsi_is_the_decomposition_of_the_weighted_matrix(compared):
    values = tfidf(compared.X)[0].toarray().astype(float)
    u, s, _ = np.linalg.svd(values, full_matrices=False)
    found = compared.obsm["X_lsi"]
    np.testing.assert_allclose(np.abs(found), np.abs(u[:, :6] * s[:6]), atol=2e-4)


def test_entries_of_obsm_and_functions_are_compared_as_they_are(adata):
    adata.obsm["X_truth"] = np.eye(4)[adata.obs["cell_type"].cat.codes]
    scp.tl.compare_embeddings(adata, ["X_truth"], "cell_type", n_seeds=3, progress=False, key_added="a")
    table = scp.get.embedding_comparison(adata, key="a").set_index("metric")
    assert table.loc["ari", "mean"] == 1
    assert np.isnan(table.loc["seconds", "mean"])
    seen = []

    def noise(data, seed):
        seen.append(seed)
        return np.random.default_rng(seed).normal(size=(data.n_obs, 3))

    scp.tl.compare_embeddings(adata, {"noise": noise}, "cell_type", n_seeds=2, random_state=7, progress=False)
    assert seen == [7, 8]
    assert scp.get.embedding_comparison(adata, metric="ari")["mean"].abs().max() < 0.05


def test_cells_without_a_label_are_embedded_but_not_scored(adata):
    adata.obs["some"] = adata.obs["cell_type"].where(np.arange(300) >= 50)
    with pytest.warns(scp.ProgramsWarning, match="missing for 50 of 300"):
        scp.tl.compare_embeddings(adata, "lsi", "some", n_latent=5, n_seeds=2, progress=False)
    assert scp.get.embedding_comparison(adata).attrs["n_cells"] == 250
    assert len(adata.obsm["X_lsi"]) == 300


def test_cosine_ignores_the_length_of_rows(adata):
    truth = np.eye(4)[adata.obs["cell_type"].cat.codes]
    adata.obsm["X_deep"] = (truth + 0.05) * np.random.default_rng(0).lognormal(sigma=2, size=(300, 1))
    for metric, good in (("euclidean", False), ("cosine", True)):
        scp.tl.compare_embeddings(adata, "X_deep", "cell_type", metric=metric, n_seeds=2, progress=False)
        ari = scp.get.embedding_comparison(adata, metric="ari")["mean"].iloc[0]
        assert bool(ari > 0.99) is good


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"keys": ["umap2"]}, ValueError, "'umap2' are neither methods"),
        ({"keys": []}, ValueError, "keys is empty"),
        ({"keys": 3}, TypeError, "keys=3 is a int"),
        ({"keys": {"a": 1}}, TypeError, "pass functions of adata and a seed"),
        ({"keys": {"a": lambda *_: np.zeros((3, 2))}}, ValueError, r"returned shape \(3, 2\)"),
        ({"label_key": "nothing"}, KeyError, "'nothing' is not in adata.obs"),
        ({"label_key": "one"}, ValueError, "at least 2 labels"),
        ({"n_seeds": 1}, ValueError, "n_seeds=1 is too small"),
        ({"n_latent": 300}, ValueError, "n_latent=300: pass less than 300"),
        ({"metric": "l1"}, ValueError, "metric='l1' is not known"),
        ({"network_options": {"kind": "vae"}}, ValueError, "arguments of compare_embeddings itself"),
        ({"layer": "counts"}, KeyError, "'counts' is not in adata.layers"),
    ],
)
def test_bad_arguments_are_named(adata, arguments, error, message):
    adata.obs["one"] = "a"
    arguments = {"keys": ["lsi"], "label_key": "cell_type", "progress": False, **arguments}
    before = set(adata.uns) | set(adata.obsm)
    with pytest.raises(error, match=message):
        scp.tl.compare_embeddings(adata, **arguments)
    assert set(adata.uns) | set(adata.obsm) == before


@pytest.mark.skipif(importlib.util.find_spec("scvi") is not None, reason="scvi-tools is installed")
def test_peakvi_without_scvi_tools_says_what_to_install(adata):
    with pytest.raises(ImportError, match="pip install scvi-tools"):
        scp.tl.compare_embeddings(adata, ["lsi", "peakvi"], "cell_type", progress=False)


@pytest.mark.skipif(HAS_TORCH, reason="torch is installed")
@pytest.mark.parametrize(
    "call",
    [
        lambda a: scp.tl.autoencoder(a),
        lambda a: scp.tl.encode(a, __file__),
        lambda a: scp.tl.compare_embeddings(a, ["vae"], "cell_type"),
    ],
)
def test_networks_without_torch_say_what_to_install(adata, call):
    with pytest.raises(ImportError, match=r'pip install "scprograms\[deep\]"'):
        call(adata)


def test_results_survive_the_disk(compared, tmp_path):
    compared.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(
        scp.get.embedding_comparison(back), scp.get.embedding_comparison(compared), check_dtype=False
    )


# --- figures -------------------------------------------------------------------------------------------------------


def test_comparison_draws_every_seed_and_sorts_by_the_first_metric(compared):
    axes = scp.pl.embedding_comparison(compared, metrics=["nmi", "seconds"], show=False)
    assert [ax.get_xlabel() for ax in axes] == ["normalised mutual\ninformation", "seconds"]
    table = scp.get.embedding_comparison(compared, metric="nmi").set_index("embedding")["mean"]
    names = [text.get_text() for text in axes[0].get_yticklabels()]
    assert table[names].is_monotonic_increasing
    means = axes[0].lines[-1].get_xdata()
    np.testing.assert_allclose(means, table[names])
    runs = scp.get.embedding_comparison(compared, summary=False)
    np.testing.assert_allclose(axes[0].lines[0].get_xdata(), runs.loc[runs["embedding"] == names[0], "nmi"])
    with pytest.raises(ValueError, match="metrics='f1' is not known"):
        scp.pl.embedding_comparison(compared, metrics=["f1"])


def test_maps_show_all_cells_in_the_colours_of_their_labels(compared):
    colors = ["#ff0000", "#00ff00", "#0000ff", "#ffff00"]
    compared.uns["cell_type_colors"] = colors
    (ax,) = scp.pl.embedding_maps(compared, "cell_type", "X_lsi", show=False)
    points = ax.collections[0]
    order = np.random.default_rng(0).permutation(300)
    np.testing.assert_allclose(points.get_offsets(), compared.obsm["X_lsi"][order, :2])
    shown = [to_hex(color) for color in points.get_facecolors()]
    assert shown == [colors[code] for code in compared.obs["cell_type"].cat.codes.to_numpy()[order]]
    with pytest.raises(ValueError, match="There is no map"):
        scp.pl.embedding_maps(compared, "cell_type")


# --- files of the command line -------------------------------------------------------------------------------------


@pytest.fixture
def small():
    return scp.datasets.simulate_peaks(20, 30, 2, density=0.2, random_state=0)


def test_folders_in_the_format_of_scale_are_read(small, tmp_path):
    from scipy.io import mmwrite

    mmwrite(tmp_path / "matrix.mtx", sparse.coo_matrix(small.X.T))
    (tmp_path / "barcodes.tsv").write_text("\n".join(small.obs_names) + "\n")
    bed = small.var_names.str.replace(":", "\t").str.replace("-", "\t")
    (tmp_path / "peaks.bed").write_text("\n".join(bed) + "\n")
    found = read_data(tmp_path)
    assert (found.X != small.X).nnz == 0
    assert list(found.var_names) == list(small.var_names)
    (tmp_path / "peaks2.txt").write_text("x\n")
    with pytest.raises(InputError, match="2 files with peaks"):
        read_data(tmp_path)


def test_tables_of_peaks_by_cells_are_read(small, tmp_path):
    table = pd.DataFrame(small.X.T.toarray(), index=small.var_names, columns=small.obs_names)
    table.to_csv(tmp_path / "data.txt.gz", sep="\t")
    table.to_csv(tmp_path / "data.csv")
    for name in ("data.txt.gz", "data.csv"):
        found = read_data(tmp_path / name)
        assert (found.X != small.X).nnz == 0
        assert list(found.obs_names) == list(small.obs_names)


def test_labels_come_from_a_file_by_name_or_in_order(small, tmp_path):
    path = tmp_path / "labels.txt"
    truth = small.obs["cell_type"].astype(str)
    path.write_text("".join(f"{cell}\t{name}\n" for cell, name in truth[::-1].items()))
    add_labels(small, path)
    assert small.obs[LABEL].tolist() == truth.tolist()
    path.write_text("".join(f"{name}\n" for name in truth))
    add_labels(small, path)
    assert small.obs[LABEL].tolist() == truth.tolist()
    path.write_text("a\nb\n")
    with pytest.raises(InputError, match="2 labels for 20 cells"):
        add_labels(small, path)
    path.write_text("x\ta\n")
    with pytest.raises(InputError, match="names none of the cells"):
        add_labels(small, path)


@pytest.mark.skipif(HAS_TORCH, reason="torch is installed")
def test_the_command_without_torch_says_what_to_install(small, tmp_path, capsys):
    small.write_h5ad(tmp_path / "a.h5ad")
    assert main(["embed", str(tmp_path / "a.h5ad"), "-o", str(tmp_path / "out"), "--quiet"]) == 2
    assert 'pip install "scprograms[deep]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
