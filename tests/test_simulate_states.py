"""Simulated states are where they are said to be, and differ by what is said."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from scprograms.datasets import simulate_states


@pytest.fixture(scope="module")
def adata():
    return simulate_states()


def effects(adata, cell_type, state):
    """Cohen's d of every gene between cells in a state and the others of the type, a mean over samples."""
    found = []
    of_type = adata[adata.obs["cell_type"] == cell_type]
    for sample in of_type.obs["sample"].cat.categories:
        part = of_type[of_type.obs["sample"] == sample]
        inside = (part.obs["state"] == state).to_numpy()
        X = part.X.toarray().astype(float)
        pooled = np.sqrt((X[inside].var(axis=0, ddof=1) + X[~inside].var(axis=0, ddof=1)) / 2)
        found.append((X[inside].mean(axis=0) - X[~inside].mean(axis=0)) / np.where(pooled > 0, pooled, 1))
    return np.mean(found, axis=0)


def test_layout(adata):
    assert adata.shape == (4000, 1000)
    for matrix in (adata.X, adata.layers["counts"]):
        assert sparse.issparse(matrix)
        assert (matrix.format, matrix.dtype) == ("csr", np.float32)
    counts = adata.layers["counts"].toarray().astype(float)
    np.testing.assert_array_equal(counts, np.round(counts))
    normalised = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(adata.X.toarray(), normalised, rtol=1e-5)
    assert counts.mean() == pytest.approx(2, rel=0.2)
    assert {name: len(adata.obs[name].cat.categories) for name in adata.obs} == {
        "cell_type": 4,
        "state": 3,
        "sample": 8,
    }
    assert adata.obs["sample"].value_counts().tolist() == [500] * 8
    assert adata.obs["state"].value_counts(normalize=True).between(0.25, 0.42).all()


@pytest.mark.parametrize(("cell_type", "state"), [("type_0", "state_0"), ("type_3", "state_2")])
def test_markers_move_by_the_effect_and_other_genes_stay(adata, cell_type, state):
    marker = adata.varm["true_markers"][f"{cell_type}:{state}"].to_numpy()
    d = effects(adata, cell_type, state)
    others = [c for c in adata.varm["true_markers"] if c.startswith(cell_type)]
    untouched = (adata.varm["true_markers"][others] == 0).all(axis=1).to_numpy()
    assert (marker != 0).sum() == 50
    assert 5 <= (marker < 0).sum() <= 25
    assert d[marker > 0].mean() == pytest.approx(1, abs=0.1)
    assert d[marker < 0].mean() == pytest.approx(-1, abs=0.1)
    assert abs(d[untouched].mean()) < 0.06
    assert np.abs(d[untouched]).mean() < 0.2


def test_no_two_states_of_a_type_share_a_marker(adata):
    markers = adata.varm["true_markers"].abs()
    for cell_type in adata.obs["cell_type"].cat.categories:
        assert markers.filter(regex=f"^{cell_type}:").sum(axis=1).max() == 1


def test_without_effect_states_are_names():
    adata = simulate_states(2000, 300, n_samples=2, n_cell_types=1, n_markers=30, effect=0, random_state=1)
    d = effects(adata, "type_0", "state_0")
    marker = adata.varm["true_markers"]["type_0:state_0"].to_numpy() != 0
    assert np.abs(d[marker]).mean() < 0.1


@pytest.mark.parametrize("batch_effect", [0, 0.3, 1.0])
def test_batch_effect_is_the_spread_of_the_log_means_of_samples(batch_effect):
    adata = simulate_states(4000, 100, n_states=1, n_cell_types=1, n_markers=10, batch_effect=batch_effect)
    counts = adata.layers["counts"].toarray()
    means = np.array([counts[adata.obs["sample"] == s].mean(axis=0) for s in adata.obs["sample"].cat.categories])
    spread = np.log(np.maximum(means, 1e-3)).std(axis=0, ddof=1)[means.mean(axis=0) > 0.5].mean()
    assert spread == pytest.approx(batch_effect, abs=0.08)


def test_sizes_of_states_may_be_rare_or_zero():
    adata = simulate_states(6000, 200, state_sizes=(94, 5, 1), n_markers=20)
    np.testing.assert_allclose(adata.obs["state"].value_counts(normalize=True), [0.94, 0.05, 0.01], atol=0.02)
    np.testing.assert_allclose(adata.uns["truth"]["params"]["state_sizes"], [0.94, 0.05, 0.01])
    none = simulate_states(300, 200, state_sizes=(1, 0, 1), n_markers=20)
    assert (none.obs["state"] != "state_1").all()


def test_cells_of_a_state_are_neighbours(adata):
    part = adata[adata.obs["sample"] == "sample_2"]
    near = NearestNeighbors(n_neighbors=6).fit(part.obsm["spatial"]).kneighbors(return_distance=False)
    states = part.obs["state"].cat.codes.to_numpy()
    same = (states[near] == states[:, None]).mean()
    assert same > 0.6
    spans = [adata.obsm["spatial"][adata.obs["sample"] == s] for s in ("sample_0", "sample_1")]
    assert spans[0][:, 0].max() < spans[1][:, 0].min()


def test_the_seed_decides(tmp_path):
    a, b, c = (simulate_states(200, 200, n_markers=20, random_state=seed) for seed in (3, 3, 4))
    assert (a.X != b.X).nnz == 0
    assert a.obs.equals(b.obs)
    assert (a.X != c.X).nnz > 0
    a.write_h5ad(tmp_path / "states.h5ad")
    again = anndata.read_h5ad(tmp_path / "states.h5ad")
    assert again.varm["true_markers"].equals(a.varm["true_markers"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_vars": 100}, ValueError, "n_vars=100 is too few .* Pass at least 200 genes"),
        ({"state_sizes": (0.5, 0.5)}, ValueError, "pass n_states=3 fractions"),
        ({"state_sizes": "abc"}, ValueError, "pass n_states=3 fractions"),
        ({"state_sizes": (0, 0, 0)}, ValueError, "all zero"),
        ({"state_sizes": (1, -1, 1)}, ValueError, "out of range"),
        ({"n_obs": 2.5}, TypeError, "n_obs=2.5"),
        ({"n_samples": 0}, ValueError, "n_samples=0"),
        ({"effect": float("nan")}, ValueError, "effect=nan"),
        ({"batch_effect": -1}, ValueError, "batch_effect=-1"),
    ],
)
def test_what_cannot_be_simulated(arguments, error, message):
    with pytest.raises(error, match=message):
        simulate_states(**arguments)
