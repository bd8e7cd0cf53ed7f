"""tl.perturbation_effects where each cell has one perturbation: tests, labels, slots and errors."""

from __future__ import annotations

import logging
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse
from scipy.optimize import nnls

import scprograms as scp
from scprograms._anndata import slot_names, slots
from scprograms._core.multiple_testing import benjamini_hochberg
from scprograms.perturbation.engine import group_effect_sizes, permutation_contrasts, replicate_contrasts

PAPALEXI = Path("../shared/data/papalexi2021_thp1_lowmoi/papalexi2021_thp1_lowmoi.h5ad")
COLUMNS = ["perturbation", "program", "effect", "difference", "auc", "log2_fold_change", "p", "log10_p", "q"]
COLUMNS += ["n_cells", "n_replicates", "n_control"]
NT = "non-targeting"


def screen(seed=0, n=600, k=4, penalty=0.05):
    """Targets GENE0 to GENE3 and control; three guides each; GENE1 raises program_1 and lowers its own gene.

    Program 0 is GENE0 alone, and the knock-down of GENE0 does nothing but silence it.
    """
    rng = np.random.default_rng(seed)
    names = [f"GENE{i}" for i in range(4)] + [NT]
    codes = np.concatenate([np.repeat(np.arange(5), 4), rng.choice(5, n - 20, p=[0.15, 0.15, 0.15, 0.15, 0.4])])
    batch = rng.integers(0, 2, n)
    H = np.zeros((k, 30))
    H[0, 0] = 1
    for j in range(1, k):
        H[j, 8 * j - 4 : 8 * j + 2] = rng.uniform(0.5, 1.5, 6)
        H[j, j] = 2.0
    H /= np.linalg.norm(H, axis=1, keepdims=True)
    W = rng.gamma(0.8, size=(n, k)) + 0.5 * batch[:, None]
    W[codes == 1, 1] += 1.5
    X = np.maximum(W @ H + 0.05 * rng.normal(size=(n, 30)), 0)
    for g in range(4):
        X[codes == g, g] *= 0.2
    obs = pd.DataFrame(
        {
            "perturbation": pd.Categorical.from_codes(codes, names),
            "batch": pd.Categorical.from_codes(batch, ["a", "b"]),
            "depth": rng.normal(size=n),
        },
        index=[f"cell{i}" for i in range(n)],
    )
    obs["guide"] = obs["perturbation"].astype(str) + "_g" + pd.Series(rng.integers(0, 3, n), obs.index).astype(str)
    adata = anndata.AnnData(sparse.csr_matrix(X), obs=obs, var=pd.DataFrame(index=[f"GENE{j}" for j in range(30)]))
    baseline = np.where(np.arange(30) < 5, 0.0, 0.02)
    usages = np.array([nnls_penalised(H, x - baseline, penalty) for x in X])
    model = pd.DataFrame({"baseline": baseline, "center": 0.0, "scale": 1.0, "used": True}, index=adata.var_names)
    about = pd.DataFrame({"variance_explained": 0.1, "sparsity": 0.0, "stability": np.nan}, slot_names.program_names(k))
    fit = {slot_names.PARAMS: {"n_programs": k}, slot_names.ERROR: 0.1, slot_names.L1_PENALTY: penalty}
    slots.write_factorization(adata, "semi_nmf", slots.Factorization(usages, H, model, about, fit))
    return adata


def nnls_penalised(H, x, penalty):
    """Minimise 1/2 |x - w H|^2 + penalty * sum_k |h_k|^2 w_k over w >= 0 by completing the square (oracle)."""
    live = np.linalg.norm(H, axis=1) > 0
    w = np.zeros(len(H))
    G = H[live] @ H[live].T
    root = np.linalg.cholesky(G).T
    w[live] = nnls(root, np.linalg.solve(root.T, H[live] @ x - penalty * np.diag(G)))[0]
    return w


@pytest.fixture(scope="module")
def fixed():
    return screen()


@pytest.fixture
def adata(fixed):
    return fixed.copy()


