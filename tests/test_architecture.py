"""Who may import whom, what an import loads, and what every module and public function keeps to."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
import types
from importlib import import_module
from pathlib import Path

import pytest

import scprograms

ROOT = Path(scprograms.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
MOST_LINES = 320

LEAVES = {"_keys", "_validate", "_files"}
ENGINE = {"factorization", "stats", "nn", "recovery", "accessibility"}
STORES = {path.stem for path in ROOT.glob("_store*.py")}
"""Which parts of the package a part may import; its own modules always."""
ALLOWED: dict[str, set[str]] = {
    **{part: set() for part in LEAVES | ENGINE},
    "recovery": {"factorization"},
    "accessibility": {"nn", "_files"},
    **{part: {"_keys", "_validate", "_store"} for part in STORES},
    "_store_accessibility": {"_keys", "_validate", "_store", "_store_modules"},
    "_store_recovery": {"_keys", "_validate", "_store", "_files"},
    "pp": ENGINE | LEAVES | STORES,
    "tl": ENGINE | LEAVES | STORES,
    "get": LEAVES | STORES,
    "pl": LEAVES | {"get"},
    "datasets": LEAVES,
    "report": LEAVES | {"_store", "pp", "tl", "get", "pl", "datasets", "stats", "__init__"},
    "cli": LEAVES | STORES | {"pp", "tl", "get", "pl", "datasets", "stats", "accessibility", "report", "__init__"},
    "__init__": {"_validate", "pp", "tl", "get", "pl", "datasets", "report", "_version"},
    "__main__": {"cli"},
}
FORBIDDEN_IN_THE_ENGINE = {"anndata", "scanpy", "matplotlib", "seaborn", "gseapy", "statsmodels", "mudata"}
ONLY_INSIDE_FUNCTIONS = {
    "scanpy",
    "gseapy",
    "statsmodels",
    "torch",
    "dask",
    "matplotlib.pyplot",
    "seaborn",
    "pooch",
    "requests",
}
DATASETS_MAY_USE = {
    "numpy",
    "scipy",
    "pandas",
    "anndata",
    "h5py",
    "pooch",
    "requests",
    "scprograms",
    *sys.stdlib_module_names,
}


class Imports(ast.NodeVisitor):
    """Every imported module as (dotted name, imported name or None, whether at module level), type checking aside."""

    def __init__(self, package: str) -> None:
        self.package, self.depth, self.found = package, 0, []

    def visit_Import(self, node):
        self.found += [(alias.name, None, self.depth == 0) for alias in node.names]

    def visit_ImportFrom(self, node):
        base = node.module or ""
        if node.level:
            parents = self.package.split(".")
            parents = parents[: len(parents) - node.level + 1]
            base = ".".join([*parents, base] if base else parents)
        self.found += [(base, alias.name, self.depth == 0) for alias in node.names]

    def visit_FunctionDef(self, node):
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef  # noqa: N815

    def visit_If(self, node):
        names = {
            n.id if isinstance(n, ast.Name) else n.attr
            for n in ast.walk(node.test)
            if isinstance(n, ast.Name | ast.Attribute)
        }
        self.depth += "TYPE_CHECKING" in names  # not run, but an arrow all the same
        for child in node.body:
            self.visit(child)
        self.depth -= "TYPE_CHECKING" in names
        for child in node.orelse:
            self.visit(child)


def broken_rules(source: str, path: str) -> list[str]:
    """Return what a module at ``path`` (relative to the package) breaks, one sentence each."""
    parts = path.removesuffix(".py").split("/")
    part = parts[0]
    package = ".".join(["scprograms", *parts[:-1]])
    tree = ast.parse(source)
    visitor = Imports(package)
    visitor.visit(tree)
    broken = []
    if part not in ALLOWED:
        broken.append(f"{part} has no rule: say in this test what it may import")
    for base, name, top in visitor.found:
        full = base if name is None else f"{base}.{name}"
        first = base.split(".")[0]
        if first == "scprograms":
            rest = full.split(".")[1:]
            # "from scprograms import __version__" takes it from the package itself.
            target = rest[0] if rest and (ROOT / rest[0]).is_dir() | (ROOT / f"{rest[0]}.py").is_file() else "__init__"
            if target != part and target not in ALLOWED.get(part, set()):
                broken.append(f"{part} imports {target} ({full})")
            continue
        private = [piece for piece in full.split(".") if piece.startswith("_") and not piece.startswith("__")]
        if private:
            broken.append(f"{full} is private")
        if part in ENGINE and first in FORBIDDEN_IN_THE_ENGINE:
            broken.append(f"the engine imports {full}")
        if part == "datasets" and first not in DATASETS_MAY_USE:
            broken.append(f"datasets imports {full}")
        lazy = {first, base, full} & ONLY_INSIDE_FUNCTIONS
        if top and lazy and not (part == "nn" and lazy == {"torch"}):
            broken.append(f"{full} is imported with the package")
    return broken + private_attributes(tree)


def private_attributes(tree: ast.AST) -> list[str]:
    """Return every use of ``othermodule._private`` for names that an import of another package bound."""
    bound = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            bound |= {(a.asname or a.name).split(".")[0]: a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            bound |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    broken = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and not bound.get(root.id, "scprograms").startswith("scprograms"):
                broken.append(f"{ast.unparse(node)} is private to {bound[root.id]}")
    return broken


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_keep_to_the_rules(path):
    assert broken_rules(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()) == []


@pytest.mark.parametrize(
    ("path", "source", "message"),
    [
        ("factorization/_x.py", "import anndata", "the engine imports anndata"),
        ("stats/_x.py", "def f():\n    from scanpy import pp", "the engine imports scanpy.pp"),
        ("factorization/_x.py", "from matplotlib import colors", "the engine imports matplotlib.colors"),
        ("factorization/_x.py", "from scprograms import _store", "factorization imports _store"),
        ("factorization/_x.py", "from .._validate import warn", "factorization imports _validate"),
        ("factorization/_x.py", "from scprograms.stats import anova", "factorization imports stats"),
        ("stats/_x.py", "def f():\n    import scprograms.tl", "stats imports tl"),
        ("get/_x.py", "from scprograms.factorization import SemiNMF", "get imports factorization"),
        ("get/_x.py", "from ..tl._anova import program_anova", "get imports tl"),
        ("pl/_x.py", "from scprograms import _store", "pl imports _store"),
        ("pl/_x.py", "from scprograms.stats import one_way_anova", "pl imports stats"),
        ("tl/_x.py", "from scprograms import pl", "tl imports pl"),
        ("tl/_x.py", "from scprograms.get import usages", "tl imports get"),
        (
            "tl/_x.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from scprograms.get import x",
            "tl imports get",
        ),
        ("datasets/_x.py", "from scprograms import _store", "datasets imports _store"),
        ("datasets/_x.py", "def f():\n    import sklearn", "datasets imports sklearn"),
        ("_validate.py", "from . import _keys", "_validate imports _keys"),
        ("_keys.py", "from ._store import Labels", "_keys imports _store"),
        ("_store.py", "from .tl import semi_nmf", "_store imports tl"),
        ("report/_x.py", "from scprograms import cli", "report imports cli"),
        ("report/_x.py", "from scprograms.factorization import SemiNMF", "report imports factorization"),
        ("tl/_x.py", "import scanpy as sc", "scanpy is imported with the package"),
        ("tl/_x.py", "from scanpy import pp", "scanpy.pp is imported with the package"),
        ("tl/_x.py", "try:\n    import gseapy\nexcept ImportError:\n    pass", "gseapy is imported with the package"),
        ("tl/_x.py", "if True:\n    import torch", "torch is imported with the package"),
        ("tl/_x.py", "class A:\n    import statsmodels.api", "statsmodels.api is imported with the package"),
        ("tl/_x.py", "import dask.array as da", "dask.array is imported with the package"),
        ("pl/_x.py", "from matplotlib import pyplot as plt", "matplotlib.pyplot is imported with the package"),
        ("pl/_x.py", "import matplotlib.pyplot as plt", "matplotlib.pyplot is imported with the package"),
        ("tl/_x.py", "from scanpy._utils import f", "scanpy._utils.f is private"),
        ("tl/_x.py", "def f():\n    from sklearn.decomposition import _nmf", "sklearn.decomposition._nmf is private"),
        ("tl/_x.py", "import numpy as np\nnp._core.multiarray", "np._core is private to numpy"),
        ("tl/_x.py", "from scipy import sparse\nsparse._base.f()", "sparse._base is private to scipy.sparse"),
        ("nonsense/_x.py", "", "nonsense has no rule"),
    ],
)
def test_the_walker_can_fail(path, source, message):
    assert any(message in sentence for sentence in broken_rules(source, path)), broken_rules(source, path)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("tl/_x.py", "from scprograms import _keys, _store, _validate\nfrom scprograms.factorization import SemiNMF"),
        ("tl/_x.py", "def f():\n    import scanpy as sc\n    from torch import nn"),
        ("tl/_x.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import scanpy"),
        ("pl/_x.py", "from scprograms import get\nfrom . import _figure\nfrom scprograms._anndata.selection import f"),
        ("get/_x.py", "from scprograms._anndata.slots import read_fit\nfrom ._select import f"),
        ("factorization/_x.py", "from ._solvers import f\nimport numba\nself._x\nnp = 1\nnp._x"),
        ("datasets/_x.py", "import json\nimport anndata\ndef f():\n    import pooch"),
        ("report/_x.py", "from scprograms import __version__, get, pl"),
    ],
)
def test_the_walker_lets_good_modules_through(path, source):
    assert broken_rules(source, path) == []


def test_the_walker_sees_all_modules():
    assert len(MODULES) > 40
    assert {path.name for path in MODULES} >= {"_store.py", "_semi_nmf.py", "_kernels.py"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_modules_are_one_room(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


# --- what an import loads ------------------------------------------------------------------------------------------

HEAVY = ["torch", "dask", "statsmodels", "gseapy", "matplotlib.pyplot", "scanpy", "seaborn", "pooch", "xarray"]


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nimport json; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    path = {"PYTHONPATH": str(ROOT.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **path}
    )
    return set(json.loads(done.stdout))


def test_an_import_loads_nothing_heavy():
    assert loaded_by("import scprograms") <= loaded_by("import anndata")
    assert "seaborn" in loaded_by("import seaborn")  # the question can be answered with yes


def modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nimport json; print(json.dumps(sorted(sys.modules)))"
    path = {"PYTHONPATH": str(ROOT.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **path}
    )
    return set(json.loads(done.stdout))


def test_an_import_loads_no_package_that_anndata_does_not_load():
    def others(statement):
        return {name.split(".")[0] for name in modules_after(statement)} - set(sys.stdlib_module_names) - {"scprograms"}

    assert others("import scprograms") <= others("import anndata")
    # Parts of the package come when they are used, and bring what they need.
    assert "numba" in others("import scprograms; scprograms.tl") - others("import anndata")


def test_parts_of_the_package_come_when_they_are_used():
    parts = (
        "from scprograms import tl\nimport scprograms as scp\nassert scp.tl is tl\nscp.factorization.SemiNMF, scp.pl"
    )
    assert {"scprograms.tl", "scprograms.pl"} <= modules_after(parts)
    assert {"tl", "pl", "get", "ProgramsWarning"} <= set(dir(scprograms))
    with pytest.raises(AttributeError, match="'scprograms' has no attribute 'plot'"):
        _ = scprograms.plot


# --- the public interface ------------------------------------------------------------------------------------------

PACKAGES = sorted(
    ".".join(["scprograms", *path.parent.relative_to(ROOT).parts]) for path in MODULES if path.name == "__init__.py"
)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_of_all_exists(package):
    if package == "scprograms.nn":
        pytest.importorskip("torch", reason='networks need torch: pip install "scprograms[deep]"')
    module = import_module(package)
    assert len(set(module.__all__)) == len(module.__all__)  # ruff holds the order
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert module.__doc__


def public() -> dict[str, types.FunctionType | type]:
    found = {}
    for package in ("pp", "tl", "get", "pl", "datasets", "factorization", "stats"):
        module = import_module(f"scprograms.{package}")
        for name in module.__all__:
            if callable(getattr(module, name)) and (
                inspect.isfunction(x := getattr(module, name)) or inspect.isclass(x)
            ):
                found[f"{package}.{name}"] = x
    return found


VERBS = {name: f for name, f in public().items() if inspect.isfunction(f) and name.split(".")[0] not in ENGINE}


def test_there_are_verbs_to_look_at():
    assert {"tl.semi_nmf", "tl.program_anova", "get.usages", "pl.usage_heatmap"} <= set(VERBS)


@pytest.mark.parametrize("name", public())
def test_at_most_three_positional_parameters(name):
    positional = [
        p
        for p in inspect.signature(public()[name]).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    thing = public()[name]
    if inspect.isclass(thing) and hasattr(thing, "__dataclass_fields__"):
        return  # a record of results: users read it, the package makes it
    assert len(positional) <= 3


@pytest.mark.parametrize("name", VERBS)
def test_docstrings_say_what_goes_in_what_comes_out_and_how_to_call_it(name):
    function = VERBS[name]
    doc = inspect.getdoc(function) or ""
    headings = [
        line for line, below in zip(doc.splitlines(), doc.splitlines()[1:], strict=False) if set(below) == {"-"}
    ]
    if inspect.signature(function).parameters:
        assert "Parameters" in headings
    assert {"Returns", "Yields"} & set(headings)
    assert "Examples" in headings
    assert ">>>" in doc
    section = doc.split("Parameters\n-", 1)[-1].split("\nReturns\n", 1)[0]
    described = {
        word.strip(" *") for line in section.splitlines() if not line.startswith(" ") for word in line.split(",")
    }
    assert [p for p in inspect.signature(function).parameters if p not in described] == []


def test_the_estimator_documents_itself():
    from scprograms.programs.engine import SemiNMF

    doc = inspect.getdoc(SemiNMF)
    for heading in ("Parameters", "Attributes", "References", "Examples"):
        assert f"\n{heading}\n---" in doc
    for name in inspect.signature(SemiNMF).parameters:
        assert f"\n{name}\n" in doc
