"""``pp.tfidf``: accessibility weighted by how rare a peak is, and corrected for the depth of the cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from scprograms._anndata.matrix import check_adata
from scprograms._anndata.transaction import write
from scprograms._core.validate import check_choice, check_name, check_real, warn

from . import engine
from .store import read_accessibility

if TYPE_CHECKING:
    from anndata import AnnData


def tfidf(
    adata: AnnData,
    method: Literal["l2", "log_tfidf", "tf_logidf", "logtf_logidf"] = "l2",
    *,
    layer: str | None = None,
    binarize: bool = True,
    scale_factor: float = 1e4,
    key_added: str = "tfidf",
    copy: bool = False,
) -> AnnData | None:
    r"""Transform accessibility by term frequency and inverse document frequency, as texts are; sparse.

    With x the value of a peak in a cell, n the number of cells, m of those with the peak and s the scale factor,
    tf = x / (sum over the cell's peaks), the methods are

    ``"l2"``
        :math:`x \log(1 + n/m)`, then every cell divided by its Euclidean norm, so that cells are compared by cosine.
    ``"log_tfidf"``
        :math:`\log(1 + s\, tf\, n/m)` [1]_, the default of Signac.
    ``"tf_logidf"``
        :math:`tf \log(1 + n/m)` [2]_.
    ``"logtf_logidf"``
        :math:`\log(1 + s\, tf) \log(1 + n/m)`.

    Parameters
    ----------
    adata
        Cells x peaks, with counts or 0 and 1.
    method
        Formula.
    layer
        Layer to transform; None means ``.X``. ``.raw`` is never read.
    binarize
        Take all values above 0 as 1 first.
    scale_factor
        s, above 0; of the methods with the logarithm of tf.
    key_added
        Name of the slots below.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the changed copy with ``copy=True``. Written are:

    ``.layers["{key_added}"]``
        The transformed values, CSR, float32, zero where the input is. Cells without any peak stay zero.
    ``.var["{key_added}_n_cells"]``
        m.

    Raises
    ------
    TypeError
        If ``adata`` is no AnnData or is backed, the matrix is no numpy array or scipy matrix of real numbers, or an
        argument has the wrong type.
    ValueError
        If the matrix is empty, has negative, NaN or infinite values or no signal, or an argument is out of range.
    KeyError
        If ``layer`` does not exist.

    References
    ----------
    .. [1] Stuart et al. (2021), Nature Methods 18:1333, https://doi.org/10.1038/s41592-021-01282-5
    .. [2] Cusanovich et al. (2018), Cell 174:1309, https://doi.org/10.1016/j.cell.2018.06.052

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_peaks(300, 2000, random_state=0)
    >>> scp.pp.tfidf(adata)
    >>> scp.tl.semi_nmf(adata, n_programs=5, layer="tfidf")
    >>> adata.obsm["X_semi_nmf"].shape
    (300, 5)
    """
    check_adata(adata)
    check_choice("method", method, engine.TFIDF_METHODS)
    check_choice("binarize", binarize, (True, False))
    scale = check_real("scale_factor", scale_factor)
    if scale <= 0:
        msg = f"scale_factor={scale:g} is out of range; pass a number above 0, such as 1e4."
        raise ValueError(msg)
    check_name("key_added", key_added)
    matrix = read_accessibility(adata, layer=layer, binary=binarize)
    if n_empty := int((np.diff(matrix.indptr) == 0).sum()):
        warn(
            f"{n_empty} of {adata.n_obs} cells have no accessible peak and stay zero: "
            "leave them out with scp.pp.filter_peaks."
        )
    result, n_cells = engine.tfidf(matrix, method, scale_factor=scale)
    adata = adata.copy() if copy else adata
    write(adata, layers={key_added: result}, var={f"{key_added}_n_cells": n_cells})
    return adata if copy else None
