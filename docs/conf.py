"""Sphinx configuration. Build with ``sphinx-build -W -n docs docs/_build/html``; no network is needed."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent

# The site describes this source tree, whatever version may be installed.
sys.path.insert(0, str(ROOT / "src"))
import scprograms  # noqa: E402

# Sphinx reads only what lies below its own folder.
shutil.copytree(ROOT / "tutorials", DOCS / "tutorials", dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))

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

# Notebooks are committed with their outputs, so that the site never depends on the machine that builds it.
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autosummary_imported_members = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"

# Types stand in the annotations, not in the docstrings. A Returns section is prose, and a list of the slots that are
# written: as a custom section its first line is not taken for a type.
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_rtype = False
napoleon_use_ivar = False
napoleon_custom_sections = ["Returns"]
typehints_document_rtype = False
typehints_use_signature_return = True
typehints_defaults = "comma"
always_use_bars_union = True
copybutton_prompt_text = ">>> "

# Links to the documentation of other projects need their inventories from the network, and a failed download fails a
# build with -W. So they are made where a network is certain: on Read the Docs, or with SCPROGRAMS_DOCS_ONLINE=1.
ONLINE = os.environ.get("READTHEDOCS") == "True" or os.environ.get("SCPROGRAMS_DOCS_ONLINE") == "1"
nitpicky = True
nitpick_ignore_regex = [
    # Shapes and such in the Attributes of an estimator: "ndarray, k x n_features".
    ("py:class", r"(ndarray|list).*"),
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

html_theme = "sphinx_book_theme"
html_title = "scprograms"
html_static_path = ["_static"]
html_theme_options = {"show_navbar_depth": 1, "show_toc_level": 2, "use_download_button": False}
