"""Tests on arrays: analysis of variance, permutation, replicates, contrasts, calibration."""

from __future__ import annotations

from ._anova import OneWayAnova, anova_from_moments, one_way_anova
from ._covariate_anova import aliased_columns, covariate_anova, rank_anova
from ._effects import EffectSizes, group_effect_sizes
from ._permutation import PermutationTest, permutation_anova, permuted_codes
from ._permutation_contrasts import PermutationContrasts, permutation_contrasts, permuted_group
from ._replicates import ReplicateAnova, ReplicateContrasts, replicate_anova, replicate_contrasts

__all__ = [
    "EffectSizes",
    "OneWayAnova",
    "PermutationContrasts",
    "PermutationTest",
    "ReplicateAnova",
    "ReplicateContrasts",
    "aliased_columns",
    "anova_from_moments",
    "covariate_anova",
    "group_effect_sizes",
    "one_way_anova",
    "permutation_anova",
    "permutation_contrasts",
    "permuted_codes",
    "permuted_group",
    "rank_anova",
    "replicate_anova",
    "replicate_contrasts",
]
