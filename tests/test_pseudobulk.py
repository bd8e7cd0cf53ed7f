"""pp.pseudobulk sums counts of groups as a loop does, caps at the percentile, and refuses what has no sums."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import scprograms as scp
from scprograms import ProgramsWarning

SHARED = Path(__file__).parents[2] / "shared" / "data"
GRANJA = SHARED / "granja2019_bmmc_scatac" / "granja2019_bmmc_scatac_D5T1.h5ad"
GRANJA_SUMS = SHARED / "granja2019_bmmc_pseudobulk" / "granja2019_bmmc_pseudobulk_D5T1.h5ad"


def cells(holder=sparse.csr_matrix, *, n=200, n_vars=37, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.poisson(0.7, size=(n, n_vars)).astype(np.float32)
    obs = pd.DataFrame(
        {
            "subtype": pd.Categorical(rng.choice(["b", "a", "c"], n), ["b", "a", "c", "never"]),
            "region": rng.choice(["x", "y"], n),
            "batch": rng.integers(0, 2, n),
        },
        index=[f"cell_{i}" for i in range(n)],
    )
    adata = ad.AnnData(holder(X), obs=obs)
    adata.var["kept"] = np.arange(n_vars)
    return adata


@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_sums_are_those_of_a_loop(holder):
    adata = cells(holder)
    bulk = scp.pp.pseudobulk(adata, ["subtype", "region"], min_cells=1, cpm=False)
    assert sparse.issparse(bulk.X)
    assert bulk.X.dtype == np.float32
    X = adata.X.toarray() if sparse.issparse(adata.X) else adata.X
    names = []
    for subtype in ["b", "a", "c"]:
        for region in ["x", "y"]:
            mask = ((adata.obs["subtype"] == subtype) & (adata.obs["region"] == region)).to_numpy()
            names.append(f"{subtype}_{region}")
            np.testing.assert_array_equal(bulk[names[-1]].X.toarray()[0], X[mask].sum(axis=0))
            assert bulk.obs.loc[names[-1], "n_cells"] == mask.sum()
            assert bulk.obs.loc[names[-1], "n_counts"] == X[mask].sum()
    assert bulk.obs_names.tolist() == names
    assert bulk.obs["subtype"].cat.categories.tolist() == ["b", "a", "c"]
    pd.testing.assert_frame_equal(bulk.var, adata.var)
    np.testing.assert_array_equal(bulk.X.toarray(), bulk.layers["counts"].toarray())


def test_counts_per_million_sum_to_a_million():
    bulk = scp.pp.pseudobulk(cells(), "subtype", min_cells=1)
    np.testing.assert_allclose(bulk.X.sum(axis=1), 1e6, rtol=1e-5)
    counts = bulk.layers["counts"].toarray()
    np.testing.assert_allclose(bulk.X.toarray(), 1e6 * counts / counts.sum(axis=1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("chunk_size", [1, 5, 36, 37, 1000])
def test_chunks_do_not_matter(chunk_size):
    whole, parts = (scp.pp.pseudobulk(cells(), ["subtype"], chunk_size=size) for size in (None, chunk_size))
    np.testing.assert_array_equal(whole.X.toarray(), parts.X.toarray())


@pytest.mark.parametrize("percentile", [70, 90, 99, 99.99, 100])
def test_cap_is_the_percentile_of_all_values(percentile):
    whole = scp.pp.pseudobulk(cells(), ["subtype", "region"], min_cells=1)
    capped = scp.pp.pseudobulk(cells(), ["subtype", "region"], min_cells=1, cap_percentile=percentile)
    cap = np.percentile(whole.X.toarray().astype(float), percentile)
    assert capped.uns["pseudobulk"]["cap"] == pytest.approx(cap, rel=1e-6)
    np.testing.assert_allclose(capped.X.toarray(), np.minimum(whole.X.toarray(), cap), rtol=1e-6)


@pytest.mark.parametrize("share", [0.02, 0.4])
def test_percentile_counts_zeros(share):
    from scprograms.modules._pseudobulk import _percentile

    matrix = sparse.random(30, 50, density=share, format="csr", rng=1)
    for percentile in (0, 10, 50, 100 * (1 - share) - 0.03, 100 * (1 - share), 100 * (1 - share) + 0.03, 99.5, 100):
        assert _percentile(matrix, percentile) == pytest.approx(np.percentile(matrix.toarray(), percentile), abs=1e-12)


def test_small_groups_and_missing_labels_are_left_out_with_a_word():
    adata = cells()
    adata.obs["subtype"] = adata.obs["subtype"].astype(object)
    adata.obs.iloc[:3, 0] = "rare"
    adata.obs.iloc[3:10, 0] = None
    with pytest.warns(ProgramsWarning) as caught:
        bulk = scp.pp.pseudobulk(adata, "subtype", min_cells=4)
    said = " ".join(str(each.message) for each in caught)
    assert "missing for 7 of 200" in said
    assert "'rare'" in said
    assert bulk.obs_names.tolist() == ["a", "b", "c"]
    assert bulk.obs["n_cells"].sum() == 190


def test_names_that_join_alike_stay_apart():
    adata = cells(n=40)
    adata.obs["one"] = ["a_b", "a"] * 20
    adata.obs["two"] = ["c", "b_c"] * 20
    assert scp.pp.pseudobulk(adata, ["one", "two"]).obs_names.tolist() == ["a_b_c", "a_b_c-1"]


def test_a_layer_and_the_input_is_left_alone():
    adata = cells()
    adata.layers["double"] = adata.X * 2
    before = adata.X.copy()
    once, twice = (scp.pp.pseudobulk(adata, "subtype", layer=layer, cpm=False) for layer in (None, "double"))
    np.testing.assert_array_equal(2 * once.X.toarray(), twice.X.toarray())
    assert (before != adata.X).nnz == 0


def test_a_group_without_counts_is_warned_about():
    adata = cells(np.asarray)
    adata.X[(adata.obs["region"] == "x").to_numpy()] = 0
    with pytest.warns(ProgramsWarning, match="1 of 2 groups have no counts"):
        bulk = scp.pp.pseudobulk(adata, "region")
    assert bulk.X[0].nnz == 0
    assert np.isfinite(bulk.X.data).all()


def test_results_survive_a_file(tmp_path):
    bulk = scp.pp.pseudobulk(cells(), ["subtype", "region"], cap_percentile=99)
    bulk.write_h5ad(tmp_path / "bulk.h5ad")
    again = ad.read_h5ad(tmp_path / "bulk.h5ad")
    assert list(again.uns["pseudobulk"]["groupby"]) == ["subtype", "region"]
    np.testing.assert_array_equal(again.X.toarray(), bulk.X.toarray())


def test_logarithms_are_warned_about():
    adata = cells()
    adata.X = adata.X.log1p()
    with pytest.warns(ProgramsWarning, match="not whole"):
        scp.pp.pseudobulk(adata, "subtype")


def negative(adata):
    adata.X.data[3] = -2


def nothing(adata):
    adata.X.data[:] = 0


def missing(adata):
    adata.X.data[3] = np.nan


def mostly_zero(adata):
    adata.X.data[5:] = 0


def unlabelled(adata):
    adata.obs["subtype"] = np.nan


def crossed(adata):
    adata.obs["subtype"] = ["a", None] * 100
    adata.obs["region"] = [None, "x"] * 100


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (negative, {}, ValueError, "1 negative values, the lowest is -2"),
        (nothing, {}, ValueError, "no signal"),
        (missing, {}, ValueError, "1 NaN"),
        (unlabelled, {}, ValueError, "no label at all"),
        (crossed, {"groupby": ["subtype", "region"]}, ValueError, "No cell has a label in every column"),
        (None, {"groupby": []}, ValueError, "names no column"),
        (None, {"groupby": "nowhere"}, KeyError, "'nowhere' is not in adata.obs"),
        (None, {"groupby": 4}, TypeError, "groupby=4"),
        (None, {"layer": "nowhere"}, KeyError, "adata.layers"),
        (None, {"min_cells": 1000}, ValueError, "none of the 3 groups has so many cells"),
        (None, {"min_cells": 0}, ValueError, "min_cells=0"),
        (None, {"cap_percentile": 101}, ValueError, "cap_percentile=101"),
        (mostly_zero, {"cap_percentile": 10}, ValueError, "lies among the zeros"),
        (None, {"chunk_size": 0}, ValueError, "chunk_size=0"),
        (None, {"cpm": "yes"}, ValueError, "cpm='yes'"),
    ],
)
@pytest.mark.filterwarnings("ignore::scprograms.ProgramsWarning")
def test_bad_input(change, options, error, message):
    adata = cells()
    if change is not None:
        change(adata)
    with pytest.raises(error, match=message):
        scp.pp.pseudobulk(adata, **{"groupby": "subtype", **options})


def test_a_column_of_the_name_of_ours_is_refused():
    adata = cells()
    adata.obs["n_cells"] = "a"
    with pytest.raises(ValueError, match="rename"):
        scp.pp.pseudobulk(adata, "n_cells")


def test_no_anndata():
    with pytest.raises(TypeError, match="AnnData is needed"):
        scp.pp.pseudobulk(np.ones((3, 3)), "subtype")


# --- real cells ----------------------------------------------------------------------------------------------------


@pytest.mark.shared_data
@pytest.mark.skipif(not GRANJA.exists(), reason="the shared data of Granja et al. are not there")
def test_bone_marrow_has_modules_of_its_lineages():
    adata, sums = ad.read_h5ad(GRANJA), ad.read_h5ad(GRANJA_SUMS)
    bulk = scp.pp.pseudobulk(adata, ["BioClassification", "lineage"], min_cells=5, cap_percentile=99.99)
    order = [bulk.obs["BioClassification"].tolist().index(name) for name in sums.obs_names]
    np.testing.assert_array_equal(bulk.layers["counts"].toarray()[order], sums.X)
    with pytest.warns(ProgramsWarning, match="15_CLP.2"):  # 9 cells
        bulk = scp.pp.pseudobulk(adata, ["BioClassification", "lineage"], cap_percentile=99.99)
    scp.tl.nmf(bulk, 5)
    scp.tl.assign_modules(bulk, "lineage")
    module = bulk.obs.assign(name=bulk.obs["BioClassification"].astype(str)).set_index("name")["nmf_module"].astype(str)
    found = {
        lineage: set(module[bulk.obs["lineage"].to_numpy() == lineage]) for lineage in bulk.obs["lineage"].unique()
    }
    # Each module is of one lineage (T and NK cells share that of effector cells; CLP.1 goes with the B cells it makes).
    assert len(found["myeloid"]) == 1
    assert len(found["B"]) == 1
    assert module["01_HSC"] == module["05_CMP.LMPP"]
    assert module["06_CLP.1"] == module["17_B"]
    assert found["myeloid"].isdisjoint(found["T"] | found["B"] | found["NK"] | found["progenitor"])
    assert found["B"].isdisjoint(found["T"] | found["NK"] | found["myeloid"])
    assert found["NK"] <= found["T"]
    # Features of a module are most accessible in the cells of its samples, one by one.
    cells_of = adata.obs["lineage"].to_numpy() == "myeloid"
    table = scp.get.modules(bulk, of="features")
    own = (table["module"] == next(iter(found["myeloid"]))).to_numpy()
    share = np.asarray(adata.X[:, own].sum(axis=1)).ravel() / np.asarray(adata.X.sum(axis=1)).ravel()
    from sklearn.metrics import roc_auc_score

    assert roc_auc_score(cells_of, share) > 0.99
