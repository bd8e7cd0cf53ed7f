"""Gene and chromatin programs from perturbation screens, as scanpy verbs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from . import datasets, get, pl, pp, report, tl
from ._validate import ProgramsWarning

try:
    __version__ = version("scprograms")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"

__all__ = ["ProgramsWarning", "__version__", "datasets", "get", "pl", "pp", "report", "tl"]
