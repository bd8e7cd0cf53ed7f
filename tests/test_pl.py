"""Pictures: what the axes hold equals what the tables say; figures are saved whole, returned and never left behind."""

from __future__ import annotations

import copy
import io
import itertools
import re
import time
from pathlib import Path

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scanpy as sc

import drawn
import scprograms as scp
from factorized import CONTROL, add_anova, add_effects, add_enrichment, factorized_screen
from scprograms import ProgramsWarning, get, pl
from scprograms._draw.boxes import summaries
from scprograms._draw.figure import format_q
from scprograms._draw.pixels import allocate_rows, average_rows, spread, wrap_term

mpl.use("Agg")

from matplotlib import pyplot as plt


@pytest.fixture
def adata() -> ad.AnnData:
    return factorized_screen()


@pytest.fixture(autouse=True)
def _no_figure_left():
    yield
    plt.close("all")


def artist(ax, gid: str):
    found = [child for child in ax.get_children() if child.get_gid() == gid]
    assert len(found) == 1, (gid, found)
    return found[0]


# --- the arithmetic of pixels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n_rows", [1, 7, 30, 200, 10**6])
def test_rows_are_shared_by_size_with_one_for_everyone(seed, n_rows):
    sizes = np.random.default_rng(seed).geometric(0.02, size=30)
    rows = allocate_rows(sizes, n_rows)
    assert rows.min() >= 1
    assert (rows <= sizes).all()
    assert rows.sum() == min(max(n_rows, 30), sizes.sum())
    order = np.argsort(sizes, kind="stable")
    assert (np.diff(rows[order]) >= -1).all()  # a larger group never has visibly fewer


