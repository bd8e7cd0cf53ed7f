"""Do programs mean something, and do they come back? Today's practice, scikit-learn NMF and scprograms on real data.

    python benchmarks/quality.py [--data ../shared/data] [--programs 10 20 30]

Data and preprocessing (all in ``load``): PBMC 3k (its 62 unlabelled cells left out) and Kang: genes in at least 3
cells, 10,000 counts per cell, log1p, scanpy's default 2,000 highly variable genes. Papalexi: confident guides, median
depth
(about 200 counts per cell on a panel of 299 genes), log1p, all genes. pbmc68k_reduced as scanpy ships it: scaled.

Columns:

- matched AP: every label has a DIFFERENT program (Hungarian); mean average precision of its usage, over the labels that
  have one (min(labels, k) of them).
- top AUROC: mean over the 5 strongest of 25 targets of the best program's AUROC against non-targeting cells, in either
  direction.
- eta2: largest share of a program's variance that lies between labels.
- stability: mean matched cosine of the loadings between full refits on 5 subsamples of 70 % of the cells, over the 10
  pairs, and its standard deviation.
- ratio: error over that of the truncated SVD of rank k (of the centred matrix where there is a baseline).
- max |r|: largest correlation between two usages.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import scanpy as sc
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.sparse.linalg import svds
from scipy.stats import rankdata
from sklearn.decomposition import NMF
from sklearn.metrics import average_precision_score

from scprograms.programs.engine import SemiNMF

CONTROL = "non-targeting"
Fit = Callable[[object, int, int], tuple[np.ndarray, np.ndarray, float]]


def load(name: str, folder: Path) -> tuple[object, np.ndarray]:
    """Return the matrix to factorize and a label per cell."""
    if name == "pbmc68k_reduced":
        adata = sc.datasets.pbmc68k_reduced()
        return np.asarray(adata.X, dtype=np.float32), adata.obs["bulk_labels"].astype(str).to_numpy()
    if name == "papalexi":
        adata = ad.read_h5ad(folder / "papalexi2021_thp1_lowmoi/papalexi2021_thp1_lowmoi.h5ad")
        adata = adata[adata.obs["guide_confident"].to_numpy(dtype=bool)].copy()
        labels = adata.obs["perturbation"].astype(str)
        sc.pp.normalize_total(adata)
        sc.pp.log1p(adata)
    else:
        if name == "pbmc3k":
            adata = ad.read_h5ad(folder / "pbmc3k_labelled/pbmc3k_labelled.h5ad")
            known = ~adata.obs["cell_type"].astype(str).isin(["nan", "unlabelled", ""]).to_numpy()
            adata = adata[known].copy()
            labels = adata.obs["cell_type"].astype(str)
        else:
            adata = ad.read_h5ad(folder / "kang2018_pbmc_ifnb/kang2018_pbmc_ifnb_scgen_valid.h5ad")
            labels = adata.obs["cell_type"].astype(str) + ", " + adata.obs["condition"].astype(str)
        sc.pp.filter_genes(adata, min_cells=3)
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
        sc.pp.highly_variable_genes(adata, n_top_genes=2000, subset=True)
    return sparse.csr_matrix(adata.X, dtype=np.float32), labels.to_numpy()


def practice(X: object, k: int, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Random start and 100 multiplicative updates on a dense matrix."""
    X = X.toarray() if sparse.issparse(X) else X
    rng = np.random.default_rng(seed)
    W = (rng.random((X.shape[0], k)) + 0.2).astype(X.dtype)
    for _ in range(100):
        H = np.linalg.solve(W.T @ W, W.T @ X)
        A, B = X @ H.T, H @ H.T
        W *= (np.maximum(A, 0) + W @ np.maximum(-B, 0)) / (np.maximum(-A, 0) + W @ np.maximum(B, 0) + 1e-9)
    H = np.linalg.solve(W.T @ W, W.T @ X)
    return W, H, float(np.linalg.norm(X - W @ H))


