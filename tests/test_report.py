"""Files that are whole or not there, and what is in the page, the Excel file and the lists."""

from __future__ import annotations

import html
import os
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest

from factorized import CONTROL, add_anova, add_enrichment, factorized_screen
from scprograms import get, pl, report, tl
from scprograms._core import files as _files
from scprograms.report import _excel
from scprograms.report._effects import calibration_in_words, strongest
from scprograms.report.formats import enumerate_names, format_difference, format_q


def analysed_screen(**columns):
    adata = factorized_screen()
    table = add_anova(adata).assign(eta_squared=[np.nan, 0.01, 0.02, 0.3], n_groups=6, **columns)
    adata.uns["semi_nmf"]["anova"]["perturbation"] = table
    tl.perturbation_effects(adata, "perturbation", CONTROL, n_jobs=1)
    return adata


def add_guides(adata, n=8):
    """Name guides, n of each perturbation, and run the tests that need them."""
    number = adata.obs.groupby("perturbation", observed=True).cumcount() % n
    adata.obs["guide"] = [f"{group}_{i}" for group, i in zip(adata.obs["perturbation"], number, strict=True)]
    tl.perturbation_effects(adata, "perturbation", CONTROL, replicate="guide")
    tl.calibrate(adata, "perturbation", CONTROL, replicate="guide", n_splits=4, group_size=2)


@pytest.fixture(scope="module")
def screen():
    adata = analysed_screen()
    adata.uns["semi_nmf"]["enrichment"] = add_enrichment(adata).assign(overlap=2, term_size=5)
    return adata


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class Page(HTMLParser):
    """What a page refers to, and what stands in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.references, self.tags, self.text, self.html = [], [], [], html
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data):
        self.text.append(data)


def write_page(adata, folder, **options):
    path = folder / "report.html"
    report.write_html(adata, "perturbation", path, control=CONTROL, **{"pictures": [], **options})
    return Page(path.read_text(encoding="utf-8"))


# --- files ---------------------------------------------------------------------------------------------------------


def test_atomic_path_replaces_only_when_all_went_well(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="in the middle"), _files.atomic_path(path) as part:  # noqa: PT012
        part.write_text("half")
        assert part.suffix == ".csv"
        raise RuntimeError("in the middle")
    assert path.read_text() == "old"
    with _files.atomic_path(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["table.csv"]


def test_atomic_path_says_that_nothing_was_written(tmp_path):
    with pytest.raises(FileNotFoundError), _files.atomic_path(tmp_path / "empty.csv"):
        pass
    assert names(tmp_path) == []


def test_staged_folder_moves_all_files_at_the_end(tmp_path):
    out = tmp_path / "new" / "out"
    with _files.staged_folder(out) as stage:
        (stage / "figures").mkdir()
        (stage / "figures" / "a.png").write_text("a")
        assert not (out / "figures").exists()
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*")) == ["figures", "figures/a.png"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_staged_folder_leaves_an_older_run_as_it_was(tmp_path, error):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(error), _files.staged_folder(tmp_path, replaces=["*.txt"]) as stage:  # noqa: PT012
        (stage / "a.txt").write_text("new")
        raise error
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_staged_folder_removes_the_folder_that_it_made_in_vain(tmp_path):
    with pytest.raises(RuntimeError), _files.staged_folder(tmp_path / "new" / "out"):
        raise RuntimeError
    assert names(tmp_path) == []


@pytest.mark.parametrize("n_made", [1, 2, 3])
def test_staged_folder_leaves_nothing_where_a_signal_comes_between_its_steps(tmp_path, monkeypatch, n_made):
    mkdir, seen = Path.mkdir, []

    def interrupted(path, *args, **kwargs):
        mkdir(path, *args, **kwargs)
        seen.append(path)
        if len(seen) == n_made:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt), _files.staged_folder(tmp_path / "new" / "out"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_staged_folder_removes_results_of_an_older_run_but_no_other_files(tmp_path):
    for name in ("program_0.csv", "program_9.csv", "mine.csv"):
        (tmp_path / name).write_text("old")
    with _files.staged_folder(tmp_path, replaces=["program_*.csv"]) as stage:
        (stage / "program_0.csv").write_text("new")
    assert names(tmp_path) == ["mine.csv", "program_0.csv"]
    assert (tmp_path / "program_0.csv").read_text() == "new"


def test_staged_folder_moves_nothing_where_a_folder_is_in_the_way(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "b.txt").mkdir()
    with pytest.raises(IsADirectoryError, match=r"b\.txt is a folder"), _files.staged_folder(tmp_path) as stage:  # noqa: PT012
        (stage / "a.txt").write_text("new")
        (stage / "b.txt").write_text("new")
    assert (tmp_path / "a.txt").read_text() == "old"


def test_two_runs_cannot_write_into_one_folder(tmp_path):  # row 83
    with _files.staged_folder(tmp_path) as stage:
        (stage / "a.txt").write_text("first")
        with pytest.raises(_files.FolderInUseError, match="Another run is writing"), _files.staged_folder(tmp_path):
            pass
    assert names(tmp_path) == ["a.txt"]


KILLED = """
import sys, time
from scprograms._core import files
with files.staged_folder(sys.argv[1]) as stage:
    (stage / "a.txt").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_a_killed_run_leaves_old_files_and_frees_the_folder(tmp_path):  # row 81
    (tmp_path / "a.txt").write_text("old")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=env
    ) as process:
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
    assert (tmp_path / "a.txt").read_text() == "old"
    with _files.staged_folder(tmp_path) as stage:
        (stage / "a.txt").write_text("new")
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "new"