def test_averages_equal_brute_force():
    rng = np.random.default_rng(0)
    sizes = np.array([1, 50, 7, 300])
    values = rng.normal(size=(sizes.sum(), 3)).astype(np.float32)
    rows = np.array([1, 8, 7, 13])
    image = average_rows(values, sizes, rows)
    expected, start = [], 0
    for size, n in zip(sizes, rows, strict=True):
        cuts = [start + i * size // n for i in range(n + 1)]
        expected += [values[a:b].astype(float).mean(axis=0) for a, b in itertools.pairwise(cuts)]
        start += size
    np.testing.assert_allclose(image, expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_spread_labels_keep_apart_within_limits_and_move_least(seed):
    from scipy.optimize import minimize

    rng = np.random.default_rng(seed)
    positions = np.sort(rng.uniform(0, 10, size=7) ** 2 / 10)
    placed = spread(positions, 1.0, low=0.5, high=9.5)
    assert (np.diff(placed) >= 1 - 1e-9).all()
    assert placed[0] >= 0.5
    assert placed[-1] <= 9.5
    constraints = [
        {"type": "ineq", "fun": lambda y: np.diff(y) - 1},
        {"type": "ineq", "fun": lambda y: [y[0] - 0.5, 9.5 - y[-1]]},
    ]
    best = minimize(lambda y: np.sum((y - positions) ** 2), np.linspace(1, 9, 7), constraints=constraints, tol=1e-12)
    assert np.sum((placed - positions) ** 2) == pytest.approx(best.fun, abs=1e-6)


def test_spread_leaves_labels_that_have_room():
    np.testing.assert_array_equal(spread(np.array([1.0, 3.0, 7.5]), 1.0, low=0, high=10), [1.0, 3.0, 7.5])
    assert spread(np.array([]), 1.0, low=0, high=1).size == 0


def test_terms_are_wrapped_and_none_is_lost_that_fits():
    term = "antigen processing and presentation of exogenous peptide antigen via MHC class I (GO:0042590)"
    wrapped = wrap_term(term, width=40)
    assert max(map(len, wrapped.split("\n"))) <= 40
    assert wrapped.replace("\n", " ") == term
    assert wrap_term("HALLMARK_TNFA_SIGNALING_VIA_NFKB", width=20).split("\n") == [
        "HALLMARK TNFA",
        "SIGNALING VIA NFKB",
    ]
    assert wrap_term("short_name", width=20) == "short_name"
    cut = wrap_term(term * 3, width=40)
    assert cut.count("\n") == 2
    assert cut.endswith("…")


@pytest.mark.parametrize("seed", range(3))
def test_boxes_equal_matplotlibs(seed):
    from matplotlib.cbook import boxplot_stats

    rng = np.random.default_rng(seed)
    codes = rng.integers(-1, 9, size=400)
    codes[codes == 8], codes[0] = 3, 8  # a group of one cell, and cells without a group
    values = (rng.gamma(1.0, size=400) * (rng.random(400) < 0.6)).astype(np.float32)
    names = [f"g{i}" for i in range(9)]
    boxes = summaries(values, codes, names, ["k"] * 9, order=None, first=False)
    for i, box in enumerate(boxes.itertuples()):
        stats = boxplot_stats(values[codes == i].astype(float))[0]
        expected = [stats[name] for name in ("q1", "med", "q3", "whislo", "whishi", "mean")]
        np.testing.assert_allclose([box.q1, box.med, box.q3, box.low, box.high, box.mean], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("q", "text"),
    [
        (0.0, "q < 1e-300"),
        (3.14e-45, "q = 3.1e-45"),
        (0.0123, "q = 0.012"),
        (1.0, "q = 1"),
        (np.nan, "q not defined"),
    ],
)
def test_q_values_are_readable(q, text):
    assert format_q(q) == text


# --- usage_heatmap ---------------------------------------------------------------------------------------------------


def expected_image(adata, groups: list[str], rows_per_group: list[int]) -> np.ndarray:
    usages, labels, parts = get.usages(adata).to_numpy(), adata.obs["perturbation"].astype(str).to_numpy(), []
    for group, n in zip(groups, rows_per_group, strict=True):
        cells = np.flatnonzero(labels == group)
        cuts = [i * len(cells) // n for i in range(n + 1)]
        parts += [usages[cells[a:b]].astype(float).mean(axis=0) for a, b in itertools.pairwise(cuts)]
    return np.array(parts)


GROUPS = [CONTROL, "target_0", "target_1", "target_2", "target_3", "target_4"]


def test_usage_heatmap_shows_every_cell_where_there_is_room(adata):
    ax = pl.usage_heatmap(adata, "perturbation", control=CONTROL, standard_scale=False, show=False)
    sizes = adata.obs["perturbation"].value_counts()[GROUPS].tolist()
    image = ax.images[0]
    np.testing.assert_allclose(image.get_array(), expected_image(adata, GROUPS, sizes), rtol=1e-6)
    assert image.get_clim() == (0, pytest.approx(np.percentile(image.get_array().data, 99)))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == list(get.usages(adata))
    drawn = [segment[0, 1] for segment in artist(ax, "separators").get_segments()]
    np.testing.assert_allclose(drawn, np.cumsum(sizes)[:-1] - 0.5)


def test_usage_heatmap_averages_many_cells_to_pixels():
    adata = factorized_screen(n_cells=9000)
    labels = adata.obs["perturbation"].astype(str).to_numpy()
    labels[labels == "target_1"] = "target_2"
    labels[17] = "target_1"  # a group of one cell keeps its row (row 50)
    adata.obs["perturbation"] = labels
    ax = pl.usage_heatmap(adata, "perturbation", control=CONTROL, standard_scale=False, show=False)
    image = ax.images[0].get_array()
    assert len(image) < 2000
    drawn = [segment[0, 1] + 0.5 for segment in artist(ax, "separators").get_segments()]
    rows = np.diff([0, *drawn, len(image)]).astype(int)
    assert rows[GROUPS.index("target_1")] == 1
    np.testing.assert_allclose(image, expected_image(adata, GROUPS, rows.tolist()), rtol=1e-5)


def test_usage_heatmap_scales_every_program_to_its_percentile(adata):
    scaled = pl.usage_heatmap(adata, "perturbation", percentile=90, show=False).images[0]
    plain = pl.usage_heatmap(adata, "perturbation", standard_scale=False, show=False).images[0].get_array()
    np.testing.assert_allclose(scaled.get_array(), plain / np.percentile(plain.data, 90, axis=0), rtol=1e-6)
    assert scaled.get_clim() == (0, 1)


def test_usage_heatmap_of_unused_programs_is_dark_not_missing(adata):
    adata.obsm["X_semi_nmf"][:, 1] = 0
    image = pl.usage_heatmap(adata, "perturbation", show=False).images[0].get_array()
    assert np.isfinite(image).all()
    assert not np.any(image[:, 1])


def test_usage_heatmap_names_groups_and_marks_the_control(adata):
    ax = pl.usage_heatmap(adata, "perturbation", control=CONTROL, show=False)
    names = [child for child in ax.texts if child.get_gid() == "row label"]
    assert [name.get_text() for name in names] == [f"{CONTROL} (control)", *GROUPS[1:]]
    assert [name.get_fontweight() for name in names] == ["bold"] + ["normal"] * 5
    assert [name.get_position()[1] for name in names] == sorted(name.get_position()[1] for name in names)


def test_usage_heatmap_strip_has_the_palette(adata):
    palette = ["#ff0000", "#00ff00", "#0000ff", "#ffff00", "#00ffff", "#ff00ff"]
    adata.uns["perturbation_colors"] = palette
    ax = pl.usage_heatmap(adata, "perturbation", control=CONTROL, show=False)
    strip = artist(ax, "colour strip").images[0].get_array()[:, 0]
    by_name = dict(zip(adata.obs["perturbation"].cat.categories, palette, strict=True))
    sizes = adata.obs["perturbation"].value_counts()[GROUPS]
    expected = np.repeat([mpl.colors.to_rgba(by_name[name]) for name in GROUPS], sizes, axis=0)
    np.testing.assert_allclose(strip, expected)
    assert artist(ax, "colour strip").get_ylim() == ax.get_ylim()


def test_neighbours_differ_without_a_palette(adata):
    ax = pl.usage_heatmap(adata, "perturbation", control=CONTROL, show=False)
    strip = artist(ax, "colour strip").images[0].get_array()[:, 0]
    changes = np.flatnonzero(np.any(np.diff(strip, axis=0) != 0, axis=1)) + 1
    assert changes.tolist() == np.cumsum(adata.obs["perturbation"].value_counts()[GROUPS])[:-1].tolist()
    np.testing.assert_allclose(strip[0], mpl.colors.to_rgba("#7f7f7f"))
    assert "perturbation_colors" not in adata.uns


@pytest.mark.parametrize("n_groups", [26, 300])
def test_names_of_many_groups_do_not_overlap(n_groups):
    adata = factorized_screen(n_cells=3000, n_groups=n_groups, n_programs=10)
    fig = pl.usage_heatmap(adata, "perturbation", control=CONTROL, return_fig=True)
    names = [text for text in fig.axes[0].texts if text.get_gid() == "row label"]
    assert len(names) == n_groups  # 300 fit, in two columns
    boxes = [text.get_window_extent(fig.canvas.get_renderer()) for text in names]
    image = fig.axes[0].get_window_extent()
    for column in ([b for b in boxes if b.x1 < image.x0], [b for b in boxes if b.x0 > image.x1]):
        bottoms, tops = np.sort([b.y0 for b in column]), np.sort([b.y1 for b in column])
        assert (bottoms[1:] >= tops[:-1] - 1).all()
    assert all(text.get_fontsize() >= 6 for text in names)
    assert fig.get_figheight() < 18


def test_only_the_largest_groups_are_named_where_there_is_no_room():
    adata = factorized_screen(n_cells=3000, n_groups=50)
    _, ax = plt.subplots(figsize=(4, 1.5))
    pl.usage_heatmap(adata, "perturbation", control="target_7", ax=ax)
    names = [text.get_text() for text in ax.texts if text.get_gid() == "row label"]
    sizes = adata.obs["perturbation"].value_counts()
    assert 2 < len(names) < 50
    assert "target_7 (control)" in names
    assert sizes[[name for name in names if "control)" not in name]].min() >= sizes.iloc[len(names) + 1]
    assert f"The {len(names)} largest of 50 groups are named" in ax.get_title(loc="left")


def test_usage_heatmap_leaves_out_unlabelled_cells_and_says_so(adata):  # row 53
    adata.obs.loc[adata.obs_names[:5], "perturbation"] = np.nan
    with pytest.warns(ProgramsWarning, match="missing for 5 of 240 cells"):
        ax = pl.usage_heatmap(adata, "perturbation", show=False)
    assert ax.images[0].get_array().shape == (235, 4)
    assert ax.get_title(loc="left").startswith("Usage of programs in 235 cells")


def test_usage_heatmap_draws_one_group_and_chosen_programs(adata):  # row 49: no error, there is nothing to compare
    adata.obs["all"] = "one"
    ax = pl.usage_heatmap(adata, "all", programs=["program_3", "program_0"], show=False)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["program_3", "program_0"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"control": "NT"}, ValueError, "control='NT' is no level"),  # row 48
        ({"programs": "program_9"}, ValueError, "'program_9' not known"),
        ({"percentile": 101}, ValueError, "percentile=101 is out of range"),
        ({"key": "onmf"}, KeyError, "no factorization under key='onmf'"),  # row 36
    ],
)
def test_usage_heatmap_explains_bad_arguments(adata, arguments, error, message):
    with pytest.raises(error, match=message):
        pl.usage_heatmap(adata, "perturbation", **arguments)
    assert plt.get_fignums() == []


