"""The analysis of a screen, from counts to a folder of results."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scprograms import get, report, tl
from scprograms._anndata.lazy import is_lazy
from scprograms._core.files import atomic_path, staged_folder
from scprograms.enrichment.gene_sets import read_gene_sets
from scprograms.report.formats import plural

from ._cell_cycle import cell_cycle_genes
from ._h5ad import write_h5ad
from ._journal import InputError, Journal, explained, peak_memory_gib
from ._lazy import without_matrix, worker_threads
from ._pictures import qc_picture, umap_picture
from ._prepare import check_screen, prepare, read_screen
from ._recipe import notebook_code
from ._settings import Settings
from ._tests import KEY, MAX_Q, calibrate, test_effects, test_programs

if TYPE_CHECKING:
    from anndata import AnnData

N_TOP_GENES = 100
N_STEPS = 11
"""Steps of an analysis, reading included."""
_OWN_FILES = ("top_genes/program_*_top*_genes*.csv", "figures/*.png", "figures/*.pdf")

Extra = Callable[["AnnData", Path, Journal], list[dict[str, Any]]]
"""A further step, which returns sections of the report."""


def analyse(
    screen: AnnData | str | os.PathLike[str],
    groupby: str,
    control: str | None = None,
    *,
    out: str | os.PathLike[str],
    progress: bool = True,
    **settings: Any,
) -> AnnData:
    """Analyse a screen from counts to a report, as ``scprograms run`` does.

    Quality control, normalisation, semi-NMF, analysis of variance, effects of perturbations, calibration, enrichment,
    figures, tables and a page to read.

    Parameters
    ----------
    screen
        Cells x genes, raw counts at best; an AnnData, which stays as it is, or the path of an ``.h5ad`` file (with
        ``lazy=True`` also of a zarr store).
    groupby
        Column of ``.obs`` with the perturbations.
    control
        Its level for control cells; without one, each group is compared with all other cells.
    out
        Folder to write into; results of an earlier analysis there are replaced once all new ones are written.
    progress
        Show a progress bar.
    **settings
        Fields of :class:`Settings`, such as ``replicate``, ``strata``, ``n_programs`` or ``gene_sets``.

    Returns
    -------
    The cells and genes that passed quality control, with all results in their slots; also in ``programs.h5ad`` of the
    folder, beside ``report.html``, ``programs.xlsx``, ``perturbation_effects.csv``, ``top_genes/`` and ``figures/``.

    Raises
    ------
    InputError
        A path, column or setting is not usable; a ``ValueError``. The folder is then as it was.
    TypeError
        A setting does not exist.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import scprograms as scp
    >>> from scprograms.pipeline import analyse
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = analyse(adata, "perturbation", "non-targeting", out=folder, n_programs=3, progress=False)
    ...     (Path(folder) / "report.html").exists()
    True
    >>> result.obsm["X_semi_nmf"].shape[1]
    3
    """
    from tqdm.auto import tqdm

    path = Path(screen) if isinstance(screen, str | os.PathLike) else None
    options = Settings.of({"groupby": groupby, "control": control, "screen": path, **settings})
    with tqdm(total=N_STEPS, disable=not progress, desc="analysis") as bar, Journal(bar) as journal:
        return run(options, Path(out), journal, adata=None if path else screen)


def run(
    settings: Settings,
    out: Path,
    journal: Journal,
    *,
    adata: AnnData | None = None,
    argv: Sequence[str] = (),
) -> AnnData:
    """Read the screen, or take a copy of ``adata``, analyse it, and write everything into the folder."""
    with results_folder(out, settings) as stage, worker_threads(settings):
        check_gene_sets(settings)
        cell_cycle_genes(settings)
        with journal.step("reading"):
            if adata is None:
                adata = read_screen(settings, journal)
            else:
                if is_lazy(adata.X) and not settings.lazy:
                    msg = f"The matrix is a dask array: pass {settings.spelled('lazy')}=True."
                    raise InputError(msg)
                adata = check_screen(adata.copy(), settings, journal, source="memory")
        return analyse_cells(adata, settings, journal, stage, argv=argv)


def results_folder(out: Path, settings: Settings | None = None, *, replaces: Iterable[str] = _OWN_FILES) -> Any:
    """Staged folder for results, or the reason why there can be none."""
    name = "--out" if settings is None else settings.spelled("out")
    for path in (out, *out.parents):
        if path.exists():
            if not path.is_dir():
                msg = f"{name}={str(out)!r}: {str(path)!r} is a file, not a folder."
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
        msg = f"{name}={str(out)!r} cannot be written to: {error.strerror or error}."
        raise InputError(msg) from error
    return staged_folder(out, replaces=replaces)


def check_gene_sets(settings: Settings) -> None:
    """Read the gene sets once, before anything else takes time."""
    if settings.gene_sets:
        with explained():
            read_gene_sets(list(settings.gene_sets), organism=settings.organism)


def analyse_cells(
    adata: AnnData,
    settings: Settings,
    journal: Journal,
    stage: Path,
    *,
    argv: Sequence[str] = (),
    gene_sets: Sequence[str] | None = None,
    title: str | None = None,
    extra: Extra | None = None,
    files: Mapping[str, str] | None = None,
) -> AnnData:
    """Do everything after reading, ending with all files in ``stage``.

    ``argv`` is the command that did it; ``gene_sets`` are read in place of those that the settings name.
    """
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
        chosen["n_genes"] = enrich(adata, settings, journal, settings.gene_sets if gene_sets is None else gene_sets)
    with journal.step("figures"):
        pictures = report.write_figures(
            adata, settings.groupby, stage / "figures", control=settings.control, key=KEY, max_q=MAX_Q
        )
        pictures += qc_picture(adata, stage / "figures")
        if settings.umap:
            pictures += umap_picture(adata, settings, stage / "figures", key=KEY)
    sections = extra(adata, stage, journal) if extra is not None else []
    parameters = settings.parameters() | {name: value for name, value in chosen.items() if value not in (None, False)}
    repeat = {"The same in a shell": shlex.join(["scprograms", *argv])} if argv else {}
    repeat["The same in a notebook"] = notebook_code(settings, chosen)
    with journal.step("tables"):
        report.write_gene_lists(adata, stage / "top_genes", key=KEY, n_genes=N_TOP_GENES)
        with atomic_path(stage / "perturbation_effects.csv") as part:
            get.effects(adata, settings.groupby, key=KEY).to_csv(part, index=False)
        report.write_excel(
            adata, settings.groupby, stage / "programs.xlsx", key=KEY, max_q=MAX_Q, parameters=parameters
        )
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
            title=title or f"Gene programs of {settings.screen.stem if settings.screen else settings.groupby}",
            steps=journal.steps,
            notes=journal.notes,
            parameters=parameters,
            pictures=pictures,
            extra=sections,
            files={**_files_written(pictures, lazy=settings.lazy), **(files or {})},
            repeat=repeat,
        )
    return adata


def factorize(adata: AnnData, settings: Settings, journal: Journal, *, mask_var: str | None) -> None:
    """Find the programs."""
    control: tuple[str, str] | None = None
    if settings.center == "control" and settings.control is not None:
        control = settings.groupby, settings.control
    with explained():
        tl.semi_nmf(
            adata,
            settings.n_programs,
            mask_var=mask_var,
            center=settings.center,
            scale=settings.scale,
            control=control,
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


def enrich(adata: AnnData, settings: Settings, journal: Journal, gene_sets: Sequence[str]) -> int | None:
    """Test gene sets on both ends of the programs; return the number of top genes that were tested."""
    if not gene_sets:
        journal.say(
            f"No gene sets were given ({settings.spelled('gene_sets')}), so the programs were not tested for "
            "enrichment."
        )
        return None
    n_used = int(adata.varm[f"{KEY}_model"]["used"].sum())
    n_genes = settings.n_genes or min(100, math.ceil(n_used / 10))
    with explained():
        tl.program_enrichment(
            adata,
            list(gene_sets),
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
        journal.note(
            f"No gene set of this size shares a gene with any program: lower {settings.spelled('min_size')}, "
            "or give other sets."
        )
    return n_genes


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
