"""How far long work is: the bar that shows it, and when it is asked whether it may end."""

from __future__ import annotations

import os
from typing import Any

from tqdm.auto import tqdm


def progress_bar(*iterable: Any, shown: bool, **options: Any) -> Any:
    """Return a tqdm bar, which goes when the work is done. ``TQDM_DISABLE=1`` in the environment hides every one."""
    hidden = not shown or os.environ.get("TQDM_DISABLE", "") not in ("", "0")
    return tqdm(*iterable, disable=hidden, leave=False, **options)


def is_look(n_done: int) -> bool:
    """Whether a stop rule is asked after so many iterations.

    It is after 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, ... of them: between two looks, what it measures changes by far more
    than rounding does, so that the count follows from the data and not from the last bits of a sum.
    """
    while n_done > 3 and n_done % 2 == 0:
        n_done //= 2
    return n_done <= 3
