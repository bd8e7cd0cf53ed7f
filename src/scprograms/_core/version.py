"""Version of the package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version_of

try:
    VERSION = _version_of("scprograms")
except PackageNotFoundError:  # a source tree that was never installed
    VERSION = "0.0.0"
