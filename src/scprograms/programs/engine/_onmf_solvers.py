"""Solvers of orthogonal NMF (W >= 0, H >= 0, H H' = I), on anything that has the operator's products.

Rows of H that are non-negative and orthogonal share no gene: the problem is to deal the genes out to the programs, and
each program is then the leading singular pair of its own block of columns. With orthonormal rows the best usages for
given loadings are ``X H'``, and ``||X - W H||^2 = ||X||^2 - ||W||^2``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from scprograms._core.progress import is_look
from scprograms._core.rotation import simple_structure
from scprograms._core.sums import sum_of_products

if TYPE_CHECKING:
    from scprograms._core.matrix import Array, FloatArray
    from scprograms._core.operators.protocol import MatrixOperator
    from scprograms._core.svd import Compression

from ._starts import signs_of

FLOOR = 0.01
INNER_STEPS = 3
MAX_ROUNDS = 200
ROUNDS_TOL = 1e-6

OnRound = Callable[[float], None]


def rotated_loadings(compression: Compression, k: int, *, rng: np.random.Generator) -> FloatArray:
    """Return the leading right singular vectors in simple structure, clipped at 0 on their lighter side: n_vars x k."""
    V = compression.V[:, :k].astype(np.float64)
    V = V @ simple_structure(V, rng=rng)
    squares = np.square(V)
    return np.maximum(V * signs_of((np.sign(V) * squares).sum(axis=0), squares.sum(axis=0), V), 0)


def random_genes(compression: Compression, k: int, *, rng: np.random.Generator) -> FloatArray:
    """Return the similarity of each gene to k genes drawn in proportion to their sums of squares: n_vars x k."""
    genes = compression.V.astype(np.float64) * compression.singular_values
    squares = np.square(genes).sum(axis=1)
    drawn = rng.choice(len(genes), k, replace=False, p=squares / squares.sum())
    return np.asarray(np.maximum(genes @ (genes[drawn] / np.sqrt(squares[drawn, None])).T, 0))


def dealt_out(scores: Array, squares: FloatArray) -> tuple[Array, Array]:
    """Give each gene to the program that fits it best; return the program of each gene and its score there.

    ``scores`` are the products of each gene with the unit usages, ``squares`` its sum of squares. A gene without a
    positive score goes to no program (-1). A program that is left without a gene takes the one that the others explain
    least, so that each has at least one as long as there are genes with a signal.
    """
    codes = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), codes].astype(np.float64)
    codes[best <= 0] = -1
    best = np.maximum(best, 0)
    sizes = np.bincount(codes[codes >= 0], minlength=scores.shape[1])
    for program in np.flatnonzero(sizes == 0):
        can_go = (squares > 0) & ((codes < 0) | (sizes[codes] > 1))
        if not can_go.any():
            break
        gene = int(np.argmax(np.where(can_go, squares - best**2, -np.inf)))
        if codes[gene] >= 0:
            sizes[codes[gene]] -= 1
        codes[gene], best[gene], sizes[program] = program, np.sqrt(squares[gene]), 1
    return codes, best


def unit_loadings(codes: Array, best: FloatArray, k: int) -> FloatArray:
    """Return H transposed (n_vars x k, float64): each gene in its program, with columns of unit norm."""
    Ht = np.zeros((len(codes), k))
    genes = np.flatnonzero(codes >= 0)
    Ht[genes, codes[genes]] = best[genes] / best[genes].max(initial=np.finfo(float).tiny)
    norms = np.linalg.norm(Ht, axis=0)
    return Ht / np.where(norms > 0, norms, 1)


def unit_columns(W: FloatArray) -> FloatArray:
    """Return W with columns of unit norm, in its dtype; a column of zeros stays one."""
    return W / _norms(W)


def _norms(W: FloatArray) -> FloatArray:
    """Return the norms of the columns in the dtype of W; 1 for a column of zeros."""
    norms = np.sqrt(np.einsum("ij,ij->j", W, W, dtype=np.float64))
    return np.where(norms > 0, norms, 1).astype(W.dtype)


def error_of_usages(squared_norm: float, W: FloatArray) -> float:
    """Return the Frobenius norm of the residual for ``W = X H'`` with orthonormal rows of H."""
    return float(np.sqrt(max(squared_norm - np.einsum("ij,ij->", W, W, dtype=np.float64), 0.0)))


def deal_compressed(
    compression: Compression, Ht: FloatArray, *, squared_norm: float, max_iter: int, tol: float, on_round: OnRound
) -> FloatArray:
    """Improve H (transposed) on the compressed matrix.

    In the coordinates of the left singular vectors a gene is a row of ``V S``, and a usage a direction in as many
    dimensions as the sketch has: a round costs nothing, however many cells there are. It ends once a round changes the
    error by less than ``tol`` of it.
    """
    genes = compression.V.astype(np.float64) * compression.singular_values
    squares = np.square(genes).sum(axis=1)
    k, previous = Ht.shape[1], np.inf
    for sweep in range(1, max_iter + 1):
        for _ in range(INNER_STEPS):  # towards the leading singular vector of each block
            Ht = np.maximum(genes @ (genes.T @ Ht), 0) * (Ht > 0)
            Ht = unit_columns(Ht)
        Ht = unit_loadings(*dealt_out(genes @ unit_columns(genes.T @ Ht), squares), k)
        error = error_of_usages(squared_norm, genes.T @ Ht)
        on_round(error)
        if is_look(sweep) and previous - error <= tol * error:
            break
        previous = error
    return Ht