# --- numbers -------------------------------------------------------------------------------------------------------


def test_small_groups_are_never_the_strongest():
    table = pd.DataFrame({"name": list("abcd"), "n_cells": [3, 50, 50, 50], "effect": [9.0, -2.0, 1.0, np.nan]})
    assert strongest(table, n_top=2)["name"].tolist() == ["b", "c"]


@pytest.mark.parametrize(
    ("q", "text"), [(0.0, "< 1e-300"), (3.14159e-45, "3.1e-45"), (0.012345, "0.012"), (np.nan, "–"), (1.0, "1")]
)
def test_q_values_are_short(q, text):
    assert format_q(q) == text


def test_names_are_enumerated():
    assert enumerate_names(["a"]) == "a"
    assert enumerate_names(["a", "b", "c"]) == "a, b and c"
    assert enumerate_names(list("abcde"), at_most=3) == "a, b, c and 2 more"
    assert enumerate_names([]) == "none"
    assert format_difference(-0.5) == "−0.50"


# --- the page ------------------------------------------------------------------------------------------------------


def test_page_needs_nothing_from_outside(screen, tmp_path):
    pictures = report.write_figures(screen, "perturbation", tmp_path, control=CONTROL, formats=("png",))
    page = write_page(screen, tmp_path, pictures=pictures)
    outside = [value for value in page.references if not value.startswith(("#", "data:image/png;base64,"))]
    assert outside == []
    assert "link" not in page.tags
    assert "iframe" not in page.tags
    assert "http" not in re.sub(r'http-equiv="', "", page.html)
    assert page.tags.count("img") == len(pictures) == 7
    assert "default-src 'none'" in page.html


def test_page_shows_both_ends_of_every_program(screen, tmp_path):
    page = write_page(screen, tmp_path)
    for direction in ("up", "down"):
        top = get.top_genes(screen, n_genes=4, direction=direction)
        for program in top:
            assert ", ".join(top[program]) in page.html, (program, direction)


