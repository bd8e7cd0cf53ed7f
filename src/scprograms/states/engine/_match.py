"""States of the cells of one type: scaling without labels, usages, and how well the best state agrees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from ._scaling import posneg, z_scores
from ._solver import Loss, solve_states

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

    from ._signature import Signature

Reference = Literal["sample", "training"]
"""What z-scores of new cells are relative to: the cells of their own sample, or those of training."""
REFERENCES = ("sample", "training")
"""The values of ``Reference``."""
NEAR, LEAST_NEAR = 0.5, 3
"""Agreement of a cell that is near its state, and how many of them show that a sample has the state."""
_ROUNDS = 3


def match_states(
    values: Array, samples: Array, signature: Signature, present: Array, *, loss: Loss, reference: Reference
) -> tuple[Array, Array, Array]:
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

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import TrainingOptions, draw_runs, match_states
    >>> rng = np.random.default_rng(0)
    >>> states, samples = np.tile([0, 1], 100), np.repeat([0, 1], 100)
    >>> X = rng.normal(2, 1, (200, 20))
    >>> X[:, :10] += 2 * states[:, None]
    >>> signature = draw_runs(X, samples, states, TrainingOptions(n_runs=5)).signature(10)
    >>> present = np.ones(len(signature.genes), bool)
    >>> own, shares, near = match_states(
    ...     X[:, signature.genes], samples, signature, present, loss="kl", reference="sample"
    ... )
    >>> bool((own == states).mean() > 0.95), shares.shape, float(near.max()) <= 1
    (True, (200, 2), True)
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


def agreement(Z: Array, signed: Array, own: Array) -> Array:
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

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import agreement
    >>> states = np.array([[1.0, -1.0], [0.0, 0.0]])
    >>> agreement(np.array([[1.0, 5.0], [0.0, 0.0], [3.0, 0.0]]), states, np.array([0, 0, 0])).round(6).tolist()
    [1.0, 0.0, 1.0]
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


def _cosines(Z: Array, signed: Array) -> Array:
    length = np.linalg.norm(Z, axis=1, keepdims=True) * np.linalg.norm(signed, axis=0)
    return np.asarray((Z @ signed) / np.where(length > 0, length, 1.0))


def scale_sample(values: Array, signed: Array, effects: Array) -> Array:
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
