"""What the repository promises outside its code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_ci_runs_the_test_command_of_the_readme():
    readme = (ROOT / "README.md").read_text()
    (command,) = [line for line in readme.splitlines() if line.endswith("-m pytest -q")]
    ci = (ROOT / ".ci/run").read_text()
    assert command.replace("python3 ", '"$python" ', 1).replace(".venv", '"$venv"') in ci


def test_every_dependency_is_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    code = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    modules = {"scikit-learn": "sklearn"}
    for requirement in project["dependencies"]:
        name = re.split(r"[\[<>=~ ]", requirement)[0]
        assert re.search(rf"^\s*(import|from) {modules.get(name, name)}\b", code, flags=re.MULTILINE), name


def test_exact_versions_of_tools_stand_in_one_place():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    exact = [line for group in ("lint", "coverage", "resolver") for line in tools[group]]
    assert all("==" in line for line in exact)
    names = "|".join(line.partition("==")[0] for line in exact)
    for path in (ROOT / ".ci/run", ROOT / ".pre-commit-config.yaml", *(ROOT / ".github/workflows").iterdir()):
        assert not re.search(rf"\b({names})[<>=~]", path.read_text()), path.name


def test_actions_are_pinned_by_hash():
    workflows = "\n".join(path.read_text() for path in (ROOT / ".github/workflows").iterdir())
    used = re.findall(r"uses: *(.*)", workflows)
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", action)] == []


def test_the_tests_of_the_engine_exist():
    listed = re.search(r"^ENGINE = \{(.*?)^\}", (ROOT / "conftest.py").read_text(), flags=re.MULTILINE | re.DOTALL)
    assert listed
    names = re.findall(r'"(\w+)"', listed[1])
    assert len(names) > 20
    assert [name for name in names if not (ROOT / f"tests/{name}.py").exists()] == []
