"""Two statistics of one hypothesis: F, which adds up what all groups do, and how far the furthest of them lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

Statistic = Literal["combined", "F"]
STATISTICS = ("combined", "F")
LARGEST_SHARE = 1 / 3


def check_statistic(statistic: str) -> None:
    """Raise if there is no such statistic."""
    if statistic not in STATISTICS:
        msg = f"statistic={statistic!r} is unknown; possible are {list(STATISTICS)}."
        raise ValueError(msg)


def share_of_furthest(n_groups: int) -> float:
    """Return the share of the error rate that the furthest group is given; F has the rest.

    It grows with the degrees of freedom between groups, (1 - 1 / df) / 3. With two groups both statistics say the same,
    and F has all of it; with many F has two thirds.
    """
    return LARGEST_SHARE * (1 - 1 / (n_groups - 1))


def smaller_p(p: Array, log10_p: Array, p_furthest: Array, n_groups: int) -> tuple[Array, Array]:
    """Return the smaller of two p-values, each divided by its share (Bonferroni's inequality), and its log10."""
    share = share_of_furthest(n_groups)
    log10_combined = np.minimum(log10_p - np.log10(1 - share), np.log10(p_furthest / share))
    return np.minimum(np.minimum(p / (1 - share), p_furthest / share), 1.0), np.minimum(log10_combined, 0.0)
