"""Expression in, probabilities of accessibility out: candidates are fitted, and one is chosen on validation cells."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ._baselines import Neighbours, PeakMean, Ridge, components, neighbour_numbers, ridge_path
from ._genes import GeneScaler
from ._model_file import ModelState, read_state, write_state
from ._nearby import LocalTerm, input_weights
from ._network import Network, check_torch, train
from ._precision_recall import Ranking, resampled_precisions, untied_precision
from ._probability import calibrated, fit_calibration

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from scprograms._core.matrix import Array, Matrix

    from ._split import Split

logger = logging.getLogger("scprograms")

CANDIDATES = ("mean", "ridge", "knn", "network")
"""From the simplest to the most complex."""
_RESAMPLES = 50

Predictor = PeakMean | Ridge | Neighbours | Network


class AccessibilityModel:
    """Predict which peaks are open in a cell from the expression of its genes.

    Genes are z-scored by the training cells. Whatever model is asked for, the mean of each peak, ridge regression on
    principal components, and nearest cells are fitted as well, to be compared with. Settings, and the epoch of the
    network, are those of the highest PR-AUC (average precision over all entries, equal scores in random order, lest
    noise do better than ties) on the validation cells; so is the
    model with ``"auto"``, but of models that resampling the validation cells cannot tell apart (by one standard error
    of the difference from the best) it is the simplest. On the validation cells, scores are turned into probabilities
    by a logistic regression on their logits, and the threshold of the highest F1 is chosen.

    Parameters
    ----------
    model
        ``"mean"``, ``"ridge"``, ``"knn"``, ``"network"``, or ``"auto"``. Only the network needs torch to be
        fitted; none needs it to predict. ``"auto"`` without torch chooses among the others.
    n_components
        Principal components for ridge regression and nearest cells.
    max_value
        Z-scores above are lowered to it.
    gene_boost
        With distances between genes and peaks: a gene at a target peak weighs 1 + so much in the input.
    settings
        Of the network: ``hidden, dropout, normalization, optimizer, learning_rate, weight_decay, averaging, epochs,
        batch_size, patience, focal_weight, dice_weight, alpha, gamma, device, n_jobs``.
    random_state
        Seed.

    Attributes
    ----------
    model_
        The model that predicts.
    candidates_
        All that were fitted, by name.
    validation_
        Table, a row per candidate: ``pr_auc`` on the validation cells, and ``behind``, the mean difference from the
        best, with its standard error ``se``; the chosen ``setting``, the ``slope`` and ``intercept`` of the
        probabilities, and the ``threshold``.
    history_
        Table of the epochs of the network; empty without.
    genes_, peaks_
        Names.

    References
    ----------
    Breiman et al. (1984), Classification and regression trees, https://doi.org/10.1201/9781315139470: the rule of one
    standard error.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.accessibility.engine import AccessibilityModel, split_cells
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((300, 20))
    >>> Y = rng.random((300, 8)) < 1 / (1 + np.exp(2 - 2 * X[:, :8]))
    >>> model = AccessibilityModel("ridge", n_components=19).fit(X, Y, split_cells(300))
    >>> model.predict_proba(X[:2]).shape
    (2, 8)
    """

    def __init__(
        self,
        model: str = "auto",
        *,
        n_components: int = 50,
        max_value: float = 10.0,
        gene_boost: float = 1.0,
        settings: dict[str, Any] | None = None,
        random_state: int = 0,
    ) -> None:
        if model not in (*CANDIDATES, "auto"):
            msg = f"model={model!r} is not known. Choose one of 'auto', {', '.join(map(repr, CANDIDATES))}."
            raise ValueError(msg)
        self.model = model
        self.n_components, self.max_value, self.gene_boost = n_components, max_value, gene_boost
        self.settings = dict(settings or {})
        self.random_state = random_state

    def fit(
        self,
        X: Matrix,
        Y: Array,
        split: Split,
        *,
        genes: Sequence[str] | None = None,
        peaks: Sequence[str] | None = None,
        near: Any = None,
        progress: bool = False,
    ) -> AccessibilityModel:
        """Fit the candidates, and choose.

        Parameters
        ----------
        X
            Cells x genes, log-normalised; CSR or array.
        Y
            Cells x peaks, boolean.
        split
            Which cells to fit and to choose on. Cells to test on are not looked at.
        genes, peaks
            Names; numbers by default.
        near
            Genes x peaks, CSC: weights by distance, as of :func:`distance_weights`. None leaves distances out.
        progress
            Whether to show the epochs of the network.
        """
        Y = np.asarray(Y, dtype=bool)
        self.genes_ = list(genes) if genes is not None else [str(i) for i in range(X.shape[1])]
        self.peaks_ = list(peaks) if peaks is not None else [str(i) for i in range(Y.shape[1])]
        training, validation = split.train, split.validation
        for name, cells in (("training", training), ("validation", validation)):
            if not Y[cells].any():
                msg = f"No target peak is accessible in the {len(cells)} {name} cells: nothing can be learned of them."
                raise ValueError(msg)
        weight = None if near is None else input_weights(near, boost=self.gene_boost)
        scaler = GeneScaler.fit(X[training], max_value=self.max_value, weight=weight)
        clipped = scaler.clip(X)
        self._scaler = scaler
        self._local = None if near is None else LocalTerm.fit(near, scaler, clipped[training])
        self.history_ = pd.DataFrame(columns=["epoch", "loss", "validation_loss", "validation_pr_auc"])
        self.candidates_: dict[str, Predictor] = {"mean": PeakMean(Y[training].mean(axis=0))}
        chosen = {"mean": ""}
        if scaler.weight.any():
            axes, places = components(scaler, clipped[training], self.n_components)
            self._fit_ridge(axes, places, clipped, Y, split, chosen)
            self._fit_neighbours(axes, places, clipped, Y, split, chosen)
        elif self.model not in ("mean", "auto"):
            msg = f"No gene varies over the training cells: model={self.model!r} has nothing to predict from."
            raise ValueError(msg)
        if self._wants_network() and scaler.weight.any():
            network, history = train(
                scaler,
                clipped,
                Y,
                (training, validation),
                local=self._local,
                settings={**self.settings, "random_state": self.random_state},
                progress=progress,
            )
            self.candidates_["network"] = network
            self.history_ = pd.DataFrame(history)
            best = int(self.history_["validation_pr_auc"].to_numpy().argmax())
            chosen["network"] = f"epoch {self.history_['epoch'].iloc[best]}"
        self._choose(clipped[validation], Y[validation], chosen)
        return self

    def _wants_network(self) -> bool:
        if self.model == "network":
            check_torch()
            return True
        if self.model != "auto":
            return False
        try:
            check_torch()
        except ImportError:
            logger.info('torch is not installed, so the network was left out: pip install "scprograms[deep]".')
            return False
        return True

    def _near(self, clipped: Matrix) -> Array | None:
        return None if self._local is None else self._local.of(self._scaler, clipped)

    def _fit_ridge(
        self, axes: Array, places: Array, clipped: Matrix, Y: Array, split: Split, chosen: dict[str, str]
    ) -> None:
        there, near = clipped[split.validation], self._near(clipped[split.validation])
        path = list(ridge_path(self._scaler, axes, places, Y[split.train].astype(np.float64), self._local))
        reached = [untied_precision(Y[split.validation], ridge.scores(there, near)) for ridge in path]
        best = path[len(path) - 1 - int(np.argmax(reached[::-1]))]  # of equals, the largest penalty
        self.candidates_["ridge"] = best
        chosen["ridge"] = f"penalty {best.penalty:g}"

    def _fit_neighbours(
        self, axes: Array, places: Array, clipped: Matrix, Y: Array, split: Split, chosen: dict[str, str]
    ) -> None:
        numbers = neighbour_numbers(len(split.train))
        mean = Y[split.train].mean(axis=0)
        models = [Neighbours(self._scaler, axes, mean, places, Y[split.train], n) for n in numbers]
        nearest = models[0].nearest(clipped[split.validation], numbers[-1])
        reached = [untied_precision(Y[split.validation], models[0].at(nearest, n)) for n in numbers]
        best = models[len(models) - 1 - int(np.argmax(reached[::-1]))]
        self.candidates_["knn"] = best
        chosen["knn"] = f"{best.n_neighbours} neighbours"

    def _choose(self, clipped: Matrix, Y: Array, setting: dict[str, str]) -> None:
        near = self._near(clipped)
        scores = {name: predictor.scores(clipped, near) for name, predictor in self.candidates_.items()}
        pr_auc = {name: untied_precision(Y, values) for name, values in scores.items()}
        best = max(pr_auc, key=lambda name: pr_auc[name])
        drawn = resampled_precisions(Y, scores, n_resamples=_RESAMPLES, random_state=self.random_state).dropna()
        rows, simplest = [], best
        for name in reversed(list(scores)):
            behind = drawn[best] - drawn[name]
            se = float(behind.std()) if len(behind) > 1 else float("inf")
            if pr_auc[best] - pr_auc[name] <= se:
                simplest = name
            slope, intercept = fit_calibration(Y, scores[name])
            threshold = Ranking(Y, calibrated(scores[name], slope, intercept)).best_f1()
            rows.append(
                {
                    "model": name,
                    "pr_auc": pr_auc[name],
                    "behind": pr_auc[best] - pr_auc[name],
                    "se": se,
                    "setting": setting[name],
                    "slope": slope,
                    "intercept": intercept,
                    "threshold": threshold,
                }
            )
        self.validation_ = pd.DataFrame(rows[::-1]).set_index("model")
        self.model_ = simplest if self.model == "auto" else self.model

    @property
    def threshold_(self) -> float:
        """Probability from which on the model calls a peak open."""
        return float(self.validation_["threshold"].loc[self.model_])

    def predict_proba(self, X: Matrix, *, model: str | None = None) -> Array:
        """Return the probability that each peak is open in each cell, cells x peaks, float32.

        Parameters
        ----------
        X
            Cells x genes, in the order and on the scale of those it was fitted with.
        model
            One of the candidates, in place of the chosen one. A model that was read from a file has the chosen one and
            the mean.
        """
        name = model or self.model_
        if name not in self.candidates_:
            msg = f"model={name!r} was not fitted or not kept. There: {', '.join(map(repr, self.candidates_))}."
            raise ValueError(msg)
        if X.shape[1] != len(self.genes_):
            msg = f"X has {X.shape[1]} genes; the model was fitted with {len(self.genes_)}."
            raise ValueError(msg)
        clipped = self._scaler.clip(X)
        row = self.validation_.loc[name]
        scores = self.candidates_[name].scores(clipped, self._near(clipped))
        return calibrated(scores, float(row["slope"]), float(row["intercept"])).astype(np.float32)

    def predict(self, X: Matrix) -> Array:
        """Return whether each peak is called open in each cell, boolean, cells x peaks.

        Parameters
        ----------
        X
            Cells x genes, in the order and on the scale of those it was fitted with.
        """
        return np.asarray(self.predict_proba(X) >= np.float32(self.threshold_))

    @property
    def gene_means_(self) -> Array:
        """Mean of each gene over the training cells."""
        return self._scaler.mean

    @property
    def training_mean_(self) -> Array:
        """Share of the training cells in which each peak is accessible."""
        mean = self.candidates_["mean"]
        return np.asarray(getattr(mean, "mean"))  # noqa: B009  every candidate but the network has one

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the chosen model, and the mean of each peak, to a file; an older file stays whole until it is done.

        Parameters
        ----------
        path
            An archive of arrays (npz) and of JSON, without anything that is executed when it is read.
        """
        if not hasattr(self, "model_"):
            msg = "This model was not fitted: there is nothing to write. Call fit first."
            raise ValueError(msg)
        settings = {name: list(v) if isinstance(v, tuple) else v for name, v in self.settings.items()}
        names = ("model", "n_components", "max_value", "gene_boost", "random_state")
        state = ModelState(
            init={**{name: getattr(self, name) for name in names}, "settings": settings},
            chosen=self.model_,
            genes=self.genes_,
            peaks=self.peaks_,
            validation=self.validation_,
            history=self.history_,
            scaler=self._scaler,
            local=self._local,
            candidates=self.candidates_,
        )
        write_state(state, path)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> AccessibilityModel:
        """Return a model that :meth:`write` wrote; it predicts the same numbers, bit for bit.

        Parameters
        ----------
        path
            The file.
        """
        state = read_state(path)
        model = cls(**state.init)
        model.model_, model.genes_, model.peaks_ = state.chosen, state.genes, state.peaks
        model.validation_, model.history_, model.candidates_ = state.validation, state.history, state.candidates
        model._scaler, model._local = state.scaler, state.local
        return model
