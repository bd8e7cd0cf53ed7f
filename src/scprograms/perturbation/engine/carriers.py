"""Cells with several guides: those that carry a guide of a target against those that carry none of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ._replicates import replicate_contrasts
from .comparison import Comparison, Effects, Options, compare, without_covariates, without_genes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scipy import sparse

    from scprograms._core.matrix import Array
    from scprograms.programs.engine.leave_out import UsagesWithout


GUIDE_BINS = 50
"""Most bins of the number of guides that a cell carries."""


def compare_carriers(
    values: Array,
    guides: Guides,
    options: Options,
    *,
    kept: Array,
    strata: Array | None = None,
    covariates: Array | None = None,
    replicates: bool = False,
    solver: UsagesWithout | None = None,
    genes: Mapping[int, Array] | None = None,
) -> Effects:
    """Compare carriers of any guide of a target with the other cells, within strata of the number of guides carried.

    Given the number of all guides in a cell, which of them it carries is chance, however easily the cell takes them up;
    given the number of the others it is not, for carriers have taken up one more. (Where usage follows the uptake, the
    second gives p < 0.05 to a quarter of the targets that do nothing, the first to one in twenty.)

    ``kept`` masks the cells to compare. With ``replicates`` the guides are the unit: the carriers of each guide of
    a target are compared with those of all other guides that have a target, within the same strata.
    """
    carries = carriers_of_targets(guides)
    strata = strata_of_guide_counts(np.asarray(guides.carried.sum(axis=1)).ravel(), strata, kept)
    if replicates:
        options = replace(options, n_permutations=1)  # of which nothing is kept
    found: list[Effects] = []
    stacked: list[Array] = []
    rows: list[Array] = []
    for t in range(len(guides.targets)):
        carrier = carries[:, t] > 0
        comparison = Comparison(
            codes=np.where(kept, carrier.astype(np.int64), -1),
            n_groups=2,
            control=0,
            strata=strata,
            covariates=covariates,
            n_tests=len(guides.targets),
        )
        usages = values
        if solver is not None and genes is not None and t in genes:
            usages = without_genes(values, comparison, solver, genes[t], n_jobs=options.n_jobs)
        found.append(compare(usages, comparison, options))
        if replicates:
            # Adjusted alike for all targets: zeros that are ties must stay ties.
            alike = replace(comparison, codes=np.where(kept, 0, -1))
            rows.append(np.flatnonzero(carrier & kept))
            stacked.append((usages if covariates is None else without_covariates(usages, alike))[rows[-1]])
    effects = Effects(*(np.stack([getattr(one, name)[1] for one in found]) for name in Effects.__annotations__))
    return _test_guides(effects, guides, stacked, rows, strata) if replicates else effects


def carriers_of_targets(guides: Guides) -> Array:
    """Return how many guides of each target each cell carries, n_obs x targets."""
    member = np.zeros((len(guides.names), len(guides.targets)), dtype=np.int32)
    aimed = guides.codes >= 0
    member[np.flatnonzero(aimed), guides.codes[aimed]] = 1
    return np.asarray(guides.carried.astype(np.int32) @ member)


def strata_of_guide_counts(n_guides: Array, strata: Array | None, kept: Array) -> Array:
    """Split strata by the number of guides: single numbers where few occur, else bins of like size."""
    levels = np.unique(n_guides[kept])
    if len(levels) <= GUIDE_BINS:
        bins = np.searchsorted(levels, n_guides)
    else:
        inner = np.linspace(0, 1, GUIDE_BINS + 1)[1:-1]
        bins = np.searchsorted(np.unique(np.quantile(n_guides[kept], inner)), n_guides, side="left")
    if strata is None:
        return bins
    return strata * (int(bins.max(initial=0)) + 1) + bins


def _test_guides(effects: Effects, guides: Guides, stacked: list[Array], rows: list[Array], strata: Array) -> Effects:
    # A cell with guides of several targets stands under each; with several of one target, under the first.
    codes = np.concatenate([np.full(len(cells), t) for t, cells in enumerate(rows)])
    carried = guides.carried.tocsr()
    units = np.zeros(len(codes), dtype=np.int64)
    for t, cells in enumerate(rows):
        own = np.flatnonzero(guides.codes == t)
        units[codes == t] = own[np.asarray(carried[cells][:, own].toarray().argmax(axis=1))]
    test = replicate_contrasts(np.concatenate(stacked), codes, units, control=None, strata=strata[np.concatenate(rows)])
    untested = np.isnan(effects.effect) | (effects.n_cells < 2)[:, None]
    shape = effects.p.shape
    p, log10_p = (np.full(shape, np.nan) for _ in range(2))
    n_replicates = np.zeros(shape[0], dtype=np.int64)
    n_found = len(test.p)
    p[:n_found], log10_p[:n_found], n_replicates[:n_found] = test.p, test.log10_p, test.n_replicates
    p[untested] = log10_p[untested] = np.nan
    return replace(effects, p=p, log10_p=log10_p, n_replicates=n_replicates)


@dataclass(frozen=True)
class Guides:
    """Who carries which guide."""

    key: str
    carried: sparse.csc_array
    """Cells x guides, boolean."""
    names: list[str]
    codes: Array
    """Target of each guide as an index into ``targets``; -1 for a guide without one."""
    targets: list[str]
