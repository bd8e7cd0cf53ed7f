"""A dask array as an operator: every product is one reading of the data, chunk by chunk, on the user's own scheduler.

Chunks of rows hold numpy arrays or scipy sparse matrices. What is reduced over chunks is as large as a few columns, or
as ``X' X``, in float64, and put together as a tree of fixed shape: the scheduler changes nothing of the result. What
has a row per cell comes back in one piece of memory.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from scprograms._core.checks import logger
from scprograms._core.svd import starting_basis

from .dask_tasks import (
    Chunk,
    Cross,
    Density,
    FirstReading,
    Moments,
    Product,
    Rows,
    Statistics,
    Task,
    Through,
    TransposedProduct,
    add_up,
    density_of,
    gram_cost,
    look_at,
    run_task,
    shapes_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from scprograms._core.matrix import Array, FloatArray, Matrix

    from .protocol import DaskArray, RowUpdate

FAN_IN = 4
MOST_GRAM_COLUMNS = 8000
READINGS_SAVED = 5
"""By ``X'X``: it stands for three to twelve power iterations, and needs one more reading for ``X V``."""
READING_COST = 40.0
PRODUCT_COST = 0.07
"""Nanoseconds to load a stored value from a compressed file, and per multiplication of a product; both measured."""


class Readings:
    """How often the data were read."""

    def __init__(self) -> None:
        self.n = 0


