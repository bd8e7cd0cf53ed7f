"""Embeddings of labelled scATAC beside each other: factorizations, the four networks, and both smoothed.

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 python benchmarks/embeddings.py FILE.h5ad LABEL [--seeds 5] [--n-latent 15]
        [--min-fraction 0.01] [--methods lsi semi_nmf vae] [--epochs 100] [--out runs.csv]

Peaks open in a share of ``--min-fraction`` to 0.9 of the cells, cells with 100 open peaks or more. Every method is run
anew with every seed, and scored as it is ("euclidean"), with rows of unit length ("cosine"), and as means of the 15
nearest neighbours by cosine ("smooth"), against the labels: k-means with as many clusters as labels (10 starts, the
seed's), ARI, NMI, homogeneity, silhouette of the labels, and accuracy of 15 neighbours. Rows are written as they come,
seed by seed, so that an interrupted run keeps what it has, and goes on where it was. Seconds are those of CPU, of the
embedding alone.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import pandas as pd
from scipy.stats import t as student

import scprograms as scp
from scprograms.embeddings import engine as embeddings_engine
from scprograms.embeddings._embedding_methods import FACTORIZATIONS, NETWORKS, Recipe, embed

if TYPE_CHECKING:
    import numpy as np

SCORES = list(embeddings_engine.EMBEDDING_SCORES)


def views(embedding: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "euclidean": embeddings_engine.scaled_rows(embedding, "euclidean"),
        "cosine": embeddings_engine.scaled_rows(embedding, "cosine"),
        "smooth": embeddings_engine.neighbor_means(embedding),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("label")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--n-latent", type=int, default=15)
    parser.add_argument("--min-fraction", type=float, default=0.01)
    parser.add_argument("--methods", nargs="+", default=[*FACTORIZATIONS, *NETWORKS])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("embeddings.csv"))
    options = parser.parse_args()

    adata = scp.pp.filter_peaks(ad.read_h5ad(options.file), min_fraction=options.min_fraction)
    codes = adata.obs[options.label].astype("category").cat.codes.to_numpy()
    scp.pp.binarize(adata)
    scp.pp.tfidf(adata)
    networks = {"epochs": options.epochs, "device": "cpu"}
    recipe = Recipe(adata.layers["binary"], adata.layers["tfidf"], options.n_latent, 15, networks)
    print(f"{options.file.name}: {adata.n_obs} cells x {adata.n_vars} peaks, {len(set(codes))} labels")
    rows = pd.read_csv(options.out).to_dict("records") if options.out.exists() else []
    done = {(row["embedding"], row["seed"]) for row in rows}
    for seed in range(options.seeds):
        for name in options.methods:
            if (name, seed) in done:
                continue
            started = time.process_time()
            found = embed(name, recipe, seed)
            seconds = time.process_time() - started
            for view, values in views(found).items():
                scores = embeddings_engine.embedding_scores(values, codes, random_state=seed)
                rows.append({"embedding": name, "view": view, "seed": seed, **scores, "cpu_seconds": seconds})
            pd.DataFrame(rows).to_csv(options.out, index=False)
            print(f"seed {seed} {name}: ARI {[round(row['ari'], 3) for row in rows[-3:]]}, {seconds:.1f} s", flush=True)
    table = pd.DataFrame(rows).groupby(["embedding", "view"], sort=False)
    half = table["ari"].sem() * student.ppf(0.975, table.size() - 1)  # five seeds are too few for 1.96
    summary = table[[*SCORES, "cpu_seconds"]].mean().assign(ari_95=half, n_seeds=table.size())
    print(summary.round(3).to_string())


if __name__ == "__main__":
    main()
