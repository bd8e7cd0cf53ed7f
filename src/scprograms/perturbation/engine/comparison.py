"""The comparison behind ``tl.perturbation_effects``, on arrays: effect sizes, and p-values of one of two tests."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scprograms._core.multiple_testing import benjamini_hochberg

from ._effects import group_effect_sizes
from ._permutation_contrasts import permutation_contrasts
from ._replicates import replicate_contrasts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scprograms._core.matrix import Array
    from scprograms.programs.engine.leave_out import UsagesWithout

STOP_AFTER = 20
"""Permutations of a comparison end once so many were at least as extreme: its p is then known well enough."""


PERMUTATIONS_PER_TEST = 20
PERMUTATIONS = 9_999, 99_999
LEAST_SHARE = 1e-8
"""Of the spread of a covariate; what varies less is rounding."""
ROUNDING = 1e-12
"""Of the size of a covariate; one that varies less is constant."""


@dataclass(frozen=True)
class Comparison:
    """Which cells are compared with which."""

    codes: Array
    """Perturbation of each cell; -1 leaves a cell out."""
    n_groups: int
    """Perturbations, whether any cells are left of them or not."""
    control: int | None
    """Code of the control, or None for all other cells."""
    strata: Array | None = None
    replicates: Array | None = None
    """Replicate of each cell; with it, replicates are the unit of the test."""
    covariates: Array | None = None
    n_tests: int = 1
    """Perturbations in the table that the comparison is part of."""

    def only(self, code: int) -> Comparison:
        """Leave out all perturbations but one and what it is compared with."""
        if self.control is None:
            return self
        keep = (self.codes == code) | (self.codes == self.control)
        return replace(self, codes=np.where(keep, self.codes, -1))

    def without(self, codes: list[int]) -> Comparison:
        """Leave out some perturbations, where the others do not need them."""
        if self.control is None or self.replicates is not None:
            return self
        return replace(self, codes=np.where(np.isin(self.codes, codes), -1, self.codes))


@dataclass(frozen=True)
class Options:
    """How to permute."""

    n_permutations: int | None
    seed: int
    n_jobs: int | None


@dataclass(frozen=True)
class Effects:
    """Sizes and tests of G perturbations x k programs, and the numbers of what was compared, G."""

    effect: Array
    difference: Array
    auc: Array
    log2_fold_change: Array
    p: Array
    log10_p: Array
    n_cells: Array
    n_replicates: Array
    n_control: Array

    def take(self, rows: Mapping[int, Effects]) -> Effects:
        """Replace rows by those of other comparisons."""
        arrays = {field.name: getattr(self, field.name).copy() for field in fields(self)}
        for g, other in rows.items():
            for name, array in arrays.items():
                array[g] = getattr(other, name)[g]
        return Effects(**arrays)

    def table(self, names: list[str], programs: list[str], rows: list[int]) -> pd.DataFrame:
        """Return one row per perturbation and program; q is over all of them."""
        k = len(programs)
        columns = {
            field.name: np.repeat(values, k) if values.ndim == 1 else values.ravel()
            for field in fields(self)
            for values in [getattr(self, field.name)[rows]]
        }
        q = benjamini_hochberg(columns["p"])
        table = pd.DataFrame(
            {"perturbation": np.repeat([names[g] for g in rows], k), "program": np.tile(programs, len(rows))} | columns
        )
        table.insert(list(table.columns).index("log10_p") + 1, "q", q)
        return table


def n_permutations_of(options: Options, n_tests: int) -> int:
    """Return how many permutations a test may take: without a wish, enough for a q below 0.05 of a single effect."""
    if options.n_permutations is not None:
        return options.n_permutations
    return int(np.clip(PERMUTATIONS_PER_TEST * n_tests, *PERMUTATIONS))


def compare(values: Array, comparison: Comparison, options: Options) -> Effects:
    """Compare every perturbation with its control: sizes on the cells, p on replicates or by permutation."""
    codes, control, strata = comparison.codes, comparison.control, comparison.strata
    if len(np.unique(codes[codes >= 0])) < 2:
        return _nothing(comparison, values.shape[1])
    raw = values
    if comparison.covariates is not None:
        values = without_covariates(values, comparison)
    sizes = group_effect_sizes(values, codes, control, strata=strata)
    fold = sizes.log2_fold_change
    if comparison.covariates is not None:  # what covariates leave has no zero to take folds from
        fold = group_effect_sizes(raw, codes, control, strata=strata).log2_fold_change
    n_replicates = np.zeros(len(sizes.n_cells), dtype=np.int64)
    if comparison.replicates is not None:
        # Its ranks are those of the usages themselves: what covariates leave would order the cells without usage.
        test = replicate_contrasts(
            raw, codes, comparison.replicates, control=control, strata=strata, covariates=comparison.covariates
        )
        p, log10_p, n_replicates = test.p, test.log10_p, np.asarray(test.n_replicates)
    else:
        found = permutation_contrasts(
            values,
            codes,
            control,
            strata=strata,
            n_permutations=n_permutations_of(options, comparison.n_tests * values.shape[1]),
            stop_after=STOP_AFTER,
            random_state=options.seed,
            n_jobs=options.n_jobs,
        )
        p = found.p
        log10_p = np.log10(p)
    # No test of a single cell, nor of a program that is the same in all cells, nor against nobody.
    confounded = not_estimable(comparison)[: len(sizes.n_cells), None]
    untested = (sizes.n_cells < 2)[:, None] | np.isnan(sizes.effect) | confounded
    found_effects = Effects(
        effect=np.where(confounded, np.nan, sizes.effect),
        difference=np.where(confounded, np.nan, sizes.difference),
        auc=np.where(confounded, np.nan, sizes.auc),
        log2_fold_change=np.where(confounded, np.nan, fold),
        p=np.where(untested, np.nan, p),
        log10_p=np.where(untested, np.nan, log10_p),
        n_cells=sizes.n_cells,
        n_replicates=n_replicates,
        n_control=sizes.n_control,
    )
    # Codes without cells at the end are groups all the same.
    return _nothing(comparison, values.shape[1]).take(dict.fromkeys(range(len(sizes.n_cells)), found_effects))


def _nothing(comparison: Comparison, k: int) -> Effects:
    n_cells = np.bincount(comparison.codes[comparison.codes >= 0], minlength=comparison.n_groups)
    missing = np.full((comparison.n_groups, k), np.nan)
    return Effects(
        effect=missing,
        difference=missing,
        auc=missing,
        log2_fold_change=missing,
        p=missing,
        log10_p=missing,
        n_cells=n_cells,
        n_replicates=np.zeros_like(n_cells),
        n_control=np.zeros_like(n_cells),
    )


def without_covariates(values: Array, comparison: Comparison) -> Array:
    """Take the linear effect of covariates off the usages.

    Its slope is that within perturbations and strata, so that what a perturbation does is not put down to a covariate.
    A combination of covariates that does not vary there has no slope, and nothing is taken off for it.
    """
    C, of_cell = _scaled_covariates(comparison)
    rows = comparison.codes >= 0
    values = np.asarray(values, dtype=np.float64)
    left, strength, right, kept = _within(C[rows], of_cell)
    cross = left[:, kept].T @ _less_means(values[rows], of_cell)
    slopes = right[kept].T @ (cross / strength[kept, None])
    return np.asarray(values - C @ slopes)


def not_estimable(comparison: Comparison) -> Array:
    """Perturbations that cannot be told from a covariate, or from a combination of several; G.

    A combination that does not vary within perturbations and strata has no slope of its own, so a perturbation in
    which it is not what it is in the cells to compare with may differ for that reason alone.
    """
    lost = np.zeros(comparison.n_groups, dtype=bool)
    if comparison.covariates is None:
        return lost
    C, of_cell = _scaled_covariates(comparison)
    rows = comparison.codes >= 0
    _, _, right, kept = _within(C[rows], of_cell)
    if kept.all():
        return lost
    sizes = group_effect_sizes(C @ right[~kept].T, comparison.codes, comparison.control, strata=comparison.strata)
    lost[: len(sizes.n_cells)] = (np.abs(sizes.difference) > LEAST_SHARE).any(axis=1)
    if comparison.control is not None:
        lost[comparison.control] = False
    return lost


def _scaled_covariates(comparison: Comparison) -> tuple[Array, Array]:
    """Covariates with mean 0 and variance 1 over the cells compared, and the perturbation x stratum of these cells."""
    covariates, codes = np.asarray(comparison.covariates, dtype=np.float64), comparison.codes
    strata = np.zeros_like(codes) if comparison.strata is None else comparison.strata
    rows = codes >= 0
    _, of_cell = np.unique(codes[rows] * (int(strata.max(initial=0)) + 1) + strata[rows], return_inverse=True)
    C = covariates - covariates[rows].mean(axis=0)
    spread = C[rows].std(axis=0)
    C = np.where(spread > ROUNDING * np.abs(covariates[rows]).max(axis=0, initial=0), C, 0)
    C = C / np.where(spread > 0, spread, 1)
    C[~rows] = 0
    return C, of_cell


def _less_means(x: Array, of_cell: Array) -> Array:
    """Rows less the mean of their perturbation x stratum."""
    counts = np.bincount(of_cell)[:, None]
    sums = np.zeros((len(counts), x.shape[1]))
    np.add.at(sums, of_cell, x)
    return np.asarray(x - (sums / counts)[of_cell])


def _within(C: Array, of_cell: Array) -> tuple[Array, Array, Array, Array]:
    """Singular value decomposition of covariates within perturbations and strata, and which directions vary there.

    The floor is absolute, in units of the covariates' own spread: relative to the strongest direction, the rounding of
    a design without any would pass for one.
    """
    left, strength, right = np.linalg.svd(_less_means(C, of_cell), full_matrices=False)
    return left, strength, right, strength > LEAST_SHARE * np.sqrt(len(C))


def compare_without_targets(
    values: Array, comparison: Comparison, options: Options, *, solver: UsagesWithout, genes: Mapping[int, Array]
) -> Effects:
    """Compare each perturbation with its control on usages that do not see the genes that it targets itself.

    ``genes`` are the features to leave out for a perturbation; the others are compared as they are.
    """
    everything = compare(values, comparison.without(list(genes)), options)
    rows = {}
    for g, features in genes.items():
        one = comparison.only(g)
        changed = without_genes(values, one, solver, features, n_jobs=options.n_jobs)
        # The spread between replicates is pooled over all perturbations, so the others stay in.
        rows[g] = compare(changed, one if comparison.replicates is None else comparison, options)
    return everything.take(rows)


def without_genes(
    values: Array, comparison: Comparison, solver: UsagesWithout, features: Array, *, n_jobs: int | None
) -> Array:
    """Return usages that do not see some genes in the cells that are compared; in the others they are as they were."""
    cells = np.flatnonzero(comparison.codes >= 0)
    changed = values.astype(np.float64)
    changed[cells] = solver.solve(features, cells, values[cells], n_jobs=n_jobs)
    return changed
