"""Screens with known truth, and public screens."""

from __future__ import annotations

from ._gene_sets import planted_gene_sets
from ._multiome_10x import pbmc_multiome_10k
from ._public import norman_2019, papalexi_2021, replogle_2022_k562_essential
from ._simulate import simulate_screen
from ._simulate_modules import simulate_modules
from ._simulate_multiome import simulate_multiome
from ._simulate_peaks import simulate_peaks
from ._simulate_states import simulate_states

__all__ = [
    "norman_2019",
    "papalexi_2021",
    "pbmc_multiome_10k",
    "planted_gene_sets",
    "replogle_2022_k562_essential",
    "simulate_modules",
    "simulate_multiome",
    "simulate_peaks",
    "simulate_screen",
    "simulate_states",
]
