"""Whether a cell is of the type that it is said to be: likelihoods of its profile under all cell types.

States are z-scored within the cells of a type, so a whole group of foreign cells would be centred on itself, and what
its own states have in common with those of the type would be found in it. Only the profile before scaling can tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ._design import LEAST_CAP, Matrix

GENES_PER_TYPE, MOST_PER_PAIR, PAIR_GENES = 20, 10, 60
"""Genes that are higher in a type than in the mean of the others, and than in each other one."""
LEAST_GENES = 5
BACKGROUND = 0.01


@dataclass(frozen=True)
class Identity:
    """Profiles of cell types, one for each of their states."""

    genes: NDArray
    """Columns of the matrix."""
    profiles: NDArray
    """Genes x profiles: shares of the expression of these genes."""
    cell_types: NDArray
    """Type of each profile."""


def fit_identity(matrix: Matrix, cell_types: NDArray, states: NDArray, n_types: int) -> Identity | None:
    """Learn the profiles of all types with enough cells; None where there are not two, or values are negative.

    Parameters
    ----------
    matrix
        Cells x genes, log-normalised, dense or CSR.
    cell_types, states
        Codes of each cell; -1 where unknown. Cells of unknown state count for their type.
    n_types
        Number of types.
    """
    values = matrix.data if sparse.issparse(matrix) else matrix
    if values.size and values.min() < 0:
        return None
    known = cell_types >= 0
    sizes = np.bincount(cell_types[known], minlength=n_types)
    types = np.flatnonzero(sizes >= LEAST_CAP)
    if len(types) < 2:
        return None
    code = cell_types * (states.max() + 2) + states + 1
    groups, of_cell, n_group = np.unique(np.where(known, code, -1), return_inverse=True, return_counts=True)
    sums, squares = _sums(matrix, of_cell, len(groups))
    type_of, state_of = groups // (states.max() + 2), groups % (states.max() + 2) - 1
    in_type = ((type_of == types[:, None]) & (groups >= 0)).astype(np.float64)
    n = sizes[types][:, None]
    means = in_type @ sums / n
    variance = np.maximum(in_type @ squares / n - means**2, 0).mean(axis=0)
    genes = _distinct_genes(means, variance)
    if len(genes) < LEAST_GENES:
        return None
    # States with enough cells have profiles of their own; all other cells of the type share one.
    own = (n_group >= LEAST_CAP) & (state_of >= 0)
    rows: list[NDArray] = []
    of_profile: list[int] = []
    for t in types:
        mine = (type_of == t) & (groups >= 0)
        rows += [sums[[g]][:, genes] for g in np.flatnonzero(mine & own)]
        rest = np.flatnonzero(mine & ~own)
        if n_group[rest].sum() >= LEAST_CAP or not (mine & own).any():
            rows.append(sums[rest][:, genes].sum(axis=0, keepdims=True))
        of_profile += [int(t)] * (len(rows) - len(of_profile))
    profiles = np.concatenate(rows)
    profiles /= np.maximum(profiles.sum(axis=1, keepdims=True), 1e-300)
    return Identity(genes, profiles.T, np.array(of_profile))


def _sums(matrix: Matrix, of_cell: NDArray, n_groups: int) -> tuple[NDArray, NDArray]:
    member = sparse.csr_array((np.ones(len(of_cell)), (of_cell, np.arange(len(of_cell)))), (n_groups, len(of_cell)))
    if sparse.issparse(matrix):
        values = sparse.csr_array(matrix, dtype=np.float64)
        return (member @ values).toarray(), (member @ values.multiply(values)).toarray()
    dense = np.asarray(matrix, dtype=np.float64)
    return member @ dense, member @ dense**2


def _distinct_genes(means: NDArray, variance: NDArray) -> NDArray:
    """Return the genes that set each type apart from the others on average, and from each of them."""
    n_types = len(means)
    per_pair = min(MOST_PER_PAIR, max(2, PAIR_GENES // (n_types - 1)))
    spread = np.sqrt(variance + 0.02)  # or genes that hardly any cell expresses would come first
    total, chosen = means.sum(axis=0), set()
    for t in range(n_types):
        others = (total - means[t]) / (n_types - 1)
        for rival, n in [(others, GENES_PER_TYPE), *((means[u], per_pair) for u in range(n_types) if u != t)]:
            lead = (means[t] - rival) / spread
            best = np.argsort(-lead, kind="stable")[:n]
            chosen.update(best[lead[best] > 0].tolist())
    return np.array(sorted(chosen), dtype=np.int64)


def identity_margin(values: NDArray, profiles: NDArray, cell_types: NDArray, own: int) -> NDArray:
    """Return how much likelier the expression of each cell is under its own type than under the best other one.

    It is the difference of the log-likelihoods of a multinomial, per unit of expression, and so does not grow with the
    depth of a cell. NaN where a cell expresses none of the genes.

    Parameters
    ----------
    values
        Cells x genes, log-normalised.
    profiles
        Genes x profiles.
    cell_types
        Type of each profile.
    own
        The type that the cells are said to be of.
    """
    raised = profiles + BACKGROUND * profiles.mean()
    total = values.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        likelihood = (values @ np.log(raised / raised.sum(axis=0))) / total
    mine = cell_types == own
    return np.asarray(likelihood[:, mine].max(axis=1) - likelihood[:, ~mine].max(axis=1))