# --- program_boxplot -------------------------------------------------------------------------------------------------


def drawn_boxes(ax) -> pd.DataFrame:
    names = [tick.get_text() for tick in ax.get_xticklabels()]
    corners = [path.vertices for path in artist(ax, "boxes").get_paths()]
    return pd.DataFrame(
        {
            "median": [segment[0, 1] for segment in artist(ax, "medians").get_segments()],
            "q1": [vertices[:, 1].min() for vertices in corners],
            "q3": [vertices[:, 1].max() for vertices in corners],
            "mean": artist(ax, "means").get_offsets()[:, 1],
        },
        index=names,
    )


@pytest.mark.parametrize("order", ["median", "mean", None])
def test_boxes_are_the_quartiles_in_the_order_asked_for(adata, order):
    panels = pl.program_boxplot(adata, "perturbation", control=CONTROL, order=order, show=False)
    assert len(panels) == 4
    for ax, program in zip(panels, get.usages(adata), strict=True):
        assert ax.get_title(loc="left") == program  # not tested: no q
        groups = get.usages(adata)[program].astype(float).groupby(adata.obs["perturbation"].astype(str))
        boxes = drawn_boxes(ax)
        assert boxes.index[0] == CONTROL
        assert sorted(boxes.index) == sorted(GROUPS)
        np.testing.assert_allclose(boxes["median"], groups.median()[boxes.index], rtol=1e-6)
        np.testing.assert_allclose(boxes["mean"], groups.mean()[boxes.index], rtol=1e-6)
        np.testing.assert_allclose(boxes["q1"], groups.quantile(0.25)[boxes.index], rtol=1e-6)
        np.testing.assert_allclose(boxes["q3"], groups.quantile(0.75)[boxes.index], rtol=1e-6)
        if order is None:
            assert boxes.index.tolist() == GROUPS
        else:
            assert boxes[order].iloc[1:].is_monotonic_decreasing


