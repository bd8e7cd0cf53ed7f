"""Redundancy of gene sets: which of a ranked list of terms hold much the same genes as a better one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

ROWS_PER_BLOCK = 1024


def jaccard_neighbours(membership: sparse.csr_array, *, threshold: float) -> sparse.csr_array:
    """Return which pairs of gene sets share at least this much: the Jaccard index, shared genes over genes of either.

    Parameters
    ----------
    membership
        Gene sets, n_terms x n_genes, non-zero where a term holds a gene.
    threshold
        Smallest Jaccard index of a pair, above 0 and at most 1.

    Returns
    -------
    The Jaccard indices of these pairs, n_terms x n_terms, symmetric; every term is a neighbour of its own (1), unless
    it holds no gene.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from scprograms.enrichment.engine import jaccard_neighbours
    >>> terms = sparse.csr_array(np.array([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 1, 1]]))
    >>> jaccard_neighbours(terms, threshold=0.5).toarray().round(2)
    array([[1.  , 0.67, 0.  ],
           [0.67, 1.  , 0.  ],
           [0.  , 0.  , 1.  ]])
    """
    if not 0 < threshold <= 1:
        msg = f"threshold={threshold} is out of range; pass a Jaccard index above 0 and at most 1."
        raise ValueError(msg)
    # The stubs know no dtype beside a sparse matrix.
    members: sparse.csr_array = sparse.csr_array(membership, dtype=np.int64, copy=True)  # type: ignore[call-overload]
    members.data[:] = members.data != 0
    members.eliminate_zeros()
    size = np.diff(members.indptr)
    by_gene = members.T.tocsr()
    rows, columns, values = [], [], []
    # In blocks: nearly all pairs of a large library share a gene, and few of them many.
    for start in range(0, len(size), ROWS_PER_BLOCK):
        shared = (members[start : start + ROWS_PER_BLOCK] @ by_gene).tocoo()
        row = shared.row + start
        jaccard = shared.data / (size[row] + size[shared.col] - shared.data)
        near = jaccard >= threshold
        rows.append(row[near])
        columns.append(shared.col[near])
        values.append(jaccard[near])
    shape = (len(size), len(size))
    if not rows:
        return sparse.csr_array(shape, dtype=np.float64)
    return sparse.csr_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)


def redundancy_groups(neighbours: sparse.csr_array, order: Array) -> Array:
    """Group ranked terms with their neighbours: each best term that is left takes all of its own neighbours.

    So every term is a neighbour of the first of its group, its representative, and no two representatives are
    neighbours. Single linkage promises neither: it chains terms that have nothing in common.

    Parameters
    ----------
    neighbours
        Which terms are alike, n_terms x n_terms, as from :func:`jaccard_neighbours`.
    order
        Positions of the terms of the list, the best first. Terms may be left out.

    Returns
    -------
    The group of each term of ``order``: 0 for that of the best, and so on in the order of their best terms.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from scprograms.enrichment.engine import jaccard_neighbours, redundancy_groups
    >>> terms = sparse.csr_array(np.array([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 1, 1]]))
    >>> redundancy_groups(jaccard_neighbours(terms, threshold=0.5), np.array([1, 2, 0]))
    array([0, 1, 0])
    """
    order = np.asarray(order, dtype=np.int64)
    group = np.full(neighbours.shape[0], -1, dtype=np.int64)
    indices, indptr = neighbours.indices, neighbours.indptr
    n_groups = 0
    for term in order.tolist():
        if group[term] < 0:
            near = indices[indptr[term] : indptr[term + 1]]
            group[near[group[near] < 0]] = n_groups
            group[term] = n_groups
            n_groups += 1
    # A representative takes terms of the list and, without harm, terms outside it.
    return group[order]
