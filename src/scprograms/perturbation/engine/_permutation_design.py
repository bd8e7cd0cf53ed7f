"""What stays fixed while labels are permuted: the rows of each stratum, and what can be summed up beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from scprograms._core.moments import GroupMoments, group_moments

if TYPE_CHECKING:
    from scprograms._core.matrix import Array


@dataclass(frozen=True)
class Cells:
    """The rows that take part, and where each is: in which group and stratum."""

    rows: Array
    """Their numbers, in ascending order."""
    groups: Array
    """Codes that have rows, ascending."""
    labels: Array
    """Which of them each row has."""
    strata: Array
    """Stratum of each row, 0, 1, ... without gaps."""
    n_strata: int
    n_obs: int
    """Rows in all, left out or not."""

    @property
    def by_stratum(self) -> tuple[Array, Array]:
        """Order of the rows by stratum, and where each stratum starts in it."""
        sizes = np.bincount(self.strata, minlength=self.n_strata)
        return np.argsort(self.strata, kind="stable"), np.concatenate([[0], np.cumsum(sizes)])


def read_cells(codes: Array, strata: Array | None) -> Cells:
    """Check codes and strata, and leave out the rows that have -1 in one of them."""
    codes = np.asarray(codes)
    strata = np.zeros(codes.shape, dtype=np.int64) if strata is None else np.asarray(strata)
    for name, array in (("codes", codes), ("strata", strata)):
        if array.ndim != 1 or array.dtype.kind not in "iu" or array.shape != codes.shape:
            msg = (
                f"{name} has shape {array.shape} and dtype {array.dtype}; one integer per row is needed "
                f"(codes has shape {codes.shape})."
            )
            raise ValueError(msg)
        if array.min(initial=0) < -1:
            msg = f"{name} has {array.min()}; possible are -1 (left out), 0, 1, ..."
            raise ValueError(msg)
    rows = np.flatnonzero((codes >= 0) & (strata >= 0))
    groups, labels = np.unique(codes[rows], return_inverse=True)
    present, used = np.unique(strata[rows], return_inverse=True)
    return Cells(rows, groups.astype(np.int64), labels, used, len(present), len(codes))


def moments_of(values: Array, cells: Cells, labels: Array) -> GroupMoments:
    """Moments of ``values`` by a label of the cells; all other rows are left out."""
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[0] != cells.n_obs:
        msg = f"values has shape {values.shape}: a matrix with one row for each of the {cells.n_obs} codes is needed."
        raise ValueError(msg)
    codes = np.full(cells.n_obs, -1, dtype=np.int64)
    codes[cells.rows] = labels
    return group_moments(values, codes)


def deviations(values: Array, rows: Array, labels: Array, center: Array, shifts: Array) -> Array:
    """Return ``(values - center) - shifts[labels]`` of these rows, one after another in memory, in float64."""
    values = np.asarray(values)
    out = np.empty((len(rows), values.shape[1]))
    for start in range(0, len(rows), 8192):  # small pieces, since each makes two copies
        part = slice(start, start + 8192)
        out[part] = values[rows[part]]
        out[part] -= center
        out[part] -= shifts[labels[part]]
    return out


@dataclass(frozen=True)
class Elimination:
    """Least squares on groups and strata, prepared so that each permutation needs the sums of the groups alone."""

    arrays: tuple[Array, Array, Array, Array]
    """Sizes of the groups; stratum and group of each non-empty combination; the share of the group in it; inverse."""
    df_between: int
    df_within: int


def eliminate_strata(cells: Cells) -> Elimination:
    """Prepare the sum of squares of the groups given the strata.

    With U the sums of a column, centred within strata, over the groups; D their sizes; N those of the strata and B the
    sizes of the combinations, the normal equations [[D, B], [B', N]] [b; c] = [U; 0] give
    U' b = U' D^-1 U + t' (N - B' D^-1 B)^+ t with t = B' D^-1 U: the inverse is as small as the number of strata.
    """
    n_groups, n_strata = len(cells.groups), cells.n_strata
    sizes = np.bincount(cells.labels, minlength=n_groups).astype(np.float64)
    counts = sparse.csr_array(
        (np.ones(len(cells.rows)), (cells.strata, cells.labels)), shape=(n_strata, n_groups)
    )  # the sum of duplicates is what counts
    counts.sum_duplicates()
    blocks: list[list[sparse.csr_array | sparse.csc_array | None]] = [[None, counts], [counts.T, None]]
    graph = sparse.block_array(blocks)
    # The stubs know the answer with labels alone.
    n_parts = int(connected_components(graph, directed=False, return_labels=False))  # type: ignore[call-overload]
    df_between = n_groups - n_parts
    shares = counts.tocoo()
    inverse = np.zeros((n_strata, n_strata))
    if n_strata > 1:
        sums: Array = np.asarray(counts.sum(axis=1)).ravel()
        rest = np.diag(sums) - (counts @ sparse.diags_array(1 / sizes) @ counts.T).toarray()
        eigenvalues, vectors = np.linalg.eigh(rest)
        # As many are zero as there are parts without a group in common; rounding would hide that.
        kept = vectors[:, n_parts:]
        inverse = (kept / eigenvalues[n_parts:]) @ kept.T
    where = np.column_stack([shares.row, shares.col]).astype(np.int64)
    share = shares.data / sizes[shares.col]
    return Elimination((sizes, where, share, inverse), df_between, len(cells.rows) - n_strata - df_between)


@dataclass(frozen=True)
class Pairs:
    """Each group beside what it is compared with: sums over the strata that both have cells in."""

    difference: Array
    """Groups x k: stratum-adjusted difference of the means; NaN where no stratum has both."""
    score: Array
    """The difference times ``weight``: sum of the group's cells less what is expected."""
    deviation: Array
    """Standard deviation of the score under permutation; 0 where all cells of a pair are equal within strata."""
    order: Array
    """Positions in ``Cells.rows`` of the rows that ``segments`` refers to."""
    segments: Array
    """For each stratum of each group two runs of ``order``, whose union is permuted: start, length, start, length."""
    n_drawn: Array
    """How many of the union are drawn: the smaller one of the two sides."""
    signs: Array
    """1 if the group is drawn, -1 if the others are."""
    bounds: Array
    """The rows of ``segments`` that belong to group i are bounds[i] to bounds[i + 1]."""
    center: Array
    """Groups x k: what the sum over the drawn rows is on average."""
    streams: Array
    """The random stream of each group: the number of its first row."""


def runs(cells: Cells, control: int | None) -> tuple[Array, ...]:
    """Return order, segments, n_drawn, signs, bounds, streams of :class:`Pairs`, and where they come from.

    That is the combination of group and stratum of each row of ``segments``, that of its control (-1: all others), and
    the combination of each of the cells.
    """
    n_strata = cells.n_strata
    combinations, which = np.unique(cells.labels * n_strata + cells.strata, return_inverse=True)
    group, stratum = np.divmod(combinations, n_strata)
    n = np.bincount(which)
    if control is None:
        order, starts = cells.by_stratum
        lengths = np.diff(starts)
        segments = np.column_stack([starts[stratum], lengths[stratum], np.zeros((len(n), 2), dtype=np.int64)])
        m = lengths[stratum] - n
        partner = np.full(len(n), -1)
    else:
        order, starts = np.argsort(which, kind="stable"), np.concatenate([[0], np.cumsum(n)])
        of_stratum = np.full(n_strata, -1)
        mine = np.flatnonzero(cells.groups[group] == control)
        of_stratum[stratum[mine]] = mine
        partner = np.where(cells.groups[group] == control, -1, of_stratum[stratum])
        m = np.where(partner >= 0, n[partner], 0)
        segments = np.column_stack([starts[:-1], n, starts[partner], m])
    kept = np.flatnonzero(m > 0)
    n, m, group = n[kept], m[kept], group[kept]
    bounds = np.searchsorted(group, np.arange(len(cells.groups) + 1))
    streams = cells.rows[np.unique(cells.labels, return_index=True)[1]].astype(np.uint64)
    signs = np.where(n <= m, 1.0, -1.0)
    return (
        order,
        segments[kept].astype(np.int64),
        np.minimum(n, m),
        signs,
        bounds,
        streams,
        kept,
        partner[kept],
        which,
    )


def compare(values: Array, cells: Cells, control: int | None) -> tuple[Pairs, Array]:
    """Compare each group with the control group, or with all other cells; also return the centred rows in order."""
    order, segments, n_drawn, signs, bounds, streams, kept, partner, which = runs(cells, control)
    moments = moments_of(values, cells, which)
    stratum_of = np.empty(len(moments.counts), dtype=np.int64)
    stratum_of[which] = cells.strata
    mean, square, size = moments.deviations, moments.squares, moments.counts[:, None].astype(np.float64)
    # Of whole strata, relative to one of their groups: equal means leave exactly nothing.
    anchor = mean[np.unique(stratum_of, return_index=True)[1]]
    away = mean - anchor[stratum_of]
    totals, shift, squares = (np.zeros((cells.n_strata, mean.shape[1])) for _ in range(3))
    np.add.at(totals, stratum_of, np.broadcast_to(size, mean.shape))
    np.add.at(shift, stratum_of, size * away)
    shift /= totals
    np.add.at(squares, stratum_of, square + size * (away - shift[stratum_of]) ** 2)
    stratum = stratum_of[kept]
    n = size[kept]
    if control is None:
        m = totals[stratum] - n
        gap = (away[kept] - shift[stratum]) * (n + m) / m
        squares = squares[stratum]
    else:
        m = size[partner]
        gap = mean[kept] - mean[partner]
        squares = square[kept] + square[partner] + n * m / (n + m) * gap**2
    weight = n * m / (n + m)
    # The drawn rows are relative to the mean of their stratum, and the union's mean is n away - m gap / (n + m) of it.
    union = away[kept] - shift[stratum] - m / (n + m) * gap
    group = np.repeat(np.arange(len(cells.groups)), np.diff(bounds))
    sums = []
    for part in (weight * gap, weight * squares / (n + m - 1), weight, (signs * n_drawn)[:, None] * union):
        total = np.zeros((len(cells.groups), part.shape[1]))
        np.add.at(total, group, part)
        sums.append(total)
    score, variance, weights, center = sums
    with np.errstate(invalid="ignore"):
        difference = score / weights
    work = deviations(values, cells.rows[order], cells.strata[order], moments.center, anchor + shift)
    pairs = Pairs(difference, score, np.sqrt(variance), order, segments, n_drawn, signs, bounds, center, streams)
    return pairs, work
