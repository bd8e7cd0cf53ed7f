"""Which cells a model is fitted on, chosen on, and tested on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scprograms._core.matrix import Array

NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Indices of cells, ascending and disjoint."""

    train: Array
    """Cells to fit on."""
    validation: Array
    """Cells to choose the model, its settings and the threshold on."""
    test: Array
    """Cells to test on, and for nothing else."""

    def labels(self, n_cells: int) -> Array:
        """Return the name of the part of each cell, "" for cells in none."""
        found = np.full(n_cells, "", dtype=object)
        for name in NAMES:
            found[getattr(self, name)] = name
        return found


def split_cells(
    n_cells: int,
    *,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    groups: Array | None = None,
    test_groups: Sequence[int] | None = None,
    random_state: int = 0,
) -> Split:
    """Split cells at random, or by groups of which each is in one part alone.

    Parameters
    ----------
    n_cells
        How many cells there are.
    test_fraction
        Share of the cells to test on. Of groups, whole ones are drawn until the share is reached.
    validation_fraction
        Share of the other cells to choose the model, its settings and the threshold on.
    groups
        Group of each cell, as integers from 0; cells with -1 are in no part.
    test_groups
        Groups to test on, instead of drawn ones.
    random_state
        Seed.

    Returns
    -------
    Every part has at least one cell. With two groups, validation cells are drawn from all that are not tested on.

    Raises
    ------
    ValueError
        There are too few cells or groups.

    Examples
    --------
    >>> from scprograms.accessibility.engine import split_cells
    >>> split = split_cells(100)
    >>> len(split.train), len(split.validation), len(split.test)
    (72, 8, 20)
    """
    rng = np.random.default_rng(random_state)
    if groups is None:
        return _split_at_random(np.arange(n_cells), test_fraction, validation_fraction, rng)
    cells = np.flatnonzero(groups >= 0)
    present = np.unique(groups[cells])
    if len(present) < 2:
        msg = f"There is {len(present)} group of cells; to hold one out takes at least 2."
        raise ValueError(msg)
    if test_groups is None:
        test_groups = _draw_groups(groups, rng.permutation(present), test_fraction * len(cells))
    is_test = np.isin(groups, test_groups)
    rest = cells[~is_test[cells]]
    left = np.setdiff1d(present, test_groups)
    if not len(left) or not is_test.any():
        msg = f"test_groups leaves {len(rest)} cells to fit and {int(is_test.sum())} to test: both need some."
        raise ValueError(msg)
    if len(left) == 1:
        part = _split_at_random(rest, 0.0, validation_fraction, rng)
        return Split(part.train, part.validation, np.flatnonzero(is_test))
    chosen = _draw_groups(groups, rng.permutation(left), validation_fraction * len(rest))
    is_validation = np.isin(groups, chosen)
    return Split(rest[~is_validation[rest]], np.flatnonzero(is_validation), np.flatnonzero(is_test))


def _draw_groups(groups: Array, order: Array, wanted: float) -> list[int]:
    """Return the first groups of ``order`` that reach so many cells; one is always left over."""
    drawn: list[int] = []
    n = 0
    for group in order[:-1]:
        drawn.append(int(group))
        n += int(np.sum(groups == group))
        if n >= wanted:
            break
    return drawn


def _split_at_random(cells: Array, test: float, validation: float, rng: np.random.Generator) -> Split:
    n = len(cells)
    n_test = max(1, round(test * n)) if test > 0 else 0
    n_validation = max(1, round(validation * (n - n_test)))
    if n - n_test - n_validation < 2:
        msg = f"{n} cells are too few for training, validation and test. Pass more, or smaller fractions."
        raise ValueError(msg)
    order = rng.permutation(cells)
    parts = np.split(order, [n_test, n_test + n_validation])
    return Split(np.sort(parts[2]), np.sort(parts[1]), np.sort(parts[0]))
