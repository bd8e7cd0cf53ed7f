"""Signatures of all cell types, and the states of cells that were not learned from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ._design import LEAST_CAP, Strata
from ._identity import LEAST_GENES, Identity, fit_identity, identity_margin
from ._match import Reference, match_states
from ._profiles import Profiles, fit_profiles, profile_distance
from ._signature import Draws, Signature, TrainingOptions, dense, draw_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scprograms._core.matrix import Array, Matrix

    from ._solver import Loss

LEAST_CELLS = 20
"""Fewer cells of a type in a sample are not scaled by their own mean and deviation."""

NO_TYPE, NO_MODEL, FEW_CELLS, FEW_GENES, NO_SIGNAL = range(1, 6)
RECOVERED = 0
"""Index into :data:`scprograms.states.engine.REASONS` for cells in which a state was looked for and found."""
REASONS = (
    "recovered",
    "no cell type or sample",
    "cell type not in the model",
    f"fewer than {LEAST_CELLS} cells in the sample",
    f"fewer than {LEAST_GENES} genes of the signature",
    "no signal in the genes of the signature",
)
"""Why a cell has a state or none, as ``Recovered.reason`` counts them."""


@dataclass(frozen=True)
class Trained:
    """What is known of cell types and their states."""

    signatures: dict[int, Signature]
    """Of types with two states or more."""
    identity: Identity | None
    """What tells the types apart; None where they cannot be told."""
    skipped: dict[int, str]
    """Why a type has no signature."""
    draws: dict[int, Draws]
    """The runs behind each signature."""
    single: dict[int, int] = field(default_factory=dict)
    """The state of types that have one."""
    profiles: Profiles | None = None
    """What cells of these types are compared with."""

    @property
    def states(self) -> dict[int, Array]:
        """Codes of the states of each type that has any."""
        several = {t: signature.states for t, signature in self.signatures.items()}
        return {**several, **{t: np.array([c]) for t, c in self.single.items()}}


@dataclass(frozen=True)
class Recovered:
    """What the cells look like to the model, before any threshold."""

    state: Array
    """Code of the state with the largest share; -1 where none was looked for."""
    shares: Array
    """Cells x states, rows sum to 1, or to 0 where no state was looked for."""
    agreement: Array
    """How near a cell is to its state (see :func:`agreement`; minus its distance, if its type has one); or NaN."""
    margin: Array
    """Logit of its own type above that of the best other one; NaN where unknown."""
    reason: Array
    """Index into :data:`REASONS`."""


def train(
    matrix: Matrix,
    cell_types: Array,
    states: Array,
    samples: Array,
    n_types: int,
    options: TrainingOptions,
    *,
    runs: Sequence[int] | None = None,
) -> Trained:
    """Learn the signatures of all cell types, states that somebody has found, as in [1]_.

    Parameters
    ----------
    matrix
        Cells x genes, log-normalised, dense or CSR.
    cell_types, states, samples
        Codes of each cell; -1 where unknown.
    n_types
        Number of types.
    options
        How to learn.
    runs
        Numbers of the runs; all by default.

    Returns
    -------
    Signatures of the types with several states, profiles of those with one, and why other types have neither.

    References
    ----------
    .. [1] Luca et al. (2021), Cell 184:5482, https://doi.org/10.1016/j.cell.2021.09.014

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import TrainingOptions, train
    >>> rng = np.random.default_rng(0)
    >>> states, samples, types = np.tile([0, 1], 100), np.repeat([0, 1], 100), np.zeros(200, int)
    >>> X = rng.normal(2, 1, (200, 20))
    >>> X[:, :10] += 2 * states[:, None]
    >>> trained = train(X, types, states, samples, 1, TrainingOptions(n_runs=5))
    >>> trained.signatures[0].W.shape, trained.skipped
    ((40, 2), {})
    """
    signatures: dict[int, Signature] = {}
    draws: dict[int, Draws] = {}
    skipped: dict[int, str] = {}
    single: dict[int, int] = {}
    kept_states = np.full(len(states), -1)
    for t in range(n_types):
        cells = np.flatnonzero((cell_types == t) & (states >= 0) & (samples >= 0))
        codes, n_cells = np.unique(states[cells], return_counts=True)
        kept = codes[n_cells >= options.min_cells]
        cells = cells[np.isin(states[cells], kept)]
        if len(kept) == 1:
            single[t] = int(kept[0])
            kept_states[cells] = states[cells]
            continue
        if not len(kept):
            skipped[t] = f"{len(kept)} states with {options.min_cells} cells or more"
            continue
        own = np.searchsorted(kept, states[cells])
        _, sample = np.unique(samples[cells], return_inverse=True)
        if len(np.unique(Strata.of(sample, own).components())) > 1:
            skipped[t] = "states that no sample has together, nor a chain of samples"
            continue
        drawn = draw_runs(matrix[cells], sample, own, options, stream=t, runs=runs)
        found = None if drawn is None else drawn.signature(options.n_features_per_state)
        if drawn is None or found is None:
            skipped[t] = "no gene that sets its states apart"
            continue
        draws[t], signatures[t] = replace(drawn, states=kept), replace(found, states=kept)
        kept_states[cells] = states[cells]
    profiles = fit_profiles(matrix, cell_types, kept_states) if single else None
    for t, c in list(single.items()):
        if profiles is None or not ((profiles.cell_types == t) & (profiles.states == c)).any():
            del single[t]
            skipped[t] = f"one state, and fewer than {LEAST_CAP} cells in it, or too few other states to compare with"
    identity = fit_identity(matrix, cell_types, n_types)
    return Trained(signatures, identity, skipped, draws, single, profiles if single else None)


def recover(
    matrix: Matrix,
    cell_types: Array,
    samples: Array,
    trained: Trained,
    n_states: int,
    *,
    columns: Array | None = None,
    loss: Loss = "kl",
    reference: Reference = "sample",
) -> Recovered:
    """Find the states of cells.

    Parameters
    ----------
    matrix
        Cells x genes, prepared as for training, dense or CSR.
    cell_types, samples
        Codes of each cell, those of the types as in training; -1 where unknown.
    trained
        What was learned.
    n_states
        Number of states of all types together.
    columns
        Column of ``matrix`` for each column in training; -1 where it is missing. The same ones by default.
    loss
        Loss of the usages.
    reference
        What z-scores are relative to: the sample's own cells, or those of training.

    Returns
    -------
    State, shares, agreement and margin of each cell, and the reason where it has none.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import TrainingOptions, recover, train
    >>> rng = np.random.default_rng(0)
    >>> states, samples, types = np.tile([0, 1], 100), np.repeat([0, 1], 100), np.zeros(200, int)
    >>> X = rng.normal(2, 1, (200, 20))
    >>> X[:, :10] += 2 * states[:, None]
    >>> trained = train(X, types, states, samples, 1, TrainingOptions(n_runs=5))
    >>> found = recover(X, types, samples, trained, 2)
    >>> bool((found.state == states).mean() > 0.95), found.shares.shape
    (True, (200, 2))
    """
    n = matrix.shape[0]
    columns = np.arange(matrix.shape[1]) if columns is None else columns
    state, shares = np.full(n, -1), np.zeros((n, n_states))
    nearness, margin = np.full(n, np.nan), np.full(n, np.nan)
    reason = np.where((cell_types < 0) | (samples < 0), NO_TYPE, NO_MODEL)
    for t, signature in trained.signatures.items():
        cells = np.flatnonzero((cell_types == t) & (samples >= 0))
        present = columns[signature.genes] >= 0
        if present.sum() < LEAST_GENES:
            reason[cells] = FEW_GENES
            continue
        if reference == "sample":
            codes, of_cell, n_cells = np.unique(samples[cells], return_inverse=True, return_counts=True)
            enough = n_cells[of_cell] >= LEAST_CELLS if len(codes) else np.zeros(0, dtype=bool)
            reason[cells[~enough]] = FEW_CELLS
            cells = cells[enough]
        if not len(cells):
            continue
        rows = matrix[cells]
        values = dense(rows, columns[signature.genes[present]])
        own, share, near = match_states(values, samples[cells], signature, present, loss=loss, reference=reference)
        found = own >= 0
        reason[cells] = np.where(found, RECOVERED, NO_SIGNAL)
        state[cells[found]] = signature.states[own[found]]
        shares[np.ix_(cells, signature.states)] = share
        nearness[cells] = near
        margin[cells] = _margins(rows, trained.identity, columns, t)
    for t, c in trained.single.items():
        cells = np.flatnonzero((cell_types == t) & (samples >= 0))
        if (profiles := trained.profiles) is None:
            continue
        present = columns[profiles.genes] >= 0
        if present.sum() < LEAST_GENES:
            reason[cells] = FEW_GENES
            continue
        rows = matrix[cells]
        reason[cells], state[cells], shares[cells, c] = RECOVERED, c, 1.0
        nearness[cells] = -profile_distance(dense(rows, columns[profiles.genes[present]]), profiles, present, t, c)
        margin[cells] = _margins(rows, trained.identity, columns, t)
    return Recovered(state, shares, nearness, margin, reason)


def _margins(rows: Matrix, identity: Identity | None, columns: Array, own: int) -> Array:
    unknown = np.full(rows.shape[0], np.nan)
    if identity is None or own not in identity.cell_types:
        return unknown
    present = columns[identity.genes] >= 0
    if present.sum() < LEAST_GENES:
        return unknown
    values = dense(rows, columns[identity.genes[present]])
    return identity_margin(values, identity, present, own)
