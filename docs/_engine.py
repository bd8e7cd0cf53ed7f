"""Pages of engine packages that are listed as a whole: every name of ``__all__``, so that none is forgotten."""

from __future__ import annotations

import ast
from itertools import pairwise
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src" / "scprograms"

PAGES = {
    "programs.engine": (
        "Factorizations",
        "Estimators with the interface of scikit-learn, and what {func}`scprograms.tl.consensus`, "
        "{func}`scprograms.tl.rank_sweep` and {func}`scprograms.tl.project` call. Rows are cells and columns are "
        "genes, dense, CSR, CSC or dask.",
    ),
    "perturbation.engine": (
        "Tests of perturbations",
        "What {func}`scprograms.tl.program_anova` and {func}`scprograms.tl.perturbation_effects` call. Rows are cells "
        "and columns are programs; groups and strata are integer codes, -1 for cells to leave out. Tables of results "
        "are classes; functions return them.",
    ),
    "enrichment.engine": (
        "Gene sets",
        "What {func}`scprograms.tl.program_enrichment` calls: over-representation, z-scores of genes, redundancy.",
    ),
    "modules.engine": (
        "Modules of features",
        "What {func}`scprograms.tl.feature_score` and {func}`scprograms.tl.assign_modules` call. Loadings are features "
        "x modules.",
    ),
    "states.engine": (
        "States of cells",
        "What {func}`scprograms.tl.train_recovery` and {func}`scprograms.tl.recover_states` call. Rows are cells and "
        "columns are genes, log-normalised, dense or CSR; cell types, states and samples are integer codes from 0, -1 "
        "where unknown. The guide explains [the method](../guide/recovery.md).",
    ),
    "embeddings.engine": (
        "Embeddings",
        "tf-idf, means of neighbours, and the scores of {func}`scprograms.tl.compare_embeddings`.",
    ),
    "embeddings.engine.networks": (
        "Autoencoders",
        'The one part that needs torch: `pip install "scprograms[deep]"`. {func}`scprograms.tl.autoencoder` is the '
        "same on AnnData; the network that predicts accessibility belongs to "
        "{class}`scprograms.accessibility.engine.AccessibilityModel`.",
    ),
    "accessibility.engine": (
        "From expression to accessibility",
        "What {func}`scprograms.tl.train_accessibility` calls. The network needs torch to be trained "
        '(`pip install "scprograms[deep]"`), and nothing else does.',
    ),
}


def public_names(package: str) -> list[str]:
    """Return ``__all__`` of a package without importing it, for not everything can be imported everywhere."""
    tree = ast.parse((SOURCES.joinpath(*package.split(".")) / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__":
            return [name for name in ast.literal_eval(node.value) if not name.startswith("_")]
    return []


def kind(name: str) -> int:
    """Return 0 for a function, 1 for a class or an alias of types, and 2 for a constant, by how it is spelled."""
    return 2 if name.isupper() else int(name[0].isupper())


def constant_doc(package: str, name: str) -> str:
    """Return the string below the assignment of a constant or an alias, wherever in the package that is."""
    for path in sorted(SOURCES.joinpath(*package.split(".")).glob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for node, after in pairwise(body):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(getattr(target, "id", None) == name for target in targets):
                is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                return str(after.value.value) if is_text else ""
    return ""


def page(package: str) -> str:
    """Return the page of an engine package in MyST Markdown: functions, then classes, then constants."""
    title, text = PAGES[package]
    names = sorted(public_names(package), key=lambda name: (kind(name), name.lower()))
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
