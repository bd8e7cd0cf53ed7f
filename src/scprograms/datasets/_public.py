"""Public screens, downloaded once."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import anndata
from anndata import AnnData

logger = logging.getLogger("scprograms")

CACHE_VARIABLE = "SCPROGRAMS_DATA_DIR"

_TIMEOUT = (10.0, 30.0)
"""Seconds to wait for the connection, and for each piece of the answer."""
_CHUNK = 2**20
_SCPERTURB = "https://zenodo.org/records/13350497/files/"


@dataclass(frozen=True)
class _Screen:
    url: str
    file_name: str
    size: int
    digest: str
    """Algorithm and checksum, as ``md5:...`` or ``sha256:...``."""


_NORMAN = _Screen(
    url=_SCPERTURB + "NormanWeissman2019_filtered.h5ad",
    file_name="NormanWeissman2019_filtered.h5ad",
    size=698_680_199,
    digest="md5:c870e6967d91c017d9da827bab183cd6",
)
_REPLOGLE = _Screen(
    url=_SCPERTURB + "ReplogleWeissman2022_K562_essential.h5ad",
    file_name="ReplogleWeissman2022_K562_essential.h5ad",
    size=1_546_729_675,
    digest="md5:d8cba17576d1a8afc0f7d71b79cad0f7",
)
_PAPALEXI = _Screen(
    url=_SCPERTURB + "PapalexiSatija2021_eccite_RNA.h5ad",
    file_name="PapalexiSatija2021_eccite_RNA.h5ad",
    size=147_215_278,
    digest="sha256:03e9602d124c261281936717d5795445805e6e704a52b0310bcde94225aa0929",
)


def norman_2019(*, path: str | os.PathLike[str] | None = None) -> AnnData:
    """CRISPR activation of genes and pairs of genes in K562 cells (111,445 cells, 0.7 GB).

    The file is the one of scPerturb, unchanged: raw counts, ``.obs["perturbation"]`` with pairs written as ``A_B``
    and "control" for the control cells.

    Parameters
    ----------
    path
        Folder to keep the file in. By default the folder that the environment variable ``SCPROGRAMS_DATA_DIR``
        names, or else the cache folder of the operating system for ``scprograms``.

    Returns
    -------
    The screen, cells x genes.

    Raises
    ------
    ConnectionError
        The file could not be downloaded. The message says how to place it by hand.
    OSError
        Something other than the published file arrived. Nothing is kept of it.

    References
    ----------
    Norman et al. (2019), Science 365:786, https://doi.org/10.1126/science.aax4438

    Peidli et al. (2024), scPerturb, Nature Methods 21:531, https://doi.org/10.1038/s41592-023-02144-y

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.norman_2019()  # doctest: +SKIP
    """
    return _load(_NORMAN, path)


def replogle_2022_k562_essential(*, path: str | os.PathLike[str] | None = None) -> AnnData:
    """CRISPR interference with the essential genes in K562 cells (310,385 cells x 8,563 genes, 1.5 GB).

    The file is the one of scPerturb, unchanged: raw counts, ``.obs["perturbation"]`` with "control" for the cells with
    a non-targeting guide.

    Parameters
    ----------
    path
        Folder to keep the file in. By default the folder that the environment variable ``SCPROGRAMS_DATA_DIR``
        names, or else the cache folder of the operating system for ``scprograms``.

    Returns
    -------
    The screen, cells x genes.

    Raises
    ------
    ConnectionError
        The file could not be downloaded. The message says how to place it by hand.
    OSError
        Something other than the published file arrived. Nothing is kept of it.

    References
    ----------
    Replogle et al. (2022), Cell 185:2559, https://doi.org/10.1016/j.cell.2022.05.013

    Peidli et al. (2024), scPerturb, Nature Methods 21:531, https://doi.org/10.1038/s41592-023-02144-y

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.replogle_2022_k562_essential()  # doctest: +SKIP
    """
    return _load(_REPLOGLE, path)


def papalexi_2021(*, path: str | os.PathLike[str] | None = None) -> AnnData:
    r"""Knock-out of regulators of immune checkpoints in stimulated THP-1 cells, RNA of ECCITE-seq (0.15 GB).

    The file is the one of scPerturb, unchanged: raw counts; ``.obs["perturbation"]`` names guides, such as
    "IFNGR2g2" (``.str.replace(r"g\d+$", "", regex=True)`` gives the target), and "control"; ``.obs["hto"]`` is the
    replicate.

    Parameters
    ----------
    path
        Folder to keep the file in. By default the folder that the environment variable ``SCPROGRAMS_DATA_DIR``
        names, or else the cache folder of the operating system for ``scprograms``.

    Returns
    -------
    The screen, cells x genes.

    Raises
    ------
    ConnectionError
        The file could not be downloaded. The message says how to place it by hand.
    OSError
        Something other than the published file arrived. Nothing is kept of it.

    References
    ----------
    Papalexi et al. (2021), Nature Genetics 53:322, https://doi.org/10.1038/s41588-021-00778-2

    Peidli et al. (2024), scPerturb, Nature Methods 21:531, https://doi.org/10.1038/s41592-023-02144-y

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.papalexi_2021()  # doctest: +SKIP
    """
    return _load(_PAPALEXI, path)


def _load(screen: _Screen, path: str | os.PathLike[str] | None) -> AnnData:
    return anndata.read_h5ad(_fetch(screen, cache_folder(path)))


def cache_folder(path: str | os.PathLike[str] | None) -> Path:
    import pooch

    return Path(path or os.environ.get(CACHE_VARIABLE) or pooch.os_cache("scprograms")).expanduser().resolve()


def _fetch(screen: _Screen, folder: Path) -> Path:
    """Return the checked file, from the folder or from its address; what does not match is never kept."""
    import pooch
    import requests

    file = folder / screen.file_name
    algorithm, checksum = screen.digest.split(":")
    by_hand = ""
    if file.exists():
        if pooch.file_hash(str(file), alg=algorithm) == checksum:
            return file
        logger.warning("%s is not the published file (%s): removed, downloading again.", file, screen.digest)
        file.unlink()
        by_hand = "The file that was there had another checksum and was removed. "
    by_hand += (
        f"To place it by hand, download {screen.url} ({screen.size / 1e6:,.0f} MB, {screen.digest}) elsewhere, "
        f"and save it as {file}."
    )
    downloader = pooch.HTTPDownloader(progressbar=True, chunk_size=_CHUNK, timeout=_TIMEOUT)
    try:
        pooch.retrieve(screen.url, screen.digest, fname=screen.file_name, path=folder, downloader=downloader)
    except requests.exceptions.RequestException as error:
        msg = f"{screen.url} could not be downloaded to {folder}: {reason_of(error)} {by_hand}"
        raise ConnectionError(msg) from error
    except ValueError as error:  # pooch: the checksum differs; its temporary file is gone
        msg = (
            f"What {screen.url} sent is not the published file: its checksum differs, so it may be cut short, or a web "
            f"page instead. It was not kept in {folder}. {by_hand}"
        )
        raise OSError(msg) from error
    return file


def reason_of(error: Exception) -> str:
    import requests

    if isinstance(error, requests.exceptions.HTTPError) and error.response is not None:
        hint = " Too many requests: wait a while." if error.response.status_code == 429 else ""
        return f"the server answered {error.response.status_code} {error.response.reason}.{hint}"
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"no connection within {_TIMEOUT[0]:g} s."
    if isinstance(error, requests.exceptions.ReadTimeout):
        return f"the server was silent for {_TIMEOUT[1]:g} s."
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off."
    return f"no connection ({type(error).__name__}); is this machine offline?"
