"""Gene set libraries of Enrichr: downloaded once, checked, and kept in a cache."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import logging
import os
import re
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from scprograms._core.validate import check_choice, check_real

from ._gmt import parse_gmt

logger = logging.getLogger("scprograms")

SITES = {
    "human": "https://maayanlab.cloud/Enrichr",
    "mouse": "https://maayanlab.cloud/Enrichr",
    "fly": "https://maayanlab.cloud/FlyEnrichr",
    "yeast": "https://maayanlab.cloud/YeastEnrichr",
    "worm": "https://maayanlab.cloud/WormEnrichr",
    "fish": "https://maayanlab.cloud/FishEnrichr",
}
"""Address of Enrichr, or of its sister site, for each organism."""

WAITS = (1.0, 4.0, 10.0)
"""Seconds to wait before asking again, when the server says that it is asked too often (status 429)."""

OFFLINE = (
    "Without a network: open {url} in a browser elsewhere, save it as a .gmt file, and pass its path: "
    "gene_sets='FILE.gmt'."
)
OWN_TEST = "Without a network: use method='ora' with gene sets from a GMT file."

LIBRARY_NAME = re.compile(r"[\w][\w .()+-]*")


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the folder of the cache: the argument, else ``$SCPROGRAMS_CACHE``, else the user's cache folder."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    if os.environ.get("SCPROGRAMS_CACHE"):
        return Path(os.environ["SCPROGRAMS_CACHE"]).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("scprograms"))


def library_path(
    library: str,
    *,
    organism: str = "human",
    timeout: float = 30,
    cache_dir: str | Path | None = None,
    base_url: str | None = None,
) -> Path:
    """Return the path of an Enrichr library in the cache, after downloading it where it is not there yet.

    Parameters
    ----------
    library
        Name of the library, such as ``"GO_Biological_Process_2021"``.
    organism
        One of "human", "mouse", "fly", "yeast", "worm", "fish": which of Enrichr's sites is asked.
    timeout
        Seconds that the server may stay silent.
    cache_dir
        Folder of the cache; see :func:`cache_folder`.
    base_url
        Address to ask instead of the organism's site.

    Returns
    -------
    Path of a GMT file.

    Raises
    ------
    ValueError
        If the name cannot be that of a library, the site does not know it, or sends something that is no GMT.
    ConnectionError, TimeoutError
        If the site cannot be reached, refuses, breaks off, or stays silent.
    """
    check_choice("organism", organism, SITES)
    timeout = check_real("timeout", timeout, at_least=1e-3)
    if not LIBRARY_NAME.fullmatch(library):
        msg = f"gene_sets={library!r} is neither a file nor the name of an Enrichr library: check the spelling."
        raise ValueError(msg)
    base_url = SITES[organism] if base_url is None else base_url.rstrip("/")
    site = re.sub(r"[^\w.-]+", "_", base_url.split("://")[-1])
    path = cache_folder(cache_dir) / "enrichr" / site / f"{library}.gmt"
    if not path.is_file():
        query = urllib.parse.urlencode({"mode": "text", "libraryName": library})
        url = f"{base_url}/geneSetLibrary?{query}"
        content = _fetch(url, timeout=timeout, fix=OFFLINE.format(url=url))
        try:
            parse_gmt(content, source=url)
        except ValueError as error:
            msg = f"Enrichr sent no gene sets for {library!r}: is there such a library for this organism? {error}"
            raise ValueError(msg) from error
        _write_whole(path, content)
        digest = hashlib.sha256(content).hexdigest()
        logger.info("Enrichr library %s downloaded to %s (sha256 %s)", library, path, digest)
    return path


def known_libraries(organism: str, *, timeout: float, base_url: str | None = None) -> list[str]:
    """Ask Enrichr for the names of its libraries; raises at once where it cannot be reached."""
    url = f"{SITES[organism] if base_url is None else base_url}/datasetStatistics"
    content = _fetch(url, timeout=timeout, fix=OWN_TEST)
    try:
        return [entry["libraryName"] for entry in json.loads(content)["statistics"]]
    except (ValueError, KeyError, TypeError) as error:
        msg = f"Enrichr ({url}) did not send the list of its libraries: is a proxy in between? {OWN_TEST}"
        raise ConnectionError(msg) from error


def _fetch(url: str, *, timeout: float, fix: str) -> bytes:
    """Return what an address holds, whole; errors say the cause and the way around."""
    waits = iter(WAITS)
    while True:
        try:
            with urllib.request.urlopen(url, timeout=timeout) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            if error.code == 429 and (wait := next(waits, None)) is not None:
                logger.info("Enrichr asks to wait (status 429); asking again in %g s", wait)
                time.sleep(wait)
                continue
            msg = f"Enrichr answered status {error.code} ({error.reason}) at {url}. {fix}"
            if error.code in (400, 404):
                raise ValueError(msg) from error
            raise ConnectionError(msg) from error
        except (OSError, http.client.HTTPException) as error:
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(cause, TimeoutError):
                msg = f"Enrichr stayed silent for {timeout:g} s (timeout={timeout:g}). {fix}"
                raise TimeoutError(msg) from error
            if isinstance(error, urllib.error.URLError):
                msg = f"Enrichr cannot be reached ({cause}). {fix}"
            else:
                msg = f"The answer of Enrichr broke off ({error!r}); nothing was kept. Try again. {fix}"
            raise ConnectionError(msg) from error


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
