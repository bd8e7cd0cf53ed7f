"""Feature scores and assignment to modules, on arrays."""

from __future__ import annotations

from ._feature_scores import Concentration, FeatureScores, concentration, feature_scores, module_scales
from ._modules import ModuleAssignment, assign_features, shared_modules

__all__ = [
    "Concentration",
    "FeatureScores",
    "ModuleAssignment",
    "assign_features",
    "concentration",
    "feature_scores",
    "module_scales",
    "shared_modules",
]
