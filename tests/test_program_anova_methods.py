"""tl.program_anova beside covariates, on ranks, by permutation and on replicates: readers, tables and errors.

The numbers of the methods are tested in test_stats_covariate_anova.py, test_permutation.py and test_replicates.py;
here they are what the table repeats.
"""

from __future__ import annotations

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest

import scprograms as scp
from fitted import with_factorization
from scprograms._anndata import labels as cell_labels
from scprograms._anndata import obs as _store_obs
from scprograms._core.multiple_testing import benjamini_hochberg
from scprograms.perturbation import engine as perturbation_engine

SHARED = ["F", "p", "log10_p", "q", "eta_squared", "omega_squared", "df_between", "df_within", "n_groups", "n_cells"]


@pytest.fixture
def adata():
    """120 cells in three groups of four guides; a batch, a depth and a cell cycle phase across them."""
    adata = with_factorization(n_obs=120)
    rng = np.random.default_rng(0)
    group = adata.obs["perturbation"].astype(str)
    adata.obs["guide"] = pd.Categorical(group + "_" + (np.arange(120) // 3 % 4).astype(str))
    adata.obs["batch"] = rng.choice(["b1", "b2", "b3"], 120)
    adata.obs["depth"] = rng.lognormal(8, 0.4, 120)
    adata.obs["cycling"] = rng.random(120) < 0.4
    return adata


def run(adata, groupby="perturbation", **options):
    """The table, with the warning on unused guides off: it has tests of its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*may hold guides or replicates")
        scp.tl.program_anova(adata, groupby, **options)
    return scp.get.anova(adata, groupby)


def codes(adata, column="perturbation"):
    return pd.factorize(adata.obs[column].astype(str), sort=True)[0]


def indicators(adata, column):
    return pd.get_dummies(adata.obs[column].astype(str), drop_first=True).to_numpy(dtype=float)


def check(table, test, *, more=(), method, unused="guide"):
    assert table.columns.tolist() == [*SHARED, *more, "method", "unused_replicates"]
    for name in (*SHARED[:3], *SHARED[4:], *more):
        np.testing.assert_array_equal(table[name], np.broadcast_to(getattr(test, name), len(table)), err_msg=name)
    np.testing.assert_array_equal(table["q"], benjamini_hochberg(test.p))
    assert set(table["method"]) == {method}
    assert set(table["unused_replicates"]) == {unused}


# --- what each method writes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "test"), [("anova", perturbation_engine.covariate_anova), ("rank_anova", perturbation_engine.rank_anova)]
)
def test_covariates(adata, method, test):
    W = adata.obsm["X_semi_nmf"]
    X = np.column_stack([adata.obs["depth"], indicators(adata, "batch"), adata.obs["cycling"]]).astype(float)
    table = run(adata, method=method, covariates=["depth", "batch", "cycling"])
    expected = test(W, codes(adata), X)
    np.testing.assert_allclose(table["F"], expected.F, rtol=1e-10)
    np.testing.assert_allclose(table["p"], expected.p, rtol=1e-10)
    np.testing.assert_allclose(table["eta_squared"], expected.eta_squared, rtol=1e-10)
    assert (table["df_within"] == 120 - 3 - 4).all()
    one = run(adata, method=method, covariates="depth")
    np.testing.assert_allclose(one["F"], test(W, codes(adata), X[:, :1]).F, rtol=1e-10)


def test_covariates_equal_statsmodels(adata):
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    table = run(adata, covariates=["depth", "batch"])
    W = adata.obsm["X_semi_nmf"].astype(float)
    for j, program in enumerate(table.index):
        fit = ols("usage ~ C(perturbation) + depth + C(batch)", adata.obs.assign(usage=W[:, j])).fit()
        expected = anova_lm(fit, typ=2).loc["C(perturbation)"]
        np.testing.assert_allclose(table.loc[program, ["F", "p"]].tolist(), expected[["F", "PR(>F)"]], rtol=1e-10)


def test_plain_and_ranks(adata):
    W = adata.obsm["X_semi_nmf"]
    check(run(adata), perturbation_engine.one_way_anova(W, codes(adata)), method="anova")
    check(run(adata, method="rank_anova"), perturbation_engine.rank_anova(W, codes(adata)), method="rank_anova")
    empty = run(adata, covariates=[])
    check(empty, perturbation_engine.one_way_anova(W, codes(adata)), method="anova")


def test_permutation(adata):
    W = adata.obsm["X_semi_nmf"]
    options = {"n_permutations": 199, "random_state": 3, "n_jobs": 1}
    expected = perturbation_engine.permutation_anova(W, codes(adata), strata=codes(adata, "batch"), **options)
    table = run(adata, method="permutation", strata="batch", **options)
    check(table, expected, more=["n_permutations"], method="permutation")
    assert (table["n_permutations"] == 199).all()
    assert table["p"].min() == pytest.approx(1 / 200)
    pd.testing.assert_frame_equal(run(adata, method="permutation", strata=["batch"], **options), table)
    alone = perturbation_engine.permutation_anova(W, codes(adata), statistic="F", **options)
    table = run(adata, method="permutation", statistic="F", **options)
    check(table, alone, more=["n_permutations"], method="permutation")
    free = perturbation_engine.permutation_anova(W, codes(adata), **options)
    check(run(adata, method="permutation", **options), free, more=["n_permutations"], method="permutation")


def test_permutation_in_combined_strata(adata):
    W = adata.obsm["X_semi_nmf"]
    adata.obs["both"] = adata.obs["batch"] + adata.obs["cycling"].astype(str)
    expected = perturbation_engine.permutation_anova(W, codes(adata), strata=codes(adata, "both"), n_permutations=99)
    table = run(adata, method="permutation", strata=["batch", "cycling"], n_permutations=99)
    np.testing.assert_allclose(table["F"], expected.F, rtol=1e-10)
    assert (table["df_within"] == expected.df_within).all()


def test_many_permutations_only_where_they_are_needed(adata):
    adata.obsm["X_semi_nmf"][:, 1] = np.random.default_rng(1).random(120)
    table = run(adata, method="permutation", n_permutations=5000)
    assert table.loc["program_0", "n_permutations"] == 5000
    assert table.loc["program_1", "n_permutations"] < 5000
    assert table.loc["program_1", "p"] > 0.02


def test_replicates(adata):
    W = adata.obsm["X_semi_nmf"]
    expected = perturbation_engine.replicate_anova(W, codes(adata), codes(adata, "guide"))
    table = run(adata, method="replicate", replicate="guide")
    check(table, expected, more=["n_replicates"], method="replicate", unused="")
    assert (table["n_replicates"] == 12).all()
    alone = perturbation_engine.replicate_anova(W, codes(adata), codes(adata, "guide"), statistic="F")
    table = run(adata, method="replicate", replicate="guide", statistic="F")
    check(table, alone, more=["n_replicates"], method="replicate", unused="")
    assert (alone.p < expected.p).all()


def test_replicates_within_strata(adata):
    W = adata.obsm["X_semi_nmf"]
    expected = perturbation_engine.replicate_anova(W, codes(adata), codes(adata, "guide"), strata=codes(adata, "batch"))
    table = run(adata, method="replicate", replicate="guide", strata="batch")
    check(table, expected, more=["n_replicates"], method="replicate", unused="")
    assert not np.allclose(table["F"], run(adata, method="replicate", replicate="guide")["F"])


def test_guides_that_differ_are_no_effect_of_the_perturbation():
    adata = with_factorization(n_obs=900)
    rng = np.random.default_rng(5)
    guide = rng.permutation(np.arange(900) % 12)
    adata.obs["perturbation"] = pd.Categorical(np.array(["A", "B", "NT"])[guide % 3])
    adata.obs["guide"] = [f"g{i}" for i in guide]
    shift = np.repeat([0.0, 0.0, 1.0, 1.0], 3) + rng.normal(0, 0.05, 12)  # guides differ alike in every group
    adata.obsm["X_semi_nmf"] = (rng.random((900, 3)) + shift[guide][:, None] * [1, 0, 0]).astype(np.float32)
    adata.obsm["X_semi_nmf"][:, 0] += 0.15 * (guide % 3)
    assert run(adata).loc["program_0", "p"] < 1e-3
    assert run(adata, method="replicate", replicate="guide").loc["program_0", "p"] > 0.2


@pytest.mark.parametrize(
    "options",
    [
        {"covariates": ["depth", "batch"]},
        {"method": "rank_anova", "covariates": ["batch"]},
        {"method": "permutation", "strata": "batch", "n_permutations": 49},
        {"method": "replicate", "replicate": "guide"},
    ],
    ids=["anova", "rank_anova", "permutation", "replicate"],
)
class TestEveryMethod:
    def test_survives_the_disk(self, adata, options, tmp_path):
        table = run(adata, **options)
        adata.write_h5ad(tmp_path / "x.h5ad")
        back = scp.get.anova(anndata.read_h5ad(tmp_path / "x.h5ad"), "perturbation")
        pd.testing.assert_frame_equal(back, table, check_index_type=False, check_dtype=False)

    def test_names_of_groups_and_unused_categories_do_not_matter_52(self, adata, options):
        expected = run(adata, **options)
        names = {"A": "zz", "NT": "a"}
        adata.obs["perturbation"] = adata.obs["perturbation"].cat.rename_categories(names).cat.add_categories("ghost")
        adata.obs["batch"] = pd.Categorical(adata.obs["batch"], ["b3", "ghost", "b1", "b2"])
        adata.obs["guide"] = adata.obs["guide"].cat.add_categories("ghost")
        table = run(adata, **options)
        if options.get("method") == "permutation":  # other names draw other permutations
            expected, table = (part.drop(columns=["p", "log10_p", "q"]) for part in (expected, table))
        pd.testing.assert_frame_equal(table, expected, rtol=1e-9)

    def test_order_of_cells_does_not_matter(self, adata, options):
        expected = run(adata, **options)
        table = run(adata[np.random.default_rng(2).permutation(120)].copy(), **options)
        if options.get("method") == "permutation":
            expected, table = (part.drop(columns=["p", "log10_p", "q"]) for part in (expected, table))
        pd.testing.assert_frame_equal(table, expected, rtol=1e-8)

    def test_copy_leaves_the_original_alone(self, adata, options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            changed = scp.tl.program_anova(adata, "perturbation", copy=True, **options)
        assert "anova" not in adata.uns["semi_nmf"]
        pd.testing.assert_frame_equal(scp.get.anova(changed, "perturbation"), run(adata, **options))

    def test_constant_program_stays_out_of_the_family_55(self, adata, options):
        adata.obsm["X_semi_nmf"][:, 1] = 0.25
        table = run(adata, **options)
        assert table.loc["program_1", ["F", "p", "log10_p", "q"]].isna().all()
        others = table.loc[["program_0", "program_2"]]
        np.testing.assert_array_equal(others["q"], benjamini_hochberg(others["p"].to_numpy()))

    def test_single_group_49(self, adata, options):
        adata.obs["perturbation"] = "only"
        with pytest.raises(ValueError, match="single group, 'only'"):
            run(adata, **options)

    def test_group_of_one_cell_50(self, adata, options):
        adata.obs["perturbation"] = ["rare", *adata.obs["perturbation"].astype(str)[1:]]
        adata.obs["guide"] = ["rare_0", *adata.obs["guide"].astype(str)[1:]]
        if options.get("method", "anova") == "anova":  # as statsmodels
            assert (run(adata, **options)["n_groups"] == 4).all()
            return
        with pytest.warns(scp.ProgramsWarning, match="1 groups of .* have a single cell and are left out: 'rare'"):
            table = run(adata, **options)
        assert (table["n_groups"] == 3).all()
        assert (table["n_cells"] == 119).all()

    def test_groups_of_one_cell_only_51(self, adata, options):
        adata.obs["perturbation"] = adata.obs_names
        with pytest.raises(ValueError, match="Each of the 120 groups"):
            run(adata, **options)

    def test_missing_labels_53(self, adata, options):
        part = adata[7:].copy()
        adata.obs["perturbation"] = adata.obs["perturbation"].astype(object)
        adata.obs.iloc[:7, adata.obs.columns.get_loc("perturbation")] = np.nan
        with pytest.warns(scp.ProgramsWarning, match="missing for 7 of 120 cells"):
            table = run(adata, **options)
        expected = run(part, **options)
        pd.testing.assert_frame_equal(table, expected, rtol=1e-9)

    def test_numbers_are_labels_54(self, adata, options):
        expected = run(adata, **options)
        adata.obs["perturbation"] = adata.obs["perturbation"].map({"A": 1, "B": 2, "NT": 3}).astype(int)
        pd.testing.assert_frame_equal(run(adata, **options), expected)

    def test_names_are_no_formula_61(self, adata, options):
        expected = run(adata, **options)
        adata.uns["semi_nmf"]["programs"].index = ["C", "a b", "1+2"]
        adata.obs = adata.obs.rename(columns={"batch": "a + b", "depth": "C", "guide": "np.log(x)"})
        renamed = {"batch": "a + b", "depth": "C", "guide": "np.log(x)"}
        options = {
            name: [renamed[each] for each in value] if isinstance(value, list) else renamed.get(value, value)
            for name, value in options.items()
        }
        table = run(adata, **options)
        np.testing.assert_array_equal(table[SHARED], expected[SHARED])


# --- cells of which something is unknown ---------------------------------------------------------------------------


def test_missing_covariates_are_counted_and_left_out_60(adata):
    expected = run(adata[8:].copy(), covariates=["depth", "batch"])
    adata.obs.iloc[:5, adata.obs.columns.get_loc("depth")] = np.nan
    adata.obs["batch"] = adata.obs["batch"].astype(object)
    adata.obs.iloc[4:8, adata.obs.columns.get_loc("batch")] = None
    with pytest.warns(scp.ProgramsWarning) as record:
        table = run(adata, covariates=["depth", "batch"])
    told = [str(warning.message) for warning in record]
    assert any("'depth'] is missing for 5 of 120 cells" in message for message in told)
    assert any("'batch'] is missing for 4 of 120 cells" in message for message in told)
    pd.testing.assert_frame_equal(table, expected, rtol=1e-9)
    adata.obs["depth"] = np.nan
    with pytest.warns(scp.ProgramsWarning), pytest.raises(ValueError, match="No cell has a value of every covariate"):
        run(adata, covariates="depth")


def test_missing_values_outside_the_test_are_not_told(adata):
    adata.obs["perturbation"] = adata.obs["perturbation"].astype(object)
    adata.obs.iloc[:5, adata.obs.columns.get_loc("perturbation")] = None
    for column in ("depth", "batch"):
        adata.obs[column] = adata.obs[column].astype(object)
        adata.obs.iloc[:5, adata.obs.columns.get_loc(column)] = None
    adata.obs["depth"] = adata.obs["depth"].astype(float)
    with pytest.warns(scp.ProgramsWarning) as record:
        run(adata, covariates=["depth", "batch"])
    assert sum(warning.category is scp.ProgramsWarning for warning in record) == 1  # on the perturbation


@pytest.mark.parametrize(
    "options", [{"method": "permutation", "strata": "batch"}, {"method": "replicate", "replicate": "guide"}]
)
def test_missing_strata_and_replicates_are_left_out(adata, options):
    expected = run(adata[6:].copy(), **options)
    name = options.get("strata", "guide")
    adata.obs[name] = adata.obs[name].astype(object)
    adata.obs.iloc[:6, adata.obs.columns.get_loc(name)] = None
    with pytest.warns(scp.ProgramsWarning, match="missing for 6 of 120 cells"):
        table = run(adata, **options)
    pd.testing.assert_frame_equal(table, expected, rtol=1e-9)


def test_nothing_left(adata):
    adata.obs["depth"] = np.where(adata.obs["perturbation"] == "A", adata.obs["depth"], np.nan)
    with pytest.warns(scp.ProgramsWarning), pytest.raises(ValueError, match="Fewer than two groups"):
        run(adata, covariates="depth")


def test_infinite_covariate(adata):
    adata.obs.iloc[3, adata.obs.columns.get_loc("depth")] = np.inf
    with pytest.raises(ValueError, match=r"obs\['depth'\] is infinite in 1 cells"):
        run(adata, covariates="depth")


def test_kinds_of_covariates(adata):
    expected = run(adata, covariates=["depth", "cycling"])
    adata.obs["depth"] = adata.obs["depth"].astype("Float64")
    adata.obs["cycling"] = adata.obs["cycling"].astype("boolean")
    pd.testing.assert_frame_equal(run(adata, covariates=["depth", "cycling"]), expected, rtol=1e-9)
    adata.obs["cycling"] = adata.obs["cycling"].astype(int)
    pd.testing.assert_frame_equal(run(adata, covariates=["depth", "cycling"]), expected, rtol=1e-9)
    adata.obs["depth"] = adata.obs["depth"].astype(float).astype(str)
    with pytest.raises(ValueError, match=r"obs\['depth'\] has 120 levels in 120 cells.*astype\(float\)"):
        run(adata, covariates="depth")
    adata.obs["depth"] = np.ones(120, dtype=complex)
    with pytest.raises(TypeError, match="complex"):
        run(adata, covariates="depth")


def test_batches_that_are_coded_as_integers_are_asked_about(adata):
    adata.obs["lane"] = codes(adata, "batch")
    with pytest.warns(scp.ProgramsWarning, match=r"'lane'\] holds 3 different integers.*astype\('category'\)"):
        linear = run(adata, covariates="lane")
    assert (linear["df_within"] == 116).all()
    adata.obs["lane"] = adata.obs["lane"].astype("category")
    pd.testing.assert_frame_equal(run(adata, covariates="lane"), run(adata, covariates="batch"), rtol=1e-9)


# --- what cannot be told apart -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["anova", "rank_anova"])
@pytest.mark.parametrize("covariates", [["guide"], ["depth", "guide"], ["perturbation"], ["lane"]])
def test_covariate_nested_in_the_groups_59(adata, method, covariates):
    adata.obs["lane"] = np.where(adata.obs["perturbation"] == "A", "l1", "l2")
    with pytest.raises(ValueError, match=rf"not estimable beside covariates '{covariates[-1]}':"):
        run(adata, method=method, covariates=covariates)


def test_strata_of_one_group_59(adata):
    with pytest.raises(ValueError, match="not estimable within strata 'guide'"):
        run(adata, method="permutation", strata="guide")


def test_replicate_in_several_groups(adata):
    with pytest.raises(ValueError, match=r"replicate='batch': 3 of 3 replicates occur in several.*'b1', 'b2', 'b3'"):
        run(adata, method="replicate", replicate="batch")
    with pytest.raises(ValueError, match="several groups") as error:
        run(adata, method="replicate", replicate="batch")
    fix = str(error.value).split("Combine the columns: ")[1].split(", and pass")[0]
    exec(fix, {"adata": adata})
    assert (run(adata, method="replicate", replicate="perturbation_batch")["n_replicates"] == 9).all()


def test_a_single_replicate_per_group(adata):
    adata.obs["guide"] = adata.obs["perturbation"].astype(str) + "_g1"
    with pytest.raises(ValueError, match="single replicate"):
        run(adata, method="replicate", replicate="guide")


# --- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replicate": "guide"}, r"replicate= \('guide'\) is not used by method='anova': use method='replicate'"),
        ({"strata": "batch"}, r"strata= \('batch'\) .*use method='permutation' or method='replicate' .*as covariates"),
        ({"method": "rank_anova", "strata": "batch"}, "use method='permutation'"),
        ({"method": "permutation", "covariates": "depth"}, "use method='anova' or method='rank_anova'.*strata"),
        ({"method": "permutation", "replicate": "guide"}, "use method='replicate'"),
        ({"method": "replicate", "replicate": "guide", "covariates": ["depth"]}, "'depth'.*use method='anova'"),
        ({"method": "replicate"}, r"needs replicate=.*There may serve: 'guide'"),
        ({"method": "t-test"}, "method='t-test' is not known.*'rank_anova'"),
        ({"method": "permutation", "n_permutations": 0}, "n_permutations=0"),
        ({"method": "permutation", "n_jobs": 0}, "n_jobs"),
        ({"method": "permutation", "statistic": "t"}, "statistic='t' is not known.*'combined'"),
        ({"method": "permutation", "strata": []}, None),
    ],
)
def test_arguments_that_do_not_belong_together(adata, options, message):
    if message is None:
        run(adata, **options)
        return
    with pytest.raises(ValueError, match=message):
        run(adata, **options)
    assert "anova" not in adata.uns["semi_nmf"]


def test_no_column_looks_like_replicates(adata):
    del adata.obs["guide"]
    with pytest.raises(ValueError, match=r"No column of adata\.obs looks like one"):
        run(adata, method="replicate")


@pytest.mark.parametrize("options", [{"covariates": "x"}, {"method": "permutation", "strata": ["batch", "x"]}])
def test_unknown_columns_36(adata, options):
    with pytest.raises(KeyError, match=r"'x' is not in adata.obs. There: 'perturbation'"):
        run(adata, **options)
    with pytest.raises(KeyError, match=r"'x' is not in adata.obs"):
        run(adata, method="replicate", replicate="x")


@pytest.mark.parametrize(
    "options", [{"covariates": 3}, {"covariates": [1]}, {"strata": {"batch"}}, {"replicate": ["guide"]}]
)
def test_names_of_wrong_type(adata, options):
    with pytest.raises(TypeError, match="pass the name"):
        run(adata, **options)


# --- guides that were not used -------------------------------------------------------------------------------------


def test_unused_guides_are_named_with_the_call_to_make(adata):
    with pytest.warns(scp.ProgramsWarning, match="'guide' in adata.obs may hold guides .* not independent") as record:
        scp.tl.program_anova(adata, "perturbation")
    call = str(record[0].message).split("Call ")[1].rstrip(".")
    eval(call, {"adata": adata, "scp": scp})
    assert set(scp.get.anova(adata, "perturbation")["method"]) == {"replicate"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", scp.ProgramsWarning)
        scp.tl.program_anova(adata, "perturbation", method="replicate", replicate="guide")


def guides_of(adata, name="found"):
    return _store_obs.find_replicates(adata[:, :0], cell_labels.read_labels(adata, "perturbation")) == ["guide", name]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda obs: obs["guide"].astype(str), True),
        (lambda obs: obs["guide"].cat.codes.astype(int), True),
        (lambda obs: obs["guide"].astype(str).where(np.arange(120) > 20), True),
        (lambda obs: obs["guide"].astype(str).where(np.arange(120) > 80), False),  # unknown in most cells
        (lambda obs: obs["guide"].cat.codes.astype(float), False),
        (lambda obs: obs["batch"], False),  # across groups
        (lambda obs: obs["perturbation"].astype(str) + "x", False),  # one level per group
        (lambda obs: obs["guide"].astype(str).str.replace("A_.|B_.", "one", regex=True), False),
        (lambda obs: np.where(obs["perturbation"] == "A", obs["guide"].astype(str), obs["perturbation"]), False),
        (lambda obs: np.where(obs["perturbation"] == "A", "A", obs["guide"].astype(str)), True),
        (lambda obs: obs["guide"].astype(str) + (np.arange(120) // 12).astype(str), False),  # nearly one per cell
        (lambda obs: [[name] for name in obs["guide"]], False),
        (lambda obs: pd.to_datetime("2020-01-01") + pd.to_timedelta(obs["guide"].cat.codes, unit="D"), False),
    ],
)
def test_what_looks_like_guides(adata, make, expected):
    adata.obs["found"] = make(adata.obs)
    assert guides_of(adata) is expected


def test_own_columns_are_no_guides(adata):
    adata.obs["semi_nmf_program"] = adata.obs["guide"]
    assert _store_obs.find_replicates(adata, cell_labels.read_labels(adata, "perturbation")) == ["guide"]


def test_clones_within_guides_do_not_replace_them(adata):
    adata.obs["clone"] = adata.obs["guide"].astype(str) + (np.arange(120) // 12 % 2).astype(str)
    table = run(adata, method="replicate", replicate="guide")
    assert set(table["unused_replicates"]) == {""}  # clones lie within guides
    with pytest.warns(scp.ProgramsWarning, match="'guide' in adata.obs.*Levels of replicate='clone' that share one"):
        scp.tl.program_anova(adata, "perturbation", method="replicate", replicate="clone")
    assert set(scp.get.anova(adata, "perturbation")["unused_replicates"]) == {"guide"}
    assert set(run(adata)["unused_replicates"]) == {"guide,clone"}


def test_simulated_screens_have_guides():
    adata = scp.datasets.simulate_screen(300, 60, 4, n_cell_types=2, n_perturbations=5)
    assert _store_obs.find_replicates(adata, cell_labels.read_labels(adata, "perturbation")) == ["guide"]
    assert _store_obs.find_replicates(adata, cell_labels.read_labels(adata, "batch")) == []
