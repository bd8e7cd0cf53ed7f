"""Time and memory of one factorization: semi-NMF here against the peers, in one run.

    python benchmarks/peers.py [--cells 5000 50000 200000 1000000] [--programs 20 50] [--sets pbmc3k kang papalexi]

Every fit runs in a process of its own, the methods interleaved, on all threads that each method takes for itself, and
figures are medians over the repeats (one from 200,000 cells on); wall is also given as a ratio to scikit-learn's NMF
(nndsvda, at most 200 iterations) of the same run. Memory is the extra peak over the input's size. "error" is over that
of the truncated SVD. A fit that takes longer than ``--limit`` seconds is stopped, one that needs a dense matrix of more
than half of the free memory is not begun; the table says so.

- scprograms: ``SemiNMF(k)``, the defaults.
- NMF, MiniBatchNMF, randomized_svd: scikit-learn, sparse input, defaults but for ``init`` and ``max_iter`` of NMF.
- cNMF: one of its runs (by default it makes 100), which is scikit-learn's NMF with multiplicative updates, a random
  start, tol 1e-4 and at most 1,000 iterations, on sparse input.
- nmf-torch: ``run_nmf`` with its defaults on a dense matrix, where it is installed.
- RcppML: ``nmf`` with its defaults, genes x cells, where R has it. (Version 0.3.7, Debian's, has no semi-NMF.)
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import shutil
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
from semi_nmf import screen

METHODS = ("scprograms", "NMF", "MiniBatchNMF", "cNMF, one run", "randomized_svd", "nmf-torch", "RcppML NMF")
ONE_REPEAT = 200_000
CHILD = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from scipy import sparse
from peers import fit
from semi_nmf import timed

X = sparse.load_npz(sys.argv[2])
fit(sys.argv[3], X[:500], 3, 0)

def status(field):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith(field))

Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
figures = timed(lambda: fit(sys.argv[3], X, int(sys.argv[4]), int(sys.argv[5])))
memory = (status("VmHWM") - before) * 1024 / (X.data.nbytes + X.indices.nbytes + X.indptr.nbytes)
print(json.dumps([*map(float, figures), memory]))
"""
RCPPML = """
args <- commandArgs(TRUE)
suppressMessages({library(Matrix); library(RcppML)})
shape <- readBin(file.path(args[1], "shape"), "integer", 3)
read <- function(name, type, n) readBin(file.path(args[1], name), type, n)
X <- new("dgCMatrix", i = read("indices", "integer", shape[3]), p = read("indptr", "integer", shape[1] + 1),
         x = read("data", "double", shape[3]), Dim = shape[2:1])
status <- function(field) {
    line <- grep(field, readLines("/proc/self/status"), value = TRUE)
    as.numeric(regmatches(line, regexpr("[0-9]+", line)))
}
invisible(nmf(X[, 1:500], 3, verbose = FALSE, seed = 1))
invisible(gc())
cat("5", file = "/proc/self/clear_refs")
before <- status("VmRSS")
used <- system.time(model <- nmf(X, as.integer(args[2]), verbose = FALSE, seed = as.integer(args[3]) + 1))
memory <- (status("VmHWM") - before) * 1024 / (12 * shape[3] + 4 * shape[1])
error <- sqrt(mse(X, model$w, model$d, model$h) * shape[1] * shape[2])
cat(sprintf("[%f, %f, %f, %f]\\n", used[["user.self"]] + used[["sys.self"]], used[["elapsed"]], error, memory))
"""


def fit(method: str, X: sparse.csr_matrix, k: int, seed: int) -> float:
    """Factorize, and return the error, or NaN where the method says none."""
    warnings.filterwarnings("ignore")
    if method == "scprograms":
        from scprograms.programs.engine import SemiNMF

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


def fit_apart(method: str, path: str, k: int, seed: int, limit: float) -> list[float]:
    """Fit in a new process; return CPU and wall seconds, error, and extra memory over the input's."""
    if method == "RcppML NMF":
        command = ["Rscript", "-e", RCPPML, str(Path(path).parent), str(k), str(seed)]
    else:
        command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), path, method, str(k), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=limit)
    return json.loads(done.stdout.splitlines()[-1])


