"""Results as tidy tables, and programs as an AnnData that every scanpy plot accepts."""

from __future__ import annotations

from ._anndata.cell_groups import colors, labels
from ._anndata.coordinates import coordinates
from .accessibility.tables import accessibility
from .embeddings.tables import embedding_comparison, embedding_map, training_history
from .enrichment.tables import enrichment
from .modules.tables import module_profiles, module_tradeoff, modules
from .perturbation.tables import anova, calibration, effects
from .programs.tables import (
    consensus,
    consensus_similarity,
    history,
    loadings,
    program_similarity,
    programs,
    rank_sweep,
    top_genes,
    usages,
)
from .states.tables import discovered_states, recovered_states, recovery_confusion, recovery_signatures, recovery_states

__all__ = [
    "accessibility",
    "anova",
    "calibration",
    "colors",
    "consensus",
    "consensus_similarity",
    "coordinates",
    "discovered_states",
    "effects",
    "embedding_comparison",
    "embedding_map",
    "enrichment",
    "history",
    "labels",
    "loadings",
    "module_profiles",
    "module_tradeoff",
    "modules",
    "program_similarity",
    "programs",
    "rank_sweep",
    "recovered_states",
    "recovery_confusion",
    "recovery_signatures",
    "recovery_states",
    "top_genes",
    "training_history",
    "usages",
]
