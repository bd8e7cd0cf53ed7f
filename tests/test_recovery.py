"""Recovery of states: simulated samples and real cells, what is no state, files, parts, and what is refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import f1_score, precision_recall_fscore_support

import scprograms as scp
from scprograms import ProgramsWarning
from scprograms.tl import RecoveryModel

KANG = Path(__file__).parents[2] / "shared/data/kang2018_pbmc_ifnb/kang2018_pbmc_ifnb_scgen_valid.h5ad"
FAST = {"n_runs": 5, "n_jobs": 1}
BY = {"sample_key": "sample"}
LEAST_OF_TYPE = 100
"""Cells of a type to train on from which its states are to be found."""


def simulate(n_obs=1600, n_vars=500, **options):
    options = {"n_cell_types": 2, "n_samples": 4, **options}
    return scp.datasets.simulate_states(n_obs, n_vars, **options)


def split(adata, new=("sample_3",)):
    held_out = adata.obs["sample"].isin(new).to_numpy()
    return adata[~held_out].copy(), adata[held_out].copy()


@pytest.fixture(scope="module")
def screen():
    return split(simulate())


@pytest.fixture(scope="module")
def model(screen):
    return scp.tl.train_recovery(screen[0], "state", "cell_type", **BY, **FAST)


@pytest.fixture(scope="module")
def recovered(screen, model):
    return scp.tl.recover_states(screen[1], model, "cell_type", **BY, copy=True)


def macro_f1(adata, key="recovery"):
    """F1 over the states, cells in no state counting as missed."""
    truth, found = adata.obs["state"].astype(str), adata.obs[f"{key}_state"].astype(str)
    return f1_score(truth, found, labels=sorted(truth.unique()), average="macro")


def non_state(adata, where=None):
    found = (adata.obs["recovery_state"] == "non-state").to_numpy()
    return found.mean() if where is None else found[where].mean()


# --- states that are known -----------------------------------------------------------------------------------------


def test_states_of_a_new_sample_are_found(recovered):
    assert macro_f1(recovered) > 0.95
    assert 0.0 < non_state(recovered) < 0.1
    shares = recovered.obsm["X_recovery"]
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    names = recovered.uns["recovery"]["params"]["states"].tolist()
    in_one = (recovered.obs["recovery_state"] != "non-state").to_numpy()
    best = np.array(names)[shares.argmax(axis=1)]
    assert (recovered.obs["recovery_state"].astype(str)[in_one] == best[in_one]).all()
    assert recovered.obs["recovery_score"].between(0, 1).all()


def test_left_out_samples_are_validated():
    adata = simulate(1600, n_cell_types=2, n_samples=4)
    scp.tl.cross_validate_recovery(adata, "state", "cell_type", **BY, **FAST)
    states = adata.uns["recovery"]["states"]
    assert states["f1"].min() > 0.9
    assert states["recoverable"].all()


@pytest.mark.parametrize("train_by", [{}, BY], ids=["both pooled", "new cells pooled, as published"])
def test_samples_are_better_scaled_each_than_together(train_by):
    adata = simulate(2000, n_samples=8, batch_effect=1.5, effect=0.8, state_sizes=[0.6, 0.3, 0.1])
    train, new = split(adata, ("sample_4", "sample_5", "sample_6", "sample_7"))
    f1 = []
    for in_training, after in ((BY, BY), (train_by, {})):
        model = scp.tl.train_recovery(train, "state", "cell_type", **in_training, **FAST)
        f1.append(macro_f1(scp.tl.recover_states(new, model, "cell_type", **after, min_score=0, copy=True)))
    assert f1[0] > 0.95
    assert f1[1] < f1[0] - 0.05


def test_rare_states_and_uneven_samples_are_found():
    adata = simulate(3000, state_sizes=[0.7, 0.25, 0.05], n_samples=4)
    first = (adata.obs["sample"] == "sample_3").to_numpy()
    mostly = first & (adata.obs["state"] != "state_0").to_numpy() & (np.arange(adata.n_obs) % 3 > 0)
    train, new = split(adata[~mostly].copy())  # the new sample is of state_0 but for a few cells
    assert (new.obs["state"] == "state_0").mean() > 0.85
    model = scp.tl.train_recovery(train, "state", "cell_type", **BY, **FAST)
    scp.tl.recover_states(new, model, "cell_type", **BY)
    recall = [(new.obs["recovery_state"] == s)[new.obs["state"] == s].mean() for s in sorted(new.obs["state"].unique())]
    assert min(recall) > 0.8


@pytest.mark.slow
def test_coverage_is_nominal_over_splits_of_samples():
    covered = []
    for seed in range(20):
        adata = simulate(1200, 300, n_cell_types=2, n_samples=6, n_markers=30, random_state=seed)
        train, new = split(adata, ("sample_4", "sample_5"))
        model = scp.tl.train_recovery(train, "state", "cell_type", **BY, n_runs=2, confidence=0.9)
        covered.append(1 - non_state(scp.tl.recover_states(new, model, "cell_type", **BY, copy=True)))
    assert np.mean(covered) == pytest.approx(0.9, abs=0.02)


def kang_half(rng):
    """The cells, log-normalised, and the mask of a random half of each type and state."""
    if not KANG.exists():
        pytest.skip("the screens beside the project are absent")
    import scanpy as sc

    adata = ad.read_h5ad(KANG)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    adata.obs["state"] = adata.obs["condition"]
    order = pd.Series(rng.random(adata.n_obs)).groupby([*adata.obs[["state", "cell_type"]].astype(str).to_numpy().T])
    return adata, order.rank().to_numpy() % 2 == 0


@pytest.mark.shared_data
def test_kang_states_are_found_in_the_other_half_with_all_genes_and_without_a_third():
    rng = np.random.default_rng(0)
    adata, half = kang_half(rng)
    train, new = adata[half].copy(), adata[~half].copy()
    model = scp.tl.train_recovery(train, "state", "cell_type", n_jobs=1)
    scp.tl.recover_states(new, model, "cell_type")
    fewer = new[:, rng.random(new.n_vars) > 0.3].copy()
    scp.tl.recover_states(fewer, model, "cell_type")
    for name in new.obs["cell_type"].unique():
        if (train.obs["cell_type"] == name).sum() >= LEAST_OF_TYPE:
            assert macro_f1(new[new.obs["cell_type"] == name]) > 0.9
            assert macro_f1(fewer[fewer.obs["cell_type"] == name]) > 0.85
    assert fewer.uns["recovery"]["cell_types"]["n_genes_missing"].gt(0).all()

    foreign = new[new.obs["cell_type"].isin(["CD14+Mono", "FCGR3A+Mono", "Dendritic"])].copy()
    foreign.obs["cell_type"] = "B"
    with pytest.warns(ProgramsWarning, match="most cells fit no state"):
        scp.tl.recover_states(foreign, model, "cell_type")
    assert non_state(foreign) > 0.9


@pytest.mark.slow
@pytest.mark.shared_data
def test_kang_cells_of_a_state_that_a_type_lacks_in_training_are_no_state():
    adata, half = kang_half(np.random.default_rng(0))
    shares, known = [], []
    left_out = {"CD4T": "stimulated", "CD14+Mono": "control", "B": "stimulated", "Dendritic": "control"}
    for name, state in left_out.items():
        of_type = (adata.obs["cell_type"] == name).to_numpy()
        out = of_type & (adata.obs["state"] == state).to_numpy()
        with pytest.warns(ProgramsWarning, match="Cell types with one state"):
            model = scp.tl.train_recovery(adata[half & ~out], "state", "cell_type", n_runs=2, n_jobs=1)
        new = adata[of_type & ~half].copy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ProgramsWarning)
            scp.tl.recover_states(new, model, "cell_type", n_jobs=1)
        shares.append(non_state(new, out[of_type & ~half]))
        known.append(non_state(new, ~out[of_type & ~half]))
    assert min(shares) > 0.7
    assert np.mean(shares) > 0.85
    assert np.mean(known) < 0.1


# --- what is no state ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixed", [False, True])
def test_cells_of_another_type_are_no_state(screen, model, mixed):
    new = screen[1].copy()
    foreign = (new.obs["cell_type"] == "type_1").to_numpy()
    new.obs["cell_type"] = "type_0"
    asked = new if mixed else new[foreign].copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProgramsWarning)
        scp.tl.recover_states(asked, model, "cell_type", **BY)
    assert non_state(asked, foreign if mixed else None) > 0.8
    if mixed:
        assert non_state(asked, ~foreign) < 0.15


def test_cells_of_a_state_that_was_left_out_are_no_state(screen):
    train, new = screen
    model = scp.tl.train_recovery(train[train.obs["state"] != "state_2"], "state", "cell_type", **BY, **FAST)
    assert model.states["type_0"] == ["state_0", "state_1"]
    found = scp.tl.recover_states(new, model, "cell_type", **BY, copy=True)
    unknown = (found.obs["state"] == "state_2").to_numpy()
    assert non_state(found, unknown) > 0.8
    assert non_state(found, ~unknown) < 0.15


def test_min_score_takes_the_place_of_the_thresholds(screen, model, recovered):
    none = scp.tl.recover_states(screen[1], model, "cell_type", **BY, min_score=0, copy=True)
    assert non_state(none) == 0
    with pytest.warns(ProgramsWarning, match="most cells fit no state"):
        most = scp.tl.recover_states(screen[1], model, "cell_type", **BY, min_score=0.7, copy=True)
    score = recovered.obs["recovery_score"].to_numpy()
    np.testing.assert_array_equal((most.obs["recovery_state"] == "non-state").to_numpy(), score < 0.7)
    assert most.uns["recovery"]["params"]["min_score"] == 0.7


def test_a_sample_of_one_state_is_reported_and_found_relative_to_training():
    train, new = split(simulate(batch_effect=0.1))
    model = scp.tl.train_recovery(train, "state", "cell_type", **BY, **FAST)
    alone = new[new.obs["state"] == "state_1"].copy()
    with pytest.warns(ProgramsWarning, match="of one state alone"):
        scp.tl.recover_states(alone, model, "cell_type", **BY)
    assert non_state(alone) > 0.5
    scp.tl.recover_states(alone, model, "cell_type", **BY, reference="training")
    assert (alone.obs["recovery_state"] == "state_1").mean() > 0.8


def test_cells_without_type_or_of_few_or_of_unknown_ones_are_counted(screen, model):
    new = screen[1].copy()
    types = np.array(new.obs["cell_type"], dtype=object)
    types[:30] = None
    types[30:60] = "unheard_of"
    few = np.flatnonzero(types == "type_1")[10:]
    types[few] = "type_0"
    new.obs["cell_type"] = types
    with pytest.warns(ProgramsWarning) as record:
        scp.tl.recover_states(new, model, "cell_type", **BY)
    said = "\n".join(str(w.message) for w in record)
    assert "no states of 'unheard_of': their 30 cells" in said
    assert "10 cells are in samples with fewer than 20 cells of their type" in said
    assert (new.obs["recovery_state"].iloc[:60] == "non-state").all()
    assert new.obs["recovery_score"].iloc[:60].isna().all()
    assert not new.obsm["X_recovery"][:60].any()
    table = new.uns["recovery"]["cell_types"].set_index("cell_type")
    assert table["n_cells"].sum() == new.n_obs - 30
    assert (table["n_recovered"] + table["n_non_state"] == table["n_cells"]).all()
    assert table.loc["type_1", "n_too_few"] == 10
    assert table.loc["unheard_of", "note"] == "30 cells: cell type not in the model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProgramsWarning)
        scp.tl.recover_states(new, model, "cell_type", **BY, reference="training")
    assert new.uns["recovery"]["cell_types"]["n_too_few"].sum() == 0


# --- what must not matter ------------------------------------------------------------------------------------------


def test_order_of_cells_and_genes_threads_and_format_do_not_matter(screen, model, recovered):
    new = screen[1]
    rng = np.random.default_rng(0)
    shuffled = new[rng.permutation(new.n_obs), rng.permutation(new.n_vars)].copy()
    scp.tl.recover_states(shuffled, model, "cell_type", **BY, n_jobs=2)
    dense = new.copy()
    dense.X = new.X.toarray()
    columns = new.copy()
    columns.X = sparse.csc_matrix(new.X)
    for other in (shuffled, dense, columns):
        if other is not shuffled:
            scp.tl.recover_states(other, model, "cell_type", **BY, n_jobs=1)
        same = other[new.obs_names]
        np.testing.assert_allclose(same.obsm["X_recovery"], recovered.obsm["X_recovery"], atol=1e-5)
        np.testing.assert_allclose(same.obs["recovery_score"], recovered.obs["recovery_score"], atol=1e-6)
        assert (same.obs["recovery_state"].astype(str) == recovered.obs["recovery_state"].astype(str)).all()


def test_training_is_the_same_for_any_threads_and_format_and_seeds_differ(screen, model):
    train = screen[0].copy()
    again = scp.tl.train_recovery(train, "state", "cell_type", **BY, n_runs=5, n_jobs=2)
    pd.testing.assert_frame_equal(again.signature("type_0"), model.signature("type_0"))
    pd.testing.assert_frame_equal(again.thresholds, model.thresholds)
    train.layers["dense"] = train.X.toarray()
    dense = scp.tl.train_recovery(train, "state", "cell_type", **BY, **FAST, layer="dense")
    pd.testing.assert_frame_equal(dense.signature("type_1"), model.signature("type_1"), rtol=1e-5)
    other = scp.tl.train_recovery(train, "state", "cell_type", **BY, **FAST, random_state=1)
    a, b = other.signature("type_0").align(model.signature("type_0"), join="inner")
    assert 0 < np.abs(a - b).to_numpy().max() < 0.2


def test_least_squares_finds_the_same_states(screen, model, recovered):
    other = scp.tl.recover_states(screen[1], model, "cell_type", **BY, loss="frobenius", copy=True)
    same = other.obs["recovery_state"].astype(str) == recovered.obs["recovery_state"].astype(str)
    assert same.mean() > 0.97
    assert np.abs(other.obsm["X_recovery"] - recovered.obsm["X_recovery"]).max() > 1e-3


def test_nothing_else_is_changed_and_a_failure_changes_nothing(screen, model, recovered, tmp_path):
    new = screen[1]
    assert set(recovered.obs) - set(new.obs) == {"recovery_state", "recovery_score"}
    assert set(recovered.obsm) - set(new.obsm) == {"X_recovery"}
    assert (recovered.X != new.X).nnz == 0
    assert "recovery" not in new.uns
    broken = new.copy()
    with pytest.raises(ValueError, match="min_score=2"):
        scp.tl.recover_states(broken, model, "cell_type", min_score=2)
    assert list(broken.obs) == list(new.obs)
    recovered.write_h5ad(tmp_path / "found.h5ad")
    back = ad.read_h5ad(tmp_path / "found.h5ad")
    pd.testing.assert_frame_equal(
        back.uns["recovery"]["cell_types"], recovered.uns["recovery"]["cell_types"], check_dtype=False
    )
    assert (back.obs["recovery_state"].astype(str) == recovered.obs["recovery_state"].astype(str)).all()


# --- the model -----------------------------------------------------------------------------------------------------


def test_signatures_are_of_markers_and_runs_spread_little(screen, model):
    truth = screen[0].varm["true_markers"]
    for name in model.cell_types:
        signature, spread = model.signature(name), model.spread(name)
        assert signature.shape == spread.shape
        assert (spread.to_numpy() > 0).any()
        assert spread.to_numpy().mean() < 0.1
        genes = signature.index.str.removesuffix("__pos").str.removesuffix("__neg")
        for state in signature:
            sign = truth[f"{name}:{state}"].reindex(genes).to_numpy()
            up = signature.index.str.endswith("__pos") & (sign > 0)
            others = signature.drop(columns=state)
            assert (signature[state][up] > others[up].max(axis=1)).mean() > 0.95
    assert model.summary["n_cells"].sum() == screen[0].n_obs
    assert model.thresholds["threshold"].between(0, 0.06).all()


def assert_same_model(a, b):
    assert (a.cell_types, a.states, a.params, a.genes) == (b.cell_types, b.states, b.params, b.genes)
    for name in a.cell_types:
        pd.testing.assert_frame_equal(a.signature(name), b.signature(name))
        pd.testing.assert_frame_equal(a.spread(name), b.spread(name))
    pd.testing.assert_frame_equal(a.thresholds, b.thresholds)
    pd.testing.assert_frame_equal(a.summary, b.summary, check_dtype=False)


def test_a_model_comes_back_from_its_file(screen, model, recovered, tmp_path):
    path = tmp_path / "model.h5ad"
    model.write(path)
    back = RecoveryModel.read(path)
    assert_same_model(back, model)
    found = scp.tl.recover_states(screen[1], back, "cell_type", **BY, copy=True)
    np.testing.assert_array_equal(found.obs["recovery_score"], recovered.obs["recovery_score"])
    stored = ad.read_h5ad(path)
    assert stored.obs_names[0] == "type_0: state_0"
    assert set(stored.var["sign"]) == {"pos", "neg"}
    assert [p.name for p in tmp_path.iterdir()] == ["model.h5ad"]


def test_files_that_are_no_model_are_refused(model, screen, tmp_path):
    with pytest.raises(ValueError, match=r"does not end in \.h5ad"):
        model.write(tmp_path / "model.pkl")
    with pytest.raises(FileNotFoundError, match="no folder"):
        model.write(tmp_path / "nowhere" / "model.h5ad")
    with pytest.raises(FileNotFoundError, match="is no file"):
        RecoveryModel.read(tmp_path / "nothing.h5ad")
    screen[1].write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(ValueError, match="no recovery model"):
        RecoveryModel.read(tmp_path / "cells.h5ad")
    (tmp_path / "text.h5ad").write_text("text")
    with pytest.raises(ValueError, match="cannot be read as h5ad"):
        RecoveryModel.read(tmp_path / "text.h5ad")
    model.write(tmp_path / "model.h5ad")
    newer = ad.read_h5ad(tmp_path / "model.h5ad")
    newer.uns["about"]["version"] = 99
    newer.write_h5ad(tmp_path / "newer.h5ad")
    with pytest.raises(ValueError, match="version 99"):
        RecoveryModel.read(tmp_path / "newer.h5ad")


def test_parts_put_together_are_the_whole(screen, model, tmp_path):
    train = screen[0]
    parts = [
        scp.tl.train_recovery(train, "state", "cell_type", **BY, **FAST, runs=runs)
        for runs in ([3], [0, 4], range(1, 3))
    ]
    parts[0].write(tmp_path / "part.h5ad")
    parts[0] = RecoveryModel.read(tmp_path / "part.h5ad")
    assert_same_model(RecoveryModel.aggregate(parts), model)
    with pytest.raises(ValueError, match="have run '0', '4'"):
        RecoveryModel.aggregate([*parts, parts[1]])
    with pytest.raises(ValueError, match="trained without runs="):
        RecoveryModel.aggregate([parts[0], model])
    with pytest.raises(ValueError, match="models is empty"):
        RecoveryModel.aggregate([])
    with pytest.raises(TypeError, match=r"models\[0\] is a str"):
        RecoveryModel.aggregate(["model"])
    other = scp.tl.train_recovery(train, "state", "cell_type", **BY, **FAST, runs=[2], random_state=1)
    with pytest.raises(ValueError, match="differ in random_state"):
        RecoveryModel.aggregate([parts[0], other])
    less = scp.tl.train_recovery(train[10:], "state", "cell_type", **BY, **FAST, runs=[2])
    with pytest.raises(ValueError, match="differ in n_obs"):
        RecoveryModel.aggregate([parts[0], less])


def test_a_model_says_what_it_holds(model):
    assert repr(model) == f"RecoveryModel of 2 cell types with 6 states, from {len(model.genes)} genes"


def test_unknown_cell_types_of_a_model_are_a_key_error(model):
    with pytest.raises(KeyError, match=r"'T' is not in model\.cell_types"):
        model.signature("T")


# --- validation ----------------------------------------------------------------------------------------------------


def test_tables_of_the_validation_are_those_of_sklearn():
    adata = simulate(1000, 300, effect=0.6, n_samples=3, n_markers=30)
    adata.obs["state"] = adata.obs["state"].cat.rename_categories({"state_0": "a/b"})
    scp.tl.cross_validate_recovery(adata, "state", "cell_type", **BY, **FAST, key_added="cv")
    confusion, states = adata.uns["cv"]["confusion"], adata.uns["cv"]["states"]
    assert confusion["n_cells"].sum() == adata.n_obs == adata.uns["cv"]["validation_params"]["n_validated"]
    for name, part in confusion.groupby("cell_type", observed=True):
        truth, found = (np.repeat(part[column].astype(str), part["n_cells"]) for column in ("state", "predicted"))
        mine = states[states["cell_type"] == name]
        expected = precision_recall_fscore_support(truth, found, labels=mine["state"])
        for column, values in zip(["precision", "recall", "f1", "n_cells"], expected, strict=True):
            np.testing.assert_allclose(mine[column], values, rtol=1e-12)
    assert states["recoverable"].all()
    # One fold by hand: trained on the others, with thresholds from them alone.
    train, new = split(adata, ("sample_2",))
    model = scp.tl.train_recovery(train, "state", "cell_type", **BY, **FAST)
    scp.tl.recover_states(new, model, "cell_type", **BY)
    others = sum(
        (
            scp.tl.recover_states(
                split(adata, (s,))[1],
                scp.tl.train_recovery(split(adata, (s,))[0], "state", "cell_type", **BY, **FAST),
                "cell_type",
                **BY,
                copy=True,
            ).obs["recovery_state"]
            == "non-state"
        ).sum()
        for s in ("sample_0", "sample_1")
    )
    total = confusion.loc[confusion["predicted"] == "non-state", "n_cells"].sum()
    assert total == others + (new.obs["recovery_state"] == "non-state").sum()


def test_samples_are_validated_on_the_workers_of_a_dask_client_alike():
    distributed = pytest.importorskip("distributed")
    here = simulate(600, 300, n_samples=3, n_markers=30)
    there = here.copy()
    scp.tl.cross_validate_recovery(here, "state", "cell_type", **BY, **FAST)
    with distributed.Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=":0"):
        scp.tl.cross_validate_recovery(there, "state", "cell_type", **BY, **FAST)
    pd.testing.assert_frame_equal(there.uns["recovery"]["confusion"], here.uns["recovery"]["confusion"])


def test_very_rare_states_in_samples_of_one_state_but_for_a_few_cells():
    adata = simulate(4000, 500, n_cell_types=2, n_samples=5, state_sizes=[0.93, 0.05, 0.02])
    scp.tl.cross_validate_recovery(adata, "state", "cell_type", **BY, **FAST)
    states = adata.uns["recovery"]["states"]
    assert states["precision"].min() > 0.95
    assert states["recall"].min() > 0.75


def test_states_that_are_names_only_are_not_recoverable():
    adata = simulate(800, 300, effect=0.0, n_samples=3, n_cell_types=2)
    scp.tl.cross_validate_recovery(adata, "state", "cell_type", **BY, **FAST)
    assert not adata.uns["recovery"]["states"]["recoverable"].any()
    assert adata.uns["recovery"]["states"]["f1"].max() < 0.6


def test_validation_keeps_a_recovery_and_a_recovery_the_validation(screen, model):
    adata = screen[0][:600].copy()
    scp.tl.cross_validate_recovery(adata, "state", "cell_type", **BY, **FAST)
    scp.tl.recover_states(adata, model, "cell_type", **BY)
    assert {"confusion", "states", "validation_params", "params", "cell_types"} == set(adata.uns["recovery"])


# --- what is refused -----------------------------------------------------------------------------------------------


def train_on(adata, **options):
    return scp.tl.train_recovery(adata, "state", "cell_type", **{**BY, **FAST, **options})


def test_missing_labels_are_left_out_with_a_count(screen):
    train = screen[0].copy()
    labels = np.array(train.obs["state"], dtype=object)
    labels[:100] = np.nan
    train.obs["state"] = labels
    with pytest.warns(ProgramsWarning, match="is missing for 100 of 1200 cells: no state is learned"):
        model = train_on(train)
    assert model.params["n_unlabelled"] == 100
    assert model.summary["n_cells"].sum() == train.n_obs - 100
    train.obs["state"] = np.nan
    with pytest.raises(ValueError, match=r"obs\['state'\] has no label at all"):
        train_on(train)
    train.obs["state"] = pd.Categorical([None] * train.n_obs, categories=["a"])
    with pytest.raises(ValueError, match=r"obs\['state'\] has no label at all"):
        train_on(train)


def test_cell_types_are_no_states_of_themselves(screen):
    with pytest.raises(ValueError, match=r"both 'cell_type'.*adata\.obs\['all'\] = 'all'"):
        scp.tl.train_recovery(screen[0], "cell_type", "cell_type")


def test_one_state_is_refused(screen):
    train = screen[0].copy()
    train.obs["state"] = "resting"
    with pytest.raises(ValueError, match="All 1200 labelled cells are in one state, 'resting'"):
        train_on(train)


def test_states_that_no_sample_has_together_are_refused(screen):
    train = screen[0].copy()
    train.obs["state"] = np.where(train.obs["sample"] == "sample_0", "a", "b")
    with pytest.raises(ValueError, match="samples that hold both") as error:
        train_on(train)
    assert "'type_0' has states that no sample has together" in str(error.value)


def test_types_that_cannot_be_learned_are_named(screen):
    train = screen[0].copy()
    states = train.obs["state"].astype(str).to_numpy()
    other = (train.obs["cell_type"] == "type_1").to_numpy()
    states[other] = np.where(train.obs["sample"][other] == "sample_0", "state_0", "state_1")
    train.obs["state"] = states
    with pytest.warns(
        ProgramsWarning, match="1 of 2 cell types have no states that can be learned: 'type_1' has states that no sam"
    ):
        model = train_on(train)
    assert model.cell_types == ["type_0"]
    assert model.summary.query("cell_type == 'type_1'")["n_features"].tolist() == [0, 0]
    with pytest.raises(KeyError, match="'type_1' was left out: states that no sample has together"):
        model.signature("type_1")
    foreign = screen[1][screen[1].obs["cell_type"] == "type_1"].copy()
    foreign.obs["cell_type"] = "type_0"
    with pytest.warns(ProgramsWarning, match="most cells fit no state"):
        scp.tl.recover_states(foreign, model, "cell_type", **BY)  # its profile is known all the same
    assert non_state(foreign) > 0.8


def test_a_type_with_one_state_has_a_threshold_and_no_signature(screen, tmp_path):
    train, new = screen[0].copy(), screen[1].copy()
    states = train.obs["state"].astype(str).to_numpy()
    states[(train.obs["cell_type"] == "type_1").to_numpy()] = "state_0"
    train.obs["state"] = states
    with pytest.warns(ProgramsWarning, match="Cell types with one state: 'type_1'"):
        model = train_on(train)
    assert model.states["type_1"] == ["state_0"]
    assert model.summary["note"].tolist() == [""] * 3 + ["the only state: known by its mean profile"]
    with pytest.raises(KeyError, match="'type_1' has one state, and so no signature"):
        model.signature("type_1")
    found = scp.tl.recover_states(new, model, "cell_type", **BY, copy=True)
    one = (new.obs["cell_type"] == "type_1").to_numpy()
    assert set(found.obs["recovery_state"][one]) == {"state_0", "non-state"}
    assert non_state(found, one) < 0.15
    assert macro_f1(found[~one]) > 0.95
    assert found.uns["recovery"]["cell_types"].set_index("cell_type")["n_genes"].gt(0).all()
    foreign = new[~one].copy()
    foreign.obs["cell_type"] = "type_1"
    with pytest.warns(ProgramsWarning, match="most cells fit no state"):
        scp.tl.recover_states(foreign, model, "cell_type", **BY)
    assert non_state(foreign) > 0.9

    model.write(tmp_path / "model.h5ad")
    back = RecoveryModel.read(tmp_path / "model.h5ad")
    assert (back.states, back.trained.single) == (model.states, model.trained.single)
    pd.testing.assert_frame_equal(back.thresholds, model.thresholds)
    again = scp.tl.recover_states(new, back, "cell_type", **BY, copy=True)
    np.testing.assert_array_equal(again.obs["recovery_score"], found.obs["recovery_score"])
    scp.tl.cross_validate_recovery(train, "state", "cell_type", **BY, n_runs=2, n_jobs=1)
    table = scp.get.recovery_states(train).set_index(["cell_type", "state"])
    assert table.loc[("type_1", "state_0"), "recall"] > 0.85


def test_one_cell_type_alone_is_not_checked_for_identity(screen):
    train = screen[0][screen[0].obs["cell_type"] == "type_0"].copy()
    with pytest.warns(ProgramsWarning, match="will not be checked"):
        model = train_on(train)
    new = screen[1][screen[1].obs["cell_type"] == "type_0"].copy()
    scp.tl.recover_states(new, model, "cell_type", **BY)
    assert macro_f1(new) > 0.95
    assert not new.uns["recovery"]["cell_types"]["identity_checked"].any()


def test_duplicated_genes_are_refused(screen, model):
    twice = screen[0].copy()
    twice.var_names = ["GENE"] * 2 + twice.var_names[2:].tolist()
    with pytest.raises(ValueError, match="var_names has 1 duplicates"):
        train_on(twice)
    with pytest.raises(ValueError, match="var_names has 1 duplicates"):
        scp.tl.recover_states(twice, model, "cell_type")


def test_a_state_cannot_be_called_non_state(screen):
    train = screen[0].copy()
    train.obs["state"] = train.obs["state"].cat.rename_categories({"state_0": "non-state"})
    with pytest.raises(ValueError, match="Make these labels missing"):
        train_on(train)


def test_other_genes_and_other_types_are_refused_and_many_missing_ones_reported(screen, model):
    new = screen[1].copy()
    upper = new.copy()
    upper.var_names = new.var_names.str.upper()
    with pytest.raises(ValueError, match="upper and lower case"):
        scp.tl.recover_states(upper, model, "cell_type")
    with pytest.raises(ValueError, match="none of the cell types of the model"):
        scp.tl.recover_states(new[:, :50], model, "sample")
    genes = model.signature("type_0").index.str.partition("__").get_level_values(0).unique()
    kept = new[:, ~new.var_names.isin(genes[: int(0.7 * len(genes))])].copy()
    with pytest.warns(ProgramsWarning, match="More than half of the genes of a signature are missing"):
        scp.tl.recover_states(kept, model, "cell_type", **BY)
    bare = new[:, ~new.var_names.isin(genes)].copy()
    with pytest.warns(ProgramsWarning, match="More than half"):
        scp.tl.recover_states(bare, model, "cell_type", **BY)
    table = bare.uns["recovery"]["cell_types"].set_index("cell_type")
    assert table.loc["type_0", "n_recovered"] == 0
    assert "fewer than 5 genes of the signature" in table.loc["type_0", "note"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_features": 1}, ValueError, "n_features=1 is too small"),
        ({"n_runs": 0}, ValueError, "n_runs=0 is too small"),
        ({"n_cells": 2.5}, TypeError, "n_cells=2.5 is a float"),
        ({"n_features_per_state": True}, TypeError, "n_features_per_state=True is a bool"),
        ({"confidence": 1.0}, ValueError, "confidence=1.0 is out of range"),
        ({"rank_genes_by": "cv"}, ValueError, "rank_genes_by='cv' is not known"),
        ({"runs": [9]}, ValueError, "numbered from 0 to n_runs - 1 = 4"),
        ({"runs": []}, TypeError, "pass a list of the numbers"),
        ({"random_state": -1}, ValueError, "random_state=-1 is too small"),
        ({"sample_key": "donor"}, KeyError, "'donor' is not in adata.obs"),
        ({"layer": "raw"}, KeyError, "'raw' is not in adata.layers"),
        ({"n_jobs": 0}, ValueError, "n_jobs=0"),
        ({"min_cells": 10_000}, ValueError, "No cell type has states that can be learned"),
    ],
)
def test_arguments_of_training_are_checked(screen, options, error, message):
    with pytest.raises(error, match=message):
        train_on(screen[0], **options)


def test_other_wrong_arguments(screen, model):
    new = screen[1].copy()
    with pytest.raises(TypeError, match="model is a str"):
        scp.tl.recover_states(new, "model.h5ad", "cell_type")
    with pytest.raises(TypeError, match="AnnData is needed"):
        scp.tl.recover_states(new.to_df(), model, "cell_type")
    with pytest.raises(ValueError, match="loss='l1' is not known"):
        scp.tl.recover_states(new, model, "cell_type", loss="l1")
    with pytest.raises(ValueError, match="reference='control' is not known"):
        scp.tl.recover_states(new, model, "cell_type", reference="control")
    with pytest.raises(ValueError, match="cannot name a slot"):
        scp.tl.recover_states(new, model, "cell_type", key_added="a/b")
    with pytest.raises(ValueError, match="has one sample, 'sample_3'"):
        scp.tl.cross_validate_recovery(new, "state", "cell_type", **BY)
    with pytest.raises(TypeError, match="sample_key=None"):
        scp.tl.cross_validate_recovery(new, "state", "cell_type", sample_key=None)
    new.X.data[3] = np.nan
    with pytest.raises(ValueError, match="1 NaN"):
        scp.tl.recover_states(new, model, "cell_type")
    counts = screen[1].copy()
    with pytest.warns(ProgramsWarning, match="holds integers"):
        scp.tl.recover_states(counts, model, "cell_type", layer="counts", **BY)
