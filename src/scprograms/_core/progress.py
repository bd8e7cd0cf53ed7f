"""The bar of long work."""

from __future__ import annotations

import os
from typing import Any

from tqdm.auto import tqdm


def progress_bar(*iterable: Any, shown: bool, **options: Any) -> Any:
    """Return a tqdm bar, which goes when the work is done. ``TQDM_DISABLE=1`` in the environment hides every one."""
    hidden = not shown or os.environ.get("TQDM_DISABLE", "") not in ("", "0")
    return tqdm(*iterable, disable=hidden, leave=False, **options)
