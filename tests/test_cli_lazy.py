"""A screen that stays on disk gives what the same screen in memory gives."""

from __future__ import annotations

import html
import re

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import scprograms as scp
from scprograms import get
from scprograms._anndata import lazy as _store_lazy
from scprograms.cli import main
from scprograms.pipeline import _analysis

pytest.importorskip("dask.array")
pytest.importorskip("zarr")

DESIGN = ["--replicate", "guide", "--strata", "batch", "--batch", "batch", "--subset-obs", "good", "--min-genes", "20"]


HVG = ("--hvg", "--target-sum", "500", "--n-jobs", "1")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same screen in every form in which it may be stored."""
    folder = tmp_path_factory.mktemp("lazy")
    adata = scp.datasets.simulate_screen(900, 320, 6, n_perturbations=5, signal=0.3, random_state=1)
    adata.obs["good"] = np.arange(adata.n_obs) % 10 > 0
    adata.X = sparse.csr_matrix(adata.X)
    adata.X.data[::50] = 0  # stored zeros are no expression
    sets = scp.datasets.planted_gene_sets(adata, n_genes=12)
    (folder / "sets.gmt").write_text("\n".join("\t".join([name, "", *genes]) for name, genes in sets.items()))
    adata.write_h5ad(folder / "csr.h5ad")
    adata.write_zarr(folder / "csr.zarr")
    layered = adata.copy()
    layered.layers["raw"], layered.X = layered.X, None
    layered.write_h5ad(folder / "layer.h5ad")
    dense = adata.copy()
    dense.X = dense.X.toarray()
    dense.write_zarr(folder / "dense.zarr", chunks=(170, 50))
    dense.write_h5ad(folder / "dense.h5ad")
    by_column = adata.copy()
    by_column.X = by_column.X.tocsc()
    by_column.write_h5ad(folder / "csc.h5ad")
    return folder


@pytest.fixture(autouse=True)
def several_chunks(monkeypatch):
    monkeypatch.setattr(_store_lazy, "FEWEST_ROWS", 200)
    monkeypatch.setattr(_store_lazy, "BYTES_PER_CHUNK", 1)


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr(_analysis.report, "write_figures", lambda *_args, **_options: [])


def run(files, name, out, *more):
    argv = ["run", str(files / name), "--groupby", "perturbation", "--control", "non-targeting", "-k", "6", "--quiet"]
    argv += ["--gene-sets", str(files / "sets.gmt"), "--min-size", "5", "-o", str(out), *more]
    return main(argv)


@pytest.fixture(scope="module")
def in_memory(files):
    """Results of the ordinary run, by options."""
    done = {}

    def result(*options):
        if options not in done:
            out = files / f"memory{len(done)}"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(_analysis.report, "write_figures", lambda *_args, **_options: [])
                assert run(files, "csr.h5ad", out, *options) == 0
            done[options] = out
        return done[options]

    return result


def same_results(out, expected):
    one, two = (ad.read_h5ad(folder / "programs.h5ad") for folder in (out, expected))
    assert one.X is None
    assert list(one.layers) in ([], [None])
    assert one.obs_names.tolist() == two.obs_names.tolist()
    assert one.var_names.tolist() == two.var_names.tolist()
    usages = two.obsm["X_semi_nmf"]
    np.testing.assert_allclose(one.obsm["X_semi_nmf"], usages, rtol=0, atol=1e-4 * usages.max())
    loadings = two.varm["semi_nmf_loadings"]
    np.testing.assert_allclose(one.varm["semi_nmf_loadings"], loadings, rtol=0, atol=1e-4 * np.abs(loadings).max())
    pd.testing.assert_frame_equal(one.obs, two.obs, rtol=1e-5, check_dtype=False)
    pd.testing.assert_frame_equal(one.var, two.var, rtol=1e-4, check_dtype=False)
    columns = ["program", "term", "overlap", "background_size"]
    pd.testing.assert_frame_equal(get.enrichment(one)[columns], get.enrichment(two)[columns])
    effects, theirs = (get.effects(data, "perturbation") for data in (one, two))
    np.testing.assert_allclose(effects["log10_p"], theirs["log10_p"], rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(
        get.anova(one, "perturbation")["F"], get.anova(two, "perturbation")["F"], rtol=5e-3, atol=1e-6
    )


# --- the same results ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("name", ["csr.h5ad", "csr.zarr", "dense.zarr"])
def test_same_results_from_disk(files, in_memory, tmp_path, name):
    options = (*DESIGN, "--min-cells", "30", "--n-top-genes", "150", "--max-mito", "90", "--min-counts", "30")
    assert run(files, name, tmp_path, "--lazy", *options) == 0
    same_results(tmp_path, in_memory(*options))


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    "options",
    [HVG, ("--center", "control", "--scale", "--mito-prefix", "NONE")],
    ids=" ".join,
)
def test_same_results_with_other_options(files, in_memory, tmp_path, options):
    assert run(files, "csr.zarr", tmp_path, "--lazy", *options) == 0
    same_results(tmp_path, in_memory(*options))


@pytest.mark.usefixtures("no_figures")
def test_a_layer(files, in_memory, tmp_path, capsys):
    assert run(files, "layer.h5ad", tmp_path, "--lazy", "--layer", "raw", *HVG) == 0
    same_results(tmp_path, in_memory(*HVG))
    assert run(files, "layer.h5ad", tmp_path, "--lazy", "--layer", "other") == 2
    assert "no layer. There: 'raw'" in capsys.readouterr().err
    assert run(files, "layer.h5ad", tmp_path, "--lazy") == 2
    assert "has no expression matrix in .X (900 cells x 320 genes)" in capsys.readouterr().err


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("options", [(), ("--lazy",)], ids=["in memory", "lazy"])
def test_indices_of_two_types(files, tmp_path, options):
    with h5py.File(files / "csr.h5ad") as source, h5py.File(tmp_path / "mixed.h5ad", "w") as file:
        for name in source:
            source.copy(name, file)
        file.attrs.update(source.attrs)
        indptr, attributes = file["X/indptr"][:].astype(np.int64), dict(file["X/indptr"].attrs)
        del file["X/indptr"]
        file["X"].create_dataset("indptr", data=indptr).attrs.update(attributes)
        assert file["X/indices"].dtype == np.int32
    assert run(files, tmp_path / "mixed.h5ad", tmp_path / "out", *options) == 0


def test_everything_is_written_and_the_notebook_code_repeats_it(files, tmp_path, monkeypatch):
    assert run(files, "csr.zarr", tmp_path, "--lazy", "--n-top-genes", "150", "--max-mito", "12", *DESIGN) == 0
    for name in ("programs.xlsx", "perturbation_effects.csv", "figures/quality_control.png"):
        assert (tmp_path / name).is_file(), name
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "The matrix stayed on disk" in page
    assert "without the matrix" in page
    assert "raw counts are in layers" not in page
    code = html.unescape(re.search(r"in a notebook</h3>\s*<pre>(.*?)</pre>", page, re.DOTALL).group(1))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    space: dict[str, object] = {}
    exec(code, space)
    adata = ad.read_h5ad(tmp_path / "programs.h5ad")
    assert hasattr(space["adata"].X, "dask")
    np.testing.assert_allclose(space["adata"].obsm["X_semi_nmf"], adata.obsm["X_semi_nmf"], rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("no_figures")
def test_normalised_values_and_what_is_left_out(files, tmp_path):
    adata = ad.read_h5ad(files / "csr.h5ad")
    adata.X.data = np.log1p(adata.X.data)
    adata.write_h5ad(tmp_path / "log.h5ad")
    genes = tmp_path / "genes.txt"
    genes.write_text("\n".join(adata.var_names[:60]))
    out = tmp_path / "out"
    code = run(files, tmp_path / "log.h5ad", out, "--lazy", "--cell-cycle-genes", str(genes))
    assert code == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "taken as normalised already" in page
    assert "scanpy computes them in memory alone" in page
    result = ad.read_h5ad(out / "programs.h5ad")
    expected = (adata[result.obs_names].X.toarray() != 0).sum(axis=1)
    np.testing.assert_array_equal(result.obs["n_genes_by_counts"], expected)


# --- what cannot be read -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_named_by_cells_row_16(files, tmp_path, capsys, value):
    adata = ad.read_h5ad(files / "csr.h5ad")
    adata.X.data[adata.X.indptr[700]] = value
    adata.write_zarr(tmp_path / "bad.zarr")
    assert run(files, tmp_path / "bad.zarr", tmp_path / "out", "--lazy") == 2
    assert "1 NaN or infinite values, the first among cells 600 to 799" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_damaged_store_is_named_by_cells(files, tmp_path, capsys):
    ad.read_h5ad(files / "dense.h5ad").write_zarr(tmp_path / "bad.zarr", chunks=(200, 320))
    chunk = next(p for p in (tmp_path / "bad.zarr" / "X").rglob("*") if p.is_file() and re.search(r"1[./]0$", str(p)))
    chunk.write_bytes(chunk.read_bytes()[:40])
    assert run(files, tmp_path / "bad.zarr", tmp_path / "out", "--lazy") == 2
    assert "Cells 200 to 399 cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("csc.h5ad", ["--lazy"], "by column (CSC)"),
        ("csr.zarr", [], "--lazy if it is a zarr store"),
        ("sets.gmt", ["--lazy"], "cannot be read as an .h5ad file"),
        ("", ["--lazy"], "cannot be read as a zarr store"),
        ("none.zarr", ["--lazy"], "does not exist"),
    ],
)
def test_what_cannot_be_read_lazily(files, tmp_path, capsys, name, options, message):
    assert run(files, name, tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err
