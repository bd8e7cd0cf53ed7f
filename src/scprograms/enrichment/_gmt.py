"""GMT files: one gene set per line."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

from scprograms._core.validate import listing, warn

Library = dict[str, list[str]]

GMT_ENDINGS = (".gmt", ".gmt.gz")
WEIGHT = re.compile(r",-?\d+(\.\d+)?(e-?\d+)?$", re.IGNORECASE)  # Enrichr adds one to the genes of some libraries


def read_gmt(path: str | Path) -> Library:
    """Read a GMT file, also gzipped: a term, a description and genes on each line, separated by tabs."""
    path = Path(path).expanduser()
    if path.is_dir():
        msg = f"gene_sets={str(path)!r} is a folder: pass the path of a GMT file in it."
        raise IsADirectoryError(msg)
    if not path.exists():
        msg = f"gene_sets={str(path)!r} does not exist (looked in {Path.cwd()}): check the path."
        raise FileNotFoundError(msg)
    library, n_empty, repeated = parse_gmt(path.read_bytes(), source=str(path))
    if repeated:
        names = listing(repeated, at_most=3)
        warn(f"{path} has {len(repeated)} terms more than once ({names}): their genes are merged.")
    if n_empty:
        warn(f"{path} has {n_empty} terms without genes: they are left out.")
    return library


def parse_gmt(content: bytes, *, source: str) -> tuple[Library, int, list[str]]:
    """Return the terms of a GMT, the number of terms without genes, and the terms that occur twice."""
    library: Library = {}
    empty, repeated = 0, []
    for number, line in enumerate(_decode(content, source).split("\n"), start=1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) < 2 or not fields[0]:
            msg = (
                f"{source}, line {number}, is no line of a GMT file: a term, a description and genes, separated by "
                f"tabs, are needed, but it reads {line[:60]!r}."
            )
            raise ValueError(msg)
        genes = [WEIGHT.sub("", gene) for gene in fields[2:] if gene]
        if not genes:
            empty += 1
            continue
        if fields[0] in library:
            repeated.append(fields[0])
        library[fields[0]] = list(dict.fromkeys([*library.get(fields[0], []), *genes]))
    if not library:
        msg = f"{source} holds no gene sets."
        raise ValueError(msg)
    return library, empty, repeated


def _decode(content: bytes, source: str) -> str:
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            msg = f"{source} is a damaged gzip file ({error}): fetch it again."
            raise ValueError(msg) from error
    start = content[:1000].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        msg = f"{source} is a web page, not a GMT file."
        raise ValueError(msg)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        msg = f"{source} is no text file in UTF-8 (byte {error.start}, line {number}): a GMT file is plain text."
        raise ValueError(msg) from error
    if "\0" in text:
        number = text.count("\n", 0, text.index("\0")) + 1
        msg = f"{source} is a binary file (line {number} holds a zero byte): a GMT file is plain text."
        raise ValueError(msg)
    return text.replace("\r\n", "\n").replace("\r", "\n")
