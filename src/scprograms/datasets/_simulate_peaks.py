"""Accessibility of single cells with known cell types: sparse, binary, and of unequal depth."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scprograms._anndata.categories import categorical
from scprograms._core.validate import check_int, check_real

from ._random import RandomState, as_generator

_ENTRIES_PER_CHUNK = 2**22


def simulate_peaks(
    n_cells: int = 1000,
    n_peaks: int = 5000,
    n_types: int = 5,
    *,
    specific_fraction: float = 0.3,
    fold_change: float = 6.0,
    density: float = 0.04,
    depth_sd: float = 0.4,
    random_state: RandomState = 0,
) -> AnnData:
    r"""Simulate which peaks are open in which cell, of known cell types.

    A peak has a rate of its own, log-normal with a standard deviation of 0.7; a *specific* peak has a rate that is
    ``fold_change`` times as high in one cell type. With d the depth of the cell and r the rate in its type, the peak is
    open with probability :math:`1 - \exp(-d\,r)`.

    Parameters
    ----------
    n_cells, n_peaks, n_types
        Numbers of cells, peaks and cell types.
    specific_fraction
        Share of the peaks that are specific, to a type drawn at random.
    fold_change
        Rate of a specific peak in its type over that in the others, at least 1.
    density
        Share of entries that are expected to be 1, about; above 0 and below 1.
    depth_sd
        Standard deviation of the logarithm of the depth of a cell.
    random_state
        Seed or generator. The same integer gives the same peaks.

    Returns
    -------
    Cells x peaks:

    ``.X``
        0 and 1, CSR, float32.
    ``.obs``
        ``cell_type`` (category) and ``true_depth``, of mean 1.
    ``.var``
        ``true_type``: the type that a peak is specific to (category), or missing.

    Names of the peaks are coordinates, such as ``"chr1:1500-2001"``.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or is out of range.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_peaks(200, 1000, 4)
    >>> adata.shape, adata.obs["cell_type"].nunique()
    ((200, 1000), 4)
    """
    n_types = check_int("n_types", n_types, at_least=1)
    n_cells = check_int("n_cells", n_cells, at_least=n_types)
    n_peaks = check_int("n_peaks", n_peaks, at_least=1)
    specific_fraction = check_real("specific_fraction", specific_fraction, at_least=0, at_most=1)
    fold_change = check_real("fold_change", fold_change, at_least=1)
    density = check_real("density", density, at_least=1e-6, at_most=0.99)
    depth_sd = check_real("depth_sd", depth_sd, at_least=0)
    rng = as_generator(random_state)

    of_cell = rng.permutation(np.arange(n_cells) % n_types)
    depth = np.exp(depth_sd * rng.standard_normal(n_cells))
    depth /= depth.mean()
    of_peak = np.where(rng.random(n_peaks) < specific_fraction, rng.integers(n_types, size=n_peaks), -1)
    rates = np.exp(0.7 * rng.standard_normal(n_peaks))[None] * np.where(
        of_peak == np.arange(n_types)[:, None], fold_change, 1.0
    )
    rates *= -np.log1p(-density) / rates.mean()
    step = max(1, _ENTRIES_PER_CHUNK // n_peaks)
    chunks = []
    for start in range(0, n_cells, step):
        cells = slice(start, start + step)
        closed = np.exp(-depth[cells, None] * rates[of_cell[cells]])
        chunks.append(sparse.csr_matrix(rng.random(closed.shape) >= closed, dtype=np.float32))
    names = [f"type_{i}" for i in range(n_types)]
    obs = pd.DataFrame(
        {"cell_type": categorical(of_cell, names), "true_depth": depth},
        index=[f"cell_{i}" for i in range(n_cells)],
    )
    var = pd.DataFrame(
        {"true_type": categorical(of_peak, names)},
        index=[f"chr1:{1500 * i}-{1500 * i + 501}" for i in range(n_peaks)],
    )
    return AnnData(sparse.csr_matrix(sparse.vstack(chunks)), obs=obs, var=var)
