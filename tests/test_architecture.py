"""The layout: who may import whom, where AnnData is written and arrays are computed, and what an import loads."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import scprograms
from scprograms import pipeline

if TYPE_CHECKING:
    import types

ROOT = Path(scprograms.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
ALL_PATHS = {path.relative_to(ROOT).as_posix() for path in MODULES}

BASIS = {"_core", "_anndata", "_draw"}
SYSTEMS = {"programs", "enrichment", "perturbation", "modules", "states", "embeddings", "accessibility"}
FACADES = {"pp", "tl", "get", "pl"}
ON_PROGRAMS = BASIS | {"programs"}
"""Which parts of the package a part may import; its own modules always."""
ARROWS: dict[str, set[str]] = {
    "_core": set(),
    "_anndata": {"_core"},
    "_draw": {"_core", "_anndata"},
    "programs": BASIS,
    **dict.fromkeys(("enrichment", "perturbation", "modules", "states", "embeddings"), ON_PROGRAMS),
    "accessibility": ON_PROGRAMS | {"embeddings"},
    "exchange": BASIS | SYSTEMS,
    "datasets": BASIS | SYSTEMS,
    **dict.fromkeys(FACADES, {"_anndata"} | SYSTEMS),
    **dict.fromkeys(("stats", "factorization"), {"_core"} | SYSTEMS),
    "report": BASIS | SYSTEMS | FACADES | {"exchange", "datasets"},
    "pipeline": BASIS | SYSTEMS | FACADES | {"exchange", "datasets", "report"},
    "cli": BASIS | SYSTEMS | FACADES | {"exchange", "datasets", "report", "pipeline"},
    "__init__": {"_core", "datasets", "report"} | FACADES,
    "__main__": {"cli"},
}

NOT_IN_AN_ENGINE = {"anndata", "scanpy", "matplotlib", "seaborn", "gseapy", "statsmodels", "mudata"}
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
NEED_TORCH = ("embeddings/engine/networks/", "accessibility/engine/_accessibility_", "_core/devices.py")
"""Modules that import torch at their top, and are imported by functions that train."""
SLOTS = {"X", "obs", "var", "obsm", "varm", "obsp", "varp", "layers", "uns", "raw"}
CHANGING_METHODS = {"pop", "update", "setdefault", "insert", "drop", "clear"}
COMPUTING_PACKAGES = (
    "numba",
    "scipy.cluster",
    "scipy.linalg",
    "scipy.optimize",
    "scipy.sparse.linalg",
    "scipy.spatial",
    "scipy.special",
    "scipy.stats",
    "sklearn",
    "statsmodels",
)
COMPUTING_FUNCTIONS = {
    "linalg",
    "einsum",
    "dot",
    "matmul",
    "tensordot",
    "inner",
    "vdot",
    "kron",
    "fft",
    "cov",
    "corrcoef",
}


# --- imports -------------------------------------------------------------------------------------------------------


class Imports(ast.NodeVisitor):
    """Every import as (dotted name, imported name or None, whether at module level), those for type checkers too."""

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


def imports_of(source: str, path: str) -> list[tuple[str, str | None, bool]]:
    visitor = Imports(".".join(["scprograms", *path.split("/")[:-1]]))
    visitor.visit(ast.parse(source))
    return visitor.found


def module_of(base: str, name: str | None, paths: set[str]) -> str:
    """Return the file (relative to the package) that ``from base import name`` takes something from."""
    for dotted in ([f"{base}.{name}"] if name else []) + [base]:
        stem = "/".join(dotted.split(".")[1:])
        for path in (f"{stem}.py", f"{stem}/__init__.py" if stem else "__init__.py"):
            if path in paths:
                return path
    return "/".join(base.split(".")[1:]) + ".py"


def part_of(path: str) -> str:
    return path.removesuffix(".py").split("/")[0]


def broken_rules(source: str, path: str, paths: set[str] = ALL_PATHS) -> list[str]:
    """Return what a module at ``path`` (relative to the package) breaks, one sentence each."""
    part, folder = part_of(path), path.rpartition("/")[0]
    broken = [] if part in ARROWS else [f"{part} has no rule: say in this test what it may import"]
    for base, name, top in imports_of(source, path):
        full = base if name is None else f"{base}.{name}"
        first = base.split(".")[0]
        if first == "scprograms":
            target = module_of(base, name, paths)
            if part_of(target) != part and part_of(target) not in ARROWS.get(part, set()):
                broken.append(f"{part} imports {part_of(target)} ({full})")
            hidden = [piece for piece in target.removesuffix(".py").split("/") if piece.startswith("_")]
            if set(hidden) - BASIS - {"__init__"} and target.rpartition("/")[0] != folder:
                broken.append(f"{full} is private to another folder")
            if name is not None and name.startswith("_") and not name.startswith("__") and target != path:
                is_module = module_of(base, name, paths).removesuffix(".py").endswith((name, f"{name}/__init__"))
                if not is_module:
                    broken.append(f"{full} is private to another module")
            continue
        private = [piece for piece in full.split(".") if piece.startswith("_") and not piece.startswith("__")]
        if private:
            broken.append(f"{full} is private")
        if is_arrays_only(path) and first in NOT_IN_AN_ENGINE:
            broken.append(f"an engine imports {full}")
        lazy = {first, base, full} & ONLY_INSIDE_FUNCTIONS
        if top and lazy and not (path.startswith(NEED_TORCH) and lazy == {"torch"}):
            broken.append(f"{full} is imported with the package")
    tree = ast.parse(source)
    return broken + private_attributes(tree) + misplaced_mathematics(tree, path) + misplaced_writes(tree, path)


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


def is_arrays_only(path: str) -> bool:
    return part_of(path) == "_core" or "engine" in path.split("/")


def misplaced_mathematics(tree: ast.AST, path: str) -> list[str]:
    """Return matrix products, linear algebra and imports of numerical packages outside engines and ``_core``."""
    if is_arrays_only(path) or part_of(path) == "datasets":  # simulations are mathematics
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in {"np", "numpy"}:
            found += [ast.unparse(node)] * (node.attr in COMPUTING_FUNCTIONS)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            base = "" if isinstance(node, ast.Import) else f"{node.module}."
            names = [f"{base}{alias.name}" for alias in node.names]
            found += [
                name
                for name in names
                if f"{name}.".startswith(tuple(f"{package}." for package in COMPUTING_PACKAGES))
                and not name.startswith("sklearn.exceptions")
            ]
    return [f"array mathematics outside an engine: {each}" for each in found]


def misplaced_writes(tree: ast.AST, path: str) -> list[str]:
    """Return assignments into the slots of something, and changes of them in place, outside ``_anndata``."""
    if part_of(path) == "_anndata":
        return []
    found = []
    for node in ast.walk(tree):
        targets = []
        if isinstance(node, ast.Assign | ast.Delete):
            targets = [x for t in node.targets for x in (t.elts if isinstance(t, ast.Tuple) else [t])]
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING_METHODS:
            targets = [node.func.value] if in_place(node) else []
        found += [ast.unparse(node).splitlines()[0] for target in targets if is_slot(target)]
    return [f"AnnData is written outside _anndata: {each}" for each in found]


def in_place(call: ast.Call) -> bool:
    """Whether a call changes what it is called on: ``drop`` of a table returns another one unless told otherwise."""
    return call.func.attr != "drop" or any(keyword.arg == "inplace" for keyword in call.keywords)


def is_slot(node: ast.AST) -> bool:
    while isinstance(node, ast.Subscript | ast.Attribute):
        if isinstance(node, ast.Attribute) and node.attr in SLOTS:
            return not (isinstance(node.value, ast.Name) and node.value.id == "self")
        node = node.value
    return False


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_modules_keep_to_the_layout(path):
    assert broken_rules(path.read_text(encoding="utf-8"), relative(path)) == []


@pytest.mark.parametrize(
    ("path", "source", "message"),
    [
        ("programs/engine/_x.py", "import anndata", "an engine imports anndata"),
        ("_core/x.py", "def f():\n    from scanpy import pp", "an engine imports scanpy.pp"),
        ("states/engine/_x.py", "from matplotlib import colors", "an engine imports matplotlib.colors"),
        ("_core/x.py", "from scprograms._anndata import slots", "_core imports _anndata"),
        ("_core/x.py", "from .._anndata.slots import read_fit", "_core imports _anndata"),
        ("_anndata/x.py", "from scprograms.programs import semi_nmf", "_anndata imports programs"),
        ("_draw/x.py", "from ..programs.tables import usages", "_draw imports programs"),
        ("programs/_x.py", "from scprograms.perturbation import program_anova", "programs imports perturbation"),
        ("programs/_x.py", "def f():\n    from ..enrichment.engine import gene_scores", "programs imports enrichment"),
        ("modules/_x.py", "import scprograms.states", "modules imports states"),
        ("accessibility/_x.py", "from scprograms.modules.store import f", "accessibility imports modules"),
        ("enrichment/_x.py", "from scprograms import get", "enrichment imports get"),
        (
            "states/_x.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from scprograms.get import x",
            "states imports get",
        ),
        ("tl.py", "from .report import write_html", "tl imports report"),
        ("datasets/_x.py", "from scprograms import report", "datasets imports report"),
        ("report/_x.py", "from scprograms import cli", "report imports cli"),
        ("pipeline/_x.py", "from scprograms.cli import main", "pipeline imports cli"),
        ("programs/_x.py", "from scprograms import stats", "programs imports stats"),
        ("programs/_x.py", "from .engine._solvers import alternate", "private to another folder"),
        ("modules/_x.py", "from scprograms.programs._consensus import consensus", "private to another folder"),
        ("modules/_x.py", "from scprograms.programs import _consensus", "private to another folder"),
        ("programs/figures/_x.py", "from .._match import match_programs", "private to another folder"),
        ("programs/_x.py", "from scprograms._core.validate import _number", "private to another module"),
        ("programs/_x.py", "import scanpy as sc", "scanpy is imported with the package"),
        ("programs/_x.py", "from scanpy import pp", "scanpy.pp is imported with the package"),
        ("enrichment/_x.py", "try:\n    import gseapy\nexcept ImportError:\n    pass", "gseapy is imported with"),
        ("states/_x.py", "if True:\n    import torch", "torch is imported with the package"),
        ("_core/x.py", "class A:\n    import statsmodels.api", "statsmodels.api is imported with the package"),
        ("_core/x.py", "import dask.array as da", "dask.array is imported with the package"),
        ("_draw/x.py", "from matplotlib import pyplot as plt", "matplotlib.pyplot is imported with the package"),
        ("_draw/x.py", "import matplotlib.pyplot as plt", "matplotlib.pyplot is imported with the package"),
        ("programs/_x.py", "def f():\n    from scanpy._utils import f", "scanpy._utils.f is private"),
        ("_core/x.py", "def f():\n    from sklearn.decomposition import _nmf", "sklearn.decomposition._nmf is private"),
        ("_core/x.py", "import numpy as np\nnp._core.multiarray", "np._core is private to numpy"),
        ("_core/x.py", "from scipy import sparse\nsparse._base.f()", "sparse._base is private to scipy.sparse"),
        ("tl.py", "W = X @ H", "array mathematics outside an engine: X @ H"),
        ("pl.py", "import numpy as np\nnp.linalg.norm(x)", "array mathematics outside an engine: np.linalg"),
        ("get.py", "from scipy.stats import rankdata", "array mathematics outside an engine: scipy.stats.rankdata"),
        ("programs/_x.py", "def f():\n    import numba", "array mathematics outside an engine: numba"),
        ("states/tables/_x.py", "from sklearn.cluster import KMeans", "array mathematics outside an engine"),
        ("programs/_x.py", "adata.obs['x'] = 1", "AnnData is written outside _anndata: adata.obs['x'] = 1"),
        ("pp.py", "adata.layers[key] = X", "AnnData is written outside _anndata"),
        ("cli/_x.py", "adata.X = adata.layers['counts']", "AnnData is written outside _anndata"),
        ("pipeline/_x.py", "a, data['rna'].var['mt'] = 1, 2", "AnnData is written outside _anndata"),
        ("states/store.py", "adata.uns[key]['x'] += 1", "AnnData is written outside _anndata"),
        ("states/store.py", "del adata.obs[name]", "AnnData is written outside _anndata"),
        ("states/store.py", "adata.uns.pop(key)", "AnnData is written outside _anndata"),
        ("programs/_x.py", "adata.obs.drop(columns='x', inplace=True)", "AnnData is written outside _anndata"),
        ("nonsense/_x.py", "", "nonsense has no rule"),
    ],
)
def test_offenders_are_found(path, source, message):
    broken = broken_rules(source, path, ALL_PATHS | {path})
    assert any(message in sentence for sentence in broken), broken


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("programs/_x.py", "from scprograms._anndata import slots\nfrom .engine import SemiNMF\nfrom ._match import f"),
        ("programs/_x.py", "def f():\n    import scanpy as sc"),
        ("states/_x.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import scanpy"),
        ("perturbation/figures/_x.py", "from . import _effects\nfrom scprograms.programs import tables"),
        ("programs/engine/_x.py", "from ._solvers import f\nimport numba\nself._x\nnp = 1\nnp._x\nW = X @ H"),
        ("datasets/_x.py", "import json\nimport anndata\ndef f():\n    import pooch"),
        ("report/_x.py", "from scprograms import get, pl\nfrom scprograms.enrichment.gene_sets import f"),
        ("programs/_x.py", "table = adata.obs.drop(columns='x')\nself.var = 1\nname = adata.uns.get('x')"),
        ("embeddings/engine/networks/_x.py", "import torch"),
        ("_anndata/x.py", "adata.obs['x'] = 1"),
    ],
)
def test_good_modules_pass(path, source):
    assert broken_rules(source, path, ALL_PATHS | {path}) == []


def graph(sources: dict[str, str]) -> dict[str, set[str]]:
    """Return which files each file imports, inside functions as well."""
    return {
        path: {
            module_of(base, name, set(sources))
            for base, name, _ in imports_of(source, path)
            if base.split(".")[0] == "scprograms"
        }
        & set(sources)
        for path, source in sources.items()
    }


def cycles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of files that import each other in a circle."""
    reached: dict[str, set[str]] = {}
    for start in edges:
        seen, stack = set(), list(edges[start])
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                stack += edges[node]
        reached[start] = seen
    groups = {frozenset(b for b in reached[a] if a in reached[b]) for a in edges if a in reached[a]}
    return sorted(sorted(group) for group in groups)


