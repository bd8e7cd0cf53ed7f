"""Groups of redundant terms, against brute force, in tables of every method, on disk and in pictures."""

from __future__ import annotations

import warnings
from itertools import combinations
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

import scprograms as scp
from factorized import add_enrichment, factorized_screen
from fitted import with_factorization
from scprograms import get, pl
from scprograms.enrichment._gmt import read_gmt
from scprograms.enrichment.engine import jaccard_neighbours, redundancy_groups

SHARED = Path("../shared/data")


def random_terms(n_terms=60, n_genes=40, seed=0):
    """Sets of genes with near copies among them."""
    rng = np.random.default_rng(seed)
    terms = []
    for i in range(n_terms):
        if i and rng.random() < 0.6:
            genes = set(terms[rng.integers(i)])
            genes ^= set(rng.choice(n_genes, 3, replace=False).tolist())
        else:
            genes = set(rng.choice(n_genes, rng.integers(1, 15), replace=False).tolist())
        terms.append(genes or {0})
    return terms


def membership(terms, n_genes=40):
    matrix = np.zeros((len(terms), n_genes), dtype=int)
    for i, genes in enumerate(terms):
        matrix[i, list(genes)] = 1
    return sparse.csr_array(matrix)


def jaccard(a, b):
    return len(set(a) & set(b)) / len(set(a) | set(b))


@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.5, 1])
@pytest.mark.parametrize("seed", range(3))
def test_neighbours_equal_brute_force(threshold, seed, monkeypatch):
    from scprograms.enrichment.engine import _redundancy

    monkeypatch.setattr(_redundancy, "ROWS_PER_BLOCK", 7)
    terms = random_terms(seed=seed)
    expected = np.array([[jaccard(a, b) for b in terms] for a in terms])
    found = jaccard_neighbours(membership(terms), threshold=threshold)
    np.testing.assert_allclose(found.toarray(), np.where(expected >= threshold, expected, 0))


