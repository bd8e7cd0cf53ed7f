"""Models of accessibility given expression, and their evaluation, on arrays."""

from __future__ import annotations

from ._evaluation import Evaluation, evaluate, fisher_test, odds_ratio_within_peaks
from ._genes import moments, most_variable
from ._model import CANDIDATES, AccessibilityModel
from ._nearby import distance_weights
from ._precision_recall import average_precision, average_precision_of_columns, untied_precision
from ._split import Split, split_cells

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
    "split_cells",
    "untied_precision",
]
