"""Gene and chromatin programs from perturbation screens, as scanpy verbs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._core.validate import ProgramsWarning
from ._core.version import VERSION

if TYPE_CHECKING:
    from . import datasets, get, pl, pp, report, tl

__version__ = VERSION

__all__ = ["ProgramsWarning", "__version__", "datasets", "get", "pl", "pp", "report", "tl"]

_OTHER_PARTS = (
    "accessibility",
    "embeddings",
    "enrichment",
    "exchange",
    "factorization",
    "modules",
    "perturbation",
    "pipeline",
    "programs",
    "states",
    "stats",
)


def __getattr__(name: str) -> Any:
    # Parts come when they are used: numba, scikit-learn and scipy.stats would double the time of an import.
    if name in __all__ or name in _OTHER_PARTS:
        return import_module(f"{__name__}.{name}")
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
