"""Tests on arrays: analysis of variance, over-representation, multiple testing, gene scores."""

from ._anova import OneWayAnova, anova_from_moments, one_way_anova
from ._gene_scores import gene_scores
from ._matching import RowMatches, cosine_similarity, match_rows
from ._moments import GroupMoments, group_moments
from ._multiple_testing import benjamini_hochberg
from ._over_representation import OverRepresentation, over_representation

__all__ = [
    "GroupMoments",
    "OneWayAnova",
    "OverRepresentation",
    "RowMatches",
    "anova_from_moments",
    "benjamini_hochberg",
    "cosine_similarity",
    "gene_scores",
    "group_moments",
    "match_rows",
    "one_way_anova",
    "over_representation",
]
