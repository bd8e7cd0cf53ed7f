"""Latent semantic indexing and principal components, cells x latent variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse.linalg import svds
from sklearn.decomposition import PCA

if TYPE_CHECKING:
    from scipy import sparse

    from scprograms._core.matrix import Array


def lsi(weighted: sparse.csr_matrix, n_latent: int, seed: int) -> Array:
    """Left singular vectors times singular values, without centring; the largest first."""
    start = np.random.default_rng(seed).standard_normal(min(weighted.shape))
    u, s, _ = svds(weighted, n_latent, v0=start)
    return np.asarray((u * s)[:, ::-1])


def pca(weighted: sparse.csr_matrix, n_latent: int, seed: int) -> Array:
    """Scores of principal components."""
    return np.asarray(PCA(n_latent, svd_solver="arpack", random_state=seed).fit_transform(weighted))
