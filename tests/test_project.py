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
