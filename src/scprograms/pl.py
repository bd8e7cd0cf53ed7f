"""Pictures: every function draws what :mod:`scprograms.get` returns."""

from __future__ import annotations

from ._accessibility import accessibility_report, precision_recall
from ._calibration import calibration
from ._consensus import consensus
from ._convergence import convergence
from ._dotplot import enrichment_dotplot
from ._effects_clustermap import effects_clustermap
from ._effects_dotplot import effects_dotplot
from ._embeddings import embedding_comparison, embedding_maps, training_history
from ._groups import program_boxplot, usage_heatmap
from ._loadings import loading_clustermap, loading_heatmap
from ._module_heatmap import module_heatmap
from ._modules import feature_score, module_map
from ._rank_sweep import rank_sweep
from ._recovery_confusion import recovery_confusion
from ._recovery_signatures import recovery_signatures
from ._similarity import program_similarity
from ._state_map import state_map
from ._volcano import volcano

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
