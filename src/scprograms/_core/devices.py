"""Device and threads of torch."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def limited_threads(n_threads: int) -> Iterator[None]:
    """Let torch use so many threads of the CPU in this block: sums, and so results, depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_device(device: str | torch.device | None) -> torch.device:
    """Return the device: by default a GPU where there is one, else the CPU."""
    if device is not None:
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
