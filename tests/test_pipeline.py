"""The analysis of a screen as a Python function."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import scprograms as scp
from scprograms.cli import main
from scprograms.pipeline import InputError, Settings, analyse


@pytest.fixture(scope="module")
def screen():
    return scp.datasets.simulate_screen(500, 250, 5, n_perturbations=4, signal=0.3, random_state=1)


SETTINGS = {"replicate": "guide", "strata": "batch", "n_programs": 4, "batch": "batch"}


@pytest.fixture(scope="module")
def analysed(screen, tmp_path_factory):
    folder = tmp_path_factory.mktemp("analysis") / "out"
    before = screen.copy()
    result = analyse(screen, "perturbation", "non-targeting", out=folder, progress=False, **SETTINGS)
    return result, folder, before


def test_results_are_in_the_folder_and_in_what_is_returned(analysed):
    result, folder, _ = analysed
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "report.html",
        "programs.xlsx",
        "programs.h5ad",
        "perturbation_effects.csv",
        "top_genes",
        "figures",
    }
    stored = ad.read_h5ad(folder / "programs.h5ad")
    np.testing.assert_array_equal(stored.obsm["X_semi_nmf"], result.obsm["X_semi_nmf"])
    table = pd.read_csv(folder / "perturbation_effects.csv")
    assert len(table) == len(scp.get.effects(result, "perturbation"))


def test_what_was_passed_stays_as_it_was(screen, analysed):
    before = analysed[2]
    assert list(screen.obs) == list(before.obs)
    assert list(screen.obsm) == list(before.obsm)
    assert set(screen.uns) == set(before.uns)
    assert (screen.X != before.X).nnz == 0 if sparse.issparse(screen.X) else np.array_equal(screen.X, before.X)


def test_the_command_line_gives_the_same(screen, analysed, tmp_path):
    screen.write_h5ad(tmp_path / "screen.h5ad")
    options = ["--groupby", "perturbation", "--control", "non-targeting", "--replicate", "guide", "--strata", "batch"]
    options += ["-k", "4", "--batch", "batch", "--quiet", "-o", str(tmp_path / "out")]
    assert main(["run", str(tmp_path / "screen.h5ad"), *options]) == 0
    stored = ad.read_h5ad(tmp_path / "out" / "programs.h5ad")
    np.testing.assert_array_equal(stored.obsm["X_semi_nmf"], analysed[0].obsm["X_semi_nmf"])
    pd.testing.assert_frame_equal(
        scp.get.effects(stored, "perturbation"), scp.get.effects(analysed[0], "perturbation"), check_dtype=False
    )


def test_an_unknown_setting_names_the_nearest(screen, tmp_path):
    with pytest.raises(TypeError, match=r"'replicates' is no setting of an analysis. Did you mean 'replicate'"):
        analyse(screen, "perturbation", out=tmp_path / "out", replicates="guide")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"replicate": "guides"}, "replicate='guides' is no column of .obs"),
        ({"layer": "raw"}, "layer='raw' is no layer"),
        ({"strata": ["batch", "lane"]}, "strata='lane' is no column"),
        ({"max_mito": 5.0, "mito_prefix": "M-"}, "max_mito: no gene starts with M-. Name the right mito_prefix"),
        ({"s_genes": "x.txt", "g2m_genes": "y.txt"}, "s_genes='x.txt' cannot be read"),
    ],
)
def test_errors_speak_python_and_leave_no_folder(screen, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        analyse(screen, "perturbation", "non-targeting", out=tmp_path / "out", progress=False, **settings)
    assert not (tmp_path / "out").exists()


def test_a_control_that_does_not_exist(screen, tmp_path):
    with pytest.raises(ValueError, match="control='NT' is no level of 'perturbation'"):
        analyse(screen, "perturbation", "NT", out=tmp_path / "out", progress=False)


def test_a_path_is_read_and_progress_is_shown(screen, tmp_path, capsys):
    screen.write_h5ad(tmp_path / "screen.h5ad")
    result = analyse(tmp_path / "screen.h5ad", "perturbation", out=tmp_path / "out", n_programs=3)
    assert result.obsm["X_semi_nmf"].shape[1] == 3
    assert "11/11" in capsys.readouterr().err
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "The same in a notebook" in page
    assert "The same in a shell" not in page


def test_settings_are_spelled_for_their_reader():
    python, shell = Settings("perturbation", min_cells=3), Settings("perturbation", min_cells=3, in_shell=True)
    assert python.given("min_cells") == "min_cells=3"
    assert shell.given("min_cells") == "--min-cells=3"
    assert "control" not in python.parameters()
    assert "in_shell" not in shell.parameters()
