"""``tl.rank_sweep``: how many programs a screen has."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from scprograms._anndata import slot_names
from scprograms._anndata.matrix import read_gene_mask
from scprograms._core.validate import check_choice, check_int, check_name

from .engine import sweep_ranks
from .factorization import read_expression, warn_about_rank
from .store import write_rank_sweep

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

logger = logging.getLogger("scprograms")

METHODS = ("semi_nmf", "nmf", "onmf")


def rank_sweep(
    adata: AnnData,
    n_programs: Iterable[int] = range(5, 50, 5),
    *,
    method: Literal["semi_nmf", "nmf", "onmf"] = "semi_nmf",
    layer: str | None = None,
    mask_var: str | NDArray | None = None,
    n_folds: int = 5,
    n_subsamples: int = 5,
    max_cells: int = 5000,
    cross_validation: bool = True,
    stability: bool = True,
    key_added: str = "semi_nmf",
    random_state: int | np.random.Generator | np.random.RandomState | None = 0,
    n_jobs: int | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Compare numbers of programs, and suggest one.

    The suggestion is the smallest number whose error on hidden entries of the matrix is within one standard error of
    the least [1]_. If its stability is below 0.7, it is the largest number below it that reaches 0.7, where there is
    one. Without cross-validation it is the largest number whose stability (or, without that, silhouette) is at least
    0.95 times the highest. The reason is stored in words.

    Entries are hidden before anything is compressed: a compression that has seen them prefers the largest number of
    programs, always. Hidden are, for each fold, a tenth of the entries of the sampled cells (two million at most).

    Parameters
    ----------
    adata
        Cells x genes. The matrix may be a dask array in chunks of cells, or in the file of a backed AnnData, as for
        :func:`scprograms.tl.semi_nmf`.
    n_programs
        Numbers of programs to compare. Duplicates count once.
    method
        ``"semi_nmf"``, ``"nmf"`` or ``"onmf"`` (orthogonal NMF, each gene in one program; the rule by which
        :func:`scprograms.tl.onmf` leaves genes unassigned is not applied).
    layer
        Layer to factorize; None means ``.X``.
    mask_var
        Genes that enter the fit: a boolean column of ``.var`` or a boolean array. None means all genes.
    n_folds
        Number of disjoint sets of entries that cross-validation hides in turn, at least 2.
    n_subsamples
        Number of subsamples of 70 % of the cells, at least 2, that stability refits.
    max_cells
        Cross-validation uses so many cells at most, drawn at random.
    cross_validation
        Whether to cross-validate.
    stability
        Whether to compute stability.
    key_added
        Name of the slots below.
    random_state
        Seed: an int, a Generator, a RandomState or None.
    n_jobs
        Number of threads; None means all. It does not change the result.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the changed copy with ``copy=True``. Written into ``.uns["{key_added}"]``, beside a factorization where
    there is one, and kept when one follows:

    ``"rank_sweep"``
        One row per number of programs: ``n_programs``; ``error`` (Frobenius norm of the residual, at the default
        penalty), ``error_bound`` (that of the truncated SVD) and ``error_ratio``; ``cv_error`` (mean squared error on
        hidden entries, mean over the folds) and ``cv_sd`` (standard deviation over the folds); ``stability`` (cosine of
        the loadings between subsamples, matched one to one, mean over programs and pairs of subsamples) and
        ``stability_sd`` (standard deviation over the pairs); ``silhouette`` (of loadings clustered over five
        subsamples that share one compression, which flatters it); ``suggested``. NaN where not computed.
    ``"suggested_n_programs"``, ``"rank_sweep_reason"``
        The suggestion, and why in words.
    ``"rank_sweep_params"``
        The arguments.

    Raises
    ------
    TypeError
        If ``adata`` is no AnnData, a file holds its matrix by column, or an argument has the wrong type.
    ValueError
        If the matrix is empty, has NaN or infinite values, no signal or, for NMF and orthogonal NMF, negative values;
        if ``n_programs`` is empty or, for orthogonal NMF, larger than the number of cells or of genes with a signal; or
        if an argument is out of range.
    KeyError
        If ``layer`` or ``mask_var`` does not exist.

    See Also
    --------
    scprograms.pl.rank_sweep : the curves.
    scprograms.get.rank_sweep : the table.

    References
    ----------
    .. [1] Hastie, Tibshirani & Friedman (2009), The Elements of Statistical Learning, section 7.10,
       https://doi.org/10.1007/978-0-387-84858-7

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(n_cells=600, n_genes=300, n_programs=6, random_state=0)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.rank_sweep(adata, range(3, 10), n_folds=3, n_subsamples=2)
    >>> adata.uns["semi_nmf"]["suggested_n_programs"]
    6
    """
    ranks = _check_range(n_programs)
    check_choice("method", method, METHODS)
    n_folds = check_int("n_folds", n_folds, at_least=2)
    n_subsamples = check_int("n_subsamples", n_subsamples, at_least=2)
    max_cells = check_int("max_cells", max_cells, at_least=2)
    check_choice("cross_validation", cross_validation, (True, False))
    check_choice("stability", stability, (True, False))
    key = check_name("key_added", key_added)
    matrix = read_expression(adata, layer=layer, n_programs=ranks[-1])
    used = read_gene_mask(adata, mask_var)
    matrix = matrix if used is None else matrix[:, np.flatnonzero(used)]
    warn_about_rank(ranks[-1], matrix.shape)

    curves = sweep_ranks(
        matrix,
        ranks,
        method=method,
        n_folds=n_folds,
        n_subsamples=n_subsamples,
        max_cells=max_cells,
        cross_validation=cross_validation,
        stability=stability,
        random_state=random_state,
        n_jobs=n_jobs,
        verbose=True,
    )
    table = pd.DataFrame(
        {
            "n_programs": ranks,
            "error": curves.error,
            "error_bound": curves.error_bound,
            "error_ratio": curves.error_ratio,
            "cv_error": curves.cv_error,
            "cv_sd": curves.cv_sd,
            "stability": curves.stability,
            "stability_sd": curves.stability_sd,
            "silhouette": curves.silhouette,
            "suggested": np.array(ranks) == curves.suggested,
        },
        index=[str(i) for i in range(len(ranks))],
    )
    params = {
        "method": method,
        "layer": layer,
        "mask_var": mask_var if isinstance(mask_var, str) else None,
        "n_folds": n_folds,
        "n_subsamples": n_subsamples,
        "max_cells": max_cells,
        "cross_validation": bool(cross_validation),
        "stability": bool(stability),
        "random_state": int(random_state) if isinstance(random_state, int | np.integer) else None,
    }
    adata = adata.copy() if copy else adata
    write_rank_sweep(
        adata,
        key,
        {
            slot_names.RANK_SWEEP: table,
            slot_names.SUGGESTED: curves.suggested,
            slot_names.RANK_SWEEP_REASON: curves.reason,
            slot_names.RANK_SWEEP_PARAMS: {name: value for name, value in params.items() if value is not None},
        },
    )
    logger.info("rank_sweep: %s", curves.reason)
    return adata if copy else None


def _check_range(n_programs: object) -> list[int]:
    """Return the numbers of programs, ascending and each once."""
    if isinstance(n_programs, str) or not isinstance(n_programs, Iterable):
        msg = f"n_programs={n_programs!r} is a {type(n_programs).__name__}; pass several, such as range(5, 50, 5)."
        raise TypeError(msg)
    ranks = sorted({check_int("n_programs", k, at_least=1) for k in n_programs})
    if not ranks:
        msg = f"n_programs={n_programs!r} is empty; pass the numbers to compare, such as range(5, 50, 5)."
        raise ValueError(msg)
    return ranks
