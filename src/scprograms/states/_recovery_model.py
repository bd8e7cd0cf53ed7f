"""A recovery model: the states of cell types, learned once, and its file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scprograms._core.validate import check_has_key, listing

from . import _recovery_file
from .engine import Calibration, Draws, Trained, calibrate
from .store import read_model, write_model

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from .engine import HeldOut


@dataclass(frozen=True, repr=False, eq=False)
class RecoveryModel:
    """Signatures of the states of each cell type, with thresholds below which a cell is in none of them.

    Made by :func:`scprograms.tl.train_recovery`, and used by :func:`scprograms.tl.recover_states`.

    Attributes
    ----------
    cell_types
        Names of the cell types whose states are known.
    states
        Names of the states of each of them. A type with one state has no signature, but a threshold.
    summary
        Table, a row per cell type and state of the training data: ``cell_type, state, n_cells, n_samples``,
        ``n_features`` (0 where the state was not learned) and ``note``, which says why.
    thresholds
        Table ``cell_type, state, threshold, n_held_out``: the score below which a cell is not in the state, and the
        number of held-out cells that it comes from.
    params
        Arguments of the training, and counts of the cells that were used and not.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_states(600, 400, n_samples=3, n_cell_types=2)
    >>> model = scp.tl.train_recovery(adata, "state", "cell_type", sample_key="sample")
    >>> model.cell_types, model.states["type_0"]
    (['type_0', 'type_1'], ['state_0', 'state_1', 'state_2'])
    """

    genes: list[str]
    """Names of the genes of the training data, in its order."""
    type_names: list[str]
    """All cell types of the training data, also those without signatures."""
    state_names: list[str]
    """All states of the training data."""
    trained: Trained
    """Its columns are ``genes``."""
    held_out: HeldOut
    """Its cells are numbered among the labelled ones; ``held_out_types`` has their types."""
    held_out_types: np.ndarray
    """Cell type of each labelled cell."""
    summary: pd.DataFrame
    params: Mapping[str, Any]
    calibration: Calibration = field(init=False)
    """Thresholds, and the scores that new cells are ranked among."""

    def __post_init__(self) -> None:
        found = calibrate(self.held_out, self.held_out_types, self.trained, float(self.params["confidence"]))
        object.__setattr__(self, "calibration", found)

    def __repr__(self) -> str:
        n_states = sum(map(len, self.states.values()))
        return (
            f"RecoveryModel of {len(self.cell_types)} cell types with {n_states} states, from {len(self.genes)} genes"
        )

    @property
    def cell_types(self) -> list[str]:
        return [self.type_names[t] for t in self.trained.states]

    @property
    def states(self) -> dict[str, list[str]]:
        return {self.type_names[t]: [self.state_names[c] for c in states] for t, states in self.trained.states.items()}

    @property
    def thresholds(self) -> pd.DataFrame:
        return _recovery_file.thresholds(self)

    def signature(self, cell_type: str) -> pd.DataFrame:
        """Return the signature of a cell type.

        Parameters
        ----------
        cell_type
            One of ``cell_types``.

        Returns
        -------
        Features x states: the mean, over runs, of the mean positive part (rows such as ``CD3E__pos``), or of the mean
        negative part with its sign turned (``CD3E__neg``), of a gene's z-scores in the cells of a state.

        Raises
        ------
        KeyError
            There is no such cell type.
        """
        return self._features(cell_type, "W")

    def spread(self, cell_type: str) -> pd.DataFrame:
        """Return the standard deviations, over runs, of the signature of a cell type: features x states.

        Parameters
        ----------
        cell_type
            One of ``cell_types``.

        Raises
        ------
        KeyError
            There is no such cell type.
        """
        return self._features(cell_type, "spread")

    def _features(self, cell_type: str, what: str) -> pd.DataFrame:
        known = {self.type_names[t]: None for t in self.trained.signatures}
        check_has_key(known, cell_type, where="model.cell_types", hint=self._why_not(cell_type))
        found = self.trained.signatures[self.type_names.index(cell_type)]
        features = _recovery_file.feature_names([self.genes[j] for j in found.genes])
        return pd.DataFrame(getattr(found, what).copy(), index=features, columns=self.states[cell_type])

    def _why_not(self, cell_type: object) -> str:
        if cell_type not in self.type_names:
            return ""
        t = self.type_names.index(str(cell_type))
        if t in self.trained.single:
            return f"{cell_type!r} has one state, and so no signature, which is what sets states apart."
        reason = self.trained.skipped.get(t)
        return f"{cell_type!r} was left out: {reason}." if reason else ""

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the model as h5ad: states x features, with tables in ``.uns``; whole or not at all.

        Parameters
        ----------
        path
            Ends in ``.h5ad``. A file there is replaced.

        Raises
        ------
        ValueError
            The path does not end in ``.h5ad``.
        FileNotFoundError
            There is no such folder.
        """
        write_model(path, _recovery_file.to_file(self))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> RecoveryModel:
        """Read a model that was written by :meth:`write`.

        Parameters
        ----------
        path
            The file.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            It is no recovery model, or one of another version.
        """
        return cls(**_recovery_file.from_file(read_model(path)))

    @classmethod
    def aggregate(cls, models: Sequence[RecoveryModel]) -> RecoveryModel:
        """Put models of some runs each together: the result is that of one training with all of these runs.

        Parameters
        ----------
        models
            Models of the same data and arguments, trained with different ``runs``.

        Raises
        ------
        ValueError
            There is no model, one was not trained with ``runs``, they are not of the same data and arguments, or have a
            run in common.
        """
        models = list(models)
        _check_parts(models)
        first = models[0]
        draws: dict[int, Draws] = {}
        for t, own in first.trained.draws.items():
            index = np.concatenate([model.trained.draws[t].index for model in models])
            order = np.argsort(index)
            runs = np.concatenate([model.trained.draws[t].runs for model in models])[order]
            draws[t] = Draws(own.states, own.genes, index[order], runs, own.effects, own.center, own.scale)
        return _from_draws(first, draws)


