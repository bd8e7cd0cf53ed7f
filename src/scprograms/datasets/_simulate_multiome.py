"""Expression and accessibility of the same cells, with known probabilities that a peak is open."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from scipy.special import expit

from scprograms._anndata.categories import categorical
from scprograms._core.validate import check_int, check_real

from ._random import RandomState, as_generator

_GENE_SPACING, _GENES_PER_CHROMOSOME, _PEAK_WIDTH = 60_000, 500, 501
_MEDIAN_DEPTH_PER_GENE = 3.0
_LOADING_SD, _DEPTH_SD, _PEAK_SD, _STATE_SD = 0.8, 0.25, 0.8, 0.5
_TARGET_SUM = 1e4
_CALIBRATION_STEPS = 60


def simulate_multiome(
    n_cells: int = 2000,
    n_genes: int = 1000,
    n_peaks: int = 600,
    *,
    n_states: int = 6,
    n_types: int = 5,
    n_batches: int = 3,
    prevalence: float = 0.12,
    coupling: float = 2.0,
    interaction: float = 0.0,
    dispersion: float = 0.2,
    random_state: RandomState = 0,
) -> dict[str, AnnData]:
    r"""Simulate expression and accessibility that follow the same hidden states of cells.

    A cell has states z: the means of its type plus its own deviations. Genes have negative binomial counts with
    :math:`\log \mu_{ig} = a_g + (z_i B)_g + \log d_i`. A peak is open with probability

    .. math::

        p_{ij} = \text{logit}^{-1}\left(b_j + \gamma\,((z_i v_j) + \lambda\, (z_{i k_j}^2 - 1))\right),

    independently given the states. No prediction can rank entries better than p itself: its PR-AUC is that of the
    oracle. Every peak lies close to the start of a gene that reads the same states as the peak does.

    Parameters
    ----------
    n_cells, n_genes, n_peaks
        Size of the data.
    n_states
        Hidden states.
    n_types, n_batches
        Types of cells, which differ in their states, and batches, which differ in nothing.
    prevalence
        Share of the entries that are open.
    coupling
        :math:`\gamma`: standard deviation of the logits of a peak over cells, about. With 0 expression says nothing of
        accessibility.
    interaction
        :math:`\lambda`: how much a peak opens at both extremes of a state, which no linear model can follow.
    dispersion
        Of the counts of genes: the variance of a count with mean m is m + dispersion x m².
    random_state
        Seed or generator. The same integer gives the same data.

    Returns
    -------
    Two AnnData over the same cells. ``mudata.MuData(simulate_multiome())`` makes a MuData of them; verbs take either.

    ``["rna"]``
        ``.X`` log-normalised to 10,000 counts a cell, CSR float32; counts in ``.layers["counts"]``; ``.obs`` with
        categories ``cell_type`` and ``batch``; ``.var`` with ``chrom, start, end, strand``; ``.obsm["true_states"]``.
    ``["atac"]``
        ``.X`` 0 or 1, CSR float32; ``.layers["true_probability"]``, an array, float32; the same ``.obs``; ``.var`` with
        ``chrom, start, end`` and ``true_gene``, the gene that the peak lies at. Names are ``chrom:start-end``.
        ``.uns["truth"]`` holds ``params``.

    Raises
    ------
    TypeError
        An argument has the wrong type.
    ValueError
        An argument is out of range.

    Examples
    --------
    >>> import scprograms as scp
    >>> data = scp.datasets.simulate_multiome(300, 100, 50)
    >>> data["rna"].shape, data["atac"].shape
    ((300, 100), (300, 50))
    """
    params: dict[str, Any] = {
        "n_cells": check_int("n_cells", n_cells, at_least=10),
        "n_genes": check_int("n_genes", n_genes, at_least=10),
        "n_peaks": check_int("n_peaks", n_peaks, at_least=1),
        "n_states": check_int("n_states", n_states, at_least=1),
        "n_types": check_int("n_types", n_types, at_least=1),
        "n_batches": check_int("n_batches", n_batches, at_least=1),
        "prevalence": check_real("prevalence", prevalence, at_least=1e-3, at_most=0.99),
        "coupling": check_real("coupling", coupling, at_least=0),
        "interaction": check_real("interaction", interaction, at_least=0),
        "dispersion": check_real("dispersion", dispersion, at_least=0),
    }
    rng = as_generator(random_state)
    params["random_state"] = int(random_state) if isinstance(random_state, int | np.integer) else str(random_state)

    cell_type = rng.permutation(np.arange(n_cells) % n_types)
    batch = rng.permutation(np.arange(n_cells) % n_batches)
    centres = rng.standard_normal((n_types, n_states)) * np.sqrt(1 - _STATE_SD**2)
    states = centres[cell_type] + _STATE_SD * rng.standard_normal((n_cells, n_states))
    reads = rng.standard_normal((n_genes, n_states)) * (rng.random((n_genes, n_states)) < 0.5)
    reads[np.arange(n_genes), rng.integers(n_states, size=n_genes)] += rng.choice([-1.0, 1.0], n_genes)
    reads /= np.linalg.norm(reads, axis=1, keepdims=True)

    counts = _draw_counts(rng, states @ reads.T, params)
    gene = rng.integers(n_genes, size=n_peaks)
    probability = _probabilities(rng, states, reads[gene], params)
    is_open = rng.random(probability.shape) < probability

    obs = pd.DataFrame(
        {
            "cell_type": categorical(cell_type, [f"type_{i}" for i in range(n_types)]),
            "batch": categorical(batch, [f"batch_{i}" for i in range(n_batches)]),
        },
        index=[f"cell_{i}" for i in range(n_cells)],
    )
    genes, peaks = _coordinates(rng, n_genes, gene)
    total = np.maximum(counts.sum(axis=1), 1)
    rna = AnnData(
        sparse.csr_matrix(np.log1p(counts * (_TARGET_SUM / total)[:, None]).astype(np.float32)),
        obs=obs,
        var=genes,
        layers={"counts": sparse.csr_matrix(counts.astype(np.float32))},
        obsm={"true_states": states.astype(np.float32)},
    )
    atac = AnnData(
        sparse.csr_matrix(is_open.astype(np.float32)),
        obs=obs.copy(),
        var=peaks,
        layers={"true_probability": probability.astype(np.float32)},
        uns={"truth": {"params": params}},
    )
    return {"rna": rna, "atac": atac}


def _draw_counts(rng: np.random.Generator, log_fold: np.ndarray, params: dict[str, Any]) -> np.ndarray:
    n_cells, n_genes = log_fold.shape
    level = 0.8 * rng.standard_normal(n_genes) + np.log(_MEDIAN_DEPTH_PER_GENE / 2)
    depth = np.exp(_DEPTH_SD * rng.standard_normal(n_cells))
    mean = np.exp(level + _LOADING_SD * log_fold) * depth[:, None]
    if params["dispersion"] > 0:
        mean *= rng.gamma(1 / params["dispersion"], params["dispersion"], mean.shape)
    return np.asarray(rng.poisson(mean), dtype=np.int64)


def _probabilities(
    rng: np.random.Generator, states: np.ndarray, reads: np.ndarray, params: dict[str, Any]
) -> np.ndarray:
    """Return cells x peaks; one shift for all peaks gives the asked prevalence."""
    n_peaks, n_states = reads.shape
    bent = states[:, rng.integers(n_states, size=n_peaks)] ** 2 - 1
    logits = params["coupling"] * (states @ reads.T + params["interaction"] * bent)
    logits += _PEAK_SD * rng.standard_normal(n_peaks)
    low, high = -60.0, 60.0
    for _ in range(_CALIBRATION_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(logits + middle).mean() < params["prevalence"] else (low, middle)
    return np.asarray(expit(logits + high))


def _coordinates(rng: np.random.Generator, n_genes: int, gene: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of genes, evenly spaced, and of peaks, each within some kb of the start of its gene."""
    chromosome, place = np.divmod(np.arange(n_genes), _GENES_PER_CHROMOSOME)
    start = 100_000 + place * _GENE_SPACING
    forward = rng.random(n_genes) < 0.5
    length = rng.integers(2_000, 30_000, n_genes)
    genes = pd.DataFrame(
        {
            "chrom": pd.Categorical([f"chr{c + 1}" for c in chromosome]),
            "start": start,
            "end": start + length,
            "strand": pd.Categorical(np.where(forward, "+", "-")),
        },
        index=[f"gene_{i}" for i in range(n_genes)],
    )
    begin = np.where(forward, start, start + length)[gene]
    left = begin + rng.integers(-5_000, 5_000, len(gene))
    order_of_equals = pd.Series(left).groupby([chromosome[gene], left]).cumcount().to_numpy()
    left = left + 600 * order_of_equals
    chrom = genes["chrom"].astype(str).to_numpy()[gene]
    names = [f"{c}:{s}-{s + _PEAK_WIDTH}" for c, s in zip(chrom, left, strict=True)]
    peaks = pd.DataFrame(
        {
            "chrom": pd.Categorical(chrom),
            "start": left,
            "end": left + _PEAK_WIDTH,
            "true_gene": pd.Categorical(genes.index.to_numpy()[gene]),
        },
        index=names,
    )
    return genes, peaks
