"""Tables of recovered and discovered cell states."""

from __future__ import annotations

from ._signatures import HasSignatures, recovery_signatures
from ._states import discovered_states, recovered_states, recovery_confusion, recovery_states

__all__ = [
    "HasSignatures",
    "discovered_states",
    "recovered_states",
    "recovery_confusion",
    "recovery_signatures",
    "recovery_states",
]