@cache
def package() -> dict[str, str]:
    return {relative(path): path.read_text(encoding="utf-8") for path in MODULES}


def test_no_circle_of_imports():
    edges = graph(package())
    assert len(edges) > 200
    assert cycles(edges) == []


def test_a_circle_through_a_function_is_found():
    planted = {
        **package(),
        "programs/_a.py": "def f():\n    from ._b import g",
        "programs/_b.py": "from scprograms.programs._a import f",
    }
    assert cycles(graph(planted)) == [["programs/_a.py", "programs/_b.py"]]


def test_the_arrows_of_the_package():
    """Every listed arrow leads downwards; printed with ``-s``, and held to the table above."""
    arrows: dict[str, set[str]] = {}
    for path, targets in graph(package()).items():
        arrows.setdefault(part_of(path), set()).update(part_of(target) for target in targets)
    for part in ARROWS:
        found = arrows.get(part, set()) - {part}
        print(f"{part:>14} -> {', '.join(sorted(found)) or 'nothing'}")  # noqa: T201
        assert found <= ARROWS[part]
    assert arrows["_core"] == {"_core"}
    assert set(arrows) <= set(ARROWS)


FACADE_FILES = sorted(f"{name}.py" for name in FACADES)


@pytest.mark.parametrize("path", FACADE_FILES)
def test_facades_only_re_export(path):
    kinds = {type(node) for node in ast.parse(package()[path]).body}
    assert kinds <= {ast.Expr, ast.ImportFrom, ast.Assign}


