"""What a result was made with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from scprograms._core.version import VERSION

_PACKAGES = ("anndata", "scanpy", "numpy", "scipy", "pandas", "numba", "scikit-learn", "matplotlib", "gseapy")


def versions() -> dict[str, str]:
    """Return the versions of this package, Python, the platform and the packages that results may depend on."""
    found = {"scprograms": VERSION, "python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
