"""How often ``rank_sweep`` finds the planted number of programs, what it suggests on real screens, and what it costs.

    python benchmarks/rank.py [--method semi_nmf] [--parts planted real cost] [--data ../shared/data]

``--method`` is semi_nmf, nmf or onmf.

- planted: eight simulated screens of 5,000 cells and 2,000 genes: 6 or 20 programs, a median of 1,000 or 5,000 counts
  per cell, two seeds. The range is 2, 3, ..., 12 for 6 programs, and 5, 10, 15, 18, 19, ..., 22, 25, 30, 35 for 20.
- real: the curves on PBMC 3k, Kang and Papalexi, 5, 10, ..., 45.
- cost: CPU seconds on one thread of 5, 10, ..., 45 at 50,000 x 2,000 (20 planted programs), against one fit of 45
  programs; then of cross-validation and of stability.
"""

from __future__ import annotations

import argparse
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import scanpy as sc
from quality import load

import scprograms as scp
from scprograms.programs.engine import NMF, OrthogonalNMF, RankCurves, SemiNMF, sweep_ranks

RANGES = {6: list(range(2, 13)), 20: [5, 10, 15, 18, 19, 20, 21, 22, 25, 30, 35]}
RANGE = list(range(5, 50, 5))
ESTIMATORS = {"semi_nmf": SemiNMF, "nmf": NMF, "onmf": OrthogonalNMF}


def screen(n_cells: int, k: int, depth: float, seed: int, **options: float) -> object:
    adata = scp.datasets.simulate_screen(n_cells, 2000, k, library_size=depth, random_state=seed, **options)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata.X


def timed(X: object, ranks: list[int], method: str, **options: bool) -> tuple[RankCurves, float]:
    cpu = time.process_time()
    curves = sweep_ranks(X, ranks, method=method, random_state=0, n_jobs=1, **options)
    return curves, time.process_time() - cpu


def planted(method: str) -> None:
    print("| programs | counts | seed | suggested | least held-out error at | CPU s |")
    print("| --- | --- | --- | --- | --- | --- |")
    hits = 0
    for k, ranks in RANGES.items():
        for depth in (1000, 5000):
            for seed in (0, 1):
                curves, cpu = timed(screen(5000, k, depth, seed), ranks, method, stability=False)
                hits += curves.suggested == k
                least = ranks[int(np.argmin(curves.cv_error))]
                print(f"| {k} | {depth} | {seed} | {curves.suggested} | {least} | {cpu:.1f} |", flush=True)
    print(f"\n{hits} of 8\n")


def real(method: str, folder: Path) -> None:
    print("| data | k | error ratio | held-out error (sd) | stability (sd) | silhouette | suggested |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in ("pbmc3k", "kang", "papalexi"):
        curves, cpu = timed(load(name, folder)[0], RANGE, method)
        for i, k in enumerate(RANGE):
            print(
                f"| {name} | {k} | {curves.error_ratio[i]:.4f} | {curves.cv_error[i]:.5f} ({curves.cv_sd[i]:.5f}) | "
                f"{curves.stability[i]:.3f} ({curves.stability_sd[i]:.3f}) | {curves.silhouette[i]:.3f} | "
                f"{'x' if k == curves.suggested else ''} |"
            )
        print(f"\n{name}: {curves.reason} CPU {cpu:.0f} s.\n", flush=True)


def cost(method: str) -> None:
    X = screen(50_000, 20, 2500, 0)
    cpu = time.process_time()
    ESTIMATORS[method](max(RANGE), random_state=0, n_jobs=1).fit(X)
    one = time.process_time() - cpu
    base = timed(X, RANGE, method, cross_validation=False, stability=False)[1]
    held_out = timed(X, RANGE, method, stability=False)[1] - base
    stable = timed(X, RANGE, method, cross_validation=False)[1] - base
    print(f"one {method} with {max(RANGE)} programs: {one:.1f} CPU s")
    for name, seconds in (("sweep", base), ("cross-validation", held_out), ("stability", stable)):
        print(f"{name}: {seconds:.1f} CPU s, {seconds / one:.1f} times as much")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=ESTIMATORS, default="semi_nmf")
    parser.add_argument("--parts", nargs="+", default=["planted", "real", "cost"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    timed(screen(500, 6, 2500, 0), [2, 3], args.method)  # compile the kernels
    for part in args.parts:
        {"planted": planted, "real": partial(real, folder=args.data), "cost": cost}[part](args.method)


if __name__ == "__main__":
    main()
