"""``tl.train_recovery``: learn the states of cell types from labelled cells."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from scprograms._anndata.matrix import check_adata, read_gene_names
from scprograms._core.threads import threads
from scprograms._core.validate import check_choice, check_int, check_real, listing, warn

from ._labelled_cells import LabelledCells, read_labelled
from ._recovery_file import keep_used_genes
from ._recovery_model import RecoveryModel
from .engine import HeldOut, Trained, TrainingOptions, hold_out, train

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger("scprograms")

RANKINGS = ("states", "variance")


def train_recovery(
    adata: AnnData,
    state_key: str,
    cell_type_key: str,
    *,
    sample_key: str | None = None,
    layer: str | None = None,
    n_features: int = 300,
    n_features_per_state: int = 50,
    n_cells: int = 2500,
    n_runs: int = 50,
    rank_genes_by: Literal["states", "variance"] = "states",
    min_cells: int = 5,
    confidence: float = 0.95,
    runs: Sequence[int] | None = None,
    random_state: int = 0,
    n_jobs: int | None = None,
) -> RecoveryModel:
    r"""Learn the states of each cell type from labelled cells, to find them in others.

    For each cell type [1]_: genes are z-scored within samples and split into their positive and negative parts; the
    signature of a state is the non-negative matrix factorization of that for usages fixed at the labels. Its optimum is
    closed, the mean over the state's cells, for the Kullback-Leibler and the Frobenius loss alike. It is averaged over
    runs with different draws of cells, in which samples and states count alike, and restricted to genes that are
    specific for the same state in more than half of the runs.

    Centre and deviation of a sample are those that it would have with all states alike, from a fit of samples + states:
    in a sample that is mostly of one state, the mean of its cells would be that state.

    Cells that fit no state are told by a score that is calibrated on held-out cells: each labelled cell is recovered by
    a model that was trained without it, without its whole sample where possible. The score of
    :func:`scprograms.tl.recover_states` is the smaller of two ranks among these: how near the cell is to its state, in
    the space of the differences between states, and how far the logit of its own cell type is above that of the best
    other one, in a logistic regression of profiles that are not scaled (cells that are certainly of their type rank
    alike). The second one needs two cell types in ``adata``. The share of the largest state, which has been used for
    this, cannot tell: shares sum to 1 whatever the fit.

    A cell type with one state only has no signature. Its cells are in that state or in none, by their distance from its
    mean profile, in the space of the differences between all cell types and states. They are not scaled within samples,
    and what sets the other state apart must also differ between some cell types or states of the training.

    Parameters
    ----------
    adata
        Cells x genes, log-normalised. Gene names must be unique.
    state_key
        Column of ``.obs`` with the states. Cells without one are left out, but for the profile of their cell type.
    cell_type_key
        Column of ``.obs`` with the cell types. States of different types that have the same name are unrelated.
    sample_key
        Column of ``.obs`` with samples, such as donors or batches; ``None`` if all cells are of one.
    layer
        Layer to use; ``None`` means ``.X``.
    n_features
        Genes of each cell type to look for features among.
    n_features_per_state
        At most so many features are taken for a state in a run: those that are highest above all other states.
    n_cells
        At most so many cells of a type are drawn in a run.
    n_runs
        Number of runs. Each draws at most 80 % of a state's cells in a sample, so that runs differ.
    rank_genes_by
        How the ``n_features`` genes are chosen: ``"states"``, by variance between states in units of all variance, or
        ``"variance"``, by the sum of their ranks by variance within samples, as published.
    min_cells
        States with fewer cells are left out of their cell type. One type at least needs two states.
    confidence
        Share of cells in a known state that are to be found in one, from 0.5 to below 1: thresholds are such that
        ``1 - confidence`` of held-out cells are below.
    runs
        Numbers of the runs to make, of ``n_runs``, for one job of many: see :meth:`RecoveryModel.aggregate`. A run is
        the same whatever others there are. ``None`` makes all of them.
    random_state
        Seed of the draws and folds.
    n_jobs
        Number of threads; ``None`` means all. It does not change the result.

    Returns
    -------
    The model. ``adata`` is not changed.

    Raises
    ------
    KeyError
        There is no such column or layer.
    TypeError
        ``adata`` is no AnnData in memory, or an argument has the wrong type.
    ValueError
        An argument is out of range; gene names are not unique; no cell has a state, a cell type or a sample; all cells
        are in one state; or no cell type has two states that can be compared within samples.

    Warns
    -----
    ProgramsWarning
        Cells or cell types are left out, a type has one state only, or values look like counts.

    See Also
    --------
    scprograms.tl.recover_states : find the states in other cells.
    scprograms.tl.cross_validate_recovery : which states can be found in samples that were not trained on.

    References
    ----------
    .. [1] Luca et al. (2021), Cell 184:5482, https://doi.org/10.1016/j.cell.2021.09.014

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_states(600, 400, n_samples=3, n_cell_types=2)
    >>> model = scp.tl.train_recovery(adata, "state", "cell_type", sample_key="sample")
    >>> model.signature("type_0").columns.tolist()
    ['state_0', 'state_1', 'state_2']
    """
    options = read_options(
        n_features=n_features,
        n_features_per_state=n_features_per_state,
        n_cells=n_cells,
        n_runs=n_runs,
        rank_genes_by=rank_genes_by,
        min_cells=min_cells,
        random_state=random_state,
    )
    confidence = check_confidence(confidence)
    chosen = _read_runs(runs, options.n_runs)
    genes = read_gene_names(check_adata(adata))
    cells = read_labelled(adata, state_key, cell_type_key, sample_key=sample_key, layer=layer)
    params = {
        "state_key": state_key,
        "cell_type_key": cell_type_key,
        **({} if sample_key is None else {"sample_key": sample_key}),
        **({} if layer is None else {"layer": layer}),
        **{name: value for name, value in vars(options).items() if name != "rank_by"},
        "rank_genes_by": options.rank_by,
        "confidence": confidence,
    }
    with threads(n_jobs):
        return fit_model(cells, genes, options, params=params, runs=chosen)


def read_options(*, rank_genes_by: object, **numbers: object) -> TrainingOptions:
    """Return the checked options of a training."""
    check_choice("rank_genes_by", rank_genes_by, RANKINGS)
    least = {"n_features": 2, "n_features_per_state": 1, "n_cells": 2, "n_runs": 1, "min_cells": 2, "random_state": 0}
    found = {name: check_int(name, numbers[name], at_least=low) for name, low in least.items()}
    return TrainingOptions(rank_by=str(rank_genes_by), **found)


def check_confidence(confidence: object) -> float:
    """Return the confidence, if thresholds can be had for it."""
    return check_real("confidence", confidence, at_least=0.5, at_most=0.9999)


def _read_runs(runs: object, n_runs: int) -> list[int] | None:
    if runs is None:
        return None
    if isinstance(runs, str) or not isinstance(runs, Sequence | np.ndarray | range) or not len(runs):
        msg = f"runs={runs!r}: pass a list of the numbers of the runs to make, such as [0], or None for all."
        raise TypeError(msg)
    found = [check_int("runs", run, at_least=0) for run in runs]
    if max(found) >= n_runs:
        msg = f"runs={found}: runs are numbered from 0 to n_runs - 1 = {n_runs - 1}."
        raise ValueError(msg)
    return sorted(set(found))


def fit_model(
    cells: LabelledCells,
    genes: list[str],
    options: TrainingOptions,
    *,
    params: dict[str, Any],
    runs: list[int] | None = None,
) -> RecoveryModel:
    """Return the model, calibrated on held-out cells."""
    types, states, samples = cells.cell_types, cells.states, cells.samples
    n_types = len(types.names)
    trained = train(cells.matrix, types.codes, states.codes, samples.codes, n_types, options, runs=runs)
    summary = _summarize(cells, trained, options)
    if not trained.signatures:
        reasons = "; ".join(f"{types.names[t]!r} has {why}" for t, why in list(trained.skipped.items())[:5])
        msg = (
            f"No cell type has states that can be learned: {reasons}. A cell type needs two states with at least "
            f"min_cells={options.min_cells} cells each, and samples that hold both (or a chain of samples that links "
            "them): what differs between samples cannot be told from what differs between states."
        )
        raise ValueError(msg)
    if trained.skipped:
        warn(
            f"{len(trained.skipped)} of {n_types} cell types have no states that can be learned: "
            + "; ".join(f"{types.names[t]!r} has {why}" for t, why in list(trained.skipped.items())[:5])
            + ". Their cells will be 'non-state'."
        )
    if trained.single:
        warn(
            f"Cell types with one state: {listing([types.names[t] for t in trained.single])}. Their cells "
            "are compared with those of training as they are, not scaled within samples: have both from one study."
        )
    held_out = hold_out(cells.matrix, types.codes, states.codes, samples.codes, n_types, len(states.names), options)
    of_type = types.codes[held_out.cells]
    kept = np.isin(of_type, list(trained.states))
    held_out = HeldOut(
        np.arange(int(kept.sum())), held_out.state[kept], held_out.agreement[kept], held_out.margin[kept]
    )
    if trained.identity is None:
        warn(
            f"adata.obs[{types.key!r}] has no two cell types with enough cells: whether cells are of the type "
            "that they are said to be will not be checked. Train with other cell types beside it."
        )
    if runs is None:
        trained = replace(trained, draws={})
    genes, trained = keep_used_genes(genes, trained)
    counts = {"n_obs": len(types.codes), "n_unlabelled": cells.n_unlabelled}
    model = RecoveryModel(
        genes=genes,
        type_names=types.names,
        state_names=states.names,
        trained=trained,
        held_out=held_out,
        held_out_types=of_type[kept],
        summary=summary,
        params={**params, **counts},
    )
    logger.info("train_recovery: %d cell types, %d genes.", len(trained.signatures), len(genes))
    return model


def _summarize(cells: LabelledCells, trained: Trained, options: TrainingOptions) -> pd.DataFrame:
    """Return a row per cell type and state that occur together."""
    types, states, samples = cells.cell_types, cells.states, cells.samples
    rows = []
    for t, name in enumerate(types.names):
        mine = (types.codes == t) & (states.codes >= 0) & (samples.codes >= 0)
        signature = trained.signatures.get(t)
        for c in np.unique(states.codes[mine]):
            of_state = mine & (states.codes == c)
            learned = signature is not None and c in signature.states
            note = trained.skipped.get(t, "" if learned else f"fewer than {options.min_cells} cells")
            if trained.single.get(t) == c:
                note = "the only state: known by its mean profile"
            n_features = 2 * len(signature.genes) if learned and signature is not None else 0
            n_samples = len(np.unique(samples.codes[of_state]))
            rows.append((name, states.names[c], int(of_state.sum()), n_samples, n_features, note))
    return pd.DataFrame(rows, columns=["cell_type", "state", "n_cells", "n_samples", "n_features", "note"])
