"""The analysis of a screen from counts to a report, without a terminal."""

from __future__ import annotations

from ._analysis import N_STEPS, analyse, analyse_cells, results_folder, run
from ._h5ad import write_h5ad
from ._journal import InputError, Journal, explained, one_line, peak_memory_gib
from ._pictures import add_umap
from ._settings import Settings
from ._tests import KEY, MAX_Q
from ._truth import compare_with_truth

__all__ = [
    "KEY",
    "MAX_Q",
    "N_STEPS",
    "InputError",
    "Journal",
    "Settings",
    "add_umap",
    "analyse",
    "analyse_cells",
    "compare_with_truth",
    "explained",
    "one_line",
    "peak_memory_gib",
    "results_folder",
    "run",
    "write_h5ad",
]
