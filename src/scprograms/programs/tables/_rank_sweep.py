"""The table of :func:`scprograms.tl.rank_sweep`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scprograms.programs.store import read_rank_sweep

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def rank_sweep(adata: AnnData, *, key: str = "semi_nmf") -> pd.DataFrame:
    """Return how different numbers of programs compare.

    Parameters
    ----------
    adata
        Cells x genes, after :func:`scprograms.tl.rank_sweep`.
    key
        Its ``key_added``.

    Returns
    -------
    One row per number of programs: ``n_programs``, ``error``, ``error_bound``, ``error_ratio``, ``cv_error``,
    ``cv_sd``, ``stability``, ``stability_sd``, ``silhouette`` and ``suggested``. ``.attrs`` holds the ``reason`` of the
    suggestion and the number of folds, ``n_folds``.

    Raises
    ------
    KeyError
        There is no rank sweep under ``key``.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.rank_sweep(adata, [3, 6, 9], n_folds=2, stability=False)
    >>> scp.get.rank_sweep(adata)["n_programs"].tolist()
    [3, 6, 9]
    """
    return read_rank_sweep(adata, key)