# --- what an import loads ------------------------------------------------------------------------------------------

HEAVY = ["torch", "dask", "statsmodels", "gseapy", "matplotlib.pyplot", "scanpy", "seaborn", "pooch", "xarray"]


def output_of(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
    ).stdout


def modules_after(statement: str) -> set[str]:
    return set(json.loads(output_of(f"import sys\n{statement}\nimport json; print(json.dumps(sorted(sys.modules)))")))


def test_an_import_loads_nothing_heavy():
    assert modules_after("import scprograms") & set(HEAVY) <= modules_after("import anndata")
    assert "seaborn" in modules_after("import seaborn")  # the question can be answered with yes


def test_an_import_loads_no_package_that_anndata_does_not_load():
    def others(statement):
        return {name.split(".")[0] for name in modules_after(statement)} - set(sys.stdlib_module_names) - {"scprograms"}

    assert others("import scprograms") <= others("import anndata")
    # Parts of the package come when they are used, and bring what they need.
    assert "numba" in others("import scprograms; scprograms.tl") - others("import anndata")


def test_parts_of_the_package_come_when_they_are_used():
    parts = "from scprograms import tl\nimport scprograms as scp\nassert scp.tl is tl\nscp.programs.SemiNMF, scp.pl"
    assert {"scprograms.tl", "scprograms.pl"} <= modules_after(parts)
    assert {"tl", "pl", "get", "ProgramsWarning"} <= set(dir(scprograms))
    with pytest.raises(AttributeError, match="'scprograms' has no attribute 'plot'"):
        _ = scprograms.plot


