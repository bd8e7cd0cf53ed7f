"""A small factorized screen with known factors and tables, for the tests of readers and pictures."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from scprograms._anndata import slot_names, slots

CONTROL = "non-targeting"


def factorized_screen(
    *, n_cells: int = 240, n_genes: int = 60, n_programs: int = 4, n_groups: int = 6, seed: int = 0
) -> ad.AnnData:
    """Cells in shuffled order; group 0 is no control: the control's category comes third."""
    rng = np.random.default_rng(seed)
    names = [f"target_{i}" for i in range(n_groups - 1)]
    names.insert(2, CONTROL)
    codes = np.concatenate([np.arange(n_groups), rng.integers(0, n_groups, n_cells - n_groups)])
    rng.shuffle(codes)
    usages = (rng.gamma(2.0, size=(n_cells, n_programs)) * (1 + (codes[:, None] % 3))).astype(np.float32)
    loadings = rng.normal(size=(n_programs, n_genes))
    loadings = (loadings / np.linalg.norm(loadings, axis=1, keepdims=True)).astype(np.float32)
    adata = ad.AnnData(
        sparse.random(n_cells, n_genes, density=0.2, format="csr", dtype=np.float32, rng=seed),
        obs=pd.DataFrame(
            {"perturbation": pd.Categorical.from_codes(codes, names)}, index=[f"cell_{i}" for i in range(n_cells)]
        ),
        var=pd.DataFrame(index=[f"gene_{i}" for i in range(n_genes)]),
    )
    index = slot_names.program_names(n_programs)
    steps = np.arange(1, 9)
    result = slots.Factorization(
        usages=usages,
        loadings=loadings,
        model=pd.DataFrame({"baseline": 0.0, "center": 0.0, "scale": 1.0, "used": True}, index=adata.var_names),
        programs=pd.DataFrame(
            {"variance_explained": np.linspace(0.3, 0.1, n_programs), "sparsity": 0.2, "stability": np.nan}, index=index
        ),
        fit={
            "params": {"n_programs": n_programs},
            "history": pd.DataFrame(
                {
                    "iteration": steps,
                    "stage": ["compressed"] * 6 + ["full"] * 2,
                    "loss": 100 / steps,
                    "error_ratio": 1 + 0.1 / steps,
                }
            ),
            "error": 12.5,
        },
    )
    slots.write_factorization(adata, "semi_nmf", result)
    return adata


def add_anova(adata: ad.AnnData, *, key: str = "semi_nmf") -> pd.DataFrame:
    """Write a test table in which the last program differs most, one q-value underflowed and one is missing."""
    index = adata.uns[key]["programs"].index
    log10_p = -np.arange(1.0, len(index) + 1)
    q = 10**log10_p * 2
    log10_p[-1], q[-1] = -400.0, 0.0
    log10_p[0], q[0] = np.nan, np.nan
    table = pd.DataFrame({"F": 2.0, "p": 10**log10_p, "log10_p": log10_p, "q": q}, index=index)
    slots.write_table(adata, key, "anova", table, groupby="perturbation")
    return table


def add_enrichment(adata: ad.AnnData, *, key: str = "semi_nmf", prerank: bool = False) -> pd.DataFrame:
    """Write an enrichment table: three terms per program and direction, out of order."""
    rows = []
    long = "positive regulation of transcription from RNA polymerase II promoter in response to stress (GO:0036003)"
    for i, program in enumerate(adata.uns[key]["programs"].index):
        for direction in ("up", "down"):
            for j, term in enumerate((f"term {i} {direction}", long, "HALLMARK_INTERFERON_GAMMA_RESPONSE")):
                p = 10.0 ** -(1 + i + 2 * j + 0.3 * (direction == "up"))
                library = "hallmark" if "HALLMARK" in term else "go"
                score = {"nes": (-1.0) ** (direction == "down") * (1.5 + 0.2 * j)} if prerank else {}
                score = score or {"odds_ratio": 3.0, "combined_score": 5.0 + 10 * j + i}
                rows.append(
                    {"program": program, "direction": direction, "library": library, "term": term}
                    | {"p": p, "q": min(1.0, 3 * p), "genes": "gene_1;gene_2"}
                    | score
                )
    table = pd.DataFrame(rows).sample(frac=1, random_state=1).reset_index(drop=True)
    slots.write_table(adata, key, "enrichment", table)
    return table


def add_effects(adata: ad.AnnData, *, key: str = "semi_nmf", seed: int = 0) -> pd.DataFrame:
    """Write a table of effects in which one is strong, its p underflowed, and one was not tested."""
    rng = np.random.default_rng(seed)
    names = [name for name in adata.obs["perturbation"].cat.categories if name != CONTROL]
    programs = adata.uns[key]["programs"].index
    log10_p = -rng.exponential(1.5, size=len(names) * len(programs))
    log10_p[1], log10_p[-1] = -400.0, np.nan
    effect = rng.choice([-0.4, 0.4], size=len(log10_p)) * -log10_p / 3
    table = pd.DataFrame(
        {
            "perturbation": np.repeat(names, len(programs)),
            "program": np.tile(programs, len(names)),
            "effect": effect,
            "p": 10**log10_p,
            "log10_p": log10_p,
            "q": np.minimum(1, 2 * 10**log10_p),
        }
    )
    slots.write_table(adata, key, "effects", table, groupby="perturbation")
    return table
