"""What programs are about: gene sets that are enriched among their genes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from scprograms._anndata import slot_names
from scprograms._anndata.matrix import read_gene_names, read_matrix
from scprograms._anndata.slots import read_fit, read_loadings, read_model, read_usages, write_table
from scprograms._core.validate import check_choice, check_int, check_real, listing, warn

from ._enrichr import SITES
from ._gsea import RandomState, enrichr_table, prerank_table
from ._ora import Terms, eligible_terms, gene_lists, over_representation_table
from .gene_sets import GeneSets, as_path, check_overlap, gene_list, read_gene_sets

if TYPE_CHECKING:
    from anndata import AnnData

LIST = ["program", "direction", "library"]


def program_enrichment(
    adata: AnnData,
    gene_sets: GeneSets | list[GeneSets],
    *,
    key: str = "semi_nmf",
    method: Literal["ora", "prerank", "enrichr"] = "ora",
    n_genes: int = 100,
    direction: Literal["up", "down", "both"] = "both",
    rank_by: Literal["loading", "zscore"] = "loading",
    background: Iterable[str] | None = None,
    min_size: int = 10,
    max_size: int = 500,
    redundancy: float = 0.5,
    organism: str = "human",
    timeout: float = 30,
    n_permutations: int = 1000,
    random_state: RandomState = 0,
    n_jobs: int | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Find the gene sets that are enriched among the genes of each program.

    Parameters
    ----------
    adata
        Data with a factorization; ``.var_names`` must be unique, and of the kind that the gene sets use.
    gene_sets
        A dictionary of term to genes; the path of a GMT file, also gzipped; the name of an Enrichr library, which is
        downloaded once into a cache (``$SCPROGRAMS_CACHE``, else the user's cache folder); or a list of any of them.
        A term that occurs twice in a file holds the genes of both.
    key
        Key of the factorization.
    method
        ``"ora"``: hypergeometric test of the top genes against the background, made here. q adjusts over all eligible
        terms of a library, for each gene list apart; terms that share no gene with the list count in this family, but
        are not reported. ``"prerank"``: ``gseapy.prerank`` on all genes of the background, ranked. ``"enrichr"``: the
        Enrichr service, by ``gseapy.enrichr``; it needs a network and library names, and tests against its own
        background, not the genes that were measured.
    n_genes
        Number of top genes of a program (not for ``"prerank"``). More than a tenth of the background gives a warning:
        with so many, hardly anything can be significant.
    direction
        Test the genes that a program raises (``"up"``), those that it lowers (``"down"``), or both, apart. Up takes
        positive scores only and down negative ones, so a list may be shorter than ``n_genes``.
    rank_by
        What ranks the genes: ``"loading"``, or ``"zscore"``, the coefficient of the usage in a regression of the gene's
        z-scored expression on all usages. The latter does not favour strongly expressed genes and has no ties,
        which loadings that are never negative have; it reads the matrix that was factorized.
    background
        Names of the genes that could have been found. By default those that entered the factorization. A number
        is refused: it would not say which genes of a term could be found.
    min_size, max_size
        Limits of a term's number of genes in the background (not for ``"enrichr"``).
    redundancy
        Jaccard index (genes in both over genes in either) from which two terms of a list count as one: each best term
        that is left takes all terms that are this close to it into its group. It counts all genes of a term in the
        background, or, with ``"enrichr"``, which does not say these, the shared ones. 1 joins terms of the same genes
        only.
    organism
        Which of Enrichr's sites is asked: "human", "mouse" (the same site), "fly", "yeast", "worm" or "fish".
    timeout
        Seconds that Enrichr may stay silent; with ``"enrichr"`` also the longest wait for one gene list.
    n_permutations
        Permutations of ``"prerank"``.
    random_state
        Seed of these permutations.
    n_jobs
        Threads of ``"prerank"``; None for all.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the copy with ``copy=True``. Sets this field:

    ``.uns[key]["enrichment"]``
        DataFrame with a row per program, direction, library and term, best first within each list. ``overlap``: top
        genes in the term; ``term_size``: genes of the term in the background; ``n_genes``: length of the list;
        ``background_size`` (0 where Enrichr does not say); ``odds_ratio``, with 0.5 added to each cell of the table;
        ``combined_score``, -ln(p) times the odds ratio; ``p``; ``q``; ``genes``: those shared, strongest first,
        joined by ";". For ``"prerank"``: ``term_size``, ``es``, ``nes``, ``p`` (0 means below one in
        ``n_permutations``), ``q``, and the leading edge as ``genes``. Of all methods: ``term_group``, the number of the
        term's group among those of its program, direction and library, by their best terms from 0; and
        ``representative``, whether it is the best of its group. Without any result the table has no rows, but all
        columns.

    Raises
    ------
    FileNotFoundError
        If a GMT file does not exist.
    ValueError
        If a GMT file or a download is damaged, no gene of a library is in the background, the background is empty or
        holds no gene of the data, names of genes are not unique, or an argument is out of range.
    TypeError
        If ``background`` is a number or a string, or ``gene_sets`` is of a type that cannot hold gene sets.
    KeyError
        If there is no factorization under ``key``.
    ConnectionError, TimeoutError
        If Enrichr is needed and cannot be reached; the message says how to go on without a network.

    References
    ----------
    Subramanian et al. (2005), PNAS 102, 15545-15550, https://doi.org/10.1073/pnas.0506580102 (``"prerank"``).

    Kuleshov et al. (2016), Nucleic Acids Research 44, W90-W97, https://doi.org/10.1093/nar/gkw377 (``"enrichr"``).

    Fang, Liu and Peltz (2023), Bioinformatics 39, btac757, https://doi.org/10.1093/bioinformatics/btac757 (gseapy).

    Kotliar et al. (2019), eLife 8, e43803, https://doi.org/10.7554/eLife.43803 (``rank_by="zscore"``).

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(300, 400, 6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, n_programs=6)
    >>> gene_sets = scp.datasets.planted_gene_sets(adata, n_genes=20)
    >>> scp.tl.program_enrichment(adata, gene_sets, n_genes=20)
    >>> best = adata.uns["semi_nmf"]["enrichment"].groupby("program").first()
    >>> bool(best["term"].str.startswith("planted").all())
    True
    """
    loadings = read_loadings(adata, key)
    names = read_gene_names(adata)
    check_choice("method", method, ["ora", "prerank", "enrichr"])
    check_choice("direction", direction, ["up", "down", "both"])
    check_choice("rank_by", rank_by, ["loading", "zscore"])
    check_choice("organism", organism, SITES)
    check_int("n_genes", n_genes, at_least=1)
    check_int("n_permutations", n_permutations, at_least=1)
    check_int("max_size", max_size, at_least=check_int("min_size", min_size, at_least=1))
    timeout = check_real("timeout", timeout, at_least=1e-3)
    redundancy = check_real("redundancy", redundancy, at_least=0.01, at_most=1)
    if method == "enrichr" and background is not None:
        msg = "background has no effect on method='enrichr', which tests against its own. Use method='ora'."
        raise ValueError(msg)
    universe = _background(adata, key, names, background)
    scores = _scores(adata, key, loadings, rank_by).set_axis(names, axis=0).reindex(universe)
    terms: dict[str, Terms] | None = None
    if method == "prerank":
        scores = scores.loc[scores.index.isin(names)]
        terms = _terms(gene_sets, scores.index, min_size, max_size, organism, timeout)
        table = prerank_table(
            scores,
            terms,
            direction=direction,
            n_permutations=n_permutations,
            random_state=random_state,
            n_jobs=n_jobs,
        )
    else:
        lists = gene_lists(scores, n_genes=n_genes, direction=direction)
        if not lists:
            warn(f"No program has a gene whose score points {direction!r}: there is nothing to test.")
        if method == "enrichr":
            table = enrichr_table(lists, _library_names(gene_sets), universe, organism=organism, timeout=timeout)
        else:
            terms = _terms(gene_sets, universe, min_size, max_size, organism, timeout)
            if n_genes > math.ceil(len(universe) / 10):
                warn(
                    f"n_genes={n_genes} is more than a tenth of the {len(universe)} background genes: hardly any term "
                    f"can be significant. Lower n_genes to {math.ceil(len(universe) / 10)} or less."
                )
            table = over_representation_table(lists, terms, universe)
    table = mark_redundant(table, terms, threshold=redundancy)
    adata = adata.copy() if copy else adata
    write_table(adata, key, slot_names.ENRICHMENT, table)
    return adata if copy else None


