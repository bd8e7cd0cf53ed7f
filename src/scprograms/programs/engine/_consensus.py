"""Programs that come back: full refits on resampled cells, brought together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.exceptions import ConvergenceWarning

from scprograms._core import checks
from scprograms._core.matrix import Array, FloatArray
from scprograms._core.operators.dask import DaskOperator
from scprograms._core.operators.dispatch import as_operator
from scprograms._core.operators.in_memory import in_memory
from scprograms._core.operators.prepare import Source, check_non_negative, expect, log_readings, wants_intercept
from scprograms._core.operators.protocol import is_dask
from scprograms._core.progress import progress_bar
from scprograms._core.threads import threads

from ._consensus_fits import CONSENSUS_METHODS, refit, unit_loadings_of, unit_rows_of
from ._factorize import sketch_rank

if TYPE_CHECKING:
    from ._base import ProgramEstimator

GROUPINGS = ("align", "kmeans")
MAX_ALIGNMENTS = 10
NEIGHBOR_SHARE = 0.3
KMEANS_STARTS = 10
INITS = ("auto", "varimax", "nmf")
N_PILOTS = 3
PILOT_COSINE = 0.8

Remember = Callable[[str, Callable[[], Array]], Array]


@dataclass(frozen=True)
class Consensus:
    """Programs that repeat over runs on resampled cells, and how well each does."""

    model: ProgramEstimator
    """Fitted to all cells for the loadings of the consensus, with programs ordered by the variance they explain."""
    usages: FloatArray
    """W, n_obs x k."""
    runs: FloatArray
    """Unit loadings of every run, n_runs x k x n_features."""
    matches: Array
    """Which program of a run each consensus program is matched to, n_runs x k."""
    cosines: FloatArray
    """Cosine between the two, n_runs x k."""
    init: str
    """Start of the runs, ``"varimax"`` or ``"nmf"``."""

    @property
    def stability(self) -> FloatArray:
        """Mean cosine of each program with what it is matched to in the runs."""
        return np.asarray(self.cosines.mean(axis=0))


def consensus_programs(
    X: Source,
    n_components: int,
    *,
    method: Literal["semi_nmf", "nmf", "onmf"] = "semi_nmf",
    n_runs: int = 50,
    subsample: float = 0.7,
    init: Literal["auto", "varimax", "nmf"] = "auto",
    grouping: Literal["align", "kmeans"] = "align",
    density_threshold: float | None = None,
    random_state: int | np.random.Generator | np.random.RandomState | None = None,
    n_jobs: int | None = None,
    verbose: bool = False,
    remember: Remember | None = None,
) -> Consensus:
    """Refit on resampled cells, bring the programs of all runs together, and refit their usages on all cells.

    Every run sketches and fits its own cells from its own seed; only its unit loadings are kept. ``"align"`` matches
    each run to a fit of all cells one to one (Hungarian method), averages what is matched, and repeats both with the
    averages until the matches stay. ``"kmeans"`` clusters the loadings of all runs and takes medians [1]_.

    Parameters
    ----------
    X
        n_obs x n_features: array, CSR or CSC, which stays sparse.
    n_components
        Number of programs k.
    method
        ``"semi_nmf"``, ``"nmf"`` or ``"onmf"``, for which each gene stays with the program that it has the largest
        loading in.
    n_runs
        Number of runs, at least 2. The first ones are the same however many follow.
    subsample
        Share of the cells that a run sees, drawn without replacement.
    init
        Start of the runs of semi-NMF. ``"varimax"``, then three sweeps: as in a single fit. ``"nmf"``: the usages of a
        non-negative factorization, and loadings set free once; for data without negative values. ``"auto"`` takes
        ``"varimax"`` where its programs come back, in three runs with a mean matched cosine of at least 0.8, or where
        there are negative values, and else ``"nmf"``: with more programs than the data hold, what varimax adds differs
        from run to run, while parts of what is there do not.
    grouping
        ``"align"`` or ``"kmeans"``.
    density_threshold
        Leave out programs whose mean Euclidean distance to their ``0.3 * n_runs`` nearest ones exceeds this [1]_; from
        0 to 2. None leaves out none. The stability counts all of them in any case.
    random_state
        Seed: an int, a Generator, a RandomState or None.
    n_jobs
        Number of threads; None means all. It never changes the result.
    verbose
        Show a progress bar over the runs.
    remember
        Called with the name of a run, such as ``"varimax_00003"``, and a function that computes its loadings; returns
        them. It may have kept them from an earlier call.

    Returns
    -------
    The programs, fitted to all cells, and the runs behind them.

    Raises
    ------
    ValueError
        If a parameter is out of range, X has no signal or, but for semi-NMF, negative values, or the filter leaves too
        few programs.

    References
    ----------
    .. [1] Kotliar et al. (2019), eLife 8:e43803, https://doi.org/10.7554/eLife.43803

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.programs.engine import consensus_programs
    >>> rng = np.random.default_rng(0)
    >>> X = rng.gamma(0.3, size=(300, 3)) @ rng.normal(size=(3, 20)) + 0.1 * rng.normal(size=(300, 20))
    >>> found = consensus_programs(X, 3, n_runs=5, random_state=0)
    >>> found.usages.shape, found.runs.shape, bool((found.stability > 0.9).all())
    ((300, 3), (5, 3, 20), True)
    """
    k = checks.positive_int("n_components", n_components)
    n_runs = checks.positive_int("n_runs", n_runs, at_least=2)
    checks.one_of("method", method, CONSENSUS_METHODS)
    checks.one_of("grouping", grouping, GROUPINGS)
    checks.one_of("init", init, INITS)
    if not 0 < checks.non_negative("subsample", subsample) <= 1:
        msg = f"subsample={subsample} is not possible; pass a share of the cells above 0 and up to 1."
        raise ValueError(msg)
    if density_threshold is not None:
        checks.non_negative("density_threshold", density_threshold)
    rng = checks.generator(random_state)
    entropy = rng.integers(2**32, size=4, dtype=np.uint64).tolist()
    first, *streams = np.random.SeedSequence(entropy).spawn(n_runs + 1)
    X = as_operator(X) if is_dask(X) else X
    expect(X, sketch_rank=sketch_rank(k), rng=np.random.default_rng(first))
    if method != "semi_nmf" or init == "nmf":
        check_non_negative(X)
    if method != "semi_nmf":
        init = "varimax"
    intercept = method == "semi_nmf" and wants_intercept(X, fit_intercept=None, center=None, scale=False)
    op = X if isinstance(X, DaskOperator) else in_memory(X)
    fit = partial(unit_loadings_of, k=k, method=method, intercept=intercept)

    def resampled(i: int, init: str) -> FloatArray:
        rng = np.random.default_rng(streams[i])
        rows = np.sort(rng.choice(op.shape[0], max(1, round(subsample * op.shape[0])), replace=False))
        try:
            return fit(op.rows(rows), init=init, rng=rng)
        except Exception as error:
            error.add_note(f"In run {i} of {n_runs} with {k} programs and random_state={random_state!r}.")
            raise

    def run(i: int, init: str) -> FloatArray:
        return resampled(i, init) if remember is None else remember(f"{init}_{i:05d}", lambda: resampled(i, init))

    with threads(n_jobs):
        pilots: list[FloatArray] = []
        if init == "auto":
            if not intercept:
                pilots = [run(i, "varimax") for i in range(min(N_PILOTS, n_runs))]
            come_back = intercept or _mean_cosine(pilots) >= PILOT_COSINE
            init, pilots = ("varimax", pilots) if come_back else ("nmf", [])
        runs = np.empty((n_runs, k, op.shape[1]), dtype=op.dtype)
        for i in progress_bar(range(n_runs), desc="consensus", unit="run", shown=verbose):
            runs[i] = pilots[i] if i < len(pilots) else run(i, init)
        kept = None if density_threshold is None else _dense_enough(runs, density_threshold)
        if grouping == "align":
            H = _align(runs, fit(op, init=init, rng=np.random.default_rng(first)), kept)
        else:
            H = _cluster(runs, kept, seed=int(first.generate_state(1)[0] % 2**31))
    log_readings(X, "Runs of the consensus")
    model, W = refit(X, H, method, random_state=int(first.generate_state(1)[0] % 2**31), n_jobs=n_jobs)
    matches, cosines = match_runs(model.components_, runs)
    return Consensus(model, W, runs, matches, cosines, init)


def pooled_similarity(consensus: Consensus, *, at_most: int) -> tuple[Array, Array, Array]:
    """Return the cosines among programs of some runs, and of each its run and the consensus program it belongs to.

    Runs are taken at equal distances, so many that their programs are ``at_most`` (but two runs at least). Programs of
    one consensus program follow each other.

    Parameters
    ----------
    consensus
        What :func:`consensus_programs` returned.
    at_most
        How many programs to take, m.

    Returns
    -------
    Cosines, m x m, and for each of the m programs its run and the index of its consensus program.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.programs.engine import consensus_programs, pooled_similarity
    >>> X = np.random.default_rng(0).gamma(1.0, size=(100, 20))
    >>> consensus = consensus_programs(X, 3, n_runs=5, random_state=0)
    >>> cosines, runs, programs = pooled_similarity(consensus, at_most=9)
    >>> cosines.shape, programs.tolist()
    ((9, 9), [0, 0, 0, 1, 1, 1, 2, 2, 2])
    """
    n_runs, k, n_vars = consensus.runs.shape
    shown = np.unique(np.linspace(0, n_runs - 1, min(n_runs, max(2, at_most // k))).round().astype(int))
    pooled = np.stack([consensus.runs[i][consensus.matches[i]] for i in shown], axis=1).reshape(-1, n_vars)
    programs, runs = np.repeat(np.arange(k), len(shown)), np.tile(shown, k)
    return np.clip(pooled @ pooled.T, -1, 1), runs, programs


def match_runs(H: FloatArray, runs: FloatArray) -> tuple[Array, Array]:
    """Match unit programs one to one with those of every run; return the matches and their cosines, n_runs x k."""
    matches, cosines = np.empty(runs.shape[:2], dtype=np.int64), np.empty(runs.shape[:2])
    for i, run in enumerate(runs):
        cosine = H.astype(np.float64) @ run.T.astype(np.float64)
        _, matches[i] = linear_sum_assignment(-cosine)
        cosines[i] = np.take_along_axis(cosine, matches[i][:, None], axis=1)[:, 0]
    return matches, cosines


def _mean_cosine(runs: Sequence[FloatArray]) -> float:
    """Return the mean matched cosine between the programs of different runs."""
    pairs = combinations(runs, 2)
    return float(np.mean([match_runs(one, other[None])[1].mean() for one, other in pairs]))


def _dense_enough(runs: FloatArray, threshold: float) -> Array:
    """Return which programs of the runs are close to others, n_runs x k."""
    n_runs, k, n_vars = runs.shape
    pooled = runs.reshape(-1, n_vars)
    n_neighbors = min(max(1, int(NEIGHBOR_SHARE * n_runs)), n_runs * k - 1)
    density = np.empty(n_runs * k)
    for i, run in enumerate(runs):  # a run at a time: all distances at once would grow with the square of the runs
        distance = np.sqrt(np.maximum(2 - 2 * (run @ pooled.T).astype(np.float64), 0))
        distance[np.arange(k), i * k + np.arange(k)] = 0
        density[i * k : (i + 1) * k] = np.sort(distance, axis=1)[:, 1 : n_neighbors + 1].mean(axis=1)
    kept = density <= threshold
    if kept.sum() < k:
        msg = (
            f"density_threshold={threshold} leaves {int(kept.sum())} of {kept.size} programs of the runs, fewer than "
            f"{k}: their local density is {np.median(density):.2f} in the median and {density.max():.2f} at most. "
            "Raise it."
        )
        raise ValueError(msg)
    return kept.reshape(n_runs, k)


def _align(runs: FloatArray, start: FloatArray, kept: Array | None) -> FloatArray:
    """Return the mean of what is matched to each program, from a start and until the matches stay."""
    H, previous = unit_rows_of(start), None
    for _ in range(MAX_ALIGNMENTS):
        total, matched = np.zeros(H.shape), []
        for i, run in enumerate(runs):
            rows = run if kept is None else run[kept[i]]
            programs, columns = linear_sum_assignment(-(H @ rows.T.astype(np.float64)))
            total[programs] += rows[columns]
            matched.append((programs.tolist(), columns.tolist()))
        H = np.where(total.any(axis=1, keepdims=True), unit_rows_of(total), H)
        if matched == previous:
            break
        previous = matched
    return H


def _cluster(runs: FloatArray, kept: Array | None, *, seed: int) -> FloatArray:
    """Return the median of each cluster of programs."""
    from sklearn.cluster import KMeans

    pooled = runs.reshape(-1, runs.shape[2]) if kept is None else runs[kept]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct programs than clusters
        labels = KMeans(runs.shape[1], n_init=KMEANS_STARTS, random_state=seed).fit_predict(pooled)
    H = np.zeros(runs.shape[1:])
    for j in np.unique(labels):
        cluster = pooled[labels == j]
        middle = np.median(cluster, axis=0)
        H[j] = middle if middle.any() else cluster.mean(axis=0)
    return unit_rows_of(H)
