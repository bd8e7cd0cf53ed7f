"""Chromatin accessibility predicted from gene expression."""

from __future__ import annotations

from ._predict_accessibility import predict_accessibility
from ._train_accessibility import train_accessibility
from .engine import AccessibilityModel

__all__ = ["AccessibilityModel", "predict_accessibility", "train_accessibility"]
