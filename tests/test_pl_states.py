"""Tables and pictures of states say what was found."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import scprograms as scp
from scprograms import get, pl

mpl.use("Agg")

from matplotlib import colors as mpl_colors
from matplotlib import pyplot as plt

COUNTS = {
    ("B", "on", "on"): 90,
    ("B", "on", "off"): 0,
    ("B", "on", "non-state"): 10,
    ("B", "off", "on"): 1,
    ("B", "off", "off"): 399,
    ("B", "off", "non-state"): 0,
    ("T", "a", "a"): 5,
    ("T", "b", "a"): 5,
}


@pytest.fixture(autouse=True)
def _no_figure_left():
    yield
    plt.close("all")


@pytest.fixture
def validated():
    """Cells with the tables of a cross-validation; B has two states, T two of which nothing is known."""
    adata = scp.datasets.simulate_states(60, 50, n_markers=5, n_cell_types=2)
    rows = [(*names, n) for names, n in COUNTS.items()]
    states = [("B", "on", 100, 0.9, True), ("B", "off", 400, 0.96, False), ("T", "a", 5, np.nan, False)]
    adata.uns["recovery"] = {
        "confusion": pd.DataFrame(rows, columns=["cell_type", "state", "predicted", "n_cells"]),
        "states": pd.DataFrame(states, columns=["cell_type", "state", "n_cells", "f1", "recoverable"]),
    }
    return adata


class Model:
    """What is asked of a recovery model."""

    cell_types = ("B", "T")

    def signature(self, cell_type):
        values = [[3.0, 1.0], [0.5, 2.0], [0.2, 0.1], [1.0, 4.0]]
        names = ["IFI6__pos", "IFI6__neg", "A__pos__neg", "B__pos"]
        return pd.DataFrame(values, index=names, columns=["on", "off"]) * (2 if cell_type == "T" else 1)

    def spread(self, cell_type):
        return self.signature(cell_type) / 10


# --- confusion -----------------------------------------------------------------------------------------------------


def test_shares_are_of_the_cells_of_a_state(validated):
    table = get.recovery_confusion(validated)
    assert table.groupby(["cell_type", "state"])["share"].sum().to_numpy() == pytest.approx(1)
    row = table.query("cell_type == 'B' and state == 'off' and predicted == 'on'").iloc[0]
    assert row["share"] == pytest.approx(1 / 400)
    assert "share" not in validated.uns["recovery"]["confusion"]


def test_the_confusion_is_drawn_in_percent_with_f1(validated):
    axes = pl.recovery_confusion(validated, show=False)
    ax = axes[0]
    np.testing.assert_allclose(ax.images[0].get_array(), [[90, 0, 10], [0.25, 99.75, 0]])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["on", "off", "non-state"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["on (100)", "off (400)"]
    assert ax.get_title(loc="left") == "B\nmacro-F1 0.93"
    assert {text.get_text() for text in ax.texts} == {"90", "10", "<1", "100", "F1", "0.90", "(0.96)"}
    np.testing.assert_allclose(axes[1].images[0].get_array(), [[100], [100]])
    assert axes[1].get_title(loc="left") == "T"
    assert [text.get_text() for text in axes[1].texts][-2:] == ["(–)", "(–)"]
    assert not plt.get_fignums()


def test_cells_of_the_image_have_one_size_whatever_the_number_of_states(validated):
    fig = pl.recovery_confusion(validated, show=False, return_fig=True)
    sizes = []
    for ax in [ax for ax in fig.axes if ax.images]:
        box = ax.get_window_extent()
        n_rows, n_columns = ax.images[0].get_array().shape
        sizes += [box.width / n_columns, box.height / n_rows]
    assert sizes == pytest.approx([sizes[0]] * 4, rel=1e-3)


def test_one_cell_type_and_unknown_ones(validated, tmp_path):
    axes = pl.recovery_confusion(validated, cell_types="T", show=False, save=tmp_path / "t.png")
    assert len(axes) == 1
    assert (tmp_path / "t.png").stat().st_size > 1000
    with pytest.raises(ValueError, match=r"cell_types='X' were not cross-validated. There: 'B', 'T'"):
        pl.recovery_confusion(validated, cell_types=["B", "X"])
    with pytest.raises(ValueError, match="cell_types=none"):
        pl.recovery_confusion(validated, cell_types=[])


def test_of_a_real_cross_validation():
    adata = scp.datasets.simulate_states(600, 300, n_samples=3, n_cell_types=1, n_markers=40)
    scp.tl.cross_validate_recovery(adata, "state", "cell_type", sample_key="sample", n_runs=3, n_jobs=1)
    assert get.recovery_confusion(adata)["n_cells"].sum() == 600
    states = get.recovery_states(adata).set_index("state")
    confusion = get.recovery_confusion(adata).set_index(["state", "predicted"])["share"]
    for state in states.index:
        assert confusion[state, state] == pytest.approx(states.loc[state, "recall"])
    (ax,) = pl.recovery_confusion(adata, show=False)
    assert np.diagonal(ax.images[0].get_array()).min() > 80


# --- signatures ----------------------------------------------------------------------------------------------------


def test_features_belong_to_the_state_that_they_weigh_most_in():
    table = get.recovery_signatures(Model(), cell_types="B")
    assert table["gene"].tolist() == ["IFI6", "A__pos", "B", "IFI6"]
    assert table["part"].tolist() == ["pos", "neg", "pos", "neg"]
    assert table["state"].tolist() == ["on", "on", "off", "off"]
    np.testing.assert_allclose(table["difference"], [2, 0.1, 3, 1.5])
    np.testing.assert_allclose(table["weight"], [3, 0.2, 4, 2])
    np.testing.assert_allclose(table["spread"], [0.3, 0.02, 0.4, 0.2])
    few = get.recovery_signatures(Model(), n_genes=1)
    assert few[["cell_type", "state", "gene"]].to_numpy().tolist() == [
        ["B", "on", "IFI6"],
        ["B", "off", "B"],
        ["T", "on", "IFI6"],
        ["T", "off", "B"],
    ]


def test_signatures_are_drawn_on_one_scale():
    axes = pl.recovery_signatures(Model(), n_genes=1, show=False)
    assert [ax.get_title(loc="left") for ax in axes] == ["B", "T"]
    np.testing.assert_allclose(axes[1].images[0].get_array(), [[6, 2], [2, 8]])
    assert [ax.images[0].get_clim() for ax in axes] == [(0, 8)] * 2
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["IFI6 +", "B +"]
    axes = pl.recovery_signatures(Model(), cell_types=["T"], show=False)
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["IFI6 +", "A__pos −", "B +", "IFI6 −"]
    assert len(axes[0].lines) == 1


@pytest.mark.filterwarnings("ignore:.*has no two cell types with enough cells")
def test_signatures_of_a_real_model():
    adata = scp.datasets.simulate_states(600, 300, n_samples=3, n_cell_types=1, n_markers=40, effect=1.5)
    model = scp.tl.train_recovery(adata, "state", "cell_type", sample_key="sample", n_runs=3, n_jobs=1)
    table = get.recovery_signatures(model, n_genes=10)
    for row in table.itertuples():
        planted = adata.varm["true_markers"].loc[row.gene]
        assert planted.any(), row
        if row.part == "pos" and planted[f"type_0:{row.state}"]:
            assert planted[f"type_0:{row.state}"] == 1
    assert len(pl.recovery_signatures(model, show=False)) == 1


def test_no_model_and_unknown_types():
    with pytest.raises(TypeError, match="model is a int; a recovery model is needed"):
        get.recovery_signatures(3)
    with pytest.raises(ValueError, match="cell_types='X' are not in the model"):
        pl.recovery_signatures(Model(), cell_types="X")
    with pytest.raises(ValueError, match="n_genes=0"):
        get.recovery_signatures(Model(), n_genes=0)


# --- maps ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def mapped():
    adata = scp.datasets.simulate_states(400, 50, n_markers=5, n_cell_types=2, n_samples=2)
    states = adata.obs["state"].cat.add_categories(["non-state", "unused"])
    states.iloc[::4] = "non-state"
    states.iloc[1::40] = np.nan
    adata.obs["recovery_state"] = states
    adata.obs["recovery_score"] = np.linspace(0, 1, 400)
    return adata


def points(ax, gid):
    (collection,) = [each for each in ax.collections if each.get_gid() == gid]
    return collection


def test_every_cell_is_where_it_is_in_the_colour_of_its_state(mapped):
    (ax,) = pl.state_map(mapped, show=False)
    states = mapped.obs["recovery_state"].astype(object)
    grey = (states.isna() | (states == "non-state")).to_numpy()
    np.testing.assert_allclose(points(ax, "non-state").get_offsets(), mapped.obsm["spatial"][grey])
    drawn = points(ax, "states")
    box = ax.get_legend()
    legend = {text.get_text(): line.get_color() for text, line in zip(box.texts, box.get_lines(), strict=True)}
    assert list(legend) == ["state_0", "state_1", "state_2", "non-state", "no state assigned"]
    expected = np.where(states[grey].notna(), "non-state", "no state assigned")
    greys = [mpl_colors.to_rgba(legend[name]) for name in expected]
    np.testing.assert_allclose(points(ax, "non-state").get_facecolors(), greys)
    place = {tuple(xy): state for xy, state in zip(mapped.obsm["spatial"].astype(float), states, strict=True)}
    for xy, color in zip(drawn.get_offsets(), drawn.get_facecolors(), strict=True):
        assert mpl_colors.to_rgba(legend[place[tuple(xy)]]) == pytest.approx(tuple(color))
    assert len(drawn.get_offsets()) == (~grey).sum()
    assert ax.get_title(loc="left") == "400 cells"


@pytest.mark.parametrize("column", ["cell_type", "sample"])
def test_a_panel_for_each_group(mapped, column):
    axes = pl.state_map(mapped, column, show=False)
    sizes = mapped.obs[column].value_counts().sort_index()
    assert [ax.get_title(loc="left") for ax in axes] == [f"{name} ({n} cells)" for name, n in sizes.items()]
    for ax, n in zip(axes, sizes, strict=True):
        assert sum(len(points(ax, gid).get_offsets()) for gid in ("states", "non-state")) == n


def test_colours_are_those_that_are_stored(mapped):
    mapped.uns["recovery_state_colors"] = ["#ff0000", "#00ff00", "#0000ff", "#111111", "#222222"]
    (ax,) = pl.state_map(mapped, show=False)
    assert [line.get_color() for line in ax.get_legend().get_lines()][:3] == ["#ff0000", "#00ff00", "#0000ff"]


def test_scanpy_draws_the_same_column(mapped):
    import scanpy as sc

    ax = sc.pl.embedding(mapped, basis="spatial", color="recovery_state", show=False)
    assert len(ax.collections[0].get_offsets()) == 400


def test_other_places_and_no_places(mapped):
    mapped.obsm["X_umap"] = mapped.obsm["spatial"][:, ::-1] * 2
    (ax,) = pl.state_map(mapped, basis="umap", show=False)
    assert len(points(ax, "states").get_offsets())
    table = get.recovered_states(mapped, basis="umap")
    np.testing.assert_allclose(table[["x", "y"]], mapped.obsm["X_umap"])
    assert list(get.recovered_states(mapped)) == ["state", "score"]
    mapped.obsm["line"] = mapped.obsm["spatial"][:, :1]
    with pytest.raises(ValueError, match="two columns, x and y, are needed"):
        pl.state_map(mapped, basis="line")
    with pytest.raises(KeyError, match="'nowhere' is not in"):
        pl.state_map(mapped, basis="nowhere")
    with pytest.raises(KeyError, match="'nothing' is not in"):
        pl.state_map(mapped, "nothing")
    with pytest.raises(KeyError, match="'other_state' is not in"):
        pl.state_map(mapped, key="other")


def test_cells_without_any_state(mapped):
    mapped.obs["recovery_state"] = pd.Categorical(["non-state"] * 400, ["state_0", "non-state"])
    (ax,) = pl.state_map(mapped, show=False)
    assert len(points(ax, "non-state").get_offsets()) == 400
    assert [text.get_text() for text in ax.get_legend().texts] == ["non-state"]