def _library_names(gene_sets: object) -> list[str]:
    names = [gene_sets] if isinstance(gene_sets, str) else list(gene_sets) if isinstance(gene_sets, Iterable) else []
    if isinstance(gene_sets, Mapping) or not names or not all(isinstance(name, str) for name in names):
        msg = "method='enrichr' takes names of Enrichr libraries as gene_sets. Use method='ora' with other gene sets."
        raise TypeError(msg)
    if any(as_path(name) is not None for name in names):
        msg = f"method='enrichr' takes names of libraries, but gene_sets={gene_sets!r} has a file. Use method='ora'."
        raise ValueError(msg)
    return names


def _background(adata: AnnData, key: str, names: list[str], background: object) -> pd.Index:
    """Return the names of the background genes: those of the data in their order, then all others."""
    if background is None:
        return pd.Index(names)[read_model(adata, key)["used"].to_numpy(dtype=bool)]
    if (
        isinstance(background, str | bytes | Mapping)
        or not isinstance(background, Iterable)
        or getattr(background, "ndim", 1) != 1
    ):
        msg = (
            f"background={background!r} is a {type(background).__name__}; pass the names of the background genes (a "
            "list, set, array or Index), or None for the genes that entered the factorization."
        )
        raise TypeError(msg)
    found, n_missing = gene_list(background, name="background")
    if n_missing:
        warn(f"background has {n_missing} missing gene names (NaN or None): they are left out.")
    chosen = set(found)
    in_data = [name for name in names if name in chosen]
    if not in_data:
        msg = (
            f"None of the {len(chosen)} background genes is among the {len(names)} genes of the data. The background "
            f"has {listing(sorted(chosen), at_most=3)}; adata.var_names has {listing(names, at_most=3)}."
        )
        raise ValueError(msg)
    return pd.Index([*in_data, *sorted(chosen.difference(in_data))])


