"""tl.annotate_programs: names are short, unique, cleaned of identifiers, and say where they come from."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

import scprograms as scp
from factorized import add_enrichment, factorized_screen
from fitted import with_factorization
from scprograms import get
from scprograms._anndata import slots
from scprograms.enrichment._annotate import LONGEST_TERM, short_term

SHARED = Path("../shared/data")


@pytest.mark.parametrize(
    ("term", "short"),
    [
        ("cytokine-mediated signaling pathway (GO:0019221)", "cytokine-mediated signaling pathway"),
        ("HALLMARK_INTERFERON_GAMMA_RESPONSE", "interferon gamma response"),
        ("HALLMARK_TNFA_SIGNALING_VIA_NFKB", "TNFA signaling via NFKB"),
        ("HALLMARK_IL6_JAK_STAT3_SIGNALING", "IL6 JAK STAT3 signaling"),
        ("HALLMARK_MYC_TARGETS_V1", "MYC targets V1"),
        ("HALLMARK_E2F_TARGETS", "E2F targets"),
        ("HALLMARK_G2M_CHECKPOINT", "G2M checkpoint"),
        ("HALLMARK_HYPOXIA", "hypoxia"),
        ("HALLMARK_P53_PATHWAY", "P53 pathway"),
        ("REACTOME_DNA_REPLICATION", "DNA replication"),
        ("GOBP_RESPONSE_TO_VIRUS", "response to virus"),
        ("GO_RESPONSE_TO_VIRUS", "response to virus"),
        ("KEGG_RIBOSOME", "ribosome"),
        ("Interferon Signaling R-HSA-913531", "Interferon Signaling"),
        ("Apoptosis WP254", "Apoptosis"),
        ("Cell cycle Homo sapiens hsa04110", "Cell cycle"),
        ("TNF-alpha Signaling via NF-kB", "TNF-alpha Signaling via NF-kB"),
        ("planted_0_up", "planted 0 up"),
        ("GOLGI", "GOLGI"),
        ("HALLMARK_", "hallmark"),
        ("(GO:0019221)", "(GO:0019221)"),
        ("7", "7"),
    ],
)
def test_terms_are_cleaned(term, short):
    assert short_term(term) == short


@pytest.mark.parametrize("n", range(1, 90))
def test_long_terms_are_cut_between_words(n):
    words = "positive regulation of transcription by RNA polymerase II in response to endoplasmic reticulum stress"
    for term in (words[:n].strip(), "x" * n):
        short = short_term(term)
        assert 0 < len(short) <= LONGEST_TERM
        assert short == term or (short.endswith("…") and term.startswith(short[:-1]))
        if len(term) > LONGEST_TERM and " " in term:
            assert term[len(short) - 1] == " "


def table_of(rows, *, prerank=False):
    columns = ["program", "direction", "term", "p", "q", "representative"]
    table = pd.DataFrame(rows, columns=columns).assign(library="go", genes="GENE1", term_group=0)
    return table.assign(**({"nes": -2.0, "es": 0.5} if prerank else {"combined_score": 1.0, "odds_ratio": 2.0}))


ROWS = [
    ("program_0", "up", "response to virus (GO:1)", 1e-8, 1e-6, True),
    ("program_0", "down", "translation (GO:2)", 1e-9, 1e-7, True),
    ("program_0", "down", "cytoplasmic translation (GO:3)", 1e-10, 1e-8, False),
    ("program_1", "up", "response to virus (GO:1)", 1e-8, 1e-6, True),
    ("program_2", "up", "mitosis (GO:4)", 0.01, 0.2, True),
]


@pytest.fixture
def adata():
    adata = with_factorization()
    slots.write_table(adata, "semi_nmf", "enrichment", table_of(ROWS))
    return adata


def programs(adata):
    return adata.uns["semi_nmf"]["programs"]


def top(adata, program, direction, n=3):
    genes = get.top_genes(adata, n_genes=n, direction=direction)[program]
    return genes.dropna().tolist()


def test_names_are_the_best_representative_terms_and_the_genes_of_their_end(adata):
    before = programs(adata).copy()
    assert scp.tl.annotate_programs(adata) is None
    table = programs(adata)
    down, up, none = top(adata, "program_0", "down"), top(adata, "program_1", "up"), top(adata, "program_2", "up")
    assert table["name"].tolist() == [
        f"↓ translation ({', '.join(down)})",
        f"↑ response to virus ({', '.join(up)})",
        ", ".join(none),
    ]
    assert table["term"].tolist() == ["translation (GO:2)", "response to virus (GO:1)", ""]
    assert table["top_genes"].tolist() == [";".join(genes) for genes in (down, up, none)]
    pd.testing.assert_frame_equal(table[before.columns], before)
    assert get.programs(adata).var["name"].tolist() == table["name"].tolist()


def test_more_terms_more_genes_and_another_alpha(adata):
    scp.tl.annotate_programs(adata, n_terms=2, n_genes=1, alpha=0.3)
    table = programs(adata)
    assert (
        table.loc["program_0", "name"] == f"↓ translation; ↑ response to virus ({top(adata, 'program_0', 'down')[0]})"
    )
    assert table.loc["program_0", "term"] == "translation (GO:2);response to virus (GO:1)"
    assert table.loc["program_2", "name"].startswith("↑ mitosis (")


def test_terms_of_one_library(adata):
    table = table_of(ROWS)
    table.loc[1, "library"] = "other"
    slots.write_table(adata, "semi_nmf", "enrichment", table)
    scp.tl.annotate_programs(adata, library="go")
    assert programs(adata).loc["program_0", "term"] == "response to virus (GO:1)"
    with pytest.raises(ValueError, match=r"library='kegg' was not tested. There: 'go', 'other'"):
        scp.tl.annotate_programs(adata, library="kegg")


def test_ranked_tests_name_too_and_ties_at_zero_go_to_the_larger_score(adata):
    rows = [("program_0", "up", "weak", 0.0, 0.0, True), ("program_0", "up", "strong", 0.0, 0.0, True)]
    table = table_of(rows, prerank=True)
    table["nes"] = [1.8, 2.9]
    slots.write_table(adata, "semi_nmf", "enrichment", table)
    scp.tl.annotate_programs(adata)
    assert programs(adata).loc["program_0", "name"].startswith("↑ strong (")


def test_names_are_unique(adata):
    adata.varm["semi_nmf_loadings"][:, 1:] = adata.varm["semi_nmf_loadings"][:, :1]
    table = table_of([(f"program_{i}", "up", "virus", 1e-8, 1e-6, True) for i in range(3)])
    slots.write_table(adata, "semi_nmf", "enrichment", table)
    scp.tl.annotate_programs(adata)
    names = programs(adata)["name"]
    assert names.is_unique
    assert names.str.startswith("↑ virus (").all()
    assert [name.removeprefix(names.iloc[0]) for name in names] == ["", " #2", " #3"]


def test_numbers_do_not_collide_with_names_that_are_there():
    from scprograms.enrichment._annotate import _numbered

    assert _numbered(["a", "a #2", "a", "a"]) == ["a", "a #2", "a #3", "a #4"]


@pytest.mark.parametrize(("value", "name"), [(0.0, "program_2"), (-1.0, "GENE0, GENE1, GENE2")])
def test_programs_without_raised_genes(adata, value, name):
    adata.varm["semi_nmf_loadings"][:, 2] = value
    scp.tl.annotate_programs(adata)
    assert programs(adata).loc["program_2", "name"] == name


def test_programs_that_lower_nothing_are_not_named_by_what_they_lower(adata):
    # rank_by="zscore" finds terms at both ends of loadings that are never negative.
    adata.varm["semi_nmf_loadings"] = np.maximum(adata.varm["semi_nmf_loadings"], 0)
    scp.tl.annotate_programs(adata)
    assert programs(adata).loc["program_0", "term"] == "response to virus (GO:1)"
    assert programs(adata).loc["program_0", "name"].startswith("↑ response to virus (GENE0, ")


def test_nothing_enriched_names_by_genes(adata):
    slots.write_table(adata, "semi_nmf", "enrichment", table_of(ROWS).iloc[:0])
    scp.tl.annotate_programs(adata)
    assert programs(adata)["name"].tolist() == [", ".join(top(adata, f"program_{i}", "up")) for i in range(3)]
    assert (programs(adata)["term"] == "").all()


def test_tables_of_older_versions_name_too():
    old = factorized_screen()
    add_enrichment(old)
    scp.tl.annotate_programs(old)
    assert programs(old)["name"].is_unique


def test_calling_again_replaces_and_copy_leaves_alone(adata):
    changed = scp.tl.annotate_programs(adata, copy=True)
    assert "name" not in programs(adata)
    scp.tl.annotate_programs(changed, n_genes=1)
    assert programs(changed).columns.is_unique
    assert programs(changed)["top_genes"].tolist() == [
        top(adata, name, way, 1)[0] for name, way in (("program_0", "down"), ("program_1", "up"), ("program_2", "up"))
    ]


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_names_survive_the_disk(adata, tmp_path, kind):
    scp.tl.annotate_programs(adata)
    path = tmp_path / f"x.{kind}"
    adata.write_h5ad(path) if kind == "h5ad" else adata.write_zarr(path)
    back = anndata.read_h5ad(path) if kind == "h5ad" else anndata.read_zarr(path)
    for column in ("name", "term", "top_genes"):
        assert programs(back)[column].tolist() == programs(adata)[column].tolist()


def test_without_enrichment_the_call_is_named():  # row 36
    adata = with_factorization()
    with pytest.raises(KeyError, match=r"Call scp\.tl\.program_enrichment"):
        scp.tl.annotate_programs(adata)
    with pytest.raises(KeyError, match="no factorization under key='nmf'"):
        scp.tl.annotate_programs(adata, key="nmf")
    assert "name" not in programs(adata)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"n_genes": 0}, ValueError, "n_genes=0"),
        ({"n_genes": 2.5}, TypeError, r"n_genes=2\.5"),
        ({"n_terms": True}, TypeError, "n_terms=True"),
        ({"alpha": 2}, ValueError, "alpha=2"),
        ({"alpha": "x"}, TypeError, "alpha='x'"),
    ],
)
def test_bad_arguments(adata, options, error, match):
    with pytest.raises(error, match=match):
        scp.tl.annotate_programs(adata, **options)


def test_duplicate_gene_names_39():
    adata = with_factorization(gene_names=["TWICE" if j in (3, 50) else f"GENE{j}" for j in range(80)])
    slots.write_table(adata, "semi_nmf", "enrichment", table_of(ROWS))
    with pytest.raises(ValueError, match="var_names_make_unique"):
        scp.tl.annotate_programs(adata)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*may hold guides or replicates")
@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is not there")
def test_the_program_of_the_interferon_screen_is_called_so():
    import scanpy as sc

    adata = anndata.read_h5ad(SHARED / "papalexi2021_thp1_lowmoi/papalexi2021_thp1_lowmoi.h5ad")
    adata = adata[np.arange(0, adata.n_obs, 3)].copy()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    scp.tl.semi_nmf(adata, 10)
    scp.tl.program_anova(adata, "perturbation")
    moved = get.anova(adata, "perturbation")["eta_squared"].idxmax()
    scp.tl.program_enrichment(adata, SHARED / "genesets/h.all.v7.5.1.symbols.gmt", n_genes=30, min_size=5)
    scp.tl.annotate_programs(adata)
    row = programs(adata).loc[moved]
    assert "interferon gamma response" in row["name"]
    assert {"PSMB9", "STAT1", "UBE2L6", "JAK2"} & set(row["top_genes"].split(";"))
