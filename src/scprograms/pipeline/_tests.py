"""The tests of a run: which programs differ, what each perturbation does to them, and whether the test holds."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any, Literal

from scprograms import get, tl
from scprograms._core.validate import ProgramsWarning
from scprograms.perturbation.figures import kind
from scprograms.report.formats import enumerate_names, plural

from ._journal import Journal, explained, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anndata import AnnData

    from ._settings import Settings

KEY, MAX_Q = "semi_nmf", 0.05


def test_programs(adata: AnnData, settings: Settings, journal: Journal) -> None:
    """Test the programs for differences between perturbations, and between batches where there are any."""
    groupby = settings.groupby
    design: dict[str, Any] = {}
    if settings.replicate is not None:
        design = {"method": "replicate", "replicate": settings.replicate, "strata": settings.strata or None}
    with explained(), _told_once():
        tl.program_anova(adata, groupby, key=KEY, **design)
        if settings.batch is not None:
            tl.program_anova(adata, settings.batch, key=KEY)
    table = get.anova(adata, groupby, key=KEY)
    unused = str(table["unused_replicates"].iloc[0])
    if settings.replicate is None and unused:
        journal.note(
            f"Cells are the unit of the tests, although {unused.replace(',', ', ')} may hold guides or replicates: if "
            f"these differ among themselves, q-values are too small. "
            f"{settings.spelled('replicate')} {unused.partition(',')[0]} makes them the unit."
        )
    test = "one-way analysis of variance on the cells"
    if settings.replicate is not None:
        n_units = int(table["n_replicates"].iloc[0])
        test = f"analysis of variance with {settings.replicate} as the unit ({n_units} in all)"
        if settings.strata:
            test += f", within {enumerate_names(settings.strata)}"
    n_found = int((table["q"] <= MAX_Q).sum())
    journal.say(
        f"Compared the usage of each program between {table['n_groups'].iloc[0]} groups of {groupby} by {test}: "
        f"{n_found} of {len(table)} programs differ at q ≤ {MAX_Q:g}; η² is at most {table['eta_squared'].max():.3f}."
    )
    if settings.batch is None:
        return
    batch = get.anova(adata, settings.batch, key=KEY)["eta_squared"]
    larger = batch.index[batch > table["eta_squared"]].tolist()
    if larger:
        journal.note(f"{', '.join(larger)}: usage differs more between levels of {settings.batch} than of {groupby}.")


def test_effects(adata: AnnData, settings: Settings, journal: Journal) -> None:
    """Compare every perturbation with the control in every program, or with all other cells where there is none."""
    versus: Literal["rest", "control"] = "rest" if settings.control is None else "control"
    with explained(), _told_once():
        tl.perturbation_effects(adata, settings.groupby, settings.control, key=KEY, versus=versus, **_design(settings))
    table = get.effects(adata, settings.groupby, key=KEY)
    found = table[table["q"] <= MAX_Q]
    how = "by permutation of the labels of cells"
    if settings.replicate is not None:
        how = f"by a t test between levels of {settings.replicate}"
    if settings.strata:
        how += f" within {enumerate_names(settings.strata)}"
    journal.say(
        f"Compared every {kind(table)} with {settings.control or 'all other cells'} in every program {how}: "
        f"{len(found):,} of {int(table['p'].notna().sum()):,} effects have q ≤ {MAX_Q:g}, of "
        f"{plural(found['perturbation'].nunique(), kind(table))} on {plural(found['program'].nunique(), 'program')}."
    )
    untested = int(table["p"].isna().sum())
    if untested:
        journal.note(
            f"{plural(untested, 'effect')} could not be tested (no spread, or too few cells or guides to compare)."
        )


def calibrate(adata: AnnData, settings: Settings, journal: Journal) -> bool:
    """Run the test of effects on control guides in random groups; return whether that was possible."""
    if settings.replicate is None or settings.control is None:
        return False
    try:
        tl.calibrate(adata, settings.groupby, settings.control, key=KEY, **_design(settings))
    except ValueError as error:  # the design has passed the test of effects: the control is too small to be split
        journal.note(f"The test of effects could not be tried on the control alone: {one_line(error)}")
        return False
    summary = get.calibration(adata, settings.groupby, key=KEY, what="summary").iloc[0]
    journal.say(
        f"Tried the test of effects on groups of {settings.control} guides alone, where there is nothing to find: λ is "
        f"{summary['lambda']:.2f} ({summary['lambda_low']:.2f} to {summary['lambda_high']:.2f}; 1 is right)."
    )
    return True


@contextlib.contextmanager
def _told_once() -> Iterator[None]:
    """Keep back warnings of replicates that were not used: a note says it for all tests, with the option to use."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*may hold guides or replicates", category=ProgramsWarning)
        yield


def _design(settings: Settings) -> dict[str, Any]:
    return {
        "replicate": settings.replicate,
        "strata": settings.strata or None,
        "random_state": settings.random_state,
        "n_jobs": settings.n_jobs,
    }
