"""Samples and states of one cell type: moments by both, effects of both, and balanced draws of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from scprograms._core.matrix import Array, Matrix

LEAST_CAP = 20
"""A state's larger samples are cut to the median of its samples, but not below so many cells."""
HALF_WEIGHT = 10
"""A stratum of so many cells has half the weight of a large one in the fit of samples + states."""
LARGEST_SHARE = 0.8
"""No draw takes more of a state's cells in a sample, so that draws differ."""


@dataclass(frozen=True)
class Strata:
    """The cells of one state in one sample are a stratum; only those that have cells are kept."""

    sample: Array
    """Sample of each stratum."""
    state: Array
    """State of each stratum."""
    of_cell: Array
    """Stratum of each cell."""
    n_samples: int
    """Number of samples."""
    n_states: int
    """Number of states."""

    @classmethod
    def of(cls, samples: Array, states: Array) -> Strata:
        """Return the strata of cells whose sample and state codes are given; both start at 0 without gaps."""
        n_samples, n_states = int(samples.max()) + 1, int(states.max()) + 1
        present, of_cell = np.unique(samples * n_states + states, return_inverse=True)
        return cls(present // n_states, present % n_states, of_cell, n_samples, n_states)

    @property
    def sizes(self) -> Array:
        """Cells of each stratum."""
        return np.bincount(self.of_cell, minlength=len(self.sample))

    def components(self) -> Array:
        """Return a number for each state: states with the same one are linked by samples that they share."""
        n = self.n_samples + self.n_states
        links = sparse.coo_array(
            (np.ones(len(self.sample)), (self.sample, self.n_samples + self.state)), shape=(n, n)
        ).tocsr()
        _, found = sparse.csgraph.connected_components(links, directed=False)
        return found[self.n_samples :]

    def draw(self, n_cells: int, rng: np.random.Generator) -> Array:
        """Return cells, n_cells at most, in which the samples of a state, and the states, count as alike as can be."""
        sizes = self.sizes
        medians = np.array([np.median(sizes[self.state == c]) for c in range(self.n_states)])
        caps = np.maximum(np.floor(medians), LEAST_CAP)[self.state]
        available = np.minimum(np.maximum(np.round(LARGEST_SHARE * sizes), 1), caps).astype(np.int64)
        take = np.minimum(available, _level(available, n_cells))
        order = np.lexsort((rng.random(len(self.of_cell)), self.of_cell))
        first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        rank = np.arange(len(order)) - np.repeat(first, sizes)
        return np.sort(order[rank < np.repeat(take, sizes)])


def _level(available: Array, total: int) -> int:
    """Return the largest limit to all strata with which they hold at most ``total`` together; at least 1."""
    low, high = 1, int(available.max())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(available, middle).sum() <= total else (low, middle - 1)
    return low


@dataclass(frozen=True)
class Moments:
    """Means and variances of all genes in each group of cells."""

    means: Array
    """Groups x genes."""
    variances: Array
    """Groups x genes, of the population."""
    n_detected: Array
    """Cells in which each gene is not zero."""


def stratum_moments(matrix: Matrix, strata: Strata) -> Moments:
    """Return the moments of each gene in each stratum, in double precision.

    Parameters
    ----------
    matrix
        Cells x genes, dense or CSR; sparse matrices stay sparse.
    strata
        State and sample of each cell.

    Returns
    -------
    Means and variances, strata x genes, and the number of cells that express each gene.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import Strata, stratum_moments
    >>> strata = Strata.of(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]))
    >>> stratum_moments(np.array([[1.0], [3.0], [5.0], [0.0]]), strata).means.ravel().tolist()
    [2.0, 5.0, 0.0]
    """
    return group_moments(matrix, strata.of_cell, len(strata.sizes))


def group_moments(matrix: Matrix, of_cell: Array, n_groups: int) -> Moments:
    """Return the moments of each gene in each group, in double precision; cells of no group (-1) are left out."""
    if (of_cell < 0).any():
        matrix, of_cell = matrix[of_cell >= 0], of_cell[of_cell >= 0]
    sizes = np.bincount(of_cell, minlength=n_groups).astype(np.float64)[:, None]
    n = len(of_cell)
    member = sparse.csr_array((np.ones(n), (of_cell, np.arange(n))), shape=(n_groups, n))
    if sparse.issparse(matrix):
        # The stubs know no dtype beside a sparse matrix.
        stored: sparse.csr_array = sparse.csr_array(matrix, dtype=np.float64)  # type: ignore[call-overload]
        means: Array = np.asarray((member @ stored).todense()) / sizes
        squares = np.asarray((member @ stored.multiply(stored)).todense()) / sizes
        detected = np.bincount(stored.indices[stored.data != 0], minlength=matrix.shape[1])
        variances = np.maximum(squares - means**2, 0)
    else:
        values = np.asarray(matrix, dtype=np.float64)
        means = np.asarray(member @ values) / sizes
        variances = np.asarray(member @ (values - means[of_cell]) ** 2) / sizes
        detected = np.count_nonzero(values, axis=0)
    variances[variances < 1e-12 * means**2] = 0  # what rounding leaves of equal values
    return Moments(means, variances, detected)


@dataclass(frozen=True)
class Scaling:
    """What takes expression to z-scores: of each sample, and of the samples together."""

    center: Array
    """Samples x genes: what a gene would be on average if the sample held all states alike."""
    scale: Array
    """Samples x genes: its standard deviation then."""
    effects: Array
    """States x genes: how far a state is from that centre, in units of expression; they sum to 0 over the states."""


def balanced_scaling(moments: Moments, strata: Strata) -> Scaling:
    """Fit mean = sample + state to the strata by least squares, in which larger strata count little more than others.

    A sample that has mostly, or only, cells of one state is centred as if it had all of them alike: its own mean would
    be that state, and centring would remove it.

    Parameters
    ----------
    moments
        Means and variances of each stratum, strata x genes.
    strata
        Which sample and state each stratum is. States have to be linked by samples that they share.

    Returns
    -------
    Centre and scale of each sample, samples x genes, and effects of the states, states x genes.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import Strata, balanced_scaling, stratum_moments
    >>> states, samples = np.array([0, 1, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 1])
    >>> X = (10.0 * samples + 2.0 * states)[:, None]
    >>> strata = Strata.of(samples, states)
    >>> scaling = balanced_scaling(stratum_moments(X, strata), strata)
    >>> scaling.center.ravel().round(6).tolist(), scaling.effects.ravel().round(6).tolist()
    ([1.0, 11.0], [-1.0, 1.0])
    """
    n, m, sizes = len(strata.sample), strata.n_samples, strata.sizes.astype(np.float64)
    weights = np.sqrt(sizes / (sizes + HALF_WEIGHT))
    design = np.zeros((n + 1, m + strata.n_states))
    design[np.arange(n), strata.sample] = weights
    design[np.arange(n), m + strata.state] = weights
    design[n, m:] = 1  # effects sum to 0, exactly so: the other equations leave this direction free
    solved = (np.linalg.pinv(design)[:, :n] * weights) @ moments.means
    center, effects = solved[:m], solved[m:]
    of_sample = (strata.sample == np.arange(m)[:, None]).astype(np.float64)
    squares, freedom = (of_sample * sizes) @ moments.variances, of_sample @ (sizes - 1)
    if not freedom.all():  # samples without two cells of one state: as all samples together
        squares[freedom == 0] = squares.sum(axis=0) / max(freedom.sum(), 1.0)
    within = squares / np.maximum(freedom, 1.0)[:, None]
    return Scaling(center, np.sqrt(within + np.mean(effects**2, axis=0)), effects)
