"""The page as a browser shows it: what a click, a key and a search do. Skipped where there is no Chromium."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from factorized import CONTROL, add_anova, factorized_screen
from scprograms import report, tl

if TYPE_CHECKING:
    from pathlib import Path

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")

SCRIPT = """<script>
addEventListener("load", () => {
  const of = id => {
    let found = document.getElementById(id);
    while (!found.querySelector("table")) found = found.nextElementSibling;
    return found.querySelector("table");
  };
  const shown = table => [...table.tBodies[0].rows].filter(row => !row.hidden);
  const column = (table, at) => shown(table).map(row => row.cells[at].textContent.trim());
  const heads = table => [...table.tHead.rows[0].cells];
  const out = {};
  (() => { BODY })();
  const pre = document.createElement("pre");
  pre.id = "told";
  pre.textContent = JSON.stringify(out);
  document.body.append(pre);
});
</script></body>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    adata = factorized_screen(n_cells=900, n_groups=30)
    anova = add_anova(adata).assign(eta_squared=[np.nan, 0.01, 0.02, 0.3], n_groups=30)
    anova["q"] = [np.nan, 1.2e-5, 0.002, 3e-12]
    anova["p"] = anova["q"] / 2
    anova["log10_p"] = np.log10(anova["p"])
    adata.uns["semi_nmf"]["anova"]["perturbation"] = anova
    tl.perturbation_effects(adata, "perturbation", CONTROL, n_jobs=1, n_permutations=199)
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.write_html(adata, "perturbation", path, control=CONTROL, pictures=[])
    return path.read_text(encoding="utf-8")


def told(page: str, body: str, folder: Path, *, width: int = 1300) -> dict:
    """Run a script on the page in a browser, and return what it has put into ``out``."""
    path = folder / "page.html"
    path.write_text(page.replace("</body>", SCRIPT.replace("BODY", body)), encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += [f"--window-size={width},900", "--virtual-time-budget=4000", "--dump-dom", path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    return json.loads(html.unescape(re.search(r'<pre id="told">(.*?)</pre>', dom, re.DOTALL)[1]))


def test_a_click_sorts_numbers_as_numbers_and_says_so(page, tmp_path):
    body = """
      const table = of("programs"), head = heads(table), q = head.findIndex(each => each.textContent === "q");
      const button = head[q].querySelector("button");
      button.click(); out.first = [head[q].getAttribute("aria-sort"), column(table, q)];
      button.click(); out.second = [head[q].getAttribute("aria-sort"), column(table, q)];
      button.focus(); out.focus = document.activeElement === button;
      head[0].querySelector("button").click();
      out.other = [head[q].getAttribute("aria-sort"), head[0].getAttribute("aria-sort")];
      const loaded = performance.getEntriesByType("resource").map(each => each.name);
      out.outside = loaded.filter(name => !name.startsWith("data:"));
    """
    found = told(page, body, tmp_path)
    assert found["first"] == ["ascending", ["3.0e-12", "1.2e-05", "0.002", "–"]]  # what is missing stays last
    assert found["second"] == ["descending", ["0.002", "1.2e-05", "3.0e-12", "–"]]
    assert found["focus"]  # a button: Enter and Space click it
    assert found["other"] == [None, "ascending"]
    assert found["outside"] == []


def test_long_tables_have_a_search_and_headers_that_stay(page, tmp_path):
    body = """
      const table = of("map"), field = document.querySelector(".search input");
      out.searches = document.querySelectorAll(".search").length;
      field.value = "TARGET_17"; field.dispatchEvent(new Event("input"));
      out.rows = column(table, 0); out.told = field.nextElementSibling.textContent;
      field.value = ""; field.dispatchEvent(new Event("input"));
      out.all = column(table, 0).length;
      out.header = getComputedStyle(table.tHead.rows[0].cells[3]).position;
    """
    found = told(page, body, tmp_path)
    assert found["searches"] == 1
    assert found["rows"] == ["target_17"]
    assert found["told"] == "1 of 29 rows"
    assert found["all"] == 29
    assert found["header"] == "sticky"


def test_nothing_is_wider_than_a_phone(page, tmp_path):
    frame = f'<!DOCTYPE html><body><iframe width=400 height=800 srcdoc="{html.escape(page)}"></iframe></body>'
    body = """
      const inner = document.querySelector("iframe").contentDocument;
      out.width = inner.documentElement.scrollWidth;
      out.nav = [...inner.querySelectorAll("nav a")].map(link => link.getBoundingClientRect().right);
    """
    found = told(frame, body, tmp_path)
    assert found["width"] <= 400
    assert max(found["nav"]) <= 400


def test_paper_gets_what_the_screen_hides(page, tmp_path):
    body = """
      out.before = document.querySelectorAll("details:not([open])").length;
      dispatchEvent(new Event("beforeprint")); out.during = document.querySelectorAll("details:not([open])").length;
      dispatchEvent(new Event("afterprint")); out.after = document.querySelectorAll("details:not([open])").length;
    """
    found = told(page, body, tmp_path)
    assert found["before"] == found["after"] > 0
    assert found["during"] == 0
