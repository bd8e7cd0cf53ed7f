"""How the runs of a consensus agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from scprograms._anndata import slot_names
from scprograms._anndata.slots import read_fit
from scprograms._core.validate import check_has_key

if TYPE_CHECKING:
    from anndata import AnnData


def _entry(adata: AnnData, key: str) -> Any:
    fit = read_fit(adata, key)
    hint = f"Make one with scp.tl.consensus(adata, ..., key_added={key!r})."
    check_has_key(fit, slot_names.CONSENSUS, where=f"adata.uns[{key!r}]", hint=hint)
    return fit[slot_names.CONSENSUS]


def consensus(adata: AnnData, *, key: str = "semi_nmf_consensus") -> pd.DataFrame:
    """Return how similar each program of a consensus is to the one that it is matched to in every run.

    Parameters
    ----------
    adata
        Cells x genes, after :func:`scprograms.tl.consensus`.
    key
        Its ``key_added``.

    Returns
    -------
    Cosines, runs x programs. The mean of a column is the program's stability.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or it is no consensus.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.consensus(adata, 3, n_runs=5)
    >>> scp.get.consensus(adata).shape
    (5, 3)
    """
    table = _entry(adata, key)[slot_names.CONSENSUS_COSINES].copy()
    return table.rename_axis(index="run", columns="program")


def consensus_similarity(adata: AnnData, *, key: str = "semi_nmf_consensus") -> pd.DataFrame:
    """Return how similar the programs of different runs of a consensus are to each other.

    Parameters
    ----------
    adata
        Cells x genes, after :func:`scprograms.tl.consensus`.
    key
        Its ``key_added``.

    Returns
    -------
    Cosines among the programs of some of the runs (at most about 300 programs), with ``program`` (of the consensus) and
    ``run`` as the levels of both indices. Programs that are matched to the same one follow each other.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or it is no consensus.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.consensus(adata, 3, n_runs=5)
    >>> scp.get.consensus_similarity(adata).shape
    (15, 15)
    """
    entry = _entry(adata, key)
    members = entry[slot_names.CONSENSUS_MEMBERS]
    index = pd.MultiIndex.from_arrays(
        [members["program"].astype(str), members["run"].astype(int)], names=["program", "run"]
    )
    return pd.DataFrame(entry[slot_names.CONSENSUS_SIMILARITY], index=index, columns=index)
