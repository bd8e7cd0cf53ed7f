"""From a CSR matrix to minibatches on a device: a batch holds the entries that are not zero, never a dense row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scprograms._core.matrix import Array

TRANSFORMS = ("tfidf", "binary", None)


@dataclass(frozen=True)
class Batch:
    """Some rows of a sparse matrix."""

    columns: torch.Tensor
    """Column of each entry."""
    rows: torch.Tensor
    """Row within the batch of each entry."""
    offsets: torch.Tensor
    """Where each row begins."""
    values: torch.Tensor
    """What the encoder sees, float32."""
    log_depth: torch.Tensor
    """Logarithm of the number of entries of a row, over the average; n x 1."""

    def __len__(self) -> int:
        return len(self.offsets)


@dataclass(frozen=True)
class Transform:
    """What is done to the matrix before a network sees it; learned from the training cells."""

    kind: str | None
    weights: Array
    """Factor of each feature."""
    length: float
    """Euclidean length that every row is scaled to; 0 leaves rows as they are."""
    log_depth: float
    """Mean logarithm of the number of features in a cell."""

    @classmethod
    def fit(cls, X: sparse.csr_matrix, kind: str | None) -> Transform:
        """Learn the weights: log(1 + cells / cells with the feature), and the typical length of a row."""
        n_cells, n_features = X.shape
        depth = np.diff(X.indptr)
        weights = np.ones(n_features, dtype=np.float32)
        if kind == "tfidf":
            counts = np.bincount(X.indices, minlength=n_features)
            weights = np.log1p(n_cells / np.maximum(counts, 1)).astype(np.float32)
        return cls(
            kind=kind,
            weights=weights,
            # Entries are then about 1, as those of a binary matrix are.
            length=float(np.sqrt(np.median(depth[depth > 0]))) if kind == "tfidf" else 0.0,
            log_depth=float(np.log(np.maximum(depth, 1)).mean()),
        )

    def __call__(self, X: sparse.csr_matrix) -> sparse.csr_matrix:
        """Return the matrix that networks see, CSR, float32; entries that are zero are not stored."""
        X = canonical(X)
        if self.kind is None:
            return X
        X.data = self.weights[X.indices]
        if self.length:
            norms = np.sqrt(np.bincount(_row_of(X), np.square(X.data, dtype=np.float64), minlength=X.shape[0]))
            factors = self.length / np.where(norms > 0, norms, 1)
            X.data = (X.data * np.repeat(factors, np.diff(X.indptr))).astype(np.float32)
        return X


def canonical(X: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return a copy, CSR, float32, in which every entry that is not zero is stored once, and no other."""
    X = sparse.csr_matrix(X, dtype=np.float32, copy=True)
    X.sum_duplicates()
    X.eliminate_zeros()
    return X


def _row_of(X: sparse.csr_matrix) -> Array:
    return np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))


class Batches:
    """The rows of a matrix, transformed, in minibatches."""

    def __init__(self, X: sparse.csr_matrix, transform: Transform, device: torch.device) -> None:
        self.matrix = transform(X)
        self.device = device
        depth = np.maximum(np.diff(self.matrix.indptr), 1)
        self._log_depth = (np.log(depth) - transform.log_depth).astype(np.float32)

    def take(self, rows: Array) -> Batch:
        """Return these rows."""
        part = self.matrix[rows]
        return Batch(
            columns=self._send(part.indices.astype(np.int64)),
            rows=self._send(_row_of(part)),
            offsets=self._send(part.indptr[:-1].astype(np.int64)),
            values=self._send(part.data),
            log_depth=self._send(self._log_depth[rows][:, None]),
        )

    def _send(self, array: Array) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def iterate(self, rows: Array, batch_size: int) -> Iterator[Batch]:
        """Yield the rows in their order."""
        for start in range(0, len(rows), batch_size):
            yield self.take(rows[start : start + batch_size])
