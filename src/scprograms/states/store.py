"""Recovery of cell states: what is read from an AnnData, what is written into it, and models as files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData, read_h5ad

from scprograms._anndata import slot_names
from scprograms._anndata.categories import categorical
from scprograms._anndata.labels import Labels
from scprograms._anndata.matrix import check_adata
from scprograms._anndata.slot_names import Slots
from scprograms._anndata.transaction import write
from scprograms._core.files import atomic_path
from scprograms._core.validate import check_has_key, listing

if TYPE_CHECKING:
    import os

FORMAT = "scprograms recovery model"
VERSION = 2
"""Of the file. Raise it whenever a file of the old layout would be misread."""
DISCOVERY_TABLES = ("states", "cell_types", "sweep", "markers")
SWEEP = "sweep"


def read_codes(adata: AnnData, key: object) -> Labels:
    """Return the labels in ``.obs[key]``, sorted by name where they are no category; -1 where missing, all may be."""
    check_has_key(adata.obs, key, where="adata.obs")
    column = adata.obs[key]
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.remove_unused_categories()
        return Labels(str(key), column.cat.codes.to_numpy().astype(np.int64), [str(x) for x in column.cat.categories])
    present = column.notna().to_numpy()
    names, inverse = np.unique(column[present].astype(str).to_numpy(dtype=str), return_inverse=True)
    codes = np.full(adata.n_obs, -1, dtype=np.int64)
    codes[present] = inverse
    return Labels(str(key), codes, names.tolist())


@dataclass(frozen=True)
class Recovery:
    """What a recovery leaves in an AnnData."""

    state: pd.Categorical
    score: np.ndarray
    shares: np.ndarray
    """n_obs x states."""
    params: Mapping[str, Any]
    cell_types: pd.DataFrame


def write_recovery(adata: AnnData, key: str, found: Recovery) -> None:
    """Write states, scores and shares; of an earlier ``.uns[key]`` the validation is kept."""
    slots = Slots(key)
    kept = {slot_names.CONFUSION, slot_names.STATES, slot_names.VALIDATION_PARAMS}
    entry = adata.uns.get(key)
    entries = {name: entry[name] for name in kept if isinstance(entry, Mapping) and name in entry}
    entries |= {slot_names.PARAMS: dict(found.params), slot_names.CELL_TYPES: found.cell_types}
    write(
        adata,
        obsm={slots.usages: found.shares},
        obs={slots.state: found.state, slots.score: found.score},
        uns={key: entries},
    )


def write_validation(
    adata: AnnData, key: str, confusion: pd.DataFrame, states: pd.DataFrame, params: Mapping[str, Any]
) -> None:
    """Write the tables of a cross-validation beside what else is in ``.uns[key]``."""
    entry = adata.uns.get(key)
    tables = {
        slot_names.CONFUSION: confusion,
        slot_names.STATES: states,
        slot_names.VALIDATION_PARAMS: dict(params),
    }
    write(adata, uns={key: {**(entry if isinstance(entry, Mapping) else {}), **tables}})


def read_recovery_table(adata: AnnData, key: str, kind: str) -> pd.DataFrame:
    """Return the table ``.uns[key][kind]``: "cell_types" of a recovery, "confusion" or "states" of a validation."""
    check_adata(adata)
    keys = [name for name, entry in adata.uns.items() if isinstance(entry, Mapping) and kind in entry]
    if key not in keys:
        verb = "recover_states" if kind == slot_names.CELL_TYPES else "cross_validate_recovery"
        msg = (
            f"There is no table {kind!r} under key={key!r}. There: {listing(keys)}. "
            f"Make one with scp.tl.{verb}(adata, ..., key_added=...)."
        )
        raise KeyError(msg)
    return adata.uns[key][kind].copy()


@dataclass(frozen=True)
class ModelFile:
    """A recovery model as it lies on disk: states x features, and tables."""

    signatures: np.ndarray
    """States x features; NaN where a cell type does not have the feature."""
    layers: Mapping[str, np.ndarray]
    states: pd.DataFrame
    """A row per cell type and state, columns ``cell_type, state`` first."""
    features: pd.DataFrame
    """Index such as ``CD3E__pos``; columns ``gene, sign``."""
    tables: Mapping[str, Any]
    """What else there is: tables, arrays and parameters."""


def write_model(path: str | os.PathLike[str], model: ModelFile) -> None:
    """Write a model as h5ad, whole or not at all."""
    path = Path(path)
    if path.suffix != ".h5ad":
        msg = f"path={str(path)!r} does not end in .h5ad, the format of a recovery model: name it {path.stem}.h5ad."
        raise ValueError(msg)
    if not path.parent.is_dir():
        msg = f"path={str(path)!r}: there is no folder {str(path.parent)!r}. Make it first."
        raise FileNotFoundError(msg)
    about = {"format": FORMAT, "version": VERSION}
    stored = AnnData(
        model.signatures,
        obs=model.states.set_axis([f"{a}: {b}" for a, b in zip(*model.states.iloc[:, :2].to_numpy().T, strict=True)]),
        var=model.features,
        layers=dict(model.layers),
        uns={"about": about, **model.tables},
    )
    with atomic_path(path) as part:
        stored.write_h5ad(part)


def read_model(path: str | os.PathLike[str]) -> ModelFile:
    """Read a model; an error says what the file is if it is none."""
    path = Path(path)
    if not path.is_file():
        msg = f"path={str(path)!r} is no file. Write a model first with model.write(path)."
        raise FileNotFoundError(msg)
    try:
        stored = read_h5ad(path)
    except Exception as error:
        msg = f"{str(path)!r} cannot be read as h5ad ({error}): pass a file written by RecoveryModel.write."
        raise ValueError(msg) from error
    about = stored.uns.get("about")
    if not isinstance(about, Mapping) or about.get("format") != FORMAT:
        msg = f"{str(path)!r} is an h5ad file, but no recovery model: pass a file written by RecoveryModel.write."
        raise ValueError(msg)
    if int(about["version"]) != VERSION:
        msg = (
            f"{str(path)!r} is a recovery model of version {int(about['version'])}; this version of scprograms reads "
            f"{VERSION}. Train it again, or use the version of scprograms that wrote it."
        )
        raise ValueError(msg)
    layers = {name: np.asarray(layer) for name, layer in stored.layers.items() if name is not None}
    tables = {name: entry for name, entry in stored.uns.items() if name != "about"}
    return ModelFile(np.asarray(stored.X), layers, stored.obs.reset_index(drop=True), stored.var, tables)


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
    states = pd.Series(categorical(result.codes, result.names), index=adata.obs_names)
    entry = {slot_names.PARAMS: dict(result.params), **result.tables}
    write(adata, obs={slot_names.Slots(key).state: states}, uns={key: entry})


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
    slots = slot_names.Slots(key)
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
