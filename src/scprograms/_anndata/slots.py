"""The only code that reads from, or writes to, an AnnData.

Readers check what they hand out and raise errors that name the slot, what was found and the fix. Writers are called
last, with everything computed, and put all results in together: a verb that fails has changed nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData, ImplicitModificationWarning
from scipy import sparse

from . import _keys
from ._keys import Slots
from ._validate import check_has_key, check_mask, check_values, listing, load_tables, shared_genes, warn

MODEL_COLUMNS = ("baseline", "center", "scale", "used")


@dataclass(frozen=True)
class Labels:
    """One label per cell: ``codes`` index ``names``; -1 marks a cell without a label."""

    key: str
    codes: np.ndarray
    names: list[str]

    @property
    def labelled(self) -> np.ndarray:
        """Mask of the cells that carry a label."""
        return self.codes >= 0


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


# --- reading -------------------------------------------------------------------------------------------------------


def check_adata(adata: object, *, name: str = "adata") -> AnnData:
    """Raise a TypeError that names what was passed unless it is an in-memory AnnData."""
    if not isinstance(adata, AnnData):
        kind = f"{type(adata).__module__.split('.')[0]}.{type(adata).__name__}"
        fix = " Pass one modality, such as mdata['rna']." if type(adata).__name__ == "MuData" else ""
        msg = f"{name} is a {kind}; an anndata.AnnData is needed.{fix}"
        raise TypeError(msg)
    load_tables(adata)
    return adata


def read_matrix(adata: AnnData, *, layer: str | None = None) -> np.ndarray | sparse.spmatrix | sparse.sparray:
    """Return X or a layer as a real, finite ndarray, CSR or CSC matrix with a signal in it."""
    if adata.n_obs == 0 or adata.n_vars == 0:
        msg = f"adata has {adata.n_obs} cells and {adata.n_vars} genes: there is nothing to factorize."
        raise ValueError(msg)
    if layer is None:
        where, matrix = "adata.X", adata.X
        if matrix is None:
            msg = f"adata.X is empty. Name a layer with layer=; there: {listing(_layers(adata))}."
            raise ValueError(msg)
    else:
        check_has_key(_layers(adata), layer, where="adata.layers")
        where, matrix = f"adata.layers[{layer!r}]", adata.layers[layer]
    if adata.isbacked and layer is None:
        msg = "adata is backed by a file: load it first with adata = adata.to_memory()."
        raise TypeError(msg)
    if sparse.issparse(matrix):
        matrix = matrix if matrix.format in ("csr", "csc") else matrix.tocsr()
    elif not isinstance(matrix, np.ndarray) or isinstance(matrix, np.ma.MaskedArray):
        fix = f"load it first with {where} = {where}.compute()" if hasattr(matrix, "compute") else "pass a numpy array"
        msg = f"{where} is a {type(matrix).__name__}; {fix} or a scipy CSR or CSC matrix."
        raise TypeError(msg)
    check_values(matrix, where)
    return matrix


def _layers(adata: AnnData) -> dict[str, Any]:
    # anndata 0.13 lists X among the layers, under the name None.
    return {name: layer for name, layer in adata.layers.items() if name is not None}


def read_gene_mask(adata: AnnData, mask_var: object) -> np.ndarray | None:
    """Return ``mask_var`` (a boolean column of ``.var`` or a boolean array) as an array; None means all genes."""
    if mask_var is None:
        return None
    if isinstance(mask_var, str):
        hint = "Call sc.pp.highly_variable_genes(adata) first." if mask_var == "highly_variable" else ""
        check_has_key(adata.var, mask_var, where="adata.var", hint=hint)
        where, mask = f"adata.var[{mask_var!r}]", adata.var[mask_var].to_numpy()
    else:
        where, mask = "mask_var", np.asarray(mask_var)
    return check_mask(mask, where, adata.n_vars, "genes")


def read_control_mask(adata: AnnData, control: object) -> np.ndarray:
    """Return the mask of the control cells: ``control`` is a boolean array or ``(obs column, level)``."""
    if isinstance(control, tuple):
        if len(control) != 2:
            msg = f"control={control!r}: pass (obs column, level) or a boolean mask of the control cells."
            raise ValueError(msg)
        groupby, level = control
        labels = read_labels(adata, groupby)
        return labels.codes == check_level(labels, level, name="control")
    if isinstance(control, str) or control is None:
        msg = f"control={control!r}: pass (obs column, level) or a boolean mask of the control cells."
        raise TypeError(msg)
    return check_mask(np.asarray(control), "control", adata.n_obs, "cells")


def read_labels(adata: AnnData, groupby: object) -> Labels:
    """Return the labels of the cells in ``.obs[groupby]``; unused categories are dropped, missing labels counted."""
    check_has_key(adata.obs, groupby, where="adata.obs")
    column = adata.obs[groupby]
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.remove_unused_categories()
        codes, names = column.cat.codes.to_numpy().astype(np.int64), [str(name) for name in column.cat.categories]
    else:
        present = column.notna().to_numpy()
        levels, inverse = np.unique(column[present].astype(str).to_numpy(dtype=str), return_inverse=True)
        codes, names = np.full(adata.n_obs, -1, dtype=np.int64), levels.tolist()
        codes[present] = inverse
    n_missing = int(np.sum(codes < 0))
    if n_missing == adata.n_obs:
        msg = f"adata.obs[{groupby!r}] has no label at all: every value is missing."
        raise ValueError(msg)
    if n_missing:
        warn(f"adata.obs[{groupby!r}] is missing for {n_missing} of {adata.n_obs} cells: they are left out.")
    return Labels(key=str(groupby), codes=codes, names=names)


def check_level(labels: Labels, level: object, *, name: str) -> int:
    """Return the code of ``level`` among the labels."""
    if str(level) not in labels.names:
        msg = f"{name}={level!r} is no level of adata.obs[{labels.key!r}]. There: {listing(labels.names)}."
        raise ValueError(msg)
    return labels.names.index(str(level))


def read_colors(adata: AnnData, labels: Labels) -> dict[str, str] | None:
    """Return the colour of each label from ``.uns[f"{groupby}_colors"]``, or None where none are stored."""
    colors = adata.uns.get(f"{labels.key}_colors")
    column = adata.obs[labels.key]
    if colors is None or not isinstance(column.dtype, pd.CategoricalDtype):
        return None
    categories = [str(name) for name in column.cat.categories]
    return dict(zip(categories, map(str, colors), strict=False)) if len(colors) >= len(categories) else None


def read_gene_names(adata: AnnData, *, name: str = "adata") -> list[str]:
    """Return the gene names, which must be unique where genes are looked up by name."""
    if not adata.var_names.is_unique:
        twice = adata.var_names[adata.var_names.duplicated()].unique()
        msg = (
            f"{name}.var_names has {len(twice)} duplicates ({listing(twice, at_most=5)}): "
            f"call {name}.var_names_make_unique()."
        )
        raise ValueError(msg)
    return adata.var_names.astype(str).tolist()


def keys_of(adata: AnnData) -> list[str]:
    """Return the keys of all factorizations in an AnnData."""
    parts = {_keys.PROGRAMS, _keys.ERROR}
    return [key for key, entry in adata.uns.items() if isinstance(entry, Mapping) and parts <= set(entry)]


def read_fit(adata: AnnData, key: str) -> Mapping[str, Any]:
    """Return ``.uns[key]`` of a factorization."""
    check_adata(adata)
    if key not in keys_of(adata):
        verb = "consensus" if key.endswith(f"_{_keys.CONSENSUS}") else "semi_nmf"
        call = f"Make one with scp.tl.{verb}(adata, ...)."
        msg = f"There is no factorization under key={key!r}. There: {listing(keys_of(adata))}. {call}"
        raise KeyError(msg)
    return adata.uns[key]


def read_usages(adata: AnnData, key: str) -> pd.DataFrame:
    """Return W as a table of cells x programs."""
    names = read_fit(adata, key)[_keys.PROGRAMS].index.astype(str)
    check_has_key(adata.obsm, Slots(key).usages, where="adata.obsm")
    return pd.DataFrame(np.asarray(adata.obsm[Slots(key).usages]), index=adata.obs_names, columns=names)


def read_loadings(adata: AnnData, key: str) -> pd.DataFrame:
    """Return H transposed as a table of genes x programs."""
    names = read_fit(adata, key)[_keys.PROGRAMS].index.astype(str)
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
    if _keys.PROJECTED_FROM in fit.get(_keys.PARAMS, {}):
        hint = "Its usages were projected, which has no course: ask the reference that the programs were fitted to."
    check_has_key(fit, _keys.HISTORY, where=f"adata.uns[{key!r}]", hint=hint)
    return fit[_keys.HISTORY].copy()


def read_table(adata: AnnData, key: str, kind: str, *, groupby: str | None = None) -> pd.DataFrame:
    """Return the table that a later verb wrote into ``.uns[key][kind]`` (or ``[kind][groupby]``)."""
    entry = read_fit(adata, key)
    verb = _keys.VERBS.get(kind, "program_enrichment")
    if kind not in entry:
        msg = f"adata.uns[{key!r}] has no {kind!r} yet. Call scp.tl.{verb}(adata, ..., key={key!r}) first."
        raise KeyError(msg)
    if groupby is None:
        return entry[kind].copy()
    hint = f"Call scp.tl.{verb}(adata, {groupby!r}, key={key!r}) first."
    check_has_key(entry[kind], _keys.table_name(groupby), where=f"adata.uns[{key!r}][{kind!r}]", hint=hint)
    return entry[kind][_keys.table_name(groupby)].copy()


# --- writing -------------------------------------------------------------------------------------------------------


def write_factorization(adata: AnnData, key: str, result: Factorization) -> None:
    """Write a factorization into its slots; ``.uns[key]`` is replaced, but for the rank sweep that led to it."""
    slots, programs = Slots(key), result.programs.index.astype(str)
    model = result.model.set_axis(adata.var_names, axis=0)
    cells = _strongest_program(result.usages, [*programs, _keys.NO_PROGRAM], adata.obs_names)
    genes = _strongest_program(result.loadings.T, [*programs, _keys.UNASSIGNED], adata.var_names)
    with warnings.catch_warnings():
        # Writing to a view makes it a copy of its own; that is what the caller of copy=False asked for.
        warnings.simplefilter("ignore", ImplicitModificationWarning)
        adata.obsm[slots.usages] = result.usages
    for table in (adata.var, adata.obs):
        for name in set(slots.module_columns) & set(table):
            del table[name]
    adata.varm.pop(slots.shared_modules, None)
    adata.varm[slots.loadings] = np.ascontiguousarray(result.loadings.T)
    adata.varm[slots.model] = model
    adata.obs[slots.program] = cells
    if result.genes_are_disjoint:
        adata.var[slots.program] = genes
    elif slots.program in adata.var and key in keys_of(adata):  # of an earlier fit under the same key
        del adata.var[slots.program]
    entry = adata.uns.get(key)
    kept = {name: entry[name] for name in _keys.RANK_SWEEP_ENTRIES if isinstance(entry, Mapping) and name in entry}
    adata.uns[key] = {**kept, **result.fit, _keys.PROGRAMS: result.programs}


def _strongest_program(usages: np.ndarray, names: list[str], index: pd.Index) -> pd.Series:
    top = usages.max(axis=1)
    n_at_top = np.sum(usages == top[:, None], axis=1)
    codes = np.where((top > 0) & (n_at_top == 1), usages.argmax(axis=1), len(names) - 1)
    return pd.Series(pd.Categorical.from_codes(codes, names), index=index)


def write_table(adata: AnnData, key: str, kind: str, table: object, *, groupby: str | None = None) -> None:
    """Write a table (or parameters) of a later verb into ``.uns[key][kind]`` (or ``[kind][groupby]``)."""
    read_fit(adata, key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImplicitModificationWarning)
        entry = dict(adata.uns[key])
        entry[kind] = table if groupby is None else {**entry.get(kind, {}), _keys.table_name(groupby): table}
        adata.uns[key] = entry


def programs_as_adata(adata: AnnData, key: str) -> AnnData:
    """Return cells x programs as an AnnData with the cells' annotation, embeddings and palettes."""
    usages, fit = read_usages(adata, key), read_fit(adata, key)
    loadings = read_loadings(adata, key)
    colors = {name: value for name, value in adata.uns.items() if name.endswith("_colors")}
    programs = AnnData(
        X=usages.to_numpy(),
        obs=adata.obs.copy(),
        var=fit[_keys.PROGRAMS].copy(),
        uns=colors,
        obsm={name: value for name, value in adata.obsm.items() if name != Slots(key).usages},
    )
    # An array, not a table: gene names may hold a slash, which a column on disk may not.
    programs.varm["loadings"] = np.ascontiguousarray(loadings.to_numpy().T)
    programs.uns["loadings_genes"] = loadings.index.astype(str).to_numpy()
    return programs
