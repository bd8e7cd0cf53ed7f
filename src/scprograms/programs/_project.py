"""``tl.project``: usages of another data set's programs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scprograms._anndata import slot_names
from scprograms._anndata.matrix import check_adata, read_gene_names
from scprograms._anndata.slots import (
    MODEL_COLUMNS,
    Factorization,
    read_fit,
    read_fitted_loadings,
    read_loadings,
    read_model,
    write_factorization,
)
from scprograms._core.validate import case_hint, check_has_key, check_name, listing, warn

from .engine import project_usages
from .factorization import read_expression

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from numpy.typing import NDArray

    from .engine import Projection

logger = logging.getLogger("scprograms")

LEAST_OVERLAP = 0.5


def project(
    adata: AnnData,
    reference: AnnData,
    *,
    key: str = "semi_nmf",
    layer: str | None = None,
    key_added: str | None = None,
    n_jobs: int | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Find the usages of programs that were learned elsewhere: in held-out cells, or in another screen.

    The loadings stay as they are; usages are solved cell by cell, with the centre, scale, baseline and penalty of the
    fit, so they do not depend on what other cells there are (with a Kullback-Leibler loss only to about 0.1 %, where
    its updates end). Prepare the matrix as that of the reference was (same
    normalisation, same logarithm). Cells of the reference get back the usages that it has (with ``solver="mu"``, which
    stops before its usages are solved for, those that it would end at).

    Genes are aligned by name, and their order does not matter. Those that entered the fit and are missing in ``adata``
    are left out of the solve. The penalty then shrinks with the share of a program's squared loadings that is there,
    so that usages keep the units, and the shrinkage, of the fit.

    Parameters
    ----------
    adata
        Cells x genes, to project. Gene names must be unique. The matrix may be a dask array in chunks of cells, or in
        the file of a backed AnnData: it is then read twice, a few chunks at a time.
    reference
        Factorized cells x genes. Gene names must be unique.
    key
        Key of the factorization in ``reference``.
    layer
        Layer of ``adata`` to project; None means ``.X``.
    key_added
        Name of the slots below; ``key`` by default.
    n_jobs
        Number of threads; None means all. It does not change the result.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the changed copy with ``copy=True``. These slots are written, the last one replaced whole:

    ``.obsm["X_{key_added}"]``
        Usages W, n_obs x n_programs, non-negative, in the dtype of the matrix.
    ``.varm["{key_added}_loadings"]``
        Loadings of the reference, n_vars x n_programs; 0 for genes that it does not have.
    ``.varm["{key_added}_model"]``
        Table ``baseline, center, scale, used`` per gene, as in the reference; ``used`` says which genes the usages
        were solved from, and genes that the reference does not have show 0, 0, 1 and False.
    ``.obs["{key_added}_program"]``
        The program that a cell uses most (category); ``"none"`` where there is none, or a tie.
    ``.uns["{key_added}"]``
        ``params`` (those of the fit, and ``projected_from`` = ``key``, ``n_genes_used``, ``n_genes_missing``);
        ``programs`` (table ``variance_explained`` and ``sparsity`` in these cells, ``stability`` as in the reference,
        ``coverage`` = share of a program's squared loadings on the genes that are there); ``error`` (Frobenius norm of
        the residual); ``l1_penalty``. There is no ``history``, and no error bound: nothing was fitted.

    Raises
    ------
    TypeError
        If ``adata`` or ``reference`` is no AnnData, or the matrix is no numpy, scipy or dask array of real numbers.
    ValueError
        If fewer than half of the genes of the fit are in ``adata``, gene names are not unique, or the matrix is empty
        or has NaN or infinite values or no signal.
    KeyError
        If ``layer`` does not exist, or ``reference`` has no factorization under ``key``.

    See Also
    --------
    scprograms.tl.match_programs : compare programs that were learned in both data sets.
    scprograms.programs.engine.project_usages : the same on arrays.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(n_cells=600, n_genes=300, n_programs=6, random_state=0)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> reference, new = adata[:400].copy(), adata[400:].copy()
    >>> scp.tl.semi_nmf(reference, n_programs=6)
    >>> scp.tl.project(new, reference)
    >>> new.obsm["X_semi_nmf"].shape
    (200, 6)
    >>> scp.tl.program_anova(new, "perturbation")
    """
    key_added = check_name("key_added", key if key_added is None else key_added)
    check_adata(adata)
    fitted = read_fitted_loadings(reference, key, name="reference")
    fit = read_fit(reference, key)
    penalty = _penalty(fit, key)
    genes = _align(adata, reference, key)
    coverage = _coverage(fitted, genes.loadings[genes.used])
    matrix = read_expression(adata, layer=layer)

    used = genes.model["used"].to_numpy()
    fit_params = fit.get(slot_names.PARAMS, {})
    found = project_usages(
        matrix if used.all() else matrix[:, np.flatnonzero(used)],
        genes.loadings[used].T,
        **{name: genes.model.loc[used, name].to_numpy() for name in ("baseline", "center", "scale")},
        penalty=penalty,
        loss=fit_params.get("loss", "frobenius"),
        n_jobs=n_jobs,
    )

    n_used = int(used.sum())
    params = {name: value for name, value in fit_params.items() if name not in ("layer", "mask_var")}
    params |= {"layer": layer} if layer is not None else {}
    params |= {slot_names.PROJECTED_FROM: key, "n_genes_used": n_used, "n_genes_missing": len(fitted) - n_used}
    programs = _describe(found, fit, coverage)
    entry = {slot_names.PARAMS: params, slot_names.ERROR: found.error, slot_names.L1_PENALTY: penalty}
    adata = adata.copy() if copy else adata
    result = Factorization(
        usages=found.usages, loadings=genes.loadings.T, model=genes.model, programs=programs, fit=entry
    )
    write_factorization(adata, key_added, result)
    logger.info("project: %d programs in %d cells, from %d genes.", len(programs), adata.n_obs, n_used)
    return adata if copy else None


