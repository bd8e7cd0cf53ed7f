"""What perturbations do on real screens: Papalexi (one guide a cell) and Gasperini (many).

    python benchmarks/effects.py [--data ../shared/data]

- Papalexi, confident guides, semi-NMF with k = 20: the strongest effects of ``tl.perturbation_effects`` with guides as
  replicates and biological replicates as strata; what IFNGR1, IFNGR2, JAK2 and STAT1 do to the program that STAT1 moves
  most; and lambda with its interval, on non-targeting guides.
- Gasperini, high multiplicity of infection: carriers of the guides of a promoter against cells with as many guides but
  none of these, for the expression of all 341 genes in place of usages. Is the gene of that promoter the one that falls
  most, and are guides without a target quiet?
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from scipy.stats import chi2, kstest

import scprograms as scp

INTERFERON = ["IFNGR1", "IFNGR2", "JAK2", "STAT1"]
TARGETS = {
    "COX4I1": "ENSG00000131143",
    "DIMT1": "ENSG00000086189",
    "LARP1": "ENSG00000155506",
    "MRPL9": "ENSG00000143436",
    "NDUFB5": "ENSG00000136521",
    "PRKAR2B": "ENSG00000005249",
    "RPL6": "ENSG00000089009",
    "SLC25A37": "ENSG00000147454",
    "SRRM1": "ENSG00000133226",
    "SSR3": "ENSG00000114850",
}


def papalexi(folder: Path) -> None:
    adata = ad.read_h5ad(folder / "papalexi2021_thp1_lowmoi/papalexi2021_thp1_lowmoi.h5ad")
    adata = adata[adata.obs["guide_confident"].to_numpy(dtype=bool)].copy()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    scp.tl.semi_nmf(adata, 20)
    start = time.process_time()
    scp.tl.perturbation_effects(adata, "perturbation", "non-targeting", replicate="guide", strata="bio_rep")
    cpu = time.process_time() - start
    effects = scp.get.effects(adata, "perturbation")
    print(f"Papalexi: {len(effects)} effects, {(effects['q'] < 0.05).sum()} with q < 0.05; {cpu:.1f} CPU s\n")
    print("| perturbation | program | effect | AUC | log10 p | q |\n| --- | --- | --- | --- | --- | --- |")
    program = effects[effects["perturbation"] == "STAT1"].sort_values("p")["program"].iloc[0]
    shared = effects[effects["perturbation"].isin(INTERFERON) & (effects["program"] == program)]
    for row in pd.concat([shared, effects.sort_values("p").head(8)]).drop_duplicates().itertuples():
        figures = f"{row.effect:+.2f} | {row.auc:.2f} | {row.log10_p:.1f} | {row.q:.0e}"
        print(f"| {row.perturbation} | {row.program} | {figures} |")
    print("\n| test, within bio_rep | lambda | interval | rate at 0.05 | at 0.001 | hits | tests |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, options in {
        "guides as replicates": {"replicate": "guide"},
        "guides split, cells permuted": {"replicate": "guide", "method": "permutation"},
        "cells split, cells permuted": {"n_splits": 5},
    }.items():
        scp.tl.calibrate(adata, "perturbation", "non-targeting", strata="bio_rep", **options)
        found = scp.get.calibration(adata, "perturbation", what="summary").iloc[0]
        print(
            f"| {name} | {found['lambda']:.2f} | {found['lambda_low']:.2f}-{found['lambda_high']:.2f} | "
            f"{found['rate_05']:.3f} | {found['rate_001']:.4f} | {found['n_hits']} | {found['n_tests']} |",
            flush=True,
        )


def gasperini(folder: Path) -> None:
    adata = ad.read_h5ad(folder / "gasperini2019_highmoi/gasperini2019_k562_highmoi.h5ad")
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    adata.obsm["X_genes"] = adata.X.toarray()
    adata.varm["genes_loadings"] = np.eye(adata.n_vars, dtype=np.float32)
    programs = [f"program_{i}" for i in range(adata.n_vars)]
    adata.uns["genes"] = {
        "params": {},
        "error": np.nan,
        "programs": pd.DataFrame({"stability": np.nan}, index=programs),
    }
    genes = dict(zip(programs, adata.var_names, strict=True))
    for name, options in {"carriers permuted": {}, "guides as replicates": {"replicate": "guide"}}.items():
        start = time.process_time()
        scp.tl.perturbation_effects(adata, key="genes", guide_key="guide_counts", strata="batch", **options)
        cpu = time.process_time() - start
        effects = scp.get.effects(adata, "guide_counts", key="genes")
        effects["gene"] = effects["program"].map(genes)
        print(f"\nGasperini, {name}: {len(effects)} effects, {cpu:.0f} CPU s\n")
        print("| promoter | its gene: effect | rank from below | q |\n| --- | --- | --- | --- |")
        for target, gene in TARGETS.items():
            of_target = effects[effects["perturbation"] == f"{target}_TSS"]
            own = of_target[of_target["gene"] == gene].iloc[0]
            rank = int((of_target["effect"] < own["effect"]).sum()) + 1
            print(f"| {target} | {own['effect']:+.2f} | {rank} | {own['q']:.1e} |")
        for what, mask in {
            "non-targeting": effects["perturbation"] == "non-targeting",
            "enhancers": effects["perturbation"].str.startswith("chr"),
        }.items():
            p = effects.loc[mask, "p"].dropna()
            lam = np.median(chi2.isf(p, 1)) / chi2.median(1)
            print(
                f"\n{what}: {len(p)} tests, {(p < 0.05).mean():.3f} below 0.05, {(p < 0.001).mean():.4f} below 0.001, "
                f"lambda {lam:.2f}, Kolmogorov-Smirnov p {kstest(p, 'uniform').pvalue:.2f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    papalexi(args.data)
    gasperini(args.data)


if __name__ == "__main__":
    main()
