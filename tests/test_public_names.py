"""Every public name has documentation, an example and a test; every figure has a picture in the gallery."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import scprograms
from scprograms import pipeline

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
import _engine  # noqa: E402
import _gallery  # noqa: E402
import _links  # noqa: E402

PACKAGES = [name for name in scprograms.__all__ if inspect.ismodule(getattr(scprograms, name))]
"""The facades and what stands on them; the engines below are public as well."""
ENGINE = list(_engine.PAGES)
NOT_EVIDENCE = {Path(__file__).name, "test_architecture.py", "test_docs.py"}
"""Tests that go over all names mention none of them on purpose."""


def public_names() -> dict[str, object]:
    found: dict[str, object] = {"ProgramsWarning": scprograms.ProgramsWarning}
    for package in [*PACKAGES, *ENGINE]:
        if package == "embeddings.engine.networks" and find_spec("torch") is None:
            continue
        module = importlib.import_module(f"scprograms.{package}")
        found |= {f"{package}.{name}": getattr(module, name) for name in module.__all__}
    return found | {f"pipeline.{name}": getattr(pipeline, name) for name in ("analyse", "Settings", "InputError")}


NAMES = public_names()
BASES = {"programs.engine.ProgramEstimator"}


def is_record(thing: object) -> bool:
    """Whether something only holds results or is a base class: made by the package, and read by users."""
    return inspect.isclass(thing) and (
        dataclasses.is_dataclass(thing) or issubclass(thing, tuple | Warning | Exception)
    )


CALLED = {
    name: thing
    for name, thing in NAMES.items()
    if (inspect.isfunction(thing) or inspect.isclass(thing)) and not is_record(thing) and name not in BASES
}


def words_of_tests() -> set[str]:
    """Return every identifier in the code of the tests, comments and docstrings aside."""
    words = set()
    for path in (ROOT / "tests").glob("*.py"):
        if path.name in NOT_EVIDENCE:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name):
                words.add(node.id)
            elif isinstance(node, ast.Attribute):
                words.add(node.attr)
            elif isinstance(node, ast.alias):
                words.add(node.name.rpartition(".")[2])
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                words.add(node.value)  # a parameter of a test, as in getattr(scp.tl, name)
    return words


WORDS = words_of_tests()


def test_there_are_names_to_look_at():
    assert len(NAMES) > 100
    assert {"tl.semi_nmf", "pl.usage_heatmap", "perturbation.engine.one_way_anova", "programs.engine.SemiNMF"} <= set(
        CALLED
    )


@pytest.mark.parametrize("name", [name for name, x in NAMES.items() if inspect.isfunction(x) or inspect.isclass(x)])
def test_is_documented(name):
    doc = inspect.getdoc(NAMES[name]) or ""
    assert len(doc) > 15, f"{name} has no docstring"


def arguments_described(doc: str) -> set[str]:
    """Return the names in the section Parameters of a docstring."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", doc, flags=re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^(\*{0,2}\w[\w, *]*)$", section[1], flags=re.MULTILINE) if section else []
    return {name.strip(" *") for line in lines for name in line.split(",")}


@pytest.mark.parametrize("name", CALLED)
def test_describes_every_argument(name):
    taken = set(inspect.signature(CALLED[name]).parameters)
    assert taken - arguments_described(inspect.getdoc(CALLED[name]) or "") == set()


@pytest.mark.parametrize("name", [name for name, thing in NAMES.items() if dataclasses.is_dataclass(thing)])
def test_describes_every_field(name):
    source, doc = inspect.getsource(NAMES[name]), inspect.getdoc(NAMES[name]) or ""
    fields = [field.name for field in dataclasses.fields(NAMES[name])]
    below = [field for field in fields if re.search(rf'^    {field}: [^\n]+\n    """', source, flags=re.MULTILINE)]
    assert [field for field in fields if field not in below and not re.search(rf"^{field}$", doc, re.MULTILINE)] == []


@pytest.mark.parametrize("name", CALLED)
def test_has_an_example(name):
    doc = inspect.getdoc(CALLED[name]) or ""
    assert "Examples\n--------\n" in doc, f"{name} has no section Examples"
    assert ">>> " in doc.partition("Examples\n--------\n")[2]


