"""Modules as pictures, BED files, and from the command line; and the simulator with its truth."""

from __future__ import annotations

import gzip
from pathlib import Path

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

import scprograms as scp
from scprograms.cli import main


@pytest.fixture(scope="module")
def template():
    counts = scp.datasets.simulate_modules(2000, 12, 5, random_state=0)
    adata = scp.pp.pseudobulk(counts, ["subtype", "region"], min_cells=1)
    scp.tl.nmf(adata, 5)
    scp.tl.assign_modules(adata, "subtype")
    return adata


@pytest.fixture
def adata(template):
    return template.copy()


@pytest.fixture(autouse=True)
def _close_figures():
    mpl.use("agg")
    yield
    from matplotlib import pyplot as plt

    plt.close("all")


# --- pictures ------------------------------------------------------------------------------------------------------


def test_heatmap_draws_the_profiles_with_samples_by_module(adata):
    ax = scp.pl.module_heatmap(adata, n_pixels=150, show=False)
    image = ax.images[0].get_array()
    assert image.shape == (150, 36)
    labels = [label.get_text() for label in ax.get_xticklabels()]
    modules = adata.obs.loc[labels, "nmf_module"].cat.codes.to_numpy()
    assert (np.diff(modules) >= 0).all()
    table = scp.get.modules(adata, of="features")["module"].value_counts(sort=False)
    names = [name for name in table.index if table[name] and name != "inactive"]
    bars = {child.get_gid(): child for child in ax.child_axes}
    colors = [to_hex(color) for color in bars["modules of features"].images[0].get_array()[:, 0]]
    rows = pd.Series(colors).groupby((pd.Series(colors) != pd.Series(colors).shift()).cumsum()).size().tolist()
    profiles = scp.get.module_profiles(adata, n_rows=dict(zip(names, rows, strict=True)))
    np.testing.assert_allclose(image, profiles[labels].to_numpy())
    texts = [text.get_text() for text in ax.texts]
    assert texts == [f"{name} ({table[name]:,})" for name in names]
    top = bars["modules of samples"].images[0].get_array()[0]
    assert len({to_hex(color) for color in top}) == adata.obs["nmf_module"].nunique()
    # The features of a module are most accessible in its samples.
    for name in names[:5]:
        own = adata.obs.loc[labels, "nmf_module"].to_numpy() == name
        block = profiles.loc[[name], labels].to_numpy().mean(axis=0)
        assert block[own].mean() > 3 * block[~own].mean()


def test_colors_are_those_of_a_stored_palette(adata):
    palette = ["#111111", "#222222", "#333333", "#444444", "#555555", "#666666", "#777777"]
    adata.uns["nmf_module_colors"] = palette
    ax = scp.pl.module_map(adata, "subtype", "region", show=False)
    assert {to_hex(color) for color in ax.collections[0].get_facecolor()} <= set(palette)


def test_map_has_a_dot_per_sample_its_area_the_contribution(adata):
    ax = scp.pl.module_map(adata, "subtype", "region", show=False)
    dots = ax.collections[0]
    offsets, areas = np.asarray(dots.get_offsets()), dots.get_sizes()
    rows = [label.get_text() for label in ax.get_yticklabels()]
    columns = [label.get_text() for label in ax.get_xticklabels()]
    shown = {(rows[int(y)], columns[int(x)]): area for (x, y), area in zip(offsets, areas, strict=True)}
    for _, sample in adata.obs.iterrows():
        area = shown[sample["subtype"], sample["region"]]
        assert area == pytest.approx(170 * sample["nmf_module_contribution"])
    numbers = {(round(text.get_position()[0]), round(text.get_position()[1])): text.get_text() for text in ax.texts}
    place = (columns.index("region_1"), rows.index("subtype_3"))
    module = adata.obs.loc["subtype_3_region_1", "nmf_module"]
    assert f"program_{numbers[place]}" == module


def test_map_of_one_column_and_of_samples_in_one_place(adata):
    one = adata[adata.obs["region"] == "region_0"].copy()
    ax = scp.pl.module_map(one, "subtype", show=False)
    assert len(ax.collections[0].get_offsets()) == 12
    with pytest.raises(ValueError, match="several samples lie at 'subtype_0'"):
        scp.pl.module_map(adata, "subtype", show=False)
    with pytest.raises(KeyError, match=r"'nowhere' is not in adata\.obs"):
        scp.pl.module_map(adata, "nowhere", show=False)


