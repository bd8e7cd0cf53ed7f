"""Tools: factorize a screen, and find out what its programs respond to and what they are about."""

from __future__ import annotations

from ._annotate import annotate_programs
from ._anova import program_anova
from ._calibrate import calibrate
from ._consensus import consensus
from ._effects import perturbation_effects
from ._enrichment import program_enrichment
from ._feature_score import feature_score
from ._match import match_programs
from ._module_tradeoff import module_tradeoff
from ._modules import assign_modules
from ._nmf import nmf
from ._onmf import onmf
from ._project import project
from ._rank_sweep import rank_sweep
from ._semi_nmf import semi_nmf

__all__ = [
    "annotate_programs",
    "assign_modules",
    "calibrate",
    "consensus",
    "feature_score",
    "match_programs",
    "module_tradeoff",
    "nmf",
    "onmf",
    "perturbation_effects",
    "program_anova",
    "program_enrichment",
    "project",
    "rank_sweep",
    "semi_nmf",
]