def test_page_says_how_far_the_strongest_perturbation_moves_a_program(screen, tmp_path):
    page = write_page(screen, tmp_path)
    table = get.effects(screen, "perturbation")
    found = set()
    for program in get.usages(screen):
        top = strongest(table[table["program"] == program], n_top=1).iloc[0]
        passed = top["q"] <= 0.05
        found.add(passed)
        name = f"{top['perturbation']} ({format_difference(top['effect'])})"
        assert f'<span class="{"" if passed else "not"}">{name}</span>' in page.html
        assert (f"under {name}" in page.html) == (passed and abs(top["effect"]) >= 0.2)
    assert True in found
    n_found = int((table["q"] <= 0.05).sum())
    assert f"{n_found} of {len(table)} effects have q" in page.html
    assert page.html.count('<td class="c found"') == n_found


def test_page_names_no_effect_that_could_be_chance(tmp_path):
    adata = analysed_screen()
    table = adata.uns["semi_nmf"]["effects"]["perturbation"]
    adata.uns["semi_nmf"]["effects"]["perturbation"] = table.assign(q=0.5)
    page = write_page(adata, tmp_path)
    assert "None of the 20 effects" in page.html
    assert "used more under" not in page.html
    assert "used less under" not in page.html


def test_page_refuses_effects_against_something_else(screen, tmp_path):
    adata = screen.copy()
    tl.perturbation_effects(adata, "perturbation", "target_0", n_jobs=1)
    with pytest.raises(ValueError, match="tested against target_0"):
        write_page(adata, tmp_path)
    tl.perturbation_effects(adata, "perturbation", versus="rest", n_jobs=1)
    with pytest.raises(ValueError, match="tested against all other cells"):
        write_page(adata, tmp_path)
    del adata.uns["semi_nmf"]["effects"]
    with pytest.raises(KeyError, match="perturbation_effects"):
        write_page(adata, tmp_path)


def test_page_needs_its_folder(screen, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder '.*nowhere' does not exist\. Make it first"):
        report.write_html(screen, "perturbation", tmp_path / "nowhere" / "report.html", control=CONTROL)


@pytest.mark.filterwarnings("ignore:.*may hold guides or replicates")
@pytest.mark.parametrize("control", [False, "False"])
@pytest.mark.parametrize("tested", [False, "False"])
def test_page_of_a_column_of_booleans(screen, tmp_path, control, tested):
    """The control of such a column may be named as the value that is in it, or as the text that tables have."""
    adata = screen.copy()
    adata.obs["changed"] = (adata.obs["perturbation"] != CONTROL).to_numpy()
    tl.program_anova(adata, "changed", method="permutation", n_jobs=1)
    tl.perturbation_effects(adata, "changed", tested, n_jobs=1)
    path = tmp_path / "report.html"
    report.write_html(adata, "changed", path, control=control, pictures=[])
    assert "Compared with False cells" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="were tested against False"):
        report.write_html(adata, "changed", path, control=True, pictures=[])


def test_page_without_a_control(screen, tmp_path):
    adata = screen.copy()
    path = tmp_path / "report.html"
    with pytest.raises(ValueError, match="versus='rest'"):
        report.write_html(adata, "perturbation", path, pictures=[])
    tl.perturbation_effects(adata, "perturbation", versus="rest", n_jobs=1)
    report.write_html(adata, "perturbation", path, pictures=[])
    page = Page(path.read_text(encoding="utf-8"))
    assert f"{adata.obs['perturbation'].nunique()} groups of perturbation, compared with all other cells" in page.html
    assert "mean usage to all other cells" in page.html
    text = " ".join(
        re.sub(r"<style.*?</style>|<script.*?</script>|<pre.*?</pre>|<[^>]+>", " ", page.html, flags=re.S).split()
    )
    assert "Groups × programs" in text
    assert "Strongest groups" in text
    assert not re.search(r"\b[Pp]erturbations\b|a perturbation\b|[Nn]o perturbation\b", text)
    code = html.unescape(page.html)
    assert re.search(r"scp.tl.perturbation_effects\(adata, 'perturbation', [^)]*versus='rest'", code)
    assert "scp.report.write_html(adata, 'perturbation', \"report.html\")" in code
    pictures = report.write_figures(adata, "perturbation", tmp_path / "figures", formats=("png",))
    told = {picture.name: picture.caption for picture in pictures}
    assert "mean usage to all other cells" in told["effects_dotplot"]
    assert "Cells are sorted by perturbation and" in told["usage_heatmap"]
    assert not any("None" in caption or "perturbations" in caption for caption in told.values())
    ax = pl.effects_dotplot(adata, "perturbation", show=False)
    assert ax.get_title(loc="left").startswith("Programs in ")
    ax = pl.volcano(adata, "perturbation", program="program_0", show=False)
    assert re.search(r"groups; \d+ use it more, \d+ less, at q", ax.get_title(loc="left"))


