"""One door for every kind of ``random_state``."""

from __future__ import annotations

import numpy as np

from scprograms._core.validate import check_int

RandomState = int | np.integer | np.random.Generator | np.random.RandomState | None


def as_generator(random_state: RandomState) -> np.random.Generator:
    """Return a generator; None gives a fresh one, and a RandomState moves on by the draw of a seed."""
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**32, size=8, dtype=np.uint32))
    if random_state is None or isinstance(random_state, np.random.Generator):
        return np.random.default_rng(random_state)
    return np.random.default_rng(check_int("random_state", random_state, at_least=0))
