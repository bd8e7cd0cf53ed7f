"""Gene sets from dictionaries, GMT files and Enrichr libraries, in one form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scprograms._core.validate import listing, warn

from ._enrichr import library_path
from ._gmt import GMT_ENDINGS, Library, read_gmt

GeneSets = Mapping[str, Iterable[str]] | str | Path
"""One source of gene sets: a dictionary, the path of a GMT file, or the name of an Enrichr library."""

CUSTOM = "custom"
"""Library name of gene sets that are passed as a dictionary."""

FEW = 0.1
"""Share of shared genes below which data and library hardly belong together."""


def read_gene_sets(
    gene_sets: GeneSets | list[GeneSets] | tuple[GeneSets, ...],
    *,
    organism: str = "human",
    timeout: float = 30,
    cache_dir: str | Path | None = None,
    base_url: str | None = None,
) -> dict[str, Library]:
    """Read gene sets from wherever they are.

    Parameters
    ----------
    gene_sets
        A dictionary of term to genes; the path of a GMT file, also gzipped (a :class:`~pathlib.Path`, or a string that
        ends in ``.gmt`` or ``.gmt.gz``, holds a slash, or is a file); the name of an Enrichr library, which is
        downloaded once; or a list of any of them.
    organism
        Which of Enrichr's sites libraries come from: "human", "mouse" (the same site), "fly", "yeast", "worm", "fish".
    timeout
        Seconds that Enrichr may stay silent.
    cache_dir
        Folder for downloaded libraries; by default ``$SCPROGRAMS_CACHE``, else the user's cache folder.
    base_url
        Address to ask instead of Enrichr.

    Returns
    -------
    Library name to {term: genes}. A dictionary becomes the library "custom", a file takes its name without ending.
    Genes are strings (Entrez ids too), each once. A term that occurs twice holds the genes of both, and a term without
    genes is left out, each with a warning.

    Raises
    ------
    FileNotFoundError
        If a GMT file does not exist.
    ValueError
        If a file or a download is no GMT (with the number of the line), or nothing is left.
    TypeError
        If ``gene_sets`` is none of these things.
    ConnectionError, TimeoutError
        If Enrichr is needed and cannot be reached.
    """
    sources = list(gene_sets) if isinstance(gene_sets, list | tuple) else [gene_sets]
    if not sources:
        msg = "gene_sets is empty: pass a dictionary, a GMT file, or the name of an Enrichr library."
        raise ValueError(msg)
    libraries: dict[str, Library] = {}
    for source in sources:
        if isinstance(source, Mapping):
            name, library = CUSTOM, _from_mapping(source)
        elif (path := as_path(source)) is not None:
            name, library = _stem(path), read_gmt(path)
        else:
            name = str(source)
            path = library_path(name, organism=organism, timeout=timeout, cache_dir=cache_dir, base_url=base_url)
            library = read_gmt(path)
        libraries[_unused(name, libraries)] = library
    return libraries


def as_path(source: object) -> Path | None:
    """Return the path that is meant, or None for the name of a library."""
    if isinstance(source, Path):
        return source
    if not isinstance(source, str):
        msg = (
            f"gene_sets has an entry of type {type(source).__name__}; pass a dictionary of term to genes, the path of "
            "a GMT file, the name of an Enrichr library, or a list of these."
        )
        raise TypeError(msg)
    is_path = source.lower().endswith(GMT_ENDINGS) or "/" in source or "\\" in source
    return Path(source) if is_path or (source and Path(source).is_file()) else None


def _stem(path: Path) -> str:
    for ending in reversed(GMT_ENDINGS):
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.name


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    candidates = [name, *(f"{name}_{i}" for i in range(2, len(taken) + 3))]
    return next(candidate for candidate in candidates if candidate not in taken)


def _from_mapping(source: Mapping[Any, Any]) -> Library:
    library: Library = {}
    n_empty = n_missing = 0
    for term, genes in source.items():
        if isinstance(genes, str | bytes | Mapping) or not isinstance(genes, Iterable):
            msg = f"gene_sets[{str(term)!r}] is a {type(genes).__name__}; a list of gene names is needed."
            raise TypeError(msg)
        names, missing = gene_list(genes, name=f"gene_sets[{str(term)!r}]")
        n_missing += missing
        if names:
            library[str(term)] = names
        else:
            n_empty += 1
    if n_missing:
        warn(f"gene_sets has {n_missing} missing gene names (NaN or None): they are left out.")
    if n_empty:
        warn(f"gene_sets has {n_empty} terms without genes: they are left out.")
    if not library:
        msg = "gene_sets has no term with genes: pass a dictionary of term to gene names."
        raise ValueError(msg)
    return library


def gene_list(genes: Iterable[Any], *, name: str) -> tuple[list[str], int]:
    """Return gene names as strings, each once and in order, and the number of missing ones that were dropped."""
    genes = list(genes)
    if set(map(type, genes)) <= {str}:  # most terms of most libraries
        return [gene for gene in dict.fromkeys(map(str.strip, genes)) if gene], 0
    names: dict[str, None] = {}
    missing = 0
    for gene in genes:
        if isinstance(gene, str | np.str_):
            if gene.strip():
                names[str(gene).strip()] = None
        elif pd.api.types.is_scalar(gene) and pd.isna(gene):
            missing += 1
        elif isinstance(gene, int | float | np.integer | np.floating) and not isinstance(gene, bool) and gene % 1 == 0:
            names[str(int(gene))] = None  # an Entrez id; beside a NaN pandas makes it a float
        else:
            msg = f"{name} holds {gene!r} ({type(gene).__name__}); gene names are strings or Entrez ids."
            raise TypeError(msg)
    return list(names), missing


def check_overlap(libraries: Mapping[str, Library], background: Iterable[str], *, organism: str = "human") -> None:
    """Warn where few genes of a library and of the background are the same; raise where none is.

    The share is of the smaller of the two, so a small panel, or a few small sets, count as covered when they are.
    """
    known = set(background)
    for name, library in libraries.items():
        genes = {gene for term in library.values() for gene in term}
        smaller = min(len(genes), len(known))
        shared = len(genes & known)
        if shared >= FEW * smaller and shared > 0:
            continue
        found = (
            f"{shared} of the {len(known)} background genes ({shared / len(known):.1%}) are among the {len(genes)} "
            f"genes of library {name!r}. The data have {listing(sorted(known), at_most=3)}; "
            f"the library has {listing(sorted(genes), at_most=3)}."
        )
        any_case = len({gene.upper() for gene in genes} & {gene.upper() for gene in known})
        fix = f"Check the kind of gene names and the species (organism={organism!r})."
        if any_case > max(2 * shared, FEW * smaller):
            fix = f"Ignoring upper and lower case it would be {any_case}: match the case, and check the species."
        if shared == 0:
            msg = f"{found} {fix}"
            raise ValueError(msg)
        warn(f"{found} {fix}")
