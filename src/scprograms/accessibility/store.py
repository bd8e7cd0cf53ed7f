"""Reading expression and accessibility of the same cells from two modalities, and writing predictions and reports."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scprograms._anndata import slot_names
from scprograms._anndata.categories import categorical
from scprograms._anndata.coordinates import read_coordinates
from scprograms._anndata.labels import Labels, read_labels
from scprograms._anndata.matrix import check_adata, read_gene_names, read_matrix
from scprograms._anndata.transaction import write
from scprograms._core.validate import case_hint, check_has_key, check_mask, listing, warn

if TYPE_CHECKING:
    from scprograms._core.matrix import Matrix

_INTERVAL = re.compile(r"^(?P<chrom>.+):(?P<start>\d+)-(?P<end>\d+)$")


@dataclass(frozen=True)
class Pair:
    """Two modalities, and where in each the cells lie that are in both."""

    rna: AnnData
    atac: AnnData
    in_rna: np.ndarray
    in_atac: np.ndarray

    @property
    def n_cells(self) -> int:
        """Number of cells in both."""
        return len(self.in_rna)


def read_modality(data: Any, name: str, argument: str) -> AnnData:
    """Return one AnnData of a MuData, or of a mapping from names to AnnData."""
    there = getattr(data, "mod", data)
    if isinstance(data, AnnData) or not isinstance(there, Mapping):
        msg = (
            f"data is a {type(data).__name__}; pass a MuData, or a mapping such as {{'rna': adata, 'atac': adata}}, "
            "over the same cells."
        )
        raise TypeError(msg)
    check_has_key(there, name, where="the modalities of data", hint=f"Name the modality with {argument}=.")
    return check_adata(there[name], name=f"data[{name!r}]")


def read_pair(data: Any, rna: str, atac: str) -> Pair:
    """Return both modalities and the cells that they share, in the order of the accessibility."""
    first, second = read_modality(data, rna, "rna"), read_modality(data, atac, "atac")
    for name, adata in ((rna, first), (atac, second)):
        if not adata.obs_names.is_unique:
            msg = f"data[{name!r}].obs_names are not unique: call data[{name!r}].obs_names_make_unique() first."
            raise ValueError(msg)
    place = first.obs_names.get_indexer(second.obs_names)
    in_atac = np.flatnonzero(place >= 0)
    if not len(in_atac):
        msg = (
            f"data[{rna!r}] and data[{atac!r}] have no cell in common: there are {listing(first.obs_names, at_most=2)} "
            f"and {listing(second.obs_names, at_most=2)}. Both need the same obs_names."
        )
        raise ValueError(msg)
    if left := max(first.n_obs, second.n_obs) - len(in_atac):
        warn(f"{left} cells are in one of {rna!r} and {atac!r} alone: they are left out.")
    return Pair(first, second, place[in_atac], in_atac)


def read_expression(adata: AnnData, cells: np.ndarray, *, layer: str | None) -> Matrix:
    """Return cells x genes, CSR or array."""
    matrix = read_matrix(adata, layer=layer)
    return sparse.csr_matrix(matrix)[cells] if sparse.issparse(matrix) else matrix[cells]


def read_open(adata: AnnData, cells: np.ndarray, *, layer: str | None) -> sparse.csc_array:
    """Return which peaks are open, cells x peaks, boolean: every value above zero is."""
    matrix = read_matrix(adata, layer=layer)
    values = matrix.data if sparse.issparse(matrix) else matrix
    if (low := values.min(initial=0)) < 0:
        msg = f"The accessibility has negative values (the lowest is {low:g}); counts, or 0 and 1, are needed."
        raise ValueError(msg)
    return sparse.csc_array(sparse.csr_array(matrix)[cells] > 0)


def read_groups(data: Any, pair: Pair, groupby: str) -> Labels:
    """Return labels of the shared cells, from ``.obs`` of the MuData or of either modality."""
    own = getattr(data, "obs", None)
    tables = [pair.atac.obs, pair.rna.obs.reindex(pair.atac.obs_names)]
    if isinstance(own, pd.DataFrame):
        tables.insert(0, own.reindex(pair.atac.obs_names))
    for table in tables:
        if isinstance(groupby, str) and groupby in table:
            return read_labels(AnnData(obs=table[[groupby]].iloc[pair.in_atac]), groupby)
    if not isinstance(groupby, str):
        msg = f"groupby={groupby!r} is a {type(groupby).__name__}; pass the name of a column of .obs."
        raise TypeError(msg)
    names = dict.fromkeys(name for table in tables for name in table.columns)
    msg = f"groupby={groupby!r} is in .obs neither of data nor of its modalities. There: {listing(names)}."
    raise KeyError(msg)


def read_peak_choice(adata: AnnData, peaks: object) -> np.ndarray:
    """Return the indices, ascending, of peaks given by name, by a boolean column of ``.var``, or by a mask."""
    names = read_gene_names(adata, name="data['atac']")
    if isinstance(peaks, str):
        check_has_key(adata.var, peaks, where="data['atac'].var")
        return np.flatnonzero(check_mask(adata.var[peaks].to_numpy(), f"var[{peaks!r}]", adata.n_vars, "peaks"))
    values = np.asarray(peaks)
    if values.dtype == bool:
        return np.flatnonzero(check_mask(values, "peaks", adata.n_vars, "peaks"))
    wanted = [str(name) for name in values.ravel()]
    if missing := sorted(set(wanted) - set(names)):
        msg = f"peaks names {len(missing)} that are not in data['atac']: {listing(missing, at_most=3)}."
        raise ValueError(msg + case_hint(names, wanted))
    if not wanted:
        msg = "peaks is empty: name at least one."
        raise ValueError(msg)
    return np.flatnonzero(adata.var_names.isin(wanted))


def read_peak_places(adata: AnnData, peaks: np.ndarray) -> pd.DataFrame:
    """Return ``chrom, start, end`` of some peaks."""
    return read_coordinates(AnnData(var=adata.var.iloc[peaks]))


def read_gene_places(adata: AnnData) -> pd.DataFrame:
    """Return ``chrom`` and ``position``, the start of each gene by its strand; None and NaN where they are missing."""
    var = adata.var
    if {"chrom", "start", "end"} <= set(var.columns):
        table = pd.DataFrame({name: var[name] for name in ("chrom", "start", "end")})
    elif "interval" in var:  # as in the files of 10x Genomics
        table = var["interval"].astype(str).str.extract(_INTERVAL)
    else:
        msg = (
            "data['rna'].var has no coordinates of genes, which gene_distance needs: columns chrom, start and end (and "
            f"strand), or interval ('chr1:100-600'). There: {listing(var.columns)}."
        )
        raise KeyError(msg)
    start, end = (pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=float) for name in ("start", "end"))
    reverse = var["strand"].astype(str).isin(["-", "-1"]).to_numpy() if "strand" in var else np.zeros(len(var), bool)
    position = np.where(reverse, end, start)
    # The stubs know no None here.
    chrom = table["chrom"].astype(object).where(np.isfinite(position), None)  # type: ignore[call-overload]
    if not chrom.notna().any():
        msg = "data['rna'].var has no gene with known coordinates, which gene_distance needs."
        raise ValueError(msg)
    return pd.DataFrame({"chrom": chrom, "position": position}, index=adata.var_names)


def align_genes(adata: AnnData, matrix: Matrix, genes: Sequence[str], mean: np.ndarray) -> Matrix:
    """Return the matrix with the genes of a model, in its order; a missing gene gets its mean of the training cells."""
    names = read_gene_names(adata, name="data['rna']")
    place = pd.Index(names).get_indexer(pd.Index(genes))
    missing = place < 0
    if missing.all():
        msg = (
            f"None of the {len(genes)} genes of the model is in data['rna']: there are {listing(names, at_most=3)}, "
            f"the model has {listing(genes, at_most=3)}.{case_hint(names, genes)}"
        )
        raise ValueError(msg)
    if not missing.any():
        return matrix[:, place]
    warn(
        f"{int(missing.sum())} of the {len(genes)} genes of the model are not in data['rna']: they count as average. "
        f"Missing are {listing(np.asarray(genes)[missing], at_most=3)}."
    )
    values = matrix[:, np.where(missing, 0, place)]
    values = values.toarray() if sparse.issparse(values) else np.array(values)
    values[:, missing] = mean[missing]
    return values


def write_predictions(
    pair: Pair, key: str, peaks: np.ndarray, probability: np.ndarray, split: np.ndarray | None = None
) -> None:
    """Write the probabilities into a sparse layer, and which peaks and cells they are of."""
    adata, n = pair.atac, len(peaks)
    rows = np.zeros(adata.n_obs, dtype=np.int64)
    rows[pair.in_atac] = n
    indptr = np.concatenate([[0], np.cumsum(rows)])
    layer = sparse.csr_matrix((probability.ravel(), np.tile(peaks, pair.n_cells), indptr), shape=adata.shape)
    target = np.zeros(adata.n_vars, dtype=bool)
    target[peaks] = True
    column = slot_names.split_of(key)
    obs = {}
    if split is not None:
        codes = np.full(adata.n_obs, -1)
        codes[pair.in_atac] = split
        obs[column] = categorical(codes, ["train", "validation", "test"])
    write(
        adata,
        layers={key: layer},
        var={slot_names.target_of(key): target},
        obs=obs,
        remove={"obs": [] if obs else [column]},
    )


def write_report(adata: AnnData, key: str, entry: Mapping[str, Any]) -> None:
    """Write the tables of a report; an older one is replaced."""
    write(adata, uns={key: dict(entry)})


def forget_report(adata: AnnData, key: str) -> None:
    """Remove a report that predictions no longer belong to."""
    write(adata, remove={"uns": [key]})


def read_report(data: Any, key: str, atac: str) -> Mapping[str, Any]:
    """Return everything that a report holds, from a MuData, a mapping, or the AnnData of the accessibility."""
    adata = data if isinstance(data, AnnData) else read_modality(data, atac, "atac")
    keys = [
        name
        for name, entry in adata.uns.items()
        if isinstance(entry, Mapping)
        and slot_names.ACCESSIBILITY_CHOSEN in entry
        and slot_names.ACCESSIBILITY_MODELS in entry
    ]
    if key not in keys:
        msg = (
            f"There is no report on accessibility under key={key!r}. There: {listing(keys)}. Make one with "
            "scp.tl.train_accessibility(data, key_added=...)."
        )
        raise KeyError(msg)
    entry: Mapping[str, Any] = adata.uns[key]
    return entry


def predictions_as_adata(
    rna: AnnData, peaks: Sequence[str], probability: np.ndarray, params: Mapping[str, Any]
) -> AnnData:
    """Return predictions for cells without accessibility as an AnnData of their own."""
    var = pd.DataFrame(index=pd.Index(list(peaks), dtype=object))
    return AnnData(probability, obs=rna.obs.copy(), var=var, uns={slot_names.PARAMS: dict(params)})


def copy_of(data: Any) -> Any:
    """Return a MuData, or a mapping of AnnData, whose modalities can be changed without changing this one."""
    return {name: adata.copy() for name, adata in data.items()} if isinstance(data, Mapping) else data.copy()
