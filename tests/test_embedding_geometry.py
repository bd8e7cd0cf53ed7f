"""Distances in an embedding, and the two coordinates that are drawn."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from scipy.spatial.distance import cdist

import scprograms as scp
from scprograms.embeddings.engine import scaled_rows


def test_euclidean_distances_of_scaled_rows_are_those_of_the_cosine():
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    found = cdist(scaled_rows(rows, "cosine"), scaled_rows(rows, "cosine"), "sqeuclidean") / 2
    np.testing.assert_allclose(found, cdist(rows, rows, "cosine"), atol=1e-6)
    np.testing.assert_array_equal(scaled_rows(rows, "euclidean"), rows)


def test_a_map_has_the_first_two_coordinates_of_every_cell():
    adata = ad.AnnData(np.ones((3, 2), dtype=np.float32), obsm={"X_lsi": np.arange(9.0).reshape(3, 3)})
    table = scp.get.embedding_map(adata, "X_lsi")
    assert table.index.tolist() == adata.obs_names.tolist()
    np.testing.assert_array_equal(table[["x", "y"]].to_numpy(), adata.obsm["X_lsi"][:, :2])
    with pytest.raises(KeyError, match="X_umap"):
        scp.get.embedding_map(adata, "X_umap")
