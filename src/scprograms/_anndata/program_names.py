"""The names that programs were given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import slot_names
from .slots import read_fit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anndata import AnnData


def program_names(adata: AnnData, key: str, programs: Iterable[str]) -> list[str]:
    """Return the names that :func:`scprograms.tl.annotate_programs` gave to these programs."""
    table = read_fit(adata, key)[slot_names.PROGRAMS]
    if "name" not in table:
        msg = (
            f"The programs of key={key!r} have no names yet: call scp.tl.annotate_programs(adata, key={key!r}) first, "
            "or pass names=False."
        )
        raise KeyError(msg)
    named = dict(zip(table.index.astype(str), table["name"].astype(str), strict=True))
    return [named[program] for program in programs]