def scikit_learn(X: object, k: int, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    model = NMF(k, init="nndsvda", max_iter=200, random_state=seed)
    W = model.fit_transform(X)
    return W, model.components_, model.reconstruction_err_


def ours(X: object, k: int, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    model = SemiNMF(k, random_state=seed)
    W = model.fit_transform(X)
    return W, model.components_, model.error_


def ours_from_nmf(X: object, k: int, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    model = SemiNMF(k, init="nmf", random_state=seed)
    W = model.fit_transform(X)
    return W, model.components_, model.error_


METHODS: dict[str, Fit] = {
    "practice": practice,
    "scikit-learn NMF": scikit_learn,
    "scprograms": ours,
    "scprograms, init=nmf": ours_from_nmf,
}
NON_NEGATIVE_ONLY = ("scikit-learn NMF", "scprograms, init=nmf")


def bound(X: object, k: int, *, centred: bool) -> float:
    """Return the error of the truncated SVD."""
    if sparse.issparse(X):
        X = X.astype(np.float64)
        return float(np.sqrt(np.square(X.data).sum() - np.square(svds(X, k, tol=1e-10)[1]).sum()))
    X = X.astype(np.float64) - (X.mean(axis=0, dtype=np.float64) if centred else 0)
    return float(np.sqrt(np.square(np.linalg.svd(X, compute_uv=False)[k:]).sum()))


def matched_average_precision(W: np.ndarray, labels: np.ndarray) -> float:
    precision = np.array([[average_precision_score(labels == name, w) for w in W.T] for name in np.unique(labels)])
    rows, columns = linear_sum_assignment(-precision)
    return float(precision[rows, columns].mean())


def top_auroc(W: np.ndarray, labels: np.ndarray) -> float:
    best = []
    for target in sorted(set(labels) - {CONTROL}):
        cells = np.isin(labels, [target, CONTROL])
        case, ranks = labels[cells] == target, rankdata(W[cells], axis=0)
        n_case, n_control = case.sum(), (~case).sum()
        auroc = (ranks[case].sum(axis=0) - n_case * (n_case + 1) / 2) / (n_case * n_control)
        best.append(np.maximum(auroc, 1 - auroc).max())
    return float(np.sort(best)[-5:].mean())


def eta_squared(W: np.ndarray, labels: np.ndarray) -> np.ndarray:
    codes = np.unique(labels, return_inverse=True)[1]
    W, n = W - W.mean(axis=0, dtype=np.float64), np.bincount(codes)
    means = np.stack([np.bincount(codes, w) / n for w in W.T], axis=1)
    return (n[:, None] * means**2).sum(axis=0) / np.square(W).sum(axis=0)


def stability(fit: Fit, X: object, k: int) -> tuple[float, float]:
    loadings = []
    for seed in range(5):
        rows = np.sort(np.random.default_rng(seed).choice(X.shape[0], int(0.7 * X.shape[0]), replace=False))
        H = fit(X[rows], k, seed)[1]
        loadings.append(H / np.maximum(np.linalg.norm(H, axis=1, keepdims=True), 1e-12))
    cosines = []
    for a, b in itertools.combinations(loadings, 2):
        rows, columns = linear_sum_assignment(-(a @ b.T))
        cosines.append((a @ b.T)[rows, columns].mean())
    return float(np.mean(cosines)), float(np.std(cosines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--programs", type=int, nargs="+", default=[10, 20, 30])
    parser.add_argument("--sets", nargs="+", default=["papalexi", "pbmc3k", "kang", "pbmc68k_reduced"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    print("| data | k | method | matched AP | top AUROC | eta2 | stability (sd) | ratio | max abs r | CPU s a fit |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in args.sets:
        X, labels = load(name, args.data)
        signed = name == "pbmc68k_reduced"
        methods = {name: METHODS[name] for name in args.methods if not (signed and name in NON_NEGATIVE_ONLY)}
        ours(X[:500], 5, 0)  # compile the kernels
        for k in args.programs:
            limit = bound(X, k, centred=signed)
            for method, fit in methods.items():
                cpu = time.process_time()
                W, _, error = fit(X, k, 0)
                cpu = time.process_time() - cpu
                correlation = np.abs(np.corrcoef(W.T) - np.eye(k)).max()
                ap = "" if name == "papalexi" else f"{matched_average_precision(W, labels):.3f}"
                auroc = f"{top_auroc(W, labels):.3f}" if name == "papalexi" else ""
                mean, sd = stability(fit, X, k)
                print(
                    f"| {name} | {k} | {method} | {ap} | {auroc} | {eta_squared(W, labels).max():.3f} | "
                    f"{mean:.3f} ({sd:.3f}) | {error / limit:.4f} | {correlation:.2f} | {cpu:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
