"""Chromatin modules as tables: of features, samples and groups; and their mean profiles over samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from scprograms._anndata import slot_names
from scprograms._anndata.matrix import read_matrix
from scprograms._core.validate import check_choice, check_int
from scprograms.modules.engine.profiles import bin_means
from scprograms.modules.store import read_feature_modules, read_group_modules, read_modules, read_sample_modules

if TYPE_CHECKING:
    from anndata import AnnData

OF = ("modules", "features", "samples", "groups")


def modules(
    adata: AnnData,
    *,
    key: str = "nmf",
    of: Literal["modules", "features", "samples", "groups"] = "modules",
    groupby: str | None = None,
) -> pd.DataFrame:
    """Return which features, samples or groups of samples belong to which module.

    Parameters
    ----------
    adata
        Samples x features, after :func:`scprograms.tl.assign_modules`.
    key
        ``key_added`` of the factorization.
    of
        What has a row of its own.
    groupby
        Which groups, with ``of="groups"``: a column of ``.obs`` that modules were assigned for.

    Returns
    -------
    ``of="modules"``
        ``n_specific``, ``n_shared``, ``n_samples``; ``.attrs`` holds the rule, its thresholds and other parameters.
    ``of="features"``
        ``score, module, top_module, share, n_modules``: the feature score; the module, "shared", "non-specific",
        "unassigned" or "inactive"; the module of the largest share, and that share; in how many modules it is.
    ``of="samples"``
        ``module, contribution, sparseness, entropy``.
    ``of="groups"``
        The same, with ``n_samples`` and ``agreement``, the share of the samples with the group's module.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or it has no modules (of these groups) yet.
    ValueError
        ``of`` is not known, or ``groupby`` is given or missing against it.

    Examples
    --------
    >>> import scprograms as scp
    >>> counts = scp.datasets.simulate_modules(1000, 12, 4)
    >>> adata = scp.pp.pseudobulk(counts, ["subtype", "region"], min_cells=1)
    >>> scp.tl.nmf(adata, 4)
    >>> scp.tl.assign_modules(adata)
    >>> list(scp.get.modules(adata, of="features"))
    ['score', 'module', 'top_module', 'share', 'n_modules']
    """
    check_choice("of", of, OF)
    if (of == "groups") != (groupby is not None):
        msg = f"of={of!r} with groupby={groupby!r}: name a column of adata.obs with of='groups', and only then."
        raise ValueError(msg)
    if groupby is not None:
        return read_group_modules(adata, key, groupby)
    read = {
        "modules": read_modules,
        "features": read_feature_modules,
        "samples": read_sample_modules,
    }[of]
    return read(adata, key)


def module_profiles(
    adata: AnnData, *, key: str = "nmf", layer: str | None = None, n_rows: int | Mapping[str, int] = 1
) -> pd.DataFrame:
    """Return the mean accessibility of the features of each module in each sample.

    Every feature is first divided by its largest value over the samples, so that strong features do not hide weak ones.

    Parameters
    ----------
    adata
        Samples x features, after :func:`scprograms.tl.assign_modules`.
    key
        ``key_added`` of the factorization.
    layer
        Layer with the values; None means ``.X``.
    n_rows
        In how many rows the features of a module are averaged, most specific ones first: one number for all, or one
        for each module or other category; those that are not named are left out. Never more than it has features.

    Returns
    -------
    Rows x samples, from 0 to 1. The index holds the module (or "shared", "non-specific", "unassigned") of each row, in
    the order of the modules; ``.attrs["n_features"]`` is the number of features in each row.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, it has no modules yet, or there is no such layer.
    TypeError, ValueError
        ``n_rows`` is no number of rows, or names no category; or the matrix cannot be used.

    Examples
    --------
    >>> import scprograms as scp
    >>> counts = scp.datasets.simulate_modules(1000, 12, 4)
    >>> adata = scp.pp.pseudobulk(counts, ["subtype", "region"], min_cells=1)
    >>> scp.tl.nmf(adata, 4)
    >>> scp.tl.assign_modules(adata)
    >>> scp.get.module_profiles(adata).index.tolist()
    ['program_0', 'program_1', 'program_2', 'program_3', 'shared', 'non-specific']
    """
    table = read_feature_modules(adata, key)
    names = [name for name in table["module"].cat.categories if name != slot_names.INACTIVE]
    rows = dict.fromkeys(names, n_rows) if not isinstance(n_rows, Mapping) else dict(n_rows)
    if unknown := sorted(set(rows) - set(names)):
        msg = f"n_rows names {unknown}, which are no modules. There: {names}."
        raise ValueError(msg)
    rows = {name: check_int("n_rows", rows[name], at_least=1) for name in names if name in rows}
    matrix: Any = read_matrix(adata, layer=layer)
    features, sizes, index = _bins(table, rows)
    found = pd.DataFrame(
        bin_means(matrix, features, sizes), index=pd.Index(index, name="module"), columns=adata.obs_names
    )
    found.attrs["n_features"] = sizes.tolist()
    return found


def _bins(table: pd.DataFrame, rows: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return features in the order of rows, the size of each row, and its module."""
    score, codes = table["score"].to_numpy(), table["module"].cat.codes.to_numpy()
    top = table["top_module"].cat.codes.to_numpy()
    categories = list(table["module"].cat.categories)
    order, sizes, index = [np.empty(0, np.int64)], [np.empty(0, np.int64)], []
    for name, wanted in rows.items():
        members = np.flatnonzero(codes == categories.index(name))
        # Within "shared" and the like, features of one module stand together.
        members = members[np.lexsort((-score[members], top[members]))]
        n = min(wanted, len(members))
        edges = np.arange(n + 1) * len(members) // max(n, 1)
        order.append(members)
        sizes.append(np.diff(edges))
        index += [name] * n
    return np.concatenate(order), np.concatenate(sizes), index
