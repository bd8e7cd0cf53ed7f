"""Reading and writing of rank sweeps, which lie beside a factorization but need none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scprograms._anndata import slot_names
from scprograms._anndata.matrix import check_adata
from scprograms._anndata.transaction import write
from scprograms._core.validate import listing

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def read_rank_sweep(adata: AnnData, key: str) -> pd.DataFrame:
    """Return the table of a rank sweep, with its reason and number of folds in ``.attrs``."""
    check_adata(adata)
    keys = [name for name, entry in adata.uns.items() if isinstance(entry, Mapping) and slot_names.RANK_SWEEP in entry]
    if key not in keys:
        msg = (
            f"There is no rank sweep under key={key!r}. There: {listing(keys)}. "
            "Make one with scp.tl.rank_sweep(adata, key_added=...)."
        )
        raise KeyError(msg)
    entry = adata.uns[key]
    table = entry[slot_names.RANK_SWEEP].copy()
    table.attrs["reason"] = str(entry[slot_names.RANK_SWEEP_REASON])
    table.attrs["n_folds"] = int(entry[slot_names.RANK_SWEEP_PARAMS]["n_folds"])
    return table


def write_rank_sweep(adata: AnnData, key: str, entries: Mapping[str, Any]) -> None:
    """Write a rank sweep into ``.uns[key]``, beside what is there."""
    entry = adata.uns.get(key)
    write(adata, uns={key: {**(entry if isinstance(entry, Mapping) else {}), **entries}})