def run(adata, *args, **kwargs):
    kwargs = {"n_permutations": 199} | kwargs
    if "method" not in kwargs and "replicate" in kwargs:
        kwargs.pop("n_permutations")
    assert scp.tl.perturbation_effects(adata, *(args or ("perturbation", NT)), **kwargs) is None
    return scp.get.effects(adata, kwargs.get("guide_key") or (args or ("perturbation",))[0])


pytestmark = pytest.mark.filterwarnings(
    "ignore:.*may hold guides or replicates:scprograms._core.validate.ProgramsWarning"
)


# --- numbers -------------------------------------------------------------------------------------------------------


def test_permutation_table(adata):
    table = run(adata, strata="batch")
    assert table.columns.tolist() == COLUMNS
    assert table["perturbation"].tolist() == np.repeat([f"GENE{i}" for i in range(4)], 4).tolist()
    assert table["program"].tolist() == ["program_0", "program_1", "program_2", "program_3"] * 4
    codes = adata.obs["perturbation"].cat.codes.to_numpy().astype(int)
    batch = adata.obs["batch"].cat.codes.to_numpy().astype(int)
    sizes = group_effect_sizes(adata.obsm["X_semi_nmf"], codes, 4, strata=batch)
    for name in ("effect", "difference", "auc", "log2_fold_change"):
        np.testing.assert_allclose(table[name], getattr(sizes, name)[:4].ravel(), rtol=1e-12)
    np.testing.assert_allclose(table["q"], benjamini_hochberg(table["p"].to_numpy()), rtol=1e-12)
    np.testing.assert_allclose(table["log10_p"], np.log10(table["p"]), rtol=1e-12)
    counts = adata.obs["perturbation"].value_counts()
    assert (table["n_cells"] == counts[table["perturbation"]].to_numpy()).all()
    assert (table["n_control"] == counts[NT]).all()
    assert (table["n_replicates"] == 0).all()
    hit = table[(table["perturbation"] == "GENE1") & (table["program"] == "program_1")].iloc[0]
    assert hit["p"] == 1 / 200
    assert hit["effect"] > 0.5


def test_p_values_are_those_of_the_permutation_test(adata):
    table = run(adata, strata="batch")
    codes = adata.obs["perturbation"].cat.codes.to_numpy().astype(int)
    batch = adata.obs["batch"].cat.codes.to_numpy().astype(int)
    # Any other seed gives p-values within the noise of 199 draws; a wrong comparison does not.
    exact = (
        permutation_contrasts(adata.obsm["X_semi_nmf"], codes, 4, strata=batch, n_permutations=4999, random_state=7)
        .p[:4]
        .ravel()
    )
    assert np.abs(table["p"] - exact).max() < 0.2
    assert np.corrcoef(table["p"], exact)[0, 1] > 0.95


def test_replicates_are_the_unit(adata):
    table = run(adata, replicate="guide", strata="batch")
    guides = np.unique(adata.obs["guide"], return_inverse=True)[1]
    codes = adata.obs["perturbation"].cat.codes.to_numpy().astype(int)
    batch = adata.obs["batch"].cat.codes.to_numpy().astype(int)
    expected = replicate_contrasts(adata.obsm["X_semi_nmf"], codes, guides, control=4, strata=batch)
    np.testing.assert_allclose(table["p"], expected.p[:4].ravel(), rtol=1e-10)
    np.testing.assert_allclose(table["log10_p"], expected.log10_p[:4].ravel(), rtol=1e-10)
    assert (table["n_replicates"] == 3).all()
    assert adata.uns["semi_nmf"]["effects_params"]["perturbation"]["method"] == "replicate"


def test_versus_the_rest_needs_no_control(adata):
    table = run(adata, "perturbation", versus="rest")
    assert table["perturbation"].nunique() == 5
    one = table[(table["perturbation"] == "GENE2") & (table["program"] == "program_3")].iloc[0]
    usage, here = adata.obsm["X_semi_nmf"][:, 3], (adata.obs["perturbation"] == "GENE2").to_numpy()
    assert one["difference"] == pytest.approx(usage[here].mean() - usage[~here].mean(), rel=1e-9)
    assert one["n_control"] == np.sum(~here)
    with_control = run(adata, "perturbation", NT, versus="rest")
    assert NT not in set(with_control["perturbation"])
    pd.testing.assert_series_equal(
        with_control["effect"], table["effect"][table["perturbation"] != NT].reset_index(drop=True)
    )


