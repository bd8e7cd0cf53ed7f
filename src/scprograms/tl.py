"""Tools: factorize a screen, and find out what its programs respond to and what they are about."""

from __future__ import annotations

from .accessibility import predict_accessibility, train_accessibility
from .embeddings import autoencoder, compare_embeddings, encode, smooth_embedding
from .enrichment import annotate_programs, program_enrichment
from .modules import assign_modules, feature_score, module_tradeoff
from .perturbation import calibrate, perturbation_effects, program_anova
from .programs import consensus, match_programs, nmf, onmf, project, rank_sweep, semi_nmf
from .states import RecoveryModel, cross_validate_recovery, discover_states, recover_states, train_recovery

__all__ = [
    "RecoveryModel",
    "annotate_programs",
    "assign_modules",
    "autoencoder",
    "calibrate",
    "compare_embeddings",
    "consensus",
    "cross_validate_recovery",
    "discover_states",
    "encode",
    "feature_score",
    "match_programs",
    "module_tradeoff",
    "nmf",
    "onmf",
    "perturbation_effects",
    "predict_accessibility",
    "program_anova",
    "program_enrichment",
    "project",
    "rank_sweep",
    "recover_states",
    "semi_nmf",
    "smooth_embedding",
    "train_accessibility",
    "train_recovery",
]
