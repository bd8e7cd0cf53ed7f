"""Small results of every kind that is drawn and does not come from a screen."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

import scprograms as scp

if TYPE_CHECKING:
    import anndata as ad


@cache
def with_states() -> tuple[ad.AnnData, scp.tl.RecoveryModel]:
    """Return cells whose states were found by a model of half of them, and validated."""
    adata = scp.datasets.simulate_states(600, 300, n_samples=4, n_cell_types=2)
    scp.tl.cross_validate_recovery(adata, "state", "cell_type", sample_key="sample", n_runs=2, n_jobs=1)
    model = scp.tl.train_recovery(adata, "state", "cell_type", sample_key="sample", n_runs=2, n_jobs=1)
    scp.tl.recover_states(adata, model, "cell_type", sample_key="sample", key_added="found")
    return adata, model


@cache
def multiome() -> dict[str, ad.AnnData]:
    """Return cells with a report on how well their accessibility follows from their expression."""
    data = scp.datasets.simulate_multiome(200, 100, 40, random_state=0)
    scp.tl.train_accessibility(data, model="ridge", n_genes=100, n_peaks=30, progress=False)
    return data


@cache
def embedded() -> ad.AnnData:
    """Return cells with compared embeddings, and the history of a network that was not trained here."""
    adata = scp.datasets.simulate_peaks(150, 300, 3)
    scp.tl.compare_embeddings(adata, ["lsi", "pca"], "cell_type", n_seeds=2, progress=False)
    adata.obsm["X_a"] = np.random.default_rng(0).normal(size=(150, 2))
    epochs = np.arange(10)
    history = {"epoch": epochs, "loss": 1 / (epochs + 1), "held_out_loss": 1.1 / (epochs + 1)}
    history |= {"stage": "training", "learning_rate": 0.01}
    adata.uns["autoencoder"] = {"history": pd.DataFrame(history), "best_epoch": 9, "params": {"kind": "basic"}}
    return adata
