"""Which programs differ between perturbations: tests of the usages, with cells or with guides as the unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from scprograms._anndata import slot_names
from scprograms._anndata.labels import Labels, read_labels, warn_about_labels
from scprograms._anndata.obs import find_replicates, read_names
from scprograms._anndata.slots import read_usages, write_table
from scprograms._core.validate import check_choice, check_int, listing, warn

from ._tested_cells import Cells, cells_to_test, check_groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from anndata import AnnData

METHODS = ("anova", "rank_anova", "permutation", "replicate")
STATISTICS = ("combined", "F")
STOP_AFTER = 20
"""Hits after which a program needs no more permutations, where more than ``FEW_PERMUTATIONS`` are allowed."""
FEW_PERMUTATIONS = 999


def program_anova(
    adata: AnnData,
    groupby: str,
    *,
    key: str = "semi_nmf",
    method: Literal["anova", "rank_anova", "permutation", "replicate"] = "anova",
    covariates: str | Sequence[str] | None = None,
    replicate: str | None = None,
    strata: str | Sequence[str] | None = None,
    n_permutations: int = FEW_PERMUTATIONS,
    statistic: Literal["combined", "F"] = "combined",
    random_state: int | np.random.RandomState | np.random.Generator | None = 0,
    n_jobs: int | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Test each program for a difference of its usage between groups of cells.

    All programs are tested at once, in double precision; q adjusts p over the programs (Benjamini-Hochberg). What
    counts as independent makes the difference between the methods:

    ``"anova"``
        The F test of least squares on the cells, in closed form, equal to that of
        ``statsmodels.stats.anova_lm(ols("usage ~ C(group) + covariates"), typ=2)``. It takes cells as independent and
        usages as normal; they are neither, so small p-values come too easily.
    ``"rank_anova"``
        The same test on ranks (of the usages, and of the covariates): it holds its level for usages with many zeros,
        also under uneven batches or depths that are given as ``covariates``. It still takes cells as independent.
    ``"permutation"``
        The F of the groups, beside those of the strata, and how far the furthest group lies from the others (on ranks
        of the usages), against their values when labels are permuted among the cells of a stratum: free of
        assumptions on the distribution (:func:`scprograms.perturbation.engine.permutation_anova`). It still takes cells
        of a stratum as exchangeable.
    ``"replicate"``
        Guides or replicates as the unit, on ranks of the usages
        (:func:`scprograms.perturbation.engine.replicate_anova`): a group counts as different only where it differs by
        more than its guides do among themselves. p is the smaller one of that of F, times at most 1.5, and that of the
        group furthest from the others, times 3 or more, for which replicates are permuted: F alone is weak where one
        perturbation of many moves a program. To be preferred where there are guides or replicates: even a between-guide
        variance of half a percent invalidates the tests on cells.

    Parameters
    ----------
    adata
        Data with a factorization.
    groupby
        Column of ``.obs`` with the group of each cell, such as its perturbation. Numbers and booleans are taken as
        labels. Cells without a label are left out, with a warning; categories without cells are ignored. Groups of a
        single cell count in ``"anova"``, and are left out of the other tests, with a warning.
    key
        Key of the factorization (``key_added`` of the verb that made it).
    method
        One of the above.
    covariates
        Columns of ``.obs`` whose effect to take out first, for ``"anova"`` and ``"rank_anova"``: numbers, such as a
        log depth, enter as they are, all else as categories. Cells without a value are left out, with a warning.
    replicate
        Column of ``.obs`` with the guide or replicate of each cell, for ``"replicate"``: each within one group.
    strata
        Columns of ``.obs`` within which to permute or to compare, for ``"permutation"`` and ``"replicate"``: for
        example the batch. Several columns are combined.
    n_permutations
        Number of permutations of cells, for ``"permutation"``; the smallest possible p is 1 / (n_permutations + 1).
        Above 999, a program stops as soon as 20 permutations are as extreme (Besag and Clifford): only small p-values,
        which need them, cost all.
    statistic
        ``"combined"``: p of ``"permutation"`` and ``"replicate"`` is that of F and of the furthest group together, as
        above. ``"F"``: of F alone, as it always is in the other methods.
    random_state
        Seed of the permutations.
    n_jobs
        Threads for the permutations; None means all that numba is allowed to use. It never changes the result.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the copy with ``copy=True``. Sets this field:

    ``.uns[key]["anova"][groupby]``
        DataFrame with a row per program (a slash in ``groupby`` becomes ``_``). ``F``; ``p``; ``log10_p``, which
        keeps its digits where p underflows to 0; ``q``; ``eta_squared``, the share of the variance between groups;
        ``omega_squared``, the same without its upward bias (beside ``covariates``, or ``strata`` in
        ``"permutation"``, both are shares of the variance that these leave; of ranks with ``"rank_anova"``; of single
        cells with ``"replicate"``); ``df_between`` and ``df_within``, which are fractions with ``"replicate"``;
        ``n_groups``, ``n_cells``; ``n_permutations`` or ``n_replicates`` for these methods; ``method``;
        ``unused_replicates``, the columns of ``.obs`` that look like guides or replicates within the groups and were
        not used, joined by commas. A program with the same usage in all cells has NaN, and counts in no family; one
        that varies between groups only has F = inf and p = 0 (in ``"permutation"`` the smallest possible p, in
        ``"replicate"`` a huge F and a tiny p).

    Raises
    ------
    KeyError
        If ``groupby`` or another name is no column of ``.obs``, or there is no factorization under ``key``.
    ValueError
        If there are fewer than two groups, every group has a single cell (or a single replicate), replicates occur in
        several groups, the effect of the groups is not estimable beside the covariates or within the strata, or an
        argument does not belong to the method.
    TypeError
        If ``groupby`` is not one string, or another argument has the wrong type.

    Warns
    -----
    ProgramsWarning
        If cells are left out, or ``.obs`` has guides or replicates that were not used.

    References
    ----------
    Conover and Iman (1982), Biometrics 38, 715-724, https://doi.org/10.2307/2530051

    Besag and Clifford (1991), Biometrika 78, 301-304, https://doi.org/10.1093/biomet/78.2.301

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(300, 400, 6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, n_programs=6)
    >>> scp.tl.program_anova(adata, "perturbation", method="replicate", replicate="guide")
    >>> scp.get.anova(adata, "perturbation")["n_replicates"].iloc[0]
    np.int64(27)
    """
    usages = read_usages(adata, key)
    labels = read_labels(adata, groupby)
    warn_about_labels(labels)
    check_choice("method", method, METHODS)
    check_choice("statistic", statistic, STATISTICS)
    names = {"covariates": read_names("covariates", covariates)}
    names["strata"] = read_names("strata", strata)
    names["replicate"] = [] if replicate is None else [_one_name(replicate)]
    _check_arguments(adata, labels, method, names)
    n_permutations = check_int("n_permutations", n_permutations, at_least=1)
    check_groups(labels)
    cells = cells_to_test(adata, labels, names, drop_single=method != "anova")
    options = {"statistic": statistic, "random_state": random_state, "n_jobs": n_jobs}
    columns = _test(usages.to_numpy(), cells, method, n_permutations, options)
    table = pd.DataFrame(columns, index=usages.columns)
    unused = find_replicates(adata, labels, used=cells.replicates)
    table["method"], table["unused_replicates"] = method, ",".join(unused)
    if unused:
        _warn_about_replicates(groupby, key, unused, cells.replicates)
    adata = adata.copy() if copy else adata
    write_table(adata, key, slot_names.ANOVA, table, groupby=groupby)
    return adata if copy else None