def test_page_shows_calibration_and_names(screen, tmp_path):
    adata = screen.copy()
    assert "Does the test hold?" not in write_page(adata, tmp_path).html
    add_guides(adata)
    tl.annotate_programs(adata)
    pictures = report.write_figures(adata, "perturbation", tmp_path, control=CONTROL, formats=("png",))
    assert {"effects_dotplot", "calibration"} < {picture.name for picture in pictures}
    page = write_page(adata, tmp_path, pictures=pictures)
    summary = get.calibration(adata, "perturbation", what="summary").iloc[0]
    assert f"λ is {summary['lambda']:.2f} (95" in page.html
    assert f"{summary['lambda_low']:.2f} to {summary['lambda_high']:.2f})" in page.html
    assert "the 8 non-targeting guides were put into random groups of 2" in page.html
    assert "t test between levels of guide" in page.html
    text = "".join(page.text)
    for name in adata.uns["semi_nmf"]["programs"]["name"]:
        assert text.count(name) >= 2


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.9, 1.3, "the interval holds 1"),
        (0.5, 1.3, "the interval is wide"),
        (1.05, 1.3, "a little too much"),
        (1.2, 1.5, "the test finds too much"),
        (0.6, 0.9, "the test is careful"),
        (np.nan, np.nan, "it says little"),
    ],
)
def test_lambda_is_told_in_words(screen, low, high, verdict):
    adata = screen.copy()
    add_guides(adata)
    summary = adata.uns["semi_nmf"]["calibration_summary"]["perturbation"]
    adata.uns["semi_nmf"]["calibration_summary"]["perturbation"] = summary.assign(lambda_low=low, lambda_high=high)
    words = " ".join(calibration_in_words(adata, "perturbation", key="semi_nmf"))
    assert verdict.lower() in words.lower()
    assert "in another way" not in words
    with pytest.warns(UserWarning, match="guide"):
        tl.perturbation_effects(adata, "perturbation", CONTROL, n_jobs=1)
    assert "in another way" in " ".join(calibration_in_words(adata, "perturbation", key="semi_nmf"))


def test_page_warns_about_cells_as_replicates(screen, tmp_path):
    text = " ".join(write_page(screen, tmp_path).text)
    assert "take every cell as an independent replicate" in text
    assert "no column that tells guides or replicates apart" in text
    adata = screen.copy()
    adata.obs["guide_id"] = pd.Categorical([f"g{i % 9}" for i in range(adata.n_obs)])
    text = " ".join(write_page(adata, tmp_path).text)
    assert "guide_id with 9 levels" in text
    assert "they were not used as replicates in the test" in text


def test_page_says_which_test_was_made_and_what_it_left_out(tmp_path):
    adata = analysed_screen(method="anova", unused_replicates="pool")
    adata.obs["pool"] = pd.Categorical([f"p{i % 9}" for i in range(adata.n_obs)])
    text = " ".join(write_page(adata, tmp_path).text)
    assert "pool with 9 levels" in text  # the name alone does not tell
    assert "one-way analysis of variance on the cells" in text
    adata = analysed_screen(method="replicate", unused_replicates="")
    text = " ".join(write_page(adata, tmp_path).text)
    assert "analysis of variance with guides or replicates as the unit" in text
    assert "take guides or replicates as the unit" in text
    assert "every cell as an independent replicate" not in text


