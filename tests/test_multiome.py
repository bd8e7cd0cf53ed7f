"""The simulated multiome holds what it promises; the public one is read as it is, or not at all."""

from __future__ import annotations

from itertools import pairwise

import anndata as ad
import h5py
import numpy as np
import pytest
from scipy import sparse

from scprograms import datasets
from scprograms.accessibility.engine import average_precision, distance_weights
from scprograms.datasets import _multiome_10x


@pytest.fixture(scope="module")
def data():
    return datasets.simulate_multiome(random_state=5)


def test_shapes_formats_and_names(data):
    rna, atac = data["rna"], data["atac"]
    assert (rna.shape, atac.shape) == ((2000, 1000), (2000, 600))
    assert list(rna.obs_names) == list(atac.obs_names)
    for matrix in (rna.X, rna.layers["counts"], atac.X):
        assert (matrix.format, matrix.dtype) == ("csr", np.float32)
    assert set(np.unique(atac.X.data)) == {1}
    assert rna.var_names.is_unique
    assert atac.var_names.is_unique
    counts = rna.layers["counts"].toarray()
    np.testing.assert_array_equal(counts, np.round(counts))
    scaled = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(rna.X.toarray(), scaled, atol=1e-4)


@pytest.mark.parametrize("prevalence", [0.05, 0.3])
def test_prevalence_is_the_asked_one(prevalence):
    data = datasets.simulate_multiome(800, 50, 200, prevalence=prevalence)
    p = data["atac"].layers["true_probability"]
    assert p.mean() == pytest.approx(prevalence, abs=1e-4)
    assert data["atac"].X.mean() == pytest.approx(prevalence, abs=0.01)


def test_peaks_are_open_with_their_probability(data):
    p, y = data["atac"].layers["true_probability"], data["atac"].X.toarray()
    edges = np.quantile(p, np.linspace(0, 1, 21))
    for low, high in pairwise(edges):
        inside = (p >= low) & (p < high)
        if inside.sum() > 1000:
            error = np.sqrt(p[inside].mean() / inside.sum())
            assert abs(y[inside].mean() - p[inside].mean()) < 5 * error


def test_no_order_is_better_than_the_oracle_and_coupling_is_what_it_knows(data):
    p, y = data["atac"].layers["true_probability"], data["atac"].X.toarray() > 0
    oracle = average_precision(y, p)
    rng = np.random.default_rng(0)
    for sd in (0.01, 0.1, 0.3):
        assert average_precision(y, p + sd * rng.standard_normal(p.shape)) < oracle
    reached = []
    for coupling in (0, 1, 3):
        atac = datasets.simulate_multiome(500, 50, 200, coupling=coupling)["atac"]
        reached.append(average_precision(atac.X.toarray() > 0, atac.layers["true_probability"]))
    assert reached[0] < 0.4 < reached[2]
    assert reached == sorted(reached)
    silent = datasets.simulate_multiome(100, 50, 20, coupling=0)["atac"].layers["true_probability"]
    np.testing.assert_allclose(silent, np.tile(silent[0], (100, 1)))


def test_interaction_bends_what_is_linear():
    from sklearn.linear_model import LinearRegression

    shares = []
    for interaction in (0.0, 1.0):
        data = datasets.simulate_multiome(1500, 20, 100, interaction=interaction)
        p, z = data["atac"].layers["true_probability"], data["rna"].obsm["true_states"]
        p = np.clip(p.astype(float), 1e-6, 1 - 1e-6)
        logits = np.log(p / (1 - p))
        shares.append(LinearRegression().fit(z, logits).score(z, logits))
    assert shares[0] == pytest.approx(1, abs=1e-3)
    assert shares[1] < 0.7


def test_peaks_lie_at_the_gene_that_they_follow(data):
    genes, peaks = data["rna"].var, data["atac"].var
    position = np.where(genes["strand"] == "+", genes["start"], genes["end"])
    near = distance_weights(genes.assign(position=position), peaks, scale=10_000.0)
    own = near[genes.index.get_indexer(peaks["true_gene"]), np.arange(len(peaks))]
    own = own.toarray() if sparse.issparse(own) else np.asarray(own)
    assert own.min() > 0.4
    p, X = data["atac"].layers["true_probability"], data["rna"].X.toarray()
    of_gene = genes.index.get_indexer(peaks["true_gene"])
    correlation = [np.corrcoef(p[:, j], X[:, of_gene[j]])[0, 1] for j in range(100)]
    shifted = [np.corrcoef(p[:, j], X[:, of_gene[j] - 7])[0, 1] for j in range(100)]
    assert np.mean(correlation) > 0.25
    assert abs(np.mean(shifted)) < 0.1


