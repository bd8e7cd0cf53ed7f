"""An AnnData on disk: whole or not there, also where the disk is full."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from scprograms._core.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData


class _Disk(io.FileIO):
    """A file that keeps its first failure to itself: HDF5 that cannot write crashes Python when it closes a file."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and self.failure is None:
            try:
                done += super().write(view[done:]) or 0
            except OSError as error:
                self.failure = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0


def write_h5ad(adata: AnnData, path: Path) -> None:
    """Write an AnnData so that an older file stays whole until the new one is; raise an OSError where it cannot be."""
    import anndata
    import h5py

    adata.strings_to_categoricals()
    with atomic_path(path) as part:
        with _Disk(part, "w+") as disk:
            try:
                with h5py.File(disk, "w") as file:
                    anndata.io.write_elem(file, "/", adata, dataset_kwargs={"compression": "gzip"})
                    if adata.raw is None and "raw" in file:
                        del file["raw"]  # as AnnData.write_h5ad does: older readers know no element without content
            except Exception as error:
                if disk.failure is None:
                    raise
                raise disk.failure from error
        if disk.failure is not None:
            raise disk.failure
