"""What a test says of a model, in tables and in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scprograms._anndata import slot_names
from scprograms._core.validate import warn

from .engine import AccessibilityModel, evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = {"mean": "the mean of each peak", "ridge": "ridge regression", "knn": "kNN", "network": "the network"}
_RESAMPLES = 100


def make_report(
    model: AccessibilityModel,
    matrix: Any,
    observed: np.ndarray,
    params: Mapping[str, Any],
    cell_names: pd.Index,
    *,
    peaks: np.ndarray | None = None,
) -> dict[str, Any]:
    """Return the entry of ``.uns``; it warns where a simpler model does better, or none does better than the mean."""
    order = np.arange(len(model.peaks_)) if peaks is None else peaks
    thresholds: dict[Any, float] = model.validation_["threshold"].to_dict()
    found = evaluate(
        observed,
        {name: model.predict_proba(matrix, model=name)[:, order].astype(np.float64) for name in model.candidates_},
        thresholds=thresholds,
        training_mean=model.training_mean_[order],
        n_resamples=_RESAMPLES,
        random_state=model.random_state,
    )
    peak_names = pd.Index(np.asarray(model.peaks_, dtype=object)[order])
    tables = {
        **{name: getattr(found, name) for name in ("models", "calibration", "confusion", "curves")},
        "peaks": found.peaks.set_axis(peak_names, axis=0),
        "cells": found.cells.set_axis(cell_names.astype(str), axis=0),
        "validation": model.validation_,
        slot_names.HISTORY: model.history_.reset_index(drop=True).astype(float),
    }
    summary, beaten = _sentences(found.models, model)
    if beaten:
        warn(beaten)
    return {
        slot_names.PARAMS: dict(params),
        slot_names.ACCESSIBILITY_CHOSEN: model.model_,
        slot_names.ACCESSIBILITY_SUMMARY: summary,
        **tables,
    }


def _sentences(models: pd.DataFrame, model: AccessibilityModel) -> tuple[str, str]:
    """Return what is to be said, and of it what is to be warned of."""
    name, table = model.model_, models["pr_auc"]
    row = models.loc[name]
    others = table.drop(index=name)
    parts = [
        f"PR-AUC of {NAMES[name]} on the test cells is {row['pr_auc']:.3f} (95 % interval {row['low']:.3f} to "
        f"{row['high']:.3f}); " + "".join(f"{NAMES[str(other)]} has {value:.3f}, " for other, value in others.items())
        + f"and a random order {row['prevalence']:.3f}."
    ]  # fmt: skip
    if model.model == "auto":
        why = "the best on the validation cells"
        if model.validation_["behind"].loc[name] > 0:
            why = "the simplest of those that the validation cells cannot tell from the best"
        parts.append(f"model='auto' took {NAMES[name]}: {why}.")
    warned = ""
    best = str(others.idxmax()) if len(others) else name
    if name != "mean" and row["gain_low"] <= 0:
        warned = f"{NAMES[name]} cannot be told from the mean of each peak (gain {row['gain']:+.3f}, interval from " \
                 f"{row['gain_low']:+.3f} to {row['gain_high']:+.3f})."  # fmt: skip
    elif len(others) and others[best] > row["pr_auc"] and model.model != "auto":
        warned = f"{NAMES[best]} does better than {NAMES[name]} on the test cells: {others[best]:.3f} against " \
                 f"{row['pr_auc']:.3f}. model='auto' chooses on the validation cells."  # fmt: skip
    if warned:
        warned = warned if warned.startswith("kNN") else warned[0].upper() + warned[1:]
        parts.append(warned)
    return " ".join(parts), warned