@dataclass(frozen=True)
class _Aligned:
    """What the reference knows of the genes of another AnnData, in their order there."""

    loadings: NDArray
    """n_vars x k; 0 for genes that the reference does not have."""
    model: pd.DataFrame

    @property
    def used(self) -> NDArray:
        return self.model["used"].to_numpy()


def _align(adata: AnnData, reference: AnnData, key: str) -> _Aligned:
    """Look the genes of ``adata`` up in the reference; warn of those of the fit that are missing, and of too many."""
    here, loadings = read_gene_names(adata), read_loadings(reference, key)
    there, model = pd.Index(read_gene_names(reference, name="reference")), read_model(reference, key)
    rows = there.get_indexer(pd.Index(here))
    known = rows >= 0
    aligned = np.zeros((len(here), loadings.shape[1]), dtype=loadings.to_numpy().dtype)
    aligned[known] = loadings.to_numpy()[rows[known]]
    table = pd.DataFrame({"baseline": 0.0, "center": 0.0, "scale": 1.0, "used": False}, index=adata.var_names)
    for name in MODEL_COLUMNS:
        values = table[name].to_numpy(copy=True)
        values[known] = model[name].to_numpy()[rows[known]]
        table[name] = values
    wanted = there[model["used"].to_numpy(dtype=bool)]
    _check_overlap(here, wanted, int(table["used"].sum()))
    return _Aligned(aligned, table)


def _check_overlap(here: list[str], wanted: pd.Index, n_found: int) -> None:
    n_missing = len(wanted) - n_found
    if not n_missing:
        return
    missing = wanted.difference(here, sort=False)
    found = f"{n_missing} of the {len(wanted)} genes that entered the fit of the reference are missing in adata"
    hint = case_hint(here, wanted)
    if n_found < LEAST_OVERLAP * len(wanted):
        msg = (
            f"{found} ({listing(missing, at_most=5)}); at least half of them are needed.{hint} adata has "
            f"{listing(here, at_most=3)}: give both the same kind of gene names, and do not subset genes."
        )
        raise ValueError(msg)
    warn(f"{found} ({listing(missing, at_most=5)}): the usages are solved from the other {n_found}.{hint}")


def _coverage(fitted: pd.DataFrame, present: NDArray) -> pd.Series:
    """Share of each program's squared loadings on the genes that are there; warns of programs without any."""
    total = np.square(fitted.to_numpy(dtype=np.float64)).sum(axis=0)
    there = np.square(present.astype(np.float64)).sum(axis=0)
    coverage = pd.Series(there / np.where(total > 0, total, 1.0), index=fitted.columns)
    lost = coverage.index[(coverage == 0) & (total > 0)]
    if len(lost):
        warn(f"{listing(lost)} have none of their genes in adata: their usages are 0.")
    return coverage


def _penalty(fit: Mapping[str, Any], key: str) -> float:
    hint = "It is the penalty of the fit, without which usages cannot be solved alike: factorize the reference again."
    check_has_key(fit, slot_names.L1_PENALTY, where=f"reference.uns[{key!r}]", hint=hint)
    return float(fit[slot_names.L1_PENALTY])


def _describe(found: Projection, fit: Mapping[str, Any], coverage: pd.Series) -> pd.DataFrame:
    programs = fit[slot_names.PROGRAMS]
    stability = programs["stability"].to_numpy() if "stability" in programs else np.nan
    return pd.DataFrame(
        {
            "variance_explained": found.variance_explained,
            "sparsity": np.mean(found.usages == 0, axis=0),
            "stability": stability,
            "coverage": coverage.to_numpy(),
        },
        index=coverage.index,
    )
