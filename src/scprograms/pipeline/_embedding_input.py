"""Accessibility and labels from the files of ``scprograms embed``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from scprograms._anndata.transaction import write
from scprograms._core.validate import listing

from ._journal import InputError, one_line

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

LABEL = "label"
_TABLES = (".txt", ".tsv", ".csv")
_UNREADABLE = (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError)


def read_data(path: Path) -> AnnData:
    """Return cells x peaks from an .h5ad file, a table of peaks x cells, or a folder with a matrix of peaks x cells."""
    import anndata

    if not path.exists():
        msg = f"{str(path)!r} does not exist."
        raise InputError(msg)
    suffixes = [each.lower() for each in path.suffixes]
    try:
        if path.is_dir():
            return _read_folder(path)
        if any(each in _TABLES for each in suffixes[-2:]):
            return _read_table(path, "," if ".csv" in suffixes else "\t")
        return anndata.read_h5ad(path)
    except _UNREADABLE as error:
        kind = "a folder with a matrix" if path.is_dir() else "an .h5ad file or a table"
        msg = f"{str(path)!r} cannot be read as {kind}: {one_line(error)[:200]}"
        raise InputError(msg) from error


def _read_table(path: Path, separator: str) -> AnnData:
    """Return cells x peaks from a table with a row per peak, a chunk of peaks at a time."""
    import anndata

    parts, names, cells = [], [], None
    for chunk in pd.read_csv(path, sep=separator, index_col=0, chunksize=2000):
        cells = chunk.columns
        names += [str(name) for name in chunk.index]
        parts.append(sparse.csr_matrix(chunk.to_numpy(dtype=np.float32)))
    if cells is None or not len(cells):
        msg = "it holds no peaks or no cells; a row per peak and a column per cell are needed."
        raise ValueError(msg)
    matrix = sparse.vstack(parts, format="csc").T
    return anndata.AnnData(
        sparse.csr_matrix(matrix), obs=pd.DataFrame(index=cells.astype(str)), var=pd.DataFrame(index=names)
    )


def _read_folder(folder: Path) -> AnnData:
    """Return cells x peaks; the matrix may be the other way round if its sides tell."""
    import anndata
    from scipy.io import mmread

    file = _only(folder, "a matrix (.mtx or .mtx.gz)", (".mtx", ".mtx.gz"))
    matrix = sparse.csr_matrix(mmread(file, spmatrix=False), dtype=np.float32)
    cells = _first_column(_only(folder, "barcodes", words=("barcode", "cells")))
    peaks = _peaks(_only(folder, "peaks", words=("peak", "feature", "genes")))
    if matrix.shape == (len(peaks), len(cells)):
        matrix = sparse.csr_matrix(matrix.T)
    elif matrix.shape != (len(cells), len(peaks)):
        msg = f"the matrix is {matrix.shape[0]} x {matrix.shape[1]}, for {len(peaks)} peaks and {len(cells)} barcodes."
        raise ValueError(msg)
    return anndata.AnnData(matrix, obs=pd.DataFrame(index=cells), var=pd.DataFrame(index=peaks))


def _only(folder: Path, what: str, endings: tuple[str, ...] = (), *, words: tuple[str, ...] = ()) -> Path:
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file()
        and not path.name.startswith(".")
        and ((endings and path.name.lower().endswith(endings)) or any(word in path.name.lower() for word in words))
        and (endings or ".mtx" not in path.name.lower())
    ]
    if len(found) != 1:
        msg = f"it holds {len(found)} files with {what} ({listing(path.name for path in found)}); one is needed."
        raise ValueError(msg)
    return found[0]


def _lines(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False)


def _first_column(path: Path) -> list[str]:
    return _lines(path)[0].tolist()


def _peaks(path: Path) -> list[str]:
    """Return names: the first column, or the three of a BED file put together."""
    table = _lines(path)
    if table.shape[1] >= 3 and table[1].str.fullmatch(r"\d+").all() and table[2].str.fullmatch(r"\d+").all():
        return (table[0] + ":" + table[1] + "-" + table[2]).tolist()
    return table[0].tolist()


def add_labels(adata: AnnData, path: Path) -> None:
    """Write the labels of a file to ``.obs``: by name where it has two columns, else in the order of the cells."""
    if not path.is_file():
        msg = f"--label-file={str(path)!r} is no file."
        raise InputError(msg)
    try:
        table = _lines(path)
    except _UNREADABLE as error:
        msg = f"--label-file={str(path)!r} cannot be read: {one_line(error)[:200]}"
        raise InputError(msg) from error
    if table.shape[1] == 1:
        if len(table) != adata.n_obs:
            msg = f"--label-file={str(path)!r} has {len(table)} labels for {adata.n_obs} cells, and no names of cells."
            raise InputError(msg)
        values = table[0].to_numpy()
    else:
        by_name = table.drop_duplicates(0).set_index(0)[1]
        values = by_name.reindex(adata.obs_names).to_numpy()
        if pd.isna(values).all():
            found = f"{listing(table[0], at_most=3)} and {listing(adata.obs_names, at_most=3)}"
            msg = f"--label-file={str(path)!r} names none of the cells: there are {found}."
            raise InputError(msg)
    write(adata, obs={LABEL: pd.Categorical(values)})