class DaskOperator:
    """Row chunks of a dask array, or some of their rows."""

    one_pass = True

    def __init__(self, X: DaskArray) -> None:
        if X.ndim != 2:
            msg = f"X is a dask array of shape {X.shape}; cells x features are needed."
            raise ValueError(msg)
        if X.dtype.kind not in "biuf":
            msg = f"X has dtype {X.dtype}; real numbers are needed: X.astype('float32')."
            raise TypeError(msg)
        self._readings = Readings()
        self._blocks = [list(row) for row in X.to_delayed()]
        self._default_get = X.__dask_scheduler__
        heights, widths = X.chunks
        if np.isnan(sum(heights)) or np.isnan(sum(widths)):
            heights, widths = self._measure()
        stops = np.cumsum(heights).tolist()
        self._chunks = [Chunk(i, stop - n, stop) for i, (n, stop) in enumerate(zip(heights, stops, strict=True)) if n]
        self.shape: tuple[int, int] = (int(sum(heights)), int(sum(widths)))
        if 0 in self.shape:
            msg = f"X has shape {self.shape}: there is nothing to factorize."
            raise ValueError(msg)
        if len(self._chunks) == 1 and len(widths) > 1:
            logger.warning("The dask array has one chunk of rows and %d of columns: it is held whole.", len(widths))
        seen: Density = self._compute(density_of, self._blocks[self._chunks[0].number])
        self.dtype = seen.dtype if seen.dtype in (np.float32, np.float64) else np.dtype(float)
        self._sparse, self._density = seen.is_sparse, seen.share
        self._sketch_rank = 0
        self._basis: FloatArray | None = None
        self._kept_rows: tuple[Array, DaskOperator] | None = None
        self._first: Statistics | None = None
        self._first_product: FloatArray | None = None

    @property
    def n_passes(self) -> int:
        """How often the data were read so far, by all operators on rows of them as well.

        A look at the first chunk, for its type and density, comes on top.
        """
        return self._readings.n

    def expect(
        self,
        *,
        sketch_rank: int = 0,
        rng: np.random.Generator | None = None,
        unscaled: bool = True,
        rows: Array | None = None,
    ) -> None:
        """Say what will be asked for, so that the first reading finds it as well.

        Either ``X'X``, or the first product of a sketch of this rank that starts from ``rng`` (which is left as it is)
        if columns are not scaled; and the moments of some rows.
        """
        if self._first is not None:
            return
        self._sketch_rank = min(sketch_rank, *self.shape)
        if rng is not None and unscaled and not self._gram_is_cheaper() and self.shape[0] >= self.shape[1]:
            self._basis = starting_basis(self.shape, sketch_rank, self.dtype, rng=copy.deepcopy(rng))
        if rows is not None:
            self._kept_rows = rows, self.rows(rows)

    def rows(self, rows: Array) -> DaskOperator:
        """Return some rows, in ascending order, as an operator; chunks without any are not loaded."""
        if self._kept_rows is not None and np.array_equal(rows, self._kept_rows[0]):
            return self._kept_rows[1]
        part = copy.copy(self)
        part._first = part._first_product = part._basis = part._kept_rows = None
        part._sketch_rank, part._chunks = 0, []
        for chunk in self._chunks:
            begin, end = np.searchsorted(rows, (chunk.start, chunk.stop))
            if end > begin:
                part._chunks.append(chunk._replace(rows=rows[begin:end] - chunk.start))
        part.shape = (len(rows), self.shape[1])
        return part

    def take(self, rows: Array) -> Matrix:
        """Return some rows, in ascending order, as a matrix in memory."""
        parts = self.rows(rows)._read(Rows(), put_together=False)
        found: Matrix = (
            sparse.vstack(parts, format="csr") if any(map(sparse.issparse, parts)) else np.concatenate(parts)
        )
        return found

    # --- products ------------------------------------------------------------------------------------------------

    def matmul(self, B: FloatArray) -> FloatArray:
        B = np.ascontiguousarray(B, dtype=self.dtype)
        out = np.empty((self.shape[0], B.shape[1]), dtype=self.dtype)
        self._read(Product(B), out=out)
        return out

    def rmatmul(self, A: FloatArray) -> FloatArray:
        product: FloatArray = self._read(TransposedProduct(), W=np.asarray(A, dtype=self.dtype))
        if not np.isfinite(product).all():
            self.first()  # where values are not finite, it says in which chunk
        return product.astype(self.dtype)

    def cross(self, B: FloatArray) -> tuple[FloatArray, Callable[[], FloatArray]]:
        B = np.ascontiguousarray(B, dtype=self.dtype)
        out: FloatArray | None = None
        product: FloatArray | None = None
        if self._basis is not None and np.array_equal(B, self._basis):
            first, out = self.first(), self._first_product
            product = first.product
            self._first, self._basis, self._first_product = replace(first, product=None), None, None
        if out is None or product is None:
            out = np.empty((self.shape[0], B.shape[1]), dtype=self.dtype)
            product = self._read(Cross(B), out=out)
        back: FloatArray = product
        return out, lambda: back.astype(self.dtype)

    def through(self, B: FloatArray, W: FloatArray, update: RowUpdate) -> FloatArray:
        B = np.ascontiguousarray(B, dtype=self.dtype)
        product: FloatArray = self._read(Through(B, update), W=W, out=W)
        return product.astype(self.dtype)

    # --- statistics ----------------------------------------------------------------------------------------------

    def first(self) -> Statistics:
        """Return what the first reading finds: all statistics, and what else is expected to be asked for."""
        if self._first is not None:
            return self._first
        with_gram = self._sketch_rank > 0 and self._gram_is_cheaper()
        if self._sketch_rank:
            how = "X'X" if with_gram else "the first product of the sketch"
            logger.info("The first reading of the data finds their statistics and %s.", how)
        out = among = None
        if self._basis is not None and not with_gram:
            out = np.empty((self.shape[0], self._basis.shape[1]), dtype=self.dtype)
        if self._kept_rows is not None:
            among = np.zeros(self.shape[0], dtype=bool)
            among[self._kept_rows[0]] = True
        found: Statistics = self._read(FirstReading(None if with_gram else self._basis, with_gram), W=among, out=out)
        if found.not_finite:
            _refuse(found)
        self._first, self._first_product = found, out
        if self._kept_rows is not None and found.of_rows is not None:
            self._kept_rows[1]._first = replace(found, moments=found.of_rows, gram=None, product=None)
        return found

    def column_sums(self) -> FloatArray:
        moments = self.first().moments
        return moments.mean * moments.n

    def squared_deviations(self, center: FloatArray) -> FloatArray:
        moments: Moments = self.first().moments
        between: FloatArray = np.square(moments.mean - center)
        return moments.deviations + moments.n * between

    def gram(self) -> FloatArray | None:
        return self.first().gram

    def _gram_is_cheaper(self) -> bool:
        n_obs, n_vars = self.shape
        if n_vars > MOST_GRAM_COLUMNS or n_obs < n_vars:
            return False
        per_value = READING_COST + 2 * PRODUCT_COST * self._sketch_rank
        one_reading = self._density * n_vars * per_value
        return gram_cost(self._density, n_vars, is_sparse=self._sparse)[0] < READINGS_SAVED * one_reading

    # --- reading -------------------------------------------------------------------------------------------------

    def _read(
        self, task: Task, *, W: FloatArray | None = None, out: FloatArray | None = None, put_together: bool = True
    ) -> Any:
        """Run a task on all chunks, each with its rows of W; fill ``out``, and return what is reduced.

        What is not to be put together comes back as a list.
        """
        import dask

        self._readings.n += 1
        shared = dask.delayed(task, name=_unique("task"), traverse=False)
        run, add = (dask.delayed(function, pure=False, traverse=False) for function in (_run, add_up))
        in_place = out is not None and self._in_process()
        spans, parts, begin = [], [], 0
        for chunk in self._chunks:
            end = begin + (chunk.stop - chunk.start if chunk.rows is None else len(chunk.rows))
            spans.append(slice(begin, end))
            rows, target = (None if a is None else a[begin:end] for a in (W, out if in_place else None))
            blocks = self._blocks[chunk.number]
            parts.append(run(shared, self.dtype, self.shape[1], chunk, blocks, rows, target))
            begin = end
        rows_of = [] if out is None or in_place else [part[0] for part in parts]
        level = [part[1] for part in parts]
        while len(level) > 1 and put_together:
            level = [add(level[i : i + FAN_IN]) for i in range(0, len(level), FAN_IN)]
        try:
            with warnings.catch_warnings():
                # W travels with the graph, from which a lost worker's part of it can be had again.
                warnings.filterwarnings("ignore", message="Sending large graph")
                reduced, pieces = dask.compute(level, rows_of)
        except Exception as error:
            self._name_chunk(error)
            raise
        if out is not None:
            for i, span in enumerate(spans[: len(pieces)]):
                out[span], pieces[i] = pieces[i], None
        return reduced[0] if put_together else reduced

    def _name_chunk(self, error: Exception) -> None:
        """Find the chunk that cannot be loaded, where one cannot, and add a note on it to the error."""
        if getattr(error, "__notes__", None) or type(error).__name__ == "KilledWorker":
            return
        for chunk in self._chunks:
            try:
                self._compute(look_at, self._blocks[chunk.number])
            except Exception:  # noqa: BLE001 - whatever it is, it is what happened above
                error.add_note(f"While {chunk} of {len(self._blocks)} of the dask array was loaded.")
                return

    def _compute(self, function: Callable[[list[Any]], Any], blocks: list[Any]) -> Any:
        import dask

        return dask.compute(dask.delayed(function, pure=False, traverse=False)(blocks))[0]

    def _measure(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Find sizes of chunks that dask does not know."""
        import dask

        self._readings.n += 1
        measure = dask.delayed(shapes_of, pure=False, traverse=False)
        shapes = dask.compute(*(measure(row) for row in self._blocks))
        return tuple(row[0][0] for row in shapes), tuple(width for _, width in shapes[0])

    def _in_process(self) -> bool:
        """Whether tasks share our memory, so that rows of results are written where they belong."""
        from dask.base import get_scheduler

        get = get_scheduler() or self._default_get
        return getattr(get, "__module__", "") in ("dask.threaded", "dask.local")


def _run(
    task: Task,
    dtype: np.dtype,
    n_vars: int,
    chunk: Chunk,
    blocks: list[Any],
    W: FloatArray | None,
    out: FloatArray | None,
) -> tuple[Any, Any]:
    rows, reduced = run_task(task, dtype, n_vars, chunk, blocks, W)
    if out is not None:
        out[:] = rows
        rows = None
    return rows, reduced


def _unique(name: str) -> str:
    import uuid

    return f"{name}-{uuid.uuid4().hex}"


def _refuse(found: Statistics) -> None:
    first, n = found.not_finite[0], len(found.not_finite)
    more = f" {n - 1} more chunks have such values." if n > 1 else ""
    msg = (
        f"Chunk {first.chunk.number} (rows {first.chunk.start} to {first.chunk.stop - 1}) of X has {first.n_nan} NaN "
        f"and {first.n_infinite} infinite values, the first of them in row {first.first_row}: remove or replace them."
        f"{more}"
    )
    raise ValueError(msg)
