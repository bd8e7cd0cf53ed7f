"""The table of :func:`scprograms.tl.module_tradeoff`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scprograms.modules.store import read_tradeoff

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def module_tradeoff(adata: AnnData, *, key: str = "nmf") -> pd.DataFrame:
    """Return how concentrated samples are on single modules, for different numbers of modules.

    Parameters
    ----------
    adata
        Samples x features, after :func:`scprograms.tl.module_tradeoff`.
    key
        Its ``key_added``.

    Returns
    -------
    One row per number of modules: ``n_programs``, ``sparseness`` and ``entropy`` (medians over samples),
    ``information_gain``, ``error``, ``tradeoff`` and ``suggested``.

    Raises
    ------
    KeyError
        There is no such table under ``key``.

    Examples
    --------
    >>> import scprograms as scp
    >>> counts = scp.datasets.simulate_modules(1000, 12, 4)
    >>> adata = scp.pp.pseudobulk(counts, ["subtype", "region"], min_cells=1)
    >>> scp.tl.module_tradeoff(adata, [2, 4, 6])
    >>> scp.get.module_tradeoff(adata)["n_programs"].tolist()
    [2, 4, 6]
    """
    return read_tradeoff(adata, key)