def deal_genes(
    op: MatrixOperator,
    Ht: FloatArray,
    *,
    squares: FloatArray,
    max_iter: int,
    tol: float,
    on_round: OnRound,
    fixed: bool = False,
) -> tuple[FloatArray, FloatArray, bool]:
    """Improve H (transposed) on the matrix itself; return it, what it explains of each gene, and if ``tol`` was met.

    A round never raises the error: each gene goes to the usage that fits it best (unless the genes are ``fixed`` where
    they are), and the usages are then the best for their genes.
    """
    k, total, previous = Ht.shape[1], float(squares.sum()), np.inf
    (W, back), genes = op.cross(Ht), np.flatnonzero(Ht.any(axis=1))
    kept = np.full(len(Ht), -1)
    kept[genes] = Ht[genes].argmax(axis=1)
    for _ in range(max_iter):
        scores = back() / _norms(W)
        codes, best = (
            (kept, np.where(kept < 0, 0, scores[np.arange(len(kept)), kept])) if fixed else dealt_out(scores, squares)
        )
        Ht = unit_loadings(codes, best, k)
        W, back = op.cross(Ht)
        error = error_of_usages(total, W)
        on_round(error)
        if previous - error <= tol * error:
            return Ht, np.square(best, dtype=np.float64), True
        previous = error
    return Ht, np.square(best, dtype=np.float64), False


def deal_from_rotation(
    compression: Compression, k: int, *, squared_norm: float, rng: np.random.Generator, on_round: OnRound
) -> FloatArray:
    """Return H (transposed, n_vars x k) for the compressed matrix, from its directions in simple structure."""
    Ht = rotated_loadings(compression, min(k, compression.V.shape[1]), rng=rng)
    Ht = np.pad(Ht, ((0, 0), (0, k - Ht.shape[1])))  # more programs than directions: the others start empty
    squares = np.square(compression.V.astype(np.float64) * compression.singular_values).sum(axis=1)
    Ht = unit_loadings(*dealt_out(unit_columns(Ht), squares), k)
    return deal_compressed(
        compression, Ht, squared_norm=squared_norm, max_iter=MAX_ROUNDS, tol=ROUNDS_TOL, on_round=on_round
    )


def without_strangers(Ht: FloatArray, shares: FloatArray, at_least: float) -> FloatArray:
    """Take out genes of whose sum of squares their program explains less than ``at_least``, but no program's last."""
    held = np.where(Ht > 0, shares[:, None], -1.0)
    stays = (shares >= at_least)[:, None] | (held == held.max(axis=0))
    return unit_columns(np.where(stays, Ht, 0.0))


def loadings_in_one_program(op: MatrixOperator, W: FloatArray, *, min_share: float) -> FloatArray:
    """Return H transposed for given usages: each gene in the program that fits it best, by least squares, if any."""
    scores = op.rmatmul(unit_columns(W)).astype(np.float64)
    squares, genes, codes = op.squared_deviations(np.zeros(op.shape[1])), np.arange(len(scores)), scores.argmax(axis=1)
    best = scores[genes, codes]
    stays = (best > 0) & (np.square(best) >= min_share * squares)
    Ht = np.zeros_like(scores)
    Ht[genes[stays], codes[stays]] = best[stays] / np.linalg.norm(W.astype(np.float64), axis=0)[codes[stays]]
    return Ht


def off_diagonal(Ht: FloatArray) -> float:
    """Return the Frobenius norm of the off-diagonal part of ``H H'`` for rows of unit norm."""
    Ht = unit_columns(Ht.astype(np.float64))
    gram = Ht.T @ Ht
    return float(np.linalg.norm(gram - np.diag(np.diag(gram))))


def random_factors(shape: tuple[int, int], k: int, *, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return uniform usages (n_obs x k), and loadings (n_vars x k) from an orthonormal basis of uniform columns."""
    W = rng.random((shape[0], k))
    return W, np.abs(np.linalg.qr(rng.random((shape[1], k)))[0])


def positive_factors(op: MatrixOperator, Ht: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return usages for given loadings, and both without zeros: what is zero stays zero under multiplication."""
    Ht = np.maximum(Ht, FLOOR * Ht.mean())
    W = op.matmul(unit_columns(Ht))
    return np.maximum(W, FLOOR * W.mean()), Ht


def multiply(
    op: MatrixOperator,
    W: FloatArray,
    Ht: FloatArray,
    *,
    squared_norm: float,
    max_iter: int,
    tol: float,
    on_round: OnRound,
) -> tuple[FloatArray, bool]:
    """Update W and H by multiplication, rows of H drawn towards orthogonality [1]_; return H transposed.

    ``W *= sqrt(X H' / (W H H'))`` and ``H *= sqrt(W' X / (H X' W H))``. Without the square roots, as in D-SPIN, each
    step inverts the scale of H, and the error rises in every other one.

    References
    ----------
    .. [1] Ding, Li, Peng & Park (2006), KDD 2006:126, https://doi.org/10.1145/1150402.1150420
    """
    dtype, previous = op.dtype, np.inf
    W, Ht = W.astype(dtype), Ht.astype(dtype)
    for sweep in range(1, max_iter + 1):
        W *= _root_of_ratio(op.matmul(Ht), W @ sum_of_products(Ht, Ht).astype(dtype))
        cross = op.rmatmul(W)
        Ht *= _root_of_ratio(cross, Ht @ sum_of_products(cross, Ht).astype(dtype))
        explained = 2 * np.einsum("ij,ij->", Ht, cross, dtype=np.float64)
        explained -= np.sum(sum_of_products(W, W) * sum_of_products(Ht, Ht))
        error = float(np.sqrt(max(squared_norm - explained, 0.0)))
        on_round(error)
        if (is_look(sweep) or sweep == max_iter) and abs(previous - error) <= tol * error:
            return Ht, True
        previous = error
    return Ht, False


def _root_of_ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the square roots of non-negative ratios; what is divided by 0 becomes 0."""
    return np.sqrt(np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0))
