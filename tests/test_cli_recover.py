"""``scprograms recover`` from end to end: runs add up, tables are those of the verbs, bad input is named."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scprograms as scp
from scprograms.cli import main

LABELLED = ["--state", "state", "--cell-type", "cell_type", "--sample", "sample"]
CELLS = ["--cell-type", "cell_type", "--sample", "sample"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Labelled cells, new ones, and a model of the former in one go."""
    path = tmp_path_factory.mktemp("recover")
    adata = scp.datasets.simulate_states(900, 300, n_samples=3, n_cell_types=2, n_markers=40, effect=1.5)
    new = (adata.obs["sample"] == "sample_2").to_numpy()
    adata[~new].copy().write_h5ad(path / "known.h5ad")
    adata[new].copy().write_h5ad(path / "new.h5ad")
    arguments = ["recover", "train", str(path / "known.h5ad"), *LABELLED, "--n-runs", "3", "--quiet"]
    assert main([*arguments, "--n-jobs", "1", "-o", str(path / "model.h5ad")]) == 0
    return path


def train(folder, *more, n_runs=3):
    return main(["recover", "train", str(folder / "known.h5ad"), *LABELLED, "--n-runs", str(n_runs), *more])


def test_the_model_is_that_of_the_verb(folder):
    adata = ad.read_h5ad(folder / "known.h5ad")
    expected = scp.tl.train_recovery(adata, "state", "cell_type", sample_key="sample", n_runs=3, n_jobs=1)
    model = scp.tl.RecoveryModel.read(folder / "model.h5ad")
    assert model.cell_types == expected.cell_types == ["type_0", "type_1"]
    for name in model.cell_types:
        pd.testing.assert_frame_equal(model.signature(name), expected.signature(name))


def test_runs_of_array_jobs_add_up_to_the_model_and_are_not_done_twice(folder, tmp_path, capsys):
    runs = tmp_path / "runs"
    assert train(folder, "--run-index", "2", "-o", str(runs), "--quiet") == 0
    assert train(folder, "--run-index", "0", "-o", str(runs), "--quiet") == 0
    assert capsys.readouterr().out == ""
    before = (runs / "run_00002.h5ad").stat().st_mtime_ns
    assert main(["recover", "aggregate", str(runs), "-o", str(tmp_path / "all.h5ad")]) == 2
    assert "1 run of 3 missing: 1. Do them, or pass --allow-missing." in capsys.readouterr().err
    assert not (tmp_path / "all.h5ad").exists()
    assert main(["recover", "aggregate", str(runs), "--allow-missing", "-o", str(tmp_path / "two.h5ad")]) == 0
    assert "the model is that of the others" in capsys.readouterr().err
    assert train(folder, "--run-index", "1", "2", "-o", str(runs)) == 0
    assert "Did run 1.\nRun 2 was there.\n" in capsys.readouterr().out
    assert (runs / "run_00002.h5ad").stat().st_mtime_ns == before
    assert main(["recover", "aggregate", str(runs), "-o", str(tmp_path / "all.h5ad"), "--quiet"]) == 0
    whole, parts, two = (
        scp.tl.RecoveryModel.read(path)
        for path in (folder / "model.h5ad", tmp_path / "all.h5ad", tmp_path / "two.h5ad")
    )
    for name in whole.cell_types:
        pd.testing.assert_frame_equal(whole.signature(name), parts.signature(name))
        pd.testing.assert_frame_equal(whole.spread(name), parts.spread(name))
    pd.testing.assert_frame_equal(whole.thresholds, parts.thresholds)
    assert any(not whole.signature(name).equals(two.signature(name)) for name in whole.cell_types)


def test_runs_of_other_options_are_not_taken(folder, tmp_path, capsys):
    assert train(folder, "--run-index", "0", "-o", str(tmp_path), "--quiet") == 0
    assert train(folder, "--run-index", "0", "-o", str(tmp_path), n_runs=4) == 2
    assert (
        "run_00000.h5ad' was made with n_runs=3, not 4. Pass another folder, or --overwrite." in capsys.readouterr().err
    )
    assert train(folder, "--run-index", "0", "-o", str(tmp_path), "--overwrite", "--quiet", n_runs=4) == 0
    assert scp.tl.RecoveryModel.read(tmp_path / "run_00000.h5ad").params["n_runs"] == 4