def test_control_is_marked(adata):
    fig = pl.program_boxplot(adata, "perturbation", control=CONTROL, programs="program_0", show=False, return_fig=True)
    ax = fig.axes[0]
    assert [tick.get_fontweight() for tick in ax.get_xticklabels()] == ["bold"] + ["normal"] * 5
    faces = artist(ax, "boxes").get_facecolor()
    np.testing.assert_allclose(faces[0], mpl.colors.to_rgba("#7f7f7f"))
    assert len(np.unique(faces, axis=0)) == len(faces)
    dashed = next(line for line in ax.lines if line.get_linestyle() == "--")
    assert dashed.get_ydata()[0] == drawn_boxes(ax)["median"].iloc[0]
    assert CONTROL in fig.texts[0].get_text()


def test_many_boxes_have_one_colour():
    adata = factorized_screen(n_cells=600, n_groups=30)
    (ax,) = pl.program_boxplot(adata, "perturbation", control=CONTROL, programs="program_0", show=False)
    faces = artist(ax, "boxes").get_facecolor()
    assert (faces[1:] == faces[1]).all()
    assert not np.allclose(faces[0], faces[1])


def test_boxes_have_the_palette(adata):
    adata.uns["perturbation_colors"] = ["#ff0000", "#00ff00", "#0000ff", "#ffff00", "#00ffff", "#ff00ff"]
    (ax,) = pl.program_boxplot(adata, "perturbation", programs=["program_1"], show=False)
    colors = get.colors(adata, "perturbation")
    expected = [mpl.colors.to_rgba(colors[name]) for name in drawn_boxes(ax).index]
    np.testing.assert_allclose(artist(ax, "boxes").get_facecolor(), expected)


def test_titles_carry_q_and_the_most_different_come_first(adata):
    add_anova(adata)
    panels = pl.program_boxplot(adata, "perturbation", n_top=3, show=False)
    assert [ax.get_title(loc="left") for ax in panels] == [
        "program_3  (q < 1e-300)",
        "program_2  (q = 0.002)",
        "program_1  (q = 0.02)",
    ]
    panels = pl.program_boxplot(adata, "perturbation", n_top=None, show=False)
    assert panels[-1].get_title(loc="left") == "program_0  (q not defined)"
    assert len(panels) == 4


def test_many_groups_are_named_below_and_above():
    adata = factorized_screen(n_cells=2000, n_groups=120)
    (ax,) = pl.program_boxplot(adata, "perturbation", control=CONTROL, programs="program_0", show=False)
    below = [tick.get_text() for tick in ax.get_xticklabels()]
    above = [text.get_text() for text in ax.texts if text.get_gid() == "upper name"]
    assert sorted(below + above) == sorted(adata.obs["perturbation"].cat.categories)
    assert abs(len(below) - len(above)) <= 1
    assert below[0] == CONTROL
    assert ax.get_window_extent().width / ax.figure.dpi * 72 / len(below) > 5.5  # points per name


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"order": "size"}, ValueError, "order='size' is not known"),
        ({"n_top": 0}, ValueError, "n_top=0 is too small"),
        ({"control": "NT"}, ValueError, "control='NT' is no level"),
    ],
)
def test_boxplot_explains_bad_arguments(adata, arguments, error, message):
    with pytest.raises(error, match=message):
        pl.program_boxplot(adata, "perturbation", **arguments)
    assert plt.get_fignums() == []


# --- loadings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("direction", "per_program"), [("up", 3), ("down", 3), ("both", 6)])
def test_loading_heatmap_shows_the_top_genes_by_program(adata, direction, per_program):
    ax = pl.loading_heatmap(adata, n_genes=3, direction=direction, show=False)
    genes = [text.get_text() for text in ax.texts if text.get_gid() == "row label"]
    tops = [get.top_genes(adata, n_genes=3, direction=way) for way in ("up", "down") if direction in (way, "both")]
    expected = []
    for program in get.usages(adata):
        expected += [gene for top in tops for gene in top[program] if gene not in expected]
    assert genes == expected
    assert len(genes) <= 4 * per_program
    image = ax.images[0]
    np.testing.assert_array_equal(image.get_array(), get.loadings(adata).loc[genes].to_numpy())
    low, high = image.get_clim()
    assert -low == high == pytest.approx(np.percentile(np.abs(image.get_array().data), 99))


