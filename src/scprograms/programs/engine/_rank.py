"""The choice of the number of programs: what every number of a range fits, predicts and repeats."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from scprograms._core import checks
from scprograms._core.operators.dask import DaskOperator
from scprograms._core.operators.dispatch import as_operator
from scprograms._core.operators.in_memory import LowRankOperator, SketchOperator
from scprograms._core.operators.prepare import (
    Readable,
    Source,
    expect,
    log_readings,
    negatives,
    prepare,
    wants_intercept,
)
from scprograms._core.operators.protocol import MatrixOperator, is_dask
from scprograms._core.progress import progress_bar
from scprograms._core.sums import squared_norm, sum_of_products
from scprograms._core.svd import Compression, compress
from scprograms._core.threads import threads

from ._factorize import SKETCH_TOL, sketch_rank
from ._masked import draw_folds, held_out_errors
from ._nmf_solvers import ROUGH_TOL, alternate_non_negative, non_negative_start
from ._onmf_solvers import deal_from_rotation, error_of_usages
from ._solvers import Loadings, alternate, root_mean_square, update_by_hals
from ._starts import starting_usages
from ._suggest import RankCurves, suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scprograms._core.matrix import Array, FloatArray

METHODS = ("semi_nmf", "nmf", "onmf")
L1 = 0.02
MAX_SWEEPS = 100
TOL = 1e-4
SUBSAMPLE_SHARE = 0.7
SILHOUETTE_RUNS = 5
SILHOUETTE_CELLS = 5000


@dataclass(frozen=True)
class RankFit:
    """A fit of k programs to a compressed matrix."""

    k: int
    H: FloatArray
    """Loadings with rows of unit norm, k x n_vars."""
    error: float
    bound: float
    exact: bool
    compression: Compression
    """The leading directions that the fit was made on."""


def sweep_ranks(
    X: Source,
    ranks: list[int],
    *,
    method: str = "semi_nmf",
    n_folds: int = 5,
    n_subsamples: int = 5,
    max_cells: int = 5000,
    cross_validation: bool = True,
    stability: bool = True,
    random_state: int | np.random.Generator | np.random.RandomState | None = None,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> RankCurves:
    """Return error, held-out error, stability and silhouette for each number of programs, and a suggestion.

    Parameters
    ----------
    X
        n_obs x n_vars: array, CSR, CSC, or a dask array of them in chunks of rows.
    ranks
        Numbers of programs, ascending, each once.
    method
        ``"semi_nmf"``, ``"nmf"`` or ``"onmf"``.
    n_folds, max_cells
        Cross-validation hides as many disjoint sets of entries, of at most so many sampled rows.
    n_subsamples
        Stability refits so many subsamples of 70 % of the rows.
    cross_validation, stability
        Whether to compute them.
    random_state, n_jobs, verbose
        As in ``SemiNMF``.

    Returns
    -------
    The curves, ``suggested`` and its ``reason``; see :func:`scprograms.tl.rank_sweep` for the rule.

    Raises
    ------
    ValueError
        If ``method`` is not known; if X has negative entries, and it is not ``"semi_nmf"``; or if it is ``"onmf"``, and
        there are more programs than rows or than columns with a signal.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.programs.engine import sweep_ranks
    >>> rng = np.random.default_rng(0)
    >>> X = rng.gamma(0.3, size=(300, 3)) @ rng.gamma(0.3, size=(3, 40)) + 0.1 * rng.random((300, 40))
    >>> sweep_ranks(X, [1, 2, 3, 4, 5], random_state=0).suggested
    3
    """
    checks.one_of("method", method, METHODS)
    # A stream of random numbers for each part: leaving one out does not change the others.
    for_fits, for_silhouettes, for_folds, for_subsamples = checks.generator(random_state).spawn(4)
    X = as_operator(X) if is_dask(X) else X
    expect(X, sketch_rank=sketch_rank(max(ranks)), rng=for_fits)
    _check_matrix(X, max(ranks), method)
    intercept = method == "semi_nmf" and wants_intercept(X, fit_intercept=None, center=None, scale=False)
    n_fits = len(ranks) * (1 + n_folds * cross_validation + n_subsamples * stability)
    missing = np.full(len(ranks), np.nan)
    with (
        threads(n_jobs),
        progress_bar(total=n_fits, desc="rank sweep", unit="fit", shown=verbose, delay=1) as bar,
    ):
        fits, silhouettes = [], []
        for fit in fit_ranks(_operator(X, intercept=intercept), ranks, method, intercept=intercept, rng=for_fits):
            fits.append((fit.error, fit.bound, np.nan if fit.exact else fit.error / fit.bound))
            silhouettes.append(silhouette(fit, method, intercept=intercept, rng=for_silhouettes))
            bar.update()
        held_out = matched = None
        if cross_validation:
            held_out = cross_validate(
                X, ranks, method, n_folds, max_cells, intercept=intercept, rng=for_folds, on_fit=bar.update
            )
        if stability:
            matched = refit(X, ranks, method, n_subsamples, intercept=intercept, rng=for_subsamples, on_fit=bar.update)
    log_readings(X, "Rank sweep")
    error, bound, ratio = np.array(fits).T
    curves = RankCurves(
        ranks=list(ranks),
        error=error,
        error_bound=bound,
        error_ratio=ratio,
        cv_error=missing if held_out is None else held_out.mean(axis=0),
        cv_sd=missing if held_out is None else held_out.std(axis=0, ddof=1),
        stability=missing if matched is None else matched.mean(axis=0),
        stability_sd=missing if matched is None else matched.std(axis=0),
        silhouette=np.array(silhouettes),
        n_folds=n_folds,
        suggested=0,
        reason="",
    )
    curves.suggested, curves.reason = suggest(curves)
    return curves


def _check_matrix(X: Readable, most: int, method: str) -> None:
    if method != "semi_nmf" and (n_negative := negatives(X)[0]):
        name = {"nmf": "NMF", "onmf": "orthogonal NMF"}[method]
        msg = f"X has {n_negative} negative values; {name} needs non-negative data: use method='semi_nmf'."
        raise ValueError(msg)
    if method == "onmf":
        n_obs, n_genes = X.shape[0], int(np.count_nonzero(as_operator(X).column_sums()))
        if most > min(n_obs, n_genes):
            msg = (
                f"{most} programs are too many for orthogonal NMF of {n_obs} rows and {n_genes} columns with a signal: "
                f"every program needs a column of its own. Pass at most {min(n_obs, n_genes)}."
            )
            raise ValueError(msg)


def _operator(X: Readable, *, intercept: bool) -> MatrixOperator:
    return prepare(X, np.zeros(X.shape[1]), np.ones(X.shape[1]), intercept=intercept).op


def fit_ranks(
    op: MatrixOperator, ranks: list[int], method: str, *, intercept: bool, rng: np.random.Generator
) -> Iterator[RankFit]:
    """Sketch once for the largest rank, then fit each rank to the leading directions."""
    total, most = squared_norm(op), max(ranks)
    compression = compress(op, sketch_rank(most), n_leading=most, total=total, rng=rng, tol=SKETCH_TOL)
    for k, stream in zip(ranks, rng.spawn(len(ranks)), strict=True):
        leading = _leading(compression, sketch_rank(k))
        H, error = _fit(leading, k, method, total, intercept=intercept, rng=stream)
        if method == "onmf":  # its H leaves the compressed directions: one product gives the error on the matrix itself
            error = error_of_usages(total, op.matmul(H.T))
        tail = total - float(np.square(compression.singular_values[:k]).sum())
        exact = tail <= max(1e-12, 10 * np.finfo(op.dtype).eps) * total
        yield RankFit(k, H, error, float(np.sqrt(max(tail, 0.0))), exact, leading)


def _leading(compression: Compression, rank: int, rows: Array | slice = slice(None)) -> Compression:
    Y = np.ascontiguousarray(compression.Y[rows, :rank])
    V = np.ascontiguousarray(compression.V[:, :rank])
    return Compression(Y, V, compression.singular_values[:rank], compression.n_power_iterations)


def _realigned(compression: Compression) -> Compression:
    """Return the same product ``Y V'`` with columns of Y that are orthogonal again, once rows of it were drawn."""
    energies, rotation = np.linalg.eigh(sum_of_products(compression.Y, compression.Y))
    rotation = np.ascontiguousarray(rotation[:, ::-1]).astype(compression.Y.dtype)
    values = np.sqrt(np.maximum(energies[::-1], 0))
    return Compression(compression.Y @ rotation, compression.V @ rotation, values, compression.n_power_iterations)


