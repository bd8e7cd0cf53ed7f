"""Small matrices with known factors, and measures of how well they are found again."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse.linalg import svds


def planted(
    n_obs=400, n_vars=120, k=5, *, signed=False, noise=0.3, seed=0, dtype=np.float64
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return X, W and H: sparse gamma usages, and loadings that are Gaussian or, where not signed, non-negative."""
    rng = np.random.default_rng(seed)
    W = rng.gamma(1.0, size=(n_obs, k)) * (rng.random((n_obs, k)) < 0.3)
    H = rng.normal(size=(k, n_vars)) if signed else rng.gamma(0.5, size=(k, n_vars)) * (rng.random((k, n_vars)) < 0.4)
    X = W @ H + noise * rng.normal(size=(n_obs, n_vars))
    if not signed:
        X = np.maximum(X, 0) * (rng.random(X.shape) < 0.9)
    return X.astype(dtype), W, H


def matched_correlations(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the Pearson correlation of each true usage with the found one that it is matched to, one to one."""
    k = found.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = np.nan_to_num(np.corrcoef(found.T, truth.T, dtype=np.float64)[:k, k:])
    rows, columns = linear_sum_assignment(-correlations)
    result = np.zeros(truth.shape[1])
    result[columns] = correlations[rows, columns]
    return result


def least_error(X, k: int) -> float:
    """Return the error of the best approximation of rank k, from scipy's Lanczos iteration and not from our sketch."""
    X = X.astype(np.float64)
    values = svds(X, k, tol=1e-10, return_singular_vectors=False, random_state=0)
    total = float(X.multiply(X).sum()) if hasattr(X, "multiply") else float(np.square(X).sum())
    return float(np.sqrt(total - np.square(values).sum()))
