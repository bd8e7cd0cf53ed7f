"""Screens with known truth, and public screens."""

from __future__ import annotations

from ._gene_sets import planted_gene_sets
from ._public import norman_2019, papalexi_2021, replogle_2022_k562_essential
from ._simulate import simulate_screen
from ._simulate_modules import simulate_modules

__all__ = [
    "norman_2019",
    "papalexi_2021",
    "planted_gene_sets",
    "replogle_2022_k562_essential",
    "simulate_modules",
    "simulate_screen",
]
