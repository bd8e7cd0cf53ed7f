"""Numbers and names as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

NOTHING = "–"
MINUS = "−"
"""As wide as a plus, and never broken off its number at the end of a line."""

TESTS = {
    "anova": "one-way analysis of variance on the cells",
    "rank_anova": "analysis of variance on the ranks of the cells",
    "permutation": "permutation of the labels of the cells",
    "replicate": "analysis of variance with guides or replicates as the unit",
}
"""What the methods of ``tl.program_anova`` are, in words."""


def method_of(anova: pd.DataFrame) -> str:
    """Return the method that a table of tests says it is from; older tables do not."""
    return str(anova["method"].iloc[0]) if "method" in anova and len(anova) else "anova"


def format_q(q: float) -> str:
    """Return a q-value or p-value in few digits; one that underflowed to zero is given as a bound."""
    if not np.isfinite(q):
        return NOTHING
    if q == 0:
        return "< 1e-300"
    return f"{q:.2g}" if q >= 1e-3 else f"{q:.1e}"


def format_number(value: float, digits: int = 3) -> str:
    """Return a number to so many significant digits; a dash where there is none."""
    return f"{value:.{digits}g}" if np.isfinite(value) else NOTHING


def format_difference(value: float) -> str:
    """Return a difference with its sign."""
    return f"{value:+.2f}".replace("-", MINUS) if np.isfinite(value) else NOTHING


def enumerate_names(names: Sequence[str], *, at_most: int | None = None) -> str:
    """Return ``A, B and C`` or, where there are more, ``A, B, C and 4 more``."""
    names = [str(name) for name in names]
    if at_most is not None and len(names) > at_most:
        return f"{', '.join(names[:at_most])} and {len(names) - at_most} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def plural(n: int, noun: str) -> str:
    """Return ``1 gene``, ``1,234 genes``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
