"""Over-representation, gene scores and redundancy of gene sets, on arrays."""

from __future__ import annotations

from ._gene_scores import gene_scores
from ._over_representation import OverRepresentation, over_representation
from ._redundancy import jaccard_neighbours, redundancy_groups

__all__ = ["OverRepresentation", "gene_scores", "jaccard_neighbours", "over_representation", "redundancy_groups"]
