"""The pictures of the site, drawn while it is built: one recipe for every function of ``scprograms.pl``.

What a recipe shows as code is what is run, so neither the pictures nor the code beside them can go stale. Run as a
script, this writes the pictures alone: ``python docs/_gallery.py FOLDER``.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
import time
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCS = Path(__file__).parent
SOURCES = DOCS.parent / "src" / "scprograms"
DPI = 110


@dataclass(frozen=True)
class Data:
    """Simulated data that several pictures share, and what is computed before the first of them is drawn."""

    title: str
    text: str
    code: str


@dataclass(frozen=True)
class Recipe:
    """One picture: its data, the call that draws it, what to see in it, further steps, and a package they need."""

    data: str
    call: str
    text: str
    steps: str = ""
    needs: str = ""


IMPORTS = "import scanpy as sc\nimport scprograms as scp"

DATA = {
    "screen": Data(
        "A screen",
        "3,000 cells, 16 perturbed genes with three guides each, and twelve planted programs.",
        """
adata = scp.datasets.simulate_screen(
    3000, 1200, 12, n_perturbations=16, n_batches=2, control_fraction=0.15, activity=0.4, effect_size=1.2
)
gene_sets = scp.datasets.planted_gene_sets(adata)
sc.pp.normalize_total(adata, target_sum=1e4)
sc.pp.log1p(adata)

scp.tl.semi_nmf(adata, 12)
scp.tl.program_anova(adata, "perturbation", method="replicate", replicate="guide", strata="batch")
scp.tl.perturbation_effects(adata, "perturbation", "non-targeting", replicate="guide", strata="batch")
scp.tl.program_enrichment(adata, gene_sets)
scp.tl.annotate_programs(adata)
""",
    ),
    "modules": Data(
        "Chromatin accessibility of many samples",
        "4,000 cCREs in samples of twelve subtypes from three regions, with six planted modules.",
        """
cells = scp.datasets.simulate_modules(4000, 12, 6)
bulk = scp.pp.pseudobulk(cells, ["subtype", "region"], min_cells=1)
scp.tl.nmf(bulk, 6)
scp.tl.assign_modules(bulk, "subtype")
""",
    ),
    "states": Data(
        "States of cell types",
        "Cells of two types from eight samples, each in one of three states.",
        """
cells = scp.datasets.simulate_states(1500, 300, n_cell_types=2, n_markers=40, effect=1.5)
""",
    ),
    "multiome": Data(
        "Expression and accessibility of the same cells",
        "1,000 cells of which both were measured.",
        """
both = scp.datasets.simulate_multiome(1000, 400, 150)
scp.tl.train_accessibility(both, model="ridge", n_peaks=100)
""",
    ),
    "peaks": Data(
        "Accessibility of single cells",
        "600 cells of six types, and 2,000 peaks of which most are open in few cells.",
        """