def _fit(
    compression: Compression, k: int, method: str, total: float, *, intercept: bool, rng: np.random.Generator
) -> tuple[FloatArray, float]:
    """Return unit loadings, and the error of a fit to the compressed matrix by the default sweeps."""
    errors: list[float] = []
    if method == "onmf":
        Ht = deal_from_rotation(compression, k, squared_norm=total, rng=rng, on_round=errors.append)
        return Ht.T, errors[-1]
    W = starting_usages("varimax", compression, k, intercept=intercept, rng=rng)
    common: dict[str, Any] = {"squared_norm": total, "max_iter": MAX_SWEEPS, "on_sweep": errors.append}
    Y = SketchOperator(compression.Y)
    if method == "nmf":
        H = non_negative_start(compression, W, total)
        low_rank = LowRankOperator(compression.Y, compression.V)
        H, _ = alternate_non_negative(low_rank, W, H, tol=ROUGH_TOL, **common)
        norms = np.linalg.norm(H, axis=1, keepdims=True)
        return H / np.where(norms > 0, norms, 1), errors[-1]
    penalty = 0.0

    def update(op: MatrixOperator, W: FloatArray, loadings: Loadings) -> FloatArray:
        nonlocal penalty
        penalty = penalty or L1 * root_mean_square(W)
        return update_by_hals(op, W, loadings, penalty=penalty)

    fit = alternate(Y, W, update, intercept=intercept, tol=TOL, **common)
    return fit.loadings.H @ compression.V.T, errors[-1]


