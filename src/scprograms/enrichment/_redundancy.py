"""Marks the terms of an enrichment table that repeat a better one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._ora import Terms

LIST = ["program", "direction", "library"]


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
    for (_, _, library), rows in table.groupby(LIST, sort=False, observed=True).indices.items():
        if library in neighbours:
            near = neighbours[library]
            order = position[library].get_indexer(table["term"].to_numpy()[rows])
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
