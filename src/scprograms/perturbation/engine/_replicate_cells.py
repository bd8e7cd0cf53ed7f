"""What goes into the tests on replicates: checks, and ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from scprograms._core.moments import group_moments

from ._replicate_model import ReplicateMeans, replicate_means, weighted_fit

SCALES = ("rank", "raw")
LEAST_DF = 0.5

NOT_ESTIMABLE = (
    "Groups and strata cannot be told apart: some groups share no stratum with the others, directly or through third "
    "groups. Leave strata out, or merge strata so that groups meet in them."
)


@dataclass(frozen=True)
class Cells:
    """The cells kept, with groups, replicates and strata counted from 0."""

    values: np.ndarray
    codes: np.ndarray
    labels: np.ndarray
    replicates: np.ndarray
    strata: np.ndarray | None
    covariates: np.ndarray | None

    def means(self, scale: str) -> ReplicateMeans:
        """Reduce the cells, or their average ranks, to replicates."""
        values = self.values
        if scale == "rank":
            values = rankdata(values, axis=0) / len(values)
        if self.covariates is not None:
            values = self._without(self.covariates, values)
        data = replicate_means(values, self.codes, self.replicates, self.strata)
        if np.max(weighted_fit(data, np.zeros(values.shape[1])).df, initial=0.0) < LEAST_DF:
            msg = (
                f"{len(data.counts)} replicates in {len(self.labels)} groups and {data.shares.shape[1]} strata leave "
                "nothing to tell how much replicates differ: replicates need to lie in several strata, or to be more."
            )
            raise ValueError(msg)
        return data

    def _without(self, C: np.ndarray, values: np.ndarray) -> np.ndarray:
        strata = 0 if self.strata is None else self.strata
        cells = np.unique(self.replicates * (np.max(strata) + 1) + strata, return_inverse=True)[1]
        within = C - group_moments(C, cells).means[cells]
        # Relative to the first row, so that a constant column stays constant.
        slopes = np.linalg.pinv(within.T @ within, hermitian=True) @ (within.T @ (values - values[0]))
        return values - (C - C.mean(axis=0)) @ slopes


def checked_cells(
    values: np.ndarray,
    codes: np.ndarray,
    replicates: np.ndarray,
    *,
    strata: np.ndarray | None,
    covariates: np.ndarray | None,
    scale: str,
) -> Cells:
    """Leave out the cells without a code, and say what is wrong with the others."""
    if scale not in SCALES:
        msg = f"scale={scale!r} is unknown; possible are {list(SCALES)}."
        raise ValueError(msg)
    values = np.asarray(values)
    labels = {"codes": np.asarray(codes), "replicates": np.asarray(replicates)}
    if strata is not None:
        labels["strata"] = np.asarray(strata)
    for name, x in labels.items():
        if values.ndim != 2 or x.shape != values.shape[:1] or x.dtype.kind not in "iu":
            msg = (
                f"values has shape {values.shape} and {name} shape {x.shape} and dtype {x.dtype}; "
                "a matrix and one integer per row are needed."
            )
            raise ValueError(msg)
    kept = np.logical_and.reduce([x >= 0 for x in labels.values()])
    values = values[kept].astype(np.float64, copy=False)
    if covariates is not None:
        covariates = np.asarray(covariates, dtype=np.float64)
        if covariates.ndim != 2 or len(covariates) != len(kept) or not np.isfinite(covariates[kept]).all():
            msg = (
                f"covariates has shape {covariates.shape}; a matrix of finite numbers with {len(kept)} rows is needed, "
                "or -1 in codes for the cells without."
            )
            raise ValueError(msg)
        covariates = covariates[kept]
    if not (finite := np.isfinite(values).all(axis=0)).all():
        msg = f"values has NaN or infinite entries in column(s) {np.flatnonzero(~finite).tolist()}: remove them."
        raise ValueError(msg)
    groups, codes = np.unique(labels["codes"][kept], return_inverse=True)
    names, replicates = np.unique(labels["replicates"][kept], return_inverse=True)
    if len(groups) < 2:
        msg = f"There are {len(groups)} groups with rows in them; a comparison needs at least two."
        raise ValueError(msg)
    nested = np.unique(np.column_stack([replicates, codes]), axis=0)
    if len(nested) > len(names):
        shared = names[np.bincount(nested[:, 0]) > 1]
        msg = (
            f"{len(shared)} of {len(names)} replicates have rows in several groups (code {shared[0]} is one): a "
            "replicate belongs to one group. What groups have in common, as a batch, goes into strata."
        )
        raise ValueError(msg)
    if len(names) == len(groups):
        msg = (
            f"Each of the {len(groups)} groups has a single replicate: how much replicates differ cannot be known. At "
            "least one group, say the control, needs two."
        )
        raise ValueError(msg)
    if strata is not None:
        strata = np.unique(labels["strata"][kept], return_inverse=True)[1]
    return Cells(values, codes, groups, replicates, strata, covariates)