@pytest.mark.parametrize("rule", ["sd", "mad", "permutation"])
@pytest.mark.filterwarnings("ignore::scprograms.ProgramsWarning")
def test_feature_score_draws_all_features_and_the_thresholds(adata, rule):
    scp.tl.assign_modules(adata, rule=rule)
    distribution, counts = scp.pl.feature_score(adata, n_bins=20, show=False)
    heights = sum(patch.get_height() for container in distribution.containers for patch in container)
    n_active = (adata.var["nmf_module"] != "inactive").sum()
    last = distribution.containers[-1]  # stacked: the top of the last is the sum
    assert sum(patch.get_y() + patch.get_height() for patch in last) == pytest.approx(n_active)
    assert heights == pytest.approx(n_active)
    attrs = scp.get.modules(adata).attrs
    lines = [line.get_xdata()[0] for line in distribution.lines if line.get_gid() == "threshold"]
    assert lines == [attrs[name] for name in ("lower", "upper") if name in attrs]
    assert [patch.get_width() for patch in counts.patches] == scp.get.modules(adata)["n_specific"].tolist()


def test_pictures_are_saved_and_returned(adata, tmp_path):
    for name, draw in {
        "heat.png": scp.pl.module_heatmap,
        "score.pdf": scp.pl.feature_score,
        "map.svg": lambda adata, **options: scp.pl.module_map(adata, "subtype", "region", **options),
    }.items():
        fig = draw(adata, show=False, return_fig=True, save=tmp_path / name)
        assert isinstance(fig, mpl.figure.Figure)
        assert (tmp_path / name).stat().st_size > 2000
    with pytest.raises(ValueError, match="n_pixels"):
        scp.pl.module_heatmap(adata, n_pixels=0)


def test_many_modules_have_colors_of_their_own():
    from scprograms._draw.palette import category_colors

    assert len(set(category_colors([f"program_{i}" for i in range(60)]).values())) == 60


# --- BED files -----------------------------------------------------------------------------------------------------


def test_beds_hold_the_features_of_each_module(adata, tmp_path):
    files = scp.report.write_beds(adata, tmp_path / "beds")
    table = scp.get.modules(adata, of="features")
    assert [file.name for file in files][-1] == "background.bed"
    columns = ["chrom", "start", "end", "name", "score", "strand"]
    background = set(pd.read_csv(files[-1], sep="\t", header=None)[3])
    assert background == set(adata.var_names[table["module"] != "inactive"])
    seen = 0
    for file in files[:-1]:
        bed = pd.read_csv(file, sep="\t", header=None, names=columns)
        seen += len(bed)
        assert set(bed["name"]) == set(adata.var_names[table["module"] == file.stem]) <= background
        np.testing.assert_array_equal(bed["start"], adata.var.loc[bed["name"], "start"])
        np.testing.assert_array_equal(bed["end"], adata.var.loc[bed["name"], "end"])
        np.testing.assert_array_equal(bed["score"], np.rint(1000 * table.loc[bed["name"], "score"]))
        assert bed.sort_values(["chrom", "start"], kind="stable").equals(bed)
    assert seen == len(background)


def test_background_has_only_features_of_the_fit(adata, tmp_path):
    adata.var["some"] = np.arange(adata.n_vars) % 2 == 0
    scp.tl.nmf(adata, 5, mask_var="some")
    scp.tl.assign_modules(adata)
    files = scp.report.write_beds(adata, tmp_path)
    for file in files:
        if file.stat().st_size:
            assert adata.var.loc[pd.read_csv(file, sep="\t", header=None)[3], "some"].all()


@pytest.mark.parametrize("names", ["chr{}:{}-{}", "chr{}-{}-{}", "chr{}_{}_{}", "HLA-DRB1*15:01_{}:{}-{}"])
def test_coordinates_from_names(names):
    index = [names.format(i, 10 * i + 5, 10 * i + 9) for i in range(3)]
    adata = ad.AnnData(np.ones((2, 3)), var=pd.DataFrame(index=index))
    found = scp.get.coordinates(adata)
    assert found["start"].tolist() == [5, 15, 25]
    assert found["end"].tolist() == [9, 19, 29]
    assert found["chrom"].iloc[2] == names.format(2, "", "").rstrip(":-_")


def test_columns_go_before_names():
    var = pd.DataFrame({"chrom": ["chrX"], "start": [3], "end": [4]}, index=["chr1:1-2"])
    assert scp.get.coordinates(ad.AnnData(np.ones((1, 1)), var=var)).iloc[0].astype(str).tolist() == ["chrX", "3", "4"]


