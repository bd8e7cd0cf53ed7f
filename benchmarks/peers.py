"""Time and memory of one factorization: semi-NMF here against the peers, in one run.

    python benchmarks/peers.py [--cells 5000 50000 200000] [--programs 20 50] [--sets pbmc3k kang papalexi]

Every figure is the median over interleaved repeats, on all threads that each method takes for itself; wall is also
given as a ratio to scikit-learn's NMF (nndsvda, at most 200 iterations) of the same run. Memory is the extra peak
over the input's size, each in a process that has done nothing else. "error" is over that of the truncated SVD.

- scprograms: ``SemiNMF(k)``, the defaults.
- NMF, MiniBatchNMF, randomized_svd: scikit-learn, sparse input, defaults but for ``init`` and ``max_iter`` of NMF.
- cNMF: one of its runs (by default it makes 100), which is scikit-learn's NMF with multiplicative updates, a random
  start, tol 1e-4 and at most 1,000 iterations, on sparse input.
- nmf-torch: ``run_nmf`` with its defaults on a dense matrix, where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from quality import load
from scipy import sparse
from scipy.sparse.linalg import svds
from semi_nmf import screen, timed

METHODS = ("scprograms", "NMF", "MiniBatchNMF", "cNMF, one run", "randomized_svd", "nmf-torch")
MEMORY = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from scipy import sparse
from peers import fit

X = sparse.load_npz(sys.argv[2])
fit(sys.argv[3], X[:500], 3, 0)

def status(field):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith(field))

Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
fit(sys.argv[3], X, int(sys.argv[4]), 0)
print((status("VmHWM") - before) * 1024 / (X.data.nbytes + X.indices.nbytes + X.indptr.nbytes))
"""


def fit(method: str, X: sparse.csr_matrix, k: int, seed: int) -> float:
    """Factorize, and return the error, or NaN where the method says none."""
    warnings.filterwarnings("ignore")
    if method == "scprograms":
        from scprograms.factorization import SemiNMF

        return SemiNMF(k, random_state=seed).fit(X).error_
    if method == "randomized_svd":
        from sklearn.utils.extmath import randomized_svd

        singular_values = randomized_svd(X, k, random_state=seed)[1]
        return float(np.sqrt(np.square(X.data, dtype=float).sum() - np.square(singular_values).sum()))
    if method == "nmf-torch":
        from nmf import run_nmf

        return run_nmf(X.toarray(), n_components=k, random_state=seed)[2]
    from sklearn.decomposition import NMF, MiniBatchNMF

    if method == "NMF":
        return NMF(k, init="nndsvda", max_iter=200, random_state=seed).fit(X).reconstruction_err_
    if method == "MiniBatchNMF":
        return MiniBatchNMF(k, random_state=seed).fit(X).reconstruction_err_
    return NMF(k, init="random", solver="mu", tol=1e-4, max_iter=1000, random_state=seed).fit(X).reconstruction_err_


def peak_memory(method: str, path: str, k: int) -> float:
    command = [sys.executable, "-c", MEMORY, str(Path(__file__).parent), path, method, str(k)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def compare(name: str, X: sparse.csr_matrix, k: int, methods: list[str], repeats: int) -> None:
    double = X.astype(np.float64)
    bound = np.sqrt(np.square(double.data).sum() - np.square(svds(double, k, tol=1e-8)[1]).sum())
    del double
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for repeat in range(repeats):
        for method in methods:
            cpu, wall, error = timed(lambda method=method, repeat=repeat: fit(method, X, k, repeat))
            rows.setdefault(method, []).append((cpu, wall, error))
    medians = {method: np.median(values, axis=0) for method, values in rows.items()}
    base = medians["NMF"][1] if "NMF" in medians else np.nan
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "X.npz")
        sparse.save_npz(path, X, compressed=False)
        for method, (cpu, wall, error) in medians.items():
            memory = peak_memory(method, path, k)
            print(
                f"| {name} | {k} | {method} | {wall:.2f} | {wall / base:.3f} | {cpu:.2f} | {error / bound:.4f} | "
                f"{memory:.2f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cells", type=int, nargs="*", default=[5000, 50_000, 200_000])
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--programs", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--sets", nargs="*", default=["pbmc3k", "kang", "papalexi"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    methods = [m for m in args.methods if m != "nmf-torch" or importlib.util.find_spec("nmf")]
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    print(
        f"{cpu}, Python {platform.python_version()}, numpy {version('numpy')}, scikit-learn {version('scikit-learn')}\n"
    )
    print("| data | k | method | wall s | / NMF | CPU s | error | extra memory / input |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for method in methods:
        fit(method, sparse.random(600, 300, 0.2, format="csr", dtype=np.float32, random_state=0), 3, 0)  # compile
    for name in args.sets:
        X = load(name, args.data)[0]
        for k in args.programs[:1]:
            compare(name, X, k, methods, args.repeats)
    for n_cells in args.cells:
        X = screen(n_cells, args.genes)
        for k in args.programs:
            compare(f"{n_cells:,}", X, k, methods, args.repeats)


if __name__ == "__main__":
    main()