def test_loading_heatmap_of_all_genes_counts_what_it_cannot_name():
    adata = factorized_screen(n_genes=900)
    ax = pl.loading_heatmap(adata, n_genes=None, show=False)
    np.testing.assert_array_equal(ax.images[0].get_array(), adata.varm["semi_nmf_loadings"])
    assert ax.get_ylabel() == "900 genes"
    assert not [text for text in ax.texts if text.get_gid() == "row label"]


@pytest.mark.parametrize("n_genes", [4, None])
def test_clustermap_clusters_the_same_numbers(adata, n_genes):
    from scipy.cluster.hierarchy import leaves_list, linkage

    axes = pl.loading_clustermap(adata, n_genes=n_genes, show=False)
    assert set(axes) == {"heatmap", "row_dendrogram", "column_dendrogram", "colorbar"}
    mesh = axes["heatmap"].collections[0]
    genes = [tick.get_text() for tick in axes["heatmap"].get_yticklabels()]
    programs = [tick.get_text() for tick in axes["heatmap"].get_xticklabels()]
    table = get.loadings(adata)
    drawn = np.asarray(mesh.get_array()).reshape(len(genes), len(programs))
    np.testing.assert_allclose(drawn, table.loc[genes, programs].to_numpy())
    if n_genes is None:
        assert len(genes) == adata.n_vars
        order = leaves_list(linkage(table.to_numpy(dtype=float), "average", "euclidean"))
        assert genes == table.index[order].tolist()
    else:
        top = [get.top_genes(adata, n_genes=4, direction=way).to_numpy().ravel() for way in ("up", "down")]
        assert set(genes) == set(np.concatenate(top))
    low, high = mesh.get_clim()
    assert -low == high == pytest.approx(np.percentile(np.abs(drawn), 99))
    assert axes["colorbar"].get_ylabel() == "loading"


def test_clustermap_of_too_many_genes_sorts_them_and_says_so():
    adata = factorized_screen(n_cells=20, n_genes=5001, n_programs=3)
    with pytest.warns(ProgramsWarning, match="5,001 genes are too many to cluster"):
        axes = pl.loading_clustermap(adata, n_genes=None, show=False)
    drawn = np.asarray(axes["heatmap"].collections[0].get_array()).reshape(5001, 3)
    programs = [int(tick.get_text()[-1]) for tick in axes["heatmap"].get_xticklabels()]
    best = np.array(programs)[drawn.argmax(axis=1)]
    assert (np.diff(best) >= 0).all()
    assert axes["heatmap"].get_ylabel() == "5,001 genes"


def test_clustermap_of_one_program(adata):
    axes = pl.loading_clustermap(adata, programs="program_2", show=False)
    assert [tick.get_text() for tick in axes["heatmap"].get_xticklabels()] == ["program_2"]


@pytest.mark.parametrize("draw", [pl.loading_heatmap, pl.loading_clustermap])
def test_loading_plots_explain_bad_arguments(adata, draw):
    for arguments, message in (
        ({"direction": "sideways"}, "direction='sideways' is not known"),
        ({"n_genes": 0}, "n_genes=0 is too small"),
        ({"percentile": -1}, "percentile=-1 is out of range"),
        ({"programs": "program_9"}, "'program_9' not known"),
    ):
        with pytest.raises(ValueError, match=message):
            draw(adata, **arguments)
    adata.var_names = ["gene_0", "gene_0", *adata.var_names[2:]]  # row 39
    with pytest.raises(ValueError, match="var_names_make_unique"):
        draw(adata)
    assert plt.get_fignums() == []


# --- enrichment_dotplot ----------------------------------------------------------------------------------------------


def drawn_dots(ax) -> pd.DataFrame:
    dots = artist(ax, "dots")
    x, y = dots.get_offsets().T
    terms = dict(zip(np.round(ax.get_yticks(), 6), (tick.get_text() for tick in ax.get_yticklabels()), strict=True))
    columns = [tick.get_text() for tick in ax.get_xticklabels()]
    return pd.DataFrame(
        {
            "column": [columns[int(i)] for i in x],
            "term": [terms[round(float(value), 6)].replace("\n", " ") for value in y],
            "size": dots.get_sizes(),
            "score": np.asarray(dots.get_array()),
        }
    )


