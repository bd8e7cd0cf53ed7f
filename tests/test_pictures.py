"""One visual language: colours that all can tell apart and that mean the same everywhere, text that stays text."""

from __future__ import annotations

import contextlib
import re
import zlib

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb

import scprograms as scp
from factorized import CONTROL, add_anova, add_effects, add_enrichment, factorized_screen
from scprograms import get, pl, report
from scprograms._draw.palette import CATEGORIES, CYCLE, DOWN, UP, category_colors
from scprograms.accessibility.figures import _draw_curves

mpl.use("Agg")

from typing import TYPE_CHECKING

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    import anndata as ad


@pytest.fixture(autouse=True)
def _no_figure_left():
    yield
    plt.close("all")


# --- colours ---------------------------------------------------------------------------------------------------------

# Machado, Oliveira & Fernandes (2009): linear RGB as seen without the cones for green, and for red.
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
# Ottosson (2020): linear RGB -> cones -> Oklab, in which distances are about as large as differences look.
CONES = [
    [0.41222147, 0.53633254, 0.05144599],
    [0.21190350, 0.68069955, 0.10739696],
    [0.08830246, 0.28171884, 0.62997870],
]
OKLAB = [
    [0.21045426, 0.79361779, -0.00407205],
    [1.97799850, -2.42859221, 0.45059371],
    [0.02590404, 0.78277177, -0.80867577],
]


def seen(colors, sight=None):
    """Return colours in Oklab, as seen with all cones or without some."""
    rgb = np.array([to_rgb(color) for color in colors])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    if sight is not None:
        linear = np.clip(linear @ np.transpose(sight), 0, 1)
    return np.cbrt(linear @ np.transpose(CONES)) @ np.transpose(OKLAB)


def nearest(colors, sight=None):
    """Return the distance of the two colours that look most alike."""
    points = seen(colors, sight)
    distance = np.linalg.norm(points[:, None] - points, axis=2)
    return distance[np.triu_indices(len(points), 1)].min()


@pytest.mark.parametrize("sight", [None, DEUTERANOPIA, PROTANOPIA], ids=["all cones", "no green", "no red"])
def test_categories_can_be_told_apart(sight):
    assert nearest(CYCLE, sight) > 0.075
    assert nearest(CATEGORIES, sight) > 0.06
    if sight is not None:  # what the measure is worth: a palette that relies on red and green fails it
        assert nearest(plt.get_cmap("tab10").colors, sight) < 0.06


@pytest.mark.parametrize("sight", [None, DEUTERANOPIA, PROTANOPIA], ids=["all cones", "no green", "no red"])
def test_signs_can_be_told_apart(sight):
    assert nearest([UP, DOWN, "#FFFFFF"], sight) > 0.2
    ends = [to_hex(plt.get_cmap("RdBu_r")(share)) for share in (0.05, 0.95)]
    assert nearest(ends, sight) > 0.15


def test_a_category_has_one_colour_in_every_picture():
    adata = factorized_screen(n_groups=6)
    adata.obsm["X_umap"] = adata.obsm["X_semi_nmf"][:, :2]
    names = list(adata.obs["perturbation"].cat.categories)
    colors = category_colors(names, control=CONTROL)
    (boxes,) = pl.program_boxplot(adata, "perturbation", programs="program_0", control=CONTROL, order=None, show=False)
    drawn = next(each for each in boxes.collections if each.get_gid() == "boxes")
    below = [tick.get_text() for tick in boxes.get_xticklabels()]
    assert {name: to_hex(face).upper() for name, face in zip(below, drawn.get_facecolor(), strict=True)} == colors
    (cells,) = pl.embedding_maps(adata, "perturbation", show=False)
    others = set(colors.values()) - {colors[CONTROL]}
    assert others <= {to_hex(color).upper() for color in cells.collections[0].get_facecolor()}
    strip = next(
        each for each in pl.usage_heatmap(adata, "perturbation", control=CONTROL, show=False).child_axes
        if each.get_gid() == "colour strip"
    )  # fmt: skip
    in_order = [to_hex(color).upper() for color in strip.images[0].get_array()[:, 0]]
    assert list(dict.fromkeys(in_order)) == [colors[name] for name in [CONTROL, *(n for n in names if n != CONTROL)]]


def test_a_program_has_one_colour_in_every_picture():
    adata = scp.datasets.simulate_modules(600, 12, 10)
    bulk = scp.pp.pseudobulk(adata, ["subtype", "region"], min_cells=1)
    scp.tl.consensus(bulk, 10, method="nmf", n_runs=3, key_added="nmf")
    scp.tl.assign_modules(bulk, key="nmf")
    for palette in (None, [f"#{i:02d}{i:02d}{i:02d}" for i in range(10, 20)]):
        if palette is not None:
            bulk.obs["nmf_program"] = pd.Categorical(
                np.resize([f"program_{i}" for i in range(10)], bulk.n_obs), [f"program_{i}" for i in range(10)]
            )
            bulk.uns["nmf_program_colors"] = palette
        stability = pl.consensus(bulk, key="nmf", show=False)["stability"]
        counts = pl.feature_score(bulk, key="nmf", show=False)[1]
        of_consensus = [to_hex(bar.get_facecolor()).upper() for bar in stability.patches]
        of_modules = [to_hex(bar.get_facecolor()).upper() for bar in counts.patches]
        assert of_consensus == of_modules == list(palette or CATEGORIES[:10])


