"""``tl.compare_embeddings``: how well embeddings of cells tell known labels apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from scprograms._anndata import slot_names
from scprograms._anndata.labels import read_labels
from scprograms._anndata.matrix import check_adata
from scprograms._core.validate import check_choice, check_int, check_name, listing

from . import engine
from ._embedding_methods import FACTORIZATIONS, METHODS, NETWORKS, PLAIN, Recipe, check_installed, embed
from .store import read_accessibility, read_embedding, write_comparison

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

METRICS = ("euclidean", "cosine")
_OWN_OPTIONS = {"kind", "n_latent", "random_state"}


def compare_embeddings(
    adata: AnnData,
    keys: str | Sequence[str] | Mapping[str, Callable[[AnnData, int], NDArray]],
    label_key: str,
    *,
    n_latent: int = 10,
    layer: str | None = None,
    weighted_layer: str | None = None,
    metric: Literal["euclidean", "cosine"] = "euclidean",
    n_clusters: int | None = None,
    n_neighbors: int = 15,
    n_seeds: int = 5,
    network_options: Mapping[str, Any] | None = None,
    umap: bool = False,
    progress: bool = True,
    key_added: str = "embedding_comparison",
    random_state: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Score embeddings of cells against labels that they have not seen.

    Embeddings that are made here are made anew with each seed, and timed; those of ``.obsm`` are taken as they are, so
    that only the clustering depends on the seed. Clusters are those of k-means with as many clusters as labels.

    Parameters
    ----------
    adata
        Cells x peaks.
    keys
        Entries of ``.obsm``, and methods: ``"lsi"`` (singular vectors times values), ``"pca"``, ``"nmf"``,
        ``"lsnmf"`` (projected gradient), ``"semi_nmf"``; ``"basic_ae"``, ``"sparse_ae"``, ``"stacked_ae"``, ``"vae"``
        (:func:`scprograms.tl.autoencoder`, need torch); ``"peakvi"`` (needs scvi-tools). With ``"_smooth"`` behind its
        name, a method is followed by :func:`scprograms.tl.smooth_embedding`. ``"factorizations"`` and ``"networks"``
        name all of a kind. Or a mapping of names to functions that take ``adata`` and a seed and return
        cells x variables.
    label_key
        Column of ``.obs`` with the labels. Cells without one are embedded, but not scored.
    n_latent
        Number of variables of the embeddings that are made here.
    layer
        Layer with the accessibility; None means ``.X``. ``.raw`` is never read.
    weighted_layer
        Layer that LSI, PCA and the non-negative factorizations take; None makes that of :func:`scprograms.pp.tfidf`
        from the accessibility, as the networks do.
    metric
        Geometry of clusters, silhouette and neighbours: ``"euclidean"``, or ``"cosine"`` (rows are scaled to unit
        length first, of all embeddings alike).
    n_clusters
        Clusters; None means as many as there are labels.
    n_neighbors
        Neighbours that vote on the label of a cell, and that smoothed embeddings average.
    n_seeds
        Number of seeds, at least 2: ``random_state`` and those that follow it.
    network_options
        Options of the networks, such as ``{"epochs": 50, "device": "cpu"}``: see :func:`scprograms.tl.autoencoder`.
    umap
        Whether to make a UMAP of each embedding of the first seed.
    progress
        Whether to show a progress bar.
    key_added
        Name of the table.
    random_state
        First seed.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the changed copy with ``copy=True``. Written are:

    ``.uns["{key_added}"]["embeddings"]``
        A row per embedding and seed: ``embedding``, ``seed``, ``ari``, ``nmi``, ``homogeneity`` (of the clusters),
        ``silhouette`` (of the labels), ``knn_accuracy``, ``seconds`` and ``cpu_seconds`` (NaN for entries of
        ``.obsm``).
    ``.uns["{key_added}"]["params"]``
        The arguments, and the number of cells and labels.
    ``.obsm["X_{method}"]``
        The embeddings of the first seed that were made here.
    ``.obsm["X_umap_{name}"]``
        With ``umap``.

    Raises
    ------
    ImportError
        If a method needs a package that is not installed.
    TypeError
        If ``adata`` is no AnnData or is backed, or an argument has the wrong type.
    ValueError
        If a name is neither a method nor in ``.obsm``, there are fewer than 2 labels, or an argument is out of range.
    KeyError
        If ``label_key`` or a layer does not exist.

    See Also
    --------
    scprograms.get.embedding_comparison : means and intervals over the seeds.
    scprograms.pl.embedding_comparison : the same as a figure.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_peaks(300, 1000, 4)
    >>> scp.tl.compare_embeddings(adata, ["lsi", "semi_nmf"], "cell_type", n_latent=5, n_seeds=2, progress=False)
    >>> table = scp.get.embedding_comparison(adata, metric="ari")
    >>> table["embedding"].tolist(), bool((table["mean"] > 0.9).all())
    (['lsi', 'semi_nmf'], True)
    """
    from tqdm.auto import tqdm

    check_adata(adata)
    check_choice("metric", metric, METRICS)
    n_latent = check_int("n_latent", n_latent, at_least=1)
    n_seeds = check_int("n_seeds", n_seeds, at_least=2)
    n_neighbors = check_int("n_neighbors", n_neighbors, at_least=1)
    random_state = check_int("random_state", random_state, at_least=0)
    check_name("key_added", key_added)
    makers = _makers(adata, keys)
    labels = read_labels(adata, label_key)
    scored = labels.labelled
    n_labels = len(labels.names)
    n_clusters = n_labels if n_clusters is None else check_int("n_clusters", n_clusters, at_least=2)
    if n_labels < 2 or n_clusters > scored.sum():
        msg = (
            f"label_key={label_key!r}: {n_labels} labels and {n_clusters} clusters of {scored.sum()} labelled cells; "
            "at least 2 labels, and as many cells as clusters, are needed."
        )
        raise ValueError(msg)
    methods = [name for name, maker in makers.items() if maker is None and name in METHODS]
    options = _network_options(network_options)
    recipe = _recipe(adata, methods, n_latent, layer, weighted_layer, n_neighbors, options)
    rows: list[dict[str, Any]] = []
    first: dict[str, NDArray] = {}
    with tqdm(total=len(makers) * n_seeds, desc="embeddings", disable=not progress, leave=False) as bar:
        for name, maker in makers.items():
            for seed in range(random_state, random_state + n_seeds):
                wall, cpu = time.perf_counter(), time.process_time()
                if maker is not None:
                    found = _checked_embedding(name, maker(adata, seed), adata.n_obs)
                elif recipe is not None and name in methods:
                    found = embed(name, recipe, seed)
                else:
                    found, wall, cpu = read_embedding(adata, name), np.nan, np.nan
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                values = engine.scaled_rows(found, metric)
                scores = engine.embedding_scores(
                    values[scored],
                    labels.codes[scored],
                    n_clusters=n_clusters,
                    n_neighbors=n_neighbors,
                    random_state=seed,
                )
                rows.append({"embedding": name, "seed": seed, **scores, "seconds": wall, "cpu_seconds": cpu})
                first.setdefault(name, np.asarray(found, dtype=np.float32))
                bar.update()
    maps = (
        {f"X_umap_{name}": _umap(engine.scaled_rows(found, metric), random_state) for name, found in first.items()}
        if umap
        else {}
    )
    made = {f"X_{name}": found for name, found in first.items() if makers[name] is not None or name in methods}
    params = {
        "label_key": label_key, "n_latent": n_latent, "layer": layer, "weighted_layer": weighted_layer,
        "metric": metric, "n_clusters": n_clusters, "n_neighbors": n_neighbors, "n_seeds": n_seeds,
        "random_state": random_state, "n_cells": int(scored.sum()), "n_labels": n_labels, "n_features": adata.n_vars,
        **{f"network_{name}": value for name, value in options.items()},
    }  # fmt: skip
    entries = {
        slot_names.EMBEDDINGS: pd.DataFrame(rows),
        slot_names.PARAMS: {name: value for name, value in params.items() if value is not None},
    }
    adata = adata.copy() if copy else adata
    write_comparison(adata, key_added, entries, arrays={**made, **maps})
    return adata if copy else None