def test_dots_say_score_and_significance(adata):
    stored = add_enrichment(adata)
    ax = pl.enrichment_dotplot(adata, direction="up", library="go", n_top=2, show=False)
    table = stored.query("direction == 'up' and library == 'go' and q <= 0.05")
    dots = drawn_dots(ax).merge(table, left_on=["column", "term"], right_on=["program", "term"], how="outer")
    assert len(dots) == len(table)
    np.testing.assert_allclose(dots["score"], dots["combined_score"])
    ratio = dots["size"] / -np.log10(dots["q"])
    np.testing.assert_allclose(ratio, ratio.iloc[0], rtol=1e-9)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["program_0", "program_1", "program_2", "program_3"]


def test_directions_have_columns_of_their_own_and_n_top_counts_per_program(adata):
    stored = add_enrichment(adata)
    ax = pl.enrichment_dotplot(adata, n_top=1, programs=["program_3", "program_1"], show=False)
    columns = [tick.get_text() for tick in ax.get_xticklabels()]
    assert columns == ["program_3 up", "program_3 down", "program_1 up", "program_1 down"]
    dots = drawn_dots(ax)
    best = stored.sort_values("p").groupby("program").head(1).set_index("program")
    terms = {best.loc[name, "term"] for name in ("program_3", "program_1")}
    assert set(dots["term"]) == terms


def test_terms_are_wrapped(adata):
    add_enrichment(adata)
    ax = pl.enrichment_dotplot(adata, wrap=40, show=False)
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert any(name.count("\n") == 2 for name in names)
    assert max(len(line) for name in names for line in name.split("\n")) <= 40
    assert "HALLMARK_INTERFERON_GAMMA_RESPONSE" in names


def test_size_legend_and_colour_bar_are_to_scale_and_named(adata):
    add_enrichment(adata)
    ax = pl.enrichment_dotplot(adata, show=False)
    dots, legend = artist(ax, "dots"), ax.get_legend()
    assert legend.get_title().get_text().endswith("q")
    stored = get.enrichment(adata, max_q=0.05)
    scale = dots.get_sizes().max() / min(10, -np.log10(stored["q"].min()))
    assert len(legend.legend_handles) >= 2
    for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
        assert handle.get_markersize() ** 2 == pytest.approx(scale * float(text.get_text().removeprefix("≥ ")))
    assert ax.child_axes[0].get_ylabel() == "combined score"


def test_prerank_dots_have_the_score_of_both_signs(adata):
    stored = add_enrichment(adata, prerank=True)
    ax = pl.enrichment_dotplot(adata, show=False)
    low, high = artist(ax, "dots").get_clim()
    assert -low == high == pytest.approx(stored.loc[stored["q"] <= 0.05, "nes"].abs().max())
    assert set(np.sign(drawn_dots(ax)["score"])) == {-1, 1}
    assert ax.child_axes[0].get_ylabel().replace("\n", " ") == "normalised enrichment score"


def test_extreme_values_stay_finite(adata):
    stored = add_enrichment(adata)
    stored.loc[0, ["q", "p"]] = 0.0  # row 58: underflow
    stored.loc[0, "combined_score"] = np.inf
    adata.uns["semi_nmf"]["enrichment"] = stored
    dots = drawn_dots(pl.enrichment_dotplot(adata, max_q=None, n_top=6, show=False))
    assert np.isfinite(dots[["size", "score"]].to_numpy()).all()
    assert len(dots) == len(stored)


def test_nothing_significant_says_how_near_it_was(adata):  # row 67
    stored = add_enrichment(adata)
    with pytest.raises(ValueError, match=re.escape(f"the smallest is {stored['q'].min():.2g}. Raise max_q")):
        pl.enrichment_dotplot(adata, max_q=1e-30)
    assert plt.get_fignums() == []


def test_dotplot_without_enrichment_names_the_call(adata):
    with pytest.raises(KeyError, match=r"scp\.tl\.program_enrichment"):
        pl.enrichment_dotplot(adata)


# --- convergence -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["error_ratio", "loss"])
def test_convergence_draws_the_history_by_stage(adata, metric):
    ax = pl.convergence(adata, metric=metric, show=False)
    history = get.history(adata)
    for line, (_, part) in zip(ax.lines, history.groupby("stage", sort=False), strict=False):
        np.testing.assert_array_equal(line.get_xdata(), part["iteration"])
        np.testing.assert_array_equal(line.get_ydata(), part[metric])
    assert ax.texts[0].get_text() == f"{history[metric].iloc[-1]:.6g}"
    assert [text.get_text() for text in ax.get_legend().get_texts()][:2] == ["projected matrix", "whole matrix"]
    with pytest.raises(ValueError, match="metric='bound' is not known"):
        pl.convergence(adata, metric="bound")


# --- conventions -----------------------------------------------------------------------------------------------------


def one_cell_each(adata: ad.AnnData) -> ad.AnnData:
    return adata[~adata.obs["perturbation"].duplicated().to_numpy()].copy()


