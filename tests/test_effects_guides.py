"""tl.perturbation_effects where cells carry several guides: carriers against the others, guide matrices, errors."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse
from scipy.stats import kstest

import scprograms as scp
from scprograms._anndata import slot_names, slots
from scprograms.perturbation.engine import group_effect_sizes, replicate_contrasts

GASPERINI = Path("../shared/data/gasperini2019_highmoi/gasperini2019_k562_highmoi.h5ad")
TSS = {"COX4I1": "ENSG00000131143", "DIMT1": "ENSG00000086189", "MRPL9": "ENSG00000143436"}
TSS |= {"NDUFB5": "ENSG00000136521", "PRKAR2B": "ENSG00000005249", "RPL6": "ENSG00000089009"}
TSS |= {"SLC25A37": "ENSG00000147454", "SRRM1": "ENSG00000133226", "SSR3": "ENSG00000114850"}


def with_programs(adata, usages, *, key="semi_nmf"):
    """Write usages as those of a factorization; of expression itself, a program is a gene."""
    k = usages.shape[1]
    model = pd.DataFrame({"baseline": 0.0, "center": 0.0, "scale": 1.0, "used": True}, index=adata.var_names)
    about = pd.DataFrame({"variance_explained": 0.1, "sparsity": 0.0, "stability": np.nan}, slot_names.program_names(k))
    fit = {slot_names.PARAMS: {}, slot_names.ERROR: 0.1, slot_names.L1_PENALTY: 0.0}
    result = slots.Factorization(usages, np.eye(k, adata.n_vars), model, about, fit)
    slots.write_factorization(adata, key, result)
    return adata


def high_moi(seed=0, n=1500, n_targets=6, guides_per_target=3, k=5, effect=1.0, depth=0.0):
    """Guides at several per cell; t0 raises program 0. ``depth``: cells with more guides use all programs more."""
    rng = np.random.default_rng(seed)
    n_guides = n_targets * guides_per_target
    rate = rng.gamma(2.0, 1 / 2.0, size=n)
    counts = np.where(rng.random((n, n_guides)) < 0.09 * rate[:, None], rng.integers(5, 40, (n, n_guides)), 0)
    counts += rng.random((n, n_guides)) < 0.1  # ambient
    target = np.repeat([f"t{i}" for i in range(n_targets)], guides_per_target)
    usages = rng.gamma(0.5, size=(n, k)) * (1 + depth * rate[:, None])
    usages[(counts[:, target == "t0"] >= 5).any(axis=1), 0] += effect
    obs = pd.DataFrame({"batch": rng.choice(["a", "b"], n)}, index=[f"cell{i}" for i in range(n)])
    adata = anndata.AnnData(sparse.csr_matrix(usages), obs=obs, var=pd.DataFrame(index=[f"gene{i}" for i in range(k)]))
    adata.obsm["guides"] = sparse.csr_matrix(counts.astype(np.float32))
    adata.uns["guide_names"] = np.array([f"g{i}" for i in range(n_guides)])
    adata.uns["guide_target"] = target
    return with_programs(adata, usages)


@pytest.fixture(scope="module")
def fixed():
    return high_moi()


@pytest.fixture
def adata(fixed):
    return fixed.copy()


def run(adata, **kwargs):
    scp.tl.perturbation_effects(adata, guide_key="guides", **{"n_permutations": 199} | kwargs)
    return scp.get.effects(adata, "guides")


def test_carriers_are_compared_with_all_other_cells(adata):
    table = run(adata, strata="batch")
    assert table["perturbation"].unique().tolist() == [f"t{i}" for i in range(6)]
    carried = adata.obsm["guides"].toarray() >= 5
    target = adata.uns["guide_target"]
    for t in np.unique(target):
        carrier, number = carried[:, target == t].any(axis=1), carried.sum(axis=1)
        rows = table[table["perturbation"] == t]
        assert (rows["n_cells"] == carrier.sum()).all()
        strata = np.unique(adata.obs["batch"], return_inverse=True)[1] * 100 + number
        sizes = group_effect_sizes(adata.obsm["X_semi_nmf"], carrier.astype(int), 0, strata=strata)
        assert number.max() < 50  # so that every number is a bin of its own
        np.testing.assert_allclose(rows["effect"], sizes.effect[1], rtol=1e-12)
        np.testing.assert_allclose(rows["auc"], sizes.auc[1], rtol=1e-12)
        assert (rows["n_control"] == sizes.n_control[1]).all()
    best = table.loc[table["effect"].idxmax()]
    assert (best["perturbation"], best["program"], best["p"]) == ("t0", "program_0", 1 / 200)


def test_dense_sparse_boolean_and_table_agree(adata):
    expected = run(adata)
    counts = adata.obsm["guides"].toarray()
    frame = pd.DataFrame(counts, index=adata.obs_names, columns=adata.uns["guide_names"])
    forms = [counts, sparse.csc_matrix(counts), sparse.csr_array(counts), counts >= 5, sparse.csr_matrix(counts >= 5)]
    for form in [*forms, frame]:
        other = adata.copy()
        other.obsm["guides"] = form
        if form is frame:
            other.uns["guide_names"] = "of no use"
        pd.testing.assert_frame_equal(run(other), expected)
    names, targets = list(adata.uns["guide_names"]), list(adata.uns["guide_target"])
    bare = adata.copy()
    del bare.uns["guide_names"], bare.uns["guide_target"]
    bare.uns["aim"] = np.array(targets)
    mapping = dict(zip(names, targets, strict=True))
    pd.testing.assert_frame_equal(run(bare, guide_names=names, guide_target=mapping), expected)
    pd.testing.assert_frame_equal(run(bare, guide_names=names, guide_target="aim"), expected)


def test_the_threshold_keeps_ambient_guides_out(adata):
    strict, loose = run(adata), run(adata, guide_threshold=1)
    first = strict["perturbation"] == "t0"
    assert (loose.loc[first, "n_cells"] > 1.5 * strict.loc[first, "n_cells"]).all()
    assert loose.loc[first, "effect"].iloc[0] < strict.loc[first, "effect"].iloc[0]
    assert adata.uns["semi_nmf"]["effects_params"]["guides"]["guide_threshold"] == 1


def test_guides_as_replicates(adata):
    table = run(adata, replicate="guide")
    assert (table["n_replicates"] == 3).all()
    best = table.loc[table["log10_p"].idxmin()]
    assert (best["perturbation"], best["program"], best["q"] < 1e-4) == ("t0", "program_0", True)
    carried, target = adata.obsm["guides"].toarray() >= 5, adata.uns["guide_target"]
    values, codes, units, numbers = [], [], [], []
    for t, name in enumerate(np.unique(target)):
        own = carried[:, target == name]
        cells = np.flatnonzero(own.any(axis=1))
        values.append(adata.obsm["X_semi_nmf"][cells])
        codes.append(np.full(len(cells), t))
        units.append(3 * t + own[cells].argmax(axis=1))
        numbers.append(carried[cells].sum(axis=1))
    values, codes, units, numbers = map(np.concatenate, (values, codes, units, numbers))
    expected = replicate_contrasts(values, codes, units, control=None, strata=numbers)
    np.testing.assert_allclose(table["p"], expected.p.ravel(), rtol=1e-9)


def test_cells_with_more_guides_do_not_pass_for_an_effect():
    """Usage follows how easily a cell takes guides up: given their number p stays uniform, without it does not."""
    inside, outside = [], []
    for seed in range(6):
        adata = high_moi(seed, n=1200, effect=0.0, depth=1.0)
        inside += run(adata)["p"].tolist()
        carried = adata.obsm["guides"].toarray() >= 5
        adata.obs["t1"] = carried[:, adata.uns["guide_target"] == "t1"].any(axis=1)
        scp.tl.perturbation_effects(adata, "t1", False, n_permutations=199)
        outside += scp.get.effects(adata, "t1")["p"].tolist()
    assert 0.01 <= np.mean(np.array(inside) < 0.05) <= 0.10
    assert kstest(inside, "uniform").pvalue > 0.01
    assert np.mean(np.array(outside) < 0.05) > 0.3


def test_targets_of_genes_are_dropped(adata):
    adata.uns["guide_target"] = np.array([name.replace("t0", "gene0") for name in adata.uns["guide_target"]])
    plain = run(adata)
    with pytest.warns(scp.ProgramsWarning, match="5 of 6 perturbations have no target among the genes of the fit"):
        dropped = run(adata, drop_target=True)
    own = (plain["perturbation"] == "gene0") & (plain["program"] == "program_0")
    assert plain.loc[own, "p"].item() == 1 / 200
    assert dropped.loc[own, "difference"].item() == 0
    pd.testing.assert_frame_equal(dropped[~own].drop(columns="q"), plain[~own].drop(columns="q"), rtol=1e-9)


def test_covariates_and_missing_strata(adata):
    adata.obs["depth"] = np.random.default_rng(0).normal(size=adata.n_obs)
    adata.obs.loc[adata.obs_names[:7], "batch"] = np.nan
    with pytest.warns(scp.ProgramsWarning, match="is missing for 7 of 1500"):
        table = run(adata, covariates="depth", strata="batch")
    assert (table["n_cells"] + table["n_control"] <= 1493).all()
    assert table["p"].notna().all()


def test_guides_without_target_and_targets_without_carriers_are_named(adata):
    mapping = dict(zip(adata.uns["guide_names"], adata.uns["guide_target"], strict=True))
    del mapping["g17"]
    with pytest.warns(scp.ProgramsWarning, match="1 of 18 guides.*have no target"):
        assert run(adata, guide_target=mapping)["perturbation"].nunique() == 6
    counts = adata.obsm["guides"].toarray()
    counts[:, 15:] = 0
    counts[0, 15] = 9
    adata.obsm["guides"] = counts
    with pytest.warns(scp.ProgramsWarning, match=r"1 targets have fewer than two carriers \('t5 \(1\)'\)"):
        table = run(adata)
    assert table.loc[table["perturbation"] == "t5", ["p", "q"]].isna().all(axis=None)
    with pytest.warns(scp.ProgramsWarning, match="fewer than two carriers"):
        run(adata, replicate="guide")


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        ({"guide_key": "nothing"}, KeyError, r"'nothing' is not in adata.obsm. There: 'guides'"),
        ({"guide_key": ["guides"]}, TypeError, "single string"),
        ({"control": "t0"}, ValueError, "have no meaning with guide_key"),
        ({"versus": "rest"}, ValueError, "have no meaning with guide_key"),
        ({"replicate": "batch"}, ValueError, "the replicates are the guides"),
        ({"guide_threshold": 1e6}, ValueError, "No cell carries a guide"),
        ({"guide_threshold": 0}, ValueError, "out of range"),
        ({"guide_names": ["a", "b"]}, ValueError, "guide_names has 2 names"),
        ({"guide_names": ["a"] * 18}, ValueError, "guide_names has duplicates"),
        ({"guide_names": "nothing"}, KeyError, "not in adata.uns"),
        ({"guide_target": "nothing"}, KeyError, "not in adata.uns"),
        ({"guide_target": ["t0"]}, ValueError, "guide_target has 1 entries"),
        ({"guide_target": {"other": "t0"}}, ValueError, "knows none of the guides"),
    ],
)
def test_bad_arguments_change_nothing(adata, wanted, error, message):
    with pytest.raises(error, match=message):
        scp.tl.perturbation_effects(adata, **{"guide_key": "guides"} | wanted)
    assert "effects" not in adata.uns["semi_nmf"]


def test_survives_the_disk(adata, tmp_path):
    table = run(adata, strata="batch")
    adata.write_h5ad(tmp_path / "x.h5ad")
    back = scp.get.effects(anndata.read_h5ad(tmp_path / "x.h5ad"), "guides")
    pd.testing.assert_frame_equal(back, table, check_dtype=False)


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.skipif(not GASPERINI.exists(), reason=f"{GASPERINI} is not there")
def test_guides_lower_their_own_targets_in_gasperini():
    """With expression itself as usages: the gene that guides at a promoter lower most is the promoter's own."""
    adata = anndata.read_h5ad(GASPERINI)
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    genes = list(TSS.values())
    adata = adata[:, [*genes, *adata.var_names.difference(genes)[:11]]].copy()
    with_programs(adata, adata.X.toarray())
    adata.obsm["guides"] = adata.obsm["guide_counts"]
    table = run(adata, strata="batch", n_permutations=1999)
    effect = table.set_index(["perturbation", "program"])["effect"].unstack()
    for gene, name in TSS.items():
        assert effect.loc[f"{gene}_TSS"].idxmin() == f"program_{genes.index(name)}"
    own = [table[(table["perturbation"] == f"{gene}_TSS") & (table["effect"] < 0)]["q"].min() for gene in TSS]
    assert max(own) < 0.05
