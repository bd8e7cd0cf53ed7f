"""``tl.train_accessibility`` and what reads its results: slots, splits, files, figures, and what is refused."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import average_precision_score

import scprograms as scp
from scprograms import ProgramsWarning
from scprograms._anndata import slot_names
from scprograms.accessibility.engine import AccessibilityModel

REAL = Path(__file__).parents[2] / "shared/data/neurips2021_multiome_small/neurips2021_multiome_small.h5mu"
TABLES = slot_names.ACCESSIBILITY_TABLES


@pytest.fixture(scope="module")
def original():
    return scp.datasets.simulate_multiome(600, 150, 80, random_state=1)


@pytest.fixture
def data(original):
    return {name: adata.copy() for name, adata in original.items()}


@pytest.fixture(scope="module")
def trained(original):
    data = {name: adata.copy() for name, adata in original.items()}
    return data, scp.tl.train_accessibility(data, model="ridge", n_genes=120, n_peaks=50)


# --- what is written -----------------------------------------------------------------------------------------------


def test_slots(trained):
    data, model = trained
    atac = data["atac"]
    layer = atac.layers["accessibility"]
    target = atac.var["accessibility_target"].to_numpy()
    assert (layer.format, layer.dtype, layer.shape) == ("csr", np.float32, atac.shape)
    assert layer.nnz == 600 * 50
    assert target.sum() == 50
    assert layer[:, np.flatnonzero(~target)].nnz == 0
    dense = layer.toarray()[:, target]
    assert ((dense > 0) & (dense < 1)).all()
    genes = data["rna"][:, model.genes_].X
    np.testing.assert_allclose(dense, model.predict_proba(genes), atol=1e-6)
    counts = atac.obs["accessibility_split"].value_counts()
    assert counts.to_dict() == {"train": 432, "validation": 48, "test": 120}
    assert atac.uns["accessibility"]["chosen"] == model.model_ == "ridge"


def test_the_report_is_on_test_cells_alone(trained):
    data, model = trained
    atac = data["atac"]
    test = (atac.obs["accessibility_split"] == "test").to_numpy()
    target = atac.var["accessibility_target"].to_numpy()
    y, p = atac.X.toarray()[test][:, target] > 0, atac.layers["accessibility"].toarray()[test][:, target]
    table = scp.get.accessibility(data)
    assert table.loc["ridge", "pr_auc"] == pytest.approx(average_precision_score(y.ravel(), p.ravel()), abs=1e-6)
    mean = np.tile(model.training_mean_, (len(y), 1))
    assert table.loc["mean", "pr_auc"] == pytest.approx(average_precision_score(y.ravel(), mean.ravel()), abs=1e-6)
    assert list(scp.get.accessibility(data, of="cells").index) == list(atac.obs_names[test])
    assert list(scp.get.accessibility(data, of="peaks").index) == list(atac.var_names[target])


def test_genes_and_peaks_are_the_most_variable_of_the_training_cells(trained):
    data, model = trained
    train = (data["atac"].obs["accessibility_split"] == "train").to_numpy()
    X, Y = data["rna"].X.toarray()[train].astype(float), data["atac"].X.toarray()[train] > 0
    for matrix, names, chosen in (
        (X, data["rna"].var_names, model.genes_),
        (Y.astype(float), data["atac"].var_names, model.peaks_),
    ):
        variance = pd.Series(matrix.var(axis=0), index=names)
        assert variance[chosen].min() >= variance.drop(chosen).max() - 1e-9


@pytest.mark.parametrize("of", TABLES)
def test_tables_survive_a_file(of, trained, tmp_path):
    data, _ = trained
    table = scp.get.accessibility(data, of=of)
    data["atac"].copy().write_h5ad(tmp_path / "a.h5ad")
    again = scp.get.accessibility(ad.read_h5ad(tmp_path / "a.h5ad"), of=of)
    pd.testing.assert_frame_equal(again, table, check_names=False, check_index_type=False, check_column_type=False,
                                  check_dtype=False)  # fmt: skip
    assert again.attrs["chosen"] == "ridge"
    assert again.attrs["summary"] == table.attrs["summary"]


def test_the_baseline_is_never_hidden(trained):
    data, _ = trained
    for of in ("models", "confusion", "validation"):
        assert {"mean", "ridge", "knn"} <= set(scp.get.accessibility(data, of=of).index)
    for of in ("peaks", "cells"):
        assert {"mean", "ridge", "knn", "chance"} <= set(scp.get.accessibility(data, of=of).columns)
    summary = scp.get.accessibility(data).attrs["summary"]
    assert "the mean of each peak has" in summary
    assert "kNN has" in summary


def test_a_model_that_a_simpler_one_beats_says_so(data):
    with pytest.warns(ProgramsWarning, match="Ridge regression does better than kNN on the test cells"):
        scp.tl.train_accessibility(data, model="knn", n_peaks=50)
    assert "does better" in scp.get.accessibility(data).attrs["summary"]


def test_without_coupling_the_report_says_that_nothing_was_learned():
    gains, said = [], 0
    for seed in range(8):
        data = scp.datasets.simulate_multiome(300, 80, 40, coupling=0, random_state=seed)
        with pytest.warns(ProgramsWarning):  # that it learned nothing, or that another does better
            scp.tl.train_accessibility(data, model="knn", n_peaks=40)
        table = scp.get.accessibility(data)
        gains.append(table.loc["knn", "gain"])
        said += "cannot be told from the mean of each peak" in table.attrs["summary"]
    assert said >= 6
    assert abs(np.mean(gains)) < 0.01  # noise does not seem to gain


def test_inputs_are_left_alone(data, original):
    scp.tl.train_accessibility(data, model="ridge", n_peaks=50)
    for name in ("rna", "atac"):
        assert (data[name].X != original[name].X).nnz == 0
    assert list(data["rna"].obs) == list(original["rna"].obs)


def test_cells_are_matched_by_name(data, original, trained):
    order = np.random.default_rng(0).permutation(600)
    data["rna"] = data["rna"][order].copy()
    scp.tl.train_accessibility(data, model="ridge", n_genes=120, n_peaks=50)
    expected = trained[0]["atac"].layers["accessibility"]
    np.testing.assert_allclose(data["atac"].layers["accessibility"].toarray(), expected.toarray(), atol=1e-6)


def test_cells_in_one_modality_alone_are_left_out(data):
    data["rna"] = data["rna"][50:].copy()
    with pytest.warns(ProgramsWarning, match="50 cells are in one of 'rna' and 'atac' alone"):
        scp.tl.train_accessibility(data, model="ridge", n_peaks=50)
    assert data["atac"].layers["accessibility"][:50].nnz == 0
    assert data["atac"].obs["accessibility_split"].isna().sum() == 50


@pytest.mark.parametrize("form", [np.asarray, sparse.csc_matrix, sparse.csr_array])
def test_formats_do_not_matter(form, data, trained):
    for name in ("rna", "atac"):
        matrix = data[name].X
        data[name].X = form(matrix.toarray()) if form is np.asarray else form(matrix)
    scp.tl.train_accessibility(data, model="ridge", n_genes=120, n_peaks=50)
    found, expected = (d["atac"].layers["accessibility"].toarray() for d in (data, trained[0]))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_counts_above_zero_are_open(data, trained):
    data["atac"].layers["counts"] = data["atac"].X * 3
    del data["atac"].X
    scp.tl.train_accessibility(data, model="ridge", n_genes=120, n_peaks=50, atac_layer="counts")
    found, expected = (d["atac"].layers["accessibility"] for d in (data, trained[0]))
    assert abs(found - expected).max() < 1e-6


@pytest.mark.parametrize("groupby", ["cell_type", "batch"])
def test_groups_are_held_out(groupby, data):
    scp.tl.train_accessibility(data, model="ridge", n_peaks=50, groupby=groupby)
    obs = data["atac"].obs
    parts = {
        part: set(obs.loc[obs["accessibility_split"] == part, groupby]) for part in ("train", "validation", "test")
    }
    assert not parts["test"] & (parts["train"] | parts["validation"])
    assert scp.get.accessibility(data).attrs["params"]["test_groups"] == sorted(parts["test"])


def test_named_groups_are_held_out(data):
    scp.tl.train_accessibility(data, model="ridge", n_peaks=50, groupby="cell_type", test_groups=["type_3"])
    obs = data["atac"].obs
    assert ((obs["accessibility_split"] == "test") == (obs["cell_type"] == "type_3")).all()


@pytest.mark.parametrize("how", ["names", "column", "mask"])
def test_peaks_can_be_given(how, data):
    chosen = [3, 11, 40]
    mask = np.isin(np.arange(80), chosen)
    data["atac"].var["mine"] = mask
    peaks = {"names": list(data["atac"].var_names[chosen][::-1]), "column": "mine", "mask": mask}[how]
    model = scp.tl.train_accessibility(data, model="ridge", peaks=peaks)
    assert model.peaks_ == list(data["atac"].var_names[chosen])
    np.testing.assert_array_equal(data["atac"].var["accessibility_target"], mask)


@pytest.mark.parametrize("where", ["columns", "interval"])
def test_distances_from_either_kind_of_coordinates(where, data):
    if where == "interval":
        var = data["rna"].var
        var["interval"] = [f"{c}:{s}-{e}" for c, s, e in zip(var["chrom"], var["start"], var["end"], strict=True)]
        data["rna"].var = var[["interval"]]
        data["atac"].var = data["atac"].var[[]]
    model = scp.tl.train_accessibility(data, model="ridge", n_peaks=50, gene_distance=30_000)
    assert scp.get.accessibility(data).attrs["params"]["gene_distance"] == 30_000
    assert np.abs(model.candidates_["ridge"].local).max() > 0


# --- prediction ----------------------------------------------------------------------------------------------------


def test_prediction_of_new_cells(trained, original, tmp_path):
    _, model = trained
    new = {name: adata[:40].copy() for name, adata in original.items()}
    assert scp.tl.predict_accessibility(new, model) is None
    model.write(tmp_path / "m.npz")
    from_file = scp.tl.predict_accessibility({k: v.copy() for k, v in new.items()}, tmp_path / "m.npz", copy=True)
    assert (new["atac"].layers["accessibility"] != from_file["atac"].layers["accessibility"]).nnz == 0
    target = new["atac"].var["accessibility_target"].to_numpy()
    alone = scp.tl.predict_accessibility(new["rna"], model)
    assert alone.shape == (40, 50)
    assert list(alone.var_names) == model.peaks_
    np.testing.assert_allclose(new["atac"].layers["accessibility"].toarray()[:, target], alone.X, atol=1e-7)
    assert alone.uns["params"]["model"] == "ridge"


def test_copy_leaves_the_original(trained, original):
    _, model = trained
    new = {name: adata.copy() for name, adata in original.items()}
    changed = scp.tl.predict_accessibility(new, model, copy=True)
    assert "accessibility" in changed["atac"].layers
    assert "accessibility" not in new["atac"].layers


def test_genes_and_peaks_are_found_by_name(trained, original):
    _, model = trained
    rng = np.random.default_rng(0)
    new = {
        "rna": original["rna"][:, rng.permutation(150)].copy(),
        "atac": original["atac"][:, rng.permutation(80)].copy(),
    }
    scp.tl.predict_accessibility(new, model)
    found = pd.DataFrame(new["atac"].layers["accessibility"].toarray(), columns=new["atac"].var_names)[model.peaks_]
    np.testing.assert_allclose(found, model.predict_proba(original["rna"][:, model.genes_].X), atol=1e-6)


def test_missing_genes_count_as_average_and_missing_peaks_are_left_out(trained, original):
    _, model = trained
    gone = model.genes_[:20]
    new = {
        "rna": original["rna"][:, ~original["rna"].var_names.isin(gone)].copy(),
        "atac": original["atac"][:, :70].copy(),
    }
    with pytest.warns(ProgramsWarning) as caught:
        scp.tl.predict_accessibility(new, model)
    text = " ".join(str(w.message) for w in caught)
    assert "20 of the 120 genes of the model are not in data['rna']" in text
    assert "target peaks are not in data['atac']" in text
    full = original["rna"][:, model.genes_].X.toarray()
    full[:, :20] = model.gene_means_[:20]
    there = [i for i, name in enumerate(model.peaks_) if name in new["atac"].var_names]
    target = new["atac"].var["accessibility_target"].to_numpy()
    found = new["atac"].layers["accessibility"].toarray()[:, target]
    np.testing.assert_allclose(found, model.predict_proba(full)[:, there], atol=1e-5)


def test_evaluation_on_new_cells(trained):
    _, model = trained
    new = scp.datasets.simulate_multiome(600, 150, 80, random_state=1)
    new = {name: adata[:200].copy() for name, adata in new.items()}
    scp.tl.predict_accessibility(new, model, evaluate=True)
    table = scp.get.accessibility(new)
    assert table.attrs["params"]["n_test"] == 200
    assert table.loc["ridge", "gain"] > 0.1
    scp.tl.predict_accessibility(new, model)
    with pytest.raises(KeyError, match="no report on accessibility"):
        scp.get.accessibility(new)


# --- figures -------------------------------------------------------------------------------------------------------


def test_figures_show_every_model_and_chance(trained, tmp_path):
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    data, _ = trained
    before = plt.get_fignums()
    ax = scp.pl.precision_recall(data, show=False)
    lines = {line.get_gid(): line for line in ax.lines if line.get_gid()}
    assert set(lines) == {"curve mean", "curve ridge", "curve knn"}
    curves = scp.get.accessibility(data, of="curves")
    np.testing.assert_allclose(lines["curve ridge"].get_ydata(), curves.loc[curves["model"] == "ridge", "precision"])
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    prevalence = scp.get.accessibility(data)["prevalence"].iloc[0]
    assert f"random order ({prevalence:.3f})" in labels
    fig = scp.pl.accessibility_report(data, show=False, return_fig=True, save=tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 20_000
    assert len(fig.axes) == 6
    assert "over the mean of each peak" in fig.get_suptitle()
    assert plt.get_fignums() == before


def test_the_report_of_the_mean_alone_can_be_drawn(data):
    with pytest.warns(ProgramsWarning, match="does better than the mean of each peak"):
        scp.tl.train_accessibility(data, model="mean", n_peaks=30)
    assert len(scp.pl.accessibility_report(data, show=False)) == 6


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"model": "forest"}, ValueError, "Choose one of 'auto'"),
        ({"n_genes": 1.5}, TypeError, "n_genes"),
        ({"n_peaks": 0}, ValueError, "n_peaks=0"),
        ({"test_fraction": 1}, ValueError, "test_fraction"),
        ({"validation_fraction": 0}, ValueError, "validation_fraction"),
        ({"groupby": "nothing"}, KeyError, "groupby='nothing' is in .obs neither"),
        ({"groupby": ["cell_type"]}, TypeError, "groupby"),
        ({"test_groups": ["type_1"]}, ValueError, "without groupby"),
        ({"groupby": "cell_type", "test_groups": ["x"]}, ValueError, "no levels of 'cell_type'"),
        ({"rna": "gex"}, KeyError, "'gex' is not in the modalities of data"),
        ({"layer": "logs"}, KeyError, "'logs' is not in adata.layers"),
        ({"peaks": ["chr1:1-2"]}, ValueError, "peaks names 1 that are not"),
        ({"peaks": []}, ValueError, "peaks"),
        ({"peaks": np.zeros(80, bool)}, ValueError, "selects none"),
        ({"gene_distance": 0}, ValueError, "gene_distance"),
        ({"dropout": 1}, ValueError, "dropout"),
        ({"normalization": "group"}, ValueError, "normalization='group'"),
        ({"optimizer": "sgd"}, ValueError, "optimizer='sgd'"),
        ({"hidden": 512}, TypeError, "hidden=512"),
        ({"hidden": (0,)}, ValueError, "hidden=0"),
        ({"batch_size": 1}, ValueError, "batch_size=1"),
        ({"focal_weight": 0, "dice_weight": 0}, ValueError, "both 0"),
        ({"alpha": 2}, ValueError, "alpha"),
        ({"averaging": 1}, ValueError, "averaging"),
        ({"key_added": "a/b"}, ValueError, "key_added"),
    ],
)
def test_arguments_that_are_refused(kwargs, error, message, data):
    before = list(data["atac"].uns)
    with pytest.raises(error, match=message):
        scp.tl.train_accessibility(data, **{"model": "ridge", **kwargs})
    assert list(data["atac"].uns) == before
    assert list(data["atac"].layers) == ["true_probability"] or None in data["atac"].layers


def test_data_that_are_refused(data):
    with pytest.raises(TypeError, match="pass a MuData, or a mapping"):
        scp.tl.train_accessibility(data["rna"])
    with pytest.raises(KeyError, match="'atac' is not in the modalities"):
        scp.tl.train_accessibility({"rna": data["rna"]})
    other = data["atac"].copy()
    other.obs_names = [f"x{i}" for i in range(600)]
    with pytest.raises(ValueError, match="no cell in common"):
        scp.tl.train_accessibility({"rna": data["rna"], "atac": other})
    other.obs_names = ["x"] * 600
    with pytest.raises(ValueError, match="not unique"):
        scp.tl.train_accessibility({"rna": data["rna"], "atac": other})
    negative = data["atac"].copy()
    negative.X = -negative.X
    with pytest.raises(ValueError, match="negative values"):
        scp.tl.train_accessibility({"rna": data["rna"], "atac": negative})
    with pytest.raises(ValueError, match="too few"):
        scp.tl.train_accessibility({name: adata[:3].copy() for name, adata in data.items()})
    data["rna"].var = data["rna"].var[[]]
    with pytest.raises(KeyError, match="no coordinates of genes"):
        scp.tl.train_accessibility(data, model="ridge", gene_distance=1000)


def test_nan_in_expression_is_refused(data):
    data["rna"].X.data[5] = np.nan
    with pytest.raises(ValueError, match="1 NaN"):
        scp.tl.train_accessibility(data)


def test_counts_in_place_of_log_expression_are_warned_of(data):
    with pytest.warns(ProgramsWarning, match="holds integers"):
        scp.tl.train_accessibility(data, model="ridge", n_peaks=50, layer="counts")


def test_predictions_that_are_refused(trained, original, tmp_path):
    _, model = trained
    with pytest.raises(TypeError, match=r"pass what scp\.tl\.train_accessibility returned"):
        scp.tl.predict_accessibility(original, 5)
    with pytest.raises(TypeError, match="AccessibilityModel"):
        scp.tl.predict_accessibility(original, AccessibilityModel("ridge"))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        scp.tl.predict_accessibility(original, tmp_path / "none.npz")
    with pytest.raises(ValueError, match="needs the accessibility as well"):
        scp.tl.predict_accessibility(original["rna"], model, evaluate=True)
    other = original["rna"].copy()
    other.var_names = [name.upper() for name in other.var_names]
    with pytest.raises(ValueError, match=r"(?s)None of the 120 genes.*upper and lower case"):
        scp.tl.predict_accessibility(other, model)
    peaks = original["atac"].copy()
    peaks.var_names = [f"p{i}" for i in range(80)]
    with pytest.raises(ValueError, match="None of the 50 target peaks"):
        scp.tl.predict_accessibility({"rna": original["rna"], "atac": peaks}, model)


def test_reports_that_are_not_there(data, trained):
    with pytest.raises(KeyError, match=r"There is no report on accessibility under key='accessibility'\. There: none"):
        scp.get.accessibility(data)
    with pytest.raises(KeyError, match="There: 'accessibility'"):
        scp.get.accessibility(trained[0], key="other")
    with pytest.raises(ValueError, match="of='curve'"):
        scp.get.accessibility(trained[0], of="curve")


# --- MuData and real cells -----------------------------------------------------------------------------------------


@pytest.fixture
def mudata():
    return pytest.importorskip("mudata", reason='MuData needs mudata: pip install "scprograms[deep]"')


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_mudata_gives_what_a_mapping_gives(mudata, data, trained, tmp_path):
    mdata = mudata.MuData(data)
    mdata.obs["site"] = np.where(np.arange(600) % 2, "a", "b")
    scp.tl.train_accessibility(mdata, model="ridge", n_genes=120, n_peaks=50)
    found, expected = (d["atac"].layers["accessibility"] for d in (mdata, trained[0]))
    assert (found != expected).nnz == 0
    mdata.write(tmp_path / "m.h5mu")
    again = mudata.read_h5mu(tmp_path / "m.h5mu")
    pd.testing.assert_frame_equal(scp.get.accessibility(again), scp.get.accessibility(trained[0]), check_names=False)
    copied = scp.tl.predict_accessibility(mdata, trained[1], key_added="new", copy=True)
    assert "new" in copied["atac"].layers
    assert "new" not in mdata["atac"].layers
    scp.tl.train_accessibility(mdata, model="ridge", n_peaks=50, groupby="site")
    assert scp.get.accessibility(mdata).attrs["params"]["groupby"] == "site"


@pytest.mark.shared_data
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("groupby", [None, "celltype", "batch"])
def test_small_real_multiome_is_reported_honestly(mudata, groupby):
    if not REAL.exists():
        pytest.skip("the small NeurIPS multiome is not beside the project")
    mdata = mudata.read_h5mu(REAL)
    scp.tl.train_accessibility(mdata, groupby=groupby, epochs=15, hidden=(64,))
    table = scp.get.accessibility(mdata)
    chosen = table.attrs["chosen"]
    assert table.loc[chosen, "pr_auc"] >= table.loc["mean", "pr_auc"] - 0.01
    assert table.loc[chosen, "high"] - table.loc[chosen, "low"] > 0.02  # few cells: the report says how little is known
    assert "the mean of each peak" in table.attrs["summary"]
    assert table["pr_auc"].max() < 0.35