@pytest.mark.parametrize("name", CALLED)
def test_has_a_test(name):
    assert name.rpartition(".")[2] in WORDS, f"no file in tests/ uses {name}"


def test_words_of_comments_and_docstrings_are_no_tests():
    assert "usage_heatmap" in WORDS
    assert not {"independent", "oracles", "gallery"} & WORDS


# --- the site ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", scprograms.pl.__all__)
def test_every_figure_has_a_picture_in_the_gallery(name):
    advice = f"pl.{name} has no picture on the site: add it to RECIPES in docs/_gallery.py"
    assert not _gallery.without_recipe([name]), advice


def test_a_figure_without_recipe_is_found():
    assert _gallery.without_recipe(["usage_heatmap", "no_such_figure"]) == ["no_such_figure"]


@pytest.mark.parametrize("name", [name for name in _gallery.RECIPES if name in scprograms.pl.__all__])
def test_recipes_draw_what_they_are_called(name):
    recipe = _gallery.RECIPES[name]
    assert re.match(rf"scp\.pl\.{name}\(", recipe.call)
    code = _gallery.DATA[recipe.data].code + recipe.steps + "\n" + recipe.call
    ast.parse(code)
    calls = re.findall(r"\bscp\.(\w+)\.(\w+)", code)
    assert [call for call in calls if not hasattr(getattr(scprograms, call[0]), call[1])] == []


def test_pictures_and_page_of_the_gallery(tmp_path):
    names = ["module_map", "feature_score"]
    seconds = _gallery.draw(tmp_path, names)
    assert set(seconds) == set(names)
    assert all((tmp_path / f"{name}.png").stat().st_size > 5000 for name in names)
    page = _gallery.page(names)
    assert page.count("```{image}") == 2
    assert 'scp.pl.module_map(bulk, "subtype", "region")' in page
    assert "usage_heatmap" not in page


def test_the_page_of_benchmarks_has_its_pictures(tmp_path):
    import _benchmarks

    _benchmarks.make(tmp_path)
    page = (tmp_path / "index.md").read_text(encoding="utf-8")
    for name in _benchmarks.PICTURES:
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
        assert f"```{{figure}} {name}.png" in page
    (table,) = _benchmarks.tables("| a | b |\n| --- | --- |\n| 1,000 | 0.5 (0.1) |\n| x | |\n")
    assert _benchmarks.numbers(table["a"]).tolist()[0] == 1000
    assert _benchmarks.numbers(table["b"]).tolist()[0] == 0.5
    with pytest.raises(LookupError, match="no section"):
        _benchmarks.section("## One\n", "two.py")


def test_dead_links_are_found(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(
        '<h1 id="top">x</h1><a href="#top">1</a><a href="#none">2</a><a href="sub/page.html#here">3</a>'
        '<a href="sub/page.html#there">4</a><img src="missing.png"><a href="https://example.org/x">5</a>'
    )
    (tmp_path / "sub/page.html").write_text(
        '<p id="here"></p><a href="../index.html">back</a><a href="other.html">x</a>'
    )
    assert _links.dead_links(tmp_path) == [
        "index.html: #none has no such anchor",
        "index.html: sub/page.html#there has no such anchor",
        "index.html: missing.png does not exist",
        "sub/page.html: other.html does not exist",
    ]


def test_pages_say_what_they_are_about_and_draw_formulas_without_a_network():
    pytest.importorskip("sphinx")
    import _html
    from docutils.core import publish_doctree

    page = publish_doctree(
        "Title\n=====\n\n.. note:: Something aside that is long enough to count.\n\n" + "Many words. " * 30
    )
    assert _html.description(page) == ("Many words. " * 13).strip()
    assert _html.description(publish_doctree("Title\n=====\n\nShort.\n")) == ""
    formula = _html.mathml(r"\frac{1}{\log_2 k}", block=True)
    assert formula.startswith('<math display="block"')
    assert "<mfrac>" in formula
    name = '<span class="pre">test_file.py::test_a_long_name</span>'
    assert _html.breakable(name).count("<wbr>") == 6
    assert _html.breakable(name).replace("<wbr>", "") == name