def _test(
    values: np.ndarray, cells: Cells, method: str, n_permutations: int, options: dict[str, Any]
) -> dict[str, Any]:
    """Return the columns of the table."""
    from scprograms._core.multiple_testing import benjamini_hochberg

    from . import engine

    more: dict[str, Any] = {}
    test: Any
    if method == "anova" and cells.covariates is not None:
        test = engine.covariate_anova(values, cells.codes, cells.covariates)
    elif method == "anova":
        test = engine.one_way_anova(values, cells.codes)
    elif method == "rank_anova":
        test = engine.rank_anova(values, cells.codes, cells.covariates)
    elif method == "permutation":
        options |= {
            "n_permutations": n_permutations,
            "stop_after": STOP_AFTER if n_permutations > FEW_PERMUTATIONS else None,
        }
        test = engine.permutation_anova(values, cells.codes, strata=cells.strata, **options)
        more["n_permutations"] = test.n_permutations
    elif cells.replicates is not None:
        test = engine.replicate_anova(values, cells.codes, cells.replicates.codes, strata=cells.strata, **options)
        more["n_replicates"] = test.n_replicates
    return {
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
        **more,
    }


def _one_name(replicate: object) -> str:
    if not isinstance(replicate, str):
        msg = f"replicate={replicate!r} is a {type(replicate).__name__}; pass the name of one column of adata.obs."
        raise TypeError(msg)
    return replicate


def _check_arguments(adata: AnnData, labels: Labels, method: str, names: dict[str, list[str]]) -> None:
    """Raise where an argument does not belong to the method; say which method, or argument, to use."""
    rules: list[tuple[str, tuple[str, ...], str]] = [
        ("covariates", ("anova", "rank_anova"), "pass those that are categories as strata"),
        ("strata", ("permutation", "replicate"), "pass it as covariates"),
        ("replicate", ("replicate",), ""),
    ]
    for name, methods, instead in rules:
        if names[name] and method not in methods:
            given = listing(names[name])
            allowed = " or ".join(f"method={each!r}" for each in methods)
            msg = f"{name}= ({given}) is not used by method={method!r}: use {allowed} with it"
            raise ValueError(msg + (f", or {instead}." if instead else "."))
    if method == "replicate" and not names["replicate"]:
        found = find_replicates(adata, labels)
        hint = f"There may serve: {listing(found)}." if found else "No column of adata.obs looks like one."
        msg = f"method='replicate' needs replicate=, the column of adata.obs with the guide or replicate. {hint}"
        raise ValueError(msg)


def _warn_about_replicates(groupby: str, key: str, unused: list[str], used: Labels | None) -> None:
    call = f"scp.tl.program_anova(adata, {groupby!r}, key={key!r}, method='replicate', replicate={unused[0]!r})"
    if used is None:
        why = "Cells of one guide or replicate are not independent of each other, so these p-values may be too small."
    else:
        why = f"Levels of replicate={used.key!r} that share one are not independent of each other."
    warn(
        f"{listing(unused)} in adata.obs may hold guides or replicates within the groups of {groupby!r}, and the test "
        f"did not use them. {why} Call {call}."
    )
