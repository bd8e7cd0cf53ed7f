"""The trained network as arrays: it predicts without torch, the same on every machine that reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from ._precision_recall import untied_precision

if TYPE_CHECKING:
    from scprograms._core.matrix import Array, Matrix

    from ._genes import GeneScaler
    from ._nearby import LocalTerm

_CELLS_PER_CHUNK = 1024
_NORM_EPS = 1e-5


@dataclass(frozen=True)
class Network:
    """Dense layers with swish between them, and the sigmoid at the end."""

    scaler: GeneScaler
    weights: dict[str, Array]

    def scores(self, clipped: Matrix, local: Array | None = None) -> Array:
        """Return cells x peaks."""
        parts = []
        for start in range(0, clipped.shape[0], _CELLS_PER_CHUNK):
            rows = slice(start, start + _CELLS_PER_CHUNK)
            logits = self._logits(self.scaler.rows(clipped, rows))
            if local is not None and "local" in self.weights:
                logits = logits + local[rows] * self.weights["local"]
            parts.append(expit(logits.astype(np.float64)))
        return np.concatenate(parts)

    def _logits(self, x: Array) -> Array:
        w = self.weights
        n_hidden = sum(name.startswith("weight_") for name in w) - 1
        for i in range(n_hidden):
            x = x @ w[f"weight_{i}"] + w[f"bias_{i}"]
            if f"norm_weight_{i}" in w:
                x = self._normalized(x, i)
            x = x * expit(x)
        return np.asarray(x @ w[f"weight_{n_hidden}"] + w[f"bias_{n_hidden}"])

    def _normalized(self, x: Array, i: int) -> Array:
        w = self.weights
        if f"norm_mean_{i}" in w:
            mean, variance = w[f"norm_mean_{i}"], w[f"norm_variance_{i}"]
        else:
            mean, variance = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
        return np.asarray((x - mean) / np.sqrt(variance + np.float32(_NORM_EPS)) * w[f"norm_weight_{i}"]
                          + w[f"norm_bias_{i}"])  # fmt: skip


def check_torch() -> None:
    """Raise where torch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        msg = (
            'The network needs torch, which is not installed: pip install "scprograms[deep]". Without it, choose '
            "model='ridge', 'knn' or 'mean'."
        )
        raise ImportError(msg) from error


def train(
    scaler: GeneScaler,
    clipped: Matrix,
    observed: Array,
    split: tuple[Array, Array],
    *,
    local: LocalTerm | None,
    settings: dict[str, Any],
    progress: bool,
) -> tuple[Network, list[dict[str, Any]]]:
    """Train a network on these cells, and return it as of its best epoch, with its history."""
    check_torch()
    from ._accessibility_network import NetworkSettings, train_network

    near = None if local is None else local.of(scaler, clipped)
    weights, history = train_network(
        lambda cells: (scaler.rows(clipped, cells), None if near is None else near[cells]),
        observed,
        split,
        settings=NetworkSettings(**settings),
        score=lambda p: untied_precision(observed[split[1]], p),
        progress=progress,
    )
    return Network(scaler, weights), history
