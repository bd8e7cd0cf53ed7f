"""Columns of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scprograms._core.matrix import Array


def categorical(codes: Array, names: Sequence[str] | pd.Index) -> pd.Categorical:
    """Return the labels that codes stand for; -1 stands for none."""
    # The stubs know a list of codes and an Index of names alone.
    return pd.Categorical.from_codes(codes, names)  # type: ignore[arg-type]