def _makers(adata: AnnData, keys: object) -> dict[str, Callable[[AnnData, int], NDArray] | None]:
    """Return what to compare, each with the function that makes it; None for methods and entries of ``.obsm``."""
    if isinstance(keys, Mapping):
        if bad := [name for name, maker in keys.items() if not isinstance(name, str) or not callable(maker)]:
            msg = f"keys[{bad[0]!r}] is a {type(keys[bad[0]]).__name__}; pass functions of adata and a seed."
            raise TypeError(msg)
        makers: dict[str, Any] = dict(keys)
    else:
        names = [keys] if isinstance(keys, str) else keys
        if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
            msg = f"keys={keys!r} is a {type(keys).__name__}; pass a list of names."
            raise TypeError(msg)
        groups = {"factorizations": FACTORIZATIONS, "networks": tuple(NETWORKS)}
        makers = dict.fromkeys(each for name in names for each in groups.get(name, (name,)))
        unknown = [name for name in makers if name not in METHODS and name not in adata.obsm]
        if unknown:
            msg = (
                f"keys: {listing(unknown)} are neither methods ({', '.join(PLAIN)}, each also with "
                f"'_smooth') nor in adata.obsm ({listing(adata.obsm)})."
            )
            raise ValueError(msg)
        check_installed([name for name in makers if name in METHODS])
    if not makers:
        msg = "keys is empty: name at least one embedding."
        raise ValueError(msg)
    for name in makers:
        check_name("keys", name)
    return makers


