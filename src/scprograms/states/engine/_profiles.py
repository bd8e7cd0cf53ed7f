"""How far a cell is from the mean profile of its state, for cell types that have one labelled state only.

With one state there are no differences between states to look along, and nothing within the type to scale by. What
there is are the differences between all groups of the training, cell types and their states: in the space that most of
them lie in, a cell in another state of its type is off the mean of the known one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._design import LEAST_CAP, group_moments
from ._identity import VARIANCE
from ._signature import dense

if TYPE_CHECKING:
    from scprograms._core.matrix import Array, Matrix

LEAST_GENES_IN_ALL, GENES_PER_GROUP = 100, 10
EXPLAINED = 0.95
"""Share of the variance between groups that the space holds."""
SHRINKAGE = 0.1
"""Of the covariance within groups, toward equal variances."""


@dataclass(frozen=True)
class Profiles:
    """Means of groups, and the space in which cells are compared with them."""

    genes: Array
    """Columns of the matrix."""
    axes: Array
    """Genes x dimensions: within groups, cells have unit covariance along them."""
    means: Array
    """Genes x groups."""
    cell_types: Array
    """Type of each group."""
    states: Array
    """State of each group; -1 for cells whose state is unknown."""


def fit_profiles(matrix: Matrix, cell_types: Array, states: Array) -> Profiles | None:
    """Learn the space of the differences between groups; None where there are fewer than three with enough cells.

    Groups count alike, however many cells they have.

    Parameters
    ----------
    matrix
        Cells x genes, log-normalised, dense or CSR.
    cell_types, states
        Codes of each cell; -1 where unknown.

    Returns
    -------
    Genes, axes and means, or None.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import fit_profiles
    >>> types, states = np.repeat([0, 0, 1], 30), np.repeat([0, 1, 2], 30)
    >>> X = np.random.default_rng(0).normal(2, 1, (90, 12)) + 3 * np.eye(3)[states].repeat(4, axis=1)
    >>> fit_profiles(X, types, states).states.tolist()
    [0, 1, 2]
    """
    n_codes = int(states.max(initial=0)) + 2
    groups, of_cell, sizes = np.unique(
        np.where(cell_types >= 0, cell_types * n_codes + states + 1, -1), return_inverse=True, return_counts=True
    )
    large = np.flatnonzero((groups >= 0) & (sizes >= LEAST_CAP))
    if len(large) < 3:
        return None
    position = np.full(len(groups), -1)
    position[large] = np.arange(len(large))
    code = position[of_cell]
    moments = group_moments(matrix, code, len(large))
    means = moments.means
    spread = np.sqrt(moments.variances.mean(axis=0) + VARIANCE)
    lead = np.abs((means - means.mean(axis=0)) / spread).max(axis=0)
    n_genes = max(LEAST_GENES_IN_ALL, GENES_PER_GROUP * len(large))
    genes = np.sort(np.argsort(-lead, kind="stable")[:n_genes])
    centered = (means[:, genes] - means[:, genes].mean(axis=0)) / spread[genes]
    _, size, basis = np.linalg.svd(centered, full_matrices=False)
    share = np.cumsum(size**2) / np.sum(size**2)
    axes = basis[: 1 + int(np.searchsorted(share, EXPLAINED))].T / spread[genes][:, None]
    inside = np.flatnonzero(code >= 0)
    rest = (dense(matrix[inside], genes) - means[code[inside]][:, genes]) @ axes
    weight = 1 / np.bincount(code[inside])[code[inside]] / len(large)
    within = (rest * weight[:, None]).T @ rest
    within = (1 - SHRINKAGE) * within + SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    whitened = axes @ np.linalg.inv(np.linalg.cholesky(within)).T
    return Profiles(genes, whitened, means[:, genes].T, groups[large] // n_codes, groups[large] % n_codes - 1)


def profile_distance(values: Array, profiles: Profiles, present: Array, cell_type: int, state: int) -> Array:
    """Return the distance of each cell from the mean of a group, in standard deviations within groups.

    A gene that is missing counts as if all cells had what the group has on average. NaN where the group is unknown.

    Parameters
    ----------
    values
        Cells x genes that are present.
    profiles
        What was learned.
    present
        Mask of the genes of the profiles.
    cell_type, state
        The group.

    Returns
    -------
    A distance for each cell, 0 or more.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import fit_profiles, profile_distance
    >>> types, states = np.repeat([0, 0, 1], 30), np.repeat([0, 1, 2], 30)
    >>> X = np.random.default_rng(0).normal(2, 1, (90, 12)) + 3 * np.eye(3)[states].repeat(4, axis=1)
    >>> profiles = fit_profiles(X, types, states)
    >>> every = np.ones(len(profiles.genes), bool)
    >>> distance = profile_distance(X[:, profiles.genes], profiles, every, 0, 1)
    >>> bool(distance[30:60].max() < distance[60:].min())
    True
    """
    group = np.flatnonzero((profiles.cell_types == cell_type) & (profiles.states == state))
    if not len(group):
        return np.full(len(values), np.nan)
    return np.asarray(np.linalg.norm((values - profiles.means[present, group[0]]) @ profiles.axes[present], axis=1))
