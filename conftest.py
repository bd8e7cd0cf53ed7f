"""What cannot be collected or run where torch is not installed, and tests that can be interrupted."""

from __future__ import annotations

import importlib.util
import signal

import pytest

HAS_TORCH = importlib.util.find_spec("torch") is not None
NEED_TORCH = ("tl.autoencoder(", "tl.encode(")

collect_ignore_glob = [] if HAS_TORCH else ["src/scprograms/nn/*.py"]


def pytest_configure() -> None:
    """Hear Ctrl-C also where a shell began the tests in the background, which ignores it: some tests press it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the examples that train a network."""
    if HAS_TORCH:
        return
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            source = "".join(example.source for example in item.dtest.examples) if item.dtest else ""
            if any(call in source for call in NEED_TORCH):
                item.add_marker(pytest.mark.skip(reason="torch is not installed"))
