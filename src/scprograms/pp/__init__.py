"""Preprocessing: from cells to pseudo-bulk samples."""

from __future__ import annotations

from ._pseudobulk import pseudobulk

__all__ = ["pseudobulk"]
