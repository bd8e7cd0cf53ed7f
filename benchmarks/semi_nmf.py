"""Cost of a semi-NMF against the published workflow and one randomized SVD, in one run.

Each row is the median over interleaved repeats of CPU and wall seconds until the error is within 1.001 times the bound
(the truncated SVD's, from ``svds(tol=1e-10)``); the reference gets at most 100 iterations to reach it, once, and its
last error is shown. The penalty is 0: the default's ends at about 1.001 by design.

    python benchmarks/semi_nmf.py [--cells 5000 50000] [--programs 20 50] [--repeats 3]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scanpy as sc
from scipy import sparse
from scipy.sparse.linalg import svds
from sklearn.utils.extmath import randomized_svd

import scprograms as scp
from scprograms.programs.engine import SemiNMF

if TYPE_CHECKING:
    from collections.abc import Callable

GOAL = 1.001
MAX_REFERENCE = 100


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


def reference_iterations(X: sparse.csr_matrix, k: int, bound: float, total: float) -> tuple[int, float]:
    """Return the iterations that the reference needs and where it ends, outside the clock: its test is not its cost."""
    dense, seen = X.toarray(), []

    def reached(W: np.ndarray, H: np.ndarray) -> bool:
        W, H = W.astype(float), H.astype(float)
        squared = total - 2 * np.sum(H * (W.T @ dense)) + np.sum((H @ H.T) * (W.T @ W))
        seen.append(float(np.sqrt(max(squared, 0))))
        return seen[-1] <= GOAL * bound

    reference(dense, k, MAX_REFERENCE, reached)
    return len(seen), seen[-1] / bound


MEMORY = """
import sys
from pathlib import Path
import numpy as np
from scipy import sparse
from scprograms.programs.engine import SemiNMF

folder, k = Path(sys.argv[1]), int(sys.argv[2])
X = sparse.csr_matrix(tuple(np.load(folder / f"{part}.npy") for part in ("data", "indices", "indptr")))
SemiNMF(3, random_state=0).fit(X[:500])

def status(field):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith(field))

Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
SemiNMF(k, l1=0, random_state=0).fit(X)
print((status("VmHWM") - before) * 1024 / (X.data.nbytes + X.indices.nbytes + X.indptr.nbytes))
"""


def peak_memory(X: sparse.csr_matrix, k: int) -> float:
    """Return the extra peak memory of a fit over the input's size, in a process that has done nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        for part in ("data", "indices", "indptr"):
            np.save(Path(folder) / f"{part}.npy", getattr(X, part))
        command = [sys.executable, "-c", MEMORY, folder, str(k)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


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
            n_iter, end = reference_iterations(X, k, bound, total)
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
                    ratio = (
                        result.error_ / bound if isinstance(result, SemiNMF) else end if "reference" in name else np.nan
                    )
                    rows.setdefault(name, []).append((cpu, wall, ratio))
            ours = np.median([row[0] for row in rows["scprograms, 1 thread"]])
            for name, values in rows.items():
                cpu, wall, ratio = np.median(values, axis=0)
                figures = f"{cpu:.2f} | {wall:.2f} | {cpu / ours:.1f} | {ratio:.5f}"
                print(f"| {n_cells} | {k} | {name} | {figures} |", flush=True)
            memory = peak_memory(X, k)
            print(f"| {n_cells} | {k} | extra peak memory / input: {memory:.2f} | | | | |", flush=True)


if __name__ == "__main__":
    main()
