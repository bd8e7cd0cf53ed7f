"""Usages of known signatures: one convex problem per cell, solved to its end, so that chunks do not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from scprograms._core.nnls import finish_rows
from scprograms._core.threads import for_blocks, jit

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

Loss = Literal["kl", "frobenius"]
"""What usages of states minimise: the Kullback-Leibler divergence, or the sum of squares."""
LOSSES = ("kl", "frobenius")
"""The values of ``Loss``."""

FLOOR = 1e-9
"""Entries of W below so much of the largest are raised to it: a feature that is 0 in all states fits no cell."""
TOL = 1e-8
_WARM_UP, _MOST_STEPS, _MOST_HALVINGS = 5, 200, 40
_ROWS = 1024


@jit
def _fit(W: Array, h: Array, f: Array) -> None:
    for j in range(W.shape[0]):
        total = 0.0
        for c in range(W.shape[1]):
            total += W[j, c] * h[c]
        f[j] = total


@jit
def _loss(v: Array, f: Array, mass: float) -> float:
    total = mass
    for j in range(v.size):
        if v[j] > 0:
            if f[j] <= 0:
                return np.inf
            total -= v[j] * np.log(f[j])
    return total


@jit
def _newton_step(H: Array, g: Array, free: Array, n: int, L: Array, d: Array) -> bool:
    """Solve ``H d = g`` on the first n entries of ``free`` by Cholesky; False where H is singular there."""
    for i in range(n):
        value = g[free[i]]
        for j in range(i + 1):
            total = H[free[i], free[j]]
            for l in range(j):  # noqa: E741
                total -= L[i, l] * L[j, l]
            if j < i:
                L[i, j] = total / L[j, j]
                value -= L[i, j] * d[j]
            elif total <= 1e-12 * H[free[i], free[i]]:
                return False
            else:
                L[i, i] = np.sqrt(total)
        d[i] = value / L[i, i]
    for i in range(n - 1, -1, -1):
        for j in range(i + 1, n):
            d[i] -= L[j, i] * d[j]
        d[i] /= L[i, i]
    return True


@jit
def kl_rows(V: Array, W: Array, out: Array, tol: float, start: int, stop: int) -> None:  # noqa: C901  one compiled loop
    """Minimise ``sum_j (W h)_j - v_j log (W h)_j`` over h >= 0 for the rows start..stop of V, into ``out``.

    A few multiplicative updates, then Newton steps on the entries that are not held at 0, projected and shortened until
    the loss falls (Bertsekas 1982); a multiplicative update where that fails. Ends where the gradient, in units of the
    column sums of W, is below ``tol`` for all entries that may move.
    """
    m, k = W.shape
    mass = np.zeros(k)
    for j in range(m):
        for c in range(k):
            mass[c] += W[j, c]
    h, trial, g, d = np.zeros(k), np.zeros(k), np.zeros(k), np.zeros(k)
    f, v = np.zeros(m), np.zeros(m)
    H, L, free = np.zeros((k, k)), np.zeros((k, k)), np.zeros(k, dtype=np.int64)
    for i in range(start, stop):
        total = 0.0
        for j in range(m):
            v[j] = V[i, j]
            total += v[j]
        if total <= 0:
            out[i, :] = 0
            continue
        h[:] = total / mass.sum()
        for step in range(_WARM_UP + _MOST_STEPS):
            _fit(W, h, f)
            g[:] = 0
            for j in range(m):
                if v[j] > 0:
                    ratio = v[j] / f[j]
                    for c in range(k):
                        g[c] += W[j, c] * ratio
            if step >= _WARM_UP:
                n, worst = 0, 0.0
                for c in range(k):
                    slope = 1 - g[c] / mass[c]
                    if h[c] > 0 or slope < 0:
                        worst = max(worst, abs(slope) * (1.0 if slope < 0 else min(1.0, h[c] * mass[c] / total)))
                    if h[c] * mass[c] > 1e-10 * total or slope < 0:
                        free[n] = c
                        n += 1
                    else:
                        h[c] = 0
                if worst <= tol:
                    break
                H[:] = 0
                for j in range(m):
                    if v[j] > 0:
                        weight = v[j] / (f[j] * f[j])
                        for a in range(n):
                            wa = W[j, free[a]] * weight
                            for b in range(a + 1):
                                H[free[a], free[b]] += wa * W[j, free[b]]
                for c in range(k):
                    H[c, c] += 1e-12 * mass[c] * mass[c] / total
                moved = False
                slope_of = mass - g
                if _newton_step(H, slope_of, free, n, L, d):
                    before = _loss(v, f, (mass * h).sum())
                    length = 1.0
                    for _ in range(_MOST_HALVINGS):
                        trial[:] = h
                        gain = 0.0
                        for a in range(n):
                            c = free[a]
                            trial[c] = max(0.0, h[c] - length * d[a])
                            gain += slope_of[c] * (h[c] - trial[c])
                        _fit(W, trial, f)
                        after = _loss(v, f, (mass * trial).sum())
                        if after <= before - 1e-4 * gain and gain >= 0:
                            moved = True
                            break
                        length /= 2
                if moved:
                    change = 0.0
                    for c in range(k):
                        change = max(change, abs(trial[c] - h[c]) * mass[c])
                        h[c] = trial[c]
                    if change > 1e-15 * total:
                        continue
                    break
            for c in range(k):
                h[c] *= g[c] / mass[c]
        for c in range(k):
            out[i, c] = h[c]


def solve_states(V: Array, W: Array, *, loss: Loss = "kl") -> Array:
    """Return the usages H >= 0, cells x states, with the least loss between V and H W'.

    Parameters
    ----------
    V
        Cells x features, not negative.
    W
        Features x states, not negative.
    loss
        ``"kl"`` (Kullback-Leibler), by projected Newton steps [1]_, or ``"frobenius"`` (least squares).

    References
    ----------
    .. [1] Bertsekas (1982), SIAM J. Control Optim. 20:221, https://doi.org/10.1137/0320018

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.states.engine import solve_states
    >>> W = np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 3.0]])
    >>> solve_states(np.array([[4.0, 2.0, 0.0], [2.0, 2.0, 3.0]]), W).round(6).tolist()
    [[2.0, 0.0], [1.0, 1.0]]
    """
    V, W = np.ascontiguousarray(V, dtype=np.float64), np.asarray(W, dtype=np.float64)
    found = np.zeros((len(V), W.shape[1]))
    if loss == "kl":
        W = np.ascontiguousarray(np.maximum(W, FLOOR * W.max(initial=1e-300)))
        for_blocks(lambda a, b: kl_rows(V, W, found, TOL, a, b), len(V), rows_per_block=_ROWS)
        found[found * W.sum(axis=0) < 10 * FLOOR * V.sum(axis=1, keepdims=True)] = 0
        return found
    G, offset = W.T @ W, np.zeros(W.shape[1])

    def block(a: int, b: int) -> None:
        # A product for each row apart: that of a block rounds differently with the number of its rows.
        C = np.stack([v @ W for v in V[a:b]]) if b > a else found[a:b]
        finish_rows(found[a:b], C, G, offset, 0, b - a)

    for_blocks(block, len(V), rows_per_block=_ROWS)
    return found
