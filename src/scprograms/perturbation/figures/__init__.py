"""Figures of effects of perturbations, and of the calibration of their test."""

from __future__ import annotations

from ._boxplot import program_boxplot
from ._calibration import calibration
from ._effects import kind
from ._effects_clustermap import effects_clustermap
from ._effects_dotplot import effects_dotplot
from ._volcano import volcano

__all__ = ["calibration", "effects_clustermap", "effects_dotplot", "kind", "program_boxplot", "volcano"]