# --- legends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["steep", "flat", "high"])
def test_the_legend_of_precision_and_recall_covers_no_curve(shape):
    recall = np.linspace(0, 1, 60)
    precision = {"steep": 0.9 * np.exp(-4 * recall) + 0.08, "flat": 0.5 - 0.3 * recall**3, "high": 1 - 0.3 * recall**6}
    fig, ax = plt.subplots()
    names = ["mean", "ridge", "knn", "network"]
    models = pd.DataFrame({"pr_auc": 0.5, "prevalence": 0.08}, index=names)
    models.attrs["chosen"] = "ridge"
    curves = pd.concat(
        [
            pd.DataFrame({"model": n, "recall": recall, "precision": precision[shape] * (1 - 0.05 * i)})
            for i, n in enumerate(names)
        ]
    )
    calls = pd.DataFrame({"recall": 0.4, "precision": 0.3}, index=names)
    _draw_curves(ax, models, curves, calls)
    fig.canvas.draw()
    legend = ax.get_legend().get_window_extent()
    points = np.concatenate(
        [ax.transData.transform(line.get_xydata()) for line in ax.lines if len(line.get_xdata()) > 2]
    )
    assert not any(legend.contains(x, y) for x, y in points)
    assert max(ax.get_yticks()) <= 1


# --- text in files ---------------------------------------------------------------------------------------------------


def text_in_pdf(content: bytes) -> str:
    """Return the letters that a PDF shows, as its content streams hold them."""
    words = []
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL):
        with contextlib.suppress(zlib.error):  # pictures and fonts may be packed in other ways
            # Words stand in parts, between which letters are moved together: [(pr) 12 (ogram)] TJ.
            for line in re.findall(rb"\[((?:\((?:[^()\\]|\\.)*\)|[-.\d\s])*)\]\s*TJ", zlib.decompress(stream)):
                words.append(b"".join(re.findall(rb"\(((?:[^()\\]|\\.)*)\)", line)))
    return "\n".join(word.decode("latin1").replace("\x00", "") for word in words)


@pytest.fixture(scope="module")
def large() -> ad.AnnData:
    """Return a screen of 300 perturbations and 50 programs with everything that a report draws."""
    adata = factorized_screen(n_cells=3000, n_genes=300, n_groups=300, n_programs=50)
    add_anova(adata)
    add_effects(adata)
    add_enrichment(adata)
    return adata


@pytest.mark.slow
def test_pdfs_of_300_perturbations_hold_their_text_and_stay_small(large, tmp_path):
    pictures = report.write_figures(large, "perturbation", tmp_path, control=CONTROL, formats=("pdf",))
    for picture in pictures:
        content = (tmp_path / f"{picture.name}.pdf").read_bytes()
        assert len(content) < 1_500_000, picture.name
        assert b"/Type3" not in content.replace(b" ", b"")
        text = text_in_pdf(content)
        wanted = "iteration" if picture.name == "convergence" else r"program_\d"
        assert re.search(wanted, text), (picture.name, text[:300])
    effects = get.effects(large, "perturbation")["perturbation"].unique()
    shown = set(text_in_pdf((tmp_path / "effects_dotplot.pdf").read_bytes()).split("\n"))
    assert len(shown & set(effects)) == 60


def test_svgs_hold_their_text(large, tmp_path):
    pl.effects_dotplot(large, "perturbation", show=False, save=tmp_path / "figure.svg")
    svg = (tmp_path / "figure.svg").read_text()
    assert re.search(r"<text[^>]*>[^<]*program_1", svg)
    assert len(svg) < 5_000_000


# --- the map of the cells on the command line ------------------------------------------------------------------------


def test_the_map_of_the_cells_has_the_colours_of_the_other_pictures(tmp_path):
    from argparse import Namespace

    from scprograms.pipeline._pictures import umap_picture

    adata = factorized_screen(n_cells=120)
    adata.obs["semi_nmf_program"] = adata.obs["semi_nmf_program"].cat.add_categories("of_no_cell")
    options = Namespace(groupby="perturbation", control=CONTROL, random_state=0)
    (picture,) = umap_picture(adata, options, tmp_path, key="semi_nmf")
    assert picture.png.is_file()
    expected = category_colors(list(adata.obs["perturbation"].cat.categories), control=CONTROL)
    stored = dict(zip(adata.obs["perturbation"].cat.categories, adata.uns["perturbation_colors"], strict=True))
    assert {name: color[:7].upper() for name, color in stored.items()} == expected


def test_a_map_that_fails_does_not_end_a_run(tmp_path, monkeypatch):
    import scanpy as sc

    from scprograms.pipeline._pictures import add_umap

    def fails(*args, **options):
        raise AttributeError("of another package")

    monkeypatch.setattr(sc.pp, "neighbors", fails)
    with pytest.warns(scp.ProgramsWarning, match="could not be made.*of another package"):
        assert not add_umap(factorized_screen(), "X_semi_nmf", random_state=0)
