"""The site and the tutorials say what the package does."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

import scprograms

ROOT = Path(__file__).parents[1]
SUBPACKAGES = [name for name in scprograms.__all__ if inspect.ismodule(getattr(scprograms, name))]
MODULES = [*SUBPACKAGES, "factorization", "accessibility"]
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
WRITTEN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
WRITTEN += sorted((ROOT / "docs/guide").glob("*.md"))
LARGEST_NOTEBOOK = 1.5e6


def listed_in_api() -> list[str]:
    """Return the names in the autosummary tables of docs/api.md."""
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    tables = re.findall(r"\.\. autosummary::\n(.*?)```", page, flags=re.DOTALL)
    return re.findall(r"^ {3}([A-Za-z][\w.]*)$", "\n".join(tables), flags=re.MULTILINE)


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_api_docs(module):
    names = importlib.import_module(f"scprograms.{module}").__all__
    shown = {name for name in listed_in_api() if name.startswith(f"{module}.")}
    assert shown == {f"{module}.{name}" for name in names}


def test_the_api_docs_list_each_name_once_and_those_of_the_package_itself():
    listed = listed_in_api()
    assert len(listed) == len(set(listed))
    own = {name for name in scprograms.__all__ if not name.startswith("_")}.difference(SUBPACKAGES)
    assert own == {name for name in listed if "." not in name}


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
    made_by_the_build = {"gallery/index", "benchmarks/index", "engine/stats"}
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
    cited = {doi.rstrip(".,;").lower() for doi in re.findall(r"https://doi\.org/([^\s),`>\"]+)", code)}
    assert len(cited) > 20
    assert sorted(doi for doi in cited if f"https://doi.org/{doi}" not in page) == []


def test_validation_names_tests_that_exist():
    page = (ROOT / "docs/validation.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", page)
    assert len(named) > 20
    missing = [f"{file}::{test}" for file, test in named if f"def {test}(" not in (ROOT / "tests" / file).read_text()]
    assert missing == []


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
