"""Figures of modules of features."""

from __future__ import annotations

from ._module_heatmap import module_heatmap
from ._modules import feature_score, module_map

__all__ = ["feature_score", "module_heatmap", "module_map"]
