"""``tl.smooth_embedding``: each cell as the mean of its nearest neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms._anndata.matrix import check_adata
from scprograms._core.validate import check_int, check_name

from . import engine
from .store import read_embedding, write_embedding

if TYPE_CHECKING:
    from anndata import AnnData


def smooth_embedding(
    adata: AnnData,
    key: str,
    *,
    n_neighbors: int = 15,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Replace each cell of an embedding by the mean of its nearest neighbours by cosine, itself among them.

    Accessibility of one cell is so sparse that much of its place in an embedding is chance; neighbours share the rest.
    Rows are scaled to unit length first. Rare groups of fewer cells than ``n_neighbors`` are drawn towards others.

    Parameters
    ----------
    adata
        Cells x peaks.
    key
        Entry of ``.obsm``.
    n_neighbors
        Number of cells that are averaged.
    key_added
        Entry of ``.obsm`` that is written; None means ``f"{key}_smooth"``.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the changed copy with ``copy=True``. Written is:

    ``.obsm[key_added]``
        In the shape of the embedding, float32.

    Raises
    ------
    TypeError
        If ``adata`` is no AnnData or an argument has the wrong type.
    ValueError
        If the embedding has values that are not finite, or an argument is out of range.
    KeyError
        If ``key`` is not in ``.obsm``.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_peaks(300, 1000, 4)
    >>> scp.pp.tfidf(adata)
    >>> scp.tl.semi_nmf(adata, 5, layer="tfidf")
    >>> scp.tl.smooth_embedding(adata, "X_semi_nmf")
    >>> adata.obsm["X_semi_nmf_smooth"].shape
    (300, 5)
    """
    check_adata(adata)
    n_neighbors = check_int("n_neighbors", n_neighbors, at_least=1)
    values = read_embedding(adata, key)
    name = f"{key}_smooth" if key_added is None else check_name("key_added", key_added)
    smooth = engine.neighbor_means(values, n_neighbors).astype(np.float32)
    adata = adata.copy() if copy else adata
    write_embedding(adata, name, smooth)
    return adata if copy else None
