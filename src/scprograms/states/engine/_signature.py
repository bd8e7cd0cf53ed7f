"""The signature of each state of a cell type: a closed form, over an ensemble of balanced draws of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ._design import Scaling, Strata, balanced_scaling, stratum_moments
from ._scaling import posneg, z_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scprograms._core.matrix import Array, Matrix

LEAST_DETECTED = 3
"""Genes seen in fewer cells are never features."""


@dataclass(frozen=True)
class TrainingOptions:
    """How signatures are learned."""

    n_features: int = 300
    """Genes of a cell type, at most."""
    n_features_per_state: int = 50
    """Features that are chosen for a state, at most."""
    n_cells: int = 2500
    """Cells of a draw, at most."""
    n_runs: int = 50
    """Draws of cells."""
    rank_by: str = "states"
    """Genes of the largest variance between states, or (``"variance"``) within samples."""
    min_cells: int = 5
    """Of a state, for it to be learned."""
    random_state: int = 0
    """Seed of the draws."""


@dataclass(frozen=True)
class Signature:
    """What is known of the states of one cell type."""

    states: Array
    """Codes of the states, S."""
    genes: Array
    """Columns of the matrix that the features come from, p."""
    W: Array
    """2p x S, not negative: first the positive parts of the genes, then the negative ones; mean over runs."""
    spread: Array
    """2p x S: standard deviation over runs."""
    chosen: Array
    """2p x S: share of the runs in which the feature was chosen for the state."""
    effects: Array
    """p x S: how far a state is from the centre, in units of expression."""
    center: Array
    """Mean of each gene, p; over the training samples."""
    scale: Array
    """Standard deviation of each gene, p; over the training samples."""

    @property
    def signed(self) -> Array:
        """Genes x states: the mean z-score of each gene in each state."""
        p = len(self.genes)
        return self.W[:p] - self.W[p:]


def state_means(V: Array, states: Array, n_states: int) -> Array:
    """Return the features x states matrix W that fits V by KL and by least squares for one-hot H.

    With every cell in one state, the losses between V' and W H (Kullback-Leibler, or squares) fall apart into one
    problem per feature and state, and the best constant for a set of non-negative numbers is their mean.

    Parameters
    ----------
    V
        Cells x features, not negative.
    states
        State of each cell, from 0.
    n_states
        Number of states; each has cells.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import state_means
    >>> state_means(np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]]), np.array([0, 0, 1]), 2).tolist()
    [[2.0, 0.0], [0.0, 5.0]]
    """
    n = len(states)
    share = 1 / np.maximum(np.bincount(states, minlength=n_states), 1)[states]
    return np.asarray(sparse.csr_array((share, (states, np.arange(n))), shape=(n_states, n)) @ V).T


def specific_features(W: Array, n_per_state: int) -> Array:
    """Return the mask, features x states, of up to ``n_per_state`` features that are highest above all other states.

    A feature belongs to the state that it is largest in; what counts is how far that is above the second largest.

    Parameters
    ----------
    W
        Features x states.
    n_per_state
        Number of features for each state, at most.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import specific_features
    >>> specific_features(np.array([[5.0, 1.0], [3.0, 2.0], [0.0, 4.0]]), 1).tolist()
    [[True, False], [False, False], [False, True]]
    """
    top = W.argmax(axis=1)
    highest = np.sort(W, axis=1)
    lead = highest[:, -1] - highest[:, -2]
    chosen = np.zeros(W.shape, dtype=bool)
    for c in range(W.shape[1]):
        own = np.flatnonzero((top == c) & (lead > 0))
        chosen[own[np.argsort(-lead[own], kind="stable")[:n_per_state]], c] = True
    return chosen


def rank_genes(scaling: Scaling, detected: Array, by: str) -> Array:
    """Return the genes that vary, the most useful first.

    ``"variance"``: by the sum, over samples, of the ranks of their variances in the sample. ``"states"``: by the
    variance between states in units of the whole variance.
    """
    variable = (scaling.scale > 0).all(axis=0) & (detected >= LEAST_DETECTED)
    if by == "variance":
        score = scaling.scale.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable").sum(axis=0).astype(float)
    else:
        z_effects = scaling.effects / np.where(variable, scaling.scale.mean(axis=0), 1.0)
        score = np.square(z_effects).sum(axis=0)
    order = np.argsort(-score, kind="stable")
    return order[variable[order]]


@dataclass(frozen=True)
class Draws:
    """What each run over a draw of cells found for a cell type, and what the runs have in common."""

    states: Array
    """Codes of the states, S."""
    genes: Array
    """Columns of the matrix, p."""
    index: Array
    """Number of each run."""
    runs: Array
    """Mean features of each run, runs x 2p x S."""
    effects: Array
    """How far a state is from the centre, p x S."""
    center: Array
    """Mean of each gene, p."""
    scale: Array
    """Standard deviation of each gene, p."""

    def signature(self, n_per_state: int) -> Signature | None:
        """Average the runs over the features that are stable; None where there is none."""
        kept, W, spread, chosen = aggregate(self.runs, n_per_state)
        if not len(kept):
            return None
        return Signature(
            self.states,
            self.genes[kept],
            W,
            spread,
            chosen,
            self.effects[kept],
            self.center[kept],
            self.scale[kept],
        )


def aggregate(runs: Array, n_per_state: int) -> tuple[Array, Array, Array, Array]:
    """Return the genes to keep, W and its spread over runs, and the share of runs that chose a feature for a state.

    Kept are genes with a feature that was chosen for the same state in more than half of the runs, with both signs.

    Parameters
    ----------
    runs
        Runs x 2p x states: positive parts of p genes, then negative ones.
    n_per_state
        Number of features for each state, at most.

    Returns
    -------
    Indices of the m genes; mean and standard deviation over runs, and shares of runs, each 2m x states.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import aggregate
    >>> run = np.array([[5.0, 1.0], [2.0, 2.0], [0.0, 4.0], [1.0, 1.0]])
    >>> genes, W, spread, chosen = aggregate(np.stack([run, run + 1]), 1)
    >>> genes.tolist(), W.tolist(), float(spread.max())
    ([0], [[5.5, 1.5], [0.5, 4.5]], 0.5)
    """
    chosen = np.mean([specific_features(W, n_per_state) for W in runs], axis=0)
    kept = (chosen > 0.5).any(axis=1)
    p = len(kept) // 2
    genes = np.flatnonzero(kept[:p] | kept[p:])
    rows = np.concatenate([genes, genes + p])
    return genes, runs[:, rows].mean(axis=0), runs[:, rows].std(axis=0), chosen[rows]


def draw_runs(
    matrix: Matrix,
    samples: Array,
    states: Array,
    options: TrainingOptions,
    *,
    stream: int = 0,
    runs: Sequence[int] | None = None,
) -> Draws | None:
    """Learn the states of one cell type once per run; None where no gene varies in all samples.

    A run depends on its own number only, not on how many there are.

    Parameters
    ----------
    matrix
        Cells of the type x genes, log-normalised, dense or CSR.
    samples, states
        Sample and state of each cell, from 0 without gaps. States are linked by samples that they share.
    options
        How to learn.
    stream
        Number of the stream of random numbers, such as that of the cell type.
    runs
        Numbers of the runs; all by default.

    Returns
    -------
    What each run found, p genes x 2 signs and S states, or None.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import TrainingOptions, draw_runs
    >>> rng = np.random.default_rng(0)
    >>> states, samples = np.tile([0, 1], 100), np.repeat([0, 1], 100)
    >>> X = rng.normal(2, 1, (200, 20))
    >>> X[:, :10] += 2 * states[:, None]
    >>> draws = draw_runs(X, samples, states, TrainingOptions(n_runs=5))
    >>> draws.runs.shape, draws.signature(10).genes.tolist() == list(range(10))
    ((5, 40, 2), True)
    """
    strata = Strata.of(samples, states)
    moments = stratum_moments(matrix, strata)
    scaling = balanced_scaling(moments, strata)
    genes = np.sort(rank_genes(scaling, moments.n_detected, options.rank_by)[: options.n_features])
    if not len(genes):
        return None
    center, scale = scaling.center[:, genes], scaling.scale[:, genes]
    V = posneg(z_scores(dense(matrix, genes), center[samples], scale[samples]))
    index = np.arange(options.n_runs) if runs is None else np.asarray(runs, dtype=np.int64)
    found = np.empty((len(index), V.shape[1], strata.n_states))
    for i, run in enumerate(index):
        cells = strata.draw(options.n_cells, np.random.default_rng([options.random_state, stream, int(run)]))
        found[i] = state_means(V[cells], states[cells], strata.n_states)
    return Draws(
        states=np.arange(strata.n_states),
        genes=genes,
        index=index,
        runs=found,
        effects=scaling.effects[:, genes].T,
        center=center.mean(axis=0),
        scale=scale.mean(axis=0),
    )


def dense(matrix: Matrix, columns: Array) -> Array:
    """Return some columns as a dense matrix in double precision."""
    part = matrix[:, columns]
    return np.asarray(part.toarray() if sparse.issparse(part) else part, dtype=np.float64)