def test_covariates_leave_what_least_squares_leaves(adata):
    W = adata.obsm["X_semi_nmf"]
    adata.obs["depth"] += 1.0 * (adata.obs["perturbation"] == "GENE2")  # tied to a perturbation that does nothing
    W += 0.7 * np.maximum(adata.obs["depth"].to_numpy()[:, None], -2) + 2
    plain, adjusted = run(adata), run(adata, covariates=["depth", "batch"])
    codes = adata.obs["perturbation"].cat.codes.to_numpy()
    design = [codes == g for g in range(4)] + [np.ones(len(codes)), adata.obs["depth"], adata.obs["batch"] == "b"]
    slopes = np.linalg.lstsq(np.column_stack(design).astype(float), W, rcond=None)[0][:4]
    np.testing.assert_allclose(adjusted["difference"], slopes.ravel(), rtol=1e-8, atol=1e-10)
    moved = plain["perturbation"] == "GENE2"
    assert plain.loc[moved, "p"].median() == 1 / 200
    assert adjusted.loc[moved, "p"].median() > 0.1
    pd.testing.assert_series_equal(adjusted["log2_fold_change"], plain["log2_fold_change"])


def test_one_number_of_threads_is_like_another(adata):
    pd.testing.assert_frame_equal(run(adata, n_jobs=1), run(adata, n_jobs=3))
    pd.testing.assert_frame_equal(run(adata, drop_target=True, n_jobs=1), run(adata, drop_target=True, n_jobs=3))


def test_order_of_cells_does_not_matter_to_sizes(adata):
    other = adata[np.random.default_rng(0).permutation(adata.n_obs)].copy()
    a, b = run(adata, replicate="guide", strata="batch"), run(other, replicate="guide", strata="batch")
    pd.testing.assert_frame_equal(a, b, rtol=1e-9)


# --- the perturbed gene left out -----------------------------------------------------------------------------------


def test_a_program_of_the_target_alone_has_no_effect_without_it(adata, caplog):
    plain = run(adata)
    with caplog.at_level(logging.INFO, logger="scprograms"):
        dropped = run(adata, drop_target=True)
    own = (plain["perturbation"] == "GENE0") & (plain["program"] == "program_0")
    assert plain.loc[own, "effect"].item() < -0.5
    assert plain.loc[own, "p"].item() == 1 / 200
    assert dropped.loc[own, "difference"].item() == 0
    assert np.isnan(dropped.loc[own, "p"].item())
    others = (plain["perturbation"] == "GENE0") & (plain["program"] != "program_0")
    np.testing.assert_allclose(dropped.loc[others, "effect"], plain.loc[others, "effect"], atol=1e-6)
    np.testing.assert_allclose(dropped.loc[others, "p"], plain.loc[others, "p"], atol=1e-12)


@pytest.mark.parametrize("wanted", [{"replicate": "guide"}, {"versus": "rest"}, {}])
def test_usages_without_a_gene_equal_a_solve_of_the_other_genes(adata, wanted):
    table = run(adata, "perturbation", NT, drop_target=True, **wanted)
    H, X = adata.varm["semi_nmf_loadings"].T, adata.X.toarray() - adata.varm["semi_nmf_model"]["baseline"].to_numpy()
    group = adata.obs["perturbation"].to_numpy()
    for g in (1, 2):
        without = H.copy()
        without[:, g] = 0
        usages = np.array([nnls_penalised(without, x, 0.05) for x in X])
        control = group != f"GENE{g}" if "versus" in wanted else group == NT
        expected = usages[group == f"GENE{g}"].mean(axis=0) - usages[control].mean(axis=0)
        found = table.loc[table["perturbation"] == f"GENE{g}", "difference"]
        np.testing.assert_allclose(found, expected, atol=1e-8)


def test_dropping_matters_where_the_target_is_one_gene_of_many(adata):
    plain, dropped = run(adata), run(adata, drop_target=True)
    own = (plain["perturbation"] == "GENE2") & (plain["program"] == "program_2")
    assert plain.loc[own, "effect"].item() < -0.2
    assert abs(dropped.loc[own, "effect"].item()) < 0.15


