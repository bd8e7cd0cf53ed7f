"""The names of all slots, in one place.

``Slots("semi_nmf")`` says where the results of ``key_added="semi_nmf"`` lie; nothing else spells a slot's name.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Slots:
    """Where the results of one factorization lie in an AnnData."""

    key: str

    @property
    def usages(self) -> str:
        """``.obsm``: W, n_obs x k."""
        return f"X_{self.key}"

    @property
    def loadings(self) -> str:
        """``.varm``: H transposed, n_vars x k."""
        return f"{self.key}_loadings"

    @property
    def model(self) -> str:
        """``.varm``: the table ``baseline, center, scale, used`` per gene."""
        return f"{self.key}_model"

    @property
    def program(self) -> str:
        """``.obs``: the program that a cell uses most; ``.var``: that of a gene, where genes belong to one."""
        return f"{self.key}_program"

    @property
    def used(self) -> str:
        """``.var``: which features an encoder reads."""
        return f"{self.key}_used"

    @property
    def feature_score(self) -> str:
        """``.var``: how specific a feature is to one module."""
        return f"{self.key}_feature_score"

    @property
    def module(self) -> str:
        """``.var`` and ``.obs``: the module of a feature, and of a sample."""
        return f"{self.key}_module"

    @property
    def top_module(self) -> str:
        """``.var``: the module that a feature has the largest share in, whatever the threshold."""
        return f"{self.key}_top_module"

    @property
    def module_share(self) -> str:
        """``.var``: that largest share."""
        return f"{self.key}_module_share"

    @property
    def shared_modules(self) -> str:
        """``.varm``: the modules that a feature is shared by."""
        return f"{self.key}_shared_modules"

    @property
    def state(self) -> str:
        """``.obs``: the state that was recovered in a cell."""
        return f"{self.key}_state"

    @property
    def score(self) -> str:
        """``.obs``: how well a cell fits that state."""
        return f"{self.key}_score"

    @property
    def module_columns(self) -> list[str]:
        """What an assignment of modules leaves in ``.var`` and ``.obs``, of which a new fit knows nothing."""
        samples = [self.of_sample(what) for what in SAMPLE_MEASURES]
        return [self.feature_score, self.module, self.top_module, self.module_share, *samples]

    def of_sample(self, what: str) -> str:
        """``.obs``: the contribution, sparseness or entropy of a sample's modules."""
        return f"{self.key}_module_{what}"


# Entries of .uns[key]. The first group describes the fit, the second holds the tables of later verbs.
PARAMS = "params"
PROGRAMS = "programs"
HISTORY = "history"
ERROR = "error"
ERROR_BOUND = "error_bound"
ERROR_RATIO = "error_ratio"
L1_PENALTY = "l1_penalty"
N_ITER = "n_iter"
CONVERGED = "converged"

PROJECTED_FROM = "projected_from"
"""Entry of the params of programs that were not fitted here: their key in the reference."""

RANK_SWEEP = "rank_sweep"
SUGGESTED = "suggested_n_programs"
RANK_SWEEP_REASON = "rank_sweep_reason"
RANK_SWEEP_PARAMS = "rank_sweep_params"
MODULE_TRADEOFF = "module_tradeoff"
RANK_SWEEP_ENTRIES = (RANK_SWEEP, SUGGESTED, RANK_SWEEP_REASON, RANK_SWEEP_PARAMS, MODULE_TRADEOFF)

CONSENSUS = "consensus"
CONSENSUS_COSINES = "cosines"
CONSENSUS_SIMILARITY = "similarity"
CONSENSUS_MEMBERS = "members"

FEATURE_SCORE_PARAMS = "feature_score_params"
MODULES = "modules"
MODULES_PARAMS = "modules_params"
MODULE_GROUPS = "module_groups"
SHARED, NON_SPECIFIC, INACTIVE, UNCLASSIFIED = "shared", "non-specific", "inactive", "unclassified"
"""Categories of ``.var[f"{key}_module"]`` and ``.obs[f"{key}_module"]`` beside the modules, and UNASSIGNED."""
SAMPLE_MEASURES = ("contribution", "sparseness", "entropy")

EMBEDDINGS = "embeddings"
"""The scores of every embedding and seed, in a comparison of embeddings."""

CELL_TYPES = "cell_types"
CONFUSION = "confusion"
STATES = "states"
VALIDATION_PARAMS = "validation_params"
NON_STATE = "non-state"
"""Category of ``.obs[f"{key}_state"]`` for cells that fit no state of their type."""

ANOVA = "anova"
EFFECTS = "effects"
EFFECTS_PARAMS = "effects_params"
CALIBRATION = "calibration"
CALIBRATION_SUMMARY = "calibration_summary"
ENRICHMENT = "enrichment"

ACCESSIBILITY_MODELS = "models"
ACCESSIBILITY_TABLES = (
    ACCESSIBILITY_MODELS,
    "peaks",
    "cells",
    "calibration",
    "confusion",
    "curves",
    "validation",
    HISTORY,
)
"""Entries of ``.uns[key]`` of the accessibility modality, all tables; beside them ``params``."""
ACCESSIBILITY_CHOSEN = "chosen"
ACCESSIBILITY_SUMMARY = "summary"


def split_of(key: str) -> str:
    """``.obs``: the part of the split that a cell is in."""
    return f"{key}_split"


def target_of(key: str) -> str:
    """``.var``: whether a peak is a target of the predictions."""
    return f"{key}_target"


VERBS = {
    ANOVA: "program_anova",
    EFFECTS: "perturbation_effects",
    CALIBRATION: "calibrate",
    CALIBRATION_SUMMARY: "calibrate",
}
"""Which verb writes a table; those without an entry come from program_enrichment."""

UNASSIGNED = "unassigned"
"""Category of ``.var[f"{key}_program"]`` for genes that fit no program."""

NO_PROGRAM = "none"
"""Category of ``.obs[f"{key}_program"]`` for cells that use no program, or several equally."""


def program_names(n_programs: int) -> list[str]:
    """``program_0``, ``program_1``, ...: the names of the programs, everywhere."""
    return [f"program_{i}" for i in range(n_programs)]


def table_name(groupby: str) -> str:
    """Name under which a table for ``groupby`` is stored: a slash would nest groups in HDF5 and zarr."""
    return groupby.replace("/", "_")
