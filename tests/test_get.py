"""Readers: what they return equals what lies in the slots, and what is missing says how to make it."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from factorized import CONTROL, add_anova, add_enrichment, factorized_screen
from scprograms import ProgramsWarning, get


@pytest.fixture
def adata() -> ad.AnnData:
    return factorized_screen()


# --- usages, loadings, history ---------------------------------------------------------------------------------------


def test_usages_are_the_slot_with_names(adata):
    usages = get.usages(adata)
    np.testing.assert_array_equal(usages.to_numpy(), adata.obsm["X_semi_nmf"])
    assert list(usages) == ["program_0", "program_1", "program_2", "program_3"]
    assert usages.index.equals(adata.obs_names)
    assert (usages.dtypes == np.float32).all()


def test_loadings_layouts_hold_the_same_numbers(adata):
    expected = adata.varm["semi_nmf_loadings"]
    genes = get.loadings(adata)
    np.testing.assert_array_equal(genes.to_numpy(), expected)
    pd.testing.assert_frame_equal(get.loadings(adata, layout="programs").T, genes)
    long = get.loadings(adata, layout="long")
    assert len(long) == expected.size
    for row in long.sample(25, random_state=0).itertuples():
        assert row.loading == genes.loc[row.gene, row.program]
    with pytest.raises(ValueError, match=r"layout='wide' is not known.*'genes', 'programs', 'long'"):
        get.loadings(adata, layout="wide")


def test_readers_return_copies(adata):
    before = adata.uns["semi_nmf"]["history"].copy()
    history = get.history(adata)
    history.loc[:, "loss"] = -1
    pd.testing.assert_frame_equal(adata.uns["semi_nmf"]["history"], before)


def test_history_is_missing_for_a_fit_that_recorded_none(adata):
    del adata.uns["semi_nmf"]["history"]
    with pytest.raises(KeyError, match=r"'history' is not in .*scp\.tl\.semi_nmf"):
        get.history(adata)


# --- top_genes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["up", "down"])
def test_top_genes_are_the_extreme_loadings(adata, direction):
    loadings = pd.DataFrame(adata.varm["semi_nmf_loadings"], index=adata.var_names)
    wide = get.top_genes(adata, n_genes=7, direction=direction)
    for i, program in enumerate(wide):
        pick = loadings[i].nlargest(7) if direction == "up" else loadings[i].nsmallest(7)
        assert wide[program].tolist() == pick.index.tolist()
    long = get.top_genes(adata, n_genes=7, direction=direction, layout="long")
    assert long.groupby("program")["gene"].apply(list).tolist() == [wide[name].tolist() for name in wide]
    assert long["rank"].tolist() == list(range(1, 8)) * 4
    values = get.loadings(adata)
    assert [values.loc[row.gene, row.program] for row in long.itertuples()] == long["loading"].tolist()


def test_top_genes_never_lists_a_gene_of_the_other_sign_or_zero(adata):
    loadings = np.zeros_like(adata.varm["semi_nmf_loadings"])
    loadings[:3, 0], loadings[3, 0], loadings[5:7, 1] = [0.1, 0.3, 0.2], -1, 1
    adata.varm["semi_nmf_loadings"] = loadings
    wide = get.top_genes(adata, n_genes=10, programs=["program_0", "program_1", "program_2"])
    assert wide["program_0"].dropna().tolist() == ["gene_1", "gene_2", "gene_0"]
    assert wide["program_1"].dropna().tolist() == ["gene_5", "gene_6"]  # ties keep the order of the genes
    assert wide["program_2"].isna().all()
    assert get.top_genes(adata, n_genes=10, direction="down", layout="long")["gene"].tolist() == ["gene_3"]


def test_top_genes_has_no_more_genes_than_there_are(adata):
    adata.varm["semi_nmf_loadings"] = np.abs(adata.varm["semi_nmf_loadings"])
    assert len(get.top_genes(adata)) == adata.n_vars


def test_top_genes_needs_unique_names(adata):  # row 39
    adata.var_names = ["gene_0", "gene_0", *adata.var_names[2:]]
    with pytest.raises(ValueError, match=r"duplicates \('gene_0'\).*var_names_make_unique"):
        get.top_genes(adata)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_genes": 0}, ValueError, "n_genes=0 is too small"),  # row 23
        ({"n_genes": 2.5}, TypeError, "n_genes=2.5 is a float"),  # row 24
        ({"n_genes": True}, TypeError, "n_genes=True is a bool"),  # row 25
        ({"direction": "both"}, ValueError, "direction='both' is not known"),  # row 32
        ({"programs": ["program_9"]}, ValueError, "'program_9' not known. Choose from 'program_0'"),
        ({"programs": []}, ValueError, "no name given"),
        ({"programs": 3}, TypeError, "programs=3 is a int"),
    ],
)
def test_top_genes_explains_bad_arguments(adata, arguments, error, message):
    with pytest.raises(error, match=message):
        get.top_genes(adata, **arguments)


def test_numpy_integers_count_as_integers(adata):  # row 26
    assert len(get.top_genes(adata, n_genes=np.int64(3))) == 3


# --- groups ----------------------------------------------------------------------------------------------------------


def test_labels_put_the_control_first_and_keep_each_cell_its_group(adata):
    labels = get.labels(adata, "perturbation", control=CONTROL)
    assert labels.cat.categories.tolist() == [CONTROL, "target_0", "target_1", "target_2", "target_3", "target_4"]
    assert labels.astype(str).tolist() == adata.obs["perturbation"].astype(str).tolist()
    assert get.labels(adata, "perturbation").cat.categories[0] == "target_0"


def test_labels_drop_unused_categories(adata):  # row 52
    adata.obs["perturbation"] = adata.obs["perturbation"].cat.add_categories("ghost")
    assert "ghost" not in get.labels(adata, "perturbation").cat.categories


def test_labels_count_missing_ones(adata):  # row 53
    adata.obs.loc[adata.obs_names[:3], "perturbation"] = np.nan
    with pytest.warns(ProgramsWarning, match="missing for 3 of 240 cells"):
        labels = get.labels(adata, "perturbation")
    assert labels.isna().sum() == 3


def test_labels_of_numbers_and_booleans_are_strings(adata):  # row 54
    adata.obs["guide"] = np.arange(adata.n_obs) % 2
    assert get.labels(adata, "guide", control=1).cat.categories.tolist() == ["1", "0"]
    adata.obs["is_control"] = adata.obs["guide"] == 1
    assert get.labels(adata, "is_control").cat.categories.tolist() == ["False", "True"]


def test_unknown_control_lists_the_levels(adata):  # row 48
    with pytest.raises(ValueError, match=r"control='NT' is no level of .*'target_0'"):
        get.labels(adata, "perturbation", control="NT")


def test_unknown_column_lists_the_columns(adata):  # row 36
    with pytest.raises(KeyError, match=r"'guide' is not in adata\.obs\. There: 'perturbation'"):
        get.labels(adata, "guide")
    with pytest.raises(TypeError, match="single string"):
        get.labels(adata, ["perturbation"])


def test_colors_follow_the_categories(adata):
    assert get.colors(adata, "perturbation") is None
    palette = [f"#00000{i}" for i in range(6)]
    adata.uns["perturbation_colors"] = palette
    assert get.colors(adata, "perturbation") == dict(
        zip(adata.obs["perturbation"].cat.categories, palette, strict=True)
    )
    adata.uns["perturbation_colors"] = palette[:2]  # a palette that is too short is no palette
    assert get.colors(adata, "perturbation") is None


# --- tables of tests -------------------------------------------------------------------------------------------------


def test_anova_is_the_stored_table(adata):
    table = add_anova(adata)
    pd.testing.assert_frame_equal(get.anova(adata, "perturbation"), table)


def test_missing_tables_name_the_call(adata):
    with pytest.raises(KeyError, match=r"no 'anova' yet\. Call scp\.tl\.program_anova"):
        get.anova(adata, "perturbation")
    with pytest.raises(KeyError, match=r"no 'enrichment' yet\. Call scp\.tl\.program_enrichment"):
        get.enrichment(adata)
    add_anova(adata)
    with pytest.raises(KeyError, match=r"'batch' is not in .*'perturbation'.*program_anova\(adata, 'batch'"):
        get.anova(adata, "batch")


def test_missing_factorization_lists_those_that_exist(adata):  # row 36
    with pytest.raises(KeyError, match=r"key='onmf'. There: 'semi_nmf'\. Make one with scp\.tl\.semi_nmf"):
        get.usages(adata, key="onmf")


def test_other_objects_are_refused_by_name(adata):  # row 47
    for reader in (get.usages, get.loadings, get.top_genes, get.history, get.programs, get.enrichment):
        with pytest.raises(TypeError, match=r"adata is a pandas.DataFrame; an anndata.AnnData is needed"):
            reader(adata.obs)


def test_enrichment_is_sorted_by_program_and_p(adata):
    stored = add_enrichment(adata)
    table = get.enrichment(adata)
    assert len(table) == len(stored)
    assert table["program"].drop_duplicates().tolist() == [f"program_{i}" for i in range(4)]
    assert table.groupby("program")["p"].apply(lambda p: p.is_monotonic_increasing).all()
    merged = table.merge(stored, on=list(stored.columns), how="inner")
    assert len(merged) == len(stored)


def test_enrichment_breaks_ties_by_the_size_of_the_effect(adata):
    stored = add_enrichment(adata, prerank=True)
    stored["p"] = stored["q"] = 0.01
    stored.loc[stored["term"] == "HALLMARK_INTERFERON_GAMMA_RESPONSE", "nes"] = -9.0
    adata.uns["semi_nmf"]["enrichment"] = stored
    assert set(get.enrichment(adata, n_top=1)["term"]) == {"HALLMARK_INTERFERON_GAMMA_RESPONSE"}


def test_enrichment_filters(adata):
    stored = add_enrichment(adata)
    chosen = get.enrichment(adata, programs="program_2", direction="up", library="go", max_q=0.01)
    keep = stored.query("program == 'program_2' and direction == 'up' and library == 'go' and q <= 0.01")
    assert 0 < len(chosen) < 6
    assert sorted(chosen["term"]) == sorted(keep["term"])
    best = get.enrichment(adata, n_top=2)
    for program, part in stored.groupby("program"):
        mine = best.loc[best["program"] == program, "p"].tolist()
        assert mine == sorted(part["p"])[:2]
    assert get.enrichment(adata, programs=["program_3", "program_0"])["program"].iloc[0] == "program_3"


def test_enrichment_with_nothing_left_keeps_its_columns(adata):
    stored = add_enrichment(adata)
    empty = get.enrichment(adata, max_q=0)
    assert empty.empty
    assert list(empty) == list(stored)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"direction": "both"}, ValueError, "direction='both' is not known"),
        ({"library": "kegg"}, ValueError, "library='kegg' was not tested"),
        ({"max_q": 2}, ValueError, "max_q=2 is out of range"),
        ({"max_q": "small"}, TypeError, "max_q='small' is a str"),
        ({"n_top": 0}, ValueError, "n_top=0 is too small"),
        ({"programs": "program_9"}, ValueError, "'program_9' not known"),
    ],
)
def test_enrichment_explains_bad_arguments(adata, arguments, error, message):
    add_enrichment(adata)
    with pytest.raises(error, match=message):
        get.enrichment(adata, **arguments)


def test_tables_are_the_same_after_a_round_trip(adata, tmp_path):  # row 43
    add_anova(adata)
    add_enrichment(adata)
    adata.write_h5ad(tmp_path / "screen.h5ad")
    again = ad.read_h5ad(tmp_path / "screen.h5ad")
    pd.testing.assert_frame_equal(
        get.enrichment(again, n_top=2).astype({"program": object}), get.enrichment(adata, n_top=2), check_dtype=False
    )
    pd.testing.assert_frame_equal(get.anova(again, "perturbation"), get.anova(adata, "perturbation"), check_names=False)
    assert get.top_genes(again, n_genes=3).to_numpy().tolist() == get.top_genes(adata, n_genes=3).to_numpy().tolist()


# --- programs as an AnnData ------------------------------------------------------------------------------------------


def test_programs_hold_usages_annotation_and_loadings(adata):
    adata.obsm["X_umap"] = np.random.default_rng(0).normal(size=(adata.n_obs, 2))
    programs = get.programs(adata)
    np.testing.assert_array_equal(programs.X, adata.obsm["X_semi_nmf"])
    np.testing.assert_array_equal(programs.varm["loadings"].T, adata.varm["semi_nmf_loadings"])
    assert programs.uns["loadings_genes"].tolist() == adata.var_names.tolist()
    assert programs.obs["perturbation"].equals(adata.obs["perturbation"])
    assert "X_umap" in programs.obsm
    assert programs.var["variance_explained"].tolist() == np.linspace(0.3, 0.1, 4).tolist()
    programs.obs["perturbation"] = "x"
    assert adata.obs["perturbation"].nunique() == 6


def test_scanpy_draws_programs(adata):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import scanpy as sc
    from matplotlib import pyplot as plt

    adata.obsm["X_umap"] = np.random.default_rng(0).normal(size=(adata.n_obs, 2))
    programs = get.programs(adata)
    names = programs.var_names.tolist()
    try:
        axes = sc.pl.matrixplot(programs, names, groupby="perturbation", show=False)
        drawn = axes["mainplot_ax"].collections[0].get_array().reshape(6, 4)
        means = get.usages(adata).groupby(adata.obs["perturbation"], observed=True).mean()
        np.testing.assert_allclose(drawn, means.to_numpy(), rtol=1e-5)
        ax = sc.pl.embedding(programs, "umap", color="program_1", show=False)
        coloured = next(points for points in ax.collections if points.get_array() is not None)
        np.testing.assert_allclose(np.sort(coloured.get_array()), np.sort(adata.obsm["X_semi_nmf"][:, 1]))
        ax = sc.pl.violin(programs, "program_0", groupby="perturbation", show=False)
        assert len(ax.get_xticklabels()) == 6
    finally:
        plt.close("all")
