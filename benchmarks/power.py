"""What the calibrated tests find of planted effects, beside an oracle that knows the variances.

    python benchmarks/power.py [--screens 20] [--only SCREEN ...]

Screens as in calibration.py (30 perturbations with 3 guides each, 15 control guides, 50 or 5 to 200 cells per guide),
with effects of 0.2 to 1 standard deviations (at 70 % zeros at most 0.64, where every cell is active). Contrasts: 20
programs, a fifth of all 600 pairs of perturbation and program has an effect, q over all pairs. All perturbations at
once: 100 programs, half of them moved by one perturbation, q over programs. Permutations: 20 times the number of tests,
ended after 20 hits.

Found: share of the planted effects with q < 0.05. FDR: mean over screens of the share of what is found that was not
planted. The oracle is the z (or chi-squared) test weighted by the true variances, those of 1,000 programs on screens of
the same kind without effects. Where usages are too skewed for it and its FDR is above 0.06, it is given a smaller cut
than 0.05, such that it is not. A test should have an FDR of at most 0.06, and find 0.9 of what the oracle finds on the
scale of the test. "Ratio known": an F test on the scale of the test that knows the variances but for a factor, for
which it has the guides' degrees of freedom, as F has; the oracle has infinitely many. Beside F, the tests of all at
once look at the perturbation furthest from the others, which no oracle does: where one moves they can find more.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from _nulls import Screen, simulate_null
from calibration import batch_levels, levels, log_depth, of_batch
from scipy.special import chdtrc, fdtrc, ndtr
from scipy.stats import rankdata

from scprograms._core.moments import group_moments
from scprograms._core.multiple_testing import benjamini_hochberg
from scprograms.perturbation.engine import (
    permutation_anova,
    permutation_contrasts,
    rank_anova,
    replicate_anova,
    replicate_contrasts,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = 20261122
TARGETS = 30
PROGRAMS = {"contrasts": 20, "all at once": 100}
LARGEST_FDR, LEAST_SHARE = 0.06, 0.9
MONTE_CARLO = {"stop_after": 20, "n_jobs": 1}
Array = np.ndarray


def sum_by(x: Array, codes: Array) -> Array:
    out = np.zeros((codes.max() + 1, *x.shape[1:]))
    np.add.at(out, codes, x)
    return out


class OfGuides:
    """Knows the variances between and within guides; guides are weighted by them."""

    def __init__(self, screens: list[tuple[Screen, Array]]) -> None:
        within, between = [], []
        for screen, values in screens:
            n, mean, variance, groups = self._guides(screen, values)
            total = sum_by(n, groups)
            center = sum_by(n[:, None] * mean, groups) / total[:, None]
            squares = np.mean(np.sum(n[:, None] * (mean - center[groups]) ** 2, axis=0))
            pooled = np.mean((n - 1) @ variance / (n - 1).sum())
            df, cells = len(n) - len(total), n.sum() - np.sum(sum_by(n**2, groups) / total)
            within.append(pooled)
            between.append((squares - df * pooled) / cells)
        self.within, self.between = float(np.mean(within)), max(float(np.mean(between)), 0.0)

    @staticmethod
    def _guides(screen: Screen, values: Array) -> tuple[Array, ...]:
        moments = group_moments(values, screen.replicates)
        n = moments.counts.astype(float)
        groups = np.zeros(len(n), dtype=int)
        groups[screen.replicates] = screen.codes
        return n, moments.means, moments.squares / np.maximum(n - 1, 1)[:, None], groups

    def _means(self, screen: Screen, values: Array) -> tuple[Array, Array]:
        n, mean, _, groups = self._guides(screen, values)
        w = 1 / (self.between + self.within / n)
        total = sum_by(w, groups)[:, None]
        return sum_by(w[:, None] * mean, groups) / total, total

    def contrasts(self, screen: Screen, values: Array) -> Array:
        """Return p of each perturbation against control."""
        mean, weight = self._means(screen, values)
        return 2 * ndtr(-np.abs(mean[1:] - mean[0]) / np.sqrt(1 / weight[1:] + 1 / weight[0]))

    def all_at_once(self, screen: Screen, values: Array) -> Array:
        """Return p of each program."""
        mean, weight = self._means(screen, values)
        center = np.sum(weight * mean, axis=0) / weight.sum()
        return chdtrc(len(mean) - 1, np.sum(weight * (mean - center) ** 2, axis=0))[None]

    def ratio_known(self, screen: Screen, values: Array) -> Array:
        """Return p of each program if the variances are known but for a factor, which the guides must tell."""
        n, mean, _, groups = self._guides(screen, values)
        center, weight = self._means(screen, values)
        between = np.sum(weight * (center - np.sum(weight * center, axis=0) / weight.sum()) ** 2, axis=0)
        within = np.sum((mean - center[groups]) ** 2 / (self.between + self.within / n)[:, None], axis=0)
        df = len(center) - 1, len(n) - len(center)
        return fdtrc(*df, between / df[0] / (within / df[1]))[None]


class OfCells:
    """Knows the variance that groups and covariates leave between cells; least squares on both."""

    def __init__(self, screens: list[tuple[Screen, Array]], covariates: Callable[[Screen], Array]) -> None:
        self.covariates = covariates
        self.variance = 1.0
        squares = []
        for screen, values in screens:
            full = np.column_stack([levels(screen.codes), covariates(screen)])
            squares.append(self._left(values, full) / (len(values) - full.shape[1] - 1))
        self.variance = float(np.mean(squares))

    @staticmethod
    def _left(values: Array, design: Array) -> Array:
        Q = np.linalg.qr(np.column_stack([np.ones(len(design)), design]))[0]
        return np.sum(values**2, axis=0) - np.sum((Q.T @ values) ** 2, axis=0)

    def contrasts(self, screen: Screen, values: Array) -> Array:
        """Return p of each perturbation against control."""
        C = self.covariates(screen)
        p = []
        for g in range(1, TARGETS + 1):
            pair = (screen.codes == 0) | (screen.codes == g)
            squares = self._left(values[pair], C[pair])
            squares -= self._left(values[pair], np.column_stack([screen.codes[pair] == g, C[pair]]))
            p.append(chdtrc(1, squares / self.variance))
        return np.array(p)

    def all_at_once(self, screen: Screen, values: Array) -> Array:
        """Return p of each program."""
        C = self.covariates(screen)
        squares = self._left(values, C) - self._left(values, np.column_stack([levels(screen.codes), C]))
        return chdtrc(TARGETS, squares / self.variance)[None]


def nothing(screen: Screen) -> Array:
    return np.zeros((len(screen.codes), 0))


def permuted(strata: Callable[[Screen], Array] | None = None) -> Callable[[Screen, str], Array]:
    def test(s: Screen, what: str) -> Array:
        options = MONTE_CARLO | {"strata": None if strata is None else strata(s)}
        if what == "contrasts":
            n = 20 * TARGETS * s.values.shape[1]
            return permutation_contrasts(s.values, s.codes, 0, n_permutations=n, **options).p[1:]
        return permutation_anova(s.values, s.codes, n_permutations=20 * s.values.shape[1], **options).p[None]

    return test


def on_ranks(covariates: Callable[[Screen], Array]) -> Callable[[Screen, str], Array]:
    return lambda s, _: rank_anova(s.values, s.codes, covariates(s)).p[None]


def with_guides(s: Screen, what: str) -> Array:
    if what == "contrasts":
        return replicate_contrasts(s.values, s.codes, s.replicates, control=0).p[1:]
    return replicate_anova(s.values, s.codes, s.replicates).p[None]


@dataclass(frozen=True)
class Case:
    """Kind of screen, the test, and what its oracle is told."""

    name: str
    test: Callable[[Screen, str], Array]
    what: tuple[str, ...] = ("contrasts", "all at once")
    scale: str = "values"
    covariates: Callable[[Screen], Array] | None = None
    options: dict = field(default_factory=dict)


NORMAL, UNEQUAL = {"kind": "normal"}, {"cells_per_guide": (5, 200)}
FEW = {"kind": "zeros97"}


def _guides(share: float, **options: object) -> dict:
    return {"test": with_guides, "scale": "ranks", "options": {"guide_variance": share} | options}


CASES = {
    "normal, guides 0.6 %": Case("replicate", **_guides(0.006, **NORMAL)),
    "70 % zeros, guides 0.15 %, unequal": Case("replicate", **_guides(0.0015, **UNEQUAL)),
    "70 % zeros, guides 0.6 %": Case("replicate", **_guides(0.006)),
    "70 % zeros, guides 0.6 %, unequal": Case("replicate", **_guides(0.006, **UNEQUAL)),
    "70 % zeros, guides 5 %, unequal": Case("replicate", **_guides(0.05, **UNEQUAL)),
    "97 % zeros, guides 0.15 %, unequal": Case("replicate", **_guides(0.0015, **FEW, **UNEQUAL)),
    "normal": Case("permutation", permuted(), covariates=nothing, options=NORMAL),
    "70 % zeros": Case("permutation", permuted(), covariates=nothing),
    "70 % zeros, unequal": Case("permutation", permuted(), covariates=nothing, options=UNEQUAL),
    "97 % zeros, unequal": Case("permutation", permuted(), covariates=nothing, options=FEW | UNEQUAL),
    "70 % zeros, batches": Case(
        "permutation", permuted(of_batch), covariates=batch_levels, options={"batches": "uneven"}
    ),
}
RANKED = {
    "normal ": ({"kind": "normal"}, nothing),
    "70 % zeros, batches ": ({"batches": "uneven"}, batch_levels),
    "70 % zeros, depth": ({"depth_shift": 0.2}, log_depth),
    "97 % zeros, depth": (FEW | {"depth_shift": 0.2}, log_depth),
}
CASES |= {
    name: Case("rank_anova", on_ranks(covariates), ("all at once",), "ranks", covariates, options)
    for name, (options, covariates) in RANKED.items()
}


def planted(kind: str, what: str, rng: np.random.Generator) -> Array:
    """Return effects, perturbations (control first) x programs."""
    k = PROGRAMS[what]
    moved = np.zeros((TARGETS + 1, k), dtype=bool)
    if what == "contrasts":
        moved[1:] = rng.random((TARGETS, k)) < 0.2
    else:
        moved[rng.integers(1, TARGETS + 1, k // 2), np.arange(k // 2)] = True
    sign = rng.choice([-1, 1], moved.shape) if kind == "normal" else 1
    return moved * rng.uniform(0.2, 1, moved.shape) * sign


def values_on(screen: Screen, scale: str) -> Array:
    return rankdata(screen.values, axis=0) / len(screen.values) if scale == "ranks" else screen.values.astype(float)


def measure(name: str, case: Case, n_screens: int, seed: int) -> None:
    number = (seed * 100 + list(CASES).index(name)) * 1_000
    options = {"n_targets": TARGETS} | case.options
    blank = [simulate_null(n_programs=250, seed=number + 900 + i, **options) for i in range(4)]
    oracles = {}
    for scale in ("values", "ranks"):
        screens = [(s, values_on(s, scale)) for s in blank]
        oracles[scale] = OfGuides(screens) if case.covariates is None else OfCells(screens, case.covariates)
    for what in case.what:
        weaker = what == "all at once" and case.covariates is None
        keys = ("test", *oracles, *(["ratio"] if weaker else []))
        rows: dict[str, list[tuple[Array, Array]]] = {key: [] for key in keys}
        for i in range(n_screens):
            effects = planted(options.get("kind", "zeros70"), what, np.random.default_rng(number + i))
            s = simulate_null(n_programs=PROGRAMS[what], seed=number + i, effects=effects, **options)
            truth = effects[1:] != 0 if what == "contrasts" else (effects != 0).any(axis=0)[None]
            p = {"test": case.test(s, what)}
            for scale, oracle in oracles.items():
                test = oracle.contrasts if what == "contrasts" else oracle.all_at_once
                p[scale] = test(s, values_on(s, scale))
            if weaker:
                p["ratio"] = oracles[case.scale].ratio_known(s, values_on(s, case.scale))
            for key in keys:
                rows[key].append((benjamini_hochberg(p[key].ravel()), truth.ravel()))
        found, fdr, error = discoveries(rows["test"], 0.05)
        oracle_columns, power = [], {}
        for scale in oracles:
            cut = 0.05
            while discoveries(rows[scale], cut)[1] > LARGEST_FDR:
                cut *= 0.9
            power[scale] = discoveries(rows[scale], cut)[0]
            oracle_columns.append(f"{power[scale]:.3f}" + (f" (q < {cut:.3f})" if cut < 0.05 else ""))
        oracle_columns.append(f"{discoveries(rows['ratio'], 0.05)[0]:.3f}" if weaker else "")
        share = found / power[case.scale]
        cells = [
            name.strip(),
            f"{case.name}, {what}",
            f"{found:.3f}",
            f"{fdr:.3f} ({error:.3f})",
            *oracle_columns,
        ]
        missed = " MISS" if fdr > LARGEST_FDR or share < LEAST_SHARE else ""
        print(f"| {' | '.join(cells)} | {share:.3f} of {case.scale}{missed} |", flush=True)


def discoveries(rows: list[tuple[Array, Array]], cut: float) -> tuple[float, float, float]:
    """Return the share of planted effects found, the mean share of false ones among what is found, and its error."""
    found = sum((q[truth] < cut).sum() for q, truth in rows) / sum(truth.sum() for _, truth in rows)
    false = [(q[~truth] < cut).sum() / max((q < cut).sum(), 1) for q, truth in rows]
    return float(found), float(np.mean(false)), float(np.std(false, ddof=1) / np.sqrt(len(false)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screens", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES), metavar="SCREEN")
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    print(f"{args.screens} screens, seed {args.seed}\n")
    head = "screens", "test", "found", "FDR (error)", "oracle: on values", "on ranks", "ratio known", "found / oracle"
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}", flush=True)
    for name in args.only:
        measure(name, CASES[name], args.screens, args.seed)


if __name__ == "__main__":
    main()
