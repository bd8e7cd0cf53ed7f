"""``tl.cross_validate_recovery``: which states are found in samples that were not trained on."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from scprograms._anndata import slot_names
from scprograms._anndata.matrix import check_adata, read_gene_names
from scprograms._core.threads import threads
from scprograms._core.validate import ProgramsWarning, check_choice, check_name, check_real, warn
from scprograms._core.workers import spread

from ._labelled_cells import LabelledCells, read_labelled
from ._recover_states import accept
from ._train_recovery import check_confidence, fit_model, read_options
from .engine import LOSSES, Loss, TrainingOptions, recover
from .store import write_validation

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

logger = logging.getLogger("scprograms")


def cross_validate_recovery(
    adata: AnnData,
    state_key: str,
    cell_type_key: str,
    *,
    sample_key: str,
    layer: str | None = None,
    n_features: int = 300,
    n_features_per_state: int = 50,
    n_cells: int = 2500,
    n_runs: int = 50,
    rank_genes_by: Literal["states", "variance"] = "states",
    min_cells: int = 5,
    confidence: float = 0.95,
    min_score: float | None = None,
    loss: Literal["kl", "frobenius"] = "kl",
    min_f1_margin: float = 0.1,
    random_state: int = 0,
    key_added: str = "recovery",
    n_jobs: int | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Leave out one sample at a time, train on all others, and compare the states found in it with its labels.

    Thresholds are calibrated within the samples that are trained on, so that the sample left out has no part in
    anything.

    Parameters
    ----------
    adata, state_key, cell_type_key, sample_key, layer
        As in :func:`scprograms.tl.train_recovery`; two samples or more.
    n_features, n_features_per_state, n_cells, n_runs, rank_genes_by, min_cells, confidence, random_state
        As in :func:`scprograms.tl.train_recovery`.
    min_score, loss
        As in :func:`scprograms.tl.recover_states`.
    min_f1_margin
        A state is recoverable if its F1 exceeds, by more than this, what its cells score as any other state: see
        ``recoverable`` below.
    key_added
        Name of the entry in ``.uns``.
    n_jobs
        Number of threads, or of processes from 50,000 cells on; ``None`` means all threads. It does not change the
        result. Workers of an active ``dask.distributed`` client share the samples.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the changed copy with ``copy=True``. Written are:

    ``.uns["{key_added}"]["confusion"]``
        Table ``cell_type, state, predicted, n_cells``: labelled cells of all samples, as often as they were found in
        each state of their type, or in none ("non-state").
    ``.uns["{key_added}"]["states"]``
        Table ``cell_type, state, n_cells, precision, recall, f1, recoverable``. Cells that were found in no state count
        against the recall. ``recoverable`` says whether F1 is the largest value in the row and column of the state in
        the table of F1 between labels and found states, by more than ``min_f1_margin``. NaN where a state could not be
        validated.
    ``.uns["{key_added}"]["validation_params"]``
        The arguments, the samples, ``n_validated`` and ``n_not_validated``: labelled cells that a model was there for,
        and those of types or samples with too few cells.

    Raises
    ------
    KeyError
        There is no such column or layer.
    TypeError
        ``adata`` is no AnnData in memory, or an argument has the wrong type.
    ValueError
        There is one sample, no training is possible without any of the samples, or as in
        :func:`scprograms.tl.train_recovery`.

    Warns
    -----
    ProgramsWarning
        Cells could not be validated.

    See Also
    --------
    scprograms.tl.train_recovery, scprograms.tl.recover_states

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_states(900, 400, n_samples=3, n_cell_types=2)
    >>> scp.tl.cross_validate_recovery(adata, "state", "cell_type", sample_key="sample")
    >>> bool(adata.uns["recovery"]["states"]["f1"].min() > 0.9)
    True
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
    min_f1_margin = check_real("min_f1_margin", min_f1_margin, at_least=0, at_most=1)
    if min_score is not None:
        min_score = check_real("min_score", min_score, at_least=0, at_most=1)
    check_choice("loss", loss, LOSSES)
    key_added = check_name("key_added", key_added)
    check_adata(adata)
    if not isinstance(sample_key, str):
        msg = f"sample_key={sample_key!r} is a {type(sample_key).__name__}; name the column of samples to leave out."
        raise TypeError(msg)
    genes = read_gene_names(adata)
    cells = read_labelled(adata, state_key, cell_type_key, sample_key=sample_key, layer=layer)
    if len(cells.samples.names) < 2:
        msg = (
            f"adata.obs[{sample_key!r}] has one sample, {cells.samples.names[0]!r}: none is left to train on when it "
            "is left out. Validate with two samples or more."
        )
        raise ValueError(msg)
    predicted = _predict(cells, genes, options, confidence=confidence, min_score=min_score, loss=loss, n_jobs=n_jobs)

    labelled = (cells.states.codes >= 0) & (cells.cell_types.codes >= 0) & (cells.samples.codes >= 0)
    validated = labelled & (predicted > _NOT_VALIDATED)
    n_lost = int((labelled & ~validated).sum())
    if n_lost:
        warn(
            f"{n_lost} of {int(labelled.sum())} labelled cells could not be validated: no state of their type could be "
            "learned without their sample, or the sample has too few cells of the type."
        )
    confusion = _confusion(cells, predicted, validated)
    states = _per_state(cells, confusion, labelled, min_f1_margin)
    params = {
        "state_key": state_key,
        "cell_type_key": cell_type_key,
        "sample_key": sample_key,
        **({} if layer is None else {"layer": layer}),
        **{name: value for name, value in vars(options).items() if name != "rank_by"},
        "rank_genes_by": options.rank_by,
        **({"confidence": confidence} if min_score is None else {"min_score": min_score}),
        "loss": loss,
        "min_f1_margin": min_f1_margin,
        "samples": np.array(cells.samples.names, dtype=object),
        "n_validated": int(validated.sum()),
        "n_not_validated": n_lost,
    }
    adata = adata.copy() if copy else adata
    write_validation(adata, key_added, confusion, states, params)
    logger.info("cross_validate_recovery: mean F1 %.3f over %d states.", states["f1"].mean(), len(states))
    return adata if copy else None


_NON_STATE, _NOT_VALIDATED = -1, -2
_WORTH_PROCESSES = 50_000
"""Cells from which on processes pay for their start."""


def _predict(
    cells: LabelledCells,
    genes: list[str],
    options: TrainingOptions,
    *,
    confidence: float,
    min_score: float | None,
    loss: Loss,
    n_jobs: int | None,
) -> NDArray:
    """Return the code of the state that each cell was found in; -1 for none, -2 where no model could tell."""
    predicted = np.full(len(cells.states.codes), _NOT_VALIDATED)
    settings = {"confidence": confidence, "min_score": min_score, "loss": loss}
    samples = range(len(cells.samples.names))
    tasks = [(cells, genes, options, settings, s) for s in samples]
    found = spread(_predict_sample, tasks, n_jobs=n_jobs, worth_processes=len(predicted) >= _WORTH_PROCESSES)
    for asked, states, _ in found:
        predicted[asked] = states
    why = [error for _, _, error in found if error]
    if why and (predicted == _NOT_VALIDATED).all():
        msg = f"No sample can be left out. {why[-1]}"
        raise ValueError(msg)
    return predicted


def _predict_sample(
    cells: LabelledCells,
    genes: list[str],
    options: TrainingOptions,
    settings: dict[str, Any],
    sample: int,
    *,
    n_jobs: int | None = None,
) -> tuple[NDArray, NDArray, str]:
    """Return the cells of a sample, what they were found in by a model of all others, and why there is no model."""
    asked = np.flatnonzero((cells.samples.codes == sample) & (cells.cell_types.codes >= 0))
    part = cells.subset(np.flatnonzero((cells.samples.codes != sample) & (cells.samples.codes >= 0)))
    predicted = np.full(len(asked), _NOT_VALIDATED)
    params = {"n_features_per_state": options.n_features_per_state, "confidence": settings["confidence"]}
    with threads(n_jobs):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ProgramsWarning)  # said once, of all samples together
                model = fit_model(part, genes, options, params=params)
        except ValueError as error:
            return asked, predicted, str(error)
        position = {gene: j for j, gene in enumerate(genes)}
        found = recover(
            cells.matrix[asked],
            cells.cell_types.codes[asked],
            cells.samples.codes[asked],
            model.trained,
            len(cells.states.names),
            columns=np.array([position[gene] for gene in model.genes]),
            loss=settings["loss"],
        )
    _, accepted = accept(found, cells.cell_types.codes[asked], model, settings["min_score"])
    looked = found.state >= 0
    predicted[looked] = np.where(accepted, found.state, _NON_STATE)[looked]
    return asked, predicted, ""


def _confusion(cells: LabelledCells, predicted: NDArray, validated: NDArray) -> pd.DataFrame:
    """Return ``cell_type, state, predicted, n_cells`` for every pair of states of a type, in the order of the names."""
    types, states = cells.cell_types, cells.states
    rows = []
    for t, name in enumerate(types.names):
        mine = validated & (types.codes == t)
        codes = np.unique(states.codes[(types.codes == t) & (states.codes >= 0)])
        if not mine.any():
            continue
        for c in codes:
            for given in [*codes, _NON_STATE]:
                n = int((mine & (states.codes == c) & (predicted == given)).sum())
                rows.append((name, states.names[c], slot_names.NON_STATE if given < 0 else states.names[given], n))
    return pd.DataFrame(rows, columns=["cell_type", "state", "predicted", "n_cells"])


def _per_state(cells: LabelledCells, confusion: pd.DataFrame, labelled: NDArray, least_margin: float) -> pd.DataFrame:
    """Return precision, recall and F1 of each state, and whether it is told from all others."""
    types, states = cells.cell_types, cells.states
    rows = []
    for t, name in enumerate(types.names):
        mine = labelled & (types.codes == t)
        codes = np.unique(states.codes[mine])
        names = [states.names[c] for c in codes]
        part = confusion[confusion["cell_type"] == name]
        table = (
            part.pivot_table(index="state", columns="predicted", values="n_cells", aggfunc="sum", observed=True)
            .reindex(index=names, columns=[*names, slot_names.NON_STATE])
            .to_numpy(dtype=np.float64)
        )
        n_true, n_given = table.sum(axis=1), table[:, :-1].sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            f1 = 2 * table[:, :-1] / (n_true[:, None] + n_given)
            precision, recall = np.diag(table) / n_given, np.diag(table) / n_true
        for i, c in enumerate(codes):
            rivals = np.concatenate([np.delete(f1[i], i), np.delete(f1[:, i], i)])
            margin = f1[i, i] - np.max(rivals, initial=0.0)
            rows.append(
                {
                    "cell_type": name,
                    "state": states.names[c],
                    "n_cells": int((mine & (states.codes == c)).sum()),
                    "precision": precision[i],
                    "recall": recall[i],
                    "f1": f1[i, i],
                    "recoverable": bool(margin > least_margin),
                }
            )
    return pd.DataFrame(rows, columns=["cell_type", "state", "n_cells", "precision", "recall", "f1", "recoverable"])
