"""Which programs differ between perturbations: analysis of variance of the usages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from scprograms import _keys, _store
from scprograms._validate import check_choice, listing

if TYPE_CHECKING:
    from anndata import AnnData


def program_anova(
    adata: AnnData,
    groupby: str,
    *,
    key: str = "semi_nmf",
    method: Literal["anova"] = "anova",
    copy: bool = False,
) -> AnnData | None:
    """Test each program for a difference of its usage between groups of cells.

    One-way analysis of variance of all programs at once, in closed form and double precision; F and p are those of
    ``statsmodels.stats.anova_lm(ols("usage ~ C(group)"), typ=2)``. q adjusts p over the programs (Benjamini-Hochberg).

    The test takes cells as independent. Cells of one guide, clone or batch are not, and usages are far from normal,
    so small p-values come too easily on real screens: read them beside the effect sizes.

    Parameters
    ----------
    adata
        Data with a factorization.
    groupby
        Column of ``.obs`` with the group of each cell, such as its perturbation. Numbers and booleans are taken as
        labels. Cells without a label are left out, with a warning; categories without cells are ignored.
    key
        Key of the factorization (``key_added`` of the verb that made it).
    method
        ``"anova"``: F test on the cells.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the copy with ``copy=True``. Sets this field:

    ``.uns[key]["anova"][groupby]``
        DataFrame with a row per program (a slash in ``groupby`` becomes ``_``). ``F``; ``p``; ``log10_p``, which
        keeps its digits where p underflows to 0; ``q``; ``eta_squared``, the share of the variance between groups;
        ``omega_squared``, the same without its upward bias; ``df_between``, ``df_within``, ``n_groups``, ``n_cells``.
        A program with the same usage in all cells has NaN, and counts in no family; one that varies between groups
        only has F = inf and p = 0.

    Raises
    ------
    KeyError
        If ``groupby`` is no column of ``.obs``, or there is no factorization under ``key``.
    ValueError
        If there are fewer than two groups, or every group has a single cell.
    TypeError
        If ``groupby`` is not one string.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(300, 400, 6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, n_programs=6)
    >>> scp.tl.program_anova(adata, "perturbation")
    >>> adata.uns["semi_nmf"]["anova"]["perturbation"].shape
    (6, 10)
    """
    from scprograms.stats import benjamini_hochberg, one_way_anova

    usages = _store.read_usages(adata, key)
    labels = _store.read_labels(adata, groupby)
    check_choice("method", method, ["anova"])
    _check_groups(labels)
    test = one_way_anova(usages.to_numpy(), labels.codes)
    table = pd.DataFrame(
        {
            "F": test.F,
            "p": test.p,
            "log10_p": test.log10_p,
            "q": benjamini_hochberg(test.p),
            "eta_squared": test.eta_squared,
            "omega_squared": test.omega_squared,
            "df_between": test.df_between,
            "df_within": test.df_within,
            "n_groups": test.n_groups,
            "n_cells": test.n_cells,
        },
        index=usages.columns,
    )
    adata = adata.copy() if copy else adata
    _store.write_table(adata, key, _keys.ANOVA, table, groupby=groupby)
    return adata if copy else None


def _check_groups(labels: _store.Labels) -> None:
    if len(labels.names) < 2:
        msg = (
            f"adata.obs[{labels.key!r}] has a single group, {listing(labels.names)}: a comparison needs at least two. "
            "Name a column with more groups as groupby."
        )
        raise ValueError(msg)
    if np.bincount(labels.codes[labels.labelled]).max() == 1:
        msg = (
            f"Each of the {len(labels.names)} groups of adata.obs[{labels.key!r}] has a single cell, so there is no "
            "variance within groups to compare with. Name a column with larger groups as groupby."
        )
        raise ValueError(msg)
