"""How alike the programs of two factorizations are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from scprograms._anndata.slots import read_shared_loadings

if TYPE_CHECKING:
    from anndata import AnnData


def program_similarity(
    a: AnnData, b: AnnData, *, key: str = "semi_nmf", key_b: str | None = None, matched: bool = False
) -> pd.DataFrame:
    """Return the cosine of every program of one factorization with every program of another.

    Parameters
    ----------
    a
        Factorized cells x genes. Gene names must be unique.
    b
        Another one, or the same with another ``key_b``. Genes are aligned by name; those count that entered both fits.
    key
        Key of the factorization in ``a``.
    key_b
        Key of the factorization in ``b``; ``key`` by default.
    matched
        Sort both sides so that the pairs of :func:`scprograms.tl.match_programs` come first, on the diagonal.

    Returns
    -------
    Programs of ``a`` x programs of ``b``, from -1 to 1; missing for a program without a loading on the shared genes.

    Raises
    ------
    KeyError
        There is no factorization under a key.
    TypeError
        ``a`` or ``b`` is no AnnData.
    ValueError
        No gene is shared, or gene names are not unique.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> scp.tl.semi_nmf(adata, 4, key_added="four")
    >>> scp.get.program_similarity(adata, adata, key_b="four").shape
    (3, 4)
    """
    A, B = (
        table / np.sqrt(np.square(table).sum()).replace(0, np.nan)
        for table in (side.astype(np.float64) for side in read_shared_loadings(a, b, key=key, key_b=key_b))
    )
    similarity = pd.DataFrame((A.T.to_numpy() @ B.to_numpy()).clip(-1, 1), index=A.columns, columns=B.columns)
    return _with_pairs_first(similarity) if matched else similarity


def _with_pairs_first(similarity: pd.DataFrame) -> pd.DataFrame:
    values = similarity.to_numpy()
    known = [np.flatnonzero(~np.isnan(values).all(axis=axis)) for axis in (1, 0)]
    rows, columns = linear_sum_assignment(values[np.ix_(*known)], maximize=True)
    rows, columns = known[0][rows], known[1][columns]
    order = np.argsort(-values[rows, columns], kind="stable")
    return similarity.iloc[
        [*rows[order], *np.setdiff1d(np.arange(len(values)), rows)],
        [*columns[order], *np.setdiff1d(np.arange(values.shape[1]), columns)],
    ]
