"""Pages of engine packages that are listed as a whole: every name of ``__all__``, so that none is forgotten."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PAGES = {
    "stats": (
        "Tests on arrays",
        "What the verbs of `scp.tl` call. Rows are cells and columns are programs; groups and strata are integer "
        "codes, -1 for cells to leave out. Tables of results are classes; functions return them.",
    ),
}


def page(package: str) -> str:
    """Return the page of an engine package in MyST Markdown, functions first."""
    title, text = PAGES[package]
    module = importlib.import_module(f"scprograms.{package}")
    names = [name for name in module.__all__ if callable(getattr(module, name))]
    names = sorted(names, key=lambda name: (inspect.isclass(getattr(module, name)), name.lower()))
    head = [
        f"# {title}: `scprograms.{package}`",
        "",
        "```{eval-rst}",
        f".. py:module:: scprograms.{package}",
        "```",
        "",
    ]
    table = [
        ".. currentmodule:: scprograms",
        "",
        ".. autosummary::",
        "   :nosignatures:",
        "   :toctree: ../generated",
        "",
    ]
    rows = [f"   {package}.{name}" for name in names]
    return "\n".join([*head, text, "", "```{eval-rst}", *table, *rows, "```", ""])


def make(folder: Path) -> None:
    """Write the pages into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in PAGES:
        (folder / f"{package}.md").write_text(page(package), encoding="utf-8")
