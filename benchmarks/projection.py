"""Do programs learned in some cells say the same of others? Papalexi in two halves, one of them projected.

    python benchmarks/projection.py [--data ../shared/data] [--programs 10 20 30] [--splits 5]

Preprocessing as in quality.py. Programs are fitted to one half of the cells (drawn within each perturbation) and
projected onto the other. Columns: Spearman's rank correlation, over programs, of the share of variance between
perturbations (eta2) in the two halves, median and range over the splits; the same for programs that were fitted to ALL
cells, so that nothing was held out (what chance alone leaves: two halves of a screen do not agree better); and the
largest difference between usages of the training cells and those that projecting gives the same cells.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from quality import eta_squared, load
from scipy.stats import spearmanr

import scprograms as scp


def halves(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return a mask of half the cells of each label."""
    rng = np.random.default_rng(seed)
    order = pd.Series(rng.permutation(len(labels))).groupby(labels).rank(pct=True)
    return order.to_numpy() <= 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--programs", type=int, nargs="+", default=[10, 20, 30])
    parser.add_argument("--splits", type=int, default=5)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    X, labels = load("papalexi", args.data)
    adata = ad.AnnData(X, obs=pd.DataFrame({"perturbation": labels}, index=[str(i) for i in range(len(labels))]))
    print(
        "| k | center | held out: rank correlation (range) | nothing held out (range) | difference on training cells |"
    )
    print("| --- | --- | --- | --- | --- |")
    for k in args.programs:
        for center in (None, "control"):
            options = {"center": center, "control": ("perturbation", "non-targeting") if center else None}
            whole = scp.tl.semi_nmf(adata, k, copy=True, **options).obsm["X_semi_nmf"]
            held_out, together, largest = [], [], 0.0
            for seed in range(args.splits):
                train = halves(labels, seed)
                fitted = scp.tl.semi_nmf(adata[train].copy(), k, copy=True, **options)
                W, new = fitted.obsm["X_semi_nmf"], {}
                for name, cells in (("train", train), ("test", ~train)):
                    part = adata[cells].copy()
                    scp.tl.project(part, fitted, key="semi_nmf")
                    new[name] = part.obsm["X_semi_nmf"]
                largest = max(largest, float(np.abs(new["train"] - W).max() / W.max()))
                rank = spearmanr(eta_squared(W, labels[train]), eta_squared(new["test"], labels[~train]))
                held_out.append(rank.statistic)
                same = [eta_squared(whole[cells], labels[cells]) for cells in (train, ~train)]
                together.append(spearmanr(*same).statistic)
            figures = [f"{np.median(r):.2f} ({min(r):.2f}-{max(r):.2f})" for r in (held_out, together)]
            print(f"| {k} | {center} | {figures[0]} | {figures[1]} | {largest:.1e} |", flush=True)


if __name__ == "__main__":
    main()
