"""Tools: factorize a screen, and find out what its programs respond to and what they are about."""

from __future__ import annotations

from ._annotate import annotate_programs
from ._anova import program_anova
from ._autoencoder import autoencoder
from ._calibrate import calibrate
from ._compare_embeddings import compare_embeddings
from ._consensus import consensus
from ._cross_validate_recovery import cross_validate_recovery
from ._discover_states import discover_states
from ._effects import perturbation_effects
from ._encode import encode
from ._enrichment import program_enrichment
from ._feature_score import feature_score
from ._match import match_programs
from ._module_tradeoff import module_tradeoff
from ._modules import assign_modules
from ._nmf import nmf
from ._onmf import onmf
from ._predict_accessibility import predict_accessibility
from ._project import project
from ._rank_sweep import rank_sweep
from ._recover_states import recover_states
from ._recovery_model import RecoveryModel
from ._semi_nmf import semi_nmf
from ._smooth_embedding import smooth_embedding
from ._train_accessibility import train_accessibility
from ._train_recovery import train_recovery

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
