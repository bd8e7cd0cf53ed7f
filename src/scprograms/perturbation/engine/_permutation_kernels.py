"""Compiled loops of the permutation tests: random draws, sums of rows, statistics. None of them needs the GIL.

The random numbers of a permutation come from a generator of its own, seeded from a key, the index of the permutation
and the stream: so it makes no difference which thread draws a permutation, nor what was drawn before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms._core.moments import compiled

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_A, MIX_B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
U1, U17, U19, U23, U27, U30, U31, U32, U41, U45 = (np.uint64(i) for i in (1, 17, 19, 23, 27, 30, 31, 32, 41, 45))
LOW = np.uint64(0xFFFFFFFF)
ALL_CELLS = np.uint64(0xFFFFFFFFFFFFFFFF)
"""Stream of the permutations of all labels; those of one group are named by the row of its first cell."""


@compiled
def mix(x: np.uint64) -> np.uint64:
    """Scramble the bits of a word: the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> U30)) * MIX_A
    x = (x ^ (x >> U27)) * MIX_B
    return x ^ (x >> U31)


@compiled
def seed(state: Array, key: Array, index: int, stream: np.uint64) -> None:
    """Fill the four words of the generator's state."""
    x = mix(key[0] + GOLDEN * (np.uint64(index) + U1))
    x = mix(x ^ key[1])
    x = mix(x + GOLDEN * (stream ^ key[0]))
    for j in range(4):
        x += GOLDEN
        state[j] = mix(x)


@compiled
def below(state: Array, n: int) -> np.int64:
    """Return a uniform integer from 0 to n - 1 (n < 2^32): xoshiro256++ and Lemire's rejection, so without bias."""
    bound = np.uint64(n)
    while True:
        word = state[0] + state[3]
        word = ((word << U23) | (word >> U41)) + state[0]
        shifted = state[1] << U17
        state[2] ^= state[0]
        state[3] ^= state[1]
        state[1] ^= state[2]
        state[0] ^= state[3]
        state[2] ^= shifted
        state[3] = (state[3] << U45) | (state[3] >> U19)
        product = (word >> U32) * bound
        if (product & LOW) >= bound or (product & LOW) >= (LOW + U1 - bound) % bound:
            return np.int64(product >> U32)


@compiled
def shuffle(codes: Array, bounds: Array, key: Array, index: int, state: Array) -> None:
    """Permute ``codes`` in place within each stratum, the rows bounds[s] to bounds[s + 1]."""
    seed(state, key, index, ALL_CELLS)
    for s in range(bounds.size - 1):
        start = bounds[s]
        for j in range(bounds[s + 1] - start - 1, 0, -1):
            other = start + below(state, j + 1)
            swapped = codes[start + j]
            codes[start + j] = codes[other]
            codes[other] = swapped


@compiled
def draw(places: Array, undo: Array, state: Array, n: int, n_drawn: int) -> None:
    """Put a random subset of 0 to n - 1 into the first places; ``places`` must be 0, 1, 2, ... before."""
    for j in range(n_drawn):
        other = j + below(state, n - j)
        undo[j] = other
        swapped = places[j]
        places[j] = places[other]
        places[other] = swapped


@compiled
def restore(places: Array, undo: Array, n_drawn: int) -> None:
    """Take the swaps of ``draw`` back: cheaper than to number all places again."""
    for j in range(n_drawn - 1, -1, -1):
        other = undo[j]
        swapped = places[j]
        places[j] = places[other]
        places[other] = swapped


@compiled
def group_sums(values: Array, codes: Array, sums: Array) -> None:
    """Add up the rows of each group."""
    sums[:] = 0
    for i in range(values.shape[0]):
        c = codes[i]
        for j in range(values.shape[1]):
            sums[c, j] += values[i, j]


@compiled
def between_groups(sums: Array, sizes: Array, cells: Array, shares: Array, inverse: Array, out: Array) -> None:
    """Sum of squares that the groups explain beyond the strata, for each column.

    Least squares on groups and strata; the strata are eliminated last, since they are few. ``sums`` are those of
    values centred within strata; ``shares`` says for ``cells`` (stratum, group) which share of the group it is.
    """
    n_strata, k = inverse.shape[0], sums.shape[1]
    out[:] = 0
    for g in range(sizes.size):
        for j in range(k):
            out[j] += sums[g, j] * sums[g, j] / sizes[g]
    if n_strata < 2:
        return
    rest = np.zeros((n_strata, k))
    for c in range(shares.size):
        s, g = cells[c, 0], cells[c, 1]
        for j in range(k):
            rest[s, j] += shares[c] * sums[g, j]
    for s in range(n_strata):
        for t in range(n_strata):
            for j in range(k):
                out[j] += rest[s, j] * inverse[s, t] * rest[t, j]


