"""How embeddings compare, the course of a training, and maps of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scprograms._anndata.matrix import check_adata
from scprograms._core.intervals import half_width
from scprograms._core.validate import check_choice, check_real

from .store import read_comparison, read_embedding, read_training_history

if TYPE_CHECKING:
    from anndata import AnnData

SCORES = ("ari", "nmi", "homogeneity", "silhouette", "knn_accuracy", "seconds", "cpu_seconds")


def embedding_comparison(
    adata: AnnData,
    *,
    key: str = "embedding_comparison",
    metric: str | None = None,
    summary: bool = True,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return how well embeddings tell labels apart, over seeds.

    Parameters
    ----------
    adata
        Cells x peaks, after :func:`scprograms.tl.compare_embeddings`.
    key
        Its ``key_added``.
    metric
        One of ``"ari"``, ``"nmi"``, ``"homogeneity"``, ``"silhouette"``, ``"knn_accuracy"``, ``"seconds"`` and
        ``"cpu_seconds"``; None means all.
    summary
        Means over seeds; else one row per embedding and seed.
    level
        Of the intervals.

    Returns
    -------
    With ``summary``, a row per embedding and metric, in the order of the comparison: ``embedding``, ``metric``,
    ``mean``, ``sd``, ``low`` and ``high`` (Student's interval of the mean over seeds: it speaks of other seeds on these
    cells, not of other cells) and ``n_seeds``. Else a row per embedding and seed: ``embedding``, ``seed`` and a column
    per metric. ``.attrs`` holds the arguments of the comparison.

    Raises
    ------
    KeyError
        There is no comparison under ``key``.
    ValueError
        ``metric`` is not known or ``level`` is out of range.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_peaks(300, 1000, 4)
    >>> scp.tl.compare_embeddings(adata, ["lsi"], "cell_type", n_latent=5, n_seeds=2, progress=False)
    >>> scp.get.embedding_comparison(adata, metric="ari")["metric"].tolist()
    ['ari']
    """
    check_choice("metric", metric, (*SCORES, None))
    level = check_real("level", level, at_least=0.01, at_most=0.9999)
    runs = read_comparison(adata, key)
    metrics = list(SCORES) if metric is None else [metric]
    if not summary:
        return runs[["embedding", "seed", *metrics]]
    rows = []
    for name, part in runs.groupby("embedding", sort=False, observed=True):
        for each in metrics:
            values = part[each].to_numpy(dtype=np.float64)
            n, mean, sd = len(values), values.mean(), values.std(ddof=1)
            half = half_width(sd, n, level=level)
            rows.append((str(name), each, mean, sd, mean - half, mean + half, n))
    table = pd.DataFrame(rows, columns=["embedding", "metric", "mean", "sd", "low", "high", "n_seeds"])
    table.attrs.update(runs.attrs)
    return table


def training_history(adata: AnnData, *, key: str = "autoencoder") -> pd.DataFrame:
    """Return the course of the training of a network.

    Parameters
    ----------
    adata
        Cells x peaks, after :func:`scprograms.tl.autoencoder`.
    key
        Its ``key_added``.

    Returns
    -------
    One row per epoch: ``stage``, ``epoch`` (from 0 in each stage), ``loss`` (mean over the training cells, with dropout
    and warm-up), ``held_out_loss`` (NaN where no cells are held out) and ``learning_rate``.

    Raises
    ------
    KeyError
        There is no training under ``key``.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_peaks(300, 1000, 4)
    >>> scp.tl.autoencoder(adata, "basic", 5, epochs=3, device="cpu", progress=False)
    >>> len(scp.get.training_history(adata))
    3
    """
    return read_training_history(adata, key)


def embedding_map(adata: AnnData, name: str) -> pd.DataFrame:
    """Return the first two coordinates of every cell in an embedding.

    Parameters
    ----------
    adata
        Cells x peaks.
    name
        Entry of ``.obsm``, such as ``"X_umap"``.

    Returns
    -------
    Table of cells: ``x`` and ``y``.

    Raises
    ------
    KeyError
        ``name`` is not in ``.obsm``.
    ValueError
        It has fewer than two columns, or values that are not finite.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_peaks(300, 1000, 4)
    >>> scp.tl.compare_embeddings(adata, ["lsi"], "cell_type", n_latent=5, n_seeds=2, progress=False)
    >>> scp.get.embedding_map(adata, "X_lsi").shape
    (300, 2)
    """
    values = read_embedding(check_adata(adata), name)
    if values.shape[1] < 2:
        msg = f"adata.obsm[{name!r}] has {values.shape[1]} column; a map needs two."
        raise ValueError(msg)
    return pd.DataFrame(values[:, :2], columns=["x", "y"], index=adata.obs_names)
