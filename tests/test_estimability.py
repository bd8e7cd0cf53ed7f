"""Designs in which an effect cannot be told from a covariate, and columns of labels that are not what they seem."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scprograms as scp
from fitted import with_factorization
from scprograms._anndata.labels import read_labels, warn_about_labels
from scprograms._core.validate import ProgramsWarning
from scprograms.perturbation.engine.comparison import Comparison, not_estimable, without_covariates


def with_usages(W):
    adata = with_factorization(n_obs=len(W), n_programs=W.shape[1])
    adata.obsm["X_semi_nmf"] = W.astype(np.float32)
    return adata


def screen(n_per_guide=12, n_groups=5, seed=0):
    """Cells of a control and perturbations with three guides each, and usages without any effect."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n_groups), 3 * n_per_guide)
    guide = np.repeat(np.arange(3 * n_groups), n_per_guide)
    adata = with_usages(rng.gamma(2.0, size=(len(group), 4)))
    adata.obs["p"] = pd.Categorical(np.where(group == 0, "ctrl", np.char.add("P", group.astype(str))))
    adata.obs["g"] = pd.Categorical(np.char.add("g", guide.astype(str)))
    return adata, group, rng


def effects(adata, **options):
    scp.tl.perturbation_effects(adata, "p", "ctrl", **options)
    return scp.get.effects(adata, "p").set_index(["perturbation", "program"])


TESTS = [{"replicate": "g"}, {"method": "permutation", "n_permutations": 99}]
quiet = pytest.mark.filterwarnings("ignore:.*may hold guides or replicates")


@quiet
@pytest.mark.parametrize("test", TESTS, ids=["replicate", "permutation"])
def test_a_lane_of_the_control_alone_is_refused(test):
    adata, group, _ = screen()
    adata.obs["lane"] = pd.Categorical(np.where(group == 0, "one", "two"))
    with pytest.raises(ValueError, match=r"No effect is estimable beside covariates 'lane'"):
        effects(adata, covariates="lane", **test)
    assert "effects" not in adata.uns["semi_nmf"]


@quiet
@pytest.mark.parametrize("test", TESTS, ids=["replicate", "permutation"])
def test_a_perturbation_alone_in_its_lane_is_missing_and_named(test):
    adata, group, rng = screen()
    lane = np.where(group == 2, "own", np.where(rng.random(len(group)) < 0.5, "one", "two"))
    adata.obs["lane"] = pd.Categorical(lane)
    with pytest.warns(ProgramsWarning, match=r"1 perturbations cannot be told from covariates 'lane'.*'P2'"):
        table = effects(adata, covariates="lane", **test)
    assert table.loc["P2", ["effect", "difference", "auc", "log2_fold_change", "p", "q"]].isna().all(axis=None)
    assert table.drop("P2").notna()[["effect", "p", "q"]].all(axis=None)


@quiet
@pytest.mark.parametrize("test", TESTS, ids=["replicate", "permutation"])
def test_the_order_of_cells_changes_nothing(test):
    adata, group, rng = screen()
    # Constant within groups but for two of them: what is left of the rest is rounding.
    adata.obs["dose"] = np.where(group < 3, rng.normal(size=len(group)), 0.1 * group) / 3
    shuffled = adata[rng.permutation(adata.n_obs)].copy()
    one, other = effects(adata, covariates="dose", **test), effects(shuffled, covariates="dose", **test)
    for column in ("effect", "difference", "auc"):
        np.testing.assert_allclose(other.loc[one.index, column], one[column], rtol=0, atol=1e-9)
    if "replicate" in test:
        np.testing.assert_allclose(other.loc[one.index, "p"], one["p"], rtol=0, atol=1e-9)


