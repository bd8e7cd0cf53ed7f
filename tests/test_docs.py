"""The site and the tutorials say what the package does."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

import scprograms

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
import _benchmarks  # noqa: E402
import _engine  # noqa: E402

SUBPACKAGES = [name for name in scprograms.__all__ if inspect.ismodule(getattr(scprograms, name))]
SYSTEMS = {"programs", "perturbation", "enrichment", "modules", "states", "embeddings", "accessibility"}
"""What they offer is listed as part of the facades; their engines have pages of their own (docs/_engine.py)."""
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
WRITTEN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
WRITTEN += sorted((ROOT / "docs/guide").glob("*.md"))
LARGEST_NOTEBOOK = 1.5e6


def listed_in_api() -> list[str]:
    """Return the names in the autosummary tables of docs/api.md."""
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    tables = re.findall(r"\.\. autosummary::\n(.*?)```", page, flags=re.DOTALL)
    return re.findall(r"^ {3}([A-Za-z][\w.]*)$", "\n".join(tables), flags=re.MULTILINE)


@pytest.mark.parametrize("module", SUBPACKAGES)
def test_every_public_name_is_in_the_api_docs(module):
    names = importlib.import_module(f"scprograms.{module}").__all__
    shown = {name for name in listed_in_api() if name.startswith(f"{module}.")}
    assert shown == {f"{module}.{name}" for name in names}


def test_the_api_docs_list_each_name_once_and_those_of_the_package_itself():
    listed = listed_in_api()
    assert len(listed) == len(set(listed))
    own = {name for name in scprograms.__all__ if not name.startswith("_")}.difference(SUBPACKAGES)
    assert own == {name for name in listed if "." not in name}


def packages_of_the_source() -> set[str]:
    """Return every package whose ``__init__`` offers names, so that a new one cannot be forgotten."""
    root = ROOT / "src/scprograms"
    files = [*root.glob("[a-z]*/__init__.py"), *root.glob("*/engine/**/__init__.py")]
    found = {".".join(path.parent.relative_to(root).parts) for path in files}
    return {name for name in found if _engine.public_names(name)}


def test_every_package_with_public_names_has_a_page():
    facades = {"pp", "tl", "get", "pl"}  # files, not folders
    listed_in_part = {"cli", "pipeline"}
    assert packages_of_the_source() - SYSTEMS - listed_in_part == {*SUBPACKAGES, *_engine.PAGES} - facades


@pytest.mark.parametrize("package", _engine.PAGES)
def test_pages_of_the_engine_list_every_public_name(package):
    names = _engine.public_names(package)
    shown = re.findall(rf"^   {package}\.(\w+)$", _engine.page(package), flags=re.MULTILINE)
    assert sorted(shown) == sorted(names) != []
    if package != "embeddings.engine.networks":  # which needs torch
        assert sorted(names) == sorted(importlib.import_module(f"scprograms.{package}").__all__)


def test_constants_say_what_they_are():
    constants = [(p, n) for p in _engine.PAGES for n in _engine.public_names(p) if _engine.kind(n) == 2]
    assert ("states.engine", "REASONS") in constants
    own = [(p, n) for p, n in constants if not inspect.isclass(getattr(importlib.import_module(f"scprograms.{p}"), n))]
    assert [f"{p}.{n}" for p, n in own if not _engine.constant_doc(p, n)] == []


def test_the_changelog_page_includes_the_changelog():
    page = (ROOT / "docs/changelog.md").read_text(encoding="utf-8")
    (included,) = re.findall(r"```\{include\} (\S+)", page)
    assert (ROOT / "docs" / included).resolve() == ROOT / "CHANGELOG.md"


def in_toctrees(page: str) -> set[str]:
    """Return the entries of all tables of contents on a page."""
    trees = re.findall(r"```\{toctree\}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    return {line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")}


def test_pages_of_the_site_are_linked():
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    made_by_the_build = {"gallery/index", "benchmarks/index", *(f"engine/{package}" for package in _engine.PAGES)}
    assert in_toctrees("docs/index.md") == pages | made_by_the_build
    assert in_toctrees("docs/guide.md") == {f"guide/{path.stem}" for path in (ROOT / "docs/guide").glob("*.md")}
    patterns = in_toctrees("docs/tutorials.md")
    assert [path.stem for path in NOTEBOOKS if not any(fnmatch(f"tutorials/{path.stem}", p) for p in patterns)] == []


@pytest.mark.parametrize("page", WRITTEN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_calls_on_the_pages_name_what_exists(page):
    check_names(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", WRITTEN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page):
    made_by_the_build = {"gallery", "benchmarks", "engine", "generated", "tutorials"}
    for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
        target = (page.parent / link).resolve()
        inside = target.relative_to(ROOT / "docs").parts if target.is_relative_to(ROOT / "docs") else ()
        if inside and inside[0] in made_by_the_build:  # the build itself follows these
            continue
        assert target.is_file(), link


def test_sources_of_docstrings_are_among_the_references():
    page = (ROOT / "docs/references.md").read_text(encoding="utf-8").lower()
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    cited = {doi.rstrip(".,;:").lower() for doi in re.findall(r"https://doi\.org/([^\s),`>\"]+)", code)}
    assert len(cited) > 20
    assert sorted(doi for doi in cited if f"https://doi.org/{doi}" not in page) == []


def test_references_have_a_year_and_a_doi_that_looks_like_one():
    page = (ROOT / "docs/references.md").read_text(encoding="utf-8")
    entries = re.findall(r"^: (.*?)(?=\n\n|\n: |\Z)", page, flags=re.DOTALL | re.MULTILINE)
    assert len(entries) > 50
    without_doi = ("Okabe & Ito (2008)", "Kingma & Welling (2014)", "Platt (1999)")
    for entry in entries:
        assert re.match(r"[A-Z][\w ,.&'-]+ \((19|20)\d\d\)\. ", entry), entry
        if not entry.startswith(without_doi):
            ((shown, linked),) = re.findall(r"\[doi:(\S+)\]\(https://doi\.org/(\S+)\)", entry)
            assert shown == linked
            assert re.fullmatch(r"10\.\d{4,5}/\S+[\w]", shown), shown


def test_papers_of_docstrings_are_among_the_references():
    page = (ROOT / "docs/references.md").read_text(encoding="utf-8")
    named = set()
    for path in (ROOT / "src").rglob("*.py"):
        named |= set(
            re.findall(
                r"\b([A-Z][a-z]+)(?: et al\.|(?:, [A-Z]\w+)*,? (?:&|and) [A-Z]\w+)? \(?((?:19|20)\d\d)\)",
                path.read_text(),
            )
        )
    assert len(named) > 30
    assert sorted(f"{who} {year}" for who, year in named if not re.search(rf"{who}\b[^()]*\({year}\)", page)) == []


def test_validation_names_tests_that_exist():
    page = (ROOT / "docs/validation.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", page)
    assert len(named) > 20
    missing = [f"{file}::{test}" for file, test in named if f"def {test}(" not in (ROOT / "tests" / file).read_text()]
    assert missing == []


def measured(script: str, column: int, *first: str) -> float:
    """Return a number of benchmarks/README.md: of the first row of a script's tables that begins with these cells."""
    part = _benchmarks.section(_benchmarks.RESULTS.read_text(encoding="utf-8"), script)
    for table in _benchmarks.tables(part):
        rows = table[(table.iloc[:, : len(first)] == list(first)).all(axis=1)]
        if len(rows):
            return float(_benchmarks.numbers(rows.iloc[:, column]).iloc[0])
    msg = f"{script} has no row {first}"
    raise LookupError(msg)


