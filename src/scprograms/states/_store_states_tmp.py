"""States of cells: writing and reading of those that are discovered, and reading of where cells of each are."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import ImplicitModificationWarning

from . import _keys
from ._store import check_adata
from ._validate import check_has_key, listing

if TYPE_CHECKING:
    from anndata import AnnData

DISCOVERY_TABLES = ("states", "cell_types", "sweep", "markers")
SWEEP = "sweep"


@dataclass(frozen=True)
class Discovery:
    """Everything that a discovery of states leaves in an AnnData."""

    codes: np.ndarray
    """The state of each cell; -1 where it has none."""
    names: list[str]
    tables: Mapping[str, pd.DataFrame]
    """Flat tables, by the names of ``DISCOVERY_TABLES``."""
    params: Mapping[str, Any]


def write_discovery(adata: AnnData, key: str, result: Discovery) -> None:
    """Write the state of each cell, and the tables behind it; ``.uns[key]`` is replaced."""
    states = pd.Series(pd.Categorical.from_codes(result.codes, result.names), index=adata.obs_names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImplicitModificationWarning)
        adata.obs[_keys.Slots(key).state] = states
        adata.uns[key] = {_keys.PARAMS: dict(result.params), **result.tables}


def read_discovery(adata: AnnData, key: str, of: str) -> pd.DataFrame:
    """Return a table of a discovery."""
    check_adata(adata)
    there = [name for name, entry in adata.uns.items() if isinstance(entry, Mapping) and SWEEP in entry]
    if key not in there:
        msg = (
            f"There is no discovery of states under key={key!r}. There: {listing(there)}. Make one with "
            f"scp.tl.discover_states(adata, cell_type_key, key_added={key!r})."
        )
        raise KeyError(msg)
    return adata.uns[key][of].copy()


def read_recovered(adata: AnnData, key: str, basis: str | None) -> pd.DataFrame:
    """Return ``state``, ``score`` where there is one, ``x`` and ``y`` of each cell, and in ``.attrs`` stored colours.

    ``basis`` names an entry of ``.obsm``, with or without "X_" before it.
    """
    check_adata(adata)
    slots = _keys.Slots(key)
    hint = f"Call scp.tl.recover_states(adata, model, cell_type_key, key_added={key!r}) first."
    check_has_key(adata.obs, slots.state, where="adata.obs", hint=hint)
    states = adata.obs[slots.state].astype("category")
    table = pd.DataFrame({"state": states}, index=adata.obs_names)
    names = [str(name) for name in states.cat.categories]
    colors = adata.uns.get(f"{slots.state}_colors", ())
    if len(colors) >= len(names):
        table.attrs["colors"] = dict(zip(names, map(str, colors), strict=False))
    if slots.score in adata.obs:
        table["score"] = adata.obs[slots.score].to_numpy(dtype=np.float64)
    if basis is None:
        return table
    if basis not in adata.obsm and f"X_{basis}" in adata.obsm:
        basis = f"X_{basis}"
    check_has_key(adata.obsm, basis, where="adata.obsm", hint="Name the places of the cells with basis=.")
    places = np.asarray(adata.obsm[basis], dtype=np.float64)
    if places.ndim != 2 or places.shape[1] < 2:
        msg = f"adata.obsm[{basis!r}] has shape {places.shape}; two columns, x and y, are needed."
        raise ValueError(msg)
    table["x"], table["y"] = places[:, 0], places[:, 1]
    return table
