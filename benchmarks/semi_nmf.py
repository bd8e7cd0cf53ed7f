"""Cost of a semi-NMF against the published workflow and one randomized SVD, in one run.

Each row is the median over interleaved repeats of CPU and wall seconds until the error is within 1.001 times the bound
(the truncated SVD's, from ``svds(tol=1e-10)``). The penalty is 0: the default's ends at about 1.001 by design.

    python benchmarks/semi_nmf.py [--cells 5000 50000] [--programs 20 50] [--repeats 3]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import scanpy as sc
from scipy import sparse
from scipy.sparse.linalg import svds
from sklearn.utils.extmath import randomized_svd

import scprograms as scp
from scprograms.factorization import SemiNMF

GOAL = 1.001


def screen(n_cells: int, n_genes: int) -> sparse.csr_matrix:
    """Return a simulated, log-normalised screen as float32 CSR."""
    adata = scp.datasets.simulate_screen(n_cells, n_genes, 20, random_state=0)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return sparse.csr_matrix(adata.X, dtype=np.float32)


def reference(
    X: np.ndarray, k: int, max_iter: int, stop: Callable[[np.ndarray, np.ndarray], bool] = lambda *_: False
) -> int:
    """Run the published workflow (random start, multiplicative updates, dense matrix); return the iterations."""
    rng = np.random.default_rng(0)
    W = (rng.random((X.shape[0], k)) + 0.2).astype(X.dtype)
    H = np.linalg.solve(W.T @ W, W.T @ X)
    for i in range(1, max_iter + 1):
        A, B = X @ H.T, H @ H.T
        W *= (np.maximum(A, 0) + W @ np.maximum(-B, 0)) / (np.maximum(-A, 0) + W @ np.maximum(B, 0) + 1e-9)
        H = np.linalg.solve(W.T @ W, W.T @ X)
        if stop(W, H):
            return i
    return max_iter


def timed(function: Callable[[], object]) -> tuple[float, float, object]:
    """Return CPU seconds, wall seconds and the result."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = function()
    return time.process_time() - cpu, time.perf_counter() - wall, result


def reference_iterations(X: sparse.csr_matrix, k: int, bound: float, total: float) -> int:
    """Return how many iterations the reference needs, found outside the clock: its stop test is not its cost."""
    dense = X.toarray()

    def reached(W: np.ndarray, H: np.ndarray) -> bool:
        W, H = W.astype(float), H.astype(float)
        squared = total - 2 * np.sum(H * (W.T @ dense)) + np.sum((H @ H.T) * (W.T @ W))
        return np.sqrt(max(squared, 0)) <= GOAL * bound

    return reference(dense, k, 400, reached)


def peak_memory(n_cells: int, n_genes: int, k: int) -> float:
    """Return the extra peak memory of a fit over the input's size, measured in a process of its own."""
    code = f"""
import resource, sys, numpy as np
sys.path.insert(0, {str(__file__.rsplit("/", 1)[0])!r})
from semi_nmf import screen
from scprograms.factorization import SemiNMF
from scipy import sparse
SemiNMF(3, random_state=0).fit(screen(500, 300))
rng = np.random.default_rng(0)
tile = screen(5000, {n_genes})
X = sparse.vstack([tile] * ({n_cells} // 5000), format="csr", dtype=np.float32)
size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
from pathlib import Path
Path("/proc/self/clear_refs").write_text("5")
before = int(next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1])
SemiNMF({k}, l1=0, random_state=0).fit(X)
after = int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1])
print((after - before) * 1024 / size)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[5000, 50_000])
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--programs", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    SemiNMF(3, random_state=0).fit(screen(500, 300))  # compile the kernels
    print("| cells | k | what | CPU s | wall s | CPU / ours | error / bound |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for n_cells in args.cells:
        X = screen(n_cells, args.genes)
        dense, single = X.toarray().astype(np.float64), X.toarray()
        total = float(np.square(X.data, dtype=np.float64).sum())
        for k in args.programs:
            bound = np.sqrt(total - np.square(svds(X.astype(np.float64), k, tol=1e-10)[1]).sum())
            n_iter = reference_iterations(X, k, bound, total)
            rows: dict[str, list[tuple[float, float, float]]] = {}
            for repeat in range(args.repeats):
                runs: dict[str, Callable[[], object]] = {
                    "scprograms": partial(SemiNMF(k, l1=0, random_state=repeat).fit, X),
                    "scprograms, 1 thread": partial(SemiNMF(k, l1=0, random_state=repeat, n_jobs=1).fit, X),
                    "randomized_svd": partial(randomized_svd, X, k, random_state=repeat),
                }
                if repeat == 0:
                    runs[f"reference float64, {n_iter} it"] = partial(reference, dense, k, n_iter)
                    runs[f"reference float32, {n_iter} it"] = partial(reference, single, k, n_iter)
                for name, run in runs.items():
                    cpu, wall, result = timed(run)
                    ratio = result.error_ / bound if isinstance(result, SemiNMF) else np.nan
                    rows.setdefault(name, []).append((cpu, wall, ratio))
            ours = np.median([row[0] for row in rows["scprograms, 1 thread"]])
            for name, values in rows.items():
                cpu, wall, ratio = np.median(values, axis=0)
                figures = f"{cpu:.2f} | {wall:.2f} | {cpu / ours:.1f} | {ratio:.5f}"
                print(f"| {n_cells} | {k} | {name} | {figures} |", flush=True)
            memory = peak_memory(n_cells, args.genes, k)
            print(f"| {n_cells} | {k} | extra peak memory / input: {memory:.2f} | | | | |", flush=True)


if __name__ == "__main__":
    main()
