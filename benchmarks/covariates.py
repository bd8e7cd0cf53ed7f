"""Type I error of effects beside a covariate that goes along with the perturbation, with nothing to find.

    python benchmarks/covariates.py [--screens 120]

Control and one perturbation of 150 cells with five guides each; usages of 10 programs are gamma (shape 2), the
covariate is normal and correlates with the perturbation by r. Given is the share of p <= 0.05, 5 % being right, with
guides as the unit and by permutation of cells (999).
"""

from __future__ import annotations

import argparse

import numpy as np

from scprograms.perturbation.engine.comparison import Comparison, Options, compare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screens", type=int, default=120)
    args = parser.parse_args()
    codes, guides = np.repeat([0, 1], 150), np.repeat(np.arange(10), 30)
    print("| r | tests | guides | permutation |\n| --- | --- | --- | --- |")
    for r in (0.0, 0.5, 0.7, 0.9):
        p: dict[str, list[float]] = {"guides": [], "permutation": []}
        for seed in range(args.screens):
            rng = np.random.default_rng(seed)
            covariate = r * (2 * codes - 1) + np.sqrt(1 - r**2) * rng.normal(size=300)
            usages = rng.gamma(2, 1, (300, 10))
            for unit, replicates in (("guides", guides), ("permutation", None)):
                design = Comparison(codes, 2, 0, replicates=replicates, covariates=covariate[:, None])
                p[unit] += list(compare(usages, design, Options(999, 0, 1)).p[1])
        shares = [f"{np.mean(np.array(values) <= 0.05):.3f}" for values in p.values()]
        print(f"| {r:g} | {len(p['guides'])} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
