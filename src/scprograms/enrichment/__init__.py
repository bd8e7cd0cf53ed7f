"""Enrichment of gene sets in programs, and names of programs."""

from __future__ import annotations

from ._annotate import annotate_programs
from ._enrichment import program_enrichment

__all__ = [
    "annotate_programs",
    "program_enrichment",
]
