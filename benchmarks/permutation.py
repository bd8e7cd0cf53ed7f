"""Tests on groups of cells at the size of a genome-wide screen: seconds, and peak memory beyond the input.

    python benchmarks/permutation.py [--cells 200000] [--programs 50] [--perturbations 2000] [--permutations 999]
                                     [--strata 8] [--threads 2] [--dtype float32]

One test per process that has done nothing else but compile the kernels. Usages are 70 % zeros, group sizes lognormal,
5 % of the cells are controls. The last rows stop a column after 20 hits (Besag and Clifford).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from scprograms.perturbation.engine import one_way_anova, permutation_anova, permutation_contrasts


def usages(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return usages, codes (0 is the control) and strata."""
    rng = np.random.default_rng(0)
    values = np.empty((args.cells, args.programs), dtype=args.dtype)
    for j in range(args.programs):  # a column at a time, so that the input is all that is ever held
        values[:, j] = rng.gamma(0.3, size=args.cells) * (rng.random(args.cells) < 0.3)
    sizes = rng.lognormal(0, 0.5, args.perturbations)
    codes = 1 + rng.choice(args.perturbations, args.cells, p=sizes / sizes.sum())
    codes[rng.random(args.cells) < 0.05] = 0
    return values, codes, rng.integers(0, args.strata, args.cells)


def tests(args: argparse.Namespace) -> dict:
    """Return each test as a function of values, codes and strata."""

    def permuted(function, *control, n_permutations=args.permutations, stop_after=None):
        def test(values, codes, strata):
            options = {"n_permutations": n_permutations, "stop_after": stop_after, "n_jobs": args.threads}
            return function(values, codes, *control, strata=strata, **options)

        return test

    more = 10 * (args.permutations + 1) - 1
    return {
        "ANOVA": lambda values, codes, _: one_way_anova(values, codes),
        f"omnibus, {args.permutations}": permuted(permutation_anova),
        f"against control, {args.permutations}": permuted(permutation_contrasts, 0),
        f"against rest, {args.permutations}": permuted(permutation_contrasts, None),
        f"omnibus, {more}, stopped": permuted(permutation_anova, n_permutations=more, stop_after=20),
        f"against control, {more}, stopped": permuted(permutation_contrasts, 0, n_permutations=more, stop_after=20),
    }


def status(field: str) -> int:
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith(field))


def measure(args: argparse.Namespace) -> None:
    """Run one test, in this process."""
    test, (values, codes, strata) = tests(args)[args.test], usages(args)
    few = slice(0, 500)
    compiled = argparse.Namespace(**{**vars(args), "permutations": 3})
    dict(zip(tests(args), tests(compiled).values(), strict=True))[args.test](values[few], codes[few] % 5, strata[few])
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, wall, cpu = status("VmRSS"), time.perf_counter(), time.process_time()
    test(values, codes, strata)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"| {args.test} | {cpu:.2f} | {wall:.2f} | {(status('VmHWM') - before) / 2**20:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=200_000)
    parser.add_argument("--programs", type=int, default=50)
    parser.add_argument("--perturbations", type=int, default=2000)
    parser.add_argument("--permutations", type=int, default=999)
    parser.add_argument("--strata", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--test", help="only this one, in this process")
    args = parser.parse_args()
    if args.test:
        measure(args)
        return
    size = args.cells * args.programs * np.dtype(args.dtype).itemsize / 2**30
    print(f"{args.cells} cells x {args.programs} programs ({size:.2f} GiB), {args.perturbations} perturbations,")
    print(f"{args.strata} strata, {args.threads} threads\n")
    print("| test, permutations | CPU s | wall s | extra peak memory, GiB |")
    print("| --- | --- | --- | --- |", flush=True)
    for name in tests(args):
        command = [sys.executable, __file__, *sys.argv[1:], "--test", name]
        print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, end="", flush=True)


if __name__ == "__main__":
    main()
