"""The tutorials are in order as they are committed; ``-m tutorials`` runs them as well."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
FORBIDDEN = {
    "a path of a machine": r"(?:/(?:home|tmp|Users|root|work|mnt|private|var/folders|site-packages)/|[A-Z]:\\\\\\\\)",
    "a time of execution": r"iopub\.|shell\.execute_reply",
    "a progress bar": r"\d+%\|.{0,20}\|| (?:run|fit|sweep|epoch|it)/s\]|vnd\.jupyter\.widget",
    "a warning": r"\b(?:Future|Deprecation|User|Runtime|Programs|Tqdm)Warning: ",
    "a traceback": r"Traceback \(most recent call last\)",
}
in_each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def prose(cell):
    assert cell["cell_type"] == "markdown"
    return "".join(cell["source"])


def outputs(notebook):
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


def test_all_tutorials_are_there():
    assert {path.stem for path in NOTEBOOKS} >= {
        "perturb_seq",
        "choosing_k",
        "calibrated_effects",
        "ccre_modules",
        "state_recovery",
        "scatac_representations",
        "rna_to_atac",
        "million_cells",
    }


@in_each
def test_opens_with_what_is_learned_and_how_long_it_takes(path):
    opening = prose(read(path)["cells"][0])
    assert opening.startswith("# ")
    assert re.search(r"\*\*You will learn how to\*\*\n\n1\. .+\n", opening)
    assert re.search(r"\*\*It takes\*\* about .*(second|minute)", opening)
    assert "**You need**" in opening


@in_each
def test_ends_with_where_to_go_next(path):
    closing = prose(read(path)["cells"][-1])
    assert "## Where to go next\n" in closing
    assert "](../docs/guide" in closing


@in_each
def test_other_tutorials_are_linked(path):
    text = "".join("".join(cell["source"]) for cell in read(path)["cells"] if cell["cell_type"] == "markdown")
    linked = set(re.findall(r"\]\((\w+)\.ipynb\)", text))
    assert linked - {path.stem}
    assert linked <= {other.stem for other in NOTEBOOKS}


@in_each
def test_has_outputs_and_figures(path):
    notebook = read(path)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert {output["output_type"] for output in outputs(notebook)} <= {"stream", "display_data", "execute_result"}
    assert sum("image/png" in output.get("data", {}) for output in outputs(notebook)) >= 3
    assert len(outputs(notebook)) >= len(code) / 2


@in_each
@pytest.mark.parametrize("what", FORBIDDEN)
def test_outputs_hold_nothing_that_a_reader_should_not_see(path, what):
    notebook = read(path)
    text = json.dumps(
        [
            {kind: value for kind, value in output.get("data", {}).items() if kind != "image/png"}
            for output in outputs(notebook)
        ]
        + [output.get("text", "") for output in outputs(notebook)]
        + [cell["metadata"] for cell in notebook["cells"]],
        ensure_ascii=False,
    )
    found = re.search(FORBIDDEN[what], text)
    assert found is None, f"{what}: {text[max(found.start() - 60, 0) : found.end() + 60]}; run docs/run_tutorials.py"
    assert not [output for output in outputs(notebook) if output.get("name") == "stderr"]


@in_each
def test_no_sentence_was_left_to_be_written(path):
    text = "".join("".join(cell["source"]) for cell in read(path)["cells"])
    assert not re.findall(r"PROSE|TODO|FIXME|XXX", text)


@pytest.mark.tutorials
@in_each
def test_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()