peaks = scp.datasets.simulate_peaks(600, 2000, 6, fold_change=4.0)
methods = ["lsi", "pca", "nmf", "semi_nmf"]
scp.tl.compare_embeddings(peaks, methods, "cell_type", n_latent=6, n_seeds=3, progress=False)
""",
    ),
}

# Every name of scprograms.pl.__all__ needs an entry. The order is that of the page.
RECIPES = {
    "usage_heatmap": Recipe(
        "screen",
        'scp.pl.usage_heatmap(adata, "perturbation", control="non-targeting")',
        "Rows are cells, sorted by perturbation; columns are programs. A bright band across the cells of one "
        "perturbation is a program that they use more.",
    ),
    "program_boxplot": Recipe(
        "screen",
        'scp.pl.program_boxplot(adata, "perturbation", programs="program_6", control="non-targeting")',
        "The usage of one program in the cells of every perturbation, with the test over all of them in the title.",
    ),
    "effects_dotplot": Recipe(
        "screen",
        'scp.pl.effects_dotplot(adata, "perturbation", names=True)',
        "What every perturbation does to every program, with guides as the unit. Colour is the size of the effect in "
        "standard deviations, area the evidence, and a ring marks what is significant.",
    ),
    "effects_clustermap": Recipe(
        "screen",
        'scp.pl.effects_clustermap(adata, "perturbation")',
        "The same effects, with perturbations that do alike side by side.",
    ),
    "volcano": Recipe(
        "screen",
        'scp.pl.volcano(adata, "perturbation", program="program_6")',
        "One program: the effect of every perturbation on it, and the evidence.",
    ),
    "calibration": Recipe(
        "screen",
        'scp.pl.calibration(adata, "perturbation")',
        "Does the test find something among control guides, where nothing is to be found? Points on the diagonal mean "
        "that it does not.",
        'scp.tl.calibrate(adata, "perturbation", "non-targeting", replicate="guide", strata="batch")',
    ),
    "loading_heatmap": Recipe(
        "screen",
        "scp.pl.loading_heatmap(adata, n_genes=3)",
        "The genes that each program raises most. Red is up, blue is down.",
    ),
    "loading_clustermap": Recipe(
        "screen",
        "scp.pl.loading_clustermap(adata, n_genes=2)",
        "Genes from both ends of each program, with genes and programs that are alike side by side.",
    ),
    "enrichment_dotplot": Recipe(
        "screen",
        "scp.pl.enrichment_dotplot(adata, n_top=2)",
        "The gene sets that are enriched among the genes which a program raises or lowers.",
    ),
    "program_similarity": Recipe(
        "screen",
        'scp.pl.program_similarity(adata, other, names=("all cells", "half of them"))',
        "Which programs of two factorizations are the same.",
        "other = adata[::2].copy()\nscp.tl.semi_nmf(other, 12)",
    ),
    "rank_sweep": Recipe(
        "screen",
        "scp.pl.rank_sweep(adata)",
        "How many programs? The line is the suggestion.",
        "scp.tl.rank_sweep(adata, range(6, 19, 3), n_folds=3)",
    ),
    "consensus": Recipe(
        "screen",
        "scp.pl.consensus(adata)",
        "Programs of refits on resampled cells. A program that comes back is a block of its own.",
        "scp.tl.consensus(adata, 12, n_runs=20)",
    ),
    "convergence": Recipe(
        "screen",
        "scp.pl.convergence(adata)",
        "The course of a fit, as the ratio of its error to the least error possible.",
    ),
    "module_heatmap": Recipe(
        "modules",
        "scp.pl.module_heatmap(bulk)",
        "Accessibility of the features in each sample, both sorted by module.",
    ),
    "module_map": Recipe(
        "modules",
        'scp.pl.module_map(bulk, "subtype", "region")',
        "The module of every sample, on a grid of subtypes and regions.",
    ),
    "feature_score": Recipe(
        "modules",
        "scp.pl.feature_score(bulk)",
        "How specific features are: 1 in one module only, 0 in all alike. The line is the threshold of the rule.",
    ),
    "recovery_confusion": Recipe(
        "states",
        "scp.pl.recovery_confusion(cells)",
        "What held-out cells of each state were taken for.",
        'scp.tl.cross_validate_recovery(cells, "state", "cell_type", sample_key="sample", n_runs=5)',
    ),
    "recovery_signatures": Recipe(
        "states",
        "scp.pl.recovery_signatures(model, n_genes=5)",
        "The features that tell the states of a cell type apart.",
        'model = scp.tl.train_recovery(cells, "state", "cell_type", sample_key="sample", n_runs=5)',
    ),
    "state_map": Recipe(
        "states",
        'scp.pl.state_map(cells, "cell_type", key="discovery")',
        "States at the places of their cells.",
        'scp.tl.discover_states(cells, "cell_type", sample_key="sample", n_factors=[2, 3, 4])',
    ),
    "precision_recall": Recipe(
        "multiome",
        "scp.pl.precision_recall(both)",
        "How well open peaks are told from closed ones in cells that no model has seen. Dotted is chance.",
    ),
    "accessibility_report": Recipe(
        "multiome",
        "scp.pl.accessibility_report(both)",
        "The whole evaluation on one page.",
    ),
    "embedding_comparison": Recipe(
        "peaks",
        'scp.pl.embedding_comparison(peaks, metrics=["ari", "silhouette", "seconds"])',
        "How well cell types are told apart in each representation; every seed is a dot.",
    ),
    "embedding_maps": Recipe(
        "peaks",
        'scp.pl.embedding_maps(peaks, "cell_type", ["X_lsi", "X_semi_nmf"])',
        "The first two dimensions of two representations.",
    ),
    "training_history": Recipe(
        "peaks",
        "scp.pl.training_history(peaks)",
        "The loss of a network over its training, and in cells that were held out.",
        'scp.tl.autoencoder(peaks, "basic", 6, epochs=30, device="cpu", progress=False)',
        needs="torch",
    ),
}


def figure_of(drawn: Any) -> Any:
    """Return the figure that holds what a function of ``pl`` has returned: axes, a list or a dictionary of them."""
    if isinstance(drawn, dict):
        drawn = next(iter(drawn.values()))
    elif isinstance(drawn, list | tuple):
        drawn = drawn[0]
    return getattr(drawn, "figure", drawn)


def can_be_drawn(name: str) -> bool:
    """Whether the package that a picture needs is installed; the page says so where it is not."""
    needs = RECIPES[name].needs
    return not needs or find_spec(needs) is not None


def without_recipe(functions: Iterable[str]) -> list[str]:
    """Return the functions of ``pl`` that have no recipe."""
    return [name for name in functions if name not in RECIPES]


def draw(folder: Path, names: Iterable[str]) -> dict[str, float]:
    """Draw these pictures into ``folder``/NAME.png, and return the CPU seconds of each, its data included."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    spaces: dict[str, dict[str, Any]] = {}
    seconds = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(names, key=list(RECIPES).index):
        recipe, start = RECIPES[name], time.process_time()
        if recipe.data not in spaces:
            spaces[recipe.data] = space = {}
            exec(IMPORTS + DATA[recipe.data].code, space)
        space = spaces[recipe.data]
        exec(recipe.steps, space)
        drawn = eval(recipe.call, space)
        figure_of(drawn).savefig(folder / f"{name}.png", dpi=DPI, bbox_inches="tight", pad_inches=0.08)
        plt.close("all")
        seconds[name] = round(time.process_time() - start, 2)
    return seconds


