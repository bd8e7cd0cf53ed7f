"""An AnnData with a factorization that was put together by hand, for tests of the verbs that come after a fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scprograms._anndata import slot_names, slots


def with_factorization(
    *,
    n_obs: int = 60,
    n_vars: int = 80,
    n_programs: int = 3,
    seed: int = 0,
    used: np.ndarray | None = None,
    gene_names: list[str] | None = None,
) -> AnnData:
    """Cells in three groups; program i is used by group i and carried by its own 10 genes, up and down."""
    rng = np.random.default_rng(seed)
    group = np.arange(n_obs) % 3
    W = rng.gamma(0.5, size=(n_obs, n_programs)) + 3 * (group[:, None] == np.arange(n_programs))
    H = rng.normal(scale=0.05, size=(n_programs, n_vars))
    for i in range(n_programs):
        H[i, 10 * i : 10 * i + 10] += np.linspace(2, 1, 10)
        H[i, n_vars - 10 * (i + 1) : n_vars - 10 * i] -= np.linspace(1, 2, 10)
    X = sparse.csr_matrix(np.maximum(W @ H + 2 + rng.normal(scale=0.2, size=(n_obs, n_vars)), 0), dtype=np.float32)
    names = gene_names or [f"GENE{j}" for j in range(n_vars)]
    obs = pd.DataFrame({"perturbation": pd.Categorical(np.array(["A", "B", "NT"])[group])}).set_axis(
        [f"cell{i}" for i in range(n_obs)]
    )
    adata = AnnData(X=X, obs=obs, var=pd.DataFrame(index=names))
    model = pd.DataFrame(
        {"baseline": 2.0, "center": 0.0, "scale": 1.0, "used": np.ones(n_vars, bool) if used is None else used},
        index=adata.var_names,
    )
    programs = pd.DataFrame(
        {"variance_explained": 0.1, "sparsity": 0.0, "stability": np.nan}, index=slot_names.program_names(n_programs)
    )
    fit = {slot_names.PARAMS: {"n_programs": n_programs}, slot_names.ERROR: 0.1, slot_names.CONVERGED: True}
    result = slots.Factorization(W.astype(np.float32), H.astype(np.float32), model, programs, fit)
    slots.write_factorization(adata, "semi_nmf", result)
    return adata
