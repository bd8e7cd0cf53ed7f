"""Which cells a test of groups takes, and with which covariates, strata and replicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scprograms._anndata.obs import Covariates, read_covariates, read_replicates, read_strata
from scprograms._core.validate import listing, warn

if TYPE_CHECKING:
    from anndata import AnnData

    from scprograms._anndata.labels import Labels


@dataclass(frozen=True)
class Cells:
    """What a test needs to know of the cells; code -1 leaves a cell out."""

    codes: np.ndarray
    covariates: np.ndarray | None
    strata: np.ndarray | None
    replicates: Labels | None


def cells_to_test(adata: AnnData, labels: Labels, names: dict[str, list[str]], *, drop_single: bool) -> Cells:
    """Read what goes with the groups, and leave out the cells of which something is unknown."""
    codes = labels.codes.copy()
    covariates = strata = replicates = None
    if names["covariates"]:
        covariates = read_covariates(adata, names["covariates"], among=labels.labelled)
        codes[~covariates.complete] = -1
    if names["strata"]:
        strata = read_strata(adata, names["strata"], among=labels.labelled)
        codes[strata < 0] = -1
    if names["replicate"]:
        replicates = read_replicates(adata, names["replicate"][0], labels, among=labels.labelled)
        codes[~replicates.labelled] = -1
    if drop_single:
        codes = _without_single_cells(codes, labels)
    if len(np.unique(codes[codes >= 0])) < 2:
        msg = f"Fewer than two groups of adata.obs[{labels.key!r}] are left after leaving cells out (see the warnings)."
        raise ValueError(msg)
    if covariates is not None:
        _check_estimable(codes, covariates, labels.key)
    if strata is not None:
        _check_strata(codes, strata, labels.key, names["strata"])
    if replicates is not None:
        _check_replicates(codes, replicates, labels)
    return Cells(codes, None if covariates is None else covariates.design, strata, replicates)


def check_groups(labels: Labels) -> None:
    if len(labels.names) < 2:
        msg = (
            f"adata.obs[{labels.key!r}] has a single group, {listing(labels.names)}: a comparison needs at least two. "
            "Name a column with more groups as groupby."
        )
        raise ValueError(msg)
    if np.bincount(labels.codes[labels.labelled]).max() == 1:
        msg = (
            f"Each of the {len(labels.names)} groups of adata.obs[{labels.key!r}] has a single cell, so there is no "
            "variance within groups to compare with. Name a column with larger groups as groupby."
        )
        raise ValueError(msg)


def _without_single_cells(codes: np.ndarray, labels: Labels) -> np.ndarray:
    single = np.flatnonzero(np.bincount(codes[codes >= 0], minlength=len(labels.names)) == 1)
    if len(single):
        names = listing(labels.names[code] for code in single)
        warn(f"{len(single)} groups of adata.obs[{labels.key!r}] have a single cell and are left out: {names}.")
    return np.where(np.isin(codes, single), -1, codes)


def _check_estimable(codes: np.ndarray, covariates: Covariates, groupby: str) -> None:
    from .engine import aliased_columns

    aliased = aliased_columns(codes, covariates.design)
    if aliased.any():
        names = listing(dict.fromkeys(np.array(covariates.names)[aliased]))
        msg = (
            f"The effect of {groupby!r} is not estimable beside covariates {names}: they, or a combination of them, "
            f"are the same for all cells of each group of {groupby!r}. Leave them out of covariates."
        )
        raise ValueError(msg)


def _check_strata(codes: np.ndarray, strata: np.ndarray, groupby: str, names: list[str]) -> None:
    pairs = np.unique(np.stack([strata, codes])[:, codes >= 0], axis=1)
    if np.bincount(pairs[0]).max() == 1:
        msg = (
            f"The effect of {groupby!r} is not estimable within strata {listing(names)}: every stratum holds cells of "
            "one group, so there is nothing to compare. Name fewer or other columns as strata."
        )
        raise ValueError(msg)


def _check_replicates(codes: np.ndarray, replicates: Labels, labels: Labels) -> None:
    n_replicates = len(np.unique(replicates.codes[codes >= 0]))
    if n_replicates <= len(np.unique(codes[codes >= 0])):
        msg = (
            f"Every group of adata.obs[{labels.key!r}] has a single replicate in adata.obs[{replicates.key!r}], so "
            "there is nothing to tell a group from its replicate. Name a column with more replicates."
        )
        raise ValueError(msg)