def test_page_takes_names_as_text(screen, tmp_path):
    adata = screen.copy()
    bad = "<script>alert(1)</script>"
    adata.var_names = [f"{bad}{i}" for i in range(adata.n_vars)]
    adata.obs["perturbation"] = adata.obs["perturbation"].cat.rename_categories({"target_0": f'"><img src=x {bad}'})
    tl.perturbation_effects(adata, "perturbation", CONTROL, n_jobs=1)
    table = get.enrichment(adata)
    adata.uns["semi_nmf"] = {**adata.uns["semi_nmf"], "enrichment": table.assign(term=bad, genes=bad)}
    page = write_page(adata, tmp_path, title=bad, notes=[bad], steps=[bad], parameters={bad: bad}, repeat={bad: bad})
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert "&lt;script&gt;alert(1)" in page.html


def test_page_without_gene_sets_or_significant_programs(tmp_path):
    page = write_page(analysed_screen(q=1.0), tmp_path)
    text = " ".join(page.text)
    assert "0 of 4 programs differ" in text
    assert "No program is told apart from chance" in text
    assert "top term" not in text


def test_page_refuses_what_was_not_tested(tmp_path):
    with pytest.raises(KeyError, match="anova"):
        write_page(factorized_screen(), tmp_path)
    assert names(tmp_path) == []


def test_figures_without_significant_terms_have_no_dot_plot(tmp_path):
    adata = factorized_screen(n_programs=2)
    table = add_enrichment(adata)
    adata.uns["semi_nmf"]["enrichment"] = table.assign(q=1.0)
    with pytest.warns(UserWarning, match="No gene set has q <= 0.05"):
        pictures = report.write_figures(adata, "perturbation", tmp_path, control=CONTROL, formats=("png",))
    assert "enrichment_dotplot" not in [picture.name for picture in pictures]


# --- Excel and lists -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["programs.xls", "programs.csv", "programs"])
def test_excel_needs_its_suffix(screen, tmp_path, name):
    with pytest.raises(ValueError, match=r"does not end in '\.xlsx'"):
        report.write_excel(screen, "perturbation", tmp_path / name)
    assert not names(tmp_path)


def test_excel_holds_the_tables(screen, tmp_path):
    path = tmp_path / "programs.xlsx"
    report.write_excel(screen, "perturbation", path, parameters={"k": 4})
    sheets = pd.read_excel(path, sheet_name=None, keep_default_na=False)
    assert list(sheets) == [
        "W_ANOVA",
        "Significant Factors",
        "Pathway Enrichment",
        "Top Pathways",
        "Perturbation Effects",
        "Parameters",
        "Versions",
    ]
    anova = get.anova(screen, "perturbation")
    assert sheets["W_ANOVA"]["program"].tolist() == anova.index.tolist()
    assert sheets["W_ANOVA"]["q"].iloc[0] == ""  # not defined
    np.testing.assert_allclose(sheets["W_ANOVA"]["log10_p"].iloc[1:].astype(float), anova["log10_p"].iloc[1:])
    assert sheets["Significant Factors"]["program"].tolist() == ["program_3", "program_2", "program_1"]
    effects = get.effects(screen, "perturbation")
    assert sheets["Perturbation Effects"]["perturbation"].tolist() == effects["perturbation"].tolist()
    np.testing.assert_allclose(sheets["Perturbation Effects"]["q"], effects["q"], rtol=1e-12)
    terms = get.enrichment(screen)
    assert len(sheets["Pathway Enrichment"]) == len(terms)
    np.testing.assert_allclose(sheets["Pathway Enrichment"]["p"], terms["p"], rtol=1e-12)
    best = sheets["Top Pathways"]
    assert (best["q"] <= 0.05).all()
    assert best.groupby(["program", "direction"]).size().max() <= 3
    assert [sheets["Parameters"].iloc[0, 0], int(sheets["Parameters"].iloc[0, 1])] == ["k", 4]
    assert "anndata" in set(sheets["Versions"]["software"])


