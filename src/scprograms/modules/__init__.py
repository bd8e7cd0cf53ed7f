"""Modules of genomic features: pseudo-bulk, feature scores, assignment."""

from __future__ import annotations

from ._feature_score import feature_score
from ._module_tradeoff import module_tradeoff
from ._modules import assign_modules
from ._pseudobulk import pseudobulk

__all__ = ["assign_modules", "feature_score", "module_tradeoff", "pseudobulk"]
