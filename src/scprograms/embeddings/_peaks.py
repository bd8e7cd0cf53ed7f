"""``pp.filter_peaks`` and ``pp.binarize``: which peaks and cells to keep, and whether a peak is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms._anndata.matrix import check_adata
from scprograms._anndata.transaction import write
from scprograms._core.validate import check_int, check_name, check_real

from .store import read_accessibility

if TYPE_CHECKING:
    from anndata import AnnData


def filter_peaks(
    adata: AnnData,
    *,
    min_fraction: float = 0.01,
    max_fraction: float = 0.9,
    min_peaks: int = 100,
    layer: str | None = None,
) -> AnnData:
    """Keep the cells with enough accessible peaks, and the peaks that are neither rare nor everywhere.

    Cells go first, by all peaks; then peaks, by their share of the cells that are kept [1]_.

    Parameters
    ----------
    adata
        Cells x peaks. A peak is accessible in a cell where the value is above 0.
    min_fraction, max_fraction
        Share of the cells that a kept peak is accessible in, at least and at most.
    min_peaks
        Number of accessible peaks that a kept cell has at least.
    layer
        Layer to look at; None means ``.X``. ``.raw`` is never read.

    Returns
    -------
    A copy of ``adata`` with these cells and peaks. Added are:

    ``.obs["n_peaks"]``
        Number of accessible peaks of the cell, before peaks were left out.
    ``.var["n_cells"]``
        Number of cells, of those kept, that the peak is accessible in.

    Raises
    ------
    TypeError
        If ``adata`` is no AnnData or is backed, the matrix is no numpy array or scipy matrix of real numbers, or an
        argument has the wrong type.
    ValueError
        If the matrix is empty, has negative, NaN or infinite values or no signal, an argument is out of range, or no
        cell or no peak is left.
    KeyError
        If ``layer`` does not exist.

    References
    ----------
    .. [1] Xiong et al. (2019), Nature Communications 10:4576, https://doi.org/10.1038/s41467-019-12630-7

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_peaks(300, 2000, random_state=0)
    >>> kept = scp.pp.filter_peaks(adata, min_fraction=0.05, min_peaks=20)
    >>> kept.n_vars < adata.n_vars, float(kept.var["n_cells"].min() / kept.n_obs) >= 0.05
    (True, True)
    """
    check_adata(adata)
    min_fraction = check_real("min_fraction", min_fraction, at_least=0, at_most=1)
    max_fraction = check_real("max_fraction", max_fraction, at_least=min_fraction, at_most=1)
    min_peaks = check_int("min_peaks", min_peaks, at_least=0)
    matrix = read_accessibility(adata, layer=layer, binary=True)
    n_peaks = np.diff(matrix.indptr)
    cells = n_peaks >= min_peaks
    if not cells.any():
        msg = (
            f"min_peaks={min_peaks}: none of the {adata.n_obs} cells has so many accessible peaks; the most is "
            f"{n_peaks.max()}. Lower it."
        )
        raise ValueError(msg)
    kept = matrix if cells.all() else matrix[np.flatnonzero(cells)]
    n_cells = np.bincount(kept.indices, minlength=adata.n_vars)
    fraction = n_cells / kept.shape[0]
    peaks = (fraction >= min_fraction) & (fraction <= max_fraction)
    if not peaks.any():
        msg = (
            f"min_fraction={min_fraction:g}, max_fraction={max_fraction:g}: no peak is accessible in such a share of "
            f"the {kept.shape[0]} cells; shares are {fraction.min():.2g} to {fraction.max():.2g}."
        )
        raise ValueError(msg)
    result = adata[cells, peaks].copy()
    write(result, obs={"n_peaks": n_peaks[cells]}, var={"n_cells": n_cells[peaks]})
    return result


def binarize(
    adata: AnnData, *, layer: str | None = None, key_added: str = "binary", copy: bool = False
) -> AnnData | None:
    """Make a layer that is 1 where a peak is accessible, and 0 elsewhere.

    Parameters
    ----------
    adata
        Cells x peaks. A peak is accessible in a cell where the value is above 0.
    layer
        Layer to look at; None means ``.X``. ``.raw`` is never read.
    key_added
        Name of the layer that is written.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the changed copy with ``copy=True``. Written is:

    ``.layers["{key_added}"]``
        0 and 1, CSR, float32.

    Raises
    ------
    TypeError
        If ``adata`` is no AnnData or is backed, the matrix is no numpy array or scipy matrix of real numbers, or an
        argument has the wrong type.
    ValueError
        If the matrix is empty, or has negative, NaN or infinite values or no signal.
    KeyError
        If ``layer`` does not exist.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_peaks(300, 2000, random_state=0)
    >>> scp.pp.binarize(adata)
    >>> float(adata.layers["binary"].max())
    1.0
    """
    check_adata(adata)
    check_name("key_added", key_added)
    matrix = read_accessibility(adata, layer=layer, binary=True)
    adata = adata.copy() if copy else adata
    write(adata, layers={key_added: matrix})
    return adata if copy else None