def test_a_covariate_that_is_constant_within_the_strata_of_guide_counts_changes_nothing():
    adata, _, rng = screen()
    carried = rng.random((adata.n_obs, 12)) < 0.2
    carried[~carried.any(axis=1), 0] = True
    names = [f"g{i}" for i in range(12)]
    adata.obsm["guides"] = pd.DataFrame(carried, index=adata.obs_names, columns=names)
    adata.obs["log_n_guides"] = np.log(carried.sum(axis=1))
    targets = {name: f"T{i // 3}" for i, name in enumerate(names)}

    def of_guides(cells, covariates):
        options = {"guide_key": "guides", "guide_target": targets, "replicate": "guide", "covariates": covariates}
        scp.tl.perturbation_effects(cells, **options)
        return scp.get.effects(cells, "guides").set_index(["perturbation", "program"])

    without, with_it = of_guides(adata, None), of_guides(adata, "log_n_guides")
    shuffled = of_guides(adata[rng.permutation(adata.n_obs)].copy(), "log_n_guides")
    for table in (with_it, shuffled.loc[without.index]):
        np.testing.assert_allclose(table["p"], without["p"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(table["difference"], without["difference"], rtol=0, atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 3))
def test_what_is_estimable_is_what_the_rank_of_the_design_says(seed, n_groups, n_covariates):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(n_groups), 4)
    # Each covariate varies within some groups only, and may be the same in several.
    C = rng.integers(0, 2, (n_groups, n_covariates))[codes].astype(float)
    C += np.where(rng.random((n_groups, n_covariates))[codes] < 0.2, rng.normal(size=C.shape), 0)
    C = C * 10.0 ** rng.integers(-3, 4, n_covariates) + rng.normal(size=n_covariates)
    found = not_estimable(Comparison(codes, n_groups, control=0, covariates=C))
    unit = (C - C.mean(axis=0)) / np.maximum(C.std(axis=0), 1e-12)
    design = np.column_stack([np.eye(n_groups)[codes], np.where(C.std(axis=0) > 1e-9, unit, 0)])
    rank = np.linalg.matrix_rank(design, tol=1e-6)
    for g in range(1, n_groups):
        contrast = np.zeros(design.shape[1])
        contrast[[0, g]] = -1, 1
        told_apart = np.linalg.matrix_rank(np.vstack([design, contrast]), tol=1e-6) == rank
        assert found[g] == (not told_apart)
    assert not found[0]


@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_slopes_are_those_of_least_squares_on_groups_and_covariates(seed, n_covariates):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(4), 6)
    C, Y = rng.normal(size=(24, n_covariates)) + codes[:, None], rng.normal(size=(24, 3))
    design = np.column_stack([np.eye(4)[codes], C])
    slopes = np.linalg.lstsq(design, Y, rcond=None)[0][4:]
    left = without_covariates(Y, Comparison(codes, 4, control=0, covariates=C))
    np.testing.assert_allclose(left, Y - (C - C.mean(axis=0)) @ slopes, rtol=0, atol=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1.7e9])
def test_a_covariate_far_from_zero_is_no_constant(offset):
    rng = np.random.default_rng(0)
    codes, cov = np.repeat([0, 1], 30), rng.integers(0, 20, 60).astype(float)[:, None]
    Y = cov + rng.normal(size=(60, 2))
    left = without_covariates(Y, Comparison(codes, 2, control=0, covariates=cov + offset))
    np.testing.assert_allclose(left, without_covariates(Y, Comparison(codes, 2, control=0, covariates=cov)), atol=1e-6)
    assert left.std() < 0.5 * Y.std()


# --- labels --------------------------------------------------------------------------------------------------------


def told(values) -> list[str]:
    adata = with_usages(np.random.default_rng(0).random((len(values), 2)))
    adata.obs["p"] = values
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ProgramsWarning)
        warn_about_labels(read_labels(adata, "p"))
    return [str(warning.message) for warning in seen]


@pytest.mark.parametrize("text", ["nan", "None", "NA", "", "unassigned", "Negative", "doublet", "multiplet"])
def test_texts_that_stand_for_no_label_are_named_and_counted(text):
    (message,) = told(["A", "A", "B", "B", text, text, text])
    assert f"{text!r} (3 cells)" in message
    assert ".replace(..., None)" in message


def test_spellings_of_one_label_are_named_and_counted():
    (message,) = told(["non-targeting", "Non-Targeting ", "non_targeting", "A", "A", "B"])
    assert "'Non-Targeting ' (1 cells) and 'non-targeting' (1 cells) and 'non_targeting' (1 cells)" in message


def test_other_labels_and_missing_ones_are_not_remarked_on():
    assert told(["A", "B", "NANOG", "NOC2L", "non-targeting", "A1", "A2"]) == []


@quiet
def test_every_test_of_perturbations_says_it():
    adata, _, rng = screen()
    adata.obs["p"] = adata.obs["p"].astype(str).where(rng.random(adata.n_obs) > 0.1, "nan")
    for call in (
        lambda: scp.tl.program_anova(adata, "p", method="anova"),
        lambda: scp.tl.perturbation_effects(adata, "p", "ctrl", n_permutations=19),
        lambda: scp.tl.calibrate(adata, "p", "ctrl", n_permutations=19, n_splits=1),
    ):
        with pytest.warns(ProgramsWarning, match=r"'nan' \(\d+ cells\), which is taken as a group"):
            call()