def write_for_r(X: sparse.csr_matrix, folder: Path) -> None:
    """Write the cells x genes matrix as what R needs to make it genes x cells, in its only precision."""
    np.array([*X.shape, X.nnz], dtype=np.int32).tofile(folder / "shape")
    X.indptr.astype(np.int32).tofile(folder / "indptr")
    X.indices.astype(np.int32).tofile(folder / "indices")
    X.data.astype(np.float64).tofile(folder / "data")


def r_version() -> str:
    """Return the version of RcppML, or nothing where R or the package is absent."""
    if shutil.which("Rscript") is None:
        return ""
    command = ["Rscript", "-e", 'cat(as.character(packageVersion("RcppML")))']
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def too_large(X: sparse.csr_matrix) -> bool:
    """Return whether X as a dense matrix takes more than half of the free memory."""
    free = int(re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())[1]) * 1024
    return X.shape[0] * X.shape[1] * X.dtype.itemsize > free / 2


def compare(name: str, X: sparse.csr_matrix, k: int, methods: list[str], repeats: int, limit: float) -> None:
    double = X.astype(np.float64)
    bound = np.sqrt(np.square(double.data).sum() - np.square(svds(double, k, tol=1e-8)[1]).sum())
    del double
    rows: dict[str, list[list[float]]] = {method: [] for method in methods}
    left_out = {"nmf-torch": "not begun: dense"} if too_large(X) else {}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "X.npz")
        sparse.save_npz(path, X, compressed=False)
        if "RcppML NMF" in methods:
            write_for_r(X, Path(folder))
        for repeat in range(repeats if X.shape[0] < ONE_REPEAT else 1):
            for method in methods:
                if method in left_out:
                    continue
                try:
                    rows[method].append(fit_apart(method, path, k, repeat, limit))
                except subprocess.TimeoutExpired:
                    left_out[method] = f"over {limit:.0f} s"
                except subprocess.CalledProcessError as failed:
                    left_out[method] = f"failed: {(failed.stderr.strip().splitlines() or ['killed'])[-1]}"
    medians = {method: np.median(values, axis=0) for method, values in rows.items() if values}
    base = medians["NMF"][1] if "NMF" in medians else np.nan
    for method in methods:
        if method in left_out:
            print(f"| {name} | {k} | {method} | {left_out[method]} | | | | |", flush=True)
            continue
        cpu, wall, error, memory = medians[method]
        ratio = f"{wall / base:.3f}" if base > 0 else ""
        figures = f"{wall:.2f} | {ratio} | {cpu:.2f} | {error / bound:.4f} | {memory:.2f}"
        print(f"| {name} | {k} | {method} | {figures} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cells", type=int, nargs="*", default=[5000, 50_000, 200_000, 1_000_000])
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--programs", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--sets", nargs="*", default=["pbmc3k", "kang", "papalexi"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=1800, help="seconds for one fit")
    args = parser.parse_args()
    versions = {"numpy": version("numpy"), "scipy": version("scipy"), "scikit-learn": version("scikit-learn")}
    methods = args.methods
    if importlib.util.find_spec("nmf"):
        versions |= {name: version(name) for name in ("nmf-torch", "torch")}
    else:
        methods = [m for m in methods if m != "nmf-torch"]
    if found := r_version():
        versions["RcppML"] = found
    else:
        methods = [m for m in methods if m != "RcppML NMF"]
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    print(f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(", ".join(f"{name} {number}" for name, number in versions.items()))
    print(f"{' '.join(['python', *sys.argv])}\n")
    print("| data | k | method | wall s | / NMF | CPU s | error / bound | extra memory / input |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in args.sets:
        X = load(name, args.data)[0]
        for k in args.programs[:1]:
            compare(name, X, k, methods, args.repeats, args.limit)
    for n_cells in args.cells:
        X = screen(n_cells, args.genes)
        for k in args.programs:
            compare(f"{n_cells:,}", X, k, methods, args.repeats, args.limit)


if __name__ == "__main__":
    main()
