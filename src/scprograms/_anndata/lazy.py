"""Reading a matrix that stays where it is: a dask array, or the file behind a backed AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anndata.abc import CSCDataset, CSRDataset

from scprograms._core.validate import warn_about_counts

from . import matrix as in_memory

if TYPE_CHECKING:
    from anndata import AnnData
    from typing_extensions import TypeIs

    from scprograms._core.matrix import Matrix
    from scprograms._core.operators.protocol import DaskArray

BYTES_PER_CHUNK = 2**26
FEWEST_ROWS = 1000
HEAD_ROWS = 200


def is_lazy(matrix: object) -> TypeIs[DaskArray]:
    """Whether a matrix is a dask array."""
    return hasattr(matrix, "to_delayed") and hasattr(matrix, "chunks")


def read_matrix(adata: AnnData, *, layer: str | None = None) -> Matrix | DaskArray:
    """Return X or a layer: in memory and with its values checked, or as a dask array whose values nobody has seen.

    A dask array stays one, and a file-backed X becomes one: values are checked when they are first read.
    """
    if adata.isbacked and layer is None:
        return _chunks_of_file(adata)
    matrix: Any = None
    if layer is None or (isinstance(layer, str) and layer in adata.layers):
        matrix = adata.X if layer is None else adata.layers[layer]
    if not is_lazy(matrix):
        return in_memory.read_matrix(adata, layer=layer)
    if 0 in matrix.shape:
        msg = f"adata has {adata.n_obs} cells and {adata.n_vars} genes: there is nothing to factorize."
        raise ValueError(msg)
    return matrix


def warn_about_counts_in_head(matrix: DaskArray, where: str) -> None:
    """Warn if the first rows of a dask array hold integers, as raw counts do."""
    head = matrix[: min(HEAD_ROWS, matrix.chunks[0][0])]
    warn_about_counts(head.compute(), where)


def _chunks_of_file(adata: AnnData) -> DaskArray:
    load = "load it first with adata = adata.to_memory()"
    if adata.is_view:
        msg = f"adata is a view of an AnnData that is backed by a file: {load}."
        raise TypeError(msg)
    matrix = adata.X
    if isinstance(matrix, CSCDataset):
        msg = (
            f"adata is backed by a file that holds adata.X by column (CSC), so no chunk of cells can be read: {load}, "
            "or write adata.X as CSR."
        )
        raise TypeError(msg)
    try:
        import dask.array  # noqa: F401
    except ImportError as error:
        msg = (
            "adata is backed by a file, which needs dask to be read in chunks: pip install 'scprograms[dask]', or "
            f"{load}."
        )
        raise TypeError(msg) from error
    return chunks_of(matrix.group if isinstance(matrix, CSRDataset) else matrix)


def chunks_of(stored: Any) -> DaskArray:
    """Return a matrix on disk, dense or CSR, as a dask array in chunks of rows that are whole."""
    from anndata.experimental import read_elem_lazy

    n_obs, n_vars = stored.shape if hasattr(stored, "shape") else stored.attrs["shape"]
    found: DaskArray = read_elem_lazy(stored, chunks=(max(1, min(rows_per_chunk(n_vars), n_obs)), int(n_vars)))
    return found


def rows_per_chunk(n_vars: int) -> int:
    """Return a number of rows that keeps chunks small, and not too many."""
    return max(FEWEST_ROWS, BYTES_PER_CHUNK // (8 * max(int(n_vars), 1)))
