"""Chromatin modules as BED files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scprograms import get
from scprograms._anndata import slot_names
from scprograms._anndata.slots import read_model
from scprograms._core.files import atomic_path

if TYPE_CHECKING:
    import os

    import pandas as pd
    from anndata import AnnData

BACKGROUND = "background.bed"


def write_beds(adata: AnnData, folder: str | os.PathLike[str], *, key: str = "nmf") -> list[Path]:
    """Write the features of each module as a BED file, and all features as the background to test them against.

    Files are sorted by chromosome and start. The background holds every feature that could have been assigned, so every
    interval of a module is in it, as GREAT and rGREAT need it; features that did not enter the fit or have no loadings
    are in no file.

    Parameters
    ----------
    adata
        Samples x features, after :func:`scprograms.tl.assign_modules`. Where features lie is read as by
        :func:`scprograms.get.coordinates`, and written as it stands: BED counts from 0 and leaves out the end.
    folder
        Where to write; it is made where it does not exist.
    key
        ``key_added`` of the factorization.

    Returns
    -------
    The files: ``program_0.bed`` and so on (specific features), ``shared.bed``, ``non-specific.bed`` or
    ``unassigned.bed`` where there are such features, with the columns chrom, start, end, name, score (1000 times the
    feature score, rounded) and strand ("."); last ``background.bed``, with chrom, start, end and name. A module without
    features has an empty file.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or it has no modules yet.
    ValueError
        A feature has no coordinates.
    OSError
        A file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import scprograms as scp
    >>> counts = scp.datasets.simulate_modules(1000, 12, 4)
    >>> adata = scp.pp.pseudobulk(counts, ["subtype", "region"], min_cells=1)
    >>> scp.tl.nmf(adata, 4)
    >>> scp.tl.assign_modules(adata)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = scp.report.write_beds(adata, folder)
    >>> files[0].name, files[-1].name
    ('program_0.bed', 'background.bed')
    """
    table = get.modules(adata, key=key, of="features")
    modules = list(get.modules(adata, key=key).index)
    used = read_model(adata, key)["used"].to_numpy(dtype=bool)
    places = get.coordinates(adata)
    for column in places:
        table[column] = places[column].to_numpy()  # by position: names need not be unique here
    table = table[used & (table["module"] != slot_names.INACTIVE).to_numpy()]
    table = table.sort_values(["chrom", "start", "end"], kind="stable")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name in [*modules, *(other for other in table["module"].cat.categories if other not in modules)]:
        part = table[table["module"] == name]
        if name in modules or len(part):
            files.append(folder / f"{name}.bed")
            _write(part, files[-1], scored=True)
    files.append(folder / BACKGROUND)
    _write(table, files[-1], scored=False)
    return files


def _write(table: pd.DataFrame, path: Path, *, scored: bool) -> None:
    columns: dict[str, pd.Series | pd.Index | str] = {
        "chrom": table["chrom"],
        "start": table["start"],
        "end": table["end"],
        "name": table.index,
    }
    if scored:
        columns |= {"score": np.rint(1000 * table["score"]).astype(int), "strand": "."}
    with atomic_path(path) as part:
        table.assign(**columns)[list(columns)].to_csv(part, sep="\t", header=False, index=False)
