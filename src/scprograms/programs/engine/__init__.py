"""Factorizations of arrays: semi-NMF, NMF, orthogonal NMF, consensus, rank, projection."""

from __future__ import annotations

from ._base import ProgramEstimator
from ._consensus import Consensus, consensus_programs, pooled_similarity
from ._nmf import NMF
from ._onmf import OrthogonalNMF
from ._project import Projection, project_usages
from ._rank import sweep_ranks
from ._semi_nmf import Init, SemiNMF
from ._suggest import RankCurves

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