def test_same_seed_same_data_and_files(tmp_path):
    first, again, other = (datasets.simulate_multiome(60, 30, 20, random_state=seed) for seed in (1, 1, 2))
    for name in ("rna", "atac"):
        assert (first[name].X != again[name].X).nnz == 0
        assert (first[name].X != other[name].X).nnz > 0
        first[name].write_h5ad(tmp_path / f"{name}.h5ad")
        assert ad.read_h5ad(tmp_path / f"{name}.h5ad").shape == first[name].shape


@pytest.mark.parametrize(
    ("kwargs", "error"),
    [
        ({"n_cells": 5}, ValueError),
        ({"n_genes": 20.0}, TypeError),
        ({"n_peaks": 0}, ValueError),
        ({"n_states": 0}, ValueError),
        ({"prevalence": 0}, ValueError),
        ({"coupling": -1}, ValueError),
        ({"dispersion": np.nan}, ValueError),
    ],
)
def test_arguments_of_the_simulation(kwargs, error):
    with pytest.raises(error, match=next(iter(kwargs))):
        datasets.simulate_multiome(**kwargs)


# --- the public file -----------------------------------------------------------------------------------------------


def write_10x(path, *, drop=None):
    counts = sparse.random(7, 5, density=0.5, random_state=0, format="csr", dtype=np.float64)
    counts.data = np.ceil(counts.data * 9)
    features = {
        "id": ["ENSG1", "ENSG2", "ENSG3", "chr1:5-9", "chr2:7-99"],
        "name": ["A", "B", "A", "chr1:5-9", "chr2:7-99"],
        "feature_type": ["Gene Expression"] * 3 + ["Peaks"] * 2,
        "interval": ["chr1:1-10", "chr1:20-30", "chr2:1-5", "chr1:5-9", "chr2:7-99"],
    }
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        matrix["shape"] = [5, 7]
        matrix["data"], matrix["indices"], matrix["indptr"] = counts.data.astype(int), counts.indices, counts.indptr
        matrix["barcodes"] = np.array([f"cell{i}-1" for i in range(7)], dtype="S")
        group = matrix.create_group("features")
        for name, values in features.items():
            if name != drop:
                group[name] = np.array(values, dtype="S")
    return counts.toarray()


def test_a_file_of_10x_is_split_into_genes_and_peaks(tmp_path):
    counts = write_10x(tmp_path / _multiome_10x._NAME)
    found = datasets.pbmc_multiome_10k(path=tmp_path)  # there already: nothing is downloaded
    np.testing.assert_array_equal(found["rna"].X.toarray(), counts[:, :3])
    np.testing.assert_array_equal(found["atac"].X.toarray(), counts[:, 3:])
    assert list(found["rna"].var_names) == ["A", "B", "A-1"]
    assert list(found["rna"].var["gene_id"]) == ["ENSG1", "ENSG2", "ENSG3"]
    assert list(found["atac"].var_names) == ["chr1:5-9", "chr2:7-99"]
    assert list(found["rna"].obs_names) == list(found["atac"].obs_names)


@pytest.mark.parametrize("what", ["text", "empty", "part"])
def test_what_is_no_such_file(what, tmp_path):
    file = tmp_path / _multiome_10x._NAME
    if what == "part":
        write_10x(file, drop="interval")
    else:
        file.write_text("<html>" if what == "text" else "")
    with pytest.raises(OSError, match=r"is no file of Cell Ranger ARC.*Remove it"):
        datasets.pbmc_multiome_10k(path=tmp_path)


def test_offline_the_error_says_how_to_place_it_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(_multiome_10x, "_URL", "http://127.0.0.1:9/nothing.h5")
    with pytest.raises(ConnectionError, match=r"could not be downloaded.*offline.*save it as"):
        datasets.pbmc_multiome_10k(path=tmp_path)
    assert not list(tmp_path.glob("*.h5"))
