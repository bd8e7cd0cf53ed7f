"""Programs: factorizations, consensus, number of programs, projection onto new data."""

from __future__ import annotations

from ._consensus import consensus
from ._match import match_programs
from ._nmf import nmf
from ._onmf import onmf
from ._project import project
from ._rank_sweep import rank_sweep
from ._semi_nmf import semi_nmf
from .engine import NMF, OrthogonalNMF, SemiNMF

__all__ = [
    "NMF",
    "OrthogonalNMF",
    "SemiNMF",
    "consensus",
    "match_programs",
    "nmf",
    "onmf",
    "project",
    "rank_sweep",
    "semi_nmf",
]
