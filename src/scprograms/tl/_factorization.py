"""What all factorizing verbs share: how they read a screen, and how they put together what they found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scprograms import _keys, _store, _validate

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from scprograms.factorization import ProgramEstimator


def read_expression(adata: AnnData, *, layer: str | None, n_programs: int) -> _validate.Matrix:
    """Return the matrix to factorize, after a look at whether it can be meant."""
    _store.check_adata(adata)
    matrix = _store.read_matrix(adata, layer=layer)
    _check_memory(adata, n_programs)
    _validate.warn_about_counts(matrix, "adata.X" if layer is None else f"adata.layers[{layer!r}]")
    n_empty = int(_validate.empty_rows(matrix).sum())
    if n_empty:
        _validate.warn(
            f"{n_empty} of {adata.n_obs} cells have no expression at all; without a baseline their usages are 0. "
            "Remove them with sc.pp.filter_cells(adata, min_genes=1)."
        )
    return matrix


def read_control(adata: AnnData, *, center: object, control: object) -> NDArray | None:
    """Return the mask of the control cells, where ``center`` asks for it."""
    if center == "control":
        return _store.read_control_mask(adata, control)
    if control is not None:
        msg = f"control={control!r} has no effect with center={center!r}: pass center='control', or leave it out."
        raise ValueError(msg)
    return None


def warn_about_rank(n_programs: int, shape: tuple[int, int]) -> None:
    """Warn if there are more programs than the matrix that enters the fit has directions."""
    if n_programs > min(shape):
        _validate.warn(
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
    model: ProgramEstimator, matrix: _validate.Matrix, W: NDArray, *, used: NDArray | None, control: NDArray | None
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
    others = model.loadings_of(matrix[:, np.flatnonzero(~used)], W, control=control)
    for name, fitted in genes.items():
        genes[name] = np.empty((*fitted.shape[:-1], used.size), dtype=fitted.dtype)
        genes[name][..., used] = fitted
        genes[name][..., ~used] = others[name]
    return genes


def as_factorization(
    model: ProgramEstimator, W: NDArray, genes: dict[str, NDArray], *, used: NDArray | None, params: dict[str, Any]
) -> _store.Factorization:
    """Put together what a fitted estimator leaves in an AnnData; ``genes`` are loadings and model of all genes."""
    names = _keys.program_names(W.shape[1])
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
        _keys.PARAMS: {name: value for name, value in params.items() if value is not None},
        _keys.HISTORY: history,
        _keys.ERROR: model.error_,
        _keys.ERROR_BOUND: model.error_bound_,
        _keys.ERROR_RATIO: model.error_ratio_,
        _keys.N_ITER: model.n_iter_,
        _keys.CONVERGED: model.converged_,
    }
    return _store.Factorization(usages=W, loadings=genes["loadings"], model=table, programs=programs, fit=fit)
