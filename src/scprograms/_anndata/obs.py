"""Reading what a test needs from ``.obs`` beside the groups: covariates, strata, and guides or replicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scprograms._core.validate import check_has_key, listing, warn

from .labels import Labels, read_labels
from .slot_names import Slots
from .slots import keys_of

if TYPE_CHECKING:
    from anndata import AnnData

MOST_LEVELS = 1000
"""So many levels make a covariate an identifier, not a category."""
FEW_INTEGERS = 20


@dataclass(frozen=True)
class Covariates:
    """A design without intercept: a column per number, and one per level but one of a category."""

    design: np.ndarray
    """n_obs x c; rows that are not complete hold zeros."""
    complete: np.ndarray
    """Mask of the cells in which every covariate is known."""
    names: list[str]
    """Column of ``.obs`` that each column of the design comes from."""


def read_names(name: str, value: object) -> list[str]:
    """Return one column name, or several, as a list; None means none."""
    if value is None:
        return []
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(each, str) for each in names):
        msg = (
            f"{name}={value!r} is a {type(value).__name__}; pass the name of a column of adata.obs, or a list of them."
        )
        raise TypeError(msg)
    return list(dict.fromkeys(names))


def read_covariates(adata: AnnData, covariates: object, *, among: np.ndarray) -> Covariates:
    """Return the covariates of the cells ``among`` (a mask); numbers stay numbers, all else are categories."""
    columns: list[np.ndarray] = []
    names: list[str] = []
    complete = np.ones(adata.n_obs, dtype=bool)
    for name in read_names("covariates", covariates):
        check_has_key(adata.obs, name, where="adata.obs")
        column = adata.obs[name]
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            block, known = _numbers(column, name, among)
        else:
            block, known = _indicators(adata, name, among)
        complete &= known
        columns.append(block)
        names += [name] * block.shape[1]
    n_missing = int(np.sum(among & ~complete))
    if n_missing == among.sum():
        msg = (
            f"No cell has a value of every covariate ({listing(dict.fromkeys(names))}): all of them would be left out."
        )
        raise ValueError(msg)
    design = np.concatenate(columns, axis=1) if columns else np.zeros((adata.n_obs, 0))
    design[~complete] = 0
    return Covariates(design=design, complete=complete, names=names)


def _numbers(column: pd.Series, name: str, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if column.dtype.kind == "c":
        msg = f"adata.obs[{name!r}] holds complex numbers; a covariate is real."
        raise TypeError(msg)
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    known = ~np.isnan(values)
    if n_infinite := int(np.isinf(values[among]).sum()):
        msg = f"adata.obs[{name!r}] is infinite in {n_infinite} cells: correct these values, or make them missing."
        raise ValueError(msg)
    if n_missing := int(np.sum(among & ~known)):
        warn(f"adata.obs[{name!r}] is missing for {n_missing} of {among.sum()} cells: they are left out.")
    present = np.unique(values[among & known])
    if column.dtype.kind in "iu" and 2 < len(present) <= FEW_INTEGERS:
        warn(
            f"adata.obs[{name!r}] holds {len(present)} different integers and enters as a number, of which the effect "
            f"is linear. If they are names, of batches for example, make it a category: "
            f"adata.obs[{name!r}] = adata.obs[{name!r}].astype('category')."
        )
    return np.where(known, values, 0.0)[:, None], known


def _indicators(adata: AnnData, name: str, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels = _labels_of(adata, name, among)
    levels = np.unique(labels.codes[among & labels.labelled])
    if len(levels) > min(MOST_LEVELS, among.sum() / 2):
        msg = (
            f"Covariate adata.obs[{name!r}] has {len(levels)} levels in {among.sum()} cells: too many for a category. "
            f"If it holds numbers as text, convert it: adata.obs[{name!r}].astype(float)."
        )
        raise ValueError(msg)
    return (labels.codes[:, None] == levels[1:]).astype(np.float64), labels.labelled


def _labels_of(adata: AnnData, name: str, among: np.ndarray) -> Labels:
    """Return the labels in a column; what is missing is counted among the cells that are in the test."""
    check_has_key(adata.obs, name, where="adata.obs")
    if among.all():
        return read_labels(adata, name)
    part = read_labels(adata[among], name)
    codes = np.full(adata.n_obs, -1, dtype=np.int64)
    codes[among] = part.codes
    return Labels(key=part.key, codes=codes, names=part.names)


def read_strata(adata: AnnData, strata: object, *, among: np.ndarray) -> np.ndarray:
    """Return the stratum of each cell ``among`` (a mask): one code per combination of columns; -1 where unknown."""
    names = read_names("strata", strata)
    if not names:
        msg = "strata names no column of adata.obs: name one or more, or pass None."
        raise ValueError(msg)
    parts = [_labels_of(adata, name, among).codes for name in names]
    known = np.all([part >= 0 for part in parts], axis=0) & among
    codes = np.full(adata.n_obs, -1, dtype=np.int64)
    if not known.any():
        msg = f"No cell has a label in every column of strata ({listing(names)}): all of them would be left out."
        raise ValueError(msg)
    _, codes[known] = np.unique(np.stack([part[known] for part in parts]), axis=1, return_inverse=True)
    return codes


def read_replicates(adata: AnnData, replicate: str, groups: Labels, *, among: np.ndarray) -> Labels:
    """Return the guide or replicate of each cell ``among`` (a mask); each must lie in one group."""
    labels = _labels_of(adata, replicate, among)
    shared = _in_several_groups(labels.codes, groups.codes, len(labels.names))
    if shared.any():
        names = [name for name, several in zip(labels.names, shared, strict=True) if several]
        both = f"{groups.key}_{replicate}"
        column = f"adata.obs[{groups.key!r}].astype(str) + '_' + adata.obs[{replicate!r}].astype(str)"
        msg = (
            f"replicate={replicate!r}: {len(names)} of {len(labels.names)} replicates occur in several groups of "
            f"{groups.key!r} ({listing(names, at_most=5)}); a replicate belongs to one group. Combine the columns: "
            f"adata.obs[{both!r}] = {column}, and pass replicate={both!r}. If it is a batch that holds many groups, "
            f"pass strata={replicate!r} instead."
        )
        raise ValueError(msg)
    return labels


def _in_several_groups(codes: np.ndarray, groups: np.ndarray, n_levels: int) -> np.ndarray:
    """Return the mask of the levels whose cells lie in more than one group."""
    known = (codes >= 0) & (groups >= 0)
    group_of = np.full(n_levels, -1, dtype=np.int64)
    group_of[codes[known]] = groups[known]
    shared = np.zeros(n_levels, dtype=bool)
    shared[codes[known][group_of[codes[known]] != groups[known]]] = True
    return shared


def find_replicates(adata: AnnData, groups: Labels, *, used: Labels | None = None) -> list[str]:
    """Return the columns of ``.obs`` that look like guides or replicates within the groups and were not used.

    That is: categories, text or integers, known in most cells; every level lies in one group; half of the groups or
    more have several levels; and there are three cells per level on average. A column whose levels lie within those of
    ``used`` adds nothing to it and is not returned.
    """
    labelled = groups.labelled
    skipped = {groups.key, *(Slots(key).program for key in keys_of(adata))}
    found = []
    for name in adata.obs.columns:
        column = adata.obs[name]
        if name in skipped or not isinstance(name, str):
            continue
        if column.dtype.kind in "fcbMm" or pd.api.types.is_bool_dtype(column):
            continue
        codes = _codes(column)
        known = labelled & (codes >= 0)
        n_known = int(known.sum())
        if 2 * n_known <= labelled.sum():
            continue
        levels, first = np.unique(codes[known], return_index=True)
        if 3 * len(levels) > n_known or _in_several_groups(codes, groups.codes, int(codes.max()) + 1)[levels].any():
            continue
        per_group = np.bincount(groups.codes[known][first], minlength=len(groups.names))
        present = np.bincount(groups.codes[known], minlength=len(groups.names)) > 0
        if 2 * np.sum(per_group >= 2) < present.sum():
            continue
        if used is not None and not _in_several_groups(codes, used.codes, int(codes.max()) + 1).any():
            continue
        found.append(name)
    return found


def _codes(column: pd.Series) -> np.ndarray:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy().astype(np.int64)
    try:
        return pd.factorize(column)[0].astype(np.int64)
    except TypeError:  # lists and the like
        return np.full(len(column), -1, dtype=np.int64)
