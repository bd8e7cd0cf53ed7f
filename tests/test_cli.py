"""The command line from end to end: what it writes, what it refuses, and what is left when it fails."""

from __future__ import annotations

import errno
import html
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import scprograms as scp
from scprograms import get
from scprograms.cli import main
from scprograms.cli._commands import settings_of
from scprograms.cli._parser import make_parser
from scprograms.pipeline import Journal, _analysis, _truth
from scprograms.pipeline._h5ad import write_h5ad
from scprograms.pipeline._prepare import prepare, read_screen

SHARED = Path(__file__).parents[2] / "shared" / "data"
PAPALEXI = SHARED / "papalexi2021_thp1_lowmoi" / "papalexi2021_thp1_lowmoi.h5ad"
GO = SHARED / "genesets" / "GO_Biological_Process_2021.enrichr.gmt"

FIGURES = {
    "usage_heatmap",
    "program_boxplot",
    "effects_dotplot",
    "calibration",
    "loading_heatmap",
    "loading_clustermap",
    "enrichment_dotplot",
    "convergence",
    "quality_control",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small screen with its gene sets on disk."""
    folder = tmp_path_factory.mktemp("screen")
    adata = scp.datasets.simulate_screen(700, 300, 6, n_perturbations=5, signal=0.3, random_state=1)
    adata.obs["good"] = np.arange(adata.n_obs) % 10 > 0
    adata.write_h5ad(folder / "screen.h5ad")
    sets = scp.datasets.planted_gene_sets(adata, n_genes=12)
    lines = ["\t".join([name, "", *genes]) for name, genes in sets.items()]
    (folder / "sets.gmt").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def result(files):
    """The results of one complete run."""
    out = files / "out"
    options = ["--batch", "batch", "--min-genes", "5", "--replicate", "guide", "--strata", "batch"]
    code = main(arguments(files, out, "--subset-obs", "good", *options))
    assert code == 0
    return out


def arguments(files, out, *more):
    sets = ["--gene-sets", str(files / "sets.gmt"), "--min-size", "5"]
    return [
        *["run", str(files / "screen.h5ad"), "--groupby", "perturbation", "--control", "non-targeting"],
        *["-k", "6", "-o", str(out), "--quiet", *sets, *more],
    ]


@pytest.fixture
def no_figures(monkeypatch):
    """Runs of which the figures do not matter are three times as fast without."""
    monkeypatch.setattr(_analysis.report, "write_figures", lambda *_args, **_options: [])


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def prepared(adata, tmp_path, *more):
    path = tmp_path / "in.h5ad"
    adata.write_h5ad(path)
    options = ["run", str(path), "--groupby", "perturbation", "--control", "NT", "-o", str(tmp_path / "out"), *more]
    options = make_parser().parse_args(options)
    settings = settings_of(options)
    with Journal() as journal:
        adata, chosen = prepare(read_screen(settings, journal), settings, journal)
    return adata, chosen, journal


def small_screen(n_genes=40, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(1.0, 2.0, size=n_genes), size=(60, n_genes)).astype(np.float32)
    obs = pd.DataFrame({"perturbation": pd.Categorical(["NT", "A", "B"] * 20)}, index=[f"c{i}" for i in range(60)])
    return ad.AnnData(sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(n_genes)]))


# --- a complete run ------------------------------------------------------------------------------------------------


def test_run_writes_everything(result):
    assert {path.name for path in result.iterdir()} == {
        "programs.h5ad",
        "programs.xlsx",
        "report.html",
        "perturbation_effects.csv",
        "top_genes",
        "figures",
    }
    assert {path.name for path in (result / "figures").iterdir()} == {
        f"{name}.{ending}" for name in FIGURES for ending in ("png", "pdf")
    }
    assert len(list((result / "top_genes").glob("program_*_top100_genes.csv"))) == 6
    assert len(list((result / "top_genes").glob("program_*_top100_genes_down.csv"))) == 6


def test_run_keeps_counts_and_what_was_measured(result, files):
    raw, adata = ad.read_h5ad(files / "screen.h5ad"), ad.read_h5ad(result / "programs.h5ad")
    assert adata.n_obs == int(raw.obs["good"].sum())
    counts = raw[adata.obs_names, adata.var_names].X.toarray()
    np.testing.assert_array_equal(adata.layers["counts"].toarray(), counts)
    totals = np.expm1(adata.X.toarray()).sum(axis=1)
    np.testing.assert_allclose(totals, np.median(counts.sum(axis=1)), rtol=1e-4)  # fewer than 1,000 genes: median
    share = 100 * counts[:, adata.var_names.str.startswith("MT-")].sum(axis=1) / counts.sum(axis=1)
    np.testing.assert_allclose(adata.obs["pct_counts_mt"], share, rtol=1e-4)
    for level in raw.obs["batch"].cat.categories:
        np.testing.assert_array_equal(adata.obs[f"batch{level}"], (adata.obs["batch"] == level).astype(float))
    assert {"perturbation", "batch"} <= set(adata.uns["semi_nmf"]["anova"])
    assert set(get.enrichment(adata)["direction"]) == {"up", "down"}


def test_report_tells_numbers_that_are_right(result):
    page = (result / "report.html").read_text(encoding="utf-8")
    adata = ad.read_h5ad(result / "programs.h5ad")
    anova = get.anova(adata, "perturbation")
    assert f"{int((anova['q'] <= 0.05).sum())} of 6 programs differ between the 6 groups" in page
    assert f"Kept {adata.n_obs:,} of 700 cells: cells where good is true." in page
    assert "a panel of" in page
    assert "analysis of variance with guide as the unit" in page
    assert "they were not used as replicates" not in page
    assert "scprograms run" in page
    effects = get.effects(adata, "perturbation")
    n_found = int((effects["q"] <= 0.05).sum())
    assert n_found > 0
    assert f"{n_found} of {len(effects)} effects have q" in page
    summary = get.calibration(adata, "perturbation", what="summary").iloc[0]
    assert f"λ is {summary['lambda']:.2f} (95" in page
    for name in get.programs(adata).var["name"]:
        assert page.count(html.escape(name)) >= 2


def test_replicates_and_strata_reach_every_test(result):
    adata = ad.read_h5ad(result / "programs.h5ad")
    assert set(get.anova(adata, "perturbation")["method"]) == {"replicate"}
    params = adata.uns["semi_nmf"]["effects_params"]["perturbation"]
    assert (params["method"], params["replicate"], params["strata"]) == ("replicate", "guide", "batch")
    summary = get.calibration(adata, "perturbation", what="summary").iloc[0]
    assert (summary["replicate"], summary["strata"], summary["is_of_effects"]) == ("guide", "batch", True)
    again = scp.tl.perturbation_effects(
        adata, "perturbation", "non-targeting", replicate="guide", strata="batch", copy=True
    )
    table = pd.read_csv(result / "perturbation_effects.csv", dtype={"perturbation": str})
    pd.testing.assert_frame_equal(get.effects(again, "perturbation"), table, check_dtype=False, rtol=1e-9)


@pytest.mark.usefixtures("no_figures")
def test_without_replicates_cells_are_tested_with_a_caution(files, tmp_path, capsys):
    assert main([word for word in arguments(files, tmp_path, "--strata", "batch") if word != "--quiet"]) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if "note:" in line]
    assert ["--replicate guide makes them the unit" in note for note in notes] == [True]
    adata = ad.read_h5ad(tmp_path / "programs.h5ad")
    assert set(get.anova(adata, "perturbation")["method"]) == {"anova"}
    params = adata.uns["semi_nmf"]["effects_params"]["perturbation"]
    assert (params["method"], params["strata"]) == ("permutation", "batch")
    assert "calibration" not in adata.uns["semi_nmf"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "permutation of the labels of the cells, within batch" in page
    assert "guide with 27 levels" in page
    assert "batch with" not in page  # it is a stratum
    assert "they were not used as replicates in the test" in page
    assert "Does the test hold?" not in page


def test_without_a_control_groups_are_compared_with_the_rest(files, tmp_path):
    argv = ["run", str(files / "screen.h5ad"), "--groupby", "cell_type", "-k", "6", "-o", str(tmp_path), "--quiet"]
    assert main(argv) == 0
    adata = ad.read_h5ad(tmp_path / "programs.h5ad")
    assert set(get.effects(adata, "cell_type")["perturbation"]) == set(adata.obs["cell_type"])
    assert adata.uns["semi_nmf"]["effects_params"]["cell_type"]["versus"] == "rest"
    page = html.unescape((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "groups of cell_type, compared with all other cells" in page
    assert "scp.tl.perturbation_effects(adata, 'cell_type', versus=\"rest\", random_state=0)" in page
    assert "control=None" not in page
    assert ", None" not in page


@pytest.mark.usefixtures("no_figures")
def test_few_control_guides_are_noted(files, tmp_path, capsys):
    adata = ad.read_h5ad(files / "screen.h5ad")
    guides = adata.obs["guide"].astype(str)
    control = adata.obs["perturbation"] == "non-targeting"
    adata.obs["guide"] = guides.where(~control, guides.str.replace(r"\d+$", lambda m: str(int(m[0]) % 3), regex=True))
    adata.write_h5ad(tmp_path / "in.h5ad")
    argv = ["run", str(tmp_path / "in.h5ad"), "--groupby", "perturbation", "--control", "non-targeting", "-k", "6"]
    assert main([*argv, "--replicate", "guide", "-o", str(tmp_path / "out")]) == 0
    assert "could not be tried on the control alone" in capsys.readouterr().err
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Does the test hold?" not in page
    assert "scp.tl.calibrate" not in page


def test_notebook_code_of_the_report_gives_the_same_programs(result, files, monkeypatch):
    page = (result / "report.html").read_text(encoding="utf-8")
    code = html.unescape(re.search(r"in a notebook</h3>\s*<pre>(.*?)</pre>", page, re.DOTALL).group(1))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    space: dict[str, object] = {}
    exec(code, space)
    adata = ad.read_h5ad(result / "programs.h5ad")
    np.testing.assert_allclose(space["adata"].obsm["X_semi_nmf"], adata.obsm["X_semi_nmf"], rtol=1e-4, atol=1e-4)
    pd.testing.assert_series_equal(
        get.anova(space["adata"], "perturbation")["q"], get.anova(adata, "perturbation")["q"], rtol=1e-3
    )
    one, two = (get.effects(data, "perturbation") for data in (space["adata"], adata))
    np.testing.assert_allclose(one["log10_p"], two["log10_p"], rtol=1e-2, atol=1e-3)
    one, two = (get.calibration(data, "perturbation", what="summary") for data in (space["adata"], adata))
    np.testing.assert_allclose(one["lambda"], two["lambda"], rtol=1e-2)
    assert get.programs(space["adata"]).var["name"].tolist() == get.programs(adata).var["name"].tolist()


@pytest.mark.usefixtures("no_figures")
def test_second_run_replaces_results_of_other_programs(files, tmp_path):
    out = tmp_path / "out"
    (out / "top_genes").mkdir(parents=True)
    (out / "top_genes" / "program_17_top100_genes.csv").write_text("of an older run")
    (out / "notes.txt").write_text("mine")
    assert main(arguments(files, out)) == 0
    assert not (out / "top_genes" / "program_17_top100_genes.csv").exists()
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.usefixtures("no_figures")
def test_demo_finds_what_it_planted(tmp_path, capsys):
    out = tmp_path / "out"
    argv = ["demo", "-o", str(out), "--n-cells", "900", "--n-genes-screen", "400", "--n-planted", "8"]
    assert main(argv) == 0
    captured = capsys.readouterr()
    assert str(out / "report.html") in captured.out
    assert "done" in captured.err
    assert (out / "figures" / "recovery.pdf").is_file()
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "How well the truth was found" in page
    assert str(tmp_path) + "/out/.scprograms" not in page
    adata = ad.read_h5ad(out / "programs.h5ad")
    correlations, partner = _truth.match_programs(adata.obsm["true_usages"], adata.obsm["X_semi_nmf"])
    table = _truth.recovery_table(adata, correlations, partner)
    assert (table.loc[table["kind"] == "activity", "correlation"] > 0.7).all()
    effects = get.effects(adata, "perturbation")
    assert effects["n_replicates"].min() > 1  # guides are the unit
    n_found = effects.loc[effects["program"].isin(table["found"]), "q"].le(0.05).sum()
    wrong_way = n_found - table["detected"].sum() - table["others_detected"].sum()
    assert 0 <= wrong_way <= table["perturbations"].sum() - table["right_way"].sum()
    assert table["detected"].sum() > 2
    assert table["others"].sum() + table["perturbations"].sum() == len(effects)
    assert f"{table['detected'].sum()} are detected" in page
    # The files that the demo leaves are the input of the run that it tells to repeat.
    again = ["run", str(out / "demo_screen.h5ad"), "--groupby", "perturbation", "--control", "non-targeting"]
    again += ["-k", "8", "--gene-sets", str(out / "demo_gene_sets.gmt"), "-o", str(tmp_path / "again"), "--quiet"]
    assert main(again) == 0
    other = ad.read_h5ad(tmp_path / "again" / "programs.h5ad")
    np.testing.assert_array_equal(other.obsm["X_semi_nmf"], adata.obsm["X_semi_nmf"])


def test_match_programs_undoes_a_permutation():
    rng = np.random.default_rng(0)
    true = rng.gamma(0.5, size=(200, 5))
    order = [3, 0, 4, 1, 2]
    correlations, partner = _truth.match_programs(true, true[:, order] * [1, 2, 3, 4, 5])
    assert partner.tolist() == np.argsort(order).tolist()
    np.testing.assert_allclose(correlations[range(5), partner], 1)
    _, partner = _truth.match_programs(true, true[:, :3])
    assert sorted(partner.tolist()) == [-1, -1, 0, 1, 2]


# --- preparation ---------------------------------------------------------------------------------------------------


def test_whole_transcriptomes_are_scaled_to_ten_thousand(tmp_path):
    adata, chosen, journal = prepared(small_screen(1200), tmp_path)
    np.testing.assert_allclose(np.expm1(adata.X).sum(axis=1), 1e4, rtol=1e-4)
    assert chosen["target_sum"] == 1e4
    assert any("10,000 counts" in step for step in journal.steps)
    adata, chosen, _ = prepared(small_screen(1200), tmp_path, "--target-sum", "500")
    np.testing.assert_allclose(np.expm1(adata.X).sum(axis=1), 500, rtol=1e-4)


def test_log_normalised_data_are_used_as_they_are(tmp_path):
    screen = small_screen()
    screen.X.data = np.log1p(screen.X.data)
    adata, chosen, journal = prepared(screen, tmp_path, "--target-sum", "100")
    assert abs(adata.X - screen[:, adata.var_names].X).max() == 0
    assert chosen["matrix"] == "log"
    assert "counts" not in adata.layers
    assert any("taken as normalised already" in step for step in journal.steps)
    assert any("--target-sum had no effect" in note for note in journal.notes)


def test_values_that_are_no_logarithms_are_noted(tmp_path):
    screen = small_screen()
    screen.X = screen.X * 12.34
    assert any("too large for logarithms" in note for note in prepared(screen, tmp_path)[2].notes)


def test_layer_is_used_in_place_of_x(tmp_path):
    screen = small_screen()
    screen.layers["raw"] = screen.X.copy()
    screen.X = sparse.csr_matrix(screen.shape, dtype=np.float32)
    adata, _, journal = prepared(screen, tmp_path, "--layer", "raw")
    assert abs(adata.layers["counts"] - screen[:, adata.var_names].layers["raw"]).max() == 0
    assert "layer raw" in journal.steps[0]


def test_filters_count_what_they_remove(tmp_path):
    screen = small_screen()
    screen.var_names = [f"mt-{name}" if i < 3 else name for i, name in enumerate(screen.var_names)]
    counts = screen.X.toarray()
    total, n_genes = counts.sum(axis=1), (counts > 0).sum(axis=1)
    mito = 100 * counts[:, :3].sum(axis=1) / total
    limits = [np.median(total) * 0.9, np.median(n_genes) - 2, np.percentile(mito, 90)]
    keep = (total >= limits[0]) & (n_genes >= int(limits[1])) & (mito <= limits[2])
    options = ["--min-counts", str(limits[0]), "--min-genes", str(int(limits[1])), "--max-mito", str(limits[2])]
    adata, _, _ = prepared(screen, tmp_path, *options)
    assert adata.obs_names.tolist() == screen.obs_names[keep].tolist()


def test_empty_cells_and_unseen_genes_are_removed(tmp_path):  # rows 5, 6
    screen = small_screen()
    counts = screen.X.toarray()
    counts[4], counts[:, 7] = 0, 0
    screen.X = sparse.csr_matrix(counts)
    adata, _, journal = prepared(screen, tmp_path)
    assert "c4" not in adata.obs_names
    assert "g7" not in adata.var_names
    assert np.isfinite(adata.X.data).all()
    assert any("never seen" in step for step in journal.steps)


def test_repeated_gene_names_get_numbers(tmp_path):  # row 39
    screen = small_screen()
    screen.var_names = ["same", "same", *screen.var_names[2:]]
    adata, _, journal = prepared(screen, tmp_path)
    assert adata.var_names.is_unique
    assert any("1 genes had a name" in note for note in journal.notes)


def test_cell_cycle_is_scored_from_one_file_or_two(tmp_path):
    screen = small_screen(400)
    s_genes, g2m_genes = [f"g{i}" for i in range(43)], [f"g{i}" for i in range(60, 90)]
    (tmp_path / "both.txt").write_text("\n".join(s_genes + g2m_genes) + "\n\n")
    (tmp_path / "s.txt").write_text("\n".join(s_genes))
    (tmp_path / "g2m.txt").write_text("\n".join(g2m_genes))
    one, _, _ = prepared(screen, tmp_path, "--cell-cycle-genes", str(tmp_path / "both.txt"))
    two, _, _ = prepared(
        screen, tmp_path, "--s-genes", str(tmp_path / "s.txt"), "--g2m-genes", str(tmp_path / "g2m.txt")
    )
    assert one.obs["S_score"].std() > 0
    np.testing.assert_array_equal(one.obs["S_score"], two.obs["S_score"])
    np.testing.assert_array_equal(one.obs["G2M_score"], two.obs["G2M_score"])
    (tmp_path / "mouse.txt").write_text("\n".join(f"G{i}" for i in range(90)))
    _, _, journal = prepared(screen, tmp_path, "--cell-cycle-genes", str(tmp_path / "mouse.txt"))
    assert any("no cell-cycle scores" in note for note in journal.notes)


def test_variable_genes_are_a_mask(tmp_path):  # row 44
    adata, chosen, _ = prepared(small_screen(300), tmp_path, "--n-top-genes", "50")
    assert chosen["mask_var"] == "highly_variable"
    assert adata.var["highly_variable"].sum() == 50
    assert adata.n_vars > 250


# --- bad input: exit code 2 and one line ---------------------------------------------------------------------------

BAD = {
    "no such file": (["run", "{files}/nowhere.h5ad", "--groupby", "x", "--control", "y"], "does not exist"),
    "a folder": (["run", "{files}", "--groupby", "x", "--control", "y"], "is a folder"),
    "not an h5ad": (["run", "{files}/sets.gmt", "--groupby", "x", "--control", "y"], "cannot be read as an .h5ad"),
    "unknown column (36)": (
        ["{run}", "--groupby", "guid"],
        "'guid' is no column of .obs. There: 'perturbation', 'guide'",
    ),
    "unknown control (48)": (["{run}", "--control", "NTC"], "'NTC' is no level of 'perturbation'. There: "),
    "unknown layer (36)": (["{run}", "--layer", "raw"], "is no layer. There: none"),
    "unknown batch": (["{run}", "--batch", "lane"], "'lane' is no column of .obs"),
    "unknown replicate": (["{run}", "--replicate", "grna"], "--replicate='grna' is no column of .obs"),
    "unknown stratum": (["{run}", "--strata", "batch", "lane"], "--strata='lane' is no column of .obs"),
    "replicate in two groups": (["{run}", "--replicate", "batch"], "replicate"),
    "not boolean": (["{run}", "--subset-obs", "guide"], "is not true or false everywhere"),
    "k = 0 (23)": (["{run}", "-k", "0"], "'0' is not a whole number of at least 1"),
    "k = 2.5 (24)": (["{run}", "-k", "2.5"], "'2.5' is not a whole number"),
    "huge k (28)": (["{run}", "-k", "1000000"], "far beyond"),
    "unknown init (32)": (["{run}", "--init", "magic"], "invalid choice: 'magic'"),
    "missing GMT (63)": (["{run}", "--gene-sets", "{files}/no.gmt"], "does not exist"),
    "not a GMT (64)": (["{run}", "--gene-sets", "{files}/screen.h5ad.gmt"], "no text file"),
    "wrong genes (68)": (["{run}", "--gene-sets", "{files}/other.gmt"], "match the case"),
    "cell-cycle file": (["{run}", "--cell-cycle-genes", "{files}/no.txt"], "cannot be read"),
    "half of the cell cycle": (["{run}", "--s-genes", "{files}/sets.gmt"], "both --s-genes and --g2m-genes"),
    "short cell-cycle file": (["{run}", "--cell-cycle-genes", "{files}/other.gmt"], "43 of S phase"),
    "nothing left": (["{run}", "--min-counts", "1e9"], "No cell is left"),
    "no gene left": (["{run}", "--min-cells", "100000"], "No gene is seen"),
    "no mitochondria": (["{run}", "--max-mito", "5", "--mito-prefix", "XX"], "no gene starts with XX"),
    "mito above 100": (["{run}", "--max-mito", "120"], "not a percentage"),
    "out is a file": (["{run}", "-o", "{files}/sets.gmt"], "is a file, not a folder"),
    "out in a file": (["{run}", "-o", "{files}/sets.gmt/out"], "is a file, not a folder"),
    "no command": ([], "required"),
    "centred on no control": (
        ["run", "{files}/screen.h5ad", "--groupby", "cell_type", "--center", "control"],
        "--center='control' needs --control",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_line_and_exit_code_2(files, tmp_path, capsys, case):
    (files / "screen.h5ad.gmt").write_bytes((files / "screen.h5ad").read_bytes()[:2000])
    (files / "other.gmt").write_text("\n".join(f"set{i}\t\tGENE_000{i}\tGENE_001{i}" for i in range(9)))
    words, message = BAD[case]
    out = tmp_path / "out"
    argv = [word.format(files=files, run="{run}") for word in words]
    if argv and argv[0] == "{run}":
        argv = arguments(files, out, *argv[1:])
    elif argv and "-o" not in argv:
        argv += ["-o", str(out), "--quiet"]
    assert main(argv) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert message in lines[0]
    assert "Traceback" not in captured.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.X.data.__setitem__(3, np.nan), "1 NaN or infinite"),  # row 1
        (lambda a: a.X.data.__setitem__(3, np.inf), "1 NaN or infinite"),  # row 2
        (lambda a: setattr(a, "X", a.X * 0), "No cell is left"),  # row 4
        (lambda a: a.obs.__setitem__("perturbation", "NT"), "nothing to compare"),  # row 49
        (lambda a: a.obs.__setitem__("perturbation", [f"p{i}" for i in range(59)] + ["NT"]), "single cell"),  # row 51
        (lambda a: setattr(a, "X", None), "no expression matrix"),  # row 19
    ],
)
def test_bad_data_give_exit_code_2(tmp_path, capsys, change, message):
    adata = small_screen()
    change(adata)
    adata.write_h5ad(tmp_path / "in.h5ad")
    argv = ["run", str(tmp_path / "in.h5ad"), "--groupby", "perturbation", "--control", "NT", "-k", "2", "--quiet"]
    assert main([*argv, "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_figures")
def test_missing_labels_are_noted_and_left_out(tmp_path, capsys):  # rows 52, 53
    adata = small_screen()
    adata.obs.loc[adata.obs_names[:4], "perturbation"] = np.nan
    adata.obs["perturbation"] = adata.obs["perturbation"].cat.add_categories("unused")
    adata.write_h5ad(tmp_path / "in.h5ad")
    argv = ["run", str(tmp_path / "in.h5ad"), "--groupby", "perturbation", "--control", "NT", "-k", "2"]
    assert main([*argv, "-o", str(tmp_path / "out")]) == 0
    assert "missing for 4 of 60 cells" in capsys.readouterr().err
    assert "3 groups of perturbation" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


# --- failures on the way -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted; nothing was written"),  # row 88
        (OSError(errno.ENOSPC, "No space left on device"), 1, "No space left on device"),  # row 82
        (MemoryError("big"), 1, "not enough memory"),
        (ZeroDivisionError("odd"), 1, "unexpected ZeroDivisionError: odd"),
    ],
)
def test_failure_leaves_an_older_run_as_it_was(files, tmp_path, monkeypatch, capsys, error, code, message):
    out = tmp_path / "out"
    out.mkdir()
    (out / "programs.h5ad").write_text("of an older run")
    (out / "report.html").write_text("of an older run")
    before = snapshot(out)

    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr(_analysis.report, "write_html", fail)  # the last step: all else is written by then
    assert main(arguments(files, out)) == code
    captured = capsys.readouterr().err
    assert message in captured
    assert "Traceback" not in captured
    assert snapshot(out) == before


FULL = """
import resource, signal, sys
from pathlib import Path
import scprograms as scp
from scprograms.pipeline._h5ad import write_h5ad
adata = scp.datasets.simulate_screen(700, 300, 6, n_perturbations=5)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    write_h5ad(adata, Path(sys.argv[1]))
except OSError as error:
    print("OSError", error.errno)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("size", [0, 5_000, 100_000])
def test_full_disk_gives_an_error_and_no_crash(tmp_path, size):  # row 82
    path = tmp_path / "programs.h5ad"
    path.write_text("of an older run")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", FULL, str(path), str(size)]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, done.stdout) == (0, f"OSError {errno.EFBIG}\n"), done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_text() == "of an older run"
    assert list(tmp_path.iterdir()) == [path]


def test_h5ad_holds_all_that_anndata_writes(tmp_path):
    adata = scp.datasets.simulate_screen(300, 200, 6, n_perturbations=3)
    adata.obs["text"] = ["a", "b"] * 150
    write_h5ad(adata, tmp_path / "ours.h5ad")
    adata.write_h5ad(tmp_path / "theirs.h5ad", compression="gzip")
    with h5py.File(tmp_path / "ours.h5ad") as ours, h5py.File(tmp_path / "theirs.h5ad") as theirs:
        found = {name: ({}, {}) for name in ("", *_names(theirs))}
        for i, file in enumerate((ours, theirs)):
            for name in ("", *_names(file)):
                item = file[name or "/"]
                found[name][i].update({key: str(value) for key, value in item.attrs.items()})
                if isinstance(item, h5py.Dataset):
                    found[name][i]["content"] = str(np.asarray(item[()]).tolist())
        assert all(one == two for one, two in found.values())


def _names(file):
    names = []
    file.visit(names.append)
    return names


def test_debug_shows_where(files, tmp_path, capsys):
    assert main(arguments(files, tmp_path / "out", "--groupby", "guid", "--debug")) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_a_run_without_a_trace(files, tmp_path, number, code):
    out = tmp_path / "out"
    argv = [sys.executable, "-m", "scprograms", *arguments(files, out, "--umap")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MPLBACKEND": "Agg"}
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=env) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("out/.scprograms-unfinished-*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        error = process.communicate(timeout=60)[1]
    assert process.returncode == code, error
    assert "Traceback" not in error
    assert "nothing was written" in error
    assert list(tmp_path.iterdir()) == []


def test_version_and_module(capsys, monkeypatch):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"scprograms {scp.__version__}\n"
    monkeypatch.setattr(sys, "argv", ["scprograms", "--version"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("scprograms", run_name="__main__")
    assert end.value.code == 0


# --- a real screen -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not PAPALEXI.exists(), reason="the Papalexi screen is not beside the project")
def test_interferon_response_is_lost_in_papalexi(tmp_path):
    argv = ["run", str(PAPALEXI), "--groupby", "perturbation", "--control", "non-targeting", "-k", "20"]
    argv += ["--subset-obs", "guide_confident", "--gene-sets", str(GO), "--n-genes", "30", "--min-size", "5"]
    argv += ["--replicate", "guide", "--strata", "bio_rep"]
    assert main([*argv, "-o", str(tmp_path / "out"), "--quiet"]) == 0
    adata = ad.read_h5ad(tmp_path / "out" / "programs.h5ad")
    assert adata.shape == (16_192, 299)
    program = get.anova(adata, "perturbation")["eta_squared"].idxmax()
    effects = pd.read_csv(tmp_path / "out" / "perturbation_effects.csv").set_index(["program", "perturbation"])
    table = effects["effect"]
    strongest = table[program].abs().nlargest(4)
    assert set(strongest.index) == {"IFNGR1", "IFNGR2", "JAK2", "STAT1"}
    assert (effects.loc[program].loc[strongest.index, "q"] < 1e-10).all()
    assert effects.loc[program].loc[strongest.index, "n_replicates"].tolist() == [4] * 4
    summary = get.calibration(adata, "perturbation", what="summary").iloc[0]
    assert summary["lambda_low"] < 1 < summary["lambda_high"]
    assert summary["n_hits"] == 0
    end = "down" if table[program][strongest.index].min() > 0 else "up"
    genes = get.top_genes(adata, direction=end, n_genes=5)[program]
    assert {"STAT1", "PSMB9", "UBE2L6"} <= set(genes)
    terms = get.enrichment(adata, programs=program, direction=end, max_q=0.05)
    assert terms["term"].str.contains("cytokine|JAK-STAT").any()
    assert "PSMB9" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