PLOTS = {
    "usage_heatmap": lambda adata, **k: pl.usage_heatmap(adata, "perturbation", **k),
    "program_boxplot": lambda adata, **k: pl.program_boxplot(adata, "perturbation", **k),
    "loading_heatmap": pl.loading_heatmap,
    "loading_clustermap": pl.loading_clustermap,
    "enrichment_dotplot": pl.enrichment_dotplot,
    "effects_dotplot": lambda adata, **k: pl.effects_dotplot(adata, "perturbation", **k),
    "effects_clustermap": lambda adata, **k: pl.effects_clustermap(adata, "perturbation", **k),
    "volcano": lambda adata, **k: pl.volcano(adata, "perturbation", program="program_1", **k),
    "calibration": lambda adata, **k: pl.calibration(adata, "perturbation", **k),
    "convergence": pl.convergence,
    "consensus": pl.consensus,
    "rank_sweep": pl.rank_sweep,
    "program_similarity": lambda adata, **k: pl.program_similarity(adata, adata, **k),
    "module_heatmap": pl.module_heatmap,
    "module_map": lambda adata, **k: pl.module_map(one_cell_each(adata), "perturbation", **k),
    "feature_score": pl.feature_score,
    "recovery_confusion": lambda _, **k: pl.recovery_confusion(drawn.with_states()[0], **k),
    "recovery_signatures": lambda _, **k: pl.recovery_signatures(drawn.with_states()[1], **k),
    "state_map": lambda _, **k: pl.state_map(drawn.with_states()[0], key="found", **k),
    "precision_recall": lambda _, **k: pl.precision_recall(drawn.multiome(), **k),
    "accessibility_report": lambda _, **k: pl.accessibility_report(drawn.multiome(), **k),
    "embedding_comparison": lambda _, **k: pl.embedding_comparison(drawn.embedded(), **k),
    "embedding_maps": lambda _, **k: pl.embedding_maps(drawn.embedded(), "cell_type", "X_a", **k),
    "training_history": lambda _, **k: pl.training_history(drawn.embedded(), **k),
}
ONE_AXES = ["usage_heatmap", "loading_heatmap", "enrichment_dotplot", "convergence", "program_similarity"]
ONE_AXES += ["effects_dotplot", "volcano", "calibration", "module_map", "precision_recall"]
each_plot = pytest.mark.parametrize("name", PLOTS)


@pytest.fixture(scope="module")
def compared() -> ad.AnnData:
    """A small screen with a consensus and a rank sweep."""
    screen = scp.datasets.simulate_screen(300, 120, 5, n_perturbations=4)
    sc.pp.normalize_total(screen, target_sum=1e4)
    sc.pp.log1p(screen)
    scp.tl.consensus(screen, 3, n_runs=4)
    scp.tl.rank_sweep(screen, [2, 3, 4], n_folds=2, n_subsamples=2)
    return screen


@pytest.fixture
def tested(adata, compared) -> ad.AnnData:
    add_anova(adata)
    add_enrichment(adata)
    add_effects(adata)
    scp.tl.calibrate(adata, "perturbation", CONTROL, n_splits=3, group_size=5, n_permutations=99)
    scp.tl.nmf(adata, 3)
    scp.tl.assign_modules(adata, "perturbation")
    adata.uns["semi_nmf_consensus"] = copy.deepcopy(compared.uns["semi_nmf_consensus"])
    adata.uns["semi_nmf"] = {**copy.deepcopy(compared.uns["semi_nmf"]), **adata.uns["semi_nmf"]}
    return adata


def test_every_plot_is_tested_for_the_conventions():
    assert set(PLOTS) == set(pl.__all__)


@each_plot
def test_show_none_leaves_the_figure_to_the_notebook_and_false_takes_it_away(tested, name):
    fig = PLOTS[name](tested, show=False, return_fig=True)
    assert isinstance(fig, mpl.figure.Figure)
    assert plt.get_fignums() == []
    PLOTS[name](tested)
    assert len(plt.get_fignums()) == 1


@each_plot
def test_show_true_shows(tested, name, monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(1))
    PLOTS[name](tested, show=True)
    assert shown == [1]


@pytest.mark.parametrize("name", ONE_AXES)
def test_given_axes_are_drawn_in_and_stay_open(tested, name):
    fig, ax = plt.subplots()
    assert PLOTS[name](tested, ax=ax, show=False) is ax
    assert plt.get_fignums() == [fig.number]
    assert PLOTS[name](tested, ax=fig.add_axes((0.1, 0.1, 0.2, 0.2)), return_fig=True) is fig


@each_plot
def test_drawing_changes_nothing(tested, name):
    before, settings = tested.copy(), dict(mpl.rcParams)
    PLOTS[name](tested, show=False)
    assert dict(mpl.rcParams) == settings
    assert list(tested.uns) == list(before.uns)
    pd.testing.assert_frame_equal(tested.obs, before.obs)
    np.testing.assert_array_equal(tested.obsm["X_semi_nmf"], before.obsm["X_semi_nmf"])


