"""Figures of the tables in :mod:`scprograms.get`."""

from __future__ import annotations

from .accessibility.figures import accessibility_report, precision_recall
from .embeddings.figures import embedding_comparison, embedding_maps, training_history
from .enrichment.figures import enrichment_dotplot
from .modules.figures import feature_score, module_heatmap, module_map
from .perturbation.figures import calibration, effects_clustermap, effects_dotplot, program_boxplot, volcano
from .programs.figures import (
    consensus,
    convergence,
    loading_clustermap,
    loading_heatmap,
    program_similarity,
    rank_sweep,
    usage_heatmap,
)
from .states.figures import recovery_confusion, recovery_signatures, state_map

__all__ = [
    "accessibility_report",
    "calibration",
    "consensus",
    "convergence",
    "effects_clustermap",
    "effects_dotplot",
    "embedding_comparison",
    "embedding_maps",
    "enrichment_dotplot",
    "feature_score",
    "loading_clustermap",
    "loading_heatmap",
    "module_heatmap",
    "module_map",
    "precision_recall",
    "program_boxplot",
    "program_similarity",
    "rank_sweep",
    "recovery_confusion",
    "recovery_signatures",
    "state_map",
    "training_history",
    "usage_heatmap",
    "volcano",
]
