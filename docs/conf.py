"""Sphinx configuration. Build with ``python -m sphinx -W -n docs docs/_build/html``; no network is needed.

What can go stale is made while the site is built: the gallery (``_gallery.py``) is drawn, the page of benchmarks is
made from ``benchmarks/README.md`` (``_benchmarks.py``), packages of the engine are listed (``_engine.py``), and at the
end links are followed (``_links.py``). ``_html.py`` draws formulas.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import warnings
from pathlib import Path
from typing import get_origin

import numpy as np
from sphinx.util import logging

DOCS = Path(__file__).parent
ROOT = DOCS.parent

# The site describes this source tree, whatever version may be installed.
sys.path[:0] = [str(ROOT / "src"), str(DOCS)]
import _benchmarks  # noqa: E402
import _engine  # noqa: E402
import _gallery  # noqa: E402
import _html  # noqa: E402
import _links  # noqa: E402

import scprograms  # noqa: E402

# Sphinx reads only what lies below its own folder. Links to "../docs/" work in the repository, not on the site.
(DOCS / "tutorials").mkdir(exist_ok=True)
for notebook in (ROOT / "tutorials").glob("*.ipynb"):
    on_site = notebook.read_text(encoding="utf-8").replace("](../docs/", "](../")
    (DOCS / "tutorials" / notebook.name).write_text(on_site, encoding="utf-8")

PICTURES = _gallery.make(DOCS / "gallery")
_benchmarks.make(DOCS / "benchmarks")
_engine.make(DOCS / "engine")

project = "scprograms"
author = "The scprograms developers"
copyright = f"{author}, BSD 3-Clause"
release = scprograms.__version__
version = release

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_autodoc_typehints",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "gallery/made.json", "**/.ipynb_checkpoints"]
templates_path = ["_templates"]

# Notebooks are committed with their outputs, so that the site never depends on the machine that builds it. To run them
# again, and keep progress bars and times out of them: python docs/run_tutorials.py
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"  # of _html.py: the default fetches a program from the network


def _short_types(annotation, config=None) -> str | None:
    """Write NDArray for what it stands for: an array of any shape, with a type variable."""
    if config is None:  # the extension asks for names of aliases
        return None
    return ":py:data:`~numpy.typing.NDArray`" if get_origin(annotation) is np.ndarray else None


autosummary_generate = True
autosummary_imported_members = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"

# Types stand in the annotations, not in the docstrings.
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_rtype = False
napoleon_custom_sections = ["Fitted attributes"]
typehints_document_rtype = False
typehints_use_signature_return = True
typehints_defaults = "comma"
typehints_formatter = _short_types
suppress_warnings = ["config.cache"]  # a function among the settings
always_use_bars_union = True
copybutton_prompt_text = ">>> "
python_maximum_signature_line_length = 88  # a longer one has a line per parameter
autodoc_mock_imports = [] if importlib.util.find_spec("torch") else ["torch"]  # to read the docstrings of networks

# Links to the documentation of other projects need their inventories from the network, and a failed download fails a
# build with -W. So they are made where a network is certain: on Read the Docs, or with SCPROGRAMS_DOCS_ONLINE=1.
ONLINE = os.environ.get("READTHEDOCS") == "True" or os.environ.get("SCPROGRAMS_DOCS_ONLINE") == "1"
nitpicky = True
nitpick_ignore_regex = [
    # From tuple[str, ...]; Python documents it as a constant.
    ("py:data", r"Ellipsis"),
    # What an argument must have or may be, for type checkers; the docstring says it in words.
    ("py:.*", r"scprograms\._core\..*"),
    ("py:class", r"scprograms\.[\w.]+\.Has\w+"),
]
if ONLINE:
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "anndata": ("https://anndata.readthedocs.io/en/stable", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "scanpy": ("https://scanpy.readthedocs.io/en/stable", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
    }
    # numpy documents this alias under another role, and mixins of scikit-learn are not documented one by one.
    nitpick_ignore_regex += [("py:class", r"numpy\.(typing\.NDArray|_typing.*)"), ("py:.*", r"sklearn\..*")]
else:
    # What is not ours cannot be looked up here; names of our own are still checked.
    nitpick_ignore_regex += [
        ("py:.*", r"(anndata|collections|matplotlib|numpy|os|pandas|pathlib|scanpy|scipy|sklearn|typing)\..*"),
    ]

# sphinx-autodoc-typehints calls a method that Sphinx 10 will not have; with Sphinx 9 that is a line per type.
warnings.filterwarnings("ignore", message=r".*set_application")

html_theme = "sphinx_book_theme"
html_title = "scprograms"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}
html_theme_options = {
    "navbar_persistent": [],
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
}


def _tidy_docstring(app, what, name, obj, options, lines) -> None:  # noqa: ARG001
    """Prepare what napoleon would make unreadable."""
    package, _, short = name.removeprefix("scprograms.").rpartition(".")
    if what == "data":  # a constant has the docstring of its type
        lines[:] = [*_engine.constant_doc(package, short).splitlines(), ""]
    if app.env.docname == "api" or app.env.docname.startswith("engine/"):
        # The footnotes of first sentences are on other pages.
        lines[:] = [re.sub(r" ?\[\d+\]_", "", line) for line in lines]
    elif package == "pl" and short in PICTURES:
        end = lines.index("") if "" in lines else len(lines)
        alt = f"What pl.{short} draws on simulated data"
        picture = [f".. image:: /gallery/{short}.png", f"   :alt: {alt}", "   :class: picture"]
        lines[end:end] = ["", *picture, "", "How it was drawn: :doc:`/gallery/index`."]
    if what == "class" and "Attributes" in lines:  # a list of names, in place of a heading for each and for its type
        start = lines.index("Attributes")
        lines[start : start + 2] = ["Fitted attributes", "-----------------"]
        for i in range(start + 2, len(lines)):
            if lines[i] and set(lines[i]) == {"-"}:  # the next section
                break
            names, colon, kind = lines[i].partition(" : ")
            if re.fullmatch(r"\w+(, \w+)*", names) and lines[i + 1].startswith(" "):
                lines[i] = ", ".join(f"``{name}``" for name in names.split(", ")) + colon + kind
    if "Returns" in lines:
        _keep_prose(lines, lines.index("Returns") + 2)
    if what in {"attribute", "data", "property"} and lines:
        lines[0] = f"{PROSE}: {lines[0]}"


PROSE = "RETURNED"


def _keep_prose(lines: list[str], start: int) -> None:
    """Indent a section that napoleon would read as ``name : type``, line by line; terms of its list stand apart."""
    rules = [i for i in range(start, len(lines)) if lines[i] and set(lines[i]) == {"-"}]
    stop = rules[0] - 1 if rules else len(lines)
    prose = [PROSE]
    for i in range(start, stop):
        is_term = i + 1 < stop and lines[i][:1].strip() and lines[i + 1].startswith(" ")
        if is_term and lines[i - 1] and not lines[i - 1].startswith(" "):
            prose.append("")
        prose.append(f"    {lines[i]}" if lines[i] else "")
    lines[start:stop] = prose


def _after_napoleon(app, what, name, obj, options, lines) -> None:  # noqa: ARG001
    lines[:] = [re.sub(rf"\*?\b{PROSE}\b\*?( -- )?", "", line) for line in lines if line != f":type: {PROSE}"]


def _follow_links(app, exception) -> None:
    """Warn of links between pages that lead nowhere, so that they fail a build with -W."""
    if exception is None and app.builder.format == "html":
        for sentence in _links.dead_links(Path(app.outdir)):
            logging.getLogger(__name__).warning("dead link: %s", sentence)


def setup(app) -> None:
    _html.setup(app)
    app.connect("autodoc-process-docstring", _tidy_docstring, priority=400)
    app.connect("autodoc-process-docstring", _after_napoleon, priority=600)
    app.connect("build-finished", _follow_links)