@compiled
def permuted_statistics(
    values: Array,
    ranks: Array,
    codes: Array,
    bounds: Array,
    key: Array,
    first: int,
    out: Array,
    sizes: Array,
    cells: Array,
    shares: Array,
    inverse: Array,
    units: Array,
) -> None:
    """Fill row b of ``out``, B x 2 x k, with what the labels of permutation first + b give.

    That is the sum of squares of the values between groups, and the largest sum of ranks of a group, see ``furthest``;
    if ``units`` has no rows that is 0, and ``ranks`` are not read.
    """
    state = np.empty(4, dtype=np.uint64)
    sums = np.empty((sizes.size, values.shape[1]))
    permuted = np.empty_like(codes)
    for b in range(out.shape[0]):
        permuted[:] = codes
        shuffle(permuted, bounds, key, first + b, state)
        group_sums(values, permuted, sums)
        between_groups(sums, sizes, cells, shares, inverse, out[b, 0])
        if units.shape[0] > 0:
            group_sums(ranks, permuted, sums)
        furthest(sums, units, out[b, 1])


@compiled
def furthest(sums: Array, units: Array, out: Array) -> None:
    """Largest sum of a group, whatever its sign, times its ``units`` (1 / its standard deviation), for each column."""
    out[:] = 0
    for g in range(units.shape[0]):
        for j in range(out.size):
            out[j] = max(out[j], abs(sums[g, j]) * units[g, j])


@compiled
def row_of(place: int, segments: Array) -> int:
    """Row of a place in the union of two runs of rows, (start, length, start, length)."""
    row: int = segments[0] + place if place < segments[1] else segments[2] + place - segments[1]
    return row


@compiled
def _add_row(total: Array, row: Array, columns: Array, n_columns: int, sign: float) -> None:
    # Few columns left: only those; else all of them, which the compiler turns into vector instructions.
    if 4 * n_columns <= total.size:
        for a in range(n_columns):
            total[columns[a]] += sign * row[columns[a]]
    else:
        for j in range(total.size):
            total[j] += sign * row[j]


@compiled
def count_hits(
    values: Array,
    segments: Array,
    n_drawn: Array,
    signs: Array,
    key: Array,
    stream: np.uint64,
    last: int,
    center: Array,
    limit: Array,
    stop_after: int,
    columns: Array,
    hits: Array,
    counts: Array,
    first: int,
) -> int:
    """Run permutations first to last - 1 of one group and count those that are as extreme as what was observed.

    One row of ``segments`` per stratum: the cells among which ``n_drawn`` are drawn, for the group (sign 1) or for
    those it is compared with (sign -1). ``columns`` lists the columns that go on, ended by -1; ``hits`` and ``counts``
    are updated. Returns the number of columns that go on.
    """
    state = np.empty(4, dtype=np.uint64)
    total = np.empty(values.shape[1])
    longest = 0
    for c in range(n_drawn.size):
        longest = max(longest, segments[c, 1] + segments[c, 3])
    places, undo = np.arange(longest), np.empty(max(1, n_drawn.max()), dtype=np.int64)
    n_columns = 0
    while n_columns < columns.size and columns[n_columns] >= 0:
        n_columns += 1
    for index in range(first, last):
        if n_columns == 0:
            break
        seed(state, key, index, stream)
        total[:] = 0
        for c in range(n_drawn.size):
            draw(places, undo, state, segments[c, 1] + segments[c, 3], n_drawn[c])
            for j in range(n_drawn[c]):
                _add_row(total, values[row_of(places[j], segments[c])], columns, n_columns, signs[c])
            restore(places, undo, n_drawn[c])
        kept = 0
        for a in range(n_columns):
            j = columns[a]
            counts[j] += 1
            if abs(total[j] - center[j]) >= limit[j]:
                hits[j] += 1
            if hits[j] < stop_after:
                columns[kept] = j
                kept += 1
        columns[kept:n_columns] = -1
        n_columns = kept
    return n_columns


@compiled
def draw_group(segments: Array, n_drawn: Array, key: Array, stream: np.uint64, index: int, drawn: Array) -> None:
    """Mark the rows that ``count_hits`` draws in one permutation, as 1 + the stratum's row of ``segments``."""
    state = np.empty(4, dtype=np.uint64)
    seed(state, key, index, stream)
    for c in range(n_drawn.size):
        n = segments[c, 1] + segments[c, 3]
        places, undo = np.arange(n), np.empty(n, dtype=np.int64)
        draw(places, undo, state, n, n_drawn[c])
        for j in range(n_drawn[c]):
            drawn[row_of(places[j], segments[c])] = c + 1
