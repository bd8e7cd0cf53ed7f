"""Which features belong to one module, to several, or to all: thresholds on the feature score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import sparse

from ._feature_scores import Scale, feature_scores, module_scales

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

Rule = Literal["sd", "mad", "raw_mad", "permutation"]
RULES = ("sd", "mad", "raw_mad", "permutation")
SPECIFIC, SHARED, NON_SPECIFIC, UNASSIGNED, INACTIVE = range(5)
KINDS = ("specific", "shared", "non-specific", "unassigned", "inactive")
NORMAL_MAD = 1.4826
"""Median absolute deviation to standard deviation, for normal data; R's ``mad`` has it built in, nimfa has not."""
_ROWS_PER_CHUNK = 2**15
_MAX_PERMUTED = 50_000
"""Features per permutation: thresholds are quantiles, which a sample of as many tells well enough."""


@dataclass(frozen=True)
class ModuleAssignment:
    """The module of each feature."""

    score: Array
    """Feature score, from 0 to 1, n_features."""
    module: Array
    """Index of the module with the largest share; -1 for features without loadings."""
    share: Array
    """Share of the largest loading in the sum of the row, n_features."""
    kind: Array
    """Index into (specific, shared, non-specific, unassigned, inactive)."""
    lower: float
    """Scores below are non-specific; NaN where the rule has no such threshold."""
    upper: float
    """Scores above are specific; NaN where none is."""
    least_loading: float
    """What the largest loading of a specific feature must exceed; NaN where the rule has none."""


def assign_features(
    W: Array,
    *,
    rule: Rule = "sd",
    scale: Scale = "l2",
    used: Array | None = None,
    fdr: float = 0.05,
    n_permutations: int = 10,
    random_state: int | np.random.Generator | None = 0,
) -> ModuleAssignment:
    """Assign features to modules by their feature score.

    Parameters
    ----------
    W
        Loadings, n_features x k, not negative, k at least 2.
    rule
        ``"sd"``: specific above median + SD, non-specific below median - SD, shared between [1]_. ``"mad"``: specific
        from median + 3 x 1.4826 MAD, if the largest loading is at least the median of all loadings, as R's NMF package
        selects features [2]_ [3]_. ``"raw_mad"``: specific above median + 3 MAD, if the largest loading exceeds the
        median of all loadings, as in nimfa. With both, what is not specific is unassigned. ``"permutation"``: specific
        or non-specific where a score is so high or low that, by the scores of features whose loadings were permuted in
        each module apart, the false discovery rate is at most ``fdr``; shared between.
    scale
        What the columns are divided by: see :func:`module_scales`.
    used
        Mask of the features that thresholds come from; all by default. Features without loadings never count.
    fdr
        False discovery rate of each end, for ``"permutation"``.
    n_permutations
        Number of permutations.
    random_state
        Seed of the permutations.

    Returns
    -------
    Scores, modules, kinds and thresholds.

    Raises
    ------
    ValueError
        If ``rule`` or ``scale`` is not known, ``W`` is not as above, or no feature has a loading.

    References
    ----------
    .. [1] Li et al. (2023), Science 382:eadf7044, https://doi.org/10.1126/science.adf7044
    .. [2] Kim & Park (2007), Bioinformatics 23:1495, https://doi.org/10.1093/bioinformatics/btm134
    .. [3] Gaujoux & Seoighe (2010), BMC Bioinformatics 11:367, https://doi.org/10.1186/1471-2105-11-367

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.modules.engine import assign_features
    >>> W = np.array([[9.0, 0.0], [0.0, 9.0], [6.0, 2.0], [2.0, 6.0], [6.0, 2.5], [5.0, 5.0]])
    >>> assign_features(W, scale="raw").kind
    array([0, 0, 1, 1, 1, 1])
    """
    if rule not in RULES:
        msg = f"rule={rule!r} is not known. Choose one of {', '.join(map(repr, RULES))}."
        raise ValueError(msg)
    found = feature_scores(W, scale=scale)
    active = found.module >= 0
    counted = active if used is None else active & used
    if not counted.any():
        msg = "No feature has a loading above zero: there is nothing to assign."
        raise ValueError(msg)
    known = found.score[counted]
    middle, lower, least = float(np.median(known)), np.nan, np.nan
    selected = active.copy()
    if rule == "sd":
        spread = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
        lower, upper = middle - spread, middle + spread
        selected &= found.score > upper
    elif rule == "permutation":
        lower, upper = _permutation_thresholds(
            W[counted] / module_scales(W, scale), known, fdr, n_permutations, random_state
        )
        selected &= found.score >= upper
    else:
        mad = float(np.median(np.abs(known - middle)))
        upper = middle + 3 * mad * (NORMAL_MAD if rule == "mad" else 1)
        V = W / module_scales(W, scale)
        least, largest = float(np.median(V if used is None else V[used])), V.max(axis=1)
        if rule == "mad":
            selected &= (found.score >= upper) & (largest >= least)
        else:
            selected &= (found.score > upper) & (largest > least)
    kind = np.full(len(W), SHARED if rule in ("sd", "permutation") else UNASSIGNED)
    with np.errstate(invalid="ignore"):
        kind[found.score <= lower if rule == "permutation" else found.score < lower] = NON_SPECIFIC
    kind[selected] = SPECIFIC
    kind[~active] = INACTIVE
    return ModuleAssignment(
        score=found.score,
        module=found.module,
        share=found.share,
        kind=kind,
        lower=float(lower),
        upper=float(upper),
        least_loading=float(least),
    )


