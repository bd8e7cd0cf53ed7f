"""Writing into AnnData: all entries or none."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scprograms._anndata.transaction import write


@pytest.fixture
def adata():
    rng = np.random.default_rng(0)
    made = ad.AnnData(rng.random((6, 4)), obs={"a": np.arange(6)}, var={"b": list("wxyz")})
    made.obsm["X_old"] = rng.random((6, 2))
    made.varm["old"] = rng.random((4, 2))
    made.layers["old"] = rng.random((6, 4))
    made.uns["old"] = {"x": 1}
    return made


def everything(adata):
    tables = {name: getattr(adata, name).copy() for name in ("obs", "var")}
    mappings = {
        name: {k: v for k, v in getattr(adata, name).items() if k} for name in ("obsm", "varm", "layers", "uns")
    }
    return adata.X.copy(), tables, mappings


def assert_same(a, b):
    np.testing.assert_array_equal(a[0], b[0])
    for name in a[1]:
        pd.testing.assert_frame_equal(a[1][name], b[1][name])
    for name in a[2]:
        assert list(a[2][name]) == list(b[2][name])
        for key, value in a[2][name].items():
            assert value is b[2][name][key] or np.array_equal(value, b[2][name][key])


NEW = {
    "obs": {"a": np.zeros(6), "c": np.ones(6)},
    "var": {"c": np.ones(4)},
    "obsm": {"X_old": np.zeros((6, 3)), "X_new": np.ones((6, 1))},
    "varm": {"new": np.ones((4, 1))},
    "layers": {"new": np.ones((6, 4))},
    "uns": {"old": {"y": 2}, "new": 3},
}


def test_every_slot_is_written(adata):
    write(adata, X=np.zeros((6, 4)), **NEW, remove={"varm": ["old", "never_there"]})
    assert not adata.X.any()
    assert adata.obs["a"].sum() == 0
    assert adata.obs["c"].sum() == 6
    assert adata.obsm["X_old"].shape == (6, 3)
    assert "old" not in adata.varm
    assert adata.uns["old"] == {"y": 2}


@pytest.mark.parametrize(
    "bad",
    [
        {"obs": {"d": np.ones(5)}},
        {"var": {"d": np.ones(5)}},
        {"obsm": {"d": np.ones((5, 2))}},
        {"varm": {"d": np.ones((5, 2))}},
        {"layers": {"d": np.ones((5, 2))}},
    ],
)
def test_an_entry_that_does_not_fit_leaves_everything_as_it_was(adata, bad):
    before = everything(adata)
    entries = {slot: {**NEW[slot], **bad.get(slot, {})} for slot in NEW}
    with pytest.raises(ValueError, match=r"shape|length|Length"):
        write(adata, X=np.zeros((6, 4)), **entries, remove={"varm": ["old"], "uns": ["old"], "obs": ["a"]})
    assert_same(in_any_order(before), in_any_order(everything(adata)))


def in_any_order(state):
    matrix, tables, mappings = state
    return (
        matrix,
        {name: table[sorted(table)] for name, table in tables.items()},
        {name: dict(sorted(entries.items())) for name, entries in mappings.items()},
    )


def test_columns_of_a_table_are_entries(adata):
    write(adata, obs=pd.DataFrame({"c": range(6), "d": list("abcdef")}, index=adata.obs_names), var=pd.DataFrame())
    assert adata.obs["d"].tolist() == list("abcdef")


def test_a_view_becomes_a_copy_and_its_parent_stays(adata):
    part = adata[:3]
    before = everything(adata)
    write(part, obs={"c": np.ones(3)}, obsm={"X_new": np.ones((3, 1))})
    assert not part.is_view
    assert part.obs["c"].sum() == 3
    assert_same(everything(adata), before)
