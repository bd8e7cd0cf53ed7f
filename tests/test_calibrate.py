"""tl.calibrate: the test of effects within the control; and nulls in which the whole table of effects must hold."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import anndata
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import stats

import scprograms as scp
from scprograms import ProgramsWarning
from scprograms._anndata import slot_names, slots
from scprograms._core.multiple_testing import benjamini_hochberg
from scprograms.perturbation._calibration_splits import split_cells, split_guides
from scprograms.perturbation.engine import replicate_contrasts
from scprograms.perturbation.engine.calibration import effective_columns, inflation, inflation_interval, quantiles

mpl.use("Agg")

from matplotlib import pyplot as plt

PAPALEXI = Path("../shared/data/papalexi2021_thp1_lowmoi/papalexi2021_thp1_lowmoi.h5ad")
NT = "NT"

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*may hold guides or replicates:scprograms._core.validate.ProgramsWarning"
)


def usages_of(usages: np.ndarray, obs: pd.DataFrame) -> anndata.AnnData:
    """Return an AnnData whose factorization has these usages."""
    k = usages.shape[1]
    obs = obs.set_axis([f"cell{i}" for i in range(len(obs))])
    adata = anndata.AnnData(np.ones((len(obs), 3), dtype=np.float32), obs=obs)
    model = pd.DataFrame({"baseline": 0.0, "center": 0.0, "scale": 1.0, "used": True}, index=adata.var_names)
    about = pd.DataFrame({"variance_explained": 0.1, "sparsity": 0.0, "stability": np.nan}, slot_names.program_names(k))
    fit = {slot_names.PARAMS: {"n_programs": k}, slot_names.ERROR: 0.1}
    slots.write_factorization(adata, "semi_nmf", slots.Factorization(usages, np.ones((k, 3)), model, about, fit))
    return adata


def screen(
    *, k=12, n_control=12, n_targets=6, per_target=3, guide_sd=0.0, cells=(15, 60), zeros=0.6, seed=0
) -> anndata.AnnData:
    """Return a screen without effects, but with guides that may differ."""
    rng = np.random.default_rng(seed)
    target = np.concatenate([np.zeros(n_control, int), np.repeat(np.arange(1, n_targets + 1), per_target)])
    guide = np.repeat(np.arange(len(target)), rng.integers(*cells, len(target)))
    rng.shuffle(guide)
    shift = guide_sd * rng.normal(size=(len(target), k))
    on = rng.normal(size=(len(guide), k)) + shift[guide] > stats.norm.ppf(zeros)
    usages = np.where(on, rng.gamma(0.5, size=on.shape), 0.0)
    names = np.array([NT] + [f"T{i}" for i in range(1, n_targets + 1)])
    obs = pd.DataFrame({"perturbation": names[target[guide]], "guide": [f"g{i}" for i in guide]})
    obs["batch"] = rng.choice(["a", "b"], len(guide))
    obs["depth"] = rng.normal(size=len(guide))
    return usages_of(usages, obs)


@pytest.fixture(scope="module")
def fixed():
    return screen()


@pytest.fixture
def adata(fixed):
    return fixed.copy()


def run(adata, **kwargs):
    assert scp.tl.calibrate(adata, "perturbation", NT, **({"n_jobs": 1} | kwargs)) is None
    return (
        scp.get.calibration(adata, "perturbation"),
        scp.get.calibration(adata, "perturbation", what="summary").iloc[0],
    )


# --- lambda --------------------------------------------------------------------------------------------------------


def test_lambda_is_the_median_of_chi_square_values():
    rng = np.random.default_rng(0)
    chi2 = 1.7 * rng.chisquare(1, size=501)
    log10_p = stats.chi2.logsf(chi2, 1) / np.log(10)
    assert inflation(log10_p) == pytest.approx(np.median(chi2) / stats.chi2.median(1), rel=1e-9)
    assert inflation(np.append(log10_p, np.nan)) == inflation(log10_p)
    assert inflation(np.array([0.0, 0.0])) == 0
    assert np.isfinite(inflation(np.array([-5000.0])))
    assert np.isnan(inflation(np.array([np.nan])))


def test_correlated_programs_are_worth_fewer():
    rng = np.random.default_rng(1)
    common, noise = rng.normal(size=(2000, 1)), rng.normal(size=(2000, 10))
    assert effective_columns(noise) == pytest.approx(10, abs=0.05)
    r = 0.5
    expected = 10 / (1 + 9 * r**2)
    assert effective_columns(np.sqrt(1 - r) * noise + np.sqrt(r) * common) == pytest.approx(expected, rel=0.1)
    assert effective_columns(np.repeat(common, 4, axis=1)) == pytest.approx(1)
    assert effective_columns(np.hstack([noise, np.ones((2000, 3))])) == pytest.approx(10, abs=0.05)
    few = np.mean([effective_columns(rng.normal(size=(9, 10))) for _ in range(200)])
    assert few > 8  # nine guides make r^2 = 1/8 by chance


@pytest.mark.parametrize("correlation", [0.0, 0.4])
def test_the_interval_holds_the_true_lambda(correlation):
    """With 9 guides, in splits that share them, and correlated programs: 95 % intervals, checked loosely."""
    rng = np.random.default_rng(2)
    R, g, k, n = 9, 3, 20, 60
    splits = np.array(list(combinations(range(R), g)))[rng.permutation(84)[:20]]
    held = 0
    for i in range(n):
        y = np.sqrt(1 - correlation) * rng.normal(size=(R, k)) + np.sqrt(correlation) * rng.normal(size=(R, 1))
        taken = y[splits].mean(axis=1)
        z = (taken - (y.sum(axis=0) - g * taken) / (R - g)) / np.sqrt(1 / g + 1 / (R - g))
        log10_p = (stats.norm.logsf(np.abs(z)) + np.log(2)) / np.log(10)
        worth = effective_columns(y)
        low, high = inflation_interval(log10_p, worth, n_independent=worth * (R - 1), seed=i)
        held += low <= 1 <= high
    assert held / n > 0.85


def test_a_handful_of_programs_has_the_spread_of_a_median():
    rng = np.random.default_rng(4)
    medians = np.median(rng.chisquare(1, size=(4000, 101)), axis=1)
    spread = np.log(medians).std()
    low, high = inflation_interval(np.full((5, 2), np.log10(0.5)), 2.0, n_independent=101, seed=0)
    assert np.log(high / low) == pytest.approx(2 * 1.96 * spread, rel=0.05)
    assert np.sqrt(low * high) == pytest.approx(1)
    _, summary = run(screen(k=2), replicate="guide")
    assert 0 < summary["lambda_low"] < summary["lambda"] < summary["lambda_high"]


# --- splits --------------------------------------------------------------------------------------------------------


def guide_splits(n, *, sizes=(3, 3, 4), group_size=None, n_splits=None, seed=0):
    guides = np.repeat(np.arange(n), 3)
    names = [f"g{i}" for i in range(n)]
    rng = np.random.default_rng(seed)
    sizes = np.array(sizes)
    return split_guides(guides, names, sizes=sizes, group_size=group_size, n_splits=n_splits, rng=rng, where="guide")


@pytest.mark.parametrize(("n", "size", "groups"), [(9, 3, 1), (12, 3, 2), (20, 3, 3), (30, 1, 15)])
def test_pseudo_perturbations_are_like_real_ones(n, size, groups):
    splits = guide_splits(n, sizes=[size] * 5)
    assert splits.group_size == size
    assert len(splits.drawn) == min(20, 84 if n == 9 else 10**6)
    seen = set()
    for split in splits.drawn:
        of_guide = split.codes.reshape(n, 3)
        assert (of_guide == of_guide[:, :1]).all()  # guides stay whole
        counts = np.bincount(of_guide[:, 0])
        assert counts.tolist() == [size] * groups + [n - size * groups]
        assert counts[-1] >= n / 2
        for g, names in enumerate(split.members):
            assert names.split(";") == [f"g{i}" for i in np.flatnonzero(of_guide[:, 0] == g)]
        seen.add(frozenset(split.members))
    assert len(seen) == len(splits.drawn)


def test_all_splits_are_drawn_where_there_are_few():
    splits = guide_splits(4, sizes=[2])
    assert len(splits.drawn) == 3  # {01|23}, {02|13}, {03|12}: the rest are these with the signs changed
    sides = {
        frozenset([s.members[0], ";".join(f"g{i}" for i in range(4) if s.codes[3 * i] == 1)]) for s in splits.drawn
    }
    assert len(sides) == 3
    with pytest.raises(ValueError, match=r"n_splits=4: 4 control guides of guide can be split in 3 ways"):
        guide_splits(4, sizes=[2], n_splits=4)


def test_too_few_control_guides_are_named():
    with pytest.raises(ValueError, match=r"has 3 guides or replicates in guide; at least 4 .*Leave replicate= out"):
        guide_splits(3)
    with pytest.raises(ValueError, match=r"group_size=5: 6 control guides of guide allow at most 4.*smaller"):
        guide_splits(6, group_size=5)
    with pytest.warns(ProgramsWarning, match=r"have 4 guides in the median, and 5 control guides .* these have 2"):
        assert guide_splits(5, sizes=[4, 4]).group_size == 2
    with pytest.raises(ValueError, match="pass group_size="):
        guide_splits(8, sizes=[])
    assert guide_splits(6, group_size=4).drawn[0].codes.reshape(6, 3)[:, 0].tolist().count(1) == 2


def test_cells_are_drawn_within_strata():
    strata = np.repeat([0, 1], [100, 40])
    sizes = np.array([[20, 5], [10, 10], [0, 4], [300, 2]])
    splits = split_cells(strata, sizes=sizes, group_size=None, n_splits=30, rng=np.random.default_rng(0))
    allowed = {(20, 5), (10, 10), (0, 4), (50, 2)}
    n_groups = set()
    for split in splits.drawn:
        table = np.zeros((len(split.members) + 1, 2), int)
        np.add.at(table, (split.codes, strata), 1)
        assert set(map(tuple, table[:-1])) <= allowed
        assert (table[-1] >= [50, 20]).all()
        n_groups.add(len(split.members))
    assert max(n_groups) == 3
    even = split_cells(strata, sizes=sizes[:0], group_size=10, n_splits=2, rng=np.random.default_rng(0))
    assert np.bincount(even.drawn[0].codes).tolist() == [10] * 7 + [70]
    with pytest.raises(ValueError, match=r"group_size=71: 140 control cells allow at most 70"):
        split_cells(strata, sizes=sizes, group_size=71, n_splits=1, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="has 19 cells; at least 20"):
        split_cells(strata[:19], sizes=sizes, group_size=None, n_splits=1, rng=np.random.default_rng(0))


# --- the verb ------------------------------------------------------------------------------------------------------


def test_tests_are_those_of_the_control_alone(adata):
    table, summary = run(adata, replicate="guide", strata="batch", n_splits=4)
    control = (adata.obs["perturbation"] == NT).to_numpy()
    usages, guide = adata.obsm["X_semi_nmf"][control], adata.obs["guide"].to_numpy()[control]
    batch = (adata.obs["batch"] == "b").to_numpy()[control].astype(int)
    for i, part in table.groupby("split"):
        codes = np.full(control.sum(), 9)
        for name, rows in part.groupby("pseudo_perturbation"):
            codes[np.isin(guide, rows["replicates"].iloc[0].split(";"))] = int(name.removeprefix("pseudo_"))
        expected = replicate_contrasts(usages, codes, np.unique(guide, return_inverse=True)[1], control=9, strata=batch)
        np.testing.assert_allclose(part["p"], expected.p[:2].ravel(), rtol=1e-10)
        assert part["n_cells"].unique().tolist() == list(dict.fromkeys(np.bincount(codes)[:2])), i
        assert (part["n_control"] == np.sum(codes == 9)).all()
    assert (table["n_replicates"] == 3).all()
    np.testing.assert_allclose(table["q"], benjamini_hochberg(table["p"].to_numpy()))
    assert summary["lambda"] == inflation(table["log10_p"].to_numpy())
    assert summary["rate_05"] == np.mean(table["p"] <= 0.05)
    assert summary["rate_001"] == np.mean(table["p"] <= 0.001)
    assert summary["n_hits"] == np.sum(table["q"] <= 0.05)
    assert summary["n_tests"] == len(table) == 4 * 2 * 12
    assert (summary["n_units"], summary["group_size"], summary["n_pseudo_perturbations"]) == (12, 3, 8)
    assert summary["n_independent"] <= 12 * 8
    assert summary["method"] == "replicate"


def test_what_the_other_cells_hold_does_not_matter(adata):
    first, _ = run(adata, replicate="guide")
    others = (adata.obs["perturbation"] != NT).to_numpy()
    adata.obsm["X_semi_nmf"][others] *= 100
    second, _ = run(adata, replicate="guide")
    pd.testing.assert_frame_equal(first, second)


def test_guides_that_differ_fail_the_test_of_cells_and_not_that_of_guides():
    differing = screen(guide_sd=0.6, cells=(60, 100), n_control=16, k=25, seed=3)
    with pytest.warns(ProgramsWarning, match=r"lambda is .* p-values of effects are too small.*replicate='guide'"):
        _, cells = run(differing, replicate="guide", method="permutation", n_permutations=999)
    assert cells["lambda_low"] > 1.1
    assert cells["rate_05"] > 0.2
    assert cells["n_hits"] > 0
    assert "method='replicate'" in cells["caution"]
    _, guides = run(differing, replicate="guide")
    assert guides["lambda_low"] < 1 < guides["lambda_high"]
    assert guides["rate_05"] < 0.09
    assert guides["caution"] == ""
    _, blind = run(differing, n_permutations=999)  # cells at random: guides cannot show
    assert blind["lambda_low"] < 1.1
    assert (blind["replicate"], blind["method"]) == ("", "permutation")


def test_columns_that_look_like_guides_are_named(adata):
    with pytest.warns(ProgramsWarning, match=r"'guide' of adata.obs may hold guides.*pass replicate='guide'"):
        table, _ = run(adata, n_splits=2, n_permutations=99)
    assert (table["n_replicates"] == 0).all()
    assert (table["replicates"] == "").all()


def test_covariates_and_missing_values(adata):
    adata.obs["depth"] = adata.obs["depth"].where(np.arange(adata.n_obs) > 4)
    missing = int((adata.obs["perturbation"][:5] == NT).sum())
    with pytest.warns(ProgramsWarning, match="missing for 5 of"):
        _, summary = run(adata, replicate="guide", covariates="depth", strata=["batch"])
    assert summary["n_cells"] == (adata.obs["perturbation"] == NT).sum() - missing
    assert (summary["covariates"], summary["strata"]) == ("depth", "batch")


def test_the_same_seed_gives_the_same_table_on_any_number_of_threads(adata):
    first, one = run(adata, n_splits=3, n_permutations=199, n_jobs=1)
    second, two = run(adata, n_splits=3, n_permutations=199, n_jobs=2)
    pd.testing.assert_frame_equal(first, second)
    pd.testing.assert_series_equal(one, two)
    other, _ = run(adata, n_splits=3, n_permutations=199, random_state=np.random.RandomState(1))
    assert not first["p"].equals(other["p"])


def test_constant_programs_are_not_tested(adata):
    adata.obsm["X_semi_nmf"][:, 2] = 1.0
    table, summary = run(adata, replicate="guide", n_splits=3)
    assert table["p"].isna().sum() == 6
    assert summary["n_tests"] == len(table) - 6
    adata.obsm["X_semi_nmf"][:] = 0.0
    with pytest.raises(ValueError, match="No test could be made"):
        run(adata, replicate="guide", n_splits=3)


def test_a_copy_is_changed_in_place_of_the_data(adata):
    changed = scp.tl.calibrate(adata, "perturbation", NT, replicate="guide", n_splits=2, copy=True)
    assert "calibration" not in adata.uns["semi_nmf"]
    assert set(changed.uns["semi_nmf"]["calibration"]) == {"perturbation"}


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_results_survive_a_file(adata, tmp_path, suffix):
    adata.obs["a/b"] = adata.obs["perturbation"]
    scp.tl.calibrate(adata, "a/b", NT, replicate="guide", n_splits=2)
    del adata.obs["a/b"]  # the tables survive; a column of such a name does not
    path = tmp_path / f"screen.{suffix}"
    if suffix == "zarr":
        pytest.importorskip("zarr")
        adata.write_zarr(path)
        back = anndata.read_zarr(path)
    else:
        adata.write_h5ad(path)
        back = anndata.read_h5ad(path)
    for what in ("tests", "summary", "qq"):
        before, after = (scp.get.calibration(x, "a/b", what=what) for x in (adata, back))
        assert list(before.columns) == list(after.columns)
        for name in before.columns:
            if before[name].dtype.kind in "fib":
                np.testing.assert_array_equal(before[name], after[name])
            else:
                assert before[name].astype(str).tolist() == after[name].astype(str).tolist()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"control": "nobody"}, ValueError, "control='nobody' is no level"),
        ({"control": None}, ValueError, "control=None is no level"),
        ({"groupby": "nothing"}, KeyError, "nothing"),
        ({"key": "nmf"}, KeyError, "no factorization under key='nmf'"),
        ({"method": "welch"}, ValueError, "welch"),
        ({"method": "replicate", "replicate": None}, ValueError, "needs replicates: pass replicate="),
        ({"replicate": "clone"}, KeyError, "clone"),
        ({"replicate": "batch"}, ValueError, "occur in several groups"),
        ({"control": "T1"}, ValueError, "has 3 guides or replicates in .*'guide'"),
        ({"group_size": 11}, ValueError, "group_size=11: 12 control guides .* at most 10"),
        ({"group_size": 0}, ValueError, "group_size"),
        ({"n_splits": 0}, ValueError, "n_splits"),
        ({"n_splits": 2.5}, TypeError, "n_splits"),
        ({"n_permutations": 0}, ValueError, "n_permutations"),
        ({"strata": "lane"}, KeyError, "lane"),
    ],
)
def test_wrong_arguments_are_named_and_nothing_is_changed(adata, change, error, message):
    before = list(adata.uns["semi_nmf"])
    arguments = {"groupby": "perturbation", "control": NT, "replicate": "guide"} | change
    with pytest.raises(error, match=message):
        scp.tl.calibrate(adata, arguments.pop("groupby"), arguments.pop("control"), **arguments)
    assert list(adata.uns["semi_nmf"]) == before


def test_not_calibrated_yet(adata):
    with pytest.raises(KeyError, match=r"no 'calibration' yet. Call scp.tl.calibrate"):
        scp.get.calibration(adata, "perturbation")
    run(adata, replicate="guide", n_splits=2)
    with pytest.raises(ValueError, match="what='p'"):
        scp.get.calibration(adata, "perturbation", what="p")


def test_the_summary_says_whether_effects_were_tested_so(adata):
    def is_of_effects():
        return bool(scp.get.calibration(adata, "perturbation", what="summary")["is_of_effects"].iloc[0])

    run(adata, replicate="guide", strata="batch", n_splits=2)
    assert not is_of_effects()
    scp.tl.perturbation_effects(adata, "perturbation", NT, replicate="guide", strata="batch")
    assert is_of_effects()
    scp.tl.perturbation_effects(adata, "perturbation", NT, replicate="guide")
    assert not is_of_effects()
    scp.tl.perturbation_effects(adata, "perturbation", NT, strata="batch", n_permutations=99)
    assert not is_of_effects()
    run(adata, replicate="guide", strata="batch", method="permutation", n_splits=2, n_permutations=99)
    assert is_of_effects()  # guides are only how the control was split
    scp.tl.perturbation_effects(adata, "perturbation", versus="rest", n_permutations=99)
    assert not is_of_effects()


# --- quantiles -----------------------------------------------------------------------------------------------------


def test_quantiles_and_band_are_those_of_order_statistics():
    rng = np.random.default_rng(5)
    p = rng.random(50)
    table = quantiles(np.log10(np.append(p, np.nan)))
    np.testing.assert_allclose(table["observed"], -np.log10(np.sort(p)[::-1]))
    ranks = np.arange(50, 0, -1)
    np.testing.assert_allclose(table["expected"], -np.log10((ranks - 0.5) / 50))
    np.testing.assert_allclose(table["low"], -np.log10(stats.beta.ppf(0.975, ranks, 51 - ranks)))
    np.testing.assert_allclose(table["high"], -np.log10(stats.beta.ppf(0.025, ranks, 51 - ranks)))
    wider = quantiles(np.log10(p), n_independent=10)
    assert (wider["high"] > table["high"]).all()
    assert (wider["low"] < table["low"]).all()


def test_picture_holds_what_the_tables_say(adata):
    run(adata, replicate="guide", n_splits=3)
    scp.tl.perturbation_effects(adata, "perturbation", NT, replicate="guide")
    adata.uns["semi_nmf"]["effects"]["perturbation"].loc[7, "log10_p"] = -80.0
    ax = scp.pl.calibration(adata, "perturbation", effects=True, show=False)
    found = {c.get_gid(): np.asarray(c.get_offsets()) for c in ax.collections if c.get_gid()}
    qq = scp.get.calibration(adata, "perturbation", what="qq")
    np.testing.assert_allclose(found["pseudo"], qq[["expected", "observed"]])
    assert len(found["effects"]) + len(found["effects beyond"]) == 72
    assert len(found["effects beyond"]) == 1
    assert (found["effects"][:, 1] <= ax.get_ylim()[1]).all()
    summary = scp.get.calibration(adata, "perturbation", what="summary").iloc[0]
    title = ax.get_title(loc="left")
    assert f"λ = {summary['lambda']:.2f} ({summary['lambda_low']:.2f} to {summary['lambda_high']:.2f})" in title
    assert "6 groups of 3 control guides" in title
    alone = scp.pl.calibration(adata, "perturbation", show=False)
    assert [c.get_gid() for c in alone.collections if c.get_gid()] == ["pseudo"]
    plt.close("all")


def test_picture_of_effects_needs_effects(adata):
    run(adata, replicate="guide", n_splits=2)
    with pytest.raises(KeyError, match="perturbation_effects"):
        scp.pl.calibration(adata, "perturbation", effects=True, show=False)
    assert plt.get_fignums() == []


# --- tables of effects in which nothing is to be found ---------------------------------------------------------------


def rates(p):
    p = np.asarray(p)[~np.isnan(p)]
    return np.mean(p <= 0.05), np.mean(p <= 0.001)


@pytest.mark.slow
def test_many_guides_per_cell_hold_with_guides_that_differ():
    """guide_key and replicate: every guide has an effect of its own; 20 targets x 200 programs.

    With more guides per cell the test grows careful (0.03 at 0.05 with four of 60): a cell stands on both sides.
    """
    rng = np.random.default_rng(11)
    n, n_targets, per_target, k = 4000, 20, 3, 200
    n_guides = n_targets * per_target
    carries = rng.random((n, n_guides)) < 1.5 / n_guides
    own = 0.3 * rng.normal(size=(n_guides, k))
    on = rng.normal(size=(n, k)) + carries @ own > stats.norm.ppf(0.6)
    adata = usages_of(np.where(on, rng.gamma(0.5, size=on.shape), 0.0), pd.DataFrame({"x": np.zeros(n)}))
    adata.obsm["guides"] = 10 * carries.astype(np.int64)
    names = [f"g{i}" for i in range(n_guides)]
    target = {name: f"T{i // per_target}" for i, name in enumerate(names)}
    arguments = {"guide_key": "guides", "guide_names": names, "guide_target": target}
    scp.tl.perturbation_effects(adata, replicate="guide", **arguments)
    table = scp.get.effects(adata, "guides")
    assert (table["n_replicates"] >= per_target).all()
    at_05, at_001 = rates(table["p"])
    assert 0.03 < at_05 < 0.07
    assert at_001 < 0.004
    scp.tl.perturbation_effects(adata, n_permutations=199, **arguments)
    assert rates(scp.get.effects(adata, "guides")["p"])[0] > 0.10  # cells as the unit do not hold here


def test_replicates_hold_with_covariates():
    """replicate= and covariates=: usages of 60 % zeros that rise with depth; guides that differ; depth as covariate."""
    rng = np.random.default_rng(12)
    n_targets, per_target, k, n_control = 30, 3, 200, 15
    target = np.concatenate([np.zeros(n_control, int), np.repeat(np.arange(1, n_targets + 1), per_target)])
    guide = np.repeat(np.arange(len(target)), rng.integers(20, 60, len(target)))
    depth = rng.normal(size=len(guide)) + 0.3 * rng.normal(size=n_targets + 1)[target[guide]]
    latent = rng.normal(size=(len(guide), k)) + 0.15 * rng.normal(size=(len(target), k))[guide] + 0.5 * depth[:, None]
    usages = np.where(latent > 0.3, rng.gamma(0.5, size=latent.shape), 0.0)
    names = np.array([NT] + [f"T{i}" for i in range(1, n_targets + 1)])
    obs = pd.DataFrame({"perturbation": names[target[guide]], "guide": [f"g{i}" for i in guide], "depth": depth})
    adata = usages_of(usages, obs)
    scp.tl.perturbation_effects(adata, "perturbation", NT, replicate="guide", covariates="depth")
    at_05, at_001 = rates(scp.get.effects(adata, "perturbation")["p"])
    assert 0.03 < at_05 < 0.07
    assert at_001 < 0.004
    scp.tl.perturbation_effects(adata, "perturbation", NT, replicate="guide")
    assert rates(scp.get.effects(adata, "perturbation")["p"])[0] > 0.10  # without the covariate depth is an effect


@pytest.mark.slow
@pytest.mark.shared_data
def test_papalexi_holds_one():
    if not PAPALEXI.exists():
        pytest.skip(f"no {PAPALEXI}")
    adata = anndata.read_h5ad(PAPALEXI)
    adata = adata[adata.obs["guide_confident"].to_numpy(dtype=bool)].copy()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    scp.tl.semi_nmf(adata, 20)
    scp.tl.calibrate(adata, "perturbation", "non-targeting", replicate="guide", strata="bio_rep")
    summary = scp.get.calibration(adata, "perturbation", what="summary").iloc[0]
    assert (summary["n_units"], summary["group_size"]) == (9, 4)
    assert summary["lambda_low"] < 1 < summary["lambda_high"]
    assert summary["n_hits"] == 0
    assert summary["caution"] == ""
