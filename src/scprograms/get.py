"""Results as tidy tables, and programs as an AnnData that every scanpy plot accepts."""

from __future__ import annotations

from ._accessibility import accessibility
from ._calibration import calibration
from ._consensus import consensus, consensus_similarity
from ._coordinates import coordinates
from ._effects import effects
from ._embeddings import embedding_comparison, embedding_map, training_history
from ._factors import history, loadings, programs, top_genes, usages
from ._groups import colors, labels
from ._module_tradeoff import module_tradeoff
from ._modules import module_profiles, modules
from ._rank_sweep import rank_sweep
from ._signatures import recovery_signatures
from ._similarity import program_similarity
from ._states import discovered_states, recovered_states, recovery_confusion, recovery_states
from ._tests import anova, enrichment

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
