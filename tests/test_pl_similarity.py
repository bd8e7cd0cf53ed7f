"""The heatmap of two sets of programs shows what the tables say."""

from __future__ import annotations

from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest

from factorized import factorized_screen
from scprograms import get, pl, tl

mpl.use("Agg")

from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def _no_figure_left():
    yield
    plt.close("all")


def frames(ax):
    (collection,) = [child for child in ax.collections if child.get_gid() == "matched pairs"]
    return [tuple(path.vertices[:4].mean(axis=0)) for path in collection.get_paths()]


@pytest.mark.parametrize(("k_a", "k_b"), [(4, 6), (6, 4), (1, 3), (50, 45)])
def test_the_image_is_the_table_with_framed_pairs_on_the_diagonal(k_a, k_b):
    a, b = factorized_screen(n_programs=k_a), factorized_screen(n_programs=k_b, seed=1)
    ax = pl.program_similarity(a, b, names=("one", "two"), show=False)
    table, pairs = get.program_similarity(a, b, matched=True), tl.match_programs(a, b).dropna()
    np.testing.assert_allclose(ax.images[0].get_array(), table)
    assert ax.images[0].get_clim() == (-1, 1)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(table.index)
    assert [label.get_text() for label in ax.get_xticklabels()] == list(table.columns)
    assert frames(ax) == [(i, i) for i in range(len(pairs))]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("programs of one", "programs of two")
    written = [text.get_text() for text in ax.texts]
    assert len(written) == (len(pairs) if len(pairs) <= 15 else 0)
    for text, cosine in zip(written, pairs["cosine"], strict=False):
        assert float(text.replace("−", "-")) == pytest.approx(cosine, abs=0.0051)


@pytest.mark.parametrize(("k", "smallest"), [(10, 7), (50, 7)])
def test_names_are_legible_and_apart(k, smallest):
    a, b = factorized_screen(n_programs=k), factorized_screen(n_programs=k, seed=1)
    ax = pl.program_similarity(a, b)
    ax.figure.canvas.draw()
    labels = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert all(label.get_fontsize() >= smallest for label in [*ax.get_yticklabels(), *ax.get_xticklabels()])
    assert all(upper.y0 >= lower.y1 - 2 for upper, lower in pairwise(labels))
    everything = ax.figure.get_tightbbox()
    width, height = ax.figure.get_size_inches()
    assert everything.x0 >= 0
    assert everything.y0 >= 0
    assert everything.x1 <= width
    assert everything.y1 <= height


def test_a_program_without_loadings_is_grey_and_without_frame():
    a, b = factorized_screen(), factorized_screen(seed=1)
    a.varm["semi_nmf_loadings"][:, 2] = 0
    ax = pl.program_similarity(a, b, show=False)
    assert ax.get_yticklabels()[-1].get_text() == "program_2"
    assert ax.images[0].get_array().mask[-1].all()
    assert len(frames(ax)) == 3


def test_figures_are_saved_returned_and_closed(tmp_path):
    a, b = factorized_screen(), factorized_screen(seed=1)
    fig = pl.program_similarity(a, b, show=False, return_fig=True, save=tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 5000
    assert not plt.get_fignums()
    assert fig.axes
    _, ax = plt.subplots()
    assert pl.program_similarity(a, b, ax=ax) is ax


def test_bad_input():
    a = factorized_screen()
    with pytest.raises(KeyError, match="no factorization under key='x'"):  # row 36
        pl.program_similarity(a, a, key_b="x")
    assert not plt.get_fignums()