def _from_draws(model: RecoveryModel, draws: dict[int, Draws]) -> RecoveryModel:
    """Return the model with the signatures that these runs give; the runs themselves are not kept."""
    n_per_state = int(model.params["n_features_per_state"])
    signatures = {t: found for t, part in draws.items() if (found := part.signature(n_per_state)) is not None}
    lost = {t: "no gene that sets its states apart" for t in draws if t not in signatures}
    trained = replace(model.trained, signatures=signatures, skipped={**model.trained.skipped, **lost}, draws={})
    genes, trained = _recovery_file.keep_used_genes(model.genes, trained)
    summary = model.summary.copy()
    n_features = {model.type_names[t]: 2 * len(signature.genes) for t, signature in signatures.items()}
    learned = summary["n_features"].to_numpy() > 0
    summary["n_features"] = np.where(learned, summary["cell_type"].astype(str).map(n_features).fillna(0), 0).astype(int)
    return replace(model, genes=genes, trained=trained, summary=summary)


def _check_parts(models: list[RecoveryModel]) -> None:
    if not models:
        msg = "models is empty: pass the models of some runs each."
        raise ValueError(msg)
    for i, model in enumerate(models):
        if not isinstance(model, RecoveryModel):
            msg = f"models[{i}] is a {type(model).__name__}; pass models that train_recovery(..., runs=...) returned."
            raise TypeError(msg)
        if not model.trained.draws:
            msg = f"models[{i}] was trained without runs=, and keeps none: train it with runs=[0, 1], for example."
            raise ValueError(msg)
        if different := _recovery_file.first_difference(models[0], model):
            msg = f"models[0] and models[{i}] differ in {different}: all runs need the same data and arguments."
            raise ValueError(msg)
    all_runs = np.concatenate([next(iter(model.trained.draws.values())).index for model in models])
    runs, counts = np.unique(all_runs, return_counts=True)
    if (counts > 1).any():
        msg = f"Several models have run {listing(runs[counts > 1])}: a run counts once. Pass each of them once."
        raise ValueError(msg)
