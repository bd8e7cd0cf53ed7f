"""The public multiome of 10x Genomics, downloaded once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from ._public import cache_folder, reason_of

if TYPE_CHECKING:
    import os
    from pathlib import Path

logger = logging.getLogger("scprograms")

_NAME = "pbmc_granulocyte_sorted_10k_filtered_feature_bc_matrix.h5"
_URL = f"https://cf.10xgenomics.com/samples/cell-arc/1.0.0/pbmc_granulocyte_sorted_10k/{_NAME}"
_TIMEOUT = (10.0, 60.0)
_KINDS = {"rna": "Gene Expression", "atac": "Peaks"}


def pbmc_multiome_10k(*, path: str | os.PathLike[str] | None = None) -> dict[str, AnnData]:
    """Expression and chromatin accessibility of about 10,000 blood cells of a healthy donor, by 10x Genomics.

    The data set "PBMC from a Healthy Donor - Granulocytes Removed Through Cell Sorting (10k)", filtered as by Cell
    Ranger ARC 1.0.0, as raw counts. No checksum of the file is published with it, so none is compared: that it can be
    read as such a file is all that is checked.

    Parameters
    ----------
    path
        Folder to keep the file in. By default the folder that the environment variable ``SCPROGRAMS_DATA_DIR``
        names, or else the cache folder of the operating system for ``scprograms``.

    Returns
    -------
    ``["rna"]`` and ``["atac"]``, cells x genes and cells x peaks, CSR, with the same cells.
    ``mudata.MuData(pbmc_multiome_10k())`` makes a MuData of them. ``.var`` of the genes has ``gene_id`` and
    ``interval`` (gene names are made unique), that of the peaks ``interval``. Normalise the expression first:
    ``sc.pp.normalize_total`` and ``sc.pp.log1p``.

    Raises
    ------
    ConnectionError
        The file could not be downloaded. The message says how to place it by hand.
    OSError
        Something other than such a file arrived, or lies there.

    References
    ----------
    https://www.10xgenomics.com/datasets/pbmc-from-a-healthy-donor-granulocytes-removed-through-cell-sorting-10-k-1-standard-1-0-0

    Examples
    --------
    >>> import scprograms as scp
    >>> data = scp.datasets.pbmc_multiome_10k()  # doctest: +SKIP
    """
    return read_10x_multiome(_fetch(cache_folder(path)))


def _fetch(folder: Path) -> Path:
    import pooch
    import requests

    file = folder / _NAME
    if file.exists():
        return file
    downloader = pooch.HTTPDownloader(progressbar=True, timeout=_TIMEOUT)
    try:
        pooch.retrieve(_URL, None, fname=_NAME, path=folder, downloader=downloader)
    except requests.exceptions.RequestException as error:
        msg = (
            f"{_URL} could not be downloaded to {folder}: {reason_of(error)} To place it by hand, download it "
            f"elsewhere, and save it as {file}."
        )
        raise ConnectionError(msg) from error
    return file


def read_10x_multiome(file: Path) -> dict[str, AnnData]:
    """Return expression and accessibility of a file of Cell Ranger ARC (``filtered_feature_bc_matrix.h5``)."""
    import h5py

    try:
        with h5py.File(file, "r") as handle:
            matrix = handle["matrix"]
            n_features, n_cells = (int(n) for n in matrix["shape"][:])
            counts = sparse.csr_matrix(
                (matrix["data"][:].astype(np.float32), matrix["indices"][:], matrix["indptr"][:]),
                shape=(n_cells, n_features),
            )
            features = matrix["features"]
            columns = {name: _texts(features[name]) for name in ("id", "name", "feature_type", "interval")}
            cells = _texts(matrix["barcodes"])
    except (OSError, KeyError, ValueError) as error:
        msg = (
            f"{file} is no file of Cell Ranger ARC, or it is cut short ({error}). Remove it to download it again, or "
            f"save {_URL} there."
        )
        raise OSError(msg) from error
    kind = columns["feature_type"]
    found = {}
    for modality, name in _KINDS.items():
        mask = kind == name
        names = anndata.utils.make_index_unique(pd.Index(columns["name"][mask]))
        var = pd.DataFrame({"interval": columns["interval"][mask]}, index=names)
        if modality == "rna":
            var.insert(0, "gene_id", columns["id"][mask])
        found[modality] = AnnData(counts[:, mask], obs=pd.DataFrame(index=cells), var=var)
    return found


def _texts(values: Any) -> np.ndarray:
    return np.array([text.decode() for text in values[:]], dtype=object)
