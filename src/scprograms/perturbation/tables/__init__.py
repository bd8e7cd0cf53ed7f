"""Tables of tests and effects of perturbations."""

from __future__ import annotations

from ._anova import anova
from ._calibration import calibration
from ._effects import effects

__all__ = [
    "anova",
    "calibration",
    "effects",
]