def shared_modules(W: Array, features: Array, *, scale: Scale = "l2", at: float = 0.5) -> sparse.csr_matrix:
    """Return the modules that features are shared by: those with a large part of the largest share.

    Parameters
    ----------
    W
        Loadings, n_features x k, not negative.
    features
        Mask of the features that are meant; the rows of the others stay empty.
    scale
        What the columns are divided by: see :func:`module_scales`.
    at
        A module counts where its share is at least this part of the feature's largest share, above 0 and up to 1.

    Returns
    -------
    n_features x k, float32: the shares of these modules.

    Raises
    ------
    ValueError
        If ``at`` is not within 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.modules.engine import shared_modules
    >>> shared_modules(np.array([[4.0, 4.0, 0.0], [1.0, 0.0, 0.0]]), np.array([True, False]), scale="raw").toarray()
    array([[0.5, 0.5, 0. ],
           [0. , 0. , 0. ]], dtype=float32)
    """
    if not 0 < at <= 1:
        msg = f"at={at}: pass a part of the largest share, above 0 and up to 1."
        raise ValueError(msg)
    scales = module_scales(W, scale)
    rows = np.flatnonzero(features)
    data, columns, counts = [], [], np.zeros(len(W), dtype=np.int64)
    for start in range(0, len(rows), _ROWS_PER_CHUNK):
        some = rows[start : start + _ROWS_PER_CHUNK]
        V = W[some] / scales
        kept = (at * V.max(axis=1, keepdims=True) <= V) & (V > 0)
        p = V / np.maximum(V.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        data.append(p[kept].astype(np.float32))
        columns.append(np.nonzero(kept)[1].astype(np.int32))
        counts[some] = kept.sum(axis=1)
    values = np.concatenate(data) if data else np.empty(0, np.float32)
    indices = np.concatenate(columns) if columns else np.empty(0, np.int32)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return sparse.csr_matrix((values, indices, indptr), shape=W.shape)


def _permutation_thresholds(
    V: Array, score: Array, fdr: float, n: int, random_state: int | np.random.Generator | None
) -> tuple[float, float]:
    """Return (lower, upper): the outermost scores up to which either end holds the false discovery rate."""
    rng = np.random.default_rng(random_state)
    null = []
    for _ in range(n):
        some = V if len(V) <= _MAX_PERMUTED else V[rng.choice(len(V), _MAX_PERMUTED, replace=False)]
        permuted = feature_scores(rng.permuted(some, axis=0), scale="raw").score
        null.append(permuted[~np.isnan(permuted)])  # a feature may draw zeros in every module
    pooled = np.concatenate(null)
    upper = _threshold(score, pooled, fdr)
    lower = _threshold(-score, -pooled, fdr)
    return -lower, upper


def _threshold(score: Array, null: Array, fdr: float) -> float:
    """Return the least score t at which the expected share of null scores among those from t on is at most ``fdr``."""
    if len(null) == 0:
        return float("nan")
    order = np.sort(score)[::-1]
    null = np.sort(null)
    # One is added, so that a rate of 0 is never claimed from finitely many permutations.
    expected = (1 + len(null) - np.searchsorted(null, order, side="left")) / (1 + len(null)) * len(score)
    found = len(score) - np.searchsorted(order[::-1], order, side="left")
    good = np.flatnonzero(expected / found <= fdr)
    return float(order[good[-1]]) if len(good) else float("nan")
