"""How the cost of a semi-NMF grows with cells, genes, programs and density, one at a time.

    python benchmarks/growth.py [--cells 20000] [--genes 2000] [--programs 20] [--density 0.1] [--repeats 3]

CPU seconds of ``SemiNMF(k)`` with its defaults on one thread (medians; in memory, float32 CSR), each also over that of
the middle of the table. Non-zero entries have random places and log-normal values over 20 planted programs: the cost
depends on their number, the number of sweeps hardly on what they say.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
from scipy import sparse
from semi_nmf import timed

from scprograms.programs.engine import SemiNMF

CELLS = (5_000, 20_000, 80_000, 320_000)
GENES = (500, 2_000, 8_000, 20_000)
PROGRAMS = (5, 10, 20, 50, 100)
DENSITY = (0.02, 0.05, 0.1, 0.3)
N_PLANTED = 20


def screen(n_cells: int, n_genes: int, density: float, seed: int = 0) -> sparse.csr_matrix:
    """Return planted programs, seen at random places."""
    rng = np.random.default_rng(seed)
    usages, loadings = rng.gamma(0.3, size=(n_cells, N_PLANTED)), rng.gamma(0.3, size=(N_PLANTED, n_genes))
    usages, loadings = usages.astype(np.float32), loadings.astype(np.float32)
    blocks = []
    for start in range(0, n_cells, 5_000):
        rows = usages[start : start + 5_000]
        seen = rng.random((len(rows), n_genes), dtype=np.float32) < density
        r, c = np.nonzero(seen)
        values = np.einsum("ij,ij->i", rows[r], loadings.T[c]) + rng.gamma(1, 0.3, size=len(r)).astype(np.float32)
        blocks.append(sparse.csr_matrix((np.log1p(values), (r, c)), shape=seen.shape))
    return sparse.vstack(blocks, format="csr")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--genes", type=int, default=2_000)
    parser.add_argument("--programs", type=int, default=20)
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    middle = {"cells": args.cells, "genes": args.genes, "programs": args.programs, "density": args.density}
    varied = {"cells": CELLS, "genes": GENES, "programs": PROGRAMS, "density": DENSITY}

    def cost(size: dict[str, float]) -> float:
        X = screen(int(size["cells"]), int(size["genes"]), size["density"])
        model = SemiNMF(int(size["programs"]), random_state=0, n_jobs=1)
        return float(np.median([timed(lambda: model.fit(X))[0] for _ in range(args.repeats)]))

    SemiNMF(3, n_jobs=1).fit(screen(500, 300, 0.1))  # compile the kernels
    base = cost(middle)
    print(f"Middle: {middle}: {base:.2f} CPU s\n")
    print("| varied | from the middle's | CPU s | times the middle |\n| --- | --- | --- | --- |")
    for what, values in varied.items():
        for value in values:
            if value == middle[what]:
                continue
            spent = cost(middle | {what: value})
            print(
                f"| {what} | {value:,} = {value / middle[what]:.3g}x | {spent:.2f} | {spent / base:.2f} |", flush=True
            )


if __name__ == "__main__":
    main()
