"""Networks: arrays in, arrays out. The only part of the package that needs torch."""

from __future__ import annotations

try:
    import torch  # noqa: F401
except ImportError as error:
    msg = 'Networks need torch, which is not installed: pip install "scprograms[deep]".'
    raise ImportError(msg) from error

from ._autoencoder import Autoencoder

__all__ = ["Autoencoder"]
