"""X and layers in memory, checked; gene names and masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from scprograms._core.validate import check_has_key, check_mask, check_values, listing

if TYPE_CHECKING:
    from scprograms._core.matrix import AnySparse, Array, Matrix


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


def read_matrix(adata: AnnData, *, layer: str | None = None) -> Matrix:
    """Return X or a layer as a real, finite ndarray, CSR or CSC matrix with a signal in it."""
    if adata.n_obs == 0 or adata.n_vars == 0:
        msg = f"adata has {adata.n_obs} cells and {adata.n_vars} genes: there is nothing to factorize."
        raise ValueError(msg)
    matrix: Array | AnySparse | None
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


def load_tables(adata: Any) -> None:
    """Load the tables, and all of ``.uns``, that ``read_lazy`` left on disk: they are small beside the matrices."""
    for axis in ("obs", "var"):
        if hasattr(table := getattr(adata, axis), "to_memory"):
            setattr(adata, axis, table.to_memory())
            for name, entry in list(getattr(adata, f"{axis}m").items()):
                if hasattr(entry, "to_memory"):
                    getattr(adata, f"{axis}m")[name] = entry.to_memory()
            adata.uns.update({name: _loaded(entry) for name, entry in adata.uns.items()})


def _loaded(entry: Any) -> Any:
    load = getattr(entry, "to_memory", getattr(entry, "compute", None))
    if load is not None:
        return load()
    return {name: _loaded(part) for name, part in entry.items()} if isinstance(entry, Mapping) else entry
