"""Every figure of an analysis, as PNG and PDF, with the caption that the page prints below it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scprograms import get, pl
from scprograms._core.files import atomic_path
from scprograms._core.validate import warn
from scprograms._draw.figure import text_stays_text
from scprograms.perturbation.figures import kind

from ._captions import anova_in_words, calibration_tests, effects_in_words, enrichment_in_words
from ._effects import calibration_in_words, compared_with, program_names, read_effects
from .formats import plural

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from anndata import AnnData
    from matplotlib.figure import Figure

DPI = 160
_MANY_GROUPS = 100
_AT_MOST_DOTS = 60
"""Perturbations in the picture of effects."""
_AT_MOST_CLUSTERED = 40
"""Programs beyond which fewer genes of each are drawn, so that names stay legible."""


@dataclass(frozen=True)
class Picture:
    """A figure on disk and what to say about it."""

    name: str
    """Name of the files, without ending."""
    title: str
    """Heading above it."""
    caption: str
    """What is shown, and with which test."""
    png: Path
    """The file to show."""


def write_figures(
    adata: AnnData,
    groupby: str,
    folder: str | os.PathLike[str],
    *,
    control: str | None = None,
    key: str = "semi_nmf",
    max_q: float = 0.05,
    n_boxes: int | None = None,
    formats: tuple[str, ...] = ("png", "pdf"),
) -> list[Picture]:
    """Draw the figures of an analysis.

    Parameters
    ----------
    adata
        Cells x genes, factorized; what :func:`scprograms.tl.program_anova`,
        :func:`scprograms.tl.perturbation_effects`, :func:`scprograms.tl.calibrate` and
        :func:`scprograms.tl.program_enrichment` found is drawn where they were called, with the names of
        :func:`scprograms.tl.annotate_programs` where there are any.
    groupby
        Column of ``.obs`` with the perturbations.
    folder
        Where to write; it is made where it does not exist.
    control
        Level of ``groupby`` to compare with; None where groups were compared with all other cells
        (``versus="rest"``).
    key
        ``key_added`` of the factorization.
    max_q
        Largest adjusted p-value of a term to draw. Where no term passes, there is no dot plot, with a warning.
    n_boxes
        Programs with a panel of boxes: those that differ most between the perturbations. By default 12, or 4 where
        there are more than 100 perturbations, whose panels take a row each.
    formats
        Endings of the files; a page needs ``"png"``.

    Returns
    -------
    The figures in their order on the page, each with its caption.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or no column ``groupby``.
    ValueError
        ``control`` is no level of ``groupby``, effects were tested against something else, or gene names are not
        unique.
    OSError
        A file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> from scprograms import report
    >>> adata = scp.datasets.simulate_screen(300, 100, n_programs=5)
    >>> sc.pp.normalize_total(adata)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pictures = report.write_figures(adata, "perturbation", folder, control="non-targeting", formats=("png",))
    >>> [picture.name for picture in pictures][:2]
    ['usage_heatmap', 'program_boxplot']
    """
    folder = Path(folder)
    control = None if control is None else str(control)  # such as False, of a column of booleans
    pictures = []
    for name, title, caption, draw in _plan(adata, groupby, control, key, max_q, n_boxes):
        pictures.append(save_picture(draw(), folder, name=name, title=title, caption=caption, formats=formats))
    return pictures


def save_picture(
    fig: Figure, folder: Path, *, name: str, title: str, caption: str, formats: tuple[str, ...] = ("png", "pdf")
) -> Picture:
    """Write one figure in all formats, and close it."""
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    try:
        for ending in formats:
            with atomic_path(folder / f"{name}.{ending}") as part, text_stays_text():
                fig.savefig(part, dpi=DPI, bbox_inches="tight", pad_inches=0.08)
    finally:
        plt.close(fig)
    return Picture(name=name, title=title, caption=caption, png=folder / f"{name}.png")


def _plan(
    adata: AnnData, groupby: str, control: str | None, key: str, max_q: float, n_boxes: int | None
) -> Iterator[tuple[str, str, str, Callable[[], Figure]]]:
    def figure(draw: Callable[..., Any], *args: Any, **options: Any) -> Callable[[], Figure]:
        return lambda: draw(adata, *args, key=key, show=False, return_fig=True, **options)

    n_programs = get.usages(adata, key=key).shape[1]
    many = get.labels(adata, groupby).nunique() > _MANY_GROUPS
    n_drawn = min(n_boxes or (4 if many else 12), n_programs)
    tested = _has(get.anova, adata, groupby, key=key)
    first = "" if control is None else f", {control} first,"
    yield (
        "usage_heatmap",
        "Which cells use which program",
        f"Usage of each program (columns) in each cell (rows). Cells are sorted by {groupby}{first} and "
        "averaged to rows of pixels. Each program is scaled by the 99th percentile of its column, so that weakly used "
        f"programs show as well. The unit is the cell ({adata.n_obs:,} cells). A description; no test is involved.",
        figure(pl.usage_heatmap, groupby, control=control),
    )
    yield (
        "program_boxplot",
        f"Usage by {groupby}",
        f"{_boxes_shown(n_drawn, n_programs, tested=tested)} Each box is one group of {groupby}: quartiles, the median "
        f"as a bar, the mean as a dot{_control_shown(control)}."
        + (f" {anova_in_words(adata, groupby, key=key)}" if tested else " No test was made."),
        figure(pl.program_boxplot, groupby, control=control, n_top=n_drawn),
    )
    yield from _plan_effects(adata, groupby, control, key, max_q, figure)
    n_genes = 3 if n_programs > _AT_MOST_CLUSTERED else 5
    yield (
        "loading_heatmap",
        "Genes that programs raise and lower",
        f"Loadings of the {n_genes} most raised and the {n_genes} most lowered genes of every program, in the order of "
        "the programs. Red: a cell that uses the program has more of the gene; blue: it has less. No test is involved.",
        figure(pl.loading_heatmap, direction="both", n_genes=n_genes),
    )
    yield (
        "loading_clustermap",
        "Programs that share genes",
        "Loadings of the 3 most raised and lowered genes of every program, genes and programs clustered by average "
        "linkage of Euclidean distances: programs side by side move the same genes. No test is involved.",
        figure(pl.loading_clustermap),
    )
    if _has(get.enrichment, adata, key=key):
        significant = get.enrichment(adata, key=key, max_q=max_q)
        if len(significant):
            yield (
                "enrichment_dotplot",
                "Gene sets among the genes of programs",
                f"The best 3 terms of every program with q ≤ {max_q:g}, for its raised (up) and lowered (down) genes "
                f"apart: {len(significant):,} pass. Each has a dot wherever it passes. Area: -log10 of q. "
                f"{enrichment_in_words(get.enrichment(adata, key=key))}",
                figure(pl.enrichment_dotplot, max_q=max_q),
            )
        else:
            warn(f"No gene set has q <= {max_q:g} for any program: there is no enrichment dot plot.")
    yield (
        "convergence",
        "Course of the fit",
        "Error of the factorization over the smallest one that any factorization with so many programs can have "
        "(truncated singular value decomposition): 1 is perfect. The L1 penalty, which sets small usages to zero, ends "
        "a little above 1 by design.",
        figure(pl.convergence),
    )


def _plan_effects(
    adata: AnnData,
    groupby: str,
    control: str | None,
    key: str,
    max_q: float,
    figure: Callable[..., Callable[[], Figure]],
) -> Iterator[tuple[str, str, str, Callable[[], Figure]]]:
    if _has(get.effects, adata, groupby, key=key):
        effects = read_effects(adata, groupby, control, key=key)
        n_groups, of = effects["perturbation"].nunique(), kind(effects)
        shown = f"Every {of}" if n_groups <= _AT_MOST_DOTS else f"The {_AT_MOST_DOTS} strongest {of}s"
        yield (
            "effects_dotplot",
            "What perturbations do to programs" if of == "perturbation" else "Programs of the groups",
            f"{shown} (rows) and every program (columns, in the order of their numbers). "
            f"Colour: difference of the mean usage to {compared_with(control)} in standard deviations of the cells; "
            f"red is more. Area: -log10 of q; a dark outline: q ≤ {max_q:g}. "
            f"{effects_in_words(adata, groupby, key=key)}",
            figure(
                pl.effects_dotplot,
                groupby,
                max_q=max_q,
                n_perturbations=_AT_MOST_DOTS,
                names=bool(program_names(adata, key=key)),
            ),
        )
    if sentences := calibration_in_words(adata, groupby, key=key):
        summary = get.calibration(adata, groupby, key=key, what="summary").iloc[0]
        yield (
            "calibration",
            "The test of effects where there is nothing to find",
            f"{calibration_tests(summary)}, against what chance lets expect: on the line p-values are right, above it "
            f"too small. Grey: where 95 % of the points lie if the test holds. {' '.join(sentences[1:])}",
            figure(pl.calibration, groupby),
        )


def _control_shown(control: str | None) -> str:
    if control is None:
        return ""
    return f"; the control ({control}) comes first and its median runs across as a dashed line"


def _boxes_shown(n_drawn: int, n_programs: int, *, tested: bool) -> str:
    if n_drawn == n_programs:
        return f"Usage of all {plural(n_programs, 'program')}."
    which = "that differ most between the groups" if tested else "that explain most"
    return f"Usage of the {n_drawn} of {n_programs} programs {which}."


def _has(read: Callable[..., Any], *args: Any, **options: Any) -> bool:
    try:
        read(*args, **options)
    except KeyError:
        return False
    return True