@pytest.mark.parametrize("alias", ["stats", "factorization"])
def test_old_names_of_engines_warn_once(alias):
    code = (
        "import warnings\nwith warnings.catch_warnings(record=True) as told:\n    warnings.simplefilter('always')\n"
        f"    import scprograms\n    old = scprograms.{alias}\n    scprograms.{alias}.{import_example(alias)}\n"
        f"    from scprograms.{alias} import {import_example(alias)}\n"
        "ours = [w for w in told if 'scprograms' in str(w.message)]\n"
        "print([w.category.__name__ for w in ours], [name for name in old.__all__ if not hasattr(old, name)])"
    )
    assert output_of(code).strip() == "['DeprecationWarning'] []"


def import_example(alias: str) -> str:
    return {"stats": "one_way_anova", "factorization": "SemiNMF"}[alias]


# --- the public interface ------------------------------------------------------------------------------------------

DEPRECATED = {"scprograms.stats", "scprograms.factorization"}
PACKAGES = sorted(
    {".".join(["scprograms", *path.parent.relative_to(ROOT).parts]) for path in MODULES if path.name == "__init__.py"}
    | {f"scprograms.{name}" for name in FACADES}
)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_of_all_exists(package):
    if package == "scprograms.embeddings.engine.networks":
        pytest.importorskip("torch", reason='networks need torch: pip install "scprograms[deep]"')
    module = import_module(package)
    names = getattr(module, "__all__", [])
    assert len(set(names)) == len(names)  # ruff holds the order
    assert [name for name in names if not hasattr(module, name)] == []
    assert module.__doc__


