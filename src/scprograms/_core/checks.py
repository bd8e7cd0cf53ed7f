"""Checks of the estimators' parameters, in the words of the estimators."""

from __future__ import annotations

import logging
import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scprograms._core.matrix import Array

logger = logging.getLogger("scprograms")


def positive_int(name: str, value: object, *, at_least: int = 1) -> int:
    """Return ``value`` as int; bools, floats and strings are refused."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        msg = f"{name}={value!r} is a {type(value).__name__}; pass an integer of at least {at_least}."
        raise TypeError(msg)
    if value < at_least:
        msg = f"{name}={value} is too small; pass an integer of at least {at_least}."
        raise ValueError(msg)
    return int(value)


def non_negative(name: str, value: object) -> float:
    """Return ``value`` as a finite float of at least 0."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        msg = f"{name}={value!r} is a {type(value).__name__}; pass a number of at least 0."
        raise TypeError(msg)
    number = float(value)
    if not (np.isfinite(number) and number >= 0):
        msg = f"{name}={value} is not possible; pass a finite number of at least 0."
        raise ValueError(msg)
    return number


def one_of(name: str, value: object, options: Sequence[Any]) -> None:
    """Raise unless ``value`` is among ``options``."""
    if not any(value is option or (isinstance(value, str) and value == option) for option in options):
        msg = f"{name}={value!r} is not known. Choose one of {', '.join(map(repr, options))}."
        raise ValueError(msg)


def factor(name: str, value: object, shape: tuple[int, ...], dtype: np.dtype, *, signed: bool) -> Array:
    """Return a factor that was passed in as a copy in the dtype of the data, after a look at its shape and values."""
    try:
        array = np.array(value, dtype=dtype, order="C")
    except (TypeError, ValueError) as error:
        msg = f"{name} is a {type(value).__name__} that is no array of numbers; one of shape {shape} is needed."
        raise TypeError(msg) from error
    if array.shape != shape:
        msg = f"{name} has shape {array.shape}; {shape} is needed."
        raise ValueError(msg)
    if not np.isfinite(array).all():
        msg = f"{name} has NaN or infinite values: replace them."
        raise ValueError(msg)
    if not signed and (array < 0).any():
        what = "loadings" if name == "H" else "usages"
        msg = f"{name} has {int((array < 0).sum())} negative values; {what} are never negative here: clip them at 0."
        raise ValueError(msg)
    return array


def generator(random_state: object) -> np.random.Generator:
    """Return a Generator from an int, a SeedSequence, a RandomState, a Generator or None."""
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31, size=4))
    if isinstance(random_state, bool) or not (
        random_state is None
        or isinstance(random_state, numbers.Integral | np.random.Generator | np.random.SeedSequence)
    ):
        msg = f"random_state={random_state!r} is a {type(random_state).__name__}; pass an int, a Generator or None."
        raise TypeError(msg)
    if isinstance(random_state, numbers.Integral) and random_state < 0:
        msg = f"random_state={random_state} is negative; pass an integer of at least 0, a Generator or None."
        raise ValueError(msg)
    return np.random.default_rng(random_state)  # type: ignore[arg-type]


def control_mask(control: Array | None, center: str | None, n_obs: int) -> Array | None:
    """Return the mask of the control cells, or None where ``center`` does not ask for it."""
    if center != "control":
        return None
    if control is None:
        msg = "center='control' needs control=, the boolean mask of the control cells."
        raise ValueError(msg)
    control = np.asarray(control)
    if control.dtype != bool or control.shape != (n_obs,) or not control.any():
        msg = (
            f"control has dtype {control.dtype} and shape {control.shape}; "
            f"a boolean mask that selects some of the {n_obs} cells is needed."
        )
        raise ValueError(msg)
    return control
