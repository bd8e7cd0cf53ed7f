"""Figures of recovered and discovered cell states."""

from __future__ import annotations

from ._recovery_confusion import recovery_confusion
from ._recovery_signatures import recovery_signatures
from ._state_map import state_map

__all__ = ["recovery_confusion", "recovery_signatures", "state_map"]
