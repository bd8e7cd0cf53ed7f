"""Run notebooks of ``tutorials/`` and keep what a reader should see: ``python docs/run_tutorials.py [NAME ...]``.

Progress bars, the state of widgets and times of execution are left out, so that a second run changes little.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

TUTORIALS = Path(__file__).parents[1] / "tutorials"
WIDGET = "application/vnd.jupyter.widget-view+json"
PROGRESS_BAR = re.compile(r"\d+%\|.*\|.*\[.*\]|^\s*$|TqdmWarning|import tqdm", re.MULTILINE)


def run(notebook: NotebookNode, *, timeout: int = 900) -> NotebookNode:
    """Execute a notebook in a folder of its own, and return it tidied."""
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook,
            timeout=timeout,
            kernel_name="python3",
            record_timing=False,
            store_widget_state=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        ).execute()
    return tidy(notebook)


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Take out progress bars, times of execution and the state of widgets."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_progress_bar(output)]
    return notebook


def _is_progress_bar(output: NotebookNode) -> bool:
    if output.output_type == "stream" and output.name == "stderr":
        return PROGRESS_BAR.search(output.text) is not None
    return WIDGET in output.get("data", {})


def main(names: list[str]) -> None:
    """Run the notebooks with these names, or all."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    paths = [TUTORIALS / f"{Path(name).stem}.ipynb" for name in names] or sorted(TUTORIALS.glob("*.ipynb"))
    for path in paths:
        start = time.perf_counter()
        notebook = run(nbformat.read(path, as_version=4))
        nbformat.write(notebook, path)
        print(f"{path.name}: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
