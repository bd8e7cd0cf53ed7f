"""Tables of modules of features."""

from __future__ import annotations

from ._module_tradeoff import module_tradeoff
from ._modules import module_profiles, modules

__all__ = ["module_profiles", "module_tradeoff", "modules"]
