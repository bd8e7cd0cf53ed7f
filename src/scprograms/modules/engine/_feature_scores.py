"""How specific a feature is to one module, and how concentrated a sample is on one: by the entropy of shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

Scale = Literal["l2", "max", "raw"]
SCALES = ("l2", "max", "raw")

_ROWS_PER_CHUNK = 2**15


@dataclass(frozen=True)
class FeatureScores:
    """What is known of each feature from its row of loadings."""

    score: Array
    """1 where all is in one module, 0 where it is equal in all, NaN where it is in none."""
    module: Array
    """Index of the module with the largest share, -1 where there is none."""
    share: Array
    """That largest share, NaN where there is none."""


@dataclass(frozen=True)
class Concentration:
    """What is known of each sample from its row of usages."""

    module: Array
    """Index of the module with the largest share; -1 where the sample uses none."""
    contribution: Array
    """That share; NaN where the sample uses none."""
    sparseness: Array
    """Hoyer's measure for non-negative rows, 1 in one module and 0 if equal in all."""
    entropy: Array
    """Of the shares, in bits."""


def module_scales(W: Array, scale: Scale = "l2") -> Array:
    """Return what each column of ``W`` is divided by before modules are compared.

    Parameters
    ----------
    W
        Loadings, n_features x k.
    scale
        ``"l2"``: its Euclidean norm, ``"max"``: its largest entry, ``"raw"``: 1.

    Returns
    -------
    k numbers above 0; a column of zeros gets 1.

    Raises
    ------
    ValueError
        If ``scale`` is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.modules.engine import module_scales
    >>> module_scales(np.array([[3.0, 1.0], [4.0, 0.0]]))
    array([5., 1.])
    """
    if scale not in SCALES:
        msg = f"scale={scale!r} is not known. Choose one of {', '.join(map(repr, SCALES))}."
        raise ValueError(msg)
    if scale == "raw" or len(W) == 0:
        return np.ones(W.shape[1])
    size = np.sqrt(np.einsum("ij,ij->j", W, W, dtype=np.float64)) if scale == "l2" else W.max(axis=0)
    return np.where(size > 0, size, 1).astype(np.float64)


def feature_scores(W: Array, *, scale: Scale = "l2") -> FeatureScores:
    r"""Score each feature by how specific it is to one module.

    With :math:`p_{iq} = w_{iq} / \sum_r w_{ir}` the score is :math:`1 + \frac{1}{\log_2 k} \sum_q p_{iq} \log_2 p_{iq}`
    [1]_, where 0 log 0 = 0. It depends on the scale of the columns of ``W``, which a factorization leaves open:
    ``scale`` fixes it. A feature without loadings has no score.

    Parameters
    ----------
    W
        Loadings, n_features x k, not negative, k at least 2.
    scale
        What the columns are divided by: see :func:`module_scales`.

    Returns
    -------
    Scores, modules and shares, in float64, whatever the dtype of ``W``.

    Raises
    ------
    ValueError
        If ``W`` is no matrix of at least 2 columns, or has negative, NaN or infinite values.

    References
    ----------
    .. [1] Kim & Park (2007), Bioinformatics 23:1495, https://doi.org/10.1093/bioinformatics/btm134

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.modules.engine import feature_scores
    >>> found = feature_scores(np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 0.0]]), scale="raw")
    >>> found.score, found.module
    (array([ 1.,  0., nan]), array([ 0,  0, -1]))
    """
    _check(W, "loadings", "features")
    k = W.shape[1]
    scales = module_scales(W, scale)
    score, share = np.empty(len(W)), np.empty(len(W))
    module = np.empty(len(W), dtype=np.int64)
    for start in range(0, len(W), _ROWS_PER_CHUNK):
        rows = slice(start, start + _ROWS_PER_CHUNK)
        p, active = _shares(W[rows], scales)
        score[rows] = np.where(active, np.clip(1 - _entropy(p) / np.log2(k), 0, 1), np.nan)
        module[rows] = np.where(active, p.argmax(axis=1), -1)
        share[rows] = np.where(active, p.max(axis=1), np.nan)
    return FeatureScores(score=score, module=module, share=share)


def concentration(H: Array) -> Concentration:
    r"""Say which module each sample uses most, and how much it depends on that one.

    Rows are scaled to sum to 1. Sparseness is :math:`(\lVert h \rVert_2 - 1/\sqrt k) / (1 - 1/\sqrt k)` of such a row
    [1]_, and entropy :math:`-\sum_q h_q \log_2 h_q`.

    Parameters
    ----------
    H
        Usages, n_samples x k, not negative, k at least 2. Columns are to be in one unit: multiply them by what the
        columns of the loadings were divided by.

    Returns
    -------
    Module, contribution, sparseness and entropy of each sample.

    Raises
    ------
    ValueError
        If ``H`` is no matrix of at least 2 columns, or has negative, NaN or infinite values.

    References
    ----------
    .. [1] Li et al. (2023), Science 382:eadf7044, https://doi.org/10.1126/science.adf7044

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.modules.engine import concentration
    >>> found = concentration(np.array([[5.0, 0.0], [1.0, 1.0]]))
    >>> found.contribution, found.entropy
    (array([1. , 0.5]), array([0., 1.]))
    """
    _check(H, "usages", "samples")
    p, active = _shares(H, np.ones(H.shape[1]))
    least = 1 / np.sqrt(H.shape[1])
    sparseness = (np.sqrt(np.einsum("ij,ij->i", p, p)) - least) / (1 - least)
    return Concentration(
        module=np.where(active, p.argmax(axis=1), -1),
        contribution=np.where(active, p.max(axis=1), np.nan),
        sparseness=np.where(active, np.clip(sparseness, 0, 1), np.nan),
        entropy=np.where(active, _entropy(p), np.nan),
    )


def _check(values: Array, what: str, rows: str) -> None:
    if values.ndim != 2 or values.shape[1] < 2:
        n = values.shape[1] if values.ndim == 2 else values.ndim
        msg = f"{what} are {n} {'module' if values.ndim == 2 else 'dimensional'}: shares need at least 2 modules."
        raise ValueError(msg)
    low, high = values.min(initial=0), values.max(initial=0)
    if not (np.isfinite(low) and np.isfinite(high)):
        msg = f"{what} have NaN or infinite values: all {rows} need finite ones."
        raise ValueError(msg)
    if low < 0:
        msg = f"{what} have {int((values < 0).sum())} negative values, the lowest is {low:g}: shares need none."
        raise ValueError(msg)


def _shares(values: Array, scales: Array) -> tuple[Array, Array]:
    """Return rows that sum to 1, and which of them did not sum to 0."""
    p = values / scales  # float64, as scales are
    top = p.max(axis=1)
    active = top > 0
    p /= np.where(active, top, 1)[:, None]  # first: a sum of subnormal numbers would lose all digits
    total = p.sum(axis=1)
    p /= np.where(active, total, 1)[:, None]
    return p, active


def _entropy(p: Array) -> Array:
    """Return the entropy of each row, in bits."""
    logs = np.log2(np.maximum(p, np.finfo(np.float64).tiny))  # 0 log 0 = 0: the zero is the other factor
    return np.asarray(0.0 - np.einsum("ij,ij->i", p, logs))
