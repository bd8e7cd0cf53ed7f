"""Signatures, recovery and discovery of cell states, on arrays."""

from __future__ import annotations

from ._conformal import Calibration, HeldOut, calibrate, hold_out, lower_bound, rank_in
from ._design import Moments, Scaling, Strata, balanced_scaling, stratum_moments
from ._identity import Identity, fit_identity, identity_margin
from ._match import REFERENCES, Reference, agreement, match_states
from ._profiles import Profiles, fit_profiles, profile_distance
from ._recover import REASONS, RECOVERED, Recovered, Trained, recover, train
from ._scaling import posneg, z_scores
from ._signature import Draws, Signature, TrainingOptions, aggregate, draw_runs, specific_features, state_means
from ._solver import LOSSES, Loss, solve_states

__all__ = [
    "LOSSES",
    "REASONS",
    "RECOVERED",
    "REFERENCES",
    "Calibration",
    "Draws",
    "HeldOut",
    "Identity",
    "Loss",
    "Moments",
    "Profiles",
    "Recovered",
    "Reference",
    "Scaling",
    "Signature",
    "Strata",
    "Trained",
    "TrainingOptions",
    "aggregate",
    "agreement",
    "balanced_scaling",
    "calibrate",
    "draw_runs",
    "fit_identity",
    "fit_profiles",
    "hold_out",
    "identity_margin",
    "lower_bound",
    "match_states",
    "posneg",
    "profile_distance",
    "rank_in",
    "recover",
    "solve_states",
    "specific_features",
    "state_means",
    "stratum_moments",
    "train",
    "z_scores",
]
