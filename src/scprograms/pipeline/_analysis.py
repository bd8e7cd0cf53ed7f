"""``scprograms run``: all steps from a file to a folder of results."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scprograms import get, report, tl
from scprograms._core.files import atomic_path, staged_folder
from scprograms.report.formats import plural

from ._cell_cycle import cell_cycle_genes
from ._h5ad import write_h5ad
from ._journal import InputError, Journal, explained, peak_memory_gib
from ._lazy import without_matrix, worker_threads
from ._pictures import qc_picture, umap_picture
from ._prepare import prepare, read_screen
from ._recipe import notebook_code
from ._tests import KEY, MAX_Q, calibrate, test_effects, test_programs

if TYPE_CHECKING:
    from ._settings import Settings

    from anndata import AnnData

N_TOP_GENES = 100
N_STEPS = 10
_OWN_FILES = ("top_genes/program_*_top*_genes*.csv", "figures/*.png", "figures/*.pdf")
_NOT_PARAMETERS = {"argv", "command", "debug", "quiet"}

Extra = Callable[["AnnData", Path, Journal], list[dict[str, Any]]]


def run(settings: Settings) -> None:
    """Analyse the screen that the options name, and write everything into their folder."""
    with (
        results_folder(settings.out) as stage,
        Journal(N_STEPS + 1, quiet=settings.quiet) as journal,
        worker_threads(settings),
    ):
        gene_sets = check_gene_sets(settings)
        cell_cycle_genes(settings)
        with journal.step("reading"):
            adata = read_screen(settings, journal)
        analyse(adata, settings, journal, stage, gene_sets=gene_sets)
    tell(settings, journal)


def results_folder(out: Path, *, replaces: Iterable[str] = _OWN_FILES) -> Any:
    """Return the staged folder for results, or say why there can be none."""
    for path in (out, *out.parents):
        if path.exists():
            if not path.is_dir():
                msg = f"--out={str(out)!r}: {str(path)!r} is a file, not a folder."
                raise InputError(msg)
            break
    probe = out
    while not probe.exists():
        probe = probe.parent
    try:
        with atomic_path(probe / ".scprograms-probe") as part:
            part.touch()
        (probe / ".scprograms-probe").unlink(missing_ok=True)
    except OSError as error:
        msg = f"--out={str(out)!r} cannot be written to: {error.strerror or error}."
        raise InputError(msg) from error
    return staged_folder(out, replaces=replaces)


def check_gene_sets(settings: Settings) -> Any:
    """Read the gene sets once, before anything else takes time; return what the enrichment is to be given."""
    from scprograms.enrichment import read_gene_sets

    if not settings.gene_sets:
        return None
    with explained():
        read_gene_sets(list(settings.gene_sets), organism=settings.organism)
    return list(settings.gene_sets)


def analyse(
    adata: AnnData,
    settings: Settings,
    journal: Journal,
    stage: Path,
    *,
    gene_sets: Any,
    title: str | None = None,
    extra: Extra | None = None,
    files: Mapping[str, str] | None = None,
) -> None:
    """Do everything after reading: :data:`N_STEPS` steps, ending with all files in ``stage``."""
    import matplotlib as mpl

    mpl.use("Agg")  # figures go to files; a window system is neither needed nor disturbed
    adata, chosen = prepare(adata, settings, journal)
    with journal.step("factorization"):
        factorize(adata, settings, journal, mask_var=chosen["mask_var"])
    with journal.step("analysis of variance"):
        test_programs(adata, settings, journal)
    with journal.step("effects of perturbations"):
        test_effects(adata, settings, journal)
    with journal.step("calibration"):
        chosen["calibrated"] = calibrate(adata, settings, journal)
    with journal.step("enrichment"):
        chosen["n_genes"] = enrich(adata, settings, journal, gene_sets)
    with journal.step("figures"):
        pictures = report.write_figures(
            adata, settings.groupby, stage / "figures", control=settings.control, key=KEY, max_q=MAX_Q
        )
        pictures += qc_picture(adata, stage / "figures")
        if settings.umap:
            pictures += umap_picture(adata, settings, stage / "figures", key=KEY)
    sections = extra(adata, stage, journal) if extra is not None else []
    parameters = {name: value for name, value in vars(settings).items() if name not in _NOT_PARAMETERS} | chosen
    parameters = {name: value for name, value in parameters.items() if value not in (None, [], False)}
    with journal.step("tables"):
        report.write_gene_lists(adata, stage / "top_genes", key=KEY, n_genes=N_TOP_GENES)
        with atomic_path(stage / "perturbation_effects.csv") as part:
            get.effects(adata, settings.groupby, key=KEY).to_csv(part, index=False)
        report.write_excel(adata, settings.groupby, stage / "programs.xlsx", key=KEY, max_q=MAX_Q, parameters=parameters)
        write_h5ad(without_matrix(adata) if settings.lazy else adata, stage / "programs.h5ad")
    with journal.step("report"):
        memory = peak_memory_gib()
        used = "" if memory is None else f" and at most {memory:.1f} GiB of memory"
        journal.say(f"All of this took {journal.seconds:.0f} seconds{used}.")
        report.write_html(
            adata,
            settings.groupby,
            stage / "report.html",
            control=settings.control,
            key=KEY,
            max_q=MAX_Q,
            batch=settings.batch,
            title=title or f"Gene programs of {Path(settings.screen).stem}",
            steps=journal.steps,
            notes=journal.notes,
            parameters=parameters,
            pictures=pictures,
            extra=sections,
            files={**_files_written(pictures, lazy=settings.lazy), **(files or {})},
            repeat={
                "The same in a shell": shlex.join(["scprograms", *settings.argv]),
                "The same in a notebook": notebook_code(settings, chosen),
            },
        )


def factorize(adata: AnnData, settings: Settings, journal: Journal, *, mask_var: str | None) -> None:
    """Find the programs."""
    with explained():
        tl.semi_nmf(
            adata,
            settings.n_programs,
            mask_var=mask_var,
            center=settings.center,
            scale=settings.scale,
            control=(settings.groupby, settings.control) if settings.center == "control" else None,
            init=settings.init,
            l1=settings.l1,
            random_state=settings.random_state,
            n_jobs=settings.n_jobs,
            key_added=KEY,
        )
    last = get.history(adata, key=KEY).iloc[-1]
    sparsity = float((get.usages(adata, key=KEY) == 0).to_numpy().mean())
    journal.say(
        f"Found {plural(settings.n_programs, 'program')} by semi-NMF (usages are never negative, genes go up or down). "
        f"The error is {last['error_ratio']:.4f} times the smallest possible one; {sparsity:.0%} of the usages are 0."
    )


def enrich(adata: AnnData, settings: Settings, journal: Journal, gene_sets: Any) -> int | None:
    """Test gene sets on both ends of the programs; return the number of top genes that were tested."""
    if gene_sets is None:
        journal.say("No gene sets were given (--gene-sets), so the programs were not tested for enrichment.")
        return None
    n_used = int(adata.varm[f"{KEY}_model"]["used"].sum())
    n_genes = settings.n_genes or min(100, math.ceil(n_used / 10))
    with explained():
        tl.program_enrichment(
            adata,
            gene_sets,
            key=KEY,
            n_genes=n_genes,
            direction="both",
            min_size=settings.min_size,
            max_size=settings.max_size,
            organism=settings.organism,
        )
        tl.annotate_programs(adata, key=KEY)
    table = get.enrichment(adata, key=KEY)
    n_found, n_programs = int((table["q"] <= MAX_Q).sum()), table.loc[table["q"] <= MAX_Q, "program"].nunique()
    journal.say(
        f"Tested gene sets of {settings.min_size} to {settings.max_size} measured genes for over-representation among "
        f"the {n_genes} most raised and the {n_genes} most lowered genes of each program (hypergeometric test; "
        f"background: the {n_used:,} genes of the fit): {plural(n_found, 'term')} at q ≤ {MAX_Q:g} in "
        f"{plural(n_programs, 'program')}. Programs are called by their best term and top genes."
    )
    if table.empty:
        journal.note("No gene set of this size shares a gene with any program: lower --min-size, or give other sets.")
    return n_genes


def tell(settings: Settings, journal: Journal) -> None:
    """Say where the results are, and what to mind."""
    if settings.quiet:
        return
    memory = peak_memory_gib()
    used = "" if memory is None else f", {memory:.1f} GiB"
    for note in journal.notes:
        sys.stderr.write(f"scprograms: note: {note}\n")
    sys.stdout.write(f"Open {settings.out / 'report.html'} ({journal.seconds:.0f} s{used}).\n")


def _files_written(pictures: list[report.Picture], *, lazy: bool) -> dict[str, str]:
    names = ", ".join(picture.name for picture in pictures)
    data = (
        "The cells and genes with everything that was found, but without the matrix"
        if lazy
        else ("The data with everything that was found")
    )
    return {
        "programs.h5ad": f"{data}; read it with anndata.read_h5ad.",
        "programs.xlsx": "The tests of programs and of perturbations, the enriched terms, parameters and versions.",
        "perturbation_effects.csv": "Every perturbation x program: effect sizes, p, q, numbers of cells and guides.",
        "top_genes/": f"The {N_TOP_GENES} most raised and the {N_TOP_GENES} most lowered (_down) genes of programs.",
        "figures/": f"Every figure as PNG and PDF: {names}.",
    }
