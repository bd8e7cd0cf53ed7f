"""Sphinx configuration. Build with ``sphinx-build -W -n docs docs/_build/html``; no network is needed."""

from __future__ import annotations

import os
import re
import sys
import warnings
from pathlib import Path
from typing import get_origin

import numpy as np

DOCS = Path(__file__).parent
ROOT = DOCS.parent

# The site describes this source tree, whatever version may be installed.
sys.path.insert(0, str(ROOT / "src"))
import scprograms  # noqa: E402

# Sphinx reads only what lies below its own folder. Links to "../docs/" work in the repository, not on the site.
(DOCS / "tutorials").mkdir(exist_ok=True)
for notebook in (ROOT / "tutorials").glob("*.ipynb"):
    on_site = notebook.read_text(encoding="utf-8").replace("](../docs/", "](../")
    (DOCS / "tutorials" / notebook.name).write_text(on_site, encoding="utf-8")

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
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_autodoc_typehints",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
templates_path = ["_templates"]

# Notebooks are committed with their outputs, so that the site never depends on the machine that builds it. To run them
# again: jupyter nbconvert --to notebook --inplace --execute --ExecutePreprocessor.store_widget_state=False \
#     --ExecutePreprocessor.record_timing=False tutorials/*.ipynb
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3


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

# Links to the documentation of other projects need their inventories from the network, and a failed download fails a
# build with -W. So they are made where a network is certain: on Read the Docs, or with SCPROGRAMS_DOCS_ONLINE=1.
ONLINE = os.environ.get("READTHEDOCS") == "True" or os.environ.get("SCPROGRAMS_DOCS_ONLINE") == "1"
nitpicky = True
nitpick_ignore_regex = [
    # From tuple[str, ...]; Python documents it as a constant.
    ("py:data", r"Ellipsis"),
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
html_theme_options = {
    "navbar_persistent": [],
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
}


def _tidy_docstring(app, what, name, obj, options, lines) -> None:  # noqa: ARG001
    """Prepare what napoleon would make unreadable."""
    if app.env.docname == "api":  # the footnotes of first sentences are on other pages
        lines[:] = [re.sub(r" ?\[\d+\]_", "", line) for line in lines]
    if what == "class" and "Attributes" in lines:  # a list of names, in place of a heading for each and for its type
        start = lines.index("Attributes")
        lines[start : start + 2] = ["Fitted attributes", "-----------------"]
        for i in range(start + 2, len(lines)):
            if lines[i] and set(lines[i]) == {"-"}:  # the next section
                break
            names, colon, kind = lines[i].partition(" : ")
            if re.fullmatch(r"\w+(, \w+)*", names) and lines[i + 1].startswith(" "):
                lines[i] = ", ".join(f"``{name}``" for name in names.split(", ")) + colon + kind


def setup(app) -> None:
    app.connect("autodoc-process-docstring", _tidy_docstring, priority=400)
