"""Tests on arrays: analysis of variance, over-representation, multiple testing, scores of genes and embeddings."""

from ._anova import OneWayAnova, anova_from_moments, one_way_anova
from ._covariate_anova import aliased_columns, covariate_anova, rank_anova
from ._effects import EffectSizes, group_effect_sizes
from ._embedding_scores import EMBEDDING_SCORES, embedding_scores, scaled_rows
from ._feature_scores import Concentration, FeatureScores, concentration, feature_scores, module_scales
from ._gene_scores import gene_scores
from ._matching import RowMatches, cosine_similarity, match_rows
from ._modules import ModuleAssignment, assign_features, shared_modules
from ._moments import GroupMoments, group_moments
from ._multiple_testing import benjamini_hochberg
from ._neighbors import neighbor_means
from ._over_representation import OverRepresentation, over_representation
from ._permutation import PermutationTest, permutation_anova, permuted_codes
from ._permutation_contrasts import PermutationContrasts, permutation_contrasts, permuted_group
from ._redundancy import jaccard_neighbours, redundancy_groups
from ._replicates import ReplicateAnova, ReplicateContrasts, replicate_anova, replicate_contrasts
from ._tfidf import TFIDF_METHODS, tfidf

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
