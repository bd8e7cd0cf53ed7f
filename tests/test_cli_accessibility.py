"""``scprograms accessibility``: from files to a folder, again from that folder, and what it says to bad input."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scprograms as scp
from scprograms.cli import main


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("multiome")
    data = scp.datasets.simulate_multiome(400, 120, 60, random_state=1)
    for name, adata in data.items():
        adata.write_h5ad(folder / f"{name}.h5ad")
    out = folder / "out"
    code = main(["accessibility", "train", str(folder / "rna.h5ad"), str(folder / "atac.h5ad"), "--model", "ridge",
                 "--n-peaks", "40", "--groupby", "batch", "-o", str(out), "--quiet"])  # fmt: skip
    assert code == 0
    return folder


def test_training_leaves_a_model_tables_figures_and_predictions(files):
    out = files / "out"
    assert {path.name for path in out.iterdir()} == {"model.npz", "atac.h5ad", "tables", "figures", "summary.txt"}
    assert {path.name for path in (out / "figures").iterdir()} == {
        f"{name}.{suffix}" for name in ("report", "precision_recall") for suffix in ("png", "pdf")
    }
    models = pd.read_csv(out / "tables/models.csv", index_col=0)
    assert list(models.index) == ["mean", "ridge", "knn"]
    atac = ad.read_h5ad(out / "atac.h5ad")
    assert atac.layers["accessibility"].nnz == 400 * 40
    np.testing.assert_allclose(models["pr_auc"], scp.get.accessibility(atac)["pr_auc"])
    assert "the mean of each peak has" in (out / "summary.txt").read_text(encoding="utf-8")


def test_prediction_from_expression_alone_and_with_accessibility(files, capsys):
    model = str(files / "out/model.npz")
    assert main(["accessibility", "predict", model, str(files / "rna.h5ad"), "-o", str(files / "p1")]) == 0
    assert "Predicted 40 peaks of 400 cells" in capsys.readouterr().out
    found = ad.read_h5ad(files / "p1/predictions.h5ad")
    expected = ad.read_h5ad(files / "out/atac.h5ad").layers["accessibility"].toarray()
    target = expected.any(axis=0)
    np.testing.assert_allclose(found.X, expected[:, target], atol=1e-7)
    both = [str(files / "rna.h5ad"), str(files / "atac.h5ad")]
    assert main(["accessibility", "predict", model, *both, "-o", str(files / "p2"), "--quiet"]) == 0
    assert (files / "p2/figures/report.png").exists()


def test_a_report_can_be_drawn_again(files):
    assert main(["accessibility", "report", str(files / "out/atac.h5ad"), "-o", str(files / "again"), "--quiet"]) == 0
    first, again = ((files / folder / "tables/curves.csv").read_bytes() for folder in ("out", "again"))
    assert first == again


def test_counts_can_be_normalized(files):
    adata = ad.read_h5ad(files / "rna.h5ad")
    adata.X = adata.layers["counts"]
    adata.write_h5ad(files / "counts.h5ad")
    model = str(files / "out/model.npz")
    paths = ["accessibility", "predict", model, str(files / "counts.h5ad"), "--normalize", "-o", str(files / "p3")]
    assert main([*paths, "--quiet"]) == 0
    expected = scp.tl.predict_accessibility(ad.read_h5ad(files / "rna.h5ad"), model)
    np.testing.assert_allclose(ad.read_h5ad(files / "p3/predictions.h5ad").X, expected.X, atol=1e-4)


def test_an_h5mu_file(files, capsys):
    mudata = pytest.importorskip("mudata", reason='.h5mu files need mudata: pip install "scprograms[deep]"')
    data = {name: ad.read_h5ad(files / f"{name}.h5ad") for name in ("rna", "atac")}
    mudata.MuData(data).write(files / "m.h5mu")
    common = ["accessibility", "train", str(files / "m.h5mu"), "--model", "mean", "-o", str(files / "mu"), "--quiet"]
    assert main(common) == 0
    assert main([*common, "--atac", "peaks"]) == 2
    assert "'peaks' is no modality" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "none.h5ad", "none2.h5ad"], "does not exist"),
        (["train", "rna.h5ad"], "needs both modalities"),
        (["train", "rna.h5ad", "atac.h5ad", "x.h5ad"], "3 files"),
        (["train", "rna.h5ad", "atac.h5ad", "--groupby", "site"], "groupby='site' is in .obs neither"),
        (["predict", "rna.h5ad", "rna.h5ad"], "no file that AccessibilityModel.write wrote"),
        (["report", "rna.h5ad"], "There is no report on accessibility"),
    ],
)
def test_bad_input_is_explained_and_leaves_nothing(arguments, message, files, capsys):
    paths = [str(files / a) if a.endswith(".h5ad") else a for a in arguments]
    out = files / "bad"
    assert main(["accessibility", *paths, "-o", str(out), "--quiet"]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_the_command_has_the_defaults_of_the_verb():
    import argparse
    import inspect

    from scprograms.cli._accessibility_parser import add_accessibility

    parser = argparse.ArgumentParser()
    add_accessibility(parser.add_subparsers())
    options = vars(parser.parse_args(["accessibility", "train", "a.h5mu", "-o", "out"]))
    verb = inspect.signature(scp.tl.train_accessibility).parameters
    shared = set(options) & set(verb) - {"data"}
    assert {"hidden", "dropout", "learning_rate", "epochs", "batch_size", "n_genes", "n_peaks"} <= shared
    for name in shared:
        given, default = options[name], verb[name].default
        assert (tuple(given) if isinstance(given, list) else given) == default, name
