"""Tools: factorize a screen, and find out what its programs respond to and what they are about."""

from __future__ import annotations

from ._annotate import annotate_programs
from ._anova import program_anova
from ._calibrate import calibrate
from ._consensus import consensus
from ._effects import perturbation_effects
from ._enrichment import program_enrichment
from ._match import match_programs
from ._nmf import nmf
from ._onmf import onmf
from ._project import project
from ._rank_sweep import rank_sweep
from ._semi_nmf import semi_nmf

__all__ = [
    "annotate_programs",
    "calibrate",
    "consensus",
    "match_programs",
    "nmf",
    "onmf",
    "perturbation_effects",
    "program_anova",
    "program_enrichment",
    "project",
    "rank_sweep",
    "semi_nmf",
]
