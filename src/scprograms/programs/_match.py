"""``tl.match_programs``: which programs of two factorizations are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scprograms._anndata.slots import read_shared_loadings
from scprograms._core.matching import match_rows
from scprograms._core.validate import check_int

if TYPE_CHECKING:
    from anndata import AnnData


def match_programs(
    a: AnnData, b: AnnData, *, key: str = "semi_nmf", key_b: str | None = None, n_genes: int = 50
) -> pd.DataFrame:
    """Match the programs of two factorizations one to one by their loadings.

    The pairs are those whose cosines over the shared genes have the largest sum (Hungarian algorithm [1]_). Usages are
    never negative, so signs count: a program and its negative are opposites. Every program finds a partner while there
    are any, so look at the cosine before you take a pair for the same program.

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
    n_genes
        Number of genes that each program raises most, among the shared ones, whose overlap is counted.

    Returns
    -------
    A table with one row per pair, the most similar first, and then one per program that is left over. ``program_a``
    and ``program_b`` (missing where left over); ``cosine``, from -1 to 1; ``jaccard``, the share of the top genes of
    either program that are top genes of both, and ``n_overlap``, their number (fewer than ``n_genes`` are compared
    where a program raises fewer); ``rank_correlation``, Spearman's, of all shared genes.

    Raises
    ------
    KeyError
        If there is no factorization under a key.
    TypeError
        If ``a`` or ``b`` is no AnnData, or ``n_genes`` no integer.
    ValueError
        If no gene is shared, gene names are not unique, or ``n_genes`` is below 1.

    See Also
    --------
    scprograms.get.program_similarity : the cosines of all pairs.
    scprograms.pl.program_similarity : their heatmap, with matched pairs on the diagonal.

    References
    ----------
    .. [1] Kuhn (1955), Naval Research Logistics Quarterly 2:83, https://doi.org/10.1002/nav.3800020109

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(n_cells=600, n_genes=300, n_programs=6, random_state=0)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> a, b = adata[::2].copy(), adata[1::2].copy()
    >>> scp.tl.semi_nmf(a, n_programs=6)
    >>> scp.tl.semi_nmf(b, n_programs=6)
    >>> pairs = scp.tl.match_programs(a, b)
    >>> list(pairs)
    ['program_a', 'program_b', 'cosine', 'jaccard', 'n_overlap', 'rank_correlation']
    >>> bool(pairs["cosine"].median() > 0.9)
    True
    """
    n_genes = check_int("n_genes", n_genes, at_least=1)
    A, B = read_shared_loadings(a, b, key=key, key_b=key_b)
    found = match_rows(A.to_numpy().T, B.to_numpy().T, n_top=n_genes)
    left_a = np.setdiff1d(np.arange(A.shape[1]), found.rows_a)
    left_b = np.setdiff1d(np.arange(B.shape[1]), found.rows_b)
    n_pairs, n_left = len(found.rows_a), len(left_a) + len(left_b)
    missing = np.full(n_left, np.nan)
    return pd.DataFrame(
        {
            "program_a": [*A.columns[found.rows_a], *A.columns[left_a], *[None] * len(left_b)],
            "program_b": [*B.columns[found.rows_b], *[None] * len(left_a), *B.columns[left_b]],
            "cosine": np.append(found.cosine, missing),
            "jaccard": np.append(found.jaccard, missing),
            "n_overlap": pd.array([*found.n_overlap.tolist(), *[None] * n_left], dtype="Int64"),
            "rank_correlation": np.append(found.rank_correlation, missing),
        },
        index=pd.RangeIndex(n_pairs + n_left),
    )
