"""Effects of perturbations on programs: analysis of variance, contrasts with control, calibration."""

from __future__ import annotations

from ._anova import program_anova
from ._calibrate import calibrate
from ._effects import perturbation_effects

__all__ = ["calibrate", "perturbation_effects", "program_anova"]