@pytest.mark.parametrize(
    "var",
    [
        pd.DataFrame(index=["chr1:1-2", "peak_000001"]),
        pd.DataFrame(index=["GATA1", "chr1:1-2"]),
        pd.DataFrame(index=["chr1:9-2", "chr1:1-2"]),
        pd.DataFrame({"chrom": ["chr1", None], "start": [1, 2], "end": [3, 4]}, index=["a", "b"]),
        pd.DataFrame({"chrom": ["chr1", "chr 2"], "start": [1, 2], "end": [3, 4]}, index=["a", "b"]),
        pd.DataFrame({"chrom": "chr1", "start": [1, -2], "end": [3, 4]}, index=["a", "b"]),
        pd.DataFrame({"chrom": "chr1", "start": [1, 2.5], "end": [3, 4]}, index=["a", "b"]),
        pd.DataFrame({"chrom": "chr1", "start": ["x", "1"], "end": [3, 4]}, index=["a", "b"]),
    ],
)
def test_names_that_are_no_coordinates(var):
    with pytest.raises(ValueError, match=r"1 of 2 features have no coordinates .* BED needs names such as"):
        scp.get.coordinates(ad.AnnData(np.ones((1, 2)), var=var))


# --- command line --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def peaks(tmp_path_factory):
    """Cells: each count of a simulated pseudo-bulk is a third in each of three cells, about."""
    folder = tmp_path_factory.mktemp("peaks")
    bulk = scp.datasets.simulate_modules(1500, 10, 4, n_regions=2, random_state=0)
    rng = np.random.default_rng(0)
    counts = bulk.X.toarray().astype(int)
    cells = np.concatenate([rng.binomial(counts, 0.4), counts])
    obs = pd.concat([bulk.obs, bulk.obs])[["subtype", "region"]].set_axis([f"cell_{i}" for i in range(len(cells))])
    ad.AnnData(cells.astype(np.float32), obs=obs, var=bulk.var[["chrom", "start", "end"]]).write_h5ad(
        folder / "peaks.h5ad"
    )
    bulk.write_h5ad(folder / "bulk.h5ad")
    return folder


def arguments(file, out, *more):
    return ["modules", str(file), "--groupby", "subtype", "region", "-k", "4", "--quiet", "-o", str(out), *more]


def test_the_whole_path(peaks, tmp_path):
    out = tmp_path / "out"
    more = ("--min-cells", "2", "--tradeoff", "2", "4", "--stability", "4", "--cap-percentile", "99.9")
    assert main(arguments(peaks / "peaks.h5ad", out, *more)) == 0
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    pictures = {
        f"figures/{name}.{end}" for name in ("module_heatmap", "feature_score", "module_map") for end in ("png", "pdf")
    }
    tables = {
        "features.csv.gz",
        "samples.csv",
        "modules.csv",
        "groups_subtype.csv",
        "groups_region.csv",
        "tradeoff.csv",
    }
    assert names >= pictures | tables | {"modules.h5ad", "summary.txt", "beds/background.bed", "beds/program_3.bed"}
    adata = ad.read_h5ad(out / "modules.h5ad")
    assert adata.shape == (20, 1500)
    again = scp.pp.pseudobulk(
        ad.read_h5ad(peaks / "peaks.h5ad"), ["subtype", "region"], min_cells=2, cap_percentile=99.9
    )
    np.testing.assert_array_equal(adata.X.toarray(), again.X.toarray())
    with gzip.open(out / "features.csv.gz", "rt") as file:
        features = pd.read_csv(file, index_col=0)
    assert features["module"].tolist() == adata.var["nmf_module"].astype(str).tolist()
    assert pd.read_csv(out / "modules.csv")["stability"].between(0, 1).all()
    summary = (out / "summary.txt").read_text()
    assert "Summed 40 cells into 20 samples (subtype x region)" in summary
    assert f"{(features['module'].str.startswith('program')).sum():,} features are specific" in summary
    assert "4 refits" in summary


