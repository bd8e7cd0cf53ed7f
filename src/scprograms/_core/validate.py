"""Argument checks whose errors name the argument, the value found, what is possible, and the fix."""

from __future__ import annotations

import difflib
import inspect
import numbers
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .matrix import AnySparse, Array, Matrix


class ProgramsWarning(UserWarning):
    """Something that a user of scprograms should know about the result; the call went on."""


def warn(message: str) -> None:
    """Warn from the caller's point of view (the frame outside scprograms is what the user sees)."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "scprograms":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, ProgramsWarning, stacklevel=level)


def listing(names: Iterable[Any], *, at_most: int = 12) -> str:
    """Return ``'a', 'b', 'c' and 20 more``: what is there, short enough to read."""
    names = [repr(str(name)) for name in names if name is not None]  # anndata 0.13 lists X as the layer None
    if not names:
        return "none"
    shown = ", ".join(names[:at_most])
    return shown if len(names) <= at_most else f"{shown} and {len(names) - at_most} more"


def check_choice(name: str, value: object, options: Iterable[str | bool | None]) -> None:
    """Raise unless ``value`` is one of ``options``."""
    options = list(options)
    if not any(value is option or (isinstance(value, str) and value == option) for option in options):
        msg = f"{name}={value!r} is not known. Choose one of {', '.join(map(repr, options))}."
        raise ValueError(msg)


def check_int(name: str, value: object, *, at_least: int) -> int:
    """Return ``value`` as int; bools, floats and strings are refused, numpy integers are fine."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        msg = f"{name}={value!r} is a {type(value).__name__}; pass an integer of at least {at_least}."
        raise TypeError(msg)
    if value < at_least:
        msg = f"{name}={value} is too small; pass an integer of at least {at_least}."
        raise ValueError(msg)
    return int(value)


def check_real(name: str, value: object, *, at_least: float = -np.inf, at_most: float = np.inf) -> float:
    """Return ``value`` as a finite float within the limits."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        msg = f"{name}={value!r} is a {type(value).__name__}; pass a number."
        raise TypeError(msg)
    number = float(value)
    if not np.isfinite(number) or not at_least <= number <= at_most:
        msg = f"{name}={value} is out of range; pass a number between {at_least} and {at_most}."
        raise ValueError(msg)
    return number


def check_name(name: str, value: object) -> str:
    """Return ``value`` if it can name a slot: a non-empty string without a slash (HDF5 would nest it)."""
    if not isinstance(value, str):
        msg = f"{name}={value!r} is a {type(value).__name__}; pass a string."
        raise TypeError(msg)
    if not value or "/" in value:
        msg = f"{name}={value!r} cannot name a slot: use a non-empty string without '/'."
        raise ValueError(msg)
    return value


def check_has_key(mapping: Mapping[str, Any], key: object, *, where: str, hint: str = "") -> None:
    """Raise a KeyError that says which key, which exist, and what to call."""
    if not isinstance(key, str):
        msg = f"A key of {where} is a single string, but got {key!r} ({type(key).__name__})."
        raise TypeError(msg)
    if key not in mapping:
        names = {name.casefold(): name for name in mapping if isinstance(name, str)}
        near = difflib.get_close_matches(key.casefold(), names, n=1, cutoff=0.8)
        hints = [f"Did you mean {names[near[0]]!r}?"] if near else []
        hints += [hint] if hint else []
        raise KeyError(" ".join([f"{key!r} is not in {where}. There: {listing(mapping)}.", *hints]))


def check_mask(mask: Array, where: str, n: int, what: str) -> Array:
    """Return a boolean mask of ``n`` things that selects at least one."""
    if mask.dtype == object and all(isinstance(value, bool | np.bool_) for value in mask.ravel()):
        mask = mask.astype(bool)
    if mask.dtype != bool or mask.shape != (n,):
        msg = f"{where} has dtype {mask.dtype} and shape {mask.shape}; a boolean mask of the {n} {what} is needed."
        raise ValueError(msg)
    if not mask.any():
        msg = f"{where} selects none of the {n} {what}: select at least one."
        raise ValueError(msg)
    return mask


def check_values(matrix: Array | AnySparse, where: str) -> None:
    """Raise unless the matrix holds real, finite numbers that are not all zero."""
    values = matrix.data if sparse.issparse(matrix) else matrix
    if values.dtype.kind not in "biuf":
        msg = f"{where} has dtype {values.dtype}; real numbers are needed: {where} = {where}.astype('float32')."
        raise TypeError(msg)
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.sum(values, dtype=np.float64)
    if values.dtype.kind == "f" and not np.isfinite(total):
        n_nan, n_inf = int(np.isnan(values).sum()), int(np.isinf(values).sum())
        if n_nan or n_inf:
            msg = f"{where} has {n_nan} NaN and {n_inf} infinite values: remove or replace them."
        else:
            msg = (
                f"{where} has values so large (up to {np.abs(values).max():.1e}) that their sum overflows: rescale it."
            )
        raise ValueError(msg)
    if not values.any():
        msg = f"{where} has no signal: all of its values are zero."
        raise ValueError(msg)


def warn_about_counts(matrix: Matrix, where: str) -> None:
    """Warn if a matrix that should hold log-normalised expression holds integers, as raw counts do."""
    values = matrix.data if sparse.issparse(matrix) else matrix.ravel()
    some = values[:: max(1, values.size // 100_000)]
    if values.dtype.kind == "b" or (
        some.size and 1 < float(some.max()) < 2**31 and np.array_equal(some, np.round(some))
    ):
        warn(
            f"{where} holds integers, as raw counts do; log-normalised expression is expected. "
            "Call sc.pp.normalize_total(adata) and sc.pp.log1p(adata) first."
        )


def empty_rows(matrix: Matrix) -> Array:
    """Return the mask of the rows that are zero throughout."""
    if sparse.issparse(matrix):
        # Not abs(matrix): scipy would merge duplicate entries in place first.
        stored = type(matrix)((matrix.data != 0, matrix.indices, matrix.indptr), shape=matrix.shape)
        return np.asarray(stored @ np.ones(matrix.shape[1]) == 0)
    return np.asarray(~matrix.any(axis=1))


def case_hint(names: Iterable[str], wanted: Iterable[str]) -> str:
    """Return a sentence to add to an error where more of ``wanted`` would be among ``names`` but for upper case."""
    names = list(names)
    exact, folded = set(names), {name.casefold(): name for name in reversed(names)}
    other = [(name, folded[name.casefold()]) for name in wanted if name not in exact and name.casefold() in folded]
    if not other:
        return ""
    return f" {len(other)} names differ in upper and lower case alone, such as {other[0][1]!r} and {other[0][0]!r}."


def shared_genes(a: list[str], b: list[str]) -> list[str]:
    """Return the names that are in both, in the order of ``a``; raise if there are none."""
    there = set(b)
    shared = [name for name in a if name in there]
    if not shared:
        found = f"{listing(a, at_most=3)} and {listing(b, at_most=3)}"
        msg = f"No gene entered the fits of both a and b: there are {found}.{case_hint(a, b)}"
        raise ValueError(msg)
    return shared