QUALITY, LEVEL, REAL = "quality.py", "calibration.py", "effects.py"


@pytest.mark.parametrize(
    ("page", "sentence", "figures"),
    [
        (
            "methods",
            "for cell types is {:.2f} for semi-NMF and {:.2f} for scikit-learn's NMF; "
            "on the screen of Kang et al. {:.2f} and {:.2f}.",
            [
                (QUALITY, 3, "pbmc3k", "20", "scprograms"),
                (QUALITY, 3, "pbmc3k", "20", "scikit-learn NMF"),
                (QUALITY, 3, "kang", "20", "scprograms"),
                (QUALITY, 3, "kang", "20", "scikit-learn NMF"),
            ],
        ),
        (
            "methods",
            "come back with a cosine of {:.2f}, those of semi-NMF with {:.2f}.",
            [(QUALITY, 6, "pbmc3k", "30", "scikit-learn NMF"), (QUALITY, 6, "pbmc3k", "30", "scprograms")],
        ),
        (
            "methods",
            "with an AUROC of {:.2f}, against {:.2f} by NMF",
            [(QUALITY, 4, "papalexi", "20", "scprograms"), (QUALITY, 4, "papalexi", "20", "scikit-learn NMF")],
        ),
        (
            "tests",
            "analysis of variance calls {:.0%} of the programs at p ≤ 0.05, "
            "that on ranks {:.0%}, the replicate test {:.0%}.",
            [(LEVEL, 2, "guides 0.6 %", test) for test in ("anova", "rank_anova", "replicate")],
        ),
        (
            "tests",
            "analysis of variance calls {:.0%}, permutation within batches {:.0%}.",
            [(LEVEL, 2, "batches", "anova"), (LEVEL, 2, "batches", "permutation, batch")],
        ),
        (
            "tests",
            "calls up to {:.0%}, and {:.1%} at 0.001.",
            [(LEVEL, column, "97 % zeros, unequal", "anova") for column in (2, 3)],
        ),
        (
            "tests",
            "lambda (below) is {:.2f} (0.51 to 1.34) with cells as the unit, and {:.2f} (0.62 to 1.39) with guides.",
            [(REAL, 1, "guides split, cells permuted"), (REAL, 1, "guides as replicates")],
        ),
    ],
)
def test_numbers_of_the_guide_are_those_that_were_measured(page, sentence, figures):
    text = " ".join((ROOT / f"docs/guide/{page}.md").read_text(encoding="utf-8").replace("’", "'").split())
    said = sentence.format(*(measured(*figure) for figure in figures)).replace("%", " %")
    assert said in text


