"""The analysis of a screen from counts to a report, without a terminal."""

from __future__ import annotations

from ._analysis import N_STEPS, analyse, results_folder, run, tell
from ._h5ad import write_h5ad
from ._journal import InputError, Journal, explained, one_line, peak_memory_gib
from ._pictures import add_umap
from ._signals import INTERRUPTED, check_stop, stoppable
from ._tests import KEY, MAX_Q

__all__ = [
    "INTERRUPTED",
    "KEY",
    "MAX_Q",
    "N_STEPS",
    "InputError",
    "Journal",
    "add_umap",
    "analyse",
    "check_stop",
    "explained",
    "one_line",
    "peak_memory_gib",
    "results_folder",
    "run",
    "stoppable",
    "tell",
    "write_h5ad",
]