def public() -> dict[str, types.FunctionType | type]:
    found = {}
    for package in ("pp", "tl", "get", "pl", "datasets", "programs.engine", "perturbation.engine"):
        module = import_module(f"scprograms.{package}")
        for name in module.__all__:
            if inspect.isfunction(x := getattr(module, name)) or inspect.isclass(x):
                found[f"{package}.{name}"] = x
    return found | {"pipeline.analyse": pipeline.analyse}


FUNCTIONS = {
    name: f for name, f in public().items() if inspect.isfunction(f) and name.split(".")[0] in {*FACADES, "datasets"}
}


def test_there_are_functions_to_look_at():
    assert {"tl.semi_nmf", "tl.program_anova", "get.usages", "pl.usage_heatmap"} <= set(FUNCTIONS)


@pytest.mark.parametrize("name", public())
def test_at_most_three_positional_parameters(name):
    positional = [
        p
        for p in inspect.signature(public()[name]).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    thing = public()[name]
    if inspect.isclass(thing) and hasattr(thing, "__dataclass_fields__"):
        return  # a record of results or settings
    assert len(positional) <= 3


@pytest.mark.parametrize("name", [*FUNCTIONS, "pipeline.analyse"])
def test_docstrings_say_what_goes_in_what_comes_out_and_how_to_call_it(name):
    function = public()[name]
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
    from scprograms.programs import SemiNMF

    doc = inspect.getdoc(SemiNMF)
    for heading in ("Parameters", "Attributes", "References", "Examples"):
        assert f"\n{heading}\n---" in doc
    for name in inspect.signature(SemiNMF).parameters:
        assert f"\n{name}\n" in doc
