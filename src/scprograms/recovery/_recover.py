"""States of cells from learned signatures: scaling without labels, usages, and how well the best state agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ._design import LEAST_CAP, Matrix, Strata
from ._identity import LEAST_GENES, Identity, fit_identity, identity_margin
from ._profiles import Profiles, fit_profiles, profile_distance
from ._scaling import posneg, z_scores
from ._signature import Draws, Signature, TrainingOptions, dense, draw_runs
from ._solver import Loss, solve_states

Reference = Literal["sample", "training"]
REFERENCES = ("sample", "training")
LEAST_CELLS = 20
"""Fewer cells of a type in a sample are not scaled by their own mean and deviation."""
NEAR, LEAST_NEAR = 0.5, 3
"""Agreement of a cell that is near its state, and how many of them show that a sample has the state."""
_ROUNDS = 3

RECOVERED, NO_TYPE, NO_MODEL, FEW_CELLS, FEW_GENES, NO_SIGNAL = range(6)
REASONS = (
    "recovered",
    "no cell type or sample",
    "cell type not in the model",
    f"fewer than {LEAST_CELLS} cells in the sample",
    f"fewer than {LEAST_GENES} genes of the signature",
    "no signal in the genes of the signature",
)


@dataclass(frozen=True)
class Trained:
    """What is known of cell types and their states."""

    signatures: dict[int, Signature]
    """Of types with two states or more."""
    identity: Identity | None
    skipped: dict[int, str]
    """Why a type has no signature."""
    draws: dict[int, Draws]
    """The runs behind each signature."""
    single: dict[int, int] = field(default_factory=dict)
    """The state of types that have one."""
    profiles: Profiles | None = None
    """What cells of these types are compared with."""

    @property
    def states(self) -> dict[int, NDArray]:
        """Codes of the states of each type that has any."""
        several = {t: signature.states for t, signature in self.signatures.items()}
        return {**several, **{t: np.array([c]) for t, c in self.single.items()}}


@dataclass(frozen=True)
class Recovered:
    """What the cells look like to the model, before any threshold."""

    state: NDArray
    """Code of the state with the largest share; -1 where none was looked for."""
    shares: NDArray
    """Cells x states, rows sum to 1, or to 0 where no state was looked for."""
    agreement: NDArray
    """How near a cell is to its state (see :func:`agreement`; minus its distance, if its type has one); or NaN."""
    margin: NDArray
    """Logit of its own type above that of the best other one; NaN where unknown."""
    reason: NDArray
    """Index into :data:`REASONS`."""


def train(
    matrix: Matrix,
    cell_types: NDArray,
    states: NDArray,
    samples: NDArray,
    n_types: int,
    options: TrainingOptions,
    *,
    runs: Sequence[int] | None = None,
) -> Trained:
    """Learn the signatures of all cell types.

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
    cell_types: NDArray,
    samples: NDArray,
    trained: Trained,
    n_states: int,
    *,
    columns: NDArray | None = None,
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


def _margins(rows: Matrix, identity: Identity | None, columns: NDArray, own: int) -> NDArray:
    unknown = np.full(rows.shape[0], np.nan)
    if identity is None or own not in identity.cell_types:
        return unknown
    present = columns[identity.genes] >= 0
    if present.sum() < LEAST_GENES:
        return unknown
    values = dense(rows, columns[identity.genes[present]])
    return identity_margin(values, identity, present, own)


