"""Marks that follow from what a test needs, what cannot run where torch is not installed, and Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HAS_TORCH = find_spec("torch") is not None
collect_ignore = ["src/scprograms/factorization.py", "src/scprograms/stats.py"]  # deprecated: an import warns
TRAIN_A_NETWORK = ("tl.autoencoder(", "tl.encode(")

# The tests of the engine: its sums must come out the same on every processor, so `.ci/run` repeats them as another one.
ENGINE = {
    "test_accessibility",
    "test_accessibility_network",
    "test_consensus",
    "test_dask",
    "test_effects_sizes",
    "test_match",
    "test_nmf",
    "test_nnls",
    "test_onmf",
    "test_operators",
    "test_permutation",
    "test_properties",
    "test_rank_sweep",
    "test_recovery_engine",
    "test_redundancy",
    "test_replicates",
    "test_rotation",
    "test_semi_nmf_estimator",
    "test_sklearn_api",
    "test_solvers",
    "test_stats_anova",
    "test_stats_covariate_anova",
    "test_stats_gene_scores",
    "test_stats_multiple_testing",
    "test_stats_over_representation",
    "test_svd",
}

if "PYTEST_XDIST_WORKER" in os.environ:  # the processes of a run share the cores: one thread each for linear algebra
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if find_spec("hypothesis") is not None:
    from hypothesis import settings

    # The same examples on every run; `.ci/run --all` looks for new ones: HYPOTHESIS_PROFILE=long.
    settings.register_profile("quick", max_examples=50, deadline=None, derandomize=True)
    settings.register_profile("long", max_examples=2000, deadline=None, print_blob=True)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_configure() -> None:
    """Hear Ctrl-C also where a shell began the tests in the background, which ignores it: some tests press it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@cache
def _has_networks(folder: Path) -> bool:
    sources = (path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    return any(re.search(r"^(import|from) torch\b", source, flags=re.MULTILINE) for source in sources)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the packages that cannot be imported without torch, wherever they are."""
    if HAS_TORCH or collection_path.suffix != ".py" or not (collection_path.parent / "__init__.py").exists():
        return None
    return _has_networks(collection_path.parent) or None


@cache
def _names_a_network(path: Path) -> bool:
    return re.search(r"\b(torch|mudata)\b", path.read_text(encoding="utf-8")) is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of the engine and those that torch changes; skip the examples that train a network without it."""
    for item in items:
        if item.path.stem in ENGINE:
            item.add_marker(pytest.mark.engine)
        if _names_a_network(item.path):
            item.add_marker(pytest.mark.networks)
        if not HAS_TORCH and isinstance(item, pytest.DoctestItem):
            source = "".join(example.source for example in item.dtest.examples) if item.dtest else ""
            if any(call in source for call in TRAIN_A_NETWORK):
                item.add_marker(pytest.mark.skip(reason="torch is not installed"))
