"""What is read from an AnnData is checked, what is written to it survives, and both name their slots."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from factorized import factorized_screen
from scprograms import ProgramsWarning
from scprograms._anndata import labels as cell_labels
from scprograms._anndata import matrix, slot_names, slots
from scprograms._core import validate as _validate


@pytest.fixture
def adata():
    return factorized_screen(n_cells=60, n_genes=20, n_programs=3)


# --- names of slots ------------------------------------------------------------------------------------------------


def test_slots_are_spelled_once():
    slots = slot_names.Slots("mine")
    assert (slots.usages, slots.loadings, slots.model, slots.program) == (
        "X_mine",
        "mine_loadings",
        "mine_model",
        "mine_program",
    )
    assert slot_names.program_names(3) == ["program_0", "program_1", "program_2"]
    assert slot_names.table_name("guide/target") == "guide_target"


# --- reading a matrix ----------------------------------------------------------------------------------------------


class Screen:
    """As much of an AnnData as the reader looks at: holds what an AnnData refuses to."""

    n_obs, n_vars, isbacked = 4, 3, False

    def __init__(self, X, layers=None):
        self.X, self.layers = X, layers or {}


class Lazy:
    """Stands in for a dask array, which is not always installed."""

    def compute(self):
        raise AssertionError("computed behind the user's back")


def test_a_lazy_matrix_says_how_to_load_it_row_16():
    with pytest.raises(TypeError, match=r"adata\.X is a Lazy; load it first with adata\.X = adata\.X\.compute\(\)"):
        matrix.read_matrix(Screen(Lazy()))
    with pytest.raises(TypeError, match=r"adata\.layers\['a'\] = adata\.layers\['a'\]\.compute\(\)"):
        matrix.read_matrix(Screen(None, {"a": Lazy()}), layer="a")


def test_a_list_is_no_matrix():
    with pytest.raises(TypeError, match=r"adata\.X is a list; pass a numpy array or a scipy CSR or CSC matrix"):
        matrix.read_matrix(Screen([[1.0]]))


@pytest.mark.parametrize("fmt", ["coo", "lil", "dok", "bsr"])
def test_other_sparse_formats_row_13(fmt):
    X = np.arange(12.0).reshape(4, 3)
    read = matrix.read_matrix(Screen(sparse.coo_array(X).asformat(fmt)))
    assert read.format == "csr"
    np.testing.assert_array_equal(read.toarray(), X)


@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix, sparse.csc_array])
def test_a_matrix_is_read_as_it_is(holder):
    X = holder(np.eye(4, 3))
    assert matrix.read_matrix(Screen(X)) is X


def test_explicit_zeros_are_no_signal_row_4():
    X = sparse.csr_matrix(np.eye(4, 3))
    X.data[:] = 0
    with pytest.raises(ValueError, match="no signal"):
        matrix.read_matrix(Screen(X))


@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_empty_rows(holder):
    X = np.array([[0.0, 0], [1, -1], [0, 0], [0, 2]])
    np.testing.assert_array_equal(_validate.empty_rows(holder(X)), [True, False, True, False])
    stored = sparse.csr_matrix(np.ones((2, 2)))
    stored.data[:2] = 0
    np.testing.assert_array_equal(_validate.empty_rows(stored), [True, False])


def test_looking_for_empty_rows_leaves_duplicates_alone_row_14():
    X = sparse.csr_matrix((np.ones(4), np.array([0, 0, 1, 1]), np.array([0, 2, 4])), shape=(2, 2))
    _validate.empty_rows(X)
    assert X.nnz == 4


@pytest.mark.parametrize(
    ("X", "warns"),
    [
        ([[0, 1.0], [3, 2]], True),
        ([[0, 1], [3, 2]], True),
        ([[True, False], [True, True]], True),
        ([[0, 1.0], [1, 1]], False),  # a binarised matrix in floats may be meant
        ([[0, 1.5], [3, 2]], False),
        ([[0, 1e30], [1e25, 1]], False),
    ],
)
def test_counts_are_told_from_expression(X, warns, recwarn):
    _validate.warn_about_counts(np.array(X), "adata.X")
    assert bool(recwarn) == warns


def test_a_listing_is_short_enough_to_read():
    assert _validate.listing([]) == "none"
    assert _validate.listing(["a", 1, None]) == "'a', '1'"
    assert _validate.listing(map(str, range(15)), at_most=2) == "'0', '1' and 13 more"


def test_a_warning_points_to_the_line_of_the_caller():
    with pytest.warns(ProgramsWarning, match="mind") as caught:
        _validate.warn("mind the gap")
    assert caught[0].filename == __file__


# --- reading labels ------------------------------------------------------------------------------------------------


def labelled(values) -> AnnData:
    return AnnData(
        np.ones((len(values), 2)), obs=pd.DataFrame({"group": values}, index=[f"c{i}" for i in range(len(values))])
    )


@pytest.mark.parametrize(
    ("values", "names", "codes"),
    [
        (pd.Categorical(["b", "a", "b"], categories=["b", "ghost", "a"]), ["b", "a"], [0, 1, 0]),
        (["b", "a", "b"], ["a", "b"], [1, 0, 1]),
        ([10, 9, 10], ["10", "9"], [0, 1, 0]),
        ([True, False, True], ["False", "True"], [1, 0, 1]),
        (pd.Categorical([2, 1, 2]), ["1", "2"], [1, 0, 1]),
    ],
    ids=["unused-row-52", "str", "int-row-54", "bool-row-54", "int-categories-row-54"],
)
def test_labels(values, names, codes):
    labels = cell_labels.read_labels(
        labelled(pd.Series(values).to_numpy() if isinstance(values, list) else values), "group"
    )
    assert labels.names == names
    np.testing.assert_array_equal(labels.codes, codes)
    assert labels.labelled.all()


@pytest.mark.parametrize("values", [["a", None, "b"], pd.Categorical(["a", None, "b"]), [1.0, np.nan, 2.0]])
def test_missing_labels_are_counted_row_53(values):
    values = pd.Series(values).to_numpy() if isinstance(values, list) else values
    with pytest.warns(ProgramsWarning, match=r"adata\.obs\['group'\] is missing for 1 of 3 cells"):
        labels = cell_labels.read_labels(labelled(values), "group")
    np.testing.assert_array_equal(labels.codes, [0, -1, 1])


def test_labels_that_are_all_missing_row_53():
    with pytest.raises(ValueError, match=r"adata\.obs\['group'\] has no label at all"):
        cell_labels.read_labels(labelled(pd.Categorical([None, None])), "group")


def test_unknown_columns_and_levels_rows_36_and_48():
    adata = labelled(["a", "b"])
    with pytest.raises(KeyError, match=r"'zz' is not in adata\.obs\. There: 'group'"):
        cell_labels.read_labels(adata, "zz")
    with pytest.raises(TypeError, match=r"a single string, but got \['group'\] \(list\)"):
        cell_labels.read_labels(adata, ["group"])
    with pytest.raises(ValueError, match=r"control='c' is no level of adata\.obs\['group'\]\. There: 'a', 'b'"):
        cell_labels.check_level(cell_labels.read_labels(adata, "group"), "c", name="control")


def test_colours_belong_to_the_categories(adata):
    labels = cell_labels.read_labels(adata, "perturbation")
    assert cell_labels.read_colors(adata, labels) is None
    adata.uns["perturbation_colors"] = [f"#00000{i}" for i in range(len(labels.names))]
    colors = cell_labels.read_colors(adata, labels)
    assert colors == dict(zip(adata.obs["perturbation"].cat.categories, adata.uns["perturbation_colors"], strict=True))
    adata.uns["perturbation_colors"] = ["#000000"]
    assert cell_labels.read_colors(adata, labels) is None


def test_gene_names_must_be_unique_where_genes_are_looked_up_row_39(adata):
    assert matrix.read_gene_names(adata)[:2] == ["gene_0", "gene_1"]
    adata.var_names = ["a", "a", *adata.var_names[2:]]
    with pytest.raises(ValueError, match=r"1 duplicates \('a'\): call adata\.var_names_make_unique\(\)"):
        matrix.read_gene_names(adata)


# --- reading a factorization ---------------------------------------------------------------------------------------


def test_a_missing_column_suggests_the_nearest_name_and_the_call():
    adata = AnnData(np.ones((3, 2)), obs={"cell_type": ["a", "b", "b"]})
    with pytest.raises(KeyError, match=r"'Celltype' is not in adata\.obs\. There: .*Did you mean 'cell_type'\?"):
        cell_labels.read_labels(adata, "Celltype")
    with pytest.raises(KeyError, match=r"There: 'cell_type'\.[\"']$"):
        cell_labels.read_labels(adata, "perturbation")
    with pytest.raises(KeyError, match=r"Call sc\.pp\.highly_variable_genes\(adata\) first"):
        matrix.read_gene_mask(adata, "highly_variable")
    with pytest.raises(KeyError, match=r"There: none\.[\"']$"):
        matrix.read_gene_mask(adata, "hvg")


@pytest.mark.parametrize("reader", [slots.read_fit, slots.read_usages, slots.read_loadings, slots.read_model])
def test_an_unknown_key_names_those_that_exist_and_the_call_row_36(reader, adata):
    adata.uns["neighbors"] = {"params": {}}
    with pytest.raises(KeyError, match=r"key='nmf'\. There: 'semi_nmf'\. Make one with scp\.tl\.semi_nmf"):
        reader(adata, "nmf")
    with pytest.raises(KeyError, match=r"key='nmf'\. There: none"):
        reader(AnnData(np.ones((2, 2))), "nmf")
    with pytest.raises(TypeError, match=r"adata is a numpy\.ndarray"):
        reader(np.ones((2, 2)), "nmf")


@pytest.mark.parametrize(
    ("slot", "name", "reader"),
    [
        ("obsm", "X_semi_nmf", slots.read_usages),
        ("varm", "semi_nmf_loadings", slots.read_loadings),
        ("varm", "semi_nmf_model", slots.read_model),
    ],
)
def test_a_slot_that_was_deleted_is_named(slot, name, reader, adata):
    del getattr(adata, slot)[name]
    with pytest.raises(KeyError, match=rf"'{name}' is not in adata\.{slot}"):
        reader(adata, "semi_nmf")


def test_tables_are_copies_with_names(adata):
    usages, loadings, model = (
        reader(adata, "semi_nmf") for reader in (slots.read_usages, slots.read_loadings, slots.read_model)
    )
    assert list(usages.columns) == list(loadings.columns) == ["program_0", "program_1", "program_2"]
    assert usages.index.equals(adata.obs_names)
    assert loadings.index.equals(adata.var_names)
    model["baseline"] = 99.0
    history = slots.read_history(adata, "semi_nmf")
    history["loss"] = 99.0
    assert not (adata.varm["semi_nmf_model"]["baseline"] == 99).any()
    assert not (adata.uns["semi_nmf"]["history"]["loss"] == 99).any()


def test_a_table_that_is_not_there_names_the_call(adata):
    with pytest.raises(
        KeyError, match=r"has no 'anova' yet\. Call scp\.tl\.program_anova\(adata, \.\.\., key='semi_nmf'\)"
    ):
        slots.read_table(adata, "semi_nmf", "anova", groupby="guide")
    slots.write_table(adata, "semi_nmf", "anova", pd.DataFrame({"F": [1.0]}), groupby="guide")
    with pytest.raises(KeyError, match=r"'batch' is not in .*There: 'guide'.*program_anova\(adata, 'batch', key="):
        slots.read_table(adata, "semi_nmf", "anova", groupby="batch")


# --- writing -------------------------------------------------------------------------------------------------------


def test_tables_are_added_beside_each_other(adata):
    tables = {name: pd.DataFrame({"F": [float(i)]}, index=["program_0"]) for i, name in enumerate(["guide", "a/b"])}
    for name, table in tables.items():
        slots.write_table(adata, "semi_nmf", "anova", table, groupby=name)
    slots.write_table(adata, "semi_nmf", "enrichment", pd.DataFrame({"term": ["t"]}))
    assert list(adata.uns["semi_nmf"]["anova"]) == ["guide", "a_b"]  # a slash would nest groups on disk
    for name, table in tables.items():
        pd.testing.assert_frame_equal(slots.read_table(adata, "semi_nmf", "anova", groupby=name), table)
    assert "params" in adata.uns["semi_nmf"]


def test_a_table_needs_a_factorization(adata):
    with pytest.raises(KeyError, match="key='other'"):
        slots.write_table(adata, "other", "anova", pd.DataFrame(), groupby="guide")
    assert "other" not in adata.uns


@pytest.mark.filterwarnings("error::anndata.ImplicitModificationWarning")
def test_a_table_written_to_a_view_leaves_the_original_alone_row_38(adata):
    view = adata[:30]
    slots.write_table(view, "semi_nmf", "enrichment", pd.DataFrame({"term": ["t"]}))
    assert "enrichment" in view.uns["semi_nmf"]
    assert "enrichment" not in adata.uns["semi_nmf"]


@pytest.mark.parametrize(
    ("usages", "expected"),
    [
        ([0.0, 0.0, 0.0], "none"),
        ([1.0, 1.0, 0.0], "none"),
        ([0.0, 2.0, 1.0], "program_1"),
        ([0.0, 0.0, 1e-30], "program_2"),
        ([1.0, 1.0, 1.0000001], "program_2"),
    ],
)
def test_the_strongest_program(usages, expected, adata):
    result = slots.Factorization(
        usages=np.tile(usages, (60, 1)),
        loadings=np.ones((3, 20)),
        model=adata.varm["semi_nmf_model"],
        programs=adata.uns["semi_nmf"]["programs"],
        fit={"params": {}},
    )
    slots.write_factorization(adata, "new", result)
    assert (adata.obs["new_program"] == expected).all()
    assert list(adata.obs["new_program"].cat.categories) == ["program_0", "program_1", "program_2", "none"]
    assert set(adata.uns["new"]) == {"params", "programs"}


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
@pytest.mark.filterwarnings("ignore")  # of zarr and anndata, about themselves
def test_tables_survive_the_disk_row_43(suffix, adata, tmp_path):
    if suffix == "zarr":
        pytest.importorskip("zarr")
    anova = pd.DataFrame(
        {"F": [1.5, np.inf, np.nan], "p": [0.1, 0.0, np.nan], "df_between": [2, 2, 2]},
        index=slot_names.program_names(3),
    )
    enrichment = pd.DataFrame({"program": ["program_0"], "term": ["a/b (GO:1)"], "overlap": [3], "genes": ["x;y"]})
    slots.write_table(adata, "semi_nmf", "anova", anova, groupby="guide/target")
    slots.write_table(adata, "semi_nmf", "enrichment", enrichment)
    path = tmp_path / f"screen.{suffix}"
    adata.write_h5ad(path) if suffix == "h5ad" else adata.write_zarr(path)
    again = ad.read_h5ad(path) if suffix == "h5ad" else ad.read_zarr(path)
    read = slots.read_table(again, "semi_nmf", "anova", groupby="guide/target")
    pd.testing.assert_frame_equal(read, anova, check_index_type=False)
    read = slots.read_table(again, "semi_nmf", "enrichment")
    pd.testing.assert_frame_equal(read, enrichment, check_index_type=False, check_dtype=False)
    np.testing.assert_array_equal(slots.read_usages(again, "semi_nmf"), slots.read_usages(adata, "semi_nmf"))


def test_programs_as_an_adata(adata):
    adata.uns["perturbation_colors"] = ["#000000"] * 6
    programs = slots.programs_as_adata(adata, "semi_nmf")
    assert programs.shape == (60, 3)
    np.testing.assert_array_equal(programs.X, adata.obsm["X_semi_nmf"])
    assert list(programs.var_names) == slot_names.program_names(3)
    assert list(programs.uns["perturbation_colors"]) == ["#000000"] * 6
    np.testing.assert_array_equal(programs.varm["loadings"], adata.varm["semi_nmf_loadings"].T)


# --- checks of arguments -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "args", "error", "message"),
    [
        (
            _validate.check_int,
            {"value": 0, "at_least": 1},
            ValueError,
            "x=0 is too small; pass an integer of at least 1",
        ),
        (_validate.check_int, {"value": True, "at_least": 1}, TypeError, "x=True is a bool"),
        (_validate.check_int, {"value": 1.0, "at_least": 1}, TypeError, "x=1.0 is a float"),
        (_validate.check_real, {"value": "1"}, TypeError, "x='1' is a str"),
        (_validate.check_real, {"value": False}, TypeError, "x=False is a bool"),
        (_validate.check_real, {"value": np.nan}, ValueError, "x=nan is out of range"),
        (_validate.check_real, {"value": 2, "at_least": 0, "at_most": 1}, ValueError, "between 0 and 1"),
        (_validate.check_name, {"value": 3}, TypeError, "x=3 is a int"),
        (_validate.check_name, {"value": "a/b"}, ValueError, "x='a/b' cannot name a slot"),
        (_validate.check_choice, {"value": "c", "options": ["a", None]}, ValueError, "x='c' .* 'a', None"),
        (_validate.check_choice, {"value": np.ones(2), "options": ["a"]}, ValueError, "Choose one of 'a'"),
    ],
)
def test_checks(check, args, error, message):
    with pytest.raises(error, match=message):
        check("x", **args)


def test_checks_let_good_values_through():
    assert type(_validate.check_int("x", np.int8(3), at_least=1)) is int
    assert type(_validate.check_real("x", np.float32(0.5))) is float
    assert _validate.check_name("x", "a b") == "a b"
    _validate.check_choice("x", None, ["a", None])
