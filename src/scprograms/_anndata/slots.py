"""The only code that reads from, or writes to, an AnnData.

Readers check what they hand out and raise errors that name the slot, what was found and the fix. Writers are called
last, with everything computed, and put all results in together: a verb that fails has changed nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scprograms._core.validate import check_has_key, listing, shared_genes

from . import slot_names
from .categories import categorical
from .matrix import check_adata, read_gene_names
from .slot_names import Slots
from .transaction import write

MODEL_COLUMNS = ("baseline", "center", "scale", "used")


@dataclass(frozen=True)
class Factorization:
    """Everything that a factorization leaves in an AnnData."""

    usages: np.ndarray
    """W, n_obs x k."""
    loadings: np.ndarray
    """H, k x n_vars, for all genes."""
    model: pd.DataFrame
    """``baseline, center, scale, used`` per gene."""
    programs: pd.DataFrame
    """One row per program: ``variance_explained``, ``sparsity``, ``stability``."""
    fit: Mapping[str, Any]
    """``params``, ``history`` and the figures of the fit, as they go into ``.uns[key]``."""
    genes_are_disjoint: bool = False
    """Whether every gene belongs to at most one program, which is then written."""


def keys_of(adata: AnnData) -> list[str]:
    """Return the keys of all factorizations in an AnnData."""
    parts = {slot_names.PROGRAMS, slot_names.ERROR}
    return [key for key, entry in adata.uns.items() if isinstance(entry, Mapping) and parts <= set(entry)]


def read_fit(adata: AnnData, key: str) -> Mapping[str, Any]:
    """Return ``.uns[key]`` of a factorization."""
    check_adata(adata)
    if key not in keys_of(adata):
        verb = "consensus" if key.endswith(f"_{slot_names.CONSENSUS}") else "semi_nmf"
        call = f"Make one with scp.tl.{verb}(adata, ...)."
        msg = f"There is no factorization under key={key!r}. There: {listing(keys_of(adata))}. {call}"
        raise KeyError(msg)
    return adata.uns[key]


def read_usages(adata: AnnData, key: str) -> pd.DataFrame:
    """Return W as a table of cells x programs."""
    names = read_fit(adata, key)[slot_names.PROGRAMS].index.astype(str)
    check_has_key(adata.obsm, Slots(key).usages, where="adata.obsm")
    return pd.DataFrame(np.asarray(adata.obsm[Slots(key).usages]), index=adata.obs_names, columns=names)


def read_loadings(adata: AnnData, key: str) -> pd.DataFrame:
    """Return H transposed as a table of genes x programs."""
    names = read_fit(adata, key)[slot_names.PROGRAMS].index.astype(str)
    check_has_key(adata.varm, Slots(key).loadings, where="adata.varm")
    return pd.DataFrame(np.asarray(adata.varm[Slots(key).loadings]), index=adata.var_names, columns=names)


def read_model(adata: AnnData, key: str) -> pd.DataFrame:
    """Return the table ``baseline, center, scale, used`` per gene."""
    read_fit(adata, key)
    check_has_key(adata.varm, Slots(key).model, where="adata.varm")
    return adata.varm[Slots(key).model].copy()


def read_fitted_loadings(adata: AnnData, key: str, *, name: str = "adata") -> pd.DataFrame:
    """Return the loadings of the genes that entered the fit, whose names must be unique, as genes x programs."""
    check_adata(adata, name=name)
    loadings = read_loadings(adata, key).set_axis(read_gene_names(adata, name=name), axis=0)
    return loadings[read_model(adata, key)["used"].to_numpy(dtype=bool)]


def read_shared_loadings(a: AnnData, b: AnnData, *, key: str, key_b: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the loadings of both of the genes that entered both fits; ``key_b`` is ``key`` by default."""
    A, B = read_fitted_loadings(a, key, name="a"), read_fitted_loadings(b, key if key_b is None else key_b, name="b")
    shared = shared_genes(list(A.index), list(B.index))
    return A.loc[shared], B.loc[shared]


def read_history(adata: AnnData, key: str) -> pd.DataFrame:
    """Return the course of the fit: ``iteration, stage, loss, error_ratio``."""
    fit = read_fit(adata, key)
    hint = f"Fit again with scp.tl.semi_nmf(adata, key_added={key!r}), which records it."
    if slot_names.PROJECTED_FROM in fit.get(slot_names.PARAMS, {}):
        hint = "Its usages were projected, which has no course: ask the reference that the programs were fitted to."
    check_has_key(fit, slot_names.HISTORY, where=f"adata.uns[{key!r}]", hint=hint)
    return fit[slot_names.HISTORY].copy()


