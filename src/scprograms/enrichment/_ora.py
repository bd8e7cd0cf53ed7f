"""Gene lists of programs, and their over-representation in gene sets, as tables."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ._gmt import Library

COLUMNS = {
    "program": str,
    "direction": str,
    "library": str,
    "term": str,
    "overlap": np.int64,
    "term_size": np.int64,
    "n_genes": np.int64,
    "background_size": np.int64,
    "odds_ratio": np.float64,
    "combined_score": np.float64,
    "p": np.float64,
    "q": np.float64,
    "genes": str,
}
"""Columns of the tables of over-representation, with their types."""


@dataclass(frozen=True)
class GeneList:
    """The strongest genes of one end of a program."""

    program: str
    direction: str
    genes: np.ndarray
    """Positions of the genes in the background, strongest first."""


@dataclass(frozen=True)
class Terms:
    """The terms of a library that are of the right size, as membership over the background."""

    names: list[str]
    membership: sparse.csr_array
    """n_terms x n_background."""


def gene_lists(scores: pd.DataFrame, *, n_genes: int, direction: str) -> list[GeneList]:
    """Return the top genes of each program (column), at its upper end, its lower end, or both, apart.

    The upper end holds positive scores only, the lower end negative ones: a list may be shorter than ``n_genes``, and a
    program without such scores has no list.
    """
    lists = []
    for program, column in scores.items():
        values = column.to_numpy()
        for end, sign in (("up", 1), ("down", -1)):
            if direction in (end, "both"):
                candidates = np.flatnonzero(sign * values > 0)
                order = np.argsort(-sign * values[candidates], kind="stable")[:n_genes]
                if len(order):
                    lists.append(GeneList(str(program), end, candidates[order]))
    return lists


def eligible_terms(library: Library, background: Sequence[str] | pd.Index, *, min_size: int, max_size: int) -> Terms:
    """Intersect the terms with the background, and keep those with ``min_size`` to ``max_size`` genes of it."""
    position = pd.Index(background)
    sizes = np.array([len(genes) for genes in library.values()])
    genes_of_all = pd.Index(np.array([gene for genes in library.values() for gene in genes], dtype=object))
    columns = position.get_indexer(genes_of_all)
    rows = np.repeat(np.arange(len(sizes)), sizes)[columns >= 0]
    columns = columns[columns >= 0]
    shape = (len(sizes), len(position))
    membership = sparse.coo_array((np.ones(len(columns), dtype=np.int64), (rows, columns)), shape=shape).tocsr()
    found = np.diff(membership.indptr)
    keep = np.flatnonzero((found >= min_size) & (found <= max_size))
    names = list(library)
    return Terms([names[i] for i in keep], membership[keep])


def over_representation_table(
    lists: Sequence[GeneList], libraries: Mapping[str, Terms], background: Sequence[str] | pd.Index
) -> pd.DataFrame:
    """Test every list against every term; return the terms that share a gene with the list, best first."""
    from .engine import over_representation

    names = np.asarray(background, dtype=object)
    indptr = np.cumsum([0, *(len(one.genes) for one in lists)])
    columns = np.concatenate([one.genes for one in lists]) if lists else np.zeros(0, dtype=np.int64)
    members = sparse.csr_array((np.ones(len(columns), dtype=np.int64), columns, indptr), shape=(len(lists), len(names)))
    programs = np.array([one.program for one in lists], dtype=object)
    directions = np.array([one.direction for one in lists], dtype=object)
    tables = []
    for library, terms in libraries.items():
        if not terms.names or not lists:
            continue
        test = over_representation(terms.membership, members)
        by_gene, term_size = terms.membership.tocsc(), np.diff(terms.membership.indptr)
        term_names = np.array(terms.names, dtype=object)
        alphabetical = np.argsort(np.argsort(term_names))
        hits, genes = [], []
        for i, one in enumerate(lists):
            hit = np.flatnonzero(test.overlap[i])
            hit = hit[np.lexsort((alphabetical[hit], -test.combined_score[i, hit], test.p[i, hit]))]
            shared = by_gene[:, one.genes].tocsr()[hit]
            ranked, ends = names[one.genes][shared.indices].tolist(), shared.indptr.tolist()
            genes += [";".join(ranked[start:end]) for start, end in pairwise(ends)]
            hits.append(hit)
        row, term = np.repeat(np.arange(len(lists)), [len(hit) for hit in hits]), np.concatenate(hits)
        tables.append(
            pd.DataFrame(
                {
                    "program": programs[row],
                    "direction": directions[row],
                    "library": library,
                    "term": term_names[term],
                    "overlap": test.overlap[row, term],
                    "term_size": term_size[term],
                    "n_genes": np.diff(indptr)[row],
                    "background_size": len(names),
                    "odds_ratio": test.odds_ratio[row, term],
                    "combined_score": test.combined_score[row, term],
                    "p": test.p[row, term],
                    "q": test.q[row, term],
                    "genes": genes,
                }
            )
        )
    return as_table(tables, COLUMNS)


def as_table(tables: Sequence[pd.DataFrame], columns: Mapping[str, type]) -> pd.DataFrame:
    """Put tables below each other; without any, or any row, the columns still have their types."""
    tables = [table for table in tables if len(table)]
    if not tables:
        return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in columns.items()})
    return pd.concat(tables, ignore_index=True)[list(columns)].astype(dict(columns))
