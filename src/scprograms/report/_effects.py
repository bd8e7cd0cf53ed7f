"""The effects of perturbations on programs, and how well their test holds, as a page tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms import get
from scprograms._anndata import slot_names
from scprograms._anndata.slots import read_fit

from .formats import plural

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

FEWEST_CELLS = 10
"""Groups of fewer cells are listed, but never named as the strongest: their means are mostly noise."""
_WIDE = 2.0
"""Ends of the interval of lambda this many times apart leave much open."""
_SPACE = "\N{NO-BREAK SPACE}"
_TOO_LARGE = 1.1
"""As for the warning of ``tl.calibrate``."""


def compared_with(control: str | None) -> str:
    """Return what groups are compared with, in words."""
    return "all other cells" if control is None else f"{control} cells"


def read_effects(adata: AnnData, groupby: str, control: str | None, *, key: str) -> pd.DataFrame:
    """Return the table of :func:`scprograms.get.effects`; raise where it is of another comparison."""
    table = get.effects(adata, groupby, key=key)
    params = effects_params(adata, groupby, key=key)
    against = None if params.get("versus") == "rest" else params.get("control", control)
    against = None if against is None else str(against)  # False and "False" are one group of a column of booleans
    if against != control:
        how = "versus='rest'" if control is None else repr(control)
        tested = "all other cells" if against is None else against
        msg = (
            f"control={control!r}, but the effects of {groupby!r} in .uns[{key!r}] were tested against {tested}: pass "
            f"control={against!r}, or call scp.tl.perturbation_effects(adata, {groupby!r}, {how}, key={key!r}) first."
        )
        raise ValueError(msg)
    return table


def effects_params(adata: AnnData, groupby: str, *, key: str) -> dict[str, object]:
    """Return how the effects were tested, as far as the data say."""
    return dict(read_fit(adata, key).get(slot_names.EFFECTS_PARAMS, {}).get(slot_names.table_name(groupby), {}))


def effects_test(params: dict[str, object]) -> str:
    """Return the test of the effects in words."""
    replicate, strata = params.get("replicate"), params.get("strata")
    test = f"t test between levels of {replicate} on ranks" if replicate else "permutation of the labels of the cells"
    return f"{test}, within {strata}" if strata else test


def strongest(table: pd.DataFrame, *, n_top: int) -> pd.DataFrame:
    """Return the rows of one program with the largest effects of either sign, in groups of enough cells."""
    table = table[(table["n_cells"] >= FEWEST_CELLS) & table["effect"].notna()]
    order = table["effect"].abs().sort_values(ascending=False, kind="stable").index[:n_top]
    return table.loc[order]


def program_names(adata: AnnData, *, key: str) -> dict[str, str]:
    """Return the names of :func:`scprograms.tl.annotate_programs` by program; empty where there are none."""
    table = read_fit(adata, key)[slot_names.PROGRAMS]
    return dict(zip(map(str, table.index), table["name"].astype(str), strict=True)) if "name" in table else {}


def calibration_in_words(adata: AnnData, groupby: str, *, key: str) -> list[str]:
    """Return what the tests within the control say about the test of effects; nothing where there are none."""
    try:
        summary = get.calibration(adata, groupby, key=key, what="summary").iloc[0]
    except KeyError:
        return []
    units = plural(int(summary["n_units"]), f"{summary['control']} {'guide' if summary['replicate'] else 'cell'}")
    low, high = float(summary["lambda_low"]), float(summary["lambda_high"])
    each = "one" if summary["group_size"] == 1 else str(summary["group_size"])
    sentences = [
        f"The test of effects was also run where there is nothing to find: the {units} were put into random groups of "
        f"{each} and compared with those that were left, as if they were perturbations. "
        f"{plural(int(summary['n_hits']), 'test')} of {summary['n_tests']:,} came out at q ≤ 0.05; "
        f"{100 * summary['rate_05']:.1f}{_SPACE}% of the p-values are up to 0.05, where 5{_SPACE}% should be."
    ]
    value = f"λ is {summary['lambda']:.2f} (95{_SPACE}% interval {low:.2f} to {high:.2f}), and 1 is right: "
    if not np.isfinite(low):
        verdict = "there are too few tests for an interval, so it says little."
    elif low > _TOO_LARGE:
        verdict = "the test finds too much, and q-values of effects are too small."
    elif low > 1:
        verdict = "the test finds a little too much."
    elif high < 1:
        verdict = "the test is careful, and finds less than it could."
    else:
        verdict = "the interval holds 1, so the test holds as far as these can tell."
        if high / low > _WIDE:
            verdict += " The interval is wide, because the control is small."
    sentences.append(value + verdict)
    if not summary["is_of_effects"]:
        sentences.append("The effects on this page were tested in another way, to which this does not apply.")
    return sentences