def _scores(adata: AnnData, key: str, loadings: pd.DataFrame, rank_by: str) -> pd.DataFrame:
    if rank_by == "loading":
        return loadings
    from .engine import gene_scores

    X = read_matrix(adata, layer=read_fit(adata, key)[slot_names.PARAMS].get("layer"))
    scores = gene_scores(X, read_usages(adata, key).to_numpy())
    return pd.DataFrame(scores.T, index=loadings.index, columns=loadings.columns)


def _terms(
    gene_sets: GeneSets | list[GeneSets],
    universe: pd.Index,
    min_size: int,
    max_size: int,
    organism: str,
    timeout: float,
) -> dict[str, Terms]:
    """Read the gene sets, and keep the terms of the right size among the genes of the universe."""
    libraries = read_gene_sets(gene_sets, organism=organism, timeout=timeout)
    check_overlap(libraries, universe, organism=organism)
    terms = {}
    for name, library in libraries.items():
        terms[name] = eligible_terms(library, universe, min_size=min_size, max_size=max_size)
        if not terms[name].names:
            warn(
                f"None of the {len(library)} terms of library {name!r} has {min_size} to {max_size} genes among the "
                f"{len(universe)} background genes: change min_size or max_size."
            )
    return terms


def mark_redundant(table: pd.DataFrame, libraries: Mapping[str, Terms] | None, *, threshold: float) -> pd.DataFrame:
    """Add the columns ``term_group`` and ``representative`` to a table in which each list has its best term first.

    Without the libraries (Enrichr does not hand them out) the genes that a term shares with the list stand in for it.
    """
    from .engine import jaccard_neighbours, redundancy_groups

    neighbours, position = {}, {}
    for name, terms in (libraries or {}).items():
        if terms.names:
            neighbours[name] = jaccard_neighbours(terms.membership, threshold=threshold)
            position[name] = pd.Index(terms.names)
    groups = np.zeros(len(table), dtype=np.int64)
    representative = np.zeros(len(table), dtype=bool)
    lists: dict[Any, Any] = table.groupby(LIST, sort=False, observed=True).indices
    for (_, _, library), rows in lists.items():
        if library in neighbours:
            near = neighbours[library]
            order = position[library].get_indexer(pd.Index(table["term"].to_numpy()[rows]))
        else:
            near = jaccard_neighbours(_membership(table["genes"].to_numpy()[rows]), threshold=threshold)
            order = np.arange(len(rows))
        groups[rows] = redundancy_groups(near, order)
        representative[rows[np.unique(groups[rows], return_index=True)[1]]] = True
    return table.assign(term_group=groups, representative=representative)


def _membership(genes: np.ndarray) -> sparse.csr_array:
    lists = [str(names).split(";") for names in genes]
    codes, _ = pd.factorize(np.array([name for names in lists for name in names], dtype=object))
    rows = np.repeat(np.arange(len(lists)), [len(names) for names in lists])
    return sparse.coo_array((np.ones(len(codes), dtype=np.int64), (rows, codes))).tocsr()