def test_rows_that_are_samples_already(peaks, tmp_path, capsys):
    assert (
        main(["modules", str(peaks / "bulk.h5ad"), "--groupby", "subtype", "region", "-k", "4", "-o", str(tmp_path)])
        == 0
    )
    assert "Results are in" in capsys.readouterr().out
    assert "taken as 20 samples" in (tmp_path / "summary.txt").read_text()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("-k", "40"), "pass from 2 to 20"),
        (("-k", "1"), "pass from 2 to 20"),
        (("--groupby", "subtype", "tissue"), "--groupby='tissue' is no column"),
        (("--layer", "nowhere"), "nowhere"),
        (("--min-cells", "100"), "none of the 20 groups"),
        (("--rule", "best"), "invalid choice"),
    ],
)
def test_bad_arguments_leave_nothing_behind(peaks, tmp_path, capsys, more, message):
    out = tmp_path / "out"
    assert main(arguments(peaks / "peaks.h5ad", out, "--min-cells", "2", *more)) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_files_that_cannot_be_used(peaks, tmp_path, capsys):
    assert main(arguments(tmp_path / "nowhere.h5ad", tmp_path / "out")) == 2
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "text.h5ad").write_text("text")
    assert main(arguments(tmp_path / "text.h5ad", tmp_path / "out")) == 2
    assert "cannot be read" in capsys.readouterr().err
    adata = ad.read_h5ad(peaks / "peaks.h5ad")
    adata.var = pd.DataFrame(index=[f"peak_{i}" for i in range(adata.n_vars)])
    adata.write_h5ad(tmp_path / "unnamed.h5ad")
    assert main(arguments(tmp_path / "unnamed.h5ad", tmp_path / "out", "--min-cells", "2")) == 2
    assert "no coordinates" in capsys.readouterr().err
    adata = ad.read_h5ad(peaks / "peaks.h5ad")
    adata.X[0, 0] = -1
    adata.write_h5ad(tmp_path / "negative.h5ad")
    assert main(arguments(tmp_path / "negative.h5ad", tmp_path / "out", "--min-cells", "2")) == 2
    assert "negative values" in capsys.readouterr().err
    assert not Path(tmp_path / "out").exists()


# --- simulator -----------------------------------------------------------------------------------------------------


def test_simulated_modules_are_what_they_say():
    adata = scp.datasets.simulate_modules(4000, 15, 6, n_regions=3, density=0.3, random_state=1)
    assert adata.shape == (45, 4000)
    assert adata.X.dtype == np.float32
    assert adata.X.nnz / adata.X.shape[0] / adata.X.shape[1] == pytest.approx(0.3, abs=0.02)
    kind, weights = adata.var["true_kind"].astype(str), adata.varm["true_loadings"] > 0
    assert kind.value_counts().to_dict() == {"specific": 800, "shared": 2400, "non-specific": 800}
    members = weights.sum(axis=1)
    assert (members[kind == "specific"] == 1).all()
    assert set(members[kind == "shared"]) == {2, 3}
    assert (members[kind == "non-specific"] == 6).all()
    own = adata.var["true_module"].cat.codes.to_numpy()
    assert (own[kind != "specific"] == -1).all()
    np.testing.assert_array_equal(own[kind == "specific"], weights[kind == "specific"].argmax(axis=1))
    assert adata.obs["true_module"].nunique() == 6
    np.testing.assert_array_equal(
        adata.obs["true_module"].cat.codes,
        (adata.obsm["true_usages"]).reshape(15, 3, 6).sum(axis=1).argmax(axis=1).repeat(3),
    )
    again, other = (scp.datasets.simulate_modules(4000, 15, 6, density=0.3, random_state=seed) for seed in (1, 2))
    assert (again.X != adata.X).nnz == 0
    assert (other.X != adata.X).nnz > 0
    assert scp.get.coordinates(adata)["end"].iloc[-1] == adata.var["end"].iloc[-1]


@pytest.mark.parametrize("dispersion", [0, 0.5])
def test_simulated_counts_have_the_mean_and_the_variance_of_the_model(dispersion):
    adata = scp.datasets.simulate_modules(
        20_000, 2, 2, n_regions=1, region_sd=0, dispersion=dispersion, background=0, density=0.5, specific_fraction=0.5
    )
    mean = adata.obsm["true_usages"].astype(float) @ adata.varm["true_loadings"].T
    X = adata.X.toarray()
    depth = X.sum() / mean.sum()
    expected = depth * mean
    assert np.abs(X.mean(axis=1) / expected.mean(axis=1) - 1).max() < 0.03
    excess = np.mean((X - expected) ** 2) / np.mean(expected + dispersion * expected**2)
    assert excess == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_modules": 30}, ValueError, "exceeds n_subtypes=20"),
        ({"n_modules": 1}, ValueError, "n_modules=1"),
        ({"n_features": 2.5}, TypeError, "n_features"),
        ({"specific_fraction": 0.7, "nonspecific_fraction": 0.4}, ValueError, "at most 1"),
        ({"density": 0.9, "background": 0}, ValueError, "cannot be reached"),
        ({"density": 0}, ValueError, "density"),
        ({"random_state": -1}, ValueError, "random_state"),
    ],
)
def test_simulator_refuses(options, error, message):
    with pytest.raises(error, match=message):
        scp.datasets.simulate_modules(**options)