def test_targets_by_mapping_and_by_column(adata, caplog):
    named = run(adata, drop_target=True)
    adata.obs["perturbation"] = adata.obs["perturbation"].cat.rename_categories({f"GENE{i}": f"t{i}" for i in range(4)})
    adata.obs["gene"] = adata.obs["perturbation"].astype(str).str.replace("t", "GENE").where(lambda x: x != NT)
    adata.obs.loc[adata.obs["perturbation"] == NT, "gene"] = None
    with pytest.warns(scp.ProgramsWarning, match=r"adata.obs\['gene'\] is missing for"):
        by_column = run(adata, drop_target=True, target="gene")
    by_mapping = run(adata, drop_target=True, target={f"t{i}": [f"GENE{i}"] for i in range(4)})
    for other in (by_column, by_mapping):
        pd.testing.assert_frame_equal(other.drop(columns="perturbation"), named.drop(columns="perturbation"))
    with (
        caplog.at_level(logging.INFO, logger="scprograms"),
        pytest.warns(scp.ProgramsWarning, match=r"1 of \d perturbations have no target among the genes .*'t1'"),
    ):
        run(adata, drop_target=True, target={"t0": "GENE0", "t1": "nowhere"})
    assert "nowhere, the target of t1, is not measured" in caplog.text
    with pytest.warns(scp.ProgramsWarning, match="nothing was dropped"):
        run(adata, drop_target=True)
    adata.obs["gene"] = np.where(np.arange(adata.n_obs) % 2, "GENE1", "GENE2")
    with pytest.raises(ValueError, match="have 2 different targets"):
        run(adata, drop_target=True, target="gene")


def test_a_gene_outside_the_fit_is_not_dropped(adata, caplog):
    adata.varm["semi_nmf_model"].loc["GENE1", "used"] = False
    with (
        caplog.at_level(logging.INFO, logger="scprograms"),
        pytest.warns(scp.ProgramsWarning, match=r"1 of \d perturbations have no target .*'GENE1'.*a pair has two"),
    ):
        run(adata, drop_target=True)
    assert "GENE1, the target of GENE1, did not enter the fit" in caplog.text


def test_dropping_needs_least_squares(adata):
    adata.uns["semi_nmf"]["params"]["loss"] = "kullback-leibler"
    with pytest.raises(ValueError, match="fitted with loss='kullback-leibler'"):
        run(adata, drop_target=True)
    with pytest.raises(ValueError, match="no effect without drop_target=True"):
        run(adata, target="guide")


def test_on_a_real_fit_nothing_changes_for_genes_without_weight():
    adata = scp.datasets.simulate_screen(500, 120, 5, n_perturbations=4, random_state=3)
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    scp.tl.semi_nmf(adata, 5, center="mean", scale=True)
    H = adata.varm["semi_nmf_loadings"]
    H[7] = 0
    plain = run(adata, "perturbation", NT)
    dropped = run(adata, "perturbation", NT, drop_target=True, target={plain["perturbation"][0]: adata.var_names[7]})
    pd.testing.assert_frame_equal(dropped, plain)
    some = {name: adata.var_names[i] for i, name in enumerate(plain["perturbation"].unique())}
    changed = run(adata, "perturbation", NT, drop_target=True, target=some)
    assert 1e-6 < np.abs(changed["effect"] - plain["effect"]).max() < 0.2


# --- labels, slots and errors --------------------------------------------------------------------------------------


def test_unknown_control_lists_the_groups(adata):  # row 48
    with pytest.raises(ValueError, match=r"control='NTC' is no level.*'GENE0', 'GENE1'.*'non-targeting'"):
        run(adata, "perturbation", "NTC")


def test_control_is_needed(adata):
    with pytest.raises(ValueError, match="control=None: pass the label of the control cells"):
        run(adata, "perturbation")


def test_control_alone_is_nothing_to_compare(adata):  # row 49
    only = adata[adata.obs["perturbation"] == NT].copy()
    with pytest.raises(ValueError, match="has a single group, 'non-targeting'"):
        run(only)


