"""Cost and error of NMF against scikit-learn's, in one run.

Each row is the median over interleaved repeats of CPU and wall seconds of one fit at its default tolerance and at most
200 sweeps, on one thread. Errors are those of the returned factors, as a ratio to the error of scikit-learn's
coordinate descent (``cd``, from ``nndsvda``); scikit-learn's multiplicative updates (``mu``) start there too.

    python benchmarks/non_negative.py [--cells 5000 50000] [--programs 20] [--repeats 3]
"""

from __future__ import annotations

import argparse
import warnings
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from semi_nmf import screen, timed
from sklearn import decomposition
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from scprograms.programs.engine import NMF

if TYPE_CHECKING:
    from scipy import sparse

MAX_ITER = 200
REFERENCE = "scikit-learn cd"


def estimators(k: int, seed: int) -> dict[str, NMF | decomposition.NMF]:
    theirs = {"n_components": k, "init": "nndsvda", "max_iter": MAX_ITER, "random_state": seed}
    ours = {"n_components": k, "max_iter": MAX_ITER, "random_state": seed, "n_jobs": 1}
    return {
        REFERENCE: decomposition.NMF(solver="cd", **theirs),
        "scikit-learn mu": decomposition.NMF(solver="mu", **theirs),
        "scprograms hals": NMF(solver="hals", **ours),
        "scprograms lsnmf": NMF(solver="lsnmf", **ours),
    }


def error(X: sparse.csr_matrix, W: np.ndarray, H: np.ndarray) -> float:
    """Return the Frobenius norm of the residual, in float64."""
    W, H = W.astype(float), H.astype(float)
    explained = 2 * np.sum((X.T @ W).T * H) - np.sum((W.T @ W) * (H @ H.T))
    return float(np.sqrt(np.square(X.data, dtype=float).sum() - explained))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[5000, 50_000])
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--programs", type=int, nargs="+", default=[20])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    NMF(3, random_state=0).fit(screen(500, 300))  # compile the kernels
    print("| cells | k | what | CPU s | wall s | CPU / cd | error / cd | sweeps |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for n_cells in args.cells:
        X = screen(n_cells, args.genes)
        for k in args.programs:
            rows: dict[str, list[tuple[float, float, float, float]]] = {}
            for repeat in range(args.repeats):
                for name, model in estimators(k, repeat).items():
                    with threadpool_limits(limits=1):
                        cpu, wall, W = timed(partial(model.fit_transform, X))
                    rows.setdefault(name, []).append((cpu, wall, error(X, W, model.components_), model.n_iter_))
            reference = np.median(rows[REFERENCE], axis=0)
            for name, values in rows.items():
                cpu, wall, end, sweeps = np.median(values, axis=0)
                figures = f"{cpu:.2f} | {wall:.2f} | {cpu / reference[0]:.3f} | {end / reference[2]:.6f} | {sweeps:.0f}"
                print(f"| {n_cells} | {k} | {name} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
