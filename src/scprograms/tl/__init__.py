"""Tools: factorize a screen, and find out what its programs respond to and what they are about."""

from __future__ import annotations

from ._anova import program_anova
from ._enrichment import program_enrichment
from ._semi_nmf import semi_nmf

__all__ = ["program_anova", "program_enrichment", "semi_nmf"]