def silhouette(fit: RankFit, method: str, *, intercept: bool, rng: np.random.Generator) -> float:
    """Return how well the loadings of fits to subsamples fall into k clusters; NaN for a single program.

    All of them share one compression, which flatters them: the curve shows where clusters begin to merge, and nothing
    about how well programs repeat.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    if fit.k < 2:
        return float("nan")
    n_obs = fit.compression.Y.shape[0]
    n_rows = max(1, int(SUBSAMPLE_SHARE * min(n_obs, SILHOUETTE_CELLS)))
    pooled = []
    for stream in rng.spawn(SILHOUETTE_RUNS):
        rows = np.sort(stream.choice(n_obs, n_rows, replace=False))
        part = _leading(fit.compression, fit.compression.Y.shape[1], rows)
        if method == "onmf":
            part = _realigned(part)
        total = float(np.square(part.Y, dtype=np.float64).sum())
        H, _ = _fit(part, fit.k, method, total, intercept=intercept, rng=stream)
        pooled.append(H @ fit.compression.V)
    points = np.concatenate(pooled)
    labels = KMeans(fit.k, n_init=5, random_state=int(rng.integers(2**31))).fit_predict(points)
    return float(silhouette_score(points, labels)) if len(np.unique(labels)) > 1 else float("nan")


def cross_validate(
    X: Readable,
    ranks: list[int],
    method: str,
    n_folds: int,
    max_cells: int,
    *,
    intercept: bool,
    rng: np.random.Generator,
    on_fit: Callable[[], object],
) -> FloatArray:
    """Return the mean squared error on hidden entries, n_folds x n_ranks."""
    if X.shape[0] > max_cells:
        rows = np.sort(rng.choice(X.shape[0], max_cells, replace=False))
        X = X.take(rows) if isinstance(X, DaskOperator) else X[rows]
    elif isinstance(X, DaskOperator):
        X = X.take(np.arange(X.shape[0]))
    errors = np.empty((n_folds, len(ranks)))
    for i, hidden in enumerate(draw_folds(X.shape, n_folds, rng=rng)):
        for j, error in enumerate(held_out_errors(X, ranks, hidden, method=method, intercept=intercept, rng=rng)):
            errors[i, j] = error
            on_fit()
    return errors


def refit(
    X: Readable,
    ranks: list[int],
    method: str,
    n_subsamples: int,
    *,
    intercept: bool,
    rng: np.random.Generator,
    on_fit: Callable[[], object],
) -> FloatArray:
    """Return the mean matched cosine of loadings between fits to subsamples, n_pairs x n_ranks.

    Each subsample is compressed on its own: within one compression everything repeats.
    """
    n_rows = max(1, int(SUBSAMPLE_SHARE * X.shape[0]))
    loadings: list[list[FloatArray]] = []
    for stream in rng.spawn(n_subsamples):
        rows = np.sort(stream.choice(X.shape[0], n_rows, replace=False))
        part = X.rows(rows) if isinstance(X, DaskOperator) else X[rows]
        expect(part, sketch_rank=sketch_rank(max(ranks)), rng=stream)
        op = _operator(part, intercept=intercept)
        loadings.append([])
        for fit in fit_ranks(op, ranks, method, intercept=intercept, rng=stream):
            loadings[-1].append(fit.H)
            on_fit()
    pairs = itertools.combinations(loadings, 2)
    return np.array([[matched_cosine(a, b) for a, b in zip(first, second, strict=True)] for first, second in pairs])


def matched_cosine(A: FloatArray, B: FloatArray) -> float:
    """Return the mean cosine of the rows of A and B, of unit norm, that are matched one to one."""
    cosines = A @ B.T
    return float(cosines[linear_sum_assignment(-cosines)].mean())
