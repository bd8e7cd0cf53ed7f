"""Orthogonal NMF against D-SPIN's multiplicative updates, in one run.

    OPENBLAS_NUM_THREADS=1 python benchmarks/onmf.py [--cells 5000] [--iterations 100] [--extrapolate] [--no-stability]

Simulated screens of 2,000 genes with 20 programs, normalised to 10,000 and log1p; ours on one thread. The other side is
written from the formula (dense, float64, A and S started as D-SPIN does, no square root): A *= X S' / (A S S'),
S *= A' X / (S X' A S), 0 / 0 = 0. Its S is then hardened as D-SPIN does (each gene to the program of its largest
loading in rows of unit norm), and each program gets the leading singular pair of its genes, which is the best that can
be made of them. With ``--extrapolate`` only as many iterations run as are asked for, and the cost of 100 is
extrapolated from them; the errors are then those after these few. Genes' programs are compared by the adjusted Rand
index with the planted program of the largest loading: over all genes, the unassigned being a class of their own, and
over the genes that ours assigns. Usages: the mean matched correlation. Stability: mean matched cosine of H between the
full fit and fits of five subsamples of 70 % of the cells, each with a seed of its own.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import scanpy as sc
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.sparse.linalg import svds
from sklearn.metrics import adjusted_rand_score

import scprograms as scp
from scprograms.programs.engine import OrthogonalNMF

K = 20
SETTINGS = {"easy": {}, "hard": {"activity": 0.5, "usage_correlation": 0.3, "n_cell_types": 1}}


def dspin(X: np.ndarray, n_iter: int, seed: int) -> np.ndarray:
    """Return S after so many of D-SPIN's updates."""
    rng = np.random.default_rng(seed)
    A = rng.random((X.shape[0], K))
    S = np.abs(np.linalg.qr(rng.random((X.shape[1], K)))[0].T)
    with np.errstate(invalid="ignore", divide="ignore"):
        for _ in range(n_iter):
            A *= np.nan_to_num((X @ S.T) / (A @ (S @ S.T)))
            cross = A.T @ X
            S *= np.nan_to_num(cross / ((S @ cross.T) @ S))
    return S


def hardened(X: sparse.csr_matrix, S: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the program of each gene, the usages, and the share of the norm that is left."""
    norms = np.linalg.norm(S, axis=1, keepdims=True)
    labels = (S / np.where(norms > 0, norms, 1)).argmax(axis=0)
    columns, W = X.tocsc().astype(float), np.zeros((X.shape[0], K))
    for p in range(K):
        genes = np.flatnonzero(labels == p)
        if genes.size > 1:
            u, s, _ = svds(columns[:, genes], 1, random_state=0)
            W[:, p] = s[0] * np.abs(u[:, 0])
        elif genes.size:
            W[:, p] = columns[:, genes[0]].toarray().ravel()
    total = np.square(X.data.astype(float)).sum()
    return labels, W, float(np.sqrt(1 - np.square(W).sum() / total))


def matched(similarity: np.ndarray) -> float:
    """Return the mean of the best one-to-one matches."""
    return float(similarity[linear_sum_assignment(-similarity)].mean())


def stability(X: sparse.csr_matrix, H: np.ndarray) -> float:
    """Return the mean matched cosine of H over five subsamples of 70 %."""
    found = []
    for seed in range(5):
        rows = np.sort(np.random.default_rng(seed).choice(X.shape[0], int(0.7 * X.shape[0]), replace=False))
        model = OrthogonalNMF(K, random_state=100 + seed, n_jobs=1).fit(X[rows])
        found.append(matched(H @ model.components_.T))
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--extrapolate", action="store_true")
    parser.add_argument("--no-stability", action="store_true")
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    args = parser.parse_args()
    OrthogonalNMF(3, random_state=0).fit(sparse.random(200, 50, 0.3, format="csr", dtype=np.float32, random_state=0))
    print(f"D-SPIN: {args.iterations} iterations" + (", cost of 100 extrapolated" if args.extrapolate else ""))
    figures = "error / norm of X | norm of HH' - I | CPU s | ARI: all genes | assigned | recovery | stability"
    print(f"| setting | seed | method | {figures} |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in args.settings:
        for seed in range(args.seeds):
            adata = scp.datasets.simulate_screen(args.cells, 2000, K, random_state=seed, **SETTINGS[name])
            sc.pp.normalize_total(adata, target_sum=1e4)
            sc.pp.log1p(adata)
            X, true = sparse.csr_matrix(adata.X, dtype=np.float32), adata.obsm["true_usages"]
            genes, norm = adata.varm["true_loadings"].argmax(axis=1), np.linalg.norm(X.data.astype(float))

            def report(method: str, labels: np.ndarray, W: np.ndarray, *figures: str) -> None:
                recovery = matched(np.nan_to_num(np.corrcoef(W.T, true.T)[:K, K:]))  # noqa: B023
                ari = adjusted_rand_score(genes, labels)  # noqa: B023
                some = adjusted_rand_score(genes[assigned], labels[assigned])  # noqa: B023
                error, orthogonality, cpu, stable = figures
                print(
                    f"| {name} | {seed} | {method} | {error} | {orthogonality} | {cpu} | {ari:.3f} | {some:.3f} | "  # noqa: B023
                    f"{recovery:.3f} | {stable} |",
                    flush=True,
                )

            start = time.process_time()
            model = OrthogonalNMF(K, random_state=seed, n_jobs=1)
            W = model.fit_transform(X)
            ours = time.process_time() - start
            H, assigned = model.components_.astype(float), model.labels_ >= 0
            off = np.linalg.norm(H @ H.T - np.eye(K))
            stable = "" if args.no_stability else f"{stability(X, H):.4f}"
            report("em", model.labels_, W, f"{model.error_ / norm:.5f}", f"{off:.0e}", f"{ours:.2f}", stable)

            dense = X.toarray().astype(float)
            start = time.process_time()
            S = dspin(dense, args.iterations, seed)
            theirs = (time.process_time() - start) * (100 / args.iterations if args.extrapolate else 1)
            del dense
            unit = S / np.maximum(np.linalg.norm(S, axis=1, keepdims=True), 1e-300)
            off = np.linalg.norm(unit @ unit.T - np.eye(K))
            labels, W, error = hardened(X, S)
            cpu = f"{theirs:.1f} ({theirs / ours:.0f}x)"
            report("D-SPIN, hardened", labels, W, f"{error:.5f}", f"{off:.2f} before", cpu, "")


if __name__ == "__main__":
    main()
