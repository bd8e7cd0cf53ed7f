"""What makes a factor of the positive and negative parts of scaled expression a state: it repeats, and it has markers.

Loadings are k x 2p: the weights of the positive parts of p genes, then those of their negative parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from ._design import Strata, stratum_moments
from ._scaling import z_scores
from ._signature import dense

if TYPE_CHECKING:
    from scprograms._core.matrix import Array, Matrix

LEAST_DETECTED = 3
"""Genes seen in fewer cells do not enter."""


@dataclass(frozen=True)
class Factors:
    """The factors of one cell type, by number of cells."""

    labels: Array
    """The factor of each cell, by its largest share of the usages; -1 for a cell that uses none."""
    loadings: Array
    """k x 2p."""
    difference: Array
    """k x p: by how many standard deviations the mean of the factor's cells is above that of every other candidate."""
    markers: Array
    """k x p: which genes are markers of which factor."""
    negative_ratio: Array
    """Sum of the weights of the negative parts, as a multiple of that of the positive ones."""
    stability: Array
    """How alike the signed loadings of a factor are to those that it is matched with in the runs, up to 1."""
    order: Array
    """Which of the factors that were passed each of these is."""

    candidates: Array
    """Mask of the factors with a ratio that is low enough for a state."""

    def kept(self, *, min_markers: int) -> Array:
        """Which factors are states: candidates that have more than ``min_markers`` markers."""
        return np.asarray(self.candidates & (self.markers.sum(axis=1) > min_markers))


def signed(loadings: Array) -> Array:
    """Return the weights of the positive parts less those of the negative ones.

    All rows of loadings are alike in that both parts of a gene have like means; their difference is not.
    """
    p = loadings.shape[-1] // 2
    return np.asarray(loadings[..., :p], dtype=np.float64) - loadings[..., p:]


def matched_stability(loadings: Array, runs: Array) -> Array:
    """Return the mean cosine of the signed loadings of each factor with those it is matched to in the runs."""
    reference = _unit(signed(loadings))
    cosines = np.empty((len(runs), len(loadings)))
    for i, run in enumerate(runs):
        cosine = reference @ _unit(signed(run)).T
        rows, columns = linear_sum_assignment(-cosine)
        cosines[i, rows] = cosine[rows, columns]
    return np.asarray(cosines.mean(axis=0))


def _unit(rows: Array) -> Array:
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1))


def scaled_genes(matrix: Matrix, samples: Array, n_genes: int) -> tuple[Array, Array]:
    """Return z-scores within samples, float32, of the genes that vary most in them, and which genes these are.

    Genes are ranked by their variance in each sample; the sum of the ranks decides. Where a gene does not vary in a
    sample, its z-score is 0.
    """
    samples = np.unique(samples, return_inverse=True)[1]
    moments = stratum_moments(matrix, Strata.of(samples, np.zeros_like(samples)))
    scale = np.sqrt(moments.variances)
    usable = np.flatnonzero((scale > 0).any(axis=0) & (moments.n_detected >= LEAST_DETECTED))
    ranks = scale[:, usable].argsort(axis=1, kind="stable").argsort(axis=1, kind="stable").sum(axis=0)
    genes = np.sort(usable[np.argsort(-ranks, kind="stable")[:n_genes]])
    center, scale = moments.means[:, genes], scale[:, genes]
    return z_scores(dense(matrix, genes), center[samples], scale[samples]).astype(np.float32), genes


def describe_factors(
    scaled: Array,
    usages: Array,
    loadings: Array,
    runs: Array,
    *,
    min_difference: float,
    max_negative_ratio: float,
) -> Factors:
    """Label the cells by their largest usage, and measure what the factors have of states.

    Parameters
    ----------
    scaled
        Cells x genes, each gene with mean 0 and standard deviation 1 in each sample.
    usages, loadings
        Of the factorization of the positive and negative parts: cells x k, and k x 2p.
    runs
        Loadings of refits on resampled cells, n_runs x k x 2p.
    min_difference
        A marker of a factor has its largest weight there, and a mean in its cells that is so many standard deviations
        above that of every other candidate.
    max_negative_ratio
        Factors whose ratio is not below are no candidates. Their cells, in which fewer genes are seen, may well be in
        one of the states, so markers are not compared with them.
    """
    loadings = np.asarray(loadings, dtype=np.float64)
    norms = np.linalg.norm(loadings, axis=1)
    unit, W = loadings / np.where(norms > 0, norms, 1)[:, None], usages * norms
    k, p = len(unit), scaled.shape[1]
    labels = np.where(W.any(axis=1), W.argmax(axis=1), -1)
    sizes = np.bincount(labels[labels >= 0], minlength=k)
    order = np.argsort(-sizes, kind="stable")
    place = np.append(np.argsort(order), -1)
    labels, H, sizes = place[labels], loadings[order], sizes[order]
    negative, positive = unit[order][:, p:].sum(axis=1), unit[order][:, :p].sum(axis=1)
    ratio = np.divide(negative, positive, out=np.full(k, np.inf), where=positive > 0)
    candidates = (ratio < max_negative_ratio) & (sizes > 0)
    means, weights = np.zeros((k, p)), unit[order][:, :p]
    for j in np.flatnonzero(sizes):
        means[j] = scaled[labels == j].mean(axis=0, dtype=np.float64)
    difference = means - _best_of_others(means, candidates)
    strongest = weights > _best_of_others(weights, candidates)
    return Factors(
        labels=labels,
        loadings=H,
        difference=difference,
        markers=strongest & (difference >= min_difference) & (sizes > 0)[:, None],
        negative_ratio=ratio,
        stability=matched_stability(H, runs),
        order=order,
        candidates=candidates,
    )


def _best_of_others(rows: Array, candidates: Array) -> Array:
    """Return for each entry the largest entry of its column in a row of another candidate; 0 where there is none."""
    best = np.zeros(rows.shape)
    for j in range(len(rows)):
        others = candidates & (np.arange(len(rows)) != j)
        best[j] = rows[others].max(axis=0) if others.any() else 0.0
    return best
