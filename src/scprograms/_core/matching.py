"""Which programs of two sets correspond to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

if TYPE_CHECKING:
    from scprograms._core.matrix import Array
TIE, TIE_DIGITS = 1e-9, 9


@dataclass(frozen=True)
class RowMatches:
    """One entry per matched pair, in descending order of the cosine."""

    rows_a: Array
    """Rows of the first matrix."""
    rows_b: Array
    """The rows of the second one that they are matched to."""
    cosine: Array
    """The cosine of the two rows."""
    n_overlap: Array
    """How many columns are among the largest positive ones of both rows."""
    jaccard: Array
    """Their share of the columns that are among the largest positive ones of either row; NaN where there are none."""
    rank_correlation: Array
    """Spearman's correlation over all columns; NaN where a row is constant."""


def cosine_similarity(A: Array, B: Array) -> Array:
    """Return the cosine of each row of A with each row of B in float64; NaN with rows that are zero throughout.

    Parameters
    ----------
    A, B
        n x p and m x p.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms._core.matching import cosine_similarity
    >>> cosine_similarity(np.array([[1.0, 0.0], [3.0, 4.0]]), np.array([[-2.0, 0.0]])).tolist()
    [[-1.0], [-0.6]]
    """
    units = []
    for M in (np.asarray(side, dtype=np.float64) for side in (A, B)):
        norms = np.linalg.norm(M, axis=1, keepdims=True)
        units.append(M / np.where(norms > 0, norms, np.nan))
    return np.clip(units[0] @ units[1].T, -1, 1)


def best_pairs(similarity: Array) -> tuple[Array, Array]:
    """One-to-one pairs of rows and columns with the largest sum, best first.

    A row or column that is NaN throughout stays without a partner. Sums that tie to nine digits are told apart by
    rules, not by rounding: those with the larger squares first (one perfect pair and one bad one go before two of
    middling similarity), then those that keep the order of rows.
    """
    known = [np.flatnonzero(~np.isnan(similarity).all(axis=axis)) for axis in (1, 0)]
    found = np.round(similarity[np.ix_(*known)], TIE_DIGITS)
    place = np.linspace(0, 1, found.shape[0])[:, None] - np.linspace(0, 1, found.shape[1])
    preferred = found + TIE * np.square(found) - 0.1 * TIE * np.square(place)
    rows, columns = linear_sum_assignment(preferred, maximize=True)
    order = np.argsort(-found[rows, columns], kind="stable")
    return known[0][rows[order]], known[1][columns[order]]


def match_rows(A: Array, B: Array, *, n_top: int = 50) -> RowMatches:
    """Match rows of A and B one to one such that the sum of their cosines is as large as possible.

    Signs count: a row and its negative are opposites (cosine -1), not the same. Rows that are zero throughout stay
    unmatched, and so do those of the longer matrix that are left over.

    Parameters
    ----------
    A, B
        Loadings, k x n_genes each, of the same genes in the same order.
    n_top
        Number of largest entries of each row, if they are positive, whose overlap is counted.

    Returns
    -------
    The pairs and how alike they are, the most similar first.

    References
    ----------
    Kuhn (1955), Naval Research Logistics Quarterly 2:83, https://doi.org/10.1002/nav.3800020109

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms._core.matching import match_rows
    >>> A = np.array([[3.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 4.0]])
    >>> found = match_rows(A, A[::-1], n_top=1)
    >>> found.rows_a.tolist(), found.rows_b.tolist(), found.jaccard.tolist()
    ([0, 1], [1, 0], [1.0, 1.0])
    """
    if A.shape[1] != B.shape[1]:
        msg = f"A has {A.shape[1]} columns and B {B.shape[1]}: pass loadings of the same genes in the same order."
        raise ValueError(msg)
    similarity = cosine_similarity(A, B)
    a, b = best_pairs(similarity)
    top_a, top_b = (_largest_positive(M, n_top) for M in (A[a], B[b]))
    both, either = (top_a & top_b).sum(axis=1), (top_a | top_b).sum(axis=1)
    with np.errstate(invalid="ignore"):
        jaccard = both / either
    ranks_a, ranks_b = (rankdata(M, axis=1) - (M.shape[1] + 1) / 2 for M in (A[a], B[b]))
    correlation = np.diagonal(cosine_similarity(ranks_a, ranks_b))
    return RowMatches(a, b, similarity[a, b], both, jaccard, correlation)


def _largest_positive(M: Array, n: int) -> Array:
    """Return the mask of the n largest entries of each row, without those that are not positive."""
    mask = np.zeros(M.shape, dtype=bool)
    order = np.argsort(-M, axis=1, kind="stable")[:, :n]
    np.put_along_axis(mask, order, values=True, axis=1)
    return mask & (M > 0)
