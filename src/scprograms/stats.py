"""Deprecated alias: the engines live in the folders of their systems."""

from __future__ import annotations

import warnings

from ._core.matching import RowMatches, cosine_similarity, match_rows
from ._core.moments import GroupMoments, group_moments
from ._core.multiple_testing import benjamini_hochberg
from .embeddings.engine import EMBEDDING_SCORES, TFIDF_METHODS, embedding_scores, neighbor_means, scaled_rows, tfidf
from .enrichment.engine import (
    OverRepresentation,
    gene_scores,
    jaccard_neighbours,
    over_representation,
    redundancy_groups,
)
from .modules.engine import (
    Concentration,
    FeatureScores,
    ModuleAssignment,
    assign_features,
    concentration,
    feature_scores,
    module_scales,
    shared_modules,
)
from .perturbation.engine import (
    EffectSizes,
    OneWayAnova,
    PermutationContrasts,
    PermutationTest,
    ReplicateAnova,
    ReplicateContrasts,
    aliased_columns,
    anova_from_moments,
    covariate_anova,
    group_effect_sizes,
    one_way_anova,
    permutation_anova,
    permutation_contrasts,
    permuted_codes,
    permuted_group,
    rank_anova,
    replicate_anova,
    replicate_contrasts,
)

__all__ = [
    "EMBEDDING_SCORES",
    "TFIDF_METHODS",
    "Concentration",
    "EffectSizes",
    "FeatureScores",
    "GroupMoments",
    "ModuleAssignment",
    "OneWayAnova",
    "OverRepresentation",
    "PermutationContrasts",
    "PermutationTest",
    "ReplicateAnova",
    "ReplicateContrasts",
    "RowMatches",
    "aliased_columns",
    "anova_from_moments",
    "assign_features",
    "benjamini_hochberg",
    "concentration",
    "cosine_similarity",
    "covariate_anova",
    "embedding_scores",
    "feature_scores",
    "gene_scores",
    "group_effect_sizes",
    "group_moments",
    "jaccard_neighbours",
    "match_rows",
    "module_scales",
    "neighbor_means",
    "one_way_anova",
    "over_representation",
    "permutation_anova",
    "permutation_contrasts",
    "permuted_codes",
    "permuted_group",
    "rank_anova",
    "redundancy_groups",
    "replicate_anova",
    "replicate_contrasts",
    "scaled_rows",
    "shared_modules",
    "tfidf",
]

warnings.warn(
    "scprograms.stats is deprecated: import from the engine of its system, such as scprograms.perturbation.engine.",
    DeprecationWarning,
    stacklevel=2,
)
