"""Chromatin modules at the size of a brain atlas: cost of the factorization, of the assignment, and what comes back.

Counts are simulated with planted modules (`datasets.simulate_modules`; 38 % of them are not zero) and scaled to a
million per sample. Every factorization runs in a process of its own, on one thread: CPU seconds, wall seconds, and the
largest resident memory beyond that of the process with the matrix loaded. scikit-learn's NMF (``nndsvd``, ``cd``,
features x samples, as in the published workflow) is run with 5, 10, 20, ... sweeps until its error is within 1.001 of
the least that any fit reached, or up to its default tolerance and 500 sweeps.

    python benchmarks/modules.py [--features 1000000] [--subtypes 67] [--regions 6] [--modules 30] [--specific 0.2]
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from scipy import sparse

SWEEPS = (5, 10, 20, 50, 100, 200, 500)
CLOSE = 1.001


def error(X: sparse.csr_matrix, W: np.ndarray, H: np.ndarray) -> float:
    """Return the Frobenius norm of X - W H, in float64."""
    W, H = W.astype(float), H.astype(float)
    explained = 2 * np.sum((X @ H.T) * W) - np.sum((W.T @ W) * (H @ H.T))
    return float(np.sqrt(sum(np.square(part, dtype=float).sum() for part in np.array_split(X.data, 50)) - explained))


def peak() -> float:
    """Return the largest resident memory since the last reset, in GiB (Linux)."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 2**20


def fit(path: str, who: str, k: int, max_iter: int, keep: str) -> dict[str, float]:
    """Fit in this process: ``who`` is "scprograms" or "scikit-learn"."""
    from sklearn import decomposition
    from threadpoolctl import threadpool_limits

    from scprograms.programs.engine import NMF

    warnings.simplefilter("ignore")
    X = sparse.load_npz(path)  # samples x features
    small = X[:, :2000].tocsr()
    if who == "scprograms":
        NMF(3, max_iter=2, n_jobs=1).fit(small)  # compile the kernels
        model = NMF(k, random_state=0, n_jobs=1)
    else:
        X = X.T.tocsr()
        model = decomposition.NMF(k, init="nndsvd", solver="cd", max_iter=max_iter, random_state=0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is that of loading
    before, cpu, wall = peak(), time.process_time(), time.perf_counter()
    with threadpool_limits(limits=1):
        W = model.fit_transform(X)
    figures = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "memory": peak() - before}
    figures |= {"error": error(X, W, model.components_), "sweeps": float(model.n_iter_)}
    figures["matrix"] = (X.data.nbytes + X.indices.nbytes) / 2**30
    if keep:
        np.savez(keep, usages=W, loadings=model.components_)
    return figures


def apart(*args: object) -> dict[str, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(fit, args)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=1_000_000)
    parser.add_argument("--subtypes", type=int, default=67)
    parser.add_argument("--regions", type=int, default=6)
    parser.add_argument("--modules", type=int, default=30)
    parser.add_argument("--density", type=float, default=0.38)
    parser.add_argument("--specific", type=float, default=0.2, help="share of specific features")
    parser.add_argument("--non-specific", type=float, default=0.2, help="share of non-specific features")
    parser.add_argument("--sweeps", type=int, nargs="+", default=SWEEPS, help="of scikit-learn, ascending")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    import scprograms as scp

    k = args.modules
    adata = scp.datasets.simulate_modules(
        args.features,
        args.subtypes,
        k,
        n_regions=args.regions,
        density=args.density,
        specific_fraction=args.specific,
        nonspecific_fraction=args.non_specific,
        random_state=args.seed,
    )
    depth = np.asarray(adata.X.sum(axis=1, dtype=np.float64)).ravel()
    X = adata.X.tocsr()
    X.data *= np.repeat(1e6 / depth, np.diff(X.indptr)).astype(np.float32)
    adata.X = X
    print(f"{X.shape[1]:,} features x {X.shape[0]} samples, {X.nnz / np.prod(X.shape):.1%} not zero\n")
    with tempfile.TemporaryDirectory() as folder:
        path, kept = str(Path(folder) / "matrix.npz"), str(Path(folder) / "factors.npz")
        sparse.save_npz(path, X, compressed=False)
        rows = {"scprograms": apart(path, "scprograms", k, 0, kept)}
        for max_iter in args.sweeps:
            row = rows[f"scikit-learn, {max_iter} sweeps"] = apart(path, "scikit-learn", k, max_iter, "")
            best = min(each["error"] for each in rows.values())
            if row["sweeps"] < max_iter or row["error"] <= CLOSE * rows["scprograms"]["error"]:
                break
        print("| what | CPU s | wall s | extra memory GiB | matrix GiB | error / best | sweeps |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for name, row in rows.items():
            figures = f"{row['cpu']:.1f} | {row['wall']:.1f} | {row['memory']:.2f} | {row['matrix']:.2f}"
            print(f"| {name} | {figures} | {row['error'] / best:.5f} | {row['sweeps']:.0f} |")
        with np.load(kept) as factors:
            usages, loadings = factors["usages"], factors["loadings"]
    report(adata, usages, loadings)


def report(adata: object, usages: np.ndarray, loadings: np.ndarray) -> None:
    """Print what the assignment takes and finds, with each rule."""
    from sklearn.metrics import adjusted_rand_score, f1_score

    from scprograms.modules.engine import assign_features, concentration, shared_modules

    kinds = np.array(["specific", "shared", "non-specific", "unassigned", "inactive"])
    true_kind = adata.var["true_kind"].astype(str).to_numpy()
    true_module = adata.var["true_module"].cat.codes.to_numpy()
    W = np.ascontiguousarray(loadings.T)
    print("\n| rule | CPU s | specific | F1 specific, shared, non-specific | mean F1 | ARI of specific features |")
    print("| --- | --- | --- | --- | --- | --- |")
    for rule in ("sd", "mad", "raw_mad", "permutation"):
        start = time.process_time()
        found = assign_features(W, rule=rule, n_permutations=3)
        shared_modules(W, found.kind == 1)
        samples = concentration(usages)
        cpu = time.process_time() - start
        chosen = found.kind == 0
        f1 = f1_score(true_kind, kinds[found.kind], labels=kinds[:3], average=None, zero_division=0)
        both = chosen & (true_kind == "specific")
        ari = adjusted_rand_score(true_module[both], found.module[both])
        figures = ", ".join(f"{value:.3f}" for value in f1)
        print(f"| {rule} | {cpu:.2f} | {chosen.sum():,} | {figures} | {f1.mean():.3f} | {ari:.3f} |")
    ari = adjusted_rand_score(adata.obs["true_module"].cat.codes, samples.module)
    print(f"\nModules of samples: ARI {ari:.3f}.")


if __name__ == "__main__":
    main()