def test_what_the_entry_for_the_registry_says_is_true():
    entry = (ROOT / ".github/scverse-meta.yaml").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    said = dict(re.findall(r"^(\w+): *(.*)$", entry, flags=re.MULTILINE))
    assert (said["name"], said["license"], said["language"]) == (project["name"], project["license"], "Python")
    assert ".[test]" in said["test_command"]
    assert "test" in project["optional-dependencies"]
    assert 1 <= len(re.findall(r"^  - ", entry, flags=re.MULTILINE)) <= 10, "tags"
    if "urls" not in project:  # nothing is claimed of what does not exist yet
        assert not {"project_home", "documentation_home", "install", "contact"} & set(said)


def test_there_is_a_tutorial():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_was_run_from_top_to_bottom_without_errors(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    kinds = {output["output_type"] for output in outputs}
    assert kinds <= {"stream", "display_data", "execute_result"}, "an error is among the outputs"
    assert not [output["text"] for output in outputs if output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_of_notebook_parses_and_calls_what_exists(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            ast.parse(source)
        check_names(source)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_small_links_to_what_exists_and_has_no_paths_of_a_machine(path):
    assert path.stat().st_size < LARGEST_NOTEBOOK
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert "widgets" not in notebook["metadata"], "the state of progress bars was saved: see docs/conf.py"
    prose = "".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    for link in re.findall(r"\]\((?!https?://)([^)#]+)", prose):
        assert (path.parent / link).is_file(), link
    assert not re.findall(r"/(?:home|tmp|Users|root|work)/", path.read_text(encoding="utf-8"))


def check_names(text: str) -> None:
    found = re.findall(r"\bscp\.(\w+)\.(\w+)", text)
    missing = [f"scp.{module}.{name}" for module, name in found if not hasattr(getattr(scprograms, module, None), name)]
    assert not missing
