"""tl.program_enrichment against scipy and gseapy, its slots, and everything that can be wrong with its input."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import anndata
import gseapy
import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, hypergeom

import scprograms as scp
from enrichr_server import enrichr
from fitted import with_factorization
from scprograms.enrichment import _enrichr

COLUMNS = "program direction library term overlap term_size n_genes background_size odds_ratio combined_score p q genes"
COLUMNS += " term_group representative"
PRERANK_COLUMNS = "program direction library term term_size es nes p q genes term_group representative"
SHARED = Path("../shared/data")


def terms_of(names, n_terms=30, seed=0):
    """Random terms, and the genes that raise and lower the first two programs of ``with_factorization``."""
    rng = np.random.default_rng(seed)
    terms = {f"GO:{i} a/b": rng.choice(names, rng.integers(3, 20), replace=False).tolist() for i in range(n_terms)}
    n = len(names)
    return terms | {"up_0": list(names[:10]), "down_0": list(names[n - 10 :]), "up_1": list(names[10:20])}


@pytest.fixture
def adata():
    return with_factorization(n_vars=120)


@pytest.fixture
def terms(adata):
    return terms_of(adata.var_names)


def table(adata):
    return adata.uns["semi_nmf"]["enrichment"]


def run(adata, gene_sets, **options):
    scp.tl.program_enrichment(adata, gene_sets, **{"n_genes": 10, "min_size": 3, "direction": "up", **options})
    return table(adata)


def best(result, program, direction="up"):
    return result[(result["program"] == program) & (result["direction"] == direction)].iloc[0]


# --- over-representation -------------------------------------------------------------------------------------------


def test_planted_terms_lead(adata, terms):
    assert scp.tl.program_enrichment(adata, terms, n_genes=10, min_size=3, direction="both") is None
    result = table(adata)
    assert result.columns.tolist() == COLUMNS.split()
    assert best(result, "program_0")["term"] == "up_0"
    assert best(result, "program_0", "down")["term"] == "down_0"
    assert best(result, "program_1")["term"] == "up_1"
    assert best(result, "program_0")["q"] < 1e-8
    assert set(result["library"]) == {"custom"}
    assert (result["overlap"] >= 1).all()


def test_equals_one_hypergeometric_test_at_a_time(adata, terms):
    used = np.ones(120, bool)
    used[60:75] = False
    adata.varm["semi_nmf_model"]["used"] = used
    result = run(adata, terms, direction="both", min_size=5, max_size=15)
    universe = adata.var_names[used]
    loadings = pd.DataFrame(adata.varm["semi_nmf_loadings"], index=adata.var_names).loc[universe]
    eligible = {name: set(genes) & set(universe) for name, genes in terms.items()}
    eligible = {name: genes for name, genes in eligible.items() if 5 <= len(genes) <= 15}
    for i in range(3):
        for direction, sign in (("up", -1), ("down", 1)):
            top = loadings[i].sort_values(key=lambda x, s=sign: s * x).index[:10]
            overlap = np.array([len(genes & set(top)) for genes in eligible.values()])
            size = np.array([len(genes) for genes in eligible.values()])
            p = hypergeom.sf(overlap - 1, len(universe), size, 10)
            expected = pd.DataFrame({"overlap": overlap, "term_size": size, "p": p, "q": false_discovery_control(p)})
            expected = expected.set_index(pd.Index(eligible))[overlap > 0]
            found = result[(result["program"] == f"program_{i}") & (result["direction"] == direction)].set_index("term")
            found = found.loc[expected.index]
            np.testing.assert_array_equal(found[["overlap", "term_size", "p", "q"]], expected)
            assert (found["background_size"] == 105).all()
            assert found["p"].max() <= 1
            for term, genes in found["genes"].items():
                assert genes.split(";") == [gene for gene in top if gene in eligible[term]]


def test_p_and_score_equal_gseapy(adata, terms):
    result = run(adata, terms, n_genes=12, min_size=1, max_size=120)
    names, loadings = adata.var_names, adata.varm["semi_nmf_loadings"]
    for i in range(3):
        top = names[np.argsort(-loadings[:, i])[:12]].tolist()
        oracle = gseapy.enrich(top, terms, background=names.tolist(), outdir=None, no_plot=True).results
        found = result[result["program"] == f"program_{i}"].set_index("term").loc[oracle["Term"]]
        assert len(found) == len(oracle) == (result["program"] == f"program_{i}").sum()
        np.testing.assert_array_equal(found["p"], oracle["P-value"])
        np.testing.assert_allclose(found["odds_ratio"], oracle["Odds Ratio"], rtol=1e-13)
        np.testing.assert_allclose(found["combined_score"], oracle["Combined Score"], rtol=1e-10, atol=1e-13)
        # gseapy drops the terms without overlap from the family, so its q is too small.
        assert (found["q"].to_numpy() >= oracle["Adjusted P-value"].to_numpy() * (1 - 1e-12)).all()
        assert [set(genes.split(";")) for genes in found["genes"]] == [set(g.split(";")) for g in oracle["Genes"]]


def test_lists_hold_one_sign_only(adata, terms):
    adata.varm["semi_nmf_loadings"] = np.abs(adata.varm["semi_nmf_loadings"])
    adata.varm["semi_nmf_loadings"][5:, 0] = 0
    result = run(adata, terms, direction="both")
    assert set(result["direction"]) == {"up"}
    assert (result.loc[result["program"] == "program_0", "n_genes"] == 5).all()
    with pytest.warns(scp.ProgramsWarning, match="points 'down'"):
        assert len(run(adata, terms, direction="down")) == 0


def test_order_of_genes_cells_and_terms_does_not_matter(adata, terms):
    expected = run(adata, terms, direction="both")
    rng = np.random.default_rng(0)
    mixed = adata[rng.permutation(60)][:, rng.permutation(120)].copy()
    shuffled = {name: terms[name] for name in rng.permutation(list(terms))}
    pd.testing.assert_frame_equal(run(mixed, shuffled, direction="both"), expected)


def test_libraries_are_families_of_their_own(adata, terms, tmp_path):
    (tmp_path / "a.gmt").write_text("".join(f"{name}\tna\t" + "\t".join(genes) + "\n" for name, genes in terms.items()))
    alone = run(adata, terms)
    both = run(adata, [tmp_path / "a.gmt", {"up_0": terms["up_0"]}, terms])
    assert set(both["library"]) == {"a", "custom", "custom_2"}
    columns = [name for name in COLUMNS.split() if name != "library"]
    for library in ("a", "custom_2"):
        part = both[both["library"] == library].reset_index(drop=True)
        pd.testing.assert_frame_equal(part[columns], alone[columns])


def test_copy_leaves_the_original_alone(adata, terms):
    changed = scp.tl.program_enrichment(adata, terms, n_genes=10, copy=True)
    assert "enrichment" not in adata.uns["semi_nmf"]
    assert len(table(changed))


@pytest.mark.parametrize("kind", [list, tuple, set, np.array, pd.Index, pd.Series])
def test_background_of_any_kind_71_73(adata, terms, kind):
    expected = run(adata, terms, background=adata.var_names[:100].tolist())
    assert (expected["background_size"] == 100).all()
    pd.testing.assert_frame_equal(run(adata, terms, background=kind(adata.var_names[:100].tolist())), expected)


def test_background_may_be_larger_than_the_data(adata, terms):
    result = run(adata, terms, background=[*adata.var_names, *(f"OTHER{i}" for i in range(1000))])
    row = best(result, "program_0")
    assert row["background_size"] == 1120
    assert row["p"] == hypergeom.sf(row["overlap"] - 1, 1120, 10, 10)


@pytest.mark.parametrize("background", [20_000, np.int64(10), 2.5, np.float64(3), "hsapiens_gene_ensembl", {"a": 1}])
def test_background_that_names_no_genes_70_71(adata, terms, background):
    with pytest.raises(TypeError, match="pass the names of the background genes"):
        run(adata, terms, background=background)
    with pytest.raises(TypeError, match="holds"):
        run(adata, terms, background=np.ones(120, bool))


@pytest.mark.parametrize("background", [[], ["A1BG", "A2M"]])
def test_empty_or_disjoint_background_72(adata, terms, background):
    with pytest.raises(ValueError, match=f"None of the {len(background)} background genes"):
        run(adata, terms, background=background)


def test_missing_names_in_the_background_74(adata, terms):
    with pytest.warns(scp.ProgramsWarning, match="background has 2 missing"):
        result = run(adata, terms, background=[*adata.var_names, np.nan, None])
    assert (result["background_size"] == 120).all()


def test_entrez_ids_69(terms):
    names = [str(1000 + j) for j in range(120)]
    adata = with_factorization(n_vars=120, gene_names=names)
    gene_sets = {"up_0": [int(name) for name in names[:10]], "other": names[40:60]}
    assert best(run(adata, gene_sets), "program_0")["term"] == "up_0"
    result = run(adata, gene_sets, background=[int(name) for name in names])
    assert (result["background_size"] == 120).all()


def test_species_mismatch_68(adata, terms):
    mouse = {name: [gene.capitalize() for gene in genes] for name, genes in terms.items()}
    with pytest.raises(ValueError, match="upper and lower case"):
        run(adata, mouse)
    assert "enrichment" not in adata.uns["semi_nmf"]


@pytest.mark.parametrize("method", ["ora", "prerank"])
def test_no_result_has_all_columns_67(adata, terms, tmp_path, method):
    with pytest.warns(scp.ProgramsWarning, match="None of the 33 terms"):
        result = run(adata, terms, method=method, min_size=50)
    assert len(result) == 0
    assert result.columns.tolist() == (COLUMNS if method == "ora" else PRERANK_COLUMNS).split()
    assert result["p"].dtype == np.float64
    assert result["term_size"].dtype == np.int64
    adata.write_h5ad(tmp_path / "x.h5ad")
    assert table(anndata.read_h5ad(tmp_path / "x.h5ad")).columns.tolist() == result.columns.tolist()


def test_no_gene_of_the_lists_is_in_a_term_67(adata):
    assert run(adata, {"elsewhere": adata.var_names[50:70]}).shape == (0, 15)


def test_too_many_genes_for_the_background(adata, terms):
    run(adata, terms, n_genes=12)
    with pytest.warns(scp.ProgramsWarning, match=r"n_genes=13 is more than a tenth of the 120 background genes.*12"):
        run(adata, terms, n_genes=13)


def test_duplicate_gene_names_39(terms):
    names = ["TWICE" if j in (3, 50) else f"GENE{j}" for j in range(120)]
    adata = with_factorization(n_vars=120, gene_names=names)
    with pytest.raises(ValueError, match=r"1 duplicates \('TWICE'\).*var_names_make_unique"):
        run(adata, terms)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"method": "gsea"}, ValueError, r"method='gsea'.*'ora'"),
        ({"direction": "left"}, ValueError, r"direction='left'.*'both'"),
        ({"rank_by": "pvalue"}, ValueError, r"rank_by='pvalue'.*'zscore'"),
        ({"organism": "yak"}, ValueError, r"organism='yak'.*'human'"),
        ({"n_genes": 0}, ValueError, "n_genes=0"),
        ({"n_genes": 2.5}, TypeError, r"n_genes=2\.5"),
        ({"n_genes": True}, TypeError, "n_genes=True"),
        ({"min_size": 0}, ValueError, "min_size=0"),
        ({"min_size": 20, "max_size": 10}, ValueError, "max_size=10"),
        ({"n_permutations": 0}, ValueError, "n_permutations=0"),
        ({"timeout": -1}, ValueError, "timeout=-1"),
        ({"method": "prerank", "n_jobs": 0}, ValueError, "n_jobs=0"),
        ({"key": "onmf"}, KeyError, "key='onmf'"),
    ],
)
def test_bad_arguments(adata, terms, options, error, match):
    with pytest.raises(error, match=match):
        run(adata, terms, **options)


def test_missing_gmt_leaves_the_data_as_they_were_63_46(adata):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        run(adata, "nowhere.gmt")
    assert "enrichment" not in adata.uns["semi_nmf"]


@pytest.mark.parametrize("method", ["ora", "prerank"])
def test_survives_the_disk(adata, terms, tmp_path, method):
    result = run(adata, terms, method=method, n_permutations=20, direction="both")
    adata.write_h5ad(tmp_path / "x.h5ad")
    back = table(anndata.read_h5ad(tmp_path / "x.h5ad"))
    pd.testing.assert_frame_equal(back.reset_index(drop=True), result, check_dtype=False)


# --- ranking by z-scored regression --------------------------------------------------------------------------------


def test_zscore_ranks_by_least_squares(adata, terms):
    result = run(adata, terms, rank_by="zscore", direction="both")
    X, W = adata.X.toarray().astype(float), adata.obsm["X_semi_nmf"].astype(float)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    scores = np.linalg.lstsq(np.column_stack([np.ones(len(W)), W]), Z, rcond=None)[0][1]
    top = adata.var_names[np.argsort(-scores)[:10]]
    row = best(result, "program_0")
    assert row["term"] == "up_0"
    assert row["genes"].split(";") == [gene for gene in top if gene in terms["up_0"]]


def test_zscore_reads_the_layer_that_was_factorized(adata, terms):
    expected = run(adata, terms, rank_by="zscore")
    adata.layers["logged"] = adata.X.copy()
    adata.X = adata.X[::-1].copy()
    adata.uns["semi_nmf"]["params"]["layer"] = "logged"
    pd.testing.assert_frame_equal(run(adata, terms, rank_by="zscore"), expected)
    del adata.layers["logged"]
    with pytest.raises(KeyError, match=r"'logged' is not in adata\.layers"):
        run(adata, terms, rank_by="zscore")


# --- prerank -------------------------------------------------------------------------------------------------------


def test_prerank_finds_planted_terms(adata, terms):
    result = run(adata, terms, method="prerank", direction="both", n_permutations=200, n_jobs=1)
    assert result.columns.tolist() == PRERANK_COLUMNS.split()
    strongest = result[result["program"] == "program_0"].set_index("term")
    assert strongest["nes"].idxmax() == "up_0"
    assert strongest["nes"].idxmin() == "down_0"
    assert strongest.loc["down_0", "direction"] == "down"
    assert set(strongest.loc["up_0", "genes"].split(";")) == set(terms["up_0"])
    assert strongest.loc["up_0", "p"] < 0.02
    assert strongest["p"].is_monotonic_increasing
    lowest = strongest[strongest["p"] == 0]
    assert {"up_0", "down_0"} <= set(lowest.index)
    assert lowest["nes"].abs().is_monotonic_decreasing
    up = run(adata, terms, method="prerank", n_permutations=200, n_jobs=2)
    pd.testing.assert_frame_equal(up, result[result["direction"] == "up"].reset_index(drop=True))


def test_prerank_equals_gseapy(adata, terms):
    result = run(adata, terms, method="prerank", direction="both", n_permutations=50, random_state=5)
    ranking = pd.Series(adata.varm["semi_nmf_loadings"][:, 0].astype(float), index=adata.var_names)
    oracle = gseapy.prerank(ranking, terms, min_size=3, permutation_num=50, seed=5, outdir=None, threads=1).res2d
    found = result[result["program"] == "program_0"].set_index("term").loc[oracle["Term"]]
    assert len(found) == (result["program"] == "program_0").sum()
    np.testing.assert_allclose(found["es"], oracle["ES"].astype(float), rtol=1e-9)
    for term, edge in oracle.set_index("Term")["Lead_genes"].items():
        assert set(found.loc[term, "genes"].split(";")) == set(edge.split(";"))


def test_prerank_keeps_names_that_gseapy_would_change(adata, terms):
    names = [f"gene;{j}" for j in range(120)]
    other = with_factorization(n_vars=120, gene_names=names)
    result = run(other, {"up_0": names[:10], "rest": names[30:60]}, method="prerank", n_permutations=20)
    genes = result.set_index(["program", "term"]).loc[("program_0", "up_0"), "genes"]
    assert sorted(genes.replace("gene;", "").split(";"), key=int) == [str(j) for j in range(10)]


@pytest.mark.parametrize("seed", [np.random.default_rng(1), np.random.RandomState(1), np.int64(3), None])
def test_prerank_takes_any_seed_33(adata, terms, seed):
    assert len(run(adata, terms, method="prerank", n_permutations=5, random_state=seed))


def test_rankings_without_order_are_skipped_75(adata, terms):
    adata.varm["semi_nmf_loadings"][:, 1] = 0.5
    with pytest.warns(scp.ProgramsWarning, match="All genes score the same in 'program_1'"):
        result = run(adata, terms, method="prerank", n_permutations=5)
    assert set(result["program"]) == {"program_0", "program_2"}


def test_many_ties_are_pointed_out(adata, terms):
    adata.varm["semi_nmf_loadings"][30:90, 2] = 0
    with pytest.warns(scp.ProgramsWarning, match=r"tied in 'program_2'.*rank_by='zscore'"):
        run(adata, terms, method="prerank", n_permutations=5)


def test_panic_of_gseapy_is_an_error_75(adata, terms, monkeypatch):
    class PanicException(BaseException):
        pass

    def panic(*args, **kwargs):
        msg = "called Option::unwrap() on a None value"
        raise PanicException(msg)

    monkeypatch.setattr(gseapy, "prerank", panic)
    with pytest.raises(RuntimeError, match=r"gseapy.prerank failed.*method='ora'"):
        run(adata, terms, method="prerank")

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(gseapy, "prerank", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(adata, terms, method="prerank")


# --- Enrichr -------------------------------------------------------------------------------------------------------


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with enrichr(libraries=("My_Library", "Other_Library")) as (address, asked):
        monkeypatch.setitem(_enrichr.SITES, "human", address)
        yield asked


def answer(genes, libraries, **kwargs):
    """What ``gseapy.enrichr`` returns, for the genes that it was given."""
    rows = {
        "Gene_set": libraries,
        "Term": "term",
        "Overlap": "3/25",
        "P-value": 0.001,
        "Adjusted P-value": 0.01,
        "Odds Ratio": 4.5,
        "Combined Score": 31.0,
        "Genes": ";".join(genes[:3]),
    }
    return SimpleNamespace(results=pd.DataFrame(rows))


def test_enrichr_table(adata, site, monkeypatch):
    monkeypatch.setattr(gseapy, "enrichr", answer)
    result = run(adata, ["My_Library", "Other_Library"], method="enrichr")
    assert result.columns.tolist() == COLUMNS.split()
    assert len(result) == 6
    row = best(result, "program_0")
    expected = ["My_Library", "term", 3, 25, 10, 0, 4.5, 31.0, 0.001, 0.01]
    assert row[COLUMNS.split()[2:-3]].tolist() == expected
    assert set(row["genes"].split(";")) <= set(adata.var_names[:10])


def test_enrichr_without_any_answer(adata, site, monkeypatch):
    monkeypatch.setattr(gseapy, "enrichr", lambda *args, **kwargs: SimpleNamespace(results=[]))
    result = run(adata, "My_Library", method="enrichr")
    assert result.shape == (0, 15)


def test_enrichr_unknown_library(adata, site):
    with pytest.raises(ValueError, match=r"'My_Libary' is no library.*Similar: 'My_Library'"):
        run(adata, "My_Libary", method="enrichr")


@pytest.mark.parametrize(
    ("gene_sets", "options", "error", "match"),
    [
        ({"a": ["GENE1"]}, {}, TypeError, "takes names of Enrichr libraries"),
        ([{"a": ["GENE1"]}], {}, TypeError, "takes names of Enrichr libraries"),
        ([], {}, TypeError, "takes names of Enrichr libraries"),
        (3, {}, TypeError, "takes names of Enrichr libraries"),
        ("a.gmt", {}, ValueError, "has a file"),
        ("My_Library", {"background": ["GENE1"]}, ValueError, "background has no effect"),
    ],
)
def test_enrichr_takes_library_names_only(adata, site, gene_sets, options, error, match):
    with pytest.raises(error, match=match):
        run(adata, gene_sets, method="enrichr", **options)


def test_enrichr_that_hangs_77(adata, site, monkeypatch):
    monkeypatch.setattr(gseapy, "enrichr", lambda *args, **kwargs: time.sleep(5))
    start = time.monotonic()
    with pytest.raises(TimeoutError, match=r"within 0\.3 s.*method='ora'"):
        run(adata, "My_Library", method="enrichr", timeout=0.3)
    assert time.monotonic() - start < 3
    assert "enrichment" not in adata.uns["semi_nmf"]


def test_enrichr_that_fails_80(adata, site, monkeypatch):
    def fail(*args, **kwargs):
        msg = "Error sending gene list, status code: 429"
        raise RuntimeError(msg)

    monkeypatch.setattr(gseapy, "enrichr", fail)
    with pytest.raises(ConnectionError, match=r"RuntimeError: Error sending gene list.*method='ora'"):
        run(adata, "My_Library", method="enrichr")


@pytest.mark.parametrize(
    ("behaviour", "error"), [("silent", TimeoutError), ("html", ConnectionError), ("403", ConnectionError)]
)
def test_enrichr_site_out_of_order_76_77_78(adata, monkeypatch, behaviour, error):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(gseapy, "enrichr", lambda *args, **kwargs: pytest.fail("gseapy was asked all the same"))
    with enrichr(behaviour) as (address, _):
        monkeypatch.setitem(_enrichr.SITES, "human", address)
        with pytest.raises(error, match="method='ora'"):
            run(adata, "My_Library", method="enrichr", timeout=0.3)


@pytest.mark.parametrize("method", ["ora", "enrichr"])
def test_offline_fails_at_once_76(adata, monkeypatch, tmp_path, method):
    monkeypatch.setenv("SCPROGRAMS_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setitem(_enrichr.SITES, "human", "http://127.0.0.1:9/Enrichr")
    start = time.monotonic()
    with pytest.raises(ConnectionError, match=r"cannot be reached.*Without a network"):
        run(adata, "My_Library", method=method)
    assert time.monotonic() - start < 3


def test_library_by_name(adata, site, monkeypatch, tmp_path):
    monkeypatch.setenv("SCPROGRAMS_CACHE", str(tmp_path))
    result = run(adata, "My_Library", min_size=2)
    assert set(result["library"]) == {"My_Library"}
    assert best(result, "program_0")["genes"] == "GENE0;GENE1;GENE2"


@pytest.mark.internet
def test_enrichr_itself(adata):
    adata.var_names = [*adata.var_names[:-4], "STAT1", "IRF1", "JAK2", "IFNGR1"]
    result = run(adata, "MSigDB_Hallmark_2020", method="enrichr", direction="down")
    assert "Interferon Gamma Response" in set(result["term"])


# --- real data -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Maximum number of iterations")
@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is not there")
@pytest.mark.parametrize("rank_by", ["loading", "zscore"])
def test_interferon_terms_lead_the_program_that_interferon_moves(rank_by):
    from sklearn.decomposition import NMF

    source = anndata.read_h5ad(SHARED / "kang2018_pbmc_ifnb/kang2018_pbmc_ifnb_scgen_valid.h5ad")
    adata = with_factorization(
        n_obs=source.n_obs, n_vars=source.n_vars, n_programs=8, gene_names=list(source.var_names)
    )
    adata.X = source.X
    adata.obs["condition"] = source.obs["condition"].to_numpy()
    model = NMF(8, init="nndsvda", max_iter=60, tol=1e-3)
    adata.obsm["X_semi_nmf"] = model.fit_transform(source.X)
    adata.varm["semi_nmf_loadings"] = model.components_.T
    scp.tl.program_anova(adata, "condition")
    moved = adata.uns["semi_nmf"]["anova"]["condition"]["eta_squared"].idxmax()
    scp.tl.program_enrichment(adata, SHARED / "genesets/h.all.v7.5.1.symbols.gmt", rank_by=rank_by)
    result = table(adata)
    leading = result[result["program"] == moved].iloc[:2]
    assert set(leading["term"]) == {"HALLMARK_INTERFERON_ALPHA_RESPONSE", "HALLMARK_INTERFERON_GAMMA_RESPONSE"}
    assert leading["q"].max() < 1e-20
    assert (leading["background_size"] == source.n_vars).all()