def test_states_of_new_cells(folder, tmp_path, capsys):
    out = tmp_path / "found"
    arguments = ["recover", "apply", str(folder / "new.h5ad"), *CELLS, "--model", str(folder / "model.h5ad")]
    assert main([*arguments, "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "Looked for states in 300 cells" in printed
    assert f"Results are in {out}" in printed
    assert sorted(path.name for path in (out / "figures").glob("*.png")) == ["signatures.png", "state_map.png"]
    new = ad.read_h5ad(folder / "new.h5ad")
    model = scp.tl.RecoveryModel.read(folder / "model.h5ad")
    scp.tl.recover_states(new, model, "cell_type", sample_key="sample", n_jobs=1)
    cells = pd.read_csv(out / "cells.csv.gz", index_col="cell")
    assert cells["state"].tolist() == new.obs["recovery_state"].astype(str).tolist()
    np.testing.assert_allclose(cells["score"], new.obs["recovery_score"], rtol=1e-6)
    assert (cells["state"] == new.obs["state"].astype(str)).mean() > 0.85
    counts = pd.read_csv(out / "counts.csv")
    assert counts["n_cells"].sum() == 300
    assert list(counts) == ["sample", "cell_type", "state", "n_cells"]
    assert pd.read_csv(out / "cell_types.csv")["n_cells"].sum() == 300
    written = ad.read_h5ad(out / "recovered.h5ad")
    assert written.obs["recovery_state"].astype(str).equals(new.obs["recovery_state"].astype(str))
    assert (out / "summary.txt").read_text().splitlines()[-1].startswith("scprograms recover apply ")
    # Again, without what is not asked for or not there: nothing of the older run stays.
    adata = ad.read_h5ad(folder / "new.h5ad")
    del adata.obsm["spatial"]
    adata.write_h5ad(tmp_path / "nowhere.h5ad")
    arguments[2] = str(tmp_path / "nowhere.h5ad")
    assert main([*arguments, "-o", str(out), "--no-h5ad", "--quiet", "--min-score", "0"]) == 0
    assert not (out / "recovered.h5ad").exists()
    assert [path.name for path in (out / "figures").glob("*.png")] == ["signatures.png"]
    assert "non-state" not in set(pd.read_csv(out / "cells.csv.gz")["state"])


def test_validation_leaves_samples_out(folder, tmp_path, capsys):
    out = tmp_path / "valid"
    arguments = ["recover", "validate", str(folder / "known.h5ad"), *LABELLED, "--n-runs", "3", "-o", str(out)]
    assert main(arguments) == 0
    assert "of 6 states are recoverable; mean F1 is 0.9" in capsys.readouterr().out
    states, confusion = pd.read_csv(out / "states.csv"), pd.read_csv(out / "confusion.csv")
    assert len(states) == 6
    assert confusion["n_cells"].sum() == 600
    assert (out / "figures" / "confusion.png").stat().st_size > 5000


def test_states_nobody_has_labelled(folder, tmp_path, capsys):
    out = tmp_path / "found"
    arguments = ["recover", "discover", str(folder / "known.h5ad"), *CELLS, "--n-factors", "3"]
    assert main([*arguments, "--max-negative-ratio", "2", "-o", str(out)]) == 0
    assert "Found 6 states in 2 cell types; " in capsys.readouterr().out
    found = ad.read_h5ad(out / "discovered.h5ad")
    assert pd.read_csv(out / "cell_types.csv")["n_labelled"].sum() == found.obs["discovery_state"].notna().sum() > 500
    assert (out / "figures" / "state_map.png").stat().st_size > 5000
    labelled = ["--state", "discovery_state", *CELLS, "--n-runs", "2", "--quiet"]
    arguments = ["recover", "train", str(out / "discovered.h5ad"), *labelled, "-o", str(tmp_path / "model.h5ad")]
    assert main(arguments) == 0
    assert main(["recover", "discover", str(folder / "known.h5ad"), *CELLS, "--n-factors", "1", "-o", str(out)]) == 2
    assert "n_factors=1 is too small" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "{f}/nothing.h5ad", *LABELLED, "-o", "{t}/m.h5ad"], "nothing.h5ad' does not exist"),
        (["train", "{f}", *LABELLED, "-o", "{t}/m.h5ad"], "is a folder; pass an .h5ad file"),
        (["train", "{f}/known.h5ad", *LABELLED[:-1], "donor", "-o", "{t}/m.h5ad"], "'donor' is no column of .obs"),
        (["train", "{f}/known.h5ad", *LABELLED, "-o", "{t}/model"], "pass a file that ends in .h5ad"),
        (["train", "{f}/known.h5ad", *LABELLED, "-o", "{t}/no/m.h5ad"], "there is no folder"),
        (["train", "{f}/known.h5ad", *LABELLED, "--run-index", "3", "--n-runs", "3", "-o", "{t}/r"], "from 0 to 2"),
        (["train", "{f}/known.h5ad", *LABELLED, "--run-index", "0", "-o", "{t}/r.h5ad"], "pass a folder for the runs"),
        (["train", "{f}/known.h5ad", *LABELLED, "--layer", "x", "-o", "{t}/m.h5ad"], "'x' is not in adata.layers"),
        (["aggregate", "{t}/nothing", "-o", "{t}/m.h5ad"], "nothing' does not exist"),
        (["aggregate", "{t}", "-o", "{t}/m.h5ad"], "no run_*.h5ad"),
        (["aggregate", "{f}/model.h5ad", "-o", "{t}/m.h5ad"], "is not named as a run"),
        (["apply", "{f}/new.h5ad", *CELLS, "--model", "{t}/no.h5ad", "-o", "{t}/o"], "no.h5ad' does not exist"),
        (["apply", "{f}/new.h5ad", *CELLS, "--model", "{f}/new.h5ad", "-o", "{t}/o"], "new.h5ad"),
        (["validate", "{f}/new.h5ad", *LABELLED, "-o", "{t}/o"], "sample"),
    ],
)
def test_bad_input_is_named_and_writes_nothing(folder, tmp_path, capsys, arguments, message):
    arguments = [each.format(f=folder, t=tmp_path) for each in arguments]
    assert main(["recover", *arguments, "--quiet"]) == 2
    assert message in capsys.readouterr().err
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith(".")]


def test_usage(capsys):
    assert main(["recover"]) == 2
    assert main(["recover", "train", "--help"]) == 0
    assert "$SLURM_ARRAY_TASK_ID" in capsys.readouterr().out
    assert main(["recover", "validate", "x.h5ad", "--state", "s", "--cell-type", "t", "-o", "x"]) == 2
    assert "--sample" in capsys.readouterr().err