def test_groups_of_one_cell_are_named_and_not_tested(adata):  # rows 50, 51, 52
    group = adata.obs["perturbation"].astype(str).to_numpy()
    group[:2] = ["lonely", "alone"]
    adata.obs["perturbation"] = pd.Categorical(group, [*np.unique(group), "ghost"])
    with pytest.warns(scp.ProgramsWarning, match=r"2 groups have fewer than two cells \('alone', 'lonely'\)"):
        table = run(adata)
    single = table["perturbation"].isin(["lonely", "alone"])
    assert single.sum() == 8
    assert table.loc[single, ["p", "q"]].isna().all(axis=None)
    assert table.loc[~single, ["p", "q"]].notna().all(axis=None)
    assert "ghost" not in set(table["perturbation"])
    each = adata[np.r_[0:2, np.flatnonzero(group == NT)]].copy()
    with pytest.raises(ValueError, match="None of the 2 groups"):
        run(each)


def test_missing_labels_are_counted(adata):  # rows 53, 54, 60
    adata.obs["number"] = np.where(adata.obs["perturbation"] == NT, 0, 7).astype(float)
    adata.obs.loc[adata.obs_names[:9], "number"] = np.nan
    with pytest.warns(scp.ProgramsWarning, match=r"adata.obs\['number'\] is missing for 9 of 600"):
        table = run(adata, "number", 0.0)
    assert table["perturbation"].unique().tolist() == ["7.0"]
    adata.obs["number"] = np.where(adata.obs["perturbation"] == NT, 0, 7)
    before = run(adata, "number", 0)
    assert before["perturbation"].unique().tolist() == ["7"]
    adata.obs.loc[adata.obs_names[:9], "depth"] = np.nan
    with pytest.warns(scp.ProgramsWarning, match="is missing for 9 of"):
        after = run(adata, "number", 0, covariates="depth")
    assert (before["n_cells"] + before["n_control"] - after["n_cells"] - after["n_control"] == 9).all()


def test_a_constant_program_is_out_of_the_family(adata):  # row 55
    adata.obsm["X_semi_nmf"][:, 2] = 0.5
    table = run(adata)
    constant = table["program"] == "program_2"
    assert table.loc[constant, ["effect", "p", "log10_p", "q"]].isna().all(axis=None)
    np.testing.assert_allclose(table["q"][~constant], benjamini_hochberg(table["p"][~constant].to_numpy()))


def test_groups_without_control_in_their_strata_are_named(adata):  # row 59
    adata.obs["lane"] = np.where(adata.obs["perturbation"] == "GENE3", "own", "shared")
    with pytest.warns(scp.ProgramsWarning, match=r"1 groups share no stratum.*'GENE3'"):
        table = run(adata, strata="lane")
    lost = table["perturbation"] == "GENE3"
    assert table.loc[lost, ["effect", "p"]].isna().all(axis=None)
    assert table.loc[~lost, "p"].notna().all()


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        ({"groupby": ["perturbation"]}, TypeError, "single string"),
        ({"groupby": "nothing"}, KeyError, "not in adata.obs"),
        ({"groupby": None}, ValueError, "pass one of them"),
        ({"guide_key": "guides"}, ValueError, "pass one of them"),
        ({"key": "nmf"}, KeyError, "no factorization under key='nmf'"),
        ({"versus": "all"}, ValueError, "versus='all' is not known"),
        ({"method": "anova"}, ValueError, "method='anova' is not known"),
        ({"method": "replicate"}, ValueError, "needs replicates"),
        ({"method": "permutation", "replicate": "guide"}, ValueError, "has no part in method='permutation'"),
        ({"replicate": "batch"}, ValueError, "occur in several groups"),
        ({"replicate": "nothing"}, KeyError, "not in adata.obs"),
        ({"strata": "nothing"}, KeyError, "not in adata.obs"),
        ({"covariates": "nothing"}, KeyError, "not in adata.obs"),
        ({"n_permutations": 0}, ValueError, "n_permutations=0 is too small"),
        ({"n_permutations": 10.5}, TypeError, "n_permutations=10.5 is a float"),
        ({"drop_target": True, "layer": "nothing"}, KeyError, "not in adata.layers"),
        ({"drop_target": True, "target": 3}, TypeError, "target=3 is a int"),
    ],
)
def test_bad_arguments_change_nothing(adata, wanted, error, message):
    wanted = {"groupby": "perturbation", "control": NT} | wanted
    with pytest.raises(error, match=message):
        scp.tl.perturbation_effects(adata, **wanted)
    assert "effects" not in adata.uns["semi_nmf"]