def test_excel_holds_names_and_calibration(screen, tmp_path):
    adata = screen.copy()
    add_guides(adata)
    tl.annotate_programs(adata)
    report.write_excel(adata, "perturbation", tmp_path / "programs.xlsx")
    sheets = pd.read_excel(tmp_path / "programs.xlsx", sheet_name=None, index_col=None)
    names = adata.uns["semi_nmf"]["programs"]["name"]
    for sheet in ("W_ANOVA", "Significant Factors", "Perturbation Effects"):
        table = sheets[sheet]
        assert table["name"].tolist() == names[table["program"]].tolist()
    found = sheets["Calibration"].set_index("quantity")["value"]
    summary = get.calibration(adata, "perturbation", what="summary").iloc[0]
    assert found["lambda"] == pytest.approx(summary["lambda"], rel=1e-12)
    assert found["replicate"] == "guide"


def test_excel_never_runs_or_links_what_a_name_holds(screen, tmp_path):
    adata = screen.copy()
    bad = ["=1+1", "@SUM(A1)", "http://example.org", "{=A1}", "+3", "x" * 40_000]
    table = get.enrichment(adata).head(len(bad)).assign(term=bad)
    adata.uns["semi_nmf"] = {**adata.uns["semi_nmf"], "enrichment": table}
    path = tmp_path / "programs.xlsx"
    report.write_excel(adata, "perturbation", path)
    sheet = openpyxl.load_workbook(path)["Pathway Enrichment"]
    cells = [row[3] for row in sheet.iter_rows(min_row=2)]
    assert {cell.data_type for cell in cells} == {"s"}
    assert {cell.value for cell in cells} >= set(bad[:-1])
    assert max(len(cell.value) for cell in cells) == 32_767
    assert all(cell.hyperlink is None for cell in cells)


