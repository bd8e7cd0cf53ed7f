"""Reading and writing of embeddings: latent variables of autoencoders, and how embeddings compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from scprograms._anndata import slot_names
from scprograms._anndata.matrix import check_adata, read_matrix
from scprograms._anndata.slot_names import Slots
from scprograms._anndata.transaction import write
from scprograms._core.validate import check_has_key, listing, warn

if TYPE_CHECKING:
    from anndata import AnnData

    from scprograms._core.matrix import AnySparse, Array, Matrix


@dataclass(frozen=True)
class Training:
    """What the training of an autoencoder leaves in an AnnData."""

    latent: np.ndarray
    """n_obs x n_latent."""
    used: np.ndarray
    """Mask of the features that the encoder reads."""
    history: pd.DataFrame
    params: Mapping[str, Any]
    measures: Mapping[str, Any]
    """Figures of the training, such as its seconds."""


def read_accessibility(adata: AnnData, *, layer: str | None, binary: bool = False) -> sparse.csr_matrix:
    """Return X or a layer as a new CSR matrix, each entry above 0 stored once, as 1 with ``binary``."""
    matrix = read_matrix(adata, layer=layer)
    values = np.asarray(matrix.data if sparse.issparse(matrix) else matrix)
    if (low := values.min(initial=0)) < 0:
        where = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
        msg = f"{where} has {int((values < 0).sum())} negative values, the lowest is {low:g}: they must be 0 or more."
        raise ValueError(msg)
    found = sparse.csr_matrix(matrix, copy=True)
    found.sum_duplicates()
    found.eliminate_zeros()
    if binary:
        found.data = np.ones(found.nnz, dtype=np.float32)
    return found


def write_training(adata: AnnData, key: str, result: Training) -> None:
    """Write the latent variables, the features used and the course of the training."""
    entry = {slot_names.PARAMS: dict(result.params), slot_names.HISTORY: result.history, **result.measures}
    write(adata, obsm={Slots(key).usages: result.latent}, var={Slots(key).used: result.used}, uns={key: entry})


def write_latent(adata: AnnData, key: str, latent: np.ndarray, params: Mapping[str, Any]) -> None:
    """Write latent variables of an encoder that was trained elsewhere."""
    write(adata, obsm={Slots(key).usages: latent}, uns={key: {slot_names.PARAMS: dict(params)}})


def read_training_history(adata: AnnData, key: str) -> pd.DataFrame:
    """Return a row per epoch: ``stage, epoch, loss, held_out_loss, learning_rate``."""
    check_adata(adata)
    keys = [
        name
        for name, entry in adata.uns.items()
        if isinstance(entry, Mapping) and "epoch" in getattr(entry.get(slot_names.HISTORY), "columns", ())
    ]
    if key not in keys:
        msg = (
            f"There is no training of a network under key={key!r}. There: {listing(keys)}. "
            "Train one with scp.tl.autoencoder(adata, key_added=...)."
        )
        raise KeyError(msg)
    return adata.uns[key][slot_names.HISTORY].copy()


def read_embedding(adata: AnnData, name: str) -> np.ndarray:
    """Return an entry of ``.obsm`` as a finite array of cells x variables."""
    check_has_key(adata.obsm, name, where="adata.obsm")
    stored: Array | AnySparse | pd.DataFrame = adata.obsm[name]
    values = np.asarray(stored.toarray() if sparse.issparse(stored) else stored, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        msg = f"adata.obsm[{name!r}] has shape {values.shape} or values that are not finite: a matrix is needed."
        raise ValueError(msg)
    return values


def write_embedding(adata: AnnData, name: str, values: np.ndarray) -> None:
    """Write an entry of ``.obsm``."""
    write(adata, obsm={name: values})


def align_features(adata: AnnData, matrix: Matrix, features: list[str], *, where: str) -> sparse.csr_matrix:
    """Return the matrix with these features, in this order; a feature that is not there is zero."""
    if not adata.var_names.is_unique:
        twice = adata.var_names[adata.var_names.duplicated()].unique()
        msg = f"adata.var_names has {len(twice)} duplicates ({listing(twice, at_most=5)}): features are found by name."
        raise ValueError(msg)
    place = pd.Index(features).get_indexer(adata.var_names.astype(str))
    n_found = int((place >= 0).sum())
    if not n_found:
        found = f"{listing(adata.var_names, at_most=3)} and {listing(features, at_most=3)}"
        msg = f"None of the {len(features)} features of {where} is in adata: there are {found}."
        raise ValueError(msg)
    if n_found < len(features):
        warn(f"{len(features) - n_found} of the {len(features)} features of {where} are not in adata and count as 0.")
    entries = sparse.csr_matrix(matrix)
    columns = place[entries.indices]
    kept = columns >= 0
    row = np.repeat(np.arange(entries.shape[0]), np.diff(entries.indptr))
    return sparse.csr_matrix((entries.data[kept], (row[kept], columns[kept])), shape=(entries.shape[0], len(features)))


def write_comparison(adata: AnnData, key: str, entries: Mapping[str, Any], *, arrays: Mapping[str, np.ndarray]) -> None:
    """Write how embeddings compare; what was there under the key is replaced. ``arrays`` go to ``.obsm``."""
    write(adata, obsm=arrays, uns={key: dict(entries)})


def read_comparison(adata: AnnData, key: str) -> pd.DataFrame:
    """Return a row per embedding and seed; ``.attrs`` holds the parameters."""
    check_adata(adata)
    keys = [name for name, entry in adata.uns.items() if isinstance(entry, Mapping) and slot_names.EMBEDDINGS in entry]
    if key not in keys:
        msg = (
            f"There is no comparison of embeddings under key={key!r}. There: {listing(keys)}. "
            "Make one with scp.tl.compare_embeddings(adata, keys, label_key)."
        )
        raise KeyError(msg)
    table = adata.uns[key][slot_names.EMBEDDINGS].copy()
    table.attrs.update(adata.uns[key][slot_names.PARAMS])
    return table
