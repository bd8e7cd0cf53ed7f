"""Pictures of perturbation effects: what the axes hold equals the table; big screens stay legible."""

from __future__ import annotations

from itertools import combinations, pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.cluster.hierarchy import leaves_list, linkage

from factorized import factorized_screen
from scprograms import ProgramsWarning, get, pl
from scprograms._anndata import slots

mpl.use("Agg")

from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def _no_figure_left():
    yield
    plt.close("all")


def effects_table(n_perturbations: int, n_programs: int, *, floor: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Families of perturbations with a signature in common, of different strengths, and others without effect."""
    rng = np.random.default_rng(seed)
    family = rng.integers(0, max(3, n_perturbations // 8), n_perturbations)
    signature = rng.normal(size=(family.max() + 1, n_programs))
    signature *= rng.random(signature.shape) < 0.15
    strength = rng.gamma(1, 0.8, n_perturbations) * (rng.random(n_perturbations) < 0.6)
    z = strength[:, None] * signature[family] / 0.08 + rng.normal(size=(n_perturbations, n_programs))
    log10_p = (np.log(2) + stats.norm.logsf(np.abs(z))) / np.log(10)
    if floor:
        log10_p = np.maximum(log10_p, np.log10(floor))
    return pd.DataFrame(
        {
            "perturbation": np.repeat([f"GENE{i}" for i in range(n_perturbations)], n_programs),
            "program": np.tile([f"program_{j}" for j in range(n_programs)], n_perturbations),
            "effect": 0.08 * z.ravel(),
            "difference": 0.1 * z.ravel(),
            "auc": 0.5,
            "log2_fold_change": np.nan,
            "p": 10 ** log10_p.ravel(),
            "log10_p": log10_p.ravel(),
            "q": stats.false_discovery_control(10 ** log10_p.ravel()),
            "n_cells": 50,
            "n_replicates": 3,
            "n_control": 500,
        }
    )


def screen(n_perturbations=25, n_programs=20, **options):
    adata = factorized_screen(n_programs=n_programs)
    table = effects_table(n_perturbations, n_programs, **options)
    slots.write_table(adata, "semi_nmf", "effects", table, groupby="perturbation")
    return adata, table


def rewrite(adata, table):
    slots.write_table(adata, "semi_nmf", "effects", table, groupby="perturbation")


def name_programs(adata, name="↑ positive regulation of transcription by RNA… (ISG15, IFI6, MX1)"):
    programs = adata.uns["semi_nmf"]["programs"].copy()
    programs["name"] = [f"{name} #{i}" for i in range(len(programs))]
    slots.write_table(adata, "semi_nmf", "programs", programs)
    return programs["name"]


def dots(ax, gid="dots"):
    (found,) = [child for child in ax.collections if child.get_gid() == gid]
    return found


def texts_of(labels):
    return [label.get_text() for label in labels]


def extent(label):
    return mpl.text.Text.get_window_extent(label)  # of the text alone: that of an annotation includes its line


def overlapping(labels, ax):
    ax.figure.canvas.draw()
    pairs = combinations([extent(label) for label in labels], 2)
    return [(a, b) for a, b in pairs if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1]


# --- effects_dotplot -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cap", [2.5, 10, 400])
def test_dots_are_the_table(cap):
    adata, table = screen()
    ax = pl.effects_dotplot(adata, "perturbation", size_cap=cap, show=False)
    found, rows, columns = dots(ax), texts_of(ax.get_yticklabels()), texts_of(ax.get_xticklabels())
    assert sorted(rows) == sorted(table["perturbation"].unique())
    assert columns == list(get.usages(adata))
    drawn = pd.DataFrame(np.asarray(found.get_offsets()).astype(int), columns=["column", "row"])
    drawn = drawn.assign(size=found.get_sizes(), effect=found.get_array(), edge=found.get_edgecolors()[:, 3])
    drawn["perturbation"], drawn["program"] = np.array(rows)[drawn["row"]], np.array(columns)[drawn["column"]]
    both = table.merge(drawn, on=["perturbation", "program"], suffixes=("", "_drawn"), validate="1:1")
    assert len(both) == len(table)
    np.testing.assert_allclose(both["effect_drawn"], both["effect"])
    strength = -np.log10(both["q"])
    largest = min(cap, strength.max())
    np.testing.assert_allclose(both["size"] / both["size"].max(), np.minimum(strength / largest, 1), atol=1e-12)
    np.testing.assert_array_equal(both["edge"] == 1, both["q"] <= 0.05)
    low, high = found.get_clim()
    assert low == -high == -np.percentile(table["effect"].abs(), 99)
    legend = texts_of(ax.get_legend().get_texts())
    assert legend[-1] == "q ≤ 0.05"
    assert (f"≥ {cap:g}" in legend) == (strength.max() > cap)


def test_rows_follow_the_program_that_they_change_most():
    adata, table = screen()
    ax = pl.effects_dotplot(adata, "perturbation", show=False)
    significant = table[table["q"] <= 0.05]
    top = significant.loc[significant["effect"].abs().groupby(significant["perturbation"]).idxmax()]
    place = top.set_index("perturbation")["program"].str.removeprefix("program_").astype(int)
    drawn = [name for name in texts_of(ax.get_yticklabels()) if name in place]
    assert len(drawn) > 5
    assert drawn == texts_of(ax.get_yticklabels())[: len(drawn)]  # the others come last
    assert place[drawn].is_monotonic_increasing
    effects = top.set_index("perturbation").loc[drawn, "effect"].groupby(place[drawn], sort=False)
    assert all(effect.is_monotonic_decreasing for _, effect in effects)


@pytest.mark.parametrize("floor", [0, 1e-3])
def test_of_many_perturbations_those_with_the_smallest_p_are_drawn(floor):
    adata, table = screen(300, 6, floor=floor)
    ax = pl.effects_dotplot(adata, "perturbation", n_perturbations=30, show=False)
    best = table.assign(size=-table["effect"].abs()).groupby("perturbation")[["log10_p", "size"]].min()
    expected = best.sort_values(["log10_p", "size"]).index[:30]
    assert sorted(texts_of(ax.get_yticklabels())) == sorted(expected)
    title = ax.get_title(loc="left").replace("\n", " ")
    assert title == "Effects on programs of the 30 of 300 perturbations with the smallest p"
    everything = pl.effects_dotplot(adata, "perturbation", n_perturbations=None, show=False)
    assert len(everything.get_yticklabels()) == 300
    assert everything.get_title(loc="left").replace("\n", " ") == "Effects of 300 perturbations on programs"


def test_named_perturbations_and_programs_are_drawn_in_their_order():
    adata, _ = screen(60, 6)
    rows, columns = ["GENE50", "GENE3", "GENE11"], ["program_4", "program_0"]
    ax = pl.effects_dotplot(adata, "perturbation", perturbations=rows, programs=columns, show=False)
    assert texts_of(ax.get_yticklabels()) == rows
    assert texts_of(ax.get_xticklabels()) == columns
    assert len(dots(ax).get_offsets()) == 6


def test_what_was_not_tested_has_no_dot_and_is_grey_in_the_clustermap():  # row 55
    adata, table = screen(12, 5)
    constant = table["program"] == "program_2"
    table.loc[constant, ["effect", "p", "log10_p", "q"]] = np.nan
    alone = table["perturbation"] == "GENE3"  # a perturbation of a single cell: its effect stands, its p does not
    table.loc[alone, ["p", "log10_p", "q"]] = np.nan
    table = table[~((table["perturbation"] == "GENE5") & (table["program"] == "program_0"))]
    rewrite(adata, table)
    ax = pl.effects_dotplot(adata, "perturbation", show=False)
    assert len(dots(ax).get_offsets()) == (~(constant | alone)).sum() - 1
    axes = pl.effects_clustermap(adata, "perturbation", show=False)
    image = axes["heatmap"].collections[0].get_array()
    assert np.ma.getmaskarray(image).sum() == 12 + 1
    few = pl.effects_dotplot(adata, "perturbation", n_perturbations=11, show=False)
    assert "GENE3" not in texts_of(few.get_yticklabels())


def test_nothing_tested_and_nothing_significant_are_drawn():
    adata, table = screen(4, 3)
    for column, value in (("q", 1.0), ("effect", 0.0), ("q", np.nan)):
        rewrite(adata, table.assign(**{column: value}))
        assert pl.effects_dotplot(adata, "perturbation", return_fig=True, show=False)
        assert pl.effects_clustermap(adata, "perturbation", return_fig=True, show=False)


def test_underflowed_q_has_the_largest_dot():  # row 58
    adata, table = screen(5, 3)
    table.loc[7, ["p", "q", "log10_p"]] = 0.0, 0.0, -700.0
    rewrite(adata, table)
    sizes = dots(pl.effects_dotplot(adata, "perturbation", show=False)).get_sizes()
    assert np.isfinite(sizes).all()
    top = pl.volcano(adata, "perturbation", perturbation="GENE2", show=False)
    assert max(np.asarray(child.get_offsets())[:, 1].max(initial=0) for child in top.collections) == 700


@pytest.mark.parametrize(("n_perturbations", "n_programs"), [(25, 20), (2000, 50), (3, 4)])
@pytest.mark.parametrize("named", [False, True])
def test_dotplot_is_legible(n_perturbations, n_programs, named):
    adata, _ = screen(n_perturbations, n_programs)
    if named:
        names = name_programs(adata)
    ax = pl.effects_dotplot(adata, "perturbation", names=named)
    assert not overlapping(ax.get_yticklabels(), ax)
    assert not overlapping(ax.get_xticklabels(), ax)
    assert all(label.get_fontsize() >= 7 for label in [*ax.get_yticklabels(), *ax.get_xticklabels()])
    assert max(ax.figure.get_size_inches()) < 17
    diameter = 2 * np.sqrt(dots(ax).get_sizes().max() / np.pi)
    width = 72 * ax.get_window_extent().width / ax.figure.dpi
    assert diameter <= width / n_programs
    bar, legend = ax.child_axes[0].get_tightbbox(), ax.get_legend().get_window_extent()
    assert not bar.overlaps(legend)
    if named:
        shown = [text.replace("\n", " ") for text in texts_of(ax.get_xticklabels())]
        assert all(name.startswith(text[:40]) for name, text in zip(names, shown, strict=True))


# --- effects_clustermap ----------------------------------------------------------------------------------------------


def test_clustermap_shows_the_effects_in_the_order_of_the_clusters():
    adata, table = screen()
    axes = pl.effects_clustermap(adata, "perturbation", show=False)
    assert sorted(axes) == ["colorbar", "column_dendrogram", "heatmap", "row_dendrogram"]
    heatmap = axes["heatmap"]
    wide = table.pivot_table(index="perturbation", columns="program", values="effect", sort=False)
    rows = wide.index[leaves_list(linkage(wide.to_numpy(), "average", "cosine"))]
    columns = wide.columns[leaves_list(linkage(wide.to_numpy().T, "average", "cosine"))]
    assert texts_of(heatmap.get_yticklabels()) == list(rows)
    assert texts_of(heatmap.get_xticklabels()) == list(columns)
    image = heatmap.collections[0]
    np.testing.assert_allclose(image.get_array(), wide.loc[rows, columns])
    assert image.get_clim()[0] == -image.get_clim()[1]
    points = {(rows[int(y)], columns[int(x)]) for x, y in dots(heatmap, "significant").get_offsets()}
    significant = table[table["q"] <= 0.05]
    assert points == set(zip(significant["perturbation"], significant["program"], strict=True))


def test_perturbations_of_one_signature_are_neighbours_whatever_their_strength():
    adata, table = screen(12, 8)
    rng = np.random.default_rng(1)
    signatures = rng.normal(size=(3, 8))
    effect = np.outer(np.repeat([0.2, 1.0, 5.0, 2.0], 3), np.ones(8)) * signatures[np.arange(12) % 3]
    rewrite(adata, table.assign(effect=effect.ravel()))
    rows = texts_of(pl.effects_clustermap(adata, "perturbation", show=False)["heatmap"].get_yticklabels())
    families = [int(name.removeprefix("GENE")) % 3 for name in rows]
    assert sum(a != b for a, b in pairwise(families)) == 2


def test_signatures_of_zeros_are_clustered():
    adata, table = screen(6, 4)
    rewrite(adata, table.assign(effect=np.where(table["perturbation"] == "GENE1", 0, table["effect"])))
    assert len(pl.effects_clustermap(adata, "perturbation", show=False)["heatmap"].get_yticklabels()) == 6


@pytest.mark.parametrize(("n", "n_perturbations", "named"), [(2000, 80, True), (2000, None, False), (25, None, True)])
def test_clustermap_names_what_has_room(n, n_perturbations, named):
    adata, _ = screen(n, 50)
    fig = pl.effects_clustermap(adata, "perturbation", n_perturbations=n_perturbations, return_fig=True)
    heatmap = fig.axes[2]
    labels = heatmap.get_yticklabels()
    assert len(labels) == (min(n, n_perturbations or n) if named else 0)
    assert heatmap.get_ylabel() == ("" if named else "2,000 perturbations")
    assert not overlapping(labels, heatmap)
    assert not overlapping(heatmap.get_xticklabels(), heatmap)
    assert all(label.get_fontsize() >= 5 for label in labels)
    assert max(fig.get_size_inches()) < 17


@pytest.mark.parametrize(("n_perturbations", "n_programs"), [(1, 4), (4, 1), (1, 1)])
def test_one_row_or_column_needs_no_cluster(n_perturbations, n_programs):
    adata, _ = screen(n_perturbations, n_programs)
    heatmap = pl.effects_clustermap(adata, "perturbation", show=False)["heatmap"]
    assert heatmap.collections[0].get_array().shape == (n_perturbations, n_programs)


def test_too_many_to_cluster_keep_their_order(monkeypatch):
    from scprograms.perturbation.figures import _effects_clustermap

    monkeypatch.setattr(_effects_clustermap, "_AT_MOST_CLUSTERED", 10)
    adata, table = screen(12, 4)
    with pytest.warns(ProgramsWarning, match=r"12 perturbations are too many to cluster.*n_perturbations="):
        axes = pl.effects_clustermap(adata, "perturbation", show=False)
    assert texts_of(axes["heatmap"].get_yticklabels()) == list(table["perturbation"].unique())


# --- volcano ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [{"program": "program_3"}, {"perturbation": "GENE14"}])
def test_volcano_draws_the_table(asked):
    adata, table = screen()
    ((column, value),) = asked.items()
    part = table[table[column] == value]
    ax = pl.volcano(adata, "perturbation", max_q=0.2, n_labels=4, show=False, **asked)
    for gid, rows in {
        "up": part[(part["q"] <= 0.2) & (part["effect"] > 0)],
        "down": part[(part["q"] <= 0.2) & (part["effect"] < 0)],
        "neither": part[part["q"] > 0.2],
    }.items():
        np.testing.assert_allclose(dots(ax, gid).get_offsets(), np.column_stack([rows["effect"], -rows["log10_p"]]))
    many = "perturbation" if column == "program" else "program"
    best = part[part["q"] <= 0.2].nsmallest(4, "log10_p")
    assert sorted(texts_of(ax.texts)) == sorted(best[many])
    for label in ax.texts:
        row = part.set_index(many).loc[label.get_text()]
        np.testing.assert_allclose(label.xy, (row["effect"], -row["log10_p"]))
        assert (label.get_position()[0] > 0) == (row["effect"] > 0)
    assert ax.get_title(loc="left").startswith(value)


@pytest.mark.parametrize("floor", [0, 1e-3])
@pytest.mark.parametrize("size", [None, (3, 2)])
def test_labels_do_not_overlap_each_other_or_points(floor, size):
    adata, table = screen(2000, 5, floor=floor)
    program = table[table["q"] <= 0.05]["program"].value_counts().index[0]
    ax = None if size is None else plt.subplots(figsize=size)[1]
    ax = pl.volcano(adata, "perturbation", program=program, n_labels=60, ax=ax)
    assert 5 < len(ax.texts) <= 60
    assert not overlapping(ax.texts, ax)
    frame = ax.get_window_extent()
    boxes = [extent(label) for label in ax.texts]
    assert all(frame.x0 - 1 <= box.x0 and box.x1 <= frame.x1 + 1 for box in boxes)
    assert all(frame.y0 - 1 <= box.y0 and box.y1 <= frame.y1 + 1 for box in boxes)
    points = ax.transData.transform(np.vstack([child.get_offsets() for child in ax.collections]))
    assert not any(box.contains(x, y) for box in boxes for x, y in points)


def test_volcano_of_long_names():
    adata, table = screen()
    names = name_programs(adata)
    ax = pl.volcano(adata, "perturbation", program="program_3", names=True)
    assert ax.get_title(loc="left").replace("\n", " ").startswith(f"program_3: {names.iloc[3]}")
    strongest = table.loc[table["log10_p"].idxmin(), "perturbation"]
    ax = pl.volcano(adata, "perturbation", perturbation=strongest, names=True)
    assert texts_of(ax.texts)
    assert not overlapping(ax.texts, ax)
    shown = {text.replace("\n", " ")[:40] for text in texts_of(ax.texts)}
    assert all(any(name.startswith(text) for name in names) for text in shown)


def test_volcano_without_significant_points_has_no_labels():
    adata, table = screen(5, 3)
    rewrite(adata, table.assign(q=1.0))
    ax = pl.volcano(adata, "perturbation", program="program_0", show=False)
    assert not ax.texts
    assert "0 raise it, 0 lower it" in ax.get_title(loc="left")


# --- what can be wrong -----------------------------------------------------------------------------------------------

DRAW = {
    "dotplot": pl.effects_dotplot,
    "clustermap": pl.effects_clustermap,
    "volcano": lambda *args, **k: pl.volcano(*args, **{"program": "program_0", **k}),
}


@pytest.mark.parametrize("draw", DRAW)
def test_missing_effects_and_names_say_what_to_call(draw):  # row 36
    adata, _ = screen(5, 3)
    with pytest.raises(KeyError, match=r"scp\.tl\.perturbation_effects"):
        DRAW[draw](adata, "guide")
    with pytest.raises(KeyError, match="no factorization under key='onmf'"):
        DRAW[draw](adata, "perturbation", key="onmf")
    with pytest.raises(KeyError, match=r"scp\.tl\.annotate_programs"):
        DRAW[draw](adata, "perturbation", names=True)
    with pytest.raises(KeyError, match=r"scp\.tl\.perturbation_effects"):
        DRAW[draw](factorized_screen(), "perturbation")
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("draw", "arguments", "error", "match"),
    [
        *[
            (draw, *row)
            for draw in ("dotplot", "clustermap")
            for row in [
                ({"perturbations": ["GENE1", "NT"]}, ValueError, "'NT'"),
                ({"programs": ["program_9"]}, ValueError, "'program_9' not known"),
                ({"n_perturbations": 0}, ValueError, "n_perturbations=0"),
                ({"n_perturbations": 2.5}, TypeError, r"n_perturbations=2\.5"),
                ({"percentile": 101}, ValueError, "percentile=101"),
                ({"max_q": 2}, ValueError, "max_q=2"),
            ]
        ],
        ("dotplot", {"size_cap": 0}, ValueError, "size_cap=0"),
        ("volcano", {"perturbation": "GENE1"}, ValueError, "give one of them"),
        ("volcano", {"program": None}, ValueError, "give one of them"),
        ("volcano", {"program": None, "perturbation": "NT"}, ValueError, "'NT'"),
        ("volcano", {"program": "program_9"}, ValueError, "'program_9' not known"),
        ("volcano", {"n_labels": -1}, ValueError, "n_labels=-1"),
        ("volcano", {"max_q": "0.05"}, TypeError, "max_q='0.05'"),
    ],
)
def test_bad_arguments_are_explained(draw, arguments, error, match):
    adata, _ = screen(5, 3)
    with pytest.raises(error, match=match):
        DRAW[draw](adata, "perturbation", **arguments)
    assert plt.get_fignums() == []


def test_volcano_of_what_could_not_be_tested():
    adata, table = screen(5, 3)
    table.loc[table["program"] == "program_1", ["effect", "p", "log10_p", "q"]] = np.nan
    rewrite(adata, table)
    with pytest.raises(ValueError, match="'program_1' has no effect that could be tested"):
        pl.volcano(adata, "perturbation", program="program_1")
