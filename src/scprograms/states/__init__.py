"""Cell states: signatures learned on labelled cells, recovery in other cells, discovery."""

from __future__ import annotations

from ._cross_validate_recovery import cross_validate_recovery
from ._discover_states import discover_states
from ._recover_states import recover_states
from ._recovery_model import RecoveryModel
from ._train_recovery import train_recovery

__all__ = [
    "RecoveryModel",
    "cross_validate_recovery",
    "discover_states",
    "recover_states",
    "train_recovery",
]