def test_counts_and_stored_zeros_do_not_matter_and_empty_terms_have_no_neighbours():
    matrix = sparse.csr_array(np.array([[2, 1, 0], [1, 5, 0], [0, 0, 0]]))
    stored = sparse.csr_array((np.array([2, 1, 0, 1, 5]), np.array([0, 1, 2, 0, 1]), np.array([0, 3, 5, 5])), (3, 3))
    expected = [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    for given in (matrix, stored):
        before = given.toarray()
        np.testing.assert_array_equal(jaccard_neighbours(given, threshold=0.5).toarray(), expected)
        np.testing.assert_array_equal(given.toarray(), before)
    assert redundancy_groups(jaccard_neighbours(matrix, threshold=0.5), np.array([2, 0, 1])).tolist() == [0, 1, 1]


@pytest.mark.parametrize("threshold", [0, -1, 1.5])
def test_threshold_out_of_range(threshold):
    with pytest.raises(ValueError, match="threshold"):
        jaccard_neighbours(membership(random_terms(3)), threshold=threshold)


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_what_they_promise(seed):
    terms = random_terms(seed=seed)
    order = np.random.default_rng(seed).permutation(len(terms))[:45]
    groups = redundancy_groups(jaccard_neighbours(membership(terms), threshold=0.5), order)
    first = np.unique(groups, return_index=True)[1]
    assert groups[np.sort(first)].tolist() == list(range(groups.max() + 1))  # numbered by their best terms
    assert len(first) < len(order)
    representatives = [terms[order[i]] for i in first]
    assert all(jaccard(a, b) < 0.5 for a, b in combinations(representatives, 2))
    for i, term in enumerate(order):
        near = [g for g in range(groups.max() + 1) if first[g] <= i and jaccard(terms[term], representatives[g]) >= 0.5]
        assert groups[i] == min(near)
    # What comes later does not change the groups of what is better: filters on q leave representatives alone.
    shorter = redundancy_groups(jaccard_neighbours(membership(terms), threshold=0.5), order[:20])
    np.testing.assert_array_equal(shorter, groups[:20])


# --- in the tables -------------------------------------------------------------------------------------------------


@pytest.fixture
def adata():
    return with_factorization(n_vars=120)


@pytest.fixture
def terms(adata):
    names = list(adata.var_names)
    rng = np.random.default_rng(0)
    terms = {f"random {i}": rng.choice(names, rng.integers(4, 20), replace=False).tolist() for i in range(30)}
    terms |= {"up_0": names[:10], "up_0 again": names[:9], "up_0 half": names[:5], "up_0 and more": names[:19]}
    return terms | {"down_0": names[110:], "down_0 again": names[109:]}


def run(adata, gene_sets, **options):
    scp.tl.program_enrichment(adata, gene_sets, **{"n_genes": 10, "min_size": 3, "direction": "both", **options})
    return adata.uns["semi_nmf"]["enrichment"]


@pytest.mark.parametrize("redundancy", [0.5, 0.8, 1])
@pytest.mark.parametrize("method", ["ora", "prerank"])
def test_every_list_has_groups_of_its_own(adata, terms, method, redundancy):
    libraries = [terms, {"up_0": terms["up_0"], "same": terms["up_0"][::-1]}]
    result = run(adata, libraries, method=method, n_permutations=50, redundancy=redundancy)
    assert result["representative"].dtype == bool
    assert result["term_group"].dtype == np.int64
    lists = result.groupby(["program", "direction", "library"], sort=False)
    assert lists.ngroups > 6
    for (_, _, library), one in lists:
        sets = terms if library == "custom" else {"up_0": terms["up_0"], "same": terms["up_0"]}
        leaders: list[str] = []
        for row in one.itertuples():
            near = [i for i, name in enumerate(leaders) if jaccard(sets[row.term], sets[name]) >= redundancy]
            assert row.representative == (not near)
            if not near:
                leaders.append(row.term)
            assert row.term_group == (near[0] if near else len(leaders) - 1)


def test_redundancy_counts_the_whole_term_in_the_background_not_only_what_is_shared(adata, terms):
    # Both share exactly the ten top genes with the list, but one holds 9 others: 10 / 19.
    result = run(adata, terms, redundancy=0.6).query("program == 'program_0' and direction == 'up'").set_index("term")
    assert result.loc["up_0", "genes"] == result.loc["up_0 and more", "genes"]
    assert result.loc["up_0 and more", "representative"]
    # With the others outside the background they are the same.
    inside = [name for name in adata.var_names if name not in terms["up_0 and more"][10:]]
    result = run(adata, terms, redundancy=0.6, background=inside)
    result = result.query("program == 'program_0' and direction == 'up'").set_index("term")
    assert not result.loc[["up_0", "up_0 and more"], "representative"].all()


def test_enrichr_groups_by_shared_genes():
    from scprograms.enrichment._enrichment import mark_redundant

    table = pd.DataFrame(
        {
            "program": ["a"] * 4 + ["b"],
            "direction": "up",
            "library": "l",
            "term": ["t0", "t1", "t2", "t3", "t1"],
            "genes": ["A;B;C", "D", "B;C", "D;E;F", "A;B;C"],
        }
    )
    marked = mark_redundant(table, None, threshold=0.5)
    assert marked["term_group"].tolist() == [0, 1, 0, 2, 0]
    assert marked["representative"].tolist() == [True, True, False, True, True]


@pytest.mark.parametrize("value", [0, 1.01, -1])
def test_redundancy_out_of_range(adata, terms, value):
    with pytest.raises(ValueError, match="redundancy="):
        run(adata, terms, redundancy=value)
    with pytest.raises(TypeError, match="redundancy="):
        run(adata, terms, redundancy="0.5")


def test_get_keeps_representatives(adata, terms):
    result = run(adata, terms)
    kept = get.enrichment(adata, representative=True)
    assert len(kept) == result["representative"].sum() < len(result)
    assert kept["representative"].all()
    assert len(get.enrichment(adata)) == len(result)
    top = get.enrichment(adata, representative=True, n_top=2)
    assert not top.duplicated(["program", "direction", "term_group"]).any()


def test_tables_of_older_versions_say_what_to_call():
    old = factorized_screen()
    add_enrichment(old)
    assert len(get.enrichment(old))
    with pytest.raises(KeyError, match=r"program_enrichment again"):
        get.enrichment(old, representative=True)
    assert pl.enrichment_dotplot(old, show=False)


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
@pytest.mark.parametrize("some", [True, False])
def test_groups_survive_the_disk(adata, terms, tmp_path, kind, some):
    if some:
        result = run(adata, terms)
    else:
        with pytest.warns(scp.ProgramsWarning, match="None of the"):
            result = run(adata, terms, min_size=100)
    path = tmp_path / f"x.{kind}"
    adata.write_h5ad(path) if kind == "h5ad" else adata.write_zarr(path)
    back = anndata.read_h5ad(path) if kind == "h5ad" else anndata.read_zarr(path)
    pd.testing.assert_frame_equal(
        back.uns["semi_nmf"]["enrichment"].reset_index(drop=True), result, check_dtype=False, check_index_type=False
    )
    assert len(get.enrichment(back, representative=True)) == result["representative"].sum()


def test_the_dot_plot_takes_its_terms_from_different_groups(adata, terms):
    result = run(adata, terms)
    best = result[(result["program"] == "program_0") & (result["direction"] == "up")]
    copy = best[~best["representative"] & (best["q"] < 0.05)]["term"].iloc[0]
    chosen = {"programs": "program_0", "direction": "up", "show": False}
    texts = [label.get_text() for label in pl.enrichment_dotplot(adata, n_top=2, **chosen).get_yticklabels()]
    assert copy not in texts
    texts = [
        label.get_text()
        for label in pl.enrichment_dotplot(adata, n_top=4, representative=False, **chosen).get_yticklabels()
    ]
    assert copy in texts


# --- prerank of loadings that are never negative ----------------------------------------------------------------------


def test_zscores_find_by_rank_what_ties_hide():
    screen = scp.datasets.simulate_screen(600, 400, n_programs=6, n_perturbations=4)
    sc.pp.normalize_total(screen, target_sum=1e4)
    sc.pp.log1p(screen)
    scp.tl.nmf(screen, 4)
    H = screen.varm["nmf_loadings"]
    H[np.argsort(H, axis=0)[:200], np.arange(4)] = 0  # a sparse fit: half of the genes tied at zero
    gene_sets = scp.datasets.planted_gene_sets(screen, n_genes=20)
    options = {"key": "nmf", "method": "prerank", "n_permutations": 200, "n_jobs": 1}
    with pytest.warns(scp.ProgramsWarning, match=r"tied in 'program_0'.*rank_by='zscore'"):
        scp.tl.program_enrichment(screen, gene_sets, **options)
    by_loading = get.enrichment(screen, key="nmf", direction="up")
    with warnings.catch_warnings():
        warnings.simplefilter("error", scp.ProgramsWarning)
        scp.tl.program_enrichment(screen, gene_sets, rank_by="zscore", **options)
    by_score = get.enrichment(screen, key="nmf", direction="up")
    strongest = by_score.groupby("program")["nes"].max()
    assert (strongest > by_loading.groupby("program")["nes"].max()).all()
    assert (by_score.groupby("program")["q"].min() < 0.05).all()
    assert by_score["representative"].any()


# --- real data -----------------------------------------------------------------------------------------------------


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is not there")
def test_synonyms_of_go_are_one_group_and_unlike_terms_are_not():
    library = read_gmt(SHARED / "genesets/GO_Biological_Process_2021.enrichr.gmt")
    names = list(library)
    genes = pd.Index(sorted({gene for one in library.values() for gene in one}))
    rows = np.repeat(np.arange(len(names)), [len(one) for one in library.values()])
    columns = genes.get_indexer([gene for one in library.values() for gene in one])
    matrix = sparse.csr_array((np.ones(len(rows), dtype=int), (rows, columns)), shape=(len(names), len(genes)))
    wanted = [
        "cellular response to type I interferon (GO:0071357)",
        "type I interferon signaling pathway (GO:0060337)",
        "mitotic cytokinesis (GO:0000281)",
    ]
    order = np.array([names.index(name) for name in wanted])
    near = jaccard_neighbours(matrix, threshold=0.5)
    assert redundancy_groups(near, order).tolist() == [0, 0, 1]