def read_table(adata: AnnData, key: str, kind: str, *, groupby: str | None = None) -> pd.DataFrame:
    """Return the table that a later verb wrote into ``.uns[key][kind]`` (or ``[kind][groupby]``)."""
    entry = read_fit(adata, key)
    verb = slot_names.VERBS.get(kind, "program_enrichment")
    if kind not in entry:
        msg = f"adata.uns[{key!r}] has no {kind!r} yet. Call scp.tl.{verb}(adata, ..., key={key!r}) first."
        raise KeyError(msg)
    if groupby is None:
        return entry[kind].copy()
    hint = f"Call scp.tl.{verb}(adata, {groupby!r}, key={key!r}) first."
    check_has_key(entry[kind], slot_names.table_name(groupby), where=f"adata.uns[{key!r}][{kind!r}]", hint=hint)
    return entry[kind][slot_names.table_name(groupby)].copy()


# --- writing -------------------------------------------------------------------------------------------------------


def write_factorization(adata: AnnData, key: str, result: Factorization) -> None:
    """Write a factorization into its slots; ``.uns[key]`` is replaced, but for the rank sweep that led to it."""
    slots, programs = Slots(key), result.programs.index.astype(str)
    model = result.model.set_axis(adata.var_names, axis=0)
    cells = _strongest_program(result.usages, [*programs, slot_names.NO_PROGRAM], adata.obs_names)
    genes = _strongest_program(result.loadings.T, [*programs, slot_names.UNASSIGNED], adata.var_names)
    entry = adata.uns.get(key)
    kept = {name: entry[name] for name in slot_names.RANK_SWEEP_ENTRIES if isinstance(entry, Mapping) and name in entry}
    outdated = [slots.program] if key in keys_of(adata) else []  # of an earlier fit under the same key
    write(
        adata,
        obsm={slots.usages: result.usages},
        varm={slots.loadings: np.ascontiguousarray(result.loadings.T), slots.model: model},
        obs={slots.program: cells},
        var={slots.program: genes} if result.genes_are_disjoint else {},
        uns={key: {**kept, **result.fit, slot_names.PROGRAMS: result.programs}},
        remove={
            "obs": slots.module_columns,
            "var": [*slots.module_columns, *outdated],
            "varm": [slots.shared_modules],
        },
    )


def _strongest_program(usages: np.ndarray, names: list[str], index: pd.Index) -> pd.Series:
    top = usages.max(axis=1)
    n_at_top = np.sum(usages == top[:, None], axis=1)
    codes = np.where((top > 0) & (n_at_top == 1), usages.argmax(axis=1), len(names) - 1)
    return pd.Series(categorical(codes, names), index=index)


def write_table(adata: AnnData, key: str, kind: str, table: object, *, groupby: str | None = None) -> None:
    """Write a table (or parameters) of a later verb into ``.uns[key][kind]`` (or ``[kind][groupby]``)."""
    read_fit(adata, key)
    entry = dict(adata.uns[key])
    entry[kind] = table if groupby is None else {**entry.get(kind, {}), slot_names.table_name(groupby): table}
    write(adata, uns={key: entry})


def programs_as_adata(adata: AnnData, key: str) -> AnnData:
    """Return cells x programs as an AnnData with the cells' annotation, embeddings and palettes."""
    usages, fit = read_usages(adata, key), read_fit(adata, key)
    loadings = read_loadings(adata, key)
    colors = {name: value for name, value in adata.uns.items() if name.endswith("_colors")}
    programs = AnnData(
        X=usages.to_numpy(),
        obs=adata.obs.copy(),
        var=fit[slot_names.PROGRAMS].copy(),
        uns=colors,
        obsm={name: value for name, value in adata.obsm.items() if name != Slots(key).usages},
    )
    # An array, not a table: gene names may hold a slash, which a column on disk may not.
    programs.varm["loadings"] = np.ascontiguousarray(loadings.to_numpy().T)
    programs.uns["loadings_genes"] = loadings.index.astype(str).to_numpy()
    return programs