def match_states(
    values: NDArray, samples: NDArray, signature: Signature, present: NDArray, *, loss: Loss, reference: Reference
) -> tuple[NDArray, NDArray, NDArray]:
    """Return the state (an index into those of the signature), the shares, and the agreement of each cell.

    Parameters
    ----------
    values
        Cells x genes of the signature that are present.
    samples
        Sample of each cell.
    signature
        The states.
    present
        Mask of the genes of the signature.
    loss, reference
        As in :func:`recover`.
    """
    p = len(signature.genes)
    genes = np.flatnonzero(present)
    signed = signature.signed[genes]
    if reference == "training":
        Z = z_scores(values, signature.center[genes], signature.scale[genes])
    else:
        Z = np.empty_like(values)
        for s in np.unique(samples):
            mine = samples == s
            Z[mine] = scale_sample(values[mine], signed, signature.effects[genes])
    H = solve_states(posneg(Z), signature.W[np.concatenate([genes, genes + p])], loss=loss)
    total = H.sum(axis=1, keepdims=True)
    shares = H / np.where(total > 0, total, 1.0)
    own = np.where(total[:, 0] > 0, shares.argmax(axis=1), -1)
    return own, shares, agreement(Z, signed, own)


def agreement(Z: NDArray, signed: NDArray, own: NDArray) -> NDArray:
    """Return how near each cell is to its state, among the directions in which states differ: 1 at the state or beyond.

    z-scores are projected on the space that the differences of the states span, where nearly all other variation is
    missing. 0 is as far from the state as the centre of the states is. To be further from the centre than the state, in
    the same direction, is not held against a cell.

    Parameters
    ----------
    Z
        Cells x genes, z-scores.
    signed
        Genes x states: the mean z-scores of each state.
    own
        State of each cell; -1 for none, which gives NaN.
    """
    center = signed.mean(axis=1, keepdims=True)
    basis, size, _ = np.linalg.svd(signed - center, full_matrices=False)
    basis = basis[:, size > 1e-9 * size.max(initial=0)]
    placed, states = (Z - center.T) @ basis, (signed - center).T @ basis
    length = np.linalg.norm(states, axis=1)
    found = np.full(len(Z), np.nan)
    for c in np.unique(own[own >= 0]):
        cells = placed[own == c]
        if length[c] <= 0:
            found[own == c] = 0.0
            continue
        along = cells @ (states[c] / length[c])
        across = np.maximum(np.sum(cells**2, axis=1) - along**2, 0)
        found[own == c] = 1 - np.sqrt(across + np.maximum(length[c] - along, 0) ** 2) / length[c]
    return found


def _cosines(Z: NDArray, signed: NDArray) -> NDArray:
    length = np.linalg.norm(Z, axis=1, keepdims=True) * np.linalg.norm(signed, axis=0)
    return np.asarray((Z @ signed) / np.where(length > 0, length, 1.0))


def scale_sample(values: NDArray, signed: NDArray, effects: NDArray) -> NDArray:
    """Return z-scores of the cells of one sample, as if it held all states alike.

    At first relative to mean and deviation of its cells. Then, a few times over, each cell is given the state that it
    agrees with most, and the known effect of that state is taken off before mean and deviation are: a sample that has
    more of one state than of the others is centred as one that has them alike, as in training. Cells count by the
    square of the cosine of their z-scores and those of the state, so that cells in no state hardly do.

    Where fewer than two states have cells that are near them, nothing says where the centre is: cells of one state fit
    any of them, if the centre is moved. It then stays at the mean, and cells of one state are near none.
    """
    plain = Z = z_scores(values, values.mean(axis=0), values.std(axis=0))
    between = np.mean(effects**2, axis=1)
    for _ in range(_ROUNDS):
        cosines = _cosines(Z, signed)
        weight = np.maximum(cosines.max(axis=1), 0) ** 2
        if not weight.any():
            return plain
        weight /= weight.sum()
        rest = values - effects.T[cosines.argmax(axis=1)]
        center = weight @ rest
        Z = z_scores(values, center, np.sqrt(weight @ (rest - center) ** 2 + between))
    own = _cosines(Z, signed).argmax(axis=1)
    n_near = np.bincount(own[agreement(Z, signed, own) > NEAR], minlength=signed.shape[1])
    return Z if np.sum(n_near >= LEAST_NEAR) >= 2 else plain
