"""What all factorizing verbs share: how they read a screen, and how they put together what they found."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from scprograms._anndata import slot_names
from scprograms._anndata.labels import read_control_mask
from scprograms._anndata.lazy import is_lazy, read_matrix, warn_about_counts_in_head
from scprograms._anndata.matrix import check_adata, read_gene_mask
from scprograms._anndata.slots import Factorization, write_factorization
from scprograms._core.validate import empty_rows, warn, warn_about_counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from numpy.typing import NDArray

    from scprograms._core.matrix import Matrix
    from scprograms._core.operators.protocol import DaskArray

    from .engine import ProgramEstimator

logger = logging.getLogger("scprograms")


@dataclass(frozen=True)
class Screen:
    """The matrix to factorize, and the mask of the genes that enter the fit; None means all."""

    matrix: Matrix | DaskArray
    used: NDArray | None

    @property
    def fitted(self) -> Matrix | DaskArray:
        """The genes that enter the fit."""
        return self.matrix if self.used is None else self.matrix[:, np.flatnonzero(self.used)]


def read_screen(
    adata: AnnData,
    n_programs: int,
    *,
    layer: str | None,
    mask_var: str | NDArray | None,
    at_most_rank: bool = False,
) -> Screen:
    """Return what a factorizing verb reads, after a look at whether it can be meant.

    More programs than directions are an error with ``at_most_rank``, and else worth a warning.
    """
    matrix = read_expression(adata, layer=layer, n_programs=n_programs)
    used = read_gene_mask(adata, mask_var)
    shape = (adata.n_obs, adata.n_vars if used is None else int(used.sum()))
    if at_most_rank and n_programs > min(shape):
        msg = (
            f"n_programs={n_programs} exceeds the {min(shape)} directions of the {shape[0]} x {shape[1]} matrix that "
            f"enters the fit: programs that share no gene cannot be so many. Pass at most {min(shape)}."
        )
        raise ValueError(msg)
    warn_about_rank(n_programs, shape)
    return Screen(matrix, used)


def check_non_negative(screen: Screen, *, layer: str | None, method: str) -> None:
    """Refuse negative expression on behalf of a method that has no signed loadings.

    Of a dask array the fit itself does so, when it has read the values.
    """
    if is_lazy(screen.matrix):
        return
    values = screen.matrix.data if sparse.issparse(screen.matrix) else screen.matrix
    if values.min(initial=0) < 0:
        msg = (
            f"{'adata.X' if layer is None else f'adata.layers[{layer!r}]'} has {int((values < 0).sum())} negative "
            f"values, the lowest is {values.min():g}; {method} needs non-negative ones: use scp.tl.semi_nmf, or name "
            "the layer with the expression before centring and scaling."
        )
        raise ValueError(msg)


def read_expression(adata: AnnData, *, layer: str | None, n_programs: int | None = None) -> Matrix | DaskArray:
    """Return the matrix to factorize into so many programs, if any, after a look at whether it can be meant."""
    check_adata(adata)
    matrix = read_matrix(adata, layer=layer)
    if n_programs is not None:
        _check_memory(adata, n_programs)
    where = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
    if is_lazy(matrix):
        warn_about_counts_in_head(matrix, where)
        return matrix
    warn_about_counts(matrix, where)
    n_empty = int(empty_rows(matrix).sum())
    if n_empty:
        warn(
            f"{n_empty} of {adata.n_obs} cells have no expression at all; without a baseline their usages are 0. "
            "Remove them with sc.pp.filter_cells(adata, min_genes=1)."
        )
    return matrix


def read_control(adata: AnnData, *, center: object, control: object) -> NDArray | None:
    """Return the mask of the control cells, where ``center`` asks for it."""
    if center == "control":
        return read_control_mask(adata, control)
    if control is not None:
        msg = f"control={control!r} has no effect with center={center!r}: pass center='control', or leave it out."
        raise ValueError(msg)
    return None


def warn_about_rank(n_programs: int, shape: tuple[int, ...]) -> None:
    """Warn if there are more programs than the matrix that enters the fit has directions."""
    if n_programs > min(shape):
        warn(
            f"n_programs={n_programs} exceeds the {min(shape)} directions of the {shape[0]} x {shape[1]} matrix that "
            "enters the fit: programs beyond them mean nothing. Choose fewer."
        )


def _check_memory(adata: AnnData, n_programs: int) -> None:
    """Refuse a number of programs whose factors alone could not be held, before anything is allocated."""
    largest = 64 * max(min(adata.shape), 1)
    if n_programs > largest:
        gib = 8 * n_programs * (adata.n_obs + adata.n_vars) / 2**30
        msg = (
            f"n_programs={n_programs} is far beyond the {min(adata.shape)} directions of a {adata.n_obs} x "
            f"{adata.n_vars} matrix; its factors alone would take {gib:.1f} GiB. Choose fewer programs (10 to 100)."
        )
        raise ValueError(msg)


def loadings_of_all_genes(
    model: ProgramEstimator, matrix: Matrix | DaskArray, W: NDArray, *, used: NDArray | None, control: NDArray | None
) -> dict[str, NDArray]:
    """Return loadings and model of the genes that entered the fit, and by least squares those of the others."""
    genes = {
        "loadings": model.components_,
        "baseline": model.baseline_,
        "center": model.center_,
        "scale": model.scale_,
    }
    if used is None or used.all():
        return genes
    others = model.loadings_of(matrix[:, np.flatnonzero(~used)], W, **({} if control is None else {"control": control}))
    for name, fitted in genes.items():
        genes[name] = np.empty((*fitted.shape[:-1], used.size), dtype=fitted.dtype)
        genes[name][..., used] = fitted
        genes[name][..., ~used] = others[name]
    return genes


def as_factorization(
    model: ProgramEstimator, W: NDArray, genes: dict[str, NDArray], *, used: NDArray | None, params: dict[str, Any]
) -> Factorization:
    """Put together what a fitted estimator leaves in an AnnData; ``genes`` are loadings and model of all genes."""
    names = slot_names.program_names(W.shape[1])
    programs = pd.DataFrame(
        {
            "variance_explained": model.variance_explained_,
            "sparsity": np.mean(W == 0, axis=0),
            "stability": np.full(len(names), np.nan),
        },
        index=names,
    )
    stages, errors = zip(*model.history_, strict=True)
    history = pd.DataFrame(
        {
            "stage": list(stages),
            "iteration": np.arange(len(errors)),
            "loss": np.asarray(errors),
            "error_ratio": np.asarray(errors) / (np.nan if np.isnan(model.error_ratio_) else model.error_bound_),
        }
    ).set_axis([str(i) for i in range(len(errors))], axis=0)
    table = pd.DataFrame({column: genes[column] for column in ("baseline", "center", "scale")})
    table["used"] = True if used is None else used
    fit = {
        slot_names.PARAMS: {name: value for name, value in params.items() if value is not None},
        slot_names.HISTORY: history,
        slot_names.ERROR: model.error_,
        slot_names.ERROR_BOUND: model.error_bound_,
        slot_names.ERROR_RATIO: model.error_ratio_,
        slot_names.L1_PENALTY: float(model.l1_penalty_),
        slot_names.N_ITER: model.n_iter_,
        slot_names.CONVERGED: model.converged_,
    }
    return Factorization(
        usages=W,
        loadings=genes["loadings"],
        model=table,
        programs=programs,
        fit=fit,
        genes_are_disjoint=model.genes_are_disjoint,
    )


def write_programs(
    adata: AnnData,
    key: str,
    model: ProgramEstimator,
    *,
    usages: NDArray,
    screen: Screen,
    params: dict[str, Any],
    copy: bool,
    control: NDArray | None = None,
    stability: NDArray | None = None,
    entries: Mapping[str, Any] | None = None,
) -> AnnData | None:
    """Find the loadings of the genes outside the fit, and write all slots; return the changed copy, if asked for.

    ``entries`` go into ``.uns[key]`` as they are.
    """
    genes = loadings_of_all_genes(model, screen.matrix, usages, used=screen.used, control=control)
    result = as_factorization(model, usages, genes, used=screen.used, params=params)
    if stability is not None:
        result.programs["stability"] = stability
    adata = adata.copy() if copy else adata
    write_factorization(adata, key, replace(result, fit={**result.fit, **(entries or {})}))
    logger.info(
        "%s: %d programs, error %.4f times the bound after %d sweeps.",
        params["method"],
        usages.shape[1],
        model.error_ratio_,
        model.n_iter_,
    )
    return adata if copy else None


def plain_params(
    *,
    n_programs: int,
    layer: str | None,
    mask_var: object,
    init: object,
    random_state: object,
    **others: Any,
) -> dict[str, Any]:
    """Return the arguments of a call in a form that can be written to disk."""
    return {
        "n_programs": n_programs,
        "layer": layer,
        "mask_var": mask_var if isinstance(mask_var, str) else None,
        "init": init if isinstance(init, str) else "array",
        "random_state": int(random_state) if isinstance(random_state, int | np.integer) else None,
        **others,
    }