def state_of_sources() -> str:
    """Return a hash of all that the pictures depend on."""
    digest = hashlib.sha256()
    for path in [Path(__file__), *sorted(SOURCES.rglob("*.py"))]:
        digest.update(path.relative_to(DOCS.parent).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def page(names: list[str]) -> str:
    """Return the page of the gallery in MyST Markdown."""
    import scprograms as scp

    lines = [
        "# Gallery",
        "",
        "Every function of `scp.pl`, on simulated data. The pictures were drawn by the code beside them when this site "
        "was built. Each function takes `save=`, which writes PNG, SVG or PDF, with letters that stay letters.",
        "",
        "```python",
        IMPORTS,
        "```",
        "",
    ]
    for data_name, data in DATA.items():
        of_data = [name for name in RECIPES if name in names and RECIPES[name].data == data_name]
        if not of_data:
            continue
        lines += [f"## {data.title}", "", data.text, "", "```python", data.code.strip(), "```", ""]
        for name in of_data:
            recipe = RECIPES[name]
            code = f"{recipe.steps}\n{recipe.call}".strip()
            lines += [f"### {name}", "", recipe.text, "", "```python", code, "```", ""]
            if can_be_drawn(name):
                lines += [f"```{{image}} {name}.png", f":alt: {_alt(getattr(scp.pl, name))}"]
                lines += [":class: picture", "```", ""]
            else:
                lines += [f"*The picture needs {recipe.needs}, which this site was built without.*", ""]
            lines += [f"All arguments: {{func}}`scprograms.pl.{name}`.", ""]
    return "\n".join(lines)


def _alt(function: Any) -> str:
    return (inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " ").replace("`", "")


def make(folder: Path) -> list[str]:
    """Draw all pictures and write the page, unless both are of this state of the sources. Returns the names drawn."""
    import scprograms as scp

    missing = without_recipe(scp.pl.__all__)
    if missing:
        warnings.warn(f"no recipe in docs/_gallery.py for pl.{', pl.'.join(missing)}", stacklevel=2)
    names = [name for name in RECIPES if hasattr(scp.pl, name)]
    drawn = [name for name in names if can_be_drawn(name)]
    record, state = folder / "made.json", state_of_sources()
    made = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    if made.get("state") != state or not all((folder / f"{name}.png").is_file() for name in drawn):
        made = {"state": state, "cpu_seconds": draw(folder, drawn)}
        (folder / "index.md").write_text(page(names), encoding="utf-8")
        record.write_text(json.dumps(made, indent=1), encoding="utf-8")
    return drawn


if __name__ == "__main__":
    sys.path.insert(0, str(SOURCES.parent))
    import scprograms

    drawable = [name for name in RECIPES if hasattr(scprograms.pl, name) and can_be_drawn(name)]
    for done, cost in draw(Path(sys.argv[1]), drawable).items():
        print(f"{done:24s} {cost:6.2f} CPU s")
