"""A screen with known programs: counts simulated from usages, loadings and perturbation effects that are kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scprograms._core.validate import check_int, check_real

from ._random import RandomState, as_generator
from ._truth import choose_targets, draw_design, draw_effects, draw_loadings, draw_usages, gene_names, planted_programs

_ENTRIES_PER_CHUNK = 2**21
"""So many counts are drawn at a time: their dense means take some 20 MB, whatever the size of the screen."""


def simulate_screen(
    n_cells: int = 5000,
    n_genes: int = 2000,
    n_programs: int = 20,
    *,
    n_cell_types: int = 4,
    n_perturbations: int = 25,
    guides_per_perturbation: int = 3,
    n_control_guides: int = 12,
    control_fraction: float = 0.1,
    null_fraction: float = 0.3,
    effect_size: float = 1.0,
    guide_sd: float = 0.1,
    knockdown: float = 0.8,
    activity: float = 0.15,
    usage_correlation: float = 0.0,
    signal: float = 0.12,
    n_batches: int = 3,
    batch_sd: float = 0.1,
    library_size: float = 2500,
    library_sd: float = 0.35,
    dispersion: float = 0.3,
    random_state: RandomState = 0,
) -> AnnData:
    r"""Simulate a single-cell CRISPR screen with known gene programs.

    Every cell is a mixture of programs. One is the housekeeping program of all cells; identity programs mark the cell
    types other than the first; the others are activity programs, which are switched on in a share of the cells and
    which the perturbations push up or down. With W, H and all else as returned,

    .. math::

        \text{counts}_{ij} \sim \text{NB}\left(N_i \frac{\mu_{ij}}{\sum_j \mu_{ij}},\ \phi\right),

    .. math::

        \mu_{ij} = (W H)_{ij}\; e_{\text{batch}(i), j}\; (1 - \kappa_{\text{guide}(i)} [j\ \text{is the target}])

    where the rows of W and of H sum to 1: a usage is the share of a cell's transcripts that a program provides.
    The usage of an activity program comes from a latent normal variable. The program is on where the variable exceeds
    the quantile that leaves ``activity`` of the unperturbed cells on, and its usage is then exponentially distributed,
    before the rows are scaled to sum to 1. A perturbation shifts the variable, hence both how many cells use the
    program and how much of it they use.

    Two settings are of special interest. The default is easy: few activity programs per cell, independent of each
    other. ``activity=0.5, usage_correlation=0.3, n_cell_types=1`` is hard: half of them are on in a cell, those of a
    module go together, and there are no identity programs.

    Parameters
    ----------
    n_cells, n_genes, n_programs
        Size of the screen. The housekeeping and the identity programs are part of ``n_programs``.
    n_cell_types
        Cell types, equally frequent. All but the first have an identity program, so 1 means no identity programs.
    n_perturbations
        Perturbed genes. Four fifths of them are genes of the panel, the others are not measured.
    guides_per_perturbation, n_control_guides
        Guides of each perturbation, and non-targeting guides. Guides differ in their number of cells.
    control_fraction
        Share of the cells with a non-targeting guide.
    null_fraction
        Share of the perturbations that knock their target down but move no program.
    effect_size
        Mean size of an effect, in standard deviations of the latent variable. A perturbation that is not null moves
        one to three activity programs, each up or down.
    guide_sd
        Standard deviation of a guide around its perturbation, in the same unit and for every activity program. Null
        perturbations and non-targeting guides have it too.
    knockdown
        Mean share of the target's transcripts that is lost. It differs between guides.
    activity
        Share of the unperturbed cells in which an activity program is on.
    usage_correlation
        Correlation between the latent variables of the activity programs of a module (four programs).
    signal
        Share of the counts that the activity programs provide, on average.
    n_batches, batch_sd
        Batches, and the standard deviation of the logarithm of their factors, one for each gene.
    library_size, library_sd
        Median of the counts per cell, and standard deviation of their logarithm.
    dispersion
        :math:`\phi`: the variance of a count with mean m is :math:`m + \phi m^2`. 0 gives Poisson counts.
    random_state
        Seed or generator. The same integer gives the same screen.

    Returns
    -------
    A screen of n_cells x n_genes:

    ``.X``
        Counts, CSR, float32; about a tenth of them is not zero at the default settings.
    ``.obs``
        Categories ``perturbation`` (name of the target gene, or "non-targeting"), ``guide``, ``batch``, ``cell_type``.
    ``.obsm["true_usages"]``
        W, n_cells x n_programs, not negative.
    ``.varm["true_loadings"]``
        H transposed, n_genes x n_programs, not negative.
    ``.uns["truth"]``
        ``params``, and tables. ``programs``: the ``kind`` ("housekeeping", "identity", "activity") and ``cell_type`` of
        each program, which are called ``planted_0``, ``planted_1``, ... ``perturbations``: is the target ``measured``,
        is it ``null``. ``effects``: perturbation x program, in latent standard deviations. ``guides``: its
        ``perturbation`` and ``knockdown``. ``guide_effects``: guide x program, effect and deviation together.
        ``markers``: ``program``, ``gene``, ``weight``, the signature of each program with its strongest gene first.

    Raises
    ------
    TypeError
        An argument has the wrong type.
    ValueError
        An argument is out of range, there are fewer cells than guides, or no program is left to be an activity program.

    See Also
    --------
    planted_gene_sets : The signatures as gene sets, with decoys.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(500, 400, 8, n_perturbations=6)
    >>> adata.shape, adata.obsm["true_usages"].shape, adata.varm["true_loadings"].shape
    ((500, 400), (500, 8), (400, 8))
    >>> sorted(adata.uns["truth"])
    ['effects', 'guide_effects', 'guides', 'markers', 'params', 'perturbations', 'programs']
    """
    params: dict[str, Any] = {
        "n_cells": check_int("n_cells", n_cells, at_least=1),
        "n_genes": check_int("n_genes", n_genes, at_least=50),
        "n_programs": check_int("n_programs", n_programs, at_least=2),
        "n_cell_types": check_int("n_cell_types", n_cell_types, at_least=1),
        "n_perturbations": check_int("n_perturbations", n_perturbations, at_least=1),
        "guides_per_perturbation": check_int("guides_per_perturbation", guides_per_perturbation, at_least=1),
        "n_control_guides": check_int("n_control_guides", n_control_guides, at_least=1),
        "control_fraction": check_real("control_fraction", control_fraction, at_least=0, at_most=1),
        "null_fraction": check_real("null_fraction", null_fraction, at_least=0, at_most=1),
        "effect_size": check_real("effect_size", effect_size, at_least=0),
        "guide_sd": check_real("guide_sd", guide_sd, at_least=0),
        "knockdown": check_real("knockdown", knockdown, at_least=0, at_most=1),
        "activity": check_real("activity", activity, at_least=0.001, at_most=1),
        "usage_correlation": check_real("usage_correlation", usage_correlation, at_least=0, at_most=1),
        "signal": check_real("signal", signal, at_least=0.001, at_most=0.9),
        "n_batches": check_int("n_batches", n_batches, at_least=1),
        "batch_sd": check_real("batch_sd", batch_sd, at_least=0),
        "library_size": check_real("library_size", library_size, at_least=1),
        "library_sd": check_real("library_sd", library_sd, at_least=0),
        "dispersion": check_real("dispersion", dispersion, at_least=0),
    }
    _check_together(params)
    rng = as_generator(random_state)
    params["random_state"] = int(random_state) if isinstance(random_state, int | np.integer) else str(random_state)

    genes = gene_names(n_genes)
    programs = planted_programs(n_programs, n_cell_types)
    loadings, markers = draw_loadings(rng, genes, programs)
    perturbations, target = choose_targets(rng, genes, loadings, params)
    obs, guides = draw_design(rng, perturbations, params)
    effects, guide_effects = draw_effects(rng, programs, perturbations, guides, params)
    usages = draw_usages(rng, programs, obs, guide_effects, params)

    batch_factors = np.exp(batch_sd * rng.standard_normal((n_batches, n_genes)))
    sizes = library_size * np.exp(library_sd * rng.standard_normal(n_cells))
    cell_guide = obs["guide"].cat.codes.to_numpy()
    guide_target = np.array([target.get(perturbation, -1) for perturbation in guides["perturbation"]])
    counts = _draw_counts(
        rng,
        usages,
        loadings,
        sizes,
        batch_factors=batch_factors,
        batch=obs["batch"].cat.codes.to_numpy(),
        target=guide_target[cell_guide],
        kept=1 - guides["knockdown"].to_numpy()[cell_guide],
        dispersion=params["dispersion"],
    )
    for column in ("batch", "cell_type"):  # a tiny screen may not have a cell of each
        obs[column] = obs[column].cat.remove_unused_categories()
    truth = {
        "params": params,
        "programs": programs,
        "perturbations": perturbations,
        "effects": effects,
        "guides": guides,
        "guide_effects": guide_effects,
        "markers": markers,
    }
    return AnnData(
        counts,
        obs=obs,
        var=pd.DataFrame(index=genes),
        uns={"truth": truth},
        obsm={"true_usages": usages.astype(np.float32)},
        varm={"true_loadings": loadings.T.astype(np.float32)},
    )


def _check_together(params: dict[str, Any]) -> None:
    if params["n_cell_types"] >= params["n_programs"]:
        msg = (
            f"n_programs={params['n_programs']} leaves no activity program: n_cell_types={params['n_cell_types']} takes"
            f" one housekeeping and {params['n_cell_types'] - 1} identity programs. Pass more programs or fewer types."
        )
        raise ValueError(msg)
    n_guides = params["n_perturbations"] * params["guides_per_perturbation"] + params["n_control_guides"]
    if params["n_cells"] < n_guides:
        msg = (
            f"n_cells={params['n_cells']} is too small for {n_guides} guides, which need a cell each: pass more cells, "
            "or lower n_perturbations, guides_per_perturbation or n_control_guides."
        )
        raise ValueError(msg)


def _draw_counts(
    rng: np.random.Generator,
    usages: np.ndarray,
    loadings: np.ndarray,
    sizes: np.ndarray,
    *,
    batch_factors: np.ndarray,
    batch: np.ndarray,
    target: np.ndarray,
    kept: np.ndarray,
    dispersion: float,
) -> sparse.csr_matrix:
    """Draw negative binomial counts, n_cells x n_genes; ``target`` is -1 where nothing is knocked down."""
    n_cells, n_genes = len(usages), loadings.shape[1]
    step = max(1, _ENTRIES_PER_CHUNK // n_genes)
    chunks = []
    for start in range(0, n_cells, step):
        rows = slice(start, start + step)
        mean = (usages[rows] @ loadings) * batch_factors[batch[rows]]
        hit = np.flatnonzero(target[rows] >= 0)
        mean[hit, target[rows][hit]] *= kept[rows][hit]
        mean *= (sizes[rows] / mean.sum(axis=1))[:, None]
        if dispersion > 0:
            mean *= rng.gamma(1 / dispersion, dispersion, mean.shape)
        chunks.append(sparse.csr_matrix(rng.poisson(mean).astype(np.float32)))
    return sparse.vstack(chunks, format="csr")