def test_guides_that_were_not_used_are_pointed_out(adata):
    with pytest.warns(scp.ProgramsWarning, match="'guide' of adata.obs may hold guides or replicates"):
        scp.tl.perturbation_effects(adata, "perturbation", NT, n_permutations=9)


def test_copy_leaves_the_original_alone(adata):
    changed = scp.tl.perturbation_effects(adata, "perturbation", NT, n_permutations=99, copy=True)
    assert "effects" not in adata.uns["semi_nmf"]
    assert len(scp.get.effects(changed, "perturbation")) == 16


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_survives_the_disk(adata, tmp_path, kind):  # rows 42, 43
    adata.obs["a/b"] = adata.obs["perturbation"].astype(str)
    run(adata, "a/b", NT, strata=["batch"], covariates="depth")
    run(adata, replicate="guide")
    adata.obs = adata.obs.drop(columns="a/b")  # anndata cannot write this name itself
    path = tmp_path / f"screen.{kind}"
    getattr(adata, f"write_{kind}")(path)
    back = getattr(anndata, f"read_{kind}")(path)
    for groupby in ("a/b", "perturbation"):
        pd.testing.assert_frame_equal(
            scp.get.effects(back, groupby), scp.get.effects(adata, groupby), check_dtype=False
        )
    assert back.uns["semi_nmf"]["effects_params"]["a_b"]["strata"] == "batch"


def test_get_filters_and_says_what_is_there(adata):
    with pytest.raises(KeyError, match="perturbation_effects"):
        scp.get.effects(adata, "perturbation")
    run(adata)
    part = scp.get.effects(adata, "perturbation", perturbation="GENE1", program=["program_1", "program_0"])
    assert len(part) == 2
    with pytest.raises(ValueError, match="'GENE9' not tested"):
        scp.get.effects(adata, "perturbation", perturbation="GENE9")
    with pytest.raises(ValueError, match="'3' not tested"):
        scp.get.effects(adata, "perturbation", perturbation=3)
    with pytest.raises(ValueError, match="program: 'program_99' not known"):
        scp.get.effects(adata, "perturbation", program="program_99")
    with pytest.raises(TypeError, match="program=1 is a int"):
        scp.get.effects(adata, "perturbation", program=1)
    with pytest.raises(KeyError, match="batch"):
        scp.get.effects(adata, "batch")


def test_get_takes_a_value_of_a_column_of_booleans(adata):
    adata = adata.copy()
    adata.obs["changed"] = (adata.obs["perturbation"] != NT).to_numpy()
    scp.tl.perturbation_effects(adata, "changed", False)
    whole = scp.get.effects(adata, "changed")
    assert set(whole["perturbation"]) == {"True"}
    pd.testing.assert_frame_equal(scp.get.effects(adata, "changed", perturbation=True), whole)


@pytest.mark.shared_data
@pytest.mark.skipif(not PAPALEXI.exists(), reason=f"{PAPALEXI} is not there")
def test_interferon_receptors_share_a_program_on_papalexi():
    adata = anndata.read_h5ad(PAPALEXI)
    adata = adata[adata.obs["guide_confident"].to_numpy(dtype=bool)].copy()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    scp.tl.semi_nmf(adata, 20)
    scp.tl.perturbation_effects(adata, "perturbation", NT, replicate="guide", strata="bio_rep")
    table = scp.get.effects(adata, "perturbation").sort_values("log10_p")
    pathway = ["IFNGR1", "IFNGR2", "JAK2", "STAT1"]
    best = table.groupby("perturbation").first().loc[pathway]
    assert best["program"].nunique() == 1
    assert abs(np.sign(best["effect"]).sum()) == 4
    assert (best["effect"].abs() > 1.5).all()
    assert (best["q"] < 1e-8).all()
    assert (best["n_replicates"] == 4).all()
    assert (table.loc[table["perturbation"] == "CAV1", "q"] > 0.05).all()
