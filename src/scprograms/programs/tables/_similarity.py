"""How alike the programs of two factorizations are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scprograms._anndata.slots import read_shared_loadings
from scprograms._core.matching import best_pairs, cosine_similarity

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
    A, B = read_shared_loadings(a, b, key=key, key_b=key_b)
    cosines = cosine_similarity(A.to_numpy().T, B.to_numpy().T)
    similarity = pd.DataFrame(cosines, index=A.columns, columns=B.columns)
    return _with_pairs_first(similarity) if matched else similarity


def _with_pairs_first(similarity: pd.DataFrame) -> pd.DataFrame:
    rows, columns = best_pairs(similarity.to_numpy())
    n_rows, n_columns = similarity.shape
    return similarity.iloc[
        [*rows, *np.setdiff1d(np.arange(n_rows), rows)], [*columns, *np.setdiff1d(np.arange(n_columns), columns)]
    ]
