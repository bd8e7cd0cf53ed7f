"""Control guides, or control cells, put into random groups as if they were perturbations."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, factorial
from typing import TYPE_CHECKING

import numpy as np

from scprograms._core.validate import check_int, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

N_SPLITS = 20
LEAST_GUIDES = 4
LEAST_CELLS = 20
LEAST_CONTROL_GUIDES = 2


@dataclass(frozen=True)
class Split:
    """One way to take pseudo-perturbations out of the control."""

    codes: NDArray
    """Pseudo-perturbation of each control cell, 0, 1, ...; the largest code is what stays control."""
    members: list[str]
    """Names of the guides of each pseudo-perturbation, ";" between them; empty if cells were drawn."""


@dataclass(frozen=True)
class Splits:
    """Random splits, and how they were drawn."""

    drawn: list[Split]
    group_size: int
    """Guides (or median of cells) of a pseudo-perturbation."""
    n_units: int
    """Guides (or cells) of the control."""


def split_guides(
    guides: NDArray,
    names: list[str],
    *,
    sizes: NDArray,
    group_size: int | None,
    n_splits: int | None,
    rng: np.random.Generator,
    where: str,
) -> Splits:
    """Put control guides into groups of ``group_size``, at most half of them together, several times.

    Parameters
    ----------
    guides
        Guide of each control cell, codes of ``names``.
    names
        Names of the guides.
    sizes
        Guides of each perturbation; their median is the size of the groups unless ``group_size`` says it.
    group_size, n_splits
        As in ``tl.calibrate``.
    rng
        Draws the splits.
    where
        What the replicates are called in messages.
    """
    present = np.unique(guides)
    n = len(present)
    if n < LEAST_GUIDES:
        msg = (
            f"The control has {n} guides or replicates in {where}; at least {LEAST_GUIDES} are needed to split them. "
            "Leave replicate= out to split control cells instead, which does not show how guides differ."
        )
        raise ValueError(msg)
    group_size = _group_size(group_size, sizes, at_most=n - LEAST_CONTROL_GUIDES, n=n, where=where)
    n_groups = max(1, n // 2 // group_size)
    possible = _n_distinct(n, group_size, n_groups)
    if n_splits is not None and n_splits > possible:
        msg = (
            f"n_splits={n_splits}: {n} control guides of {where} can be split in {possible} ways into {n_groups} "
            f"pseudo-perturbations of {group_size} and a control. Pass n_splits={possible} or less, or another "
            "group_size."
        )
        raise ValueError(msg)
    wanted = min(N_SPLITS, possible) if n_splits is None else n_splits
    drawn: list[Split] = []
    seen: set[frozenset[frozenset[int]]] = set()
    while len(drawn) < wanted:
        order = rng.permutation(n)
        groups = np.sort(order[: n_groups * group_size].reshape(n_groups, group_size), axis=1)
        parts = {frozenset(group.tolist()) for group in groups}
        if n_groups == 1 and 2 * group_size == n:  # the same comparison with the signs changed
            parts.add(frozenset(order[group_size:].tolist()))
        if frozenset(parts) in seen:
            continue
        seen.add(frozenset(parts))
        group_of = np.full(len(names), n_groups)
        group_of[present[groups.ravel()]] = np.repeat(np.arange(n_groups), group_size)
        members = [";".join(names[guide] for guide in present[group]) for group in groups]
        drawn.append(Split(group_of[guides], members))
    return Splits(drawn, group_size, n)


def _group_size(wanted: int | None, sizes: NDArray, *, at_most: int, n: int, where: str) -> int:
    room = f"{n} control guides of {where} allow at most {at_most}, for {LEAST_CONTROL_GUIDES} stay control"
    if wanted is not None:
        wanted = check_int("group_size", wanted, at_least=1)
        if wanted > at_most:
            msg = f"group_size={wanted}: {room}. Pass a smaller group_size."
            raise ValueError(msg)
        return wanted
    median = max(1, round(float(np.median(_real(sizes)))))
    size = min(median, at_most, max(1, n // 2))
    if size < median:
        warn(
            f"Perturbations have {median} guides in the median, and {n} control guides of {where} are too few for "
            f"pseudo-perturbations like them: these have {size}."
        )
    return size


def _real(sizes: NDArray) -> NDArray:
    if not len(sizes):
        msg = "There are no perturbations besides the control to take the size of groups from: pass group_size=."
        raise ValueError(msg)
    return sizes


def _n_distinct(n: int, group_size: int, n_groups: int) -> int:
    if n_groups == 1 and 2 * group_size == n:
        return comb(n, group_size) // 2
    left, ways = n, 1
    for _ in range(n_groups):
        ways *= comb(left, group_size)
        left -= group_size
    return ways // factorial(n_groups)


def split_cells(
    strata: NDArray, *, sizes: NDArray, group_size: int | None, n_splits: int | None, rng: np.random.Generator
) -> Splits:
    """Put at most half of the control cells of each stratum into groups as large as perturbations are there.

    Parameters
    ----------
    strata
        Stratum of each control cell.
    sizes
        Cells of each perturbation in each stratum, G x S.
    group_size, n_splits
        As in ``tl.calibrate``; with ``group_size`` all groups have so many cells, from strata in proportion.
    rng
        Draws the splits.
    """
    n = len(strata)
    if n < LEAST_CELLS:
        msg = f"The control has {n} cells; at least {LEAST_CELLS} are needed to split them."
        raise ValueError(msg)
    half = np.bincount(strata, minlength=sizes.shape[1]) // 2
    if group_size is None:
        sizes = np.minimum(_real(sizes), half)
        sizes = sizes[sizes.sum(axis=1) >= 2]
        if not len(sizes):
            msg = "No perturbation has two cells in strata with control cells: name fewer strata, or pass group_size=."
            raise ValueError(msg)
    else:
        group_size = check_int("group_size", group_size, at_least=2)
        if group_size > n // 2:
            msg = f"group_size={group_size}: {n} control cells allow at most {n // 2}. Pass a smaller group_size."
            raise ValueError(msg)
    drawn = []
    for _ in range(N_SPLITS if n_splits is None else n_splits):
        if group_size is None:
            groups = list(_fill(rng, strata, half, sizes))
        else:
            order = rng.permutation(n)
            groups = [order[i * group_size : (i + 1) * group_size] for i in range(n // 2 // group_size)]
        codes = np.full(n, len(groups))
        for g, cells in enumerate(groups):
            codes[cells] = g
        drawn.append(Split(codes, [""] * len(groups)))
    median = group_size or round(float(np.median(sizes.sum(axis=1))))
    return Splits(drawn, median, n)


def _fill(rng: np.random.Generator, strata: NDArray, half: NDArray, sizes: NDArray) -> Iterator[NDArray]:
    """Yield groups of cells, sizes in random order, as long as half of each stratum has room for them."""
    cells = [rng.permutation(np.flatnonzero(strata == s)) for s in range(len(half))]
    used = np.zeros_like(half)
    for size in sizes[rng.permutation(len(sizes))]:
        if (used + size <= half).all():
            yield np.concatenate([cells[s][used[s] : used[s] + size[s]] for s in range(len(half))])
            used = used + size
