"""Deprecated alias: the engines live in the folders of their systems."""

from __future__ import annotations

import warnings

from .programs.engine import (
    NMF,
    Consensus,
    Init,
    OrthogonalNMF,
    ProgramEstimator,
    Projection,
    RankCurves,
    SemiNMF,
    consensus_programs,
    pooled_similarity,
    project_usages,
    sweep_ranks,
)

__all__ = [
    "NMF",
    "Consensus",
    "Init",
    "OrthogonalNMF",
    "ProgramEstimator",
    "Projection",
    "RankCurves",
    "SemiNMF",
    "consensus_programs",
    "pooled_similarity",
    "project_usages",
    "sweep_ranks",
]

warnings.warn(
    "scprograms.factorization is deprecated: import from scprograms.programs.engine.",
    DeprecationWarning,
    stacklevel=2,
)
