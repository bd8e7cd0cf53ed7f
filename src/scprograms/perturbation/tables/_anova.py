"""The tables that the statistical verbs leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scprograms._anndata import slot_names
from scprograms._anndata.slots import read_table

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
_KEY = "semi_nmf"


def anova(adata: AnnData, groupby: str, *, key: str = _KEY) -> pd.DataFrame:
    """Return the test of every program for a difference between groups.

    Parameters
    ----------
    adata
        Cells x genes, factorized and tested with :func:`scprograms.tl.program_anova`.
    groupby
        Column of ``.obs`` that was tested.
    key
        ``key_added`` of the factorization.

    Returns
    -------
    One row per program, in the order of the programs: ``F``, ``p``, ``log10_p``, ``q``, effect sizes and counts, the
    ``method``, and ``unused_replicates`` (columns that look like guides and were not used).

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or ``groupby`` has not been tested on it.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> scp.tl.program_anova(adata, "perturbation", method="replicate", replicate="guide")
    >>> "q" in scp.get.anova(adata, "perturbation")
    True
    """
    return read_table(adata, key, slot_names.ANOVA, groupby=groupby)
