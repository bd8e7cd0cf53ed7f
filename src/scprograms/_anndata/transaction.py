"""Assignments into AnnData, all of them or none."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from anndata import AnnData, ImplicitModificationWarning

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MISSING = object()


def write(
    adata: AnnData,
    *,
    X: Any = None,
    obs: Mapping[str, Any] | None = None,
    var: Mapping[str, Any] | None = None,
    obsm: Mapping[str, Any] | None = None,
    varm: Mapping[str, Any] | None = None,
    layers: Mapping[str, Any] | None = None,
    uns: Mapping[str, Any] | None = None,
    remove: Mapping[str, Iterable[str]] | None = None,
) -> None:
    """Write entries into the slots of an AnnData; after an error every slot is as it was.

    ``remove`` names entries to take out first, by slot; those that do not exist are no error. A view becomes a copy of
    its own, as with any assignment.
    """
    given = {"obsm": obsm, "varm": varm, "layers": layers, "obs": obs, "var": var, "uns": uns}
    changes: list[tuple[str, str, Any]] = []
    for slot, names in (remove or {}).items():
        changes += [(slot, name, _MISSING) for name in names]
    for slot, entries in given.items():
        changes += [] if entries is None else [(slot, name, value) for name, value in entries.items()]
    before: list[tuple[str, str, Any]] = []
    matrix = adata.X if X is not None else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImplicitModificationWarning)
        try:
            if X is not None:
                adata.X = X
            for slot, name, value in changes:
                there = getattr(adata, slot)
                before.append((slot, name, there.get(name, _MISSING)))
                _set(there, name, value)
        except BaseException:
            for slot, name, value in reversed(before):
                _set(getattr(adata, slot), name, value)
            if X is not None:
                adata.X = matrix
            raise


def _set(entries: Any, name: str, value: Any) -> None:
    if value is not _MISSING:
        entries[name] = value
    elif name in entries:
        del entries[name]
