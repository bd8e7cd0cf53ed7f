"""Over-representation of gene sets in gene lists: the hypergeometric test, for many sets and lists at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.stats import hypergeom

from scprograms._core.multiple_testing import benjamini_hochberg

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

HALDANE = 0.5


@dataclass(frozen=True)
class OverRepresentation:
    """Every list against every term: matrices of n_lists x n_terms."""

    overlap: Array
    """Genes that list and term share."""
    p: Array
    """P(at least that overlap) for a random list of the same size; 1 without overlap."""
    q: Array
    """p adjusted by Benjamini and Hochberg over all terms of a list, those without overlap included."""
    odds_ratio: Array
    """Odds ratio of the 2 x 2 table with 0.5 added to each cell, so that it is finite."""
    combined_score: Array
    """-ln(p) times the odds ratio."""


def over_representation(terms: sparse.csr_array, lists: sparse.csr_array) -> OverRepresentation:
    """Test whether gene lists hold more genes of a term than chance would put there.

    The background is the columns: every gene that could have been in a list. p equals
    ``scipy.stats.hypergeom.sf(overlap - 1, n_genes, term_size, list_size)`` exactly, but is computed once for each
    different combination of the three sizes. Terms without any overlap stay in the family of tests: dropping
    them, as is often done, makes q too small.

    Parameters
    ----------
    terms
        Membership, n_terms x n_genes: non-zero where the gene belongs to the term.
    lists
        Membership, n_lists x n_genes: non-zero where the gene is in the list.

    Returns
    -------
    Overlap, p, q, odds ratio and combined score of each list and term.

    Raises
    ------
    ValueError
        If terms and lists are not over the same genes.

    References
    ----------
    Kuleshov et al. (2016), Nucleic Acids Research 44, W90-W97, https://doi.org/10.1093/nar/gkw377 (odds ratio and
    combined score, as Enrichr has them).

    Haldane (1956), Annals of Human Genetics 20, 309-311, https://doi.org/10.1111/j.1469-1809.1955.tb01285.x (the
    correction of the odds ratio).

    Wijesooriya et al. (2022), PLOS Computational Biology 18, e1009935, https://doi.org/10.1371/journal.pcbi.1009935
    (background and family).

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from scprograms.enrichment.engine import over_representation
    >>> terms = sparse.csr_array(np.array([[1, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1, 1]]))
    >>> lists = sparse.csr_array(np.array([[1, 1, 1, 1, 0, 0, 0, 0]]))
    >>> result = over_representation(terms, lists)
    >>> result.overlap, result.p.round(3), result.q.round(3)
    (array([[3, 0]]), array([[0.071, 1.   ]]), array([[0.143, 1.   ]]))
    """
    if terms.shape[1] != lists.shape[1]:
        msg = f"terms are over {terms.shape[1]} genes and lists over {lists.shape[1]}: both need the same genes."
        raise ValueError(msg)
    terms, lists = _membership(terms), _membership(lists)
    n_genes = terms.shape[1]
    term_size, list_size = np.diff(terms.indptr).astype(np.int64), np.diff(lists.indptr).astype(np.int64)
    overlap = (lists @ terms.T).toarray()
    p, log_p = _tail(overlap, term_size, list_size, n_genes)
    x, m, n = overlap + HALDANE, term_size[None, :], list_size[:, None]
    odds_ratio = x * (n_genes - m - n + x) / ((m - overlap + HALDANE) * (n - overlap + HALDANE))
    return OverRepresentation(overlap, p, benjamini_hochberg(p), odds_ratio, -log_p * odds_ratio)


def _membership(matrix: sparse.csr_array) -> sparse.csr_array:
    matrix = sparse.csr_array(matrix, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.data = np.ones(matrix.nnz, dtype=np.int64)
    return matrix


def _tail(overlap: Array, term_size: Array, list_size: Array, n_genes: int) -> tuple[Array, Array]:
    """Return p and ln(p), one evaluation for each different (overlap, term size, list size)."""
    p = np.ones(overlap.shape)
    log_p = np.zeros(overlap.shape)
    i_list, i_term = np.nonzero(overlap)
    x, m, n = overlap[i_list, i_term], term_size[i_term], list_size[i_list]
    base = n_genes + 1
    if base < 2_000_000:  # three sizes in one integer; beyond, they would not fit
        codes, inverse = np.unique((x * base + m) * base + n, return_inverse=True)
        rest, n = np.divmod(codes, base)
        x, m = np.divmod(rest, base)
    else:
        sizes, inverse = np.unique(np.stack([x, m, n]), axis=1, return_inverse=True)
        x, m, n = sizes
    if len(x) == 0:
        return p, log_p
    tail = np.asarray(hypergeom.sf(x - 1, n_genes, m, n))
    with np.errstate(divide="ignore"):
        log_tail = np.log(tail)
    lost = tail == 0
    if lost.any():  # p underflowed; the score still needs its size
        log_tail[lost] = hypergeom.logsf(x[lost] - 1, n_genes, m[lost], n[lost])
    p[i_list, i_term], log_p[i_list, i_term] = tail[inverse.ravel()], log_tail[inverse.ravel()]
    return p, log_p
