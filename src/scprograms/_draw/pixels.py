"""Arithmetic of pictures, on plain arrays: rows of cells to rows of pixels, labels that keep apart, wrapped terms."""

from __future__ import annotations

import textwrap

import numpy as np


def allocate_rows(sizes: np.ndarray, n_rows: int) -> np.ndarray:
    """Share ``n_rows`` rows of pixels among groups of these sizes.

    Every group gets at least one row and at most one per cell; the rest goes in proportion to what a group has beyond
    its first cell (largest remainders first). More rows are used where there are more groups than rows.
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    spare = n_rows - len(sizes)
    if sizes.sum() <= n_rows:
        return sizes.copy()
    if spare <= 0:
        return np.ones_like(sizes)
    share = (sizes - 1) * (spare / (sizes.sum() - len(sizes)))
    rows = np.floor(share).astype(np.int64)
    left = spare - rows.sum()
    rows[np.argsort(rows - share, kind="stable")[:left]] += 1
    return 1 + rows


def average_rows(values: np.ndarray, sizes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Average consecutive rows: the next ``sizes[g]`` rows of ``values`` become ``rows[g]`` rows, of like size."""
    offsets = np.cumsum(sizes) - sizes
    starts = np.concatenate(
        [offset + np.arange(n) * size // n for offset, size, n in zip(offsets, sizes, rows, strict=True)]
    )
    counts = np.diff(np.append(starts, len(values)))
    return np.add.reduceat(values, starts, axis=0, dtype=np.float64) / counts[:, None]


def spread(positions: np.ndarray, gap: float, *, low: float, high: float) -> np.ndarray:
    """Move ascending positions as little as possible (least squares) so that they lie ``gap`` apart within limits."""
    n = len(positions)
    shift = np.arange(n) * gap
    # With the gaps taken out, "at least gap apart" is "never descending": pool neighbours that are out of order.
    blocks: list[tuple[float, int]] = []
    for target in positions - shift:
        mean, count = float(target), 1
        while blocks and blocks[-1][0] > mean:
            previous, size = blocks.pop()
            mean, count = (previous * size + mean * count) / (size + count), size + count
        blocks.append((mean, count))
    pooled = np.repeat([mean for mean, _ in blocks], [count for _, count in blocks]) if n else np.empty(0)
    return np.clip(pooled, low, max(low, high - (n - 1) * gap)) + shift


def wrap_term(term: str, *, width: int = 44, n_lines: int = 3) -> str:
    """Break the name of a gene set into lines; what does not fit ends in an ellipsis."""
    if len(term) <= width:
        return term
    text = term if " " in term else term.replace("_", " ")
    return "\n".join(textwrap.wrap(text, width=width, max_lines=n_lines, placeholder=" …")) or term


def few_ticks(low: float, high: float) -> list[float]:
    """Return up to about four round numbers for a logarithmic axis: powers of ten, and between them on short axes."""
    leads = (1, 2, 5) if high / low < 16 else (1, 3) if high / low < 160 else (1,)
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [t for power in powers for lead in leads if low <= (t := lead * 10.0**power) <= high]
    return ticks[:: -(-len(ticks) // 4)] if ticks else [low, high]