def _network_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    found = dict(options or {})
    if own := _OWN_OPTIONS.intersection(found):
        msg = f"network_options: {listing(sorted(own))} are arguments of compare_embeddings itself."
        raise ValueError(msg)
    return found


def _recipe(
    adata: AnnData,
    methods: list[str],
    n_latent: int,
    layer: str | None,
    weighted_layer: str | None,
    n_smooth: int,
    options: Mapping[str, Any],
) -> Recipe | None:
    """Return the matrices, where a method needs them."""
    if not methods:
        return None
    accessibility = read_accessibility(adata, layer=layer, binary=True)
    if n_latent >= min(accessibility.shape):
        msg = f"n_latent={n_latent}: pass less than {min(accessibility.shape)}, the smaller side of the matrix."
        raise ValueError(msg)
    if weighted_layer is None:
        weighted, _ = engine.tfidf(accessibility)
    else:
        weighted = read_accessibility(adata, layer=weighted_layer)
    return Recipe(accessibility, weighted, n_latent, n_smooth, options)


def _checked_embedding(name: str, found: object, n_obs: int) -> NDArray:
    values = np.asarray(found)
    if values.ndim != 2 or len(values) != n_obs or values.dtype.kind not in "fiub" or not np.isfinite(values).all():
        msg = (
            f"keys[{name!r}] returned shape {values.shape}, dtype {values.dtype}; {n_obs} rows of finite numbers are "
            "needed."
        )
        raise ValueError(msg)
    return values


def _umap(values: NDArray, seed: int) -> NDArray:
    import scanpy as sc
    from anndata import AnnData

    cells = AnnData(obsm={"X": values.astype(np.float32)}, obs=pd.DataFrame(index=[str(i) for i in range(len(values))]))
    sc.pp.neighbors(cells, use_rep="X", random_state=seed)
    sc.tl.umap(cells, random_state=seed)
    return np.asarray(cells.obsm["X_umap"])
