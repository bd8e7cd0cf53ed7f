"""Are planted programs found? SemiNMF and scikit-learn NMF on simulated screens: an easy and a hard setting.

    python benchmarks/planted.py [--seeds 5]

Screens of 5,000 x 2,000 with 20 programs over a housekeeping program that all cells use, about 10 % non-zero counts,
normalised to 10,000 and log1p; all methods fit k = 21. Easy: 15 % of the programs active in a cell, three identity
programs. Hard: half of them active and correlated, no identity programs. Recovery is the mean Pearson correlation
between true and found usages, matched by the Hungarian algorithm, over the 20 programs; that of the housekeeping
program stands beside it. Free loadings leave its usage open: every other program may take up a multiple of its
loadings, and ours puts it into the identity programs, one for each cell type. "signed": W sparse gamma, H Gaussian,
noise, columns centred, so that half of the entries are negative; the intercept comes by itself.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import scanpy as sc
from scipy.optimize import linear_sum_assignment
from scipy.sparse.linalg import svds
from sklearn.decomposition import NMF

import scprograms as scp
from scprograms.programs.engine import SemiNMF

K = 21
SETTINGS = {"easy": {}, "hard": {"activity": 0.5, "usage_correlation": 0.3, "n_cell_types": 1}}


def correlations(true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the correlation of each true usage with its match."""
    k = true.shape[1]
    matrix = np.nan_to_num(np.corrcoef(true.T, found.T)[:k, k:])
    rows, columns = linear_sum_assignment(-matrix)
    return matrix[rows, columns]


def signed(seed: int, n: int = 5000, g: int = 1000, k: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Return a centred matrix with planted programs of both signs, and their usages."""
    rng = np.random.default_rng(seed)
    W = rng.gamma(1.0, size=(n, k)) * (rng.random((n, k)) < 0.15)
    X = W @ rng.normal(size=(k, g)) + rng.normal(size=(n, g))
    return (X - X.mean(axis=0)).astype(np.float32), W


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    SemiNMF(3, random_state=0).fit(signed(0, 200, 100, 3)[0])  # compile the kernels
    columns = (
        "setting | seed | non-zero | ours | NMF | housekeeping: ours | NMF | ratio | svd, l1 = 0, float64: ratio - 1"
    )
    print(f"| {columns} |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, options in SETTINGS.items():
        for seed in range(args.seeds):
            adata = scp.datasets.simulate_screen(5000, 2000, K, random_state=seed, **options)
            true, density = adata.obsm["true_usages"], adata.X.nnz / np.prod(adata.shape)
            rest = adata.uns["truth"]["programs"]["kind"].to_numpy() != "housekeeping"
            sc.pp.normalize_total(adata, target_sum=1e4)
            sc.pp.log1p(adata)
            X, double = adata.X, adata.X.astype(np.float64)
            bound = np.sqrt(np.square(double.data).sum() - np.square(svds(double, K, tol=1e-10)[1]).sum())
            model = SemiNMF(K, random_state=seed)
            ours = correlations(true, model.fit_transform(X))
            theirs = correlations(true, NMF(K, init="nndsvda", max_iter=200, random_state=seed).fit_transform(X))
            closed = SemiNMF(K, init="svd", l1=0, random_state=seed).fit(double).error_ / bound - 1
            print(
                f"| {name} | {seed} | {density:.3f} | {ours[rest].mean():.4f} | {theirs[rest].mean():.4f} | "
                f"{ours[~rest][0]:.2f} | {theirs[~rest][0]:.2f} | {model.error_ / bound:.5f} | {closed:.1e} |",
                flush=True,
            )
    for seed in range(args.seeds):
        X, true = signed(seed)
        model = SemiNMF(20, random_state=seed)
        found = correlations(true, model.fit_transform(X))
        print(
            f"| signed | {seed} | 1 | {found.mean():.4f} | | | | {model.error_ratio_:.5f} | |",
            flush=True,
        )


if __name__ == "__main__":
    main()
