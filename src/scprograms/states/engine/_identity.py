"""Whether a cell is of the type that it is said to be: a logistic regression of its profile on all cell types.

States are z-scored within the cells of a type, so a whole group of foreign cells would be centred on itself, and what
its own states have in common with those of the type would be found in it. Only the profile before scaling can tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._design import LEAST_CAP, group_moments
from ._signature import dense

if TYPE_CHECKING:
    from scprograms._core.matrix import Array, Matrix

GENES_PER_TYPE, MOST_PER_PAIR, PAIR_GENES = 5, 10, 60
"""Genes that are higher in a type than in the mean of the others, and than in each other one."""
LEAST_GENES = 5
MOST_CELLS = 1000
"""Of a type, to learn from."""
PENALTY = 30.0
"""Weight of half the sum of squares of the weights, against the sum of the losses of the cells."""
CERTAIN = 1.0
"""A logit that is so far above the others leaves no doubt: more is not told from it, for it varies with the sample."""
VARIANCE = 0.02
"""Added to that of a gene: or genes that hardly any cell expresses would come first."""


@dataclass(frozen=True)
class Identity:
    """What a cell's expression says of its type."""

    genes: Array
    """Columns of the matrix."""
    weights: Array
    """Genes x types: logits per unit of expression."""
    intercepts: Array
    """Of the logits, one per type."""
    means: Array
    """Genes x types: mean expression."""
    cell_types: Array
    """Codes of the types."""


def fit_identity(matrix: Matrix, cell_types: Array, n_types: int) -> Identity | None:
    """Learn to tell all types with enough cells; None where there are not two.

    A cell counts by one over the square root of the number of cells of its type, and types with many cells are
    represented by some of them.

    Parameters
    ----------
    matrix
        Cells x genes, log-normalised, dense or CSR.
    cell_types
        Codes of each cell; -1 where unknown.
    n_types
        Number of types.

    Returns
    -------
    Genes that set the types apart and their weights, or None: with one type, or where hardly a gene differs.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import fit_identity
    >>> types = np.repeat([0, 1], 40)
    >>> X = np.random.default_rng(0).normal(2, 1, (80, 12))
    >>> X[:, :8] += 3 * types[:, None]
    >>> fit_identity(X, types, 2).weights.shape[1]
    2
    """
    from sklearn.linear_model import LogisticRegression

    sizes = np.bincount(cell_types[cell_types >= 0], minlength=n_types)
    types = np.flatnonzero(sizes >= LEAST_CAP)
    if len(types) < 2:
        return None
    code = np.where(np.isin(cell_types, types), np.searchsorted(types, np.maximum(cell_types, 0)), -1)
    moments = group_moments(matrix, code, len(types))
    means = moments.means
    genes = _distinct_genes(means, moments.variances.mean(axis=0))
    if len(genes) < LEAST_GENES:
        return None
    cells = np.concatenate([_some(np.flatnonzero(code == t)) for t in range(len(types))])
    values = dense(matrix[cells], genes)
    center, scale = values.mean(axis=0), values.std(axis=0) + 0.2
    weight = 1 / np.sqrt(np.bincount(code[cells]))[code[cells]]
    model = LogisticRegression(C=1 / PENALTY, tol=1e-6, max_iter=2000)
    model.fit((values - center) / scale, code[cells], sample_weight=weight / weight.mean())
    weights, intercepts = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    if len(types) == 2:  # one logit for both: half of it for each
        weights, intercepts = np.concatenate([-weights, weights]) / 2, np.concatenate([-intercepts, intercepts]) / 2
    weights = weights / scale
    return Identity(genes, weights.T, intercepts - weights @ center, means[:, genes].T, types)


def _some(cells: Array) -> Array:
    if len(cells) <= MOST_CELLS:
        return cells
    return cells[np.round(np.linspace(0, len(cells) - 1, MOST_CELLS)).astype(np.int64)]


def _distinct_genes(means: Array, variance: Array) -> Array:
    """Return the genes that set each type apart from the others on average, and from each of them."""
    n_types = len(means)
    per_pair = min(MOST_PER_PAIR, max(2, PAIR_GENES // (n_types - 1)))
    spread = np.sqrt(variance + VARIANCE)
    total, chosen = means.sum(axis=0), set()
    for t in range(n_types):
        others = (total - means[t]) / (n_types - 1)
        for rival, n in [(others, GENES_PER_TYPE), *((means[u], per_pair) for u in range(n_types) if u != t)]:
            lead = (means[t] - rival) / spread
            best = np.argsort(-lead, kind="stable")[:n]
            chosen.update(best[lead[best] > 0].tolist())
    return np.array(sorted(chosen), dtype=np.int64)


def identity_margin(values: Array, identity: Identity, present: Array, own: int) -> Array:
    """Return how far the logit of each cell's own type is above the largest of the others, at most 1.

    A gene that is missing counts as if all cells had what its own type has on average.

    Parameters
    ----------
    values
        Cells x genes that are present.
    identity
        What was learned.
    present
        Mask of the genes of the model.
    own
        The type that the cells are said to be of.

    Returns
    -------
    A logit for each cell; below 0 where another type is more likely.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import fit_identity, identity_margin
    >>> types = np.repeat([0, 1], 40)
    >>> X = np.random.default_rng(0).normal(2, 1, (80, 12))
    >>> X[:, :8] += 3 * types[:, None]
    >>> identity = fit_identity(X, types, 2)
    >>> margin = identity_margin(X[:, identity.genes], identity, np.ones(len(identity.genes), bool), own=1)
    >>> bool((margin[40:] > 0).mean() > 0.95), bool((margin[:40] < 0).mean() > 0.95)
    (True, True)
    """
    mine = identity.cell_types == own
    missing = identity.means[~present][:, mine].T @ identity.weights[~present]
    logits = values @ identity.weights[present] + missing + identity.intercepts
    return np.asarray(np.minimum(logits[:, mine][:, 0] - logits[:, ~mine].max(axis=1), CERTAIN))
