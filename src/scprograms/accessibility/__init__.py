"""Chromatin accessibility predicted from gene expression."""

from __future__ import annotations

from ._predict_accessibility import predict_accessibility
from ._train_accessibility import train_accessibility
from .engine import (
    CANDIDATES,
    AccessibilityModel,
    Evaluation,
    Split,
    average_precision,
    average_precision_of_columns,
    distance_weights,
    evaluate,
    fisher_test,
    moments,
    most_variable,
    odds_ratio_within_peaks,
    split_cells,
    untied_precision,
)

__all__ = [
    "CANDIDATES",
    "AccessibilityModel",
    "Evaluation",
    "Split",
    "average_precision",
    "average_precision_of_columns",
    "distance_weights",
    "evaluate",
    "fisher_test",
    "moments",
    "most_variable",
    "odds_ratio_within_peaks",
    "predict_accessibility",
    "split_cells",
    "train_accessibility",
    "untied_precision",
]
