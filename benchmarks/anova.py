"""ANOVA of all programs against one product with the indicator matrix of the groups, CPU and wall time in one run.

python benchmarks/anova.py [--cells 200000] [--programs 50] [--groups 2000]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy import sparse
from scipy.stats import f_oneway

from scprograms.perturbation.engine import covariate_anova, one_way_anova, rank_anova


def best_of(function, repeats=7):
    times = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return np.min(times, axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=200_000)
    parser.add_argument("--programs", type=int, default=50)
    parser.add_argument("--groups", type=int, default=2000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    shape = options.cells, options.programs
    usages = rng.gamma(0.3, size=shape) * (rng.random(shape) < 0.3)
    codes = rng.integers(0, options.groups, options.cells)
    entries = (np.ones(options.cells), codes, np.arange(options.cells + 1))
    indicator = sparse.csr_array(entries, shape=(options.cells, options.groups))
    print(f"{options.cells} cells x {options.programs} programs, {options.groups} groups; milliseconds, best of 7")
    print(f"{'dtype':10}{'ANOVA wall':>12}{'CPU':>8}{'product wall':>14}{'CPU':>8}{'ratio wall':>12}{'CPU':>8}")
    for dtype in (np.float64, np.float32):
        W = usages.astype(dtype)
        one_way_anova(W[:1000], codes[:1000] % 2)  # compiles
        ours, product = 1e3 * best_of(lambda W=W: one_way_anova(W, codes)), 1e3 * best_of(lambda W=W: indicator.T @ W)
        ratio = ours / product
        print(
            f"{np.dtype(dtype).name:10}{ours[0]:12.1f}{ours[1]:8.1f}{product[0]:14.1f}{product[1]:8.1f}"
            f"{ratio[0]:12.2f}{ratio[1]:8.2f}"
        )
    batches = np.eye(4)[rng.integers(0, 4, options.cells)][:, 1:]
    covariates = np.column_stack([rng.normal(size=options.cells), batches])
    for name, function in (
        ("beside 4 covariates", lambda: covariate_anova(W, codes, covariates)),
        ("on ranks", lambda: rank_anova(W, codes)),
        ("on ranks, beside 4 covariates", lambda: rank_anova(W, codes, covariates)),
    ):
        print(f"float32, {name + ':':32}{1e3 * best_of(function, repeats=3)[1]:8.1f} CPU")
    oracle = f_oneway(*np.split(usages[np.argsort(codes, kind="stable")], np.cumsum(np.bincount(codes))[:-1]))
    difference = np.abs(one_way_anova(usages, codes).F / oracle.statistic - 1).max()
    print(f"largest relative difference of F from scipy.stats.f_oneway: {difference:.1e}")


if __name__ == "__main__":
    main()
