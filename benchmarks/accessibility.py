"""Chromatin accessibility from expression: every model against the oracle, on simulated and on real cells.

    python benchmarks/accessibility.py [--multiome FILE.h5mu] [--pbmc] [--seeds 3]

Prints, for each setting and seed, the PR-AUC on test cells (a share of the oracle's where it is known), what
model="auto" took, and CPU seconds. --pbmc downloads the public multiome of 10x Genomics.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np

import scprograms as scp
from scprograms.accessibility.engine import average_precision

MODELS = ("mean", "ridge", "knn", "network")
PUBLISHED = {"hidden": (512, 256), "dropout": 0.0, "learning_rate": 1e-3, "averaging": 0.0, "patience": None}
SIMULATED = {
    "linear, 2,000 cells x 1,000 genes": {},
    "linear, 5,000 cells x 2,000 genes": {"n_cells": 5000, "n_genes": 2000},
    "bent (interaction 0.5)": {"interaction": 0.5},
    "no coupling": {"coupling": 0.0},
}
NETWORKS = {
    "default": {},
    "half as wide, 512 and 256": {"hidden": (512, 256)},
    "no dropout": {"dropout": 0.0},
    "half of the units dropped": {"dropout": 0.5},
    "learning rate twice as high": {"learning_rate": 3e-4},
    "as published": PUBLISHED,
    "cross entropy": {"alpha": None, "gamma": 0.0, "dice_weight": 0.0},
    "dice alone": {"focal_weight": 0.0},
    "batch normalization": {"normalization": "batch"},
    "layer normalization": {"normalization": "layer"},
    "Adam": {"optimizer": "adam"},
    "no running mean": {"averaging": 0.0},
    "distances, 20 kb": {"gene_distance": 20_000},
}


def train(data, **kwargs):
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scp.tl.train_accessibility(data, **kwargs)
    return scp.get.accessibility(data), time.process_time() - started


def oracle(data) -> float:
    atac = data["atac"]
    test = (atac.obs["accessibility_split"] == "test").to_numpy()
    target = atac.var["accessibility_target"].to_numpy()
    observed = atac.X[test].toarray()[:, target] > 0
    return average_precision(observed, atac.layers["true_probability"][test][:, target])


def row(name: str, seed: int, values: dict, chosen: str, seconds: float) -> None:
    cells = "".join(f"{values.get(model, np.nan):>9.4f}" for model in MODELS)
    print(f"{name:<36}{seed:>3}{cells}   {chosen:<8}{seconds:>7.1f} s", flush=True)


def simulated(seeds: int) -> None:
    head = "".join(f"{name:>9}" for name in MODELS)
    print(f"\nSimulated multiome: PR-AUC on test cells as a share of the oracle's\n{'':<36}   {head}   auto took")
    for name, size in SIMULATED.items():
        for seed in range(seeds):
            data = scp.datasets.simulate_multiome(**size, random_state=seed)
            table, seconds = train(data, random_state=seed)
            row(name, seed, (table["pr_auc"] / oracle(data)).to_dict(), table.attrs["chosen"], seconds)


def networks(seeds: int) -> None:
    print("\nThe network by its settings, linear and bent: share of the oracle's PR-AUC, mean of the seeds")
    for name, settings in NETWORKS.items():
        shares, seconds = [], 0.0
        for size in ({}, {"interaction": 0.5}):
            found = []
            for seed in range(seeds):
                data = scp.datasets.simulate_multiome(**size, random_state=seed)
                table, spent = train(data, model="network", random_state=seed, **settings)
                found.append(table.loc["network", "pr_auc"] / oracle(data))
                seconds += spent
            shares.append(np.mean(found))
        print(f"{name:<36}{shares[0]:>9.4f}{shares[1]:>9.4f}{seconds:>9.1f} s", flush=True)


def real(data, name: str, seeds: int, groups) -> None:
    print(f"\n{name}: PR-AUC on test cells, all entries")
    columns = ["pr_auc", "low", "high", "gain", "gain_low", "gain_high", "pr_auc_per_peak", "chance_per_peak",
               "pr_auc_per_cell", "chance_per_cell", "prevalence", "calibration_error"]  # fmt: skip
    for groupby in groups:
        for seed in range(seeds):
            table, seconds = train(data, groupby=groupby, random_state=seed)
            params = table.attrs["params"]
            held = "random" if groupby is None else f"{groupby} {', '.join(params['test_groups'])}"
            print(f"\nsplit: {held}; seed {seed}; {params['n_test']} test cells; {seconds:.1f} s CPU")
            print(table[columns].round(3).to_string())
            calls = scp.get.accessibility(data, of="confusion")
            print(calls[["threshold", "f1", "odds_ratio", "odds_ratio_within_peaks", "log10_p"]].round(3).to_string())
            print(table.attrs["summary"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--multiome", help="an h5mu file with rna and atac, normalised")
    parser.add_argument("--groupby", nargs="*", default=["celltype", "batch"], help="columns to hold groups out by")
    parser.add_argument("--pbmc", action="store_true", help="download the public multiome")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    simulated(options.seeds)
    networks(options.seeds)
    if options.multiome:
        import mudata

        data = mudata.read_h5mu(options.multiome)
        real(data, options.multiome, options.seeds, [None, *options.groupby])
    if options.pbmc:
        import scanpy as sc

        data = scp.datasets.pbmc_multiome_10k()
        sc.pp.normalize_total(data["rna"])
        sc.pp.log1p(data["rna"])
        real(data, "10x PBMC multiome", options.seeds, [None])


if __name__ == "__main__":
    main()