@each_plot
def test_png_pdf_and_svg_are_saved(tested, name, tmp_path):
    for suffix in ("png", "PDF", "svg"):
        PLOTS[name](tested, show=False, save=tmp_path / f"figure.{suffix}")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    pdf = (tmp_path / "figure.PDF").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/Type3" not in pdf.replace(b" ", b"")
    assert b"/FontFile2" in pdf  # TrueType (fonttype 42), so text stays text
    assert "<text" in (tmp_path / "figure.svg").read_text()
    assert len(list(tmp_path.iterdir())) == 3


@each_plot
def test_every_picture_speaks_the_same_language(tested, name):
    fig = PLOTS[name](tested, show=False, return_fig=True)
    fig.canvas.draw()
    panels = fig.axes
    titles = [text for ax in panels for text in (ax.title, ax._right_title) if text.get_text()]
    assert titles == []  # all titles are at the left
    assert any(ax.get_title(loc="left") for ax in panels) or fig.texts
    assert {ax._left_title.get_fontsize() for ax in panels if ax.get_title(loc="left")} <= {9.0}
    names = [text for ax in panels for text in (ax.xaxis.label, ax.yaxis.label) if text.get_text()]
    assert {text.get_fontsize() for text in names} <= {7.0, 8.0, 9.0}
    for text in (text.get_text() for text in names):
        assert text[:1].islower() or text[:2] == "PR" or not text[:1].isalpha(), text
    maps = {
        image.get_cmap().name
        for ax in fig.axes
        for image in [*ax.images, *ax.collections]
        if image.get_array() is not None
    }
    assert maps <= {"RdBu_r", "viridis", "viridis_r", "magma_r", "Blues", "from_list"}


@each_plot
def test_nothing_is_cut_off_where_a_figure_is_saved_as_it_is(tested, name):
    fig = PLOTS[name](tested, show=False, return_fig=True)
    fig.canvas.draw()
    box, (width, height) = fig.get_tightbbox(), fig.get_size_inches()
    assert box.x0 >= -0.02, "left"
    assert box.y0 >= -0.02, "bottom"
    assert box.x1 <= width + 0.02, "right"
    assert box.y1 <= height + 0.02, "top"


def test_a_failing_save_leaves_the_old_file(tested, tmp_path, monkeypatch):  # rows 81, 82
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def disk_full(self, file, **kwargs):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mpl.figure.Figure, "savefig", disk_full)
    with pytest.raises(OSError, match="No space left"):
        pl.convergence(tested, save=path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    assert plt.get_fignums() == []


def test_bad_paths_are_explained(tested, tmp_path):
    with pytest.raises(ValueError, match=r"no suffix that names a picture format.*pdf, .*png"):
        pl.convergence(tested, save=tmp_path / "figure.txt")
    with pytest.raises(FileNotFoundError, match=r"the folder .* does not exist"):
        pl.convergence(tested, save=tmp_path / "missing" / "figure.png")
    with pytest.raises(TypeError, match=r"save=True is a bool; pass the path of a file, such as 'figure\.png'"):
        pl.convergence(tested, save=True)
    assert plt.get_fignums() == []


def test_200000_cells_draw_in_seconds():
    adata = factorized_screen(n_cells=200_000, n_genes=10, n_programs=30, n_groups=300)
    start = time.process_time()
    fig = pl.usage_heatmap(adata, "perturbation", control=CONTROL, show=False, return_fig=True)
    fig.savefig(io.BytesIO())
    assert time.process_time() - start < 10
    assert len(fig.axes[0].images[0].get_array()) < 3000


@pytest.mark.shared_data
def test_real_screen_shows_its_strongest_perturbations():
    path = Path(__file__).parents[2] / "shared/data/papalexi2021_thp1_lowmoi/papalexi2021_thp1_lowmoi.h5ad"
    if not path.exists():
        pytest.skip("the Papalexi 2021 screen is not beside the project")
    screen = ad.read_h5ad(path)
    cells = factorized_screen(n_cells=screen.n_obs, n_genes=5)
    cells.obs["perturbation"] = screen.obs["perturbation"].astype(str).to_numpy()
    # One real "program": the share of STAT1 counts, which the knock-outs of the IFN-gamma pathway lower.
    total = np.asarray(screen.X.sum(axis=1)).ravel()
    cells.obsm["X_semi_nmf"][:, 0] = np.asarray(screen[:, "STAT1"].X.todense()).ravel() / total * 100
    (ax,) = pl.program_boxplot(
        cells, "perturbation", control="non-targeting", programs="program_0", order="mean", show=False
    )
    names = drawn_boxes(ax).index.tolist()
    assert names[0] == "non-targeting"
    assert set(names[-4:]) == {"IFNGR1", "IFNGR2", "JAK2", "STAT1"}
