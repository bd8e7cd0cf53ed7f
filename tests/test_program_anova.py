"""tl.program_anova: labels, slots and errors; the numbers are tested in test_stats_anova.py."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.stats import f_oneway

import scprograms as scp
from fitted import with_factorization

PAPALEXI = Path("../shared/data/papalexi2021_thp1_lowmoi/papalexi2021_thp1_lowmoi.h5ad")
COLUMNS = ["F", "p", "log10_p", "q", "eta_squared", "omega_squared", "df_between", "df_within", "n_groups", "n_cells"]
COLUMNS += ["method", "unused_replicates"]


@pytest.fixture
def adata():
    return with_factorization()


def table(adata, groupby="perturbation"):
    return adata.uns["semi_nmf"]["anova"][groupby]


def test_writes_one_row_per_program(adata):
    assert scp.tl.program_anova(adata, "perturbation") is None
    result = table(adata)
    assert result.columns.tolist() == COLUMNS
    assert result.index.tolist() == ["program_0", "program_1", "program_2"]
    groups = [adata.obsm["X_semi_nmf"][adata.obs["perturbation"] == g].astype(float) for g in ("A", "B", "NT")]
    expected = f_oneway(*groups)
    np.testing.assert_allclose(result["F"], expected.statistic, rtol=1e-10)
    np.testing.assert_allclose(result["p"], expected.pvalue, rtol=1e-9)
    assert (result["q"] < 1e-6).all()
    assert (result["n_cells"] == 60).all()


def test_copy_leaves_the_original_alone(adata):
    changed = scp.tl.program_anova(adata, "perturbation", copy=True)
    assert "anova" not in adata.uns["semi_nmf"]
    scp.tl.program_anova(adata, "perturbation")
    pd.testing.assert_frame_equal(table(changed), table(adata))


def test_second_grouping_is_kept_beside_the_first(adata):
    adata.obs["half"] = np.arange(60) < 30
    scp.tl.program_anova(adata, "perturbation")
    scp.tl.program_anova(adata, "half")
    assert set(adata.uns["semi_nmf"]["anova"]) == {"perturbation", "half"}


def test_order_of_cells_and_names_of_groups_do_not_matter(adata):
    scp.tl.program_anova(adata, "perturbation")
    other = adata[np.random.default_rng(0).permutation(60)].copy()
    other.obs["perturbation"] = other.obs["perturbation"].cat.rename_categories({"A": "zz", "NT": "a"}).astype(str)
    scp.tl.program_anova(other, "perturbation")
    pd.testing.assert_frame_equal(table(other), table(adata), rtol=1e-9)


def test_single_and_double_precision_usages_agree(adata):
    scp.tl.program_anova(adata, "perturbation")
    wide = adata.copy()
    wide.obsm["X_semi_nmf"] = wide.obsm["X_semi_nmf"].astype(np.float64)
    scp.tl.program_anova(wide, "perturbation")
    pd.testing.assert_frame_equal(table(wide), table(adata), rtol=1e-12)


def test_survives_the_disk(adata, tmp_path):
    adata.obs["a/b"] = adata.obs["perturbation"].astype(str)
    adata.obsm["X_semi_nmf"][:, 1] = 0.5  # a row of NaN
    scp.tl.program_anova(adata, "a/b")
    adata.obs = adata.obs.drop(columns="a/b")  # anndata cannot write this name itself
    adata.write_h5ad(tmp_path / "x.h5ad")
    back = anndata.read_h5ad(tmp_path / "x.h5ad")
    pd.testing.assert_frame_equal(table(back, "a_b"), table(adata, "a_b"), check_index_type=False)


def test_unknown_grouping_36(adata):
    with pytest.raises(KeyError, match=r"'guide' is not in adata.obs. There: 'perturbation'"):
        scp.tl.program_anova(adata, "guide")


def test_no_factorization_36(adata):
    with pytest.raises(KeyError, match=r"key='onmf'.*'semi_nmf'"):
        scp.tl.program_anova(adata, "perturbation", key="onmf")


def test_unknown_method_32(adata):
    with pytest.raises(ValueError, match=r"method='welch'.*'anova'"):
        scp.tl.program_anova(adata, "perturbation", method="welch")


def test_table_instead_of_adata_47(adata):
    with pytest.raises(TypeError, match=r"pandas\.DataFrame"):
        scp.tl.program_anova(adata.obs, "perturbation")


def test_single_group_49(adata):
    adata.obs["batch"] = "only"
    with pytest.raises(ValueError, match="single group, 'only'"):
        scp.tl.program_anova(adata, "batch")


def test_group_of_one_cell_stays_50(adata):
    labels = adata.obs["perturbation"].astype(str)
    labels.iloc[0] = "rare"
    adata.obs["guide"] = labels
    scp.tl.program_anova(adata, "guide")
    assert (table(adata, "guide")["n_groups"] == 4).all()
    assert (table(adata, "guide")["n_cells"] == 60).all()


def test_groups_of_one_cell_only_51(adata):
    adata.obs["cell"] = adata.obs_names
    with pytest.raises(ValueError, match="Each of the 60 groups"):
        scp.tl.program_anova(adata, "cell")
    assert "anova" not in adata.uns["semi_nmf"]


def test_unused_category_is_dropped_52(adata):
    scp.tl.program_anova(adata, "perturbation")
    adata.obs["ghost"] = adata.obs["perturbation"].cat.add_categories("ghost")
    scp.tl.program_anova(adata, "ghost")
    pd.testing.assert_frame_equal(table(adata, "ghost"), table(adata))
    assert (table(adata, "ghost")["df_between"] == 2).all()


def test_missing_labels_are_counted_and_left_out_53(adata):
    adata.obs["guide"] = adata.obs["perturbation"].astype(object)
    adata.obs.iloc[:7, adata.obs.columns.get_loc("guide")] = np.nan
    with pytest.warns(scp.ProgramsWarning, match="missing for 7 of 60 cells"):
        scp.tl.program_anova(adata, "guide")
    part = adata[7:].copy()
    scp.tl.program_anova(part, "perturbation")
    pd.testing.assert_frame_equal(table(adata, "guide"), table(part), rtol=1e-12)


@pytest.mark.filterwarnings("ignore:'perturbation' in adata.obs may hold guides")
@pytest.mark.parametrize("labels", [np.arange(60) % 3, np.arange(60) % 3 == 0, (np.arange(60) % 3).astype(float)])
def test_numbers_and_booleans_are_labels_54(adata, labels):
    adata.obs["group"] = labels
    adata.obs["text"] = labels.astype(str)
    scp.tl.program_anova(adata, "group")
    scp.tl.program_anova(adata, "text")
    pd.testing.assert_frame_equal(table(adata, "group"), table(adata, "text"))


def test_constant_program_stays_out_of_the_family_55(adata):
    adata.obsm["X_semi_nmf"][:, 1] = 0.25
    scp.tl.program_anova(adata, "perturbation")
    result = table(adata)
    assert result.loc["program_1", ["F", "p", "log10_p", "q", "eta_squared"]].isna().all()
    others = result.loc[["program_0", "program_2"]]
    assert others["q"].min() == pytest.approx(2 * others["p"].min(), rel=1e-12)


def test_zero_variance_within_groups_56(adata):
    adata.obsm["X_semi_nmf"][:, 0] = adata.obs["perturbation"].cat.codes.to_numpy() * 0.1
    scp.tl.program_anova(adata, "perturbation")
    assert table(adata).loc["program_0", ["F", "p", "log10_p", "q"]].tolist() == [np.inf, 0, -np.inf, 0]


def test_names_are_no_formula_61(adata):
    adata.uns["semi_nmf"]["programs"].index = ["C", "a b", "1+2"]
    scp.tl.program_anova(adata, "perturbation")
    assert table(adata).index.tolist() == ["C", "a b", "1+2"]


def test_grouping_with_a_slash_42(adata):
    adata.obs["gene/guide"] = adata.obs["perturbation"]
    scp.tl.program_anova(adata, "gene/guide")
    assert list(adata.uns["semi_nmf"]["anova"]) == ["gene_guide"]


def test_list_of_groupings(adata):
    with pytest.raises(TypeError, match=r"single string.*\['perturbation'\]"):
        scp.tl.program_anova(adata, ["perturbation"])


@pytest.mark.filterwarnings("ignore:Maximum number of iterations")
@pytest.mark.shared_data
@pytest.mark.skipif(not PAPALEXI.is_file(), reason=f"{PAPALEXI} is not there")
def test_papalexi_programs_respond_to_the_interferon_pathway():
    from sklearn.decomposition import NMF

    adata = anndata.read_h5ad(PAPALEXI)
    adata = adata[adata.obs["guide_confident"].to_numpy(dtype=bool)][::4].copy()
    total = np.asarray(adata.X.sum(axis=1))
    adata.X = adata.X.multiply(np.median(total) / np.maximum(total, 1)).tocsr().log1p()
    fit = with_factorization(n_obs=adata.n_obs, n_vars=adata.n_vars, n_programs=8)
    fit.obsm["X_semi_nmf"] = NMF(8, init="nndsvda", max_iter=100, tol=1e-3).fit_transform(adata.X)
    fit.obs["perturbation"] = adata.obs["perturbation"].to_numpy()
    scp.tl.program_anova(fit, "perturbation")
    result = table(fit)
    best = result["eta_squared"].idxmax()
    means = fit.obs.assign(usage=fit.obsm["X_semi_nmf"][:, result.index.get_loc(best)])
    means = means.groupby("perturbation", observed=True)["usage"].mean()
    deviation = (means - means.median()).abs().nlargest(5).index
    assert result.loc[best, "q"] < 1e-50
    assert len({"IFNGR1", "IFNGR2", "JAK2", "STAT1"} & set(deviation)) >= 3
