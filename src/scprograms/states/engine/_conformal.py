"""Thresholds with a stated rate of error: scores of cells that were held out, and ranks among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._design import Strata
from ._recover import RECOVERED, Recovered, Trained, recover, train

if TYPE_CHECKING:
    from scprograms._core.matrix import Array, Matrix

    from ._signature import TrainingOptions

N_FOLDS = 5
MOST_POINTS = 1000
LEAST_RANKED = 5
"""A state that so many held-out cells were given has ranks of its own; rarer ones share those of their type."""
_POOLED = -1


@dataclass(frozen=True)
class HeldOut:
    """Labelled cells as models that had not seen them did."""

    cells: Array
    """Rows of the n cells that were given a state."""
    state: Array
    """The state that they were given, n."""
    agreement: Array
    """How near they are to it, n, at most 1."""
    margin: Array
    """Logit of their own type above that of the best other one, n; NaN where unknown."""


@dataclass(frozen=True)
class Calibration:
    """What held-out cells scored: sorted, per cell type and state (of all states together: -1)."""

    agreement: dict[tuple[int, int], Array]
    """Sorted agreements of the cells that were given the state."""
    margin: dict[tuple[int, int], Array]
    """Sorted margins of the cells of the type."""
    thresholds: dict[tuple[int, int], float]
    """Least score of a cell in the state, from 0 to 1."""
    n_cells: dict[tuple[int, int], int]
    """Held-out cells that were given the state."""

    def scores(self, cell_types: Array, found: Recovered) -> Array:
        """Return the score of each cell, from 0 to 1; NaN where no state was looked for.

        It is the smaller of two ranks among the held-out cells of the same type: that of how well the cell agrees with
        its state, among those given the same state, and that of how likely it is to be of its type.
        """
        score = np.full(len(found.state), np.nan)
        for t in np.unique(cell_types[found.reason == RECOVERED]):
            mine = (cell_types == t) & (found.reason == RECOVERED)
            margins = self.margin.get((t, _POOLED), np.zeros(0))
            for c in np.unique(found.state[mine]):
                cells = np.flatnonzero(mine & (found.state == c))
                of_state = self.agreement.get((t, c), self.agreement.get((t, _POOLED), np.zeros(0)))
                score[cells] = np.fmin(rank_in(of_state, found.agreement[cells]), rank_in(margins, found.margin[cells]))
        return score

    def threshold(self, cell_type: int, state: int) -> float:
        """Return the threshold of a state: that of its type where too few cells were given the state."""
        return self.thresholds.get((cell_type, state), self.thresholds.get((cell_type, _POOLED), 0.0))


def rank_in(ordered: Array, values: Array) -> Array:
    """Return the share of the ``ordered`` values that each value exceeds, between them by interpolation.

    Below the lowest of them it falls to 0 within the distance from the lowest to the median.

    Parameters
    ----------
    ordered
        Sorted numbers, n.
    values
        Numbers to rank, any number of them.

    Returns
    -------
    Ranks from 0 to n / (n + 1), of the shape of ``values``. NaN for NaN, or where nothing is ordered.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import rank_in
    >>> rank_in(np.array([1.0, 2.0, 3.0]), np.array([-5.0, 2.5, 9.0])).tolist()
    [0.0, 0.625, 0.75]
    """
    if not len(ordered):
        return np.full(len(values), np.nan)
    n = len(ordered)
    lowest = ordered[0] - max(float(np.median(ordered) - ordered[0]), 1e-12)
    found = np.interp(values, np.concatenate([[lowest], ordered]), np.arange(n + 1) / (n + 1), left=0.0)
    return np.where(np.isnan(values), np.nan, found)


def make_folds(
    cell_types: Array, states: Array, samples: Array, n_types: int, options: TrainingOptions
) -> tuple[Array, Array]:
    """Return the fold of each labelled cell (-1 for the others), and whether folds are whole samples, per type.

    Folds are whole samples where every state is still there, in enough cells and linked to the others, when one fold is
    left out: cells of a new sample differ from those of training by more than cells of the same ones do. Else cells are
    spread at random within each state of each sample.
    """
    fold = np.full(len(cell_types), -1)
    by_sample = np.zeros(n_types, dtype=bool)
    rng = np.random.default_rng([options.random_state, n_types, N_FOLDS])
    labelled = (cell_types >= 0) & (states >= 0) & (samples >= 0)
    # A sample is in one fold for all types: else the profiles of other types would know the sample that is left out.
    n_cells = np.bincount(samples[labelled], minlength=1)
    load, fold_of = np.zeros(N_FOLDS), np.zeros(len(n_cells), dtype=np.int64)
    for s in np.argsort(-n_cells, kind="stable"):  # the largest first, each to the emptiest fold
        fold_of[s] = load.argmin()
        load[fold_of[s]] += n_cells[s]
    for t in range(n_types):
        cells = np.flatnonzero(labelled & (cell_types == t))
        if not len(cells):
            continue
        of_sample = fold_of[samples[cells]]
        if len(np.unique(of_sample)) > 1 and _may_leave_out(of_sample, samples[cells], states[cells], options):
            fold[cells], by_sample[t] = of_sample, True
            continue
        _, stratum = np.unique(np.stack([states[cells], samples[cells]]), axis=1, return_inverse=True)
        order = np.lexsort((rng.random(len(cells)), stratum))
        fold[cells[order]] = np.arange(len(cells)) % N_FOLDS
    return fold, by_sample


def _may_leave_out(fold: Array, samples: Array, states: Array, options: TrainingOptions) -> bool:
    codes, counts = np.unique(states, return_counts=True)
    wanted = codes[counts >= options.min_cells]
    for f in np.unique(fold):
        rest = (fold != f) & np.isin(states, wanted)
        left, n_left = np.unique(states[rest], return_counts=True)
        if not len(left) or len(left) < len(wanted) or n_left.min() < options.min_cells:
            return False
        sample = np.unique(samples[rest], return_inverse=True)[1]
        if len(np.unique(Strata.of(sample, np.searchsorted(left, states[rest])).components())) > 1:
            return False
    return True


def _have_one_state(cell_types: Array, states: Array, samples: Array, n_types: int, options: TrainingOptions) -> Array:
    labelled = (cell_types >= 0) & (states >= 0) & (samples >= 0)
    counts = np.zeros((n_types, int(states.max(initial=0)) + 1), dtype=np.int64)
    np.add.at(counts, (cell_types[labelled], states[labelled]), 1)
    return np.asarray(np.sum(counts >= options.min_cells, axis=1) == 1)


def hold_out(
    matrix: Matrix,
    cell_types: Array,
    states: Array,
    samples: Array,
    n_types: int,
    n_states: int,
    options: TrainingOptions,
) -> HeldOut:
    """Recover every labelled cell with a model that was trained without its fold.

    A fold of random cells is scaled together with the other cells of its samples, since that needs no labels and new
    samples will not be a fifth of their size.

    Parameters
    ----------
    matrix
        Cells x genes, log-normalised, dense or CSR.
    cell_types, states, samples
        Codes of each cell; -1 where unknown.
    n_types, n_states
        Number of types, and of states of all types together.
    options
        How to learn.

    Returns
    -------
    The cells that were given a state, which may be fewer than are labelled, and how well they agree with it.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import TrainingOptions, hold_out
    >>> rng = np.random.default_rng(0)
    >>> states, samples = np.tile([0, 1], 150), np.repeat([0, 1, 2], 100)
    >>> X = rng.normal(2, 1, (300, 20))
    >>> X[:, :10] += 2 * states[:, None]
    >>> found = hold_out(X, np.zeros(300, int), states, samples, 1, 2, TrainingOptions(n_runs=5))
    >>> len(found.cells), bool((found.state == states[found.cells]).mean() > 0.95)
    (300, True)
    """
    fold, by_sample = make_folds(cell_types, states, samples, n_types, options)
    whole = by_sample[np.maximum(cell_types, 0)]
    single = _have_one_state(cell_types, states, samples, n_types, options)
    parts = []
    for f in np.unique(fold[fold >= 0]):
        kept = np.flatnonzero(fold != f)
        trained = train(matrix[kept], cell_types[kept], states[kept], samples[kept], n_types, options)
        asked = np.flatnonzero((fold >= 0) & (~whole | (fold == f)))
        found = recover(matrix[asked], cell_types[asked], samples[asked], trained, n_states)
        own = (fold[asked] == f) & (found.reason == RECOVERED)
        alike = np.array([(t in trained.single) == single[t] for t in range(n_types)])
        own &= alike[cell_types[asked]]  # a type that is left with one state is measured in other ways
        parts.append((asked[own], found.state[own], found.agreement[own], found.margin[own]))
    if not parts:
        return HeldOut(np.zeros(0, int), np.zeros(0, int), np.zeros(0), np.zeros(0))
    return HeldOut(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def calibrate(held_out: HeldOut, cell_types: Array, trained: Trained, confidence: float) -> Calibration:
    """Find the thresholds below which a share ``1 - confidence`` of labelled cells falls.

    The threshold of a state is the k-th lowest score of the n held-out cells that were given that state, k the largest
    integer up to (1 - confidence) (n + 1): a new cell like them is below with a probability of at most 1 - confidence
    (conformal prediction [1]_, with the predicted state as the category). With k = 0, all cells of the type decide:
    scores are ranks, which states of different agreement have in common.

    Parameters
    ----------
    held_out
        What :func:`hold_out` returned.
    cell_types
        Type of each labelled cell, as it was passed there.
    trained
        What was learned from all cells.
    confidence
        Share of the cells of a known state to keep, from 0 to 1.

    Returns
    -------
    Thresholds of each type and state, and the sorted scores that new cells are ranked among.

    References
    ----------
    .. [1] Vovk, Gammerman & Shafer (2005), Algorithmic learning in a random world, Springer,
       https://doi.org/10.1007/b106715

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import TrainingOptions, calibrate, hold_out, train
    >>> rng = np.random.default_rng(0)
    >>> states, samples, types = np.tile([0, 1], 150), np.repeat([0, 1, 2], 100), np.zeros(300, int)
    >>> X = rng.normal(2, 1, (300, 20))
    >>> X[:, :10] += 2 * states[:, None]
    >>> options = TrainingOptions(n_runs=5)
    >>> trained = train(X, types, states, samples, 1, options)
    >>> found = calibrate(hold_out(X, types, states, samples, 1, 2, options), types, trained, 0.95)
    >>> sorted(found.n_cells), 0 < found.threshold(0, 1) < 0.1
    ([(0, 0), (0, 1)], True)
    """
    agreement: dict[tuple[int, int], Array] = {}
    margin: dict[tuple[int, int], Array] = {}
    thresholds: dict[tuple[int, int], float] = {}
    n_cells: dict[tuple[int, int], int] = {}
    of_type = cell_types[held_out.cells]
    least = int(np.ceil(1 / (1 - confidence) - 1 - 1e-9)) if confidence < 1 else len(of_type) + 1
    for t, states in trained.states.items():
        mine = of_type == t
        if not mine.any():
            continue
        known = held_out.margin[mine & ~np.isnan(held_out.margin)]
        if len(known):
            margin[t, _POOLED] = thin(np.sort(known))
        agreement[t, _POOLED] = thin(np.sort(held_out.agreement[mine]))
        for c in states:
            given = mine & (held_out.state == c)
            n_cells[t, int(c)] = int(given.sum())
            if given.sum() >= LEAST_RANKED:
                agreement[t, int(c)] = thin(np.sort(held_out.agreement[given]))
    raw = Calibration(agreement, margin, {}, n_cells)
    for t, states in trained.states.items():
        if (t, _POOLED) not in agreement:
            continue
        mine = of_type == t
        cells = np.flatnonzero(mine)
        reason = np.full(len(cells), RECOVERED)
        empty = np.zeros((len(cells), 0))
        found = Recovered(held_out.state[cells], empty, held_out.agreement[cells], held_out.margin[cells], reason)
        score = raw.scores(of_type[cells], found)
        thresholds[t, _POOLED] = lower_bound(score, confidence)
        for c in states:
            if n_cells[t, int(c)] >= least:
                thresholds[t, int(c)] = lower_bound(score[found.state == c], confidence)
    return Calibration(agreement, margin, thresholds, n_cells)


def lower_bound(scores: Array, confidence: float) -> float:
    """Return the k-th lowest score, k the largest integer up to (1 - confidence) (n + 1); 0 where that is 0.

    Parameters
    ----------
    scores
        Scores of n cells.
    confidence
        Share of the scores of like cells to lie above, from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import lower_bound
    >>> lower_bound(np.arange(19) / 19, 0.9) == 1 / 19, lower_bound(np.arange(5) / 5, 0.9)
    (True, 0.0)
    """
    k = int(np.floor((1 - confidence) * (len(scores) + 1) + 1e-9))
    return float(np.sort(scores)[k - 1]) if k >= 1 else 0.0


def thin(ordered: Array) -> Array:
    """Return at most :data:`MOST_POINTS` of the sorted values, evenly spaced in rank."""
    if len(ordered) <= MOST_POINTS:
        return ordered
    return ordered[np.round(np.linspace(0, len(ordered) - 1, MOST_POINTS)).astype(np.int64)]