def test_excel_says_where_it_stops(screen, tmp_path, monkeypatch):
    monkeypatch.setattr(_excel, "MAX_ROWS", 5)
    report.write_excel(screen, "perturbation", tmp_path / "programs.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "programs.xlsx")["Pathway Enrichment"]
    assert sheet.max_row == 1 + 5 + 1
    assert sheet.cell(7, 1).value == "The first 5 of 24 rows; the others are in the AnnData."


def test_gene_lists_hold_both_ends(screen, tmp_path):
    files = report.write_gene_lists(screen, tmp_path / "top_genes", n_genes=10)
    assert len(files) == 8
    loadings = get.loadings(screen)["program_2"]
    up = pd.read_csv(tmp_path / "top_genes" / "program_2_top10_genes.csv")
    down = pd.read_csv(tmp_path / "top_genes" / "program_2_top10_genes_down.csv")
    assert up["gene"].tolist() == loadings.nlargest(10).index.tolist()
    assert down["gene"].tolist() == loadings.nsmallest(10).index.tolist()
    np.testing.assert_allclose(up["loading"], loadings[up["gene"]], rtol=1e-5)


def test_template_is_part_of_the_package():
    assert (Path(report.__file__).parent / "report.html.jinja").is_file()


def test_import_is_light():
    code = "import sys, anndata; before = set(sys.modules); import scprograms.report, scprograms.cli; "
    code += "print(*sorted(set(sys.modules) - before))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    heavy = {"scanpy", "matplotlib.pyplot", "xlsxwriter", "jinja2", "gseapy", "seaborn", "torch"}
    assert not heavy & set(done.stdout.split())


def test_excel_can_be_filtered_and_read(screen, tmp_path):
    path = tmp_path / "programs.xlsx"
    report.write_excel(screen, "perturbation", path)
    for sheet in openpyxl.load_workbook(path):
        assert sheet.freeze_panes == "B2", sheet.title
        assert sheet.auto_filter.ref == sheet.dimensions, sheet.title
        for column in sheet.columns:
            width = sheet.column_dimensions[column[0].column_letter].width
            assert len(str(column[0].value)) + 3 <= width <= 61, (sheet.title, column[0].value)
    effects = openpyxl.load_workbook(path)["Perturbation Effects"]
    titles = [cell.value for cell in effects[1]]
    forms = {title: effects.cell(2, 1 + at).number_format for at, title in enumerate(titles)}
    assert forms["q"] == forms["p"] == "0.00E+00"
    assert forms["n_cells"] == "#,##0"
    assert forms["effect"] in ("0.000", "0.00E+00")
    parameters = openpyxl.load_workbook(path)["Parameters"]
    found = {row[0].value: row[1].value for row in parameters.iter_rows(min_row=2)}
    assert isinstance(found["rows of 'W_ANOVA'"], int)  # a number, not its text


def test_code_on_the_page_makes_the_same_tables(tmp_path):
    import scprograms as scp

    adata = factorized_screen(n_cells=300)
    fresh = adata.copy()
    X = np.abs(adata.X if isinstance(adata.X, np.ndarray) else adata.X.toarray()) + 0.1
    for each in (adata, fresh):
        each.X = X.astype(np.float32)
        number = each.obs.groupby("perturbation", observed=True).cumcount() % 6
        each.obs["guide"] = [f"{group}_{i}" for group, i in zip(each.obs["perturbation"], number, strict=True)]
    tl.semi_nmf(adata, 3, l1=0.05, random_state=7)
    tl.program_anova(adata, "perturbation", method="replicate", replicate="guide")
    tl.perturbation_effects(adata, "perturbation", CONTROL, replicate="guide")
    tl.calibrate(adata, "perturbation", CONTROL, replicate="guide", n_splits=4, group_size=2)
    page = write_page(adata, tmp_path)
    assert "The code that made it" in page.html
    code = html.unescape(re.search(r"<pre>(.*?)</pre>", page.html, re.DOTALL)[1])
    code = code.partition("\n\nscp.report")[0]
    exec(code, {"adata": fresh})
    pd.testing.assert_frame_equal(get.anova(fresh, "perturbation"), get.anova(adata, "perturbation"))
    pd.testing.assert_frame_equal(get.effects(fresh, "perturbation"), get.effects(adata, "perturbation"))
    one, two = (get.calibration(each, "perturbation", what="summary") for each in (fresh, adata))
    pd.testing.assert_frame_equal(one, two)
    assert f"scprograms {scp.__version__}" in page.html


def test_captions_say_test_unit_number_and_what_q_means(screen, tmp_path):
    adata = screen.copy()
    add_guides(adata)
    adata.uns["semi_nmf"]["anova"]["perturbation"]["method"] = "replicate"
    pictures = report.write_figures(adata, "perturbation", tmp_path, control=CONTROL, formats=())
    captions = {picture.name: picture.caption for picture in pictures}
    n = int(get.effects(adata, "perturbation")["p"].notna().sum())
    assert f"{n:,} tests" in captions["effects_dotplot"]
    assert "the unit is the guide, not the cell" in captions["effects_dotplot"]
    assert "the unit is the guide, not the cell" in captions["program_boxplot"]
    assert "3 programs tested" in captions["program_boxplot"]
    assert "the unit is the gene" in captions["enrichment_dotplot"]
    assert f"{len(get.enrichment(adata)):,} tests" in captions["enrichment_dotplot"]
    for name in ("effects_dotplot", "program_boxplot", "enrichment_dotplot"):
        assert "q is the p-value adjusted for the number of tests" in captions[name]
    for name in set(captions) - {
        "effects_dotplot",
        "program_boxplot",
        "enrichment_dotplot",
        "calibration",
        "convergence",
    }:
        assert "o test is involved" in captions[name], name
