"""Runs that are kept in a folder, each under a name that says which data and arguments it belongs to."""

from __future__ import annotations

import hashlib
import json
import logging
import numbers
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from scprograms._anndata.lazy import is_lazy
from scprograms._core.files import atomic_path
from scprograms._core.validate import warn

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from scprograms._core.matrix import Matrix
    from scprograms._core.operators.protocol import DaskArray

logger = logging.getLogger("scprograms")

FORMAT = 1
"""Part of the hash. Raise it whenever the same data and arguments give other runs than before."""


def digest(matrix: Matrix | DaskArray, options: dict[str, Any]) -> str:
    """Return a hash of every value of a matrix, its shape, type and format, and of some arguments.

    A dask array is read once: the hash is that of its chunks' hashes.
    """
    if is_lazy(matrix):
        import dask

        hashed = dask.delayed(digest, pure=False, traverse=False)
        chunks = dask.compute(*(hashed(block, {}) for block in matrix.to_delayed().ravel()))
        whole = {"format": FORMAT, "chunks": [list(map(int, sizes)) for sizes in matrix.chunks], "options": options}
        return hashlib.blake2b(json.dumps([whole, chunks], sort_keys=True).encode(), digest_size=16).hexdigest()
    found = hashlib.blake2b(digest_size=16)
    parts = (matrix.data, matrix.indices, matrix.indptr) if sparse.issparse(matrix) else (matrix,)
    about = {
        "format": FORMAT,
        "shape": list(matrix.shape),
        "matrix": matrix.format if sparse.issparse(matrix) else "dense",
        "types": [part.dtype.str for part in parts],
        "options": options,
    }
    found.update(json.dumps(about, sort_keys=True).encode())
    for part in parts:
        for start in range(0, len(part), 1 << 16):  # in pieces: a strided array would be copied whole
            found.update(np.ascontiguousarray(part[start : start + (1 << 16)]).view(np.uint8).data)
    return found.hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """A folder with one file per run."""

    folder: Path
    digest: str
    shape: tuple[int, int]

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        matrix: Matrix | DaskArray,
        *,
        random_state: object,
        n_programs: int,
        **options: Any,
    ) -> Checkpoint:
        """Make the folder, if need be, and say so where it holds runs of something else."""
        if isinstance(random_state, bool) or not isinstance(random_state, numbers.Integral):
            msg = (
                f"random_state={random_state!r} cannot be found again: runs in checkpoint= are told apart by it. Pass "
                "an integer."
            )
            raise ValueError(msg)
        if not isinstance(folder, str | os.PathLike):
            msg = f"checkpoint={folder!r} is a {type(folder).__name__}; pass the path of a folder."
            raise TypeError(msg)
        path = Path(folder)
        if path.exists() and not path.is_dir():
            msg = f"checkpoint={str(folder)!r} is a file; pass a folder."
            raise NotADirectoryError(msg)
        path.mkdir(parents=True, exist_ok=True)
        options = {"n_programs": n_programs, "random_state": int(random_state), **options}
        opened = cls(path, digest(matrix, options), (n_programs, matrix.shape[1]))
        own, all_runs = (len(list(path.glob(f"run_{name}_*.npz"))) for name in (opened.digest, "*"))
        if all_runs > own:
            warn(
                f"checkpoint={str(folder)!r} holds {all_runs - own} runs of other data or arguments: they are not used."
            )
        if own:
            logger.info("consensus: %d runs are taken from %s.", own, path)
        return opened

    def path(self, run: str) -> Path:
        """Where a run is kept."""
        return self.folder / f"run_{self.digest}_{run}.npz"

    def remember(self, run: str, compute: Callable[[], NDArray]) -> NDArray:
        """Return the loadings of a run: those kept, or else computed and kept."""
        loadings = self._read(run)
        if loadings is None:
            loadings = compute()
            with atomic_path(self.path(run)) as part:
                np.savez(part, loadings=loadings)
        return loadings

    def _read(self, run: str) -> NDArray | None:
        path = self.path(run)
        if not path.exists():
            return None
        try:
            # the archive holds a checksum, which reading compares; numpy leaves a damaged file open if it opens it
            with path.open("rb") as handle, np.load(handle, allow_pickle=False) as kept:
                loadings = kept["loadings"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            warn(f"{path} is damaged ({error}): the run is computed again.")
            return None
        if loadings.shape != self.shape or not np.isfinite(loadings).all():
            warn(f"{path} holds no loadings of shape {self.shape}: the run is computed again.")
            return None
        return loadings
