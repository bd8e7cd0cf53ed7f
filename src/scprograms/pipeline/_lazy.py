"""Screens that do not fit in memory: the matrix stays on disk and is read in chunks of cells."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from scprograms._anndata.lazy import chunks_of, is_lazy
from scprograms._anndata.transaction import write
from scprograms._core.validate import listing

from ._journal import InputError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from anndata import AnnData

    from ._settings import Settings


@contextlib.contextmanager
def worker_threads(settings: Settings) -> Iterator[None]:
    """Let dask use as many threads as were asked for."""
    if not settings.lazy:
        yield
        return
    try:
        import dask
        import dask.array
    except ImportError as error:
        msg = f"{settings.spelled('lazy')} needs dask: pip install 'scprograms[dask]'."
        raise InputError(msg) from error
    with dask.config.set(scheduler="threads", num_workers=settings.n_jobs):
        yield


def open_screen(path: Path, settings: Settings) -> AnnData:
    """Return the tables of a file or store in memory, with X, or a layer in its place, as a dask array.

    Embeddings and other layers stay where they are.
    """
    import anndata

    layer = settings.layer
    with _opened(path) as root:
        tables = {name: anndata.io.read_elem(root[name]) for name in ("obs", "var", "uns", "varm") if name in root}
        layers = list(root["layers"]) if "layers" in root else []
        if layer is not None and layer not in layers:
            msg = f"{settings.given('layer')} is no layer. There: {listing(layers)}."
            raise InputError(msg)
        where = "X" if layer is None else f"layers/{layer}"
        matrix = None
        if where in root and (kind := root[where].attrs.get("encoding-type")) != "null":
            if kind == "csc_matrix":
                msg = (
                    f"{path.name} holds {where} by column (CSC), so no chunk of cells can be read: write it as CSR "
                    f"once, or leave {settings.spelled('lazy')} out."
                )
                raise InputError(msg)
            matrix = chunks_of(root[where]).map_blocks(_without_stored_zeros)
    return anndata.AnnData(matrix, shape=None if matrix is not None else _shape(tables), **tables)


def _shape(tables: dict[str, Any]) -> tuple[int, int]:
    return len(tables["obs"]), len(tables["var"])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if path.is_dir():
        try:
            import zarr
        except ImportError as error:
            msg = f"{str(path)!r} is a folder; to read a zarr store: pip install 'scprograms[dask]'."
            raise InputError(msg) from error
        yield zarr.open_group(path, mode="r")
        return
    import h5py

    with h5py.File(path, "r") as file:
        yield file


def with_one_index_type(matrix: Any) -> Any:
    """Return a sparse matrix of which both indices have one type; scipy refuses to work on others that files hold."""
    if hasattr(matrix, "indptr") and matrix.indptr.dtype != matrix.indices.dtype:
        return type(matrix)((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
    return matrix


def _without_stored_zeros(block: Any) -> Any:
    block = with_one_index_type(block)
    if hasattr(block, "indptr") and not block.data.all():
        block.eliminate_zeros()  # scanpy counts them where the matrix is a dask array
    return block


def over_chunks(matrix: Any, function: Callable[[Any], Any]) -> list[Any]:
    """Return what a function makes of the matrix, or of each chunk of cells where it is a dask array."""
    if not is_lazy(matrix):
        return [function(matrix)]
    import dask

    chunks = [row[0] for row in matrix.rechunk({1: -1}).to_delayed()]
    try:
        return list(dask.compute(*(dask.delayed(function)(chunk) for chunk in chunks)))
    except (InputError, MemoryError):
        raise
    except Exception as error:
        _name_bad_chunk(matrix, chunks, error)
        raise


def _name_bad_chunk(matrix: Any, chunks: list[Any], error: Exception) -> None:
    """Raise an InputError for the first chunk that cannot be loaded, if there is one."""
    stop = 0
    for height, chunk in zip(matrix.chunks[0], chunks, strict=True):
        start, stop = stop, stop + height
        try:
            chunk.compute()
        except Exception:  # noqa: BLE001  whatever a damaged store raises
            msg = f"Cells {start:,} to {stop - 1:,} cannot be read; the file may be damaged: {one_line(error)[:200]}"
            raise InputError(msg) from error


def kind_of(matrix: Any) -> tuple[str, float]:
    """Return whether a matrix holds "counts", "log" or "signed" values, and the largest; raise for what is neither."""
    parts = over_chunks(matrix, _look)
    n_bad = sum(part[0] for part in parts)
    if n_bad:
        where = ""
        if is_lazy(matrix):
            first = next(i for i, part in enumerate(parts) if part[0])
            start = sum(matrix.chunks[0][:first])
            where = f", the first among cells {start:,} to {start + matrix.chunks[0][first] - 1:,}"
        msg = f"The matrix has {n_bad:,} NaN or infinite values{where}: remove or replace them."
        raise InputError(msg)
    largest = float(max(part[2] for part in parts))
    if min(part[1] for part in parts) < 0:
        return "signed", largest
    return ("counts" if all(part[3] for part in parts) else "log"), largest


def _look(matrix: Any) -> tuple[int, float, float, bool]:
    """Return the number of values that are not finite, the smallest and largest of the others (or 0), if all whole."""
    values = matrix.data if hasattr(matrix, "indptr") else np.asarray(matrix).ravel()
    if values.dtype.kind not in "biuf":
        msg = f"The matrix has dtype {values.dtype}; real numbers are needed."
        raise InputError(msg)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return int(np.sum(~np.isfinite(values))), 0, 0, False
    some = values[:: max(1, values.size // 1_000_000)]
    return 0, values.min(initial=0), values.max(initial=0), np.array_equal(some, np.round(some))


def describe(adata: AnnData) -> None:
    """Write the columns of ``sc.pp.calculate_qc_metrics`` in one reading.

    scanpy reads a dask array five times for them, and to count the cells of genes it holds all chunks at once.
    """
    mito = adata.var["mt"].to_numpy()

    def measures(part: Any) -> tuple[np.ndarray, ...]:
        seen = part != 0
        by_cell = [_flat(seen.sum(axis=1)), *(_flat(what.sum(axis=1)) for what in (part, part[:, mito]))]
        return *by_cell, _flat(seen.sum(axis=0)), _flat(part.sum(axis=0, dtype=np.float64))

    parts = list(zip(*over_chunks(adata.X, measures), strict=True))
    n_genes, counts, in_mito = (_put_together(each, 1) for each in parts[:3])
    n_cells, in_all = (_put_together(each, 0) for each in parts[3:])
    with np.errstate(invalid="ignore"):
        share = in_mito / counts * 100
    cells = {"n_genes_by_counts": n_genes, "total_counts": counts, "total_counts_mt": in_mito, "pct_counts_mt": share}
    genes = {
        "n_cells_by_counts": n_cells,
        "mean_counts": in_all / adata.n_obs,
        "pct_dropout_by_counts": (1 - n_cells / adata.n_obs) * 100,
        "total_counts": in_all,
    }
    write(adata, obs=cells, var=genes)


def sums(matrix: Any, *, axis: int) -> np.ndarray:
    """Return row or column sums as a plain array."""
    return _put_together(over_chunks(matrix, lambda part: _flat(part.sum(axis=axis, dtype=np.float64))), axis)


def n_not_zero(matrix: Any, *, axis: int) -> np.ndarray:
    """Return the number of values of each column (axis 0) or row that are not zero."""
    return _put_together(over_chunks(matrix, lambda part: _flat((part != 0).sum(axis=axis))), axis)


def _flat(values: Any) -> np.ndarray:
    return np.asarray(values).ravel()


def _put_together(parts: Sequence[np.ndarray], axis: int) -> np.ndarray:
    return np.concatenate(parts) if axis == 1 else np.sum(parts, axis=0)


def without_matrix(adata: AnnData) -> AnnData:
    """Return tables and results alone."""
    import anndata

    return anndata.AnnData(
        obs=adata.obs, var=adata.var, uns=adata.uns, obsm=dict(adata.obsm), varm=dict(adata.varm), shape=None
    )
