"""The engine: arrays in, arrays out. It knows nothing of AnnData, scanpy or figures."""

from __future__ import annotations

from ._base import ProgramEstimator
from ._nmf import NMF
from ._semi_nmf import Init, SemiNMF

__all__ = ["NMF", "Init", "ProgramEstimator", "SemiNMF"]
