"""Figures of the command line that scanpy draws: quality control, and a map of the cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scprograms._keys import Slots
from scprograms.report._figures import Picture, save_picture

if TYPE_CHECKING:
    from argparse import Namespace

    from anndata import AnnData

_MEASURES = {
    "total_counts": "counts per cell",
    "n_genes_by_counts": "genes per cell",
    "pct_counts_mt": "mitochondrial counts (%)",
    "S_score": "score of S phase",
    "G2M_score": "score of G2M phase",
}


def qc_picture(adata: AnnData, folder: Path) -> list[Picture]:
    """Draw the distributions of what quality control measured; nothing where it measured nothing."""
    from matplotlib import pyplot as plt

    shown = [name for name in _MEASURES if name in adata.obs and adata.obs[name].nunique() > 1]
    if not shown:
        return []
    fig, panels = plt.subplots(1, len(shown), figsize=(2.9 * len(shown), 2.4), layout="constrained", squeeze=False)
    for ax, name in zip(panels[0], shown, strict=True):
        values = adata.obs[name].to_numpy(dtype=float)
        ax.hist(values, bins=60, color="#56B4E9", rasterized=True)
        middle = float(adata.obs[name].median())
        ax.axvline(middle, color="black", linewidth=1)
        ax.set_xlabel(_MEASURES[name], fontsize=8)
        ax.set_title(f"median {middle:,.4g}", fontsize=8)
        ax.tick_params(labelsize=7)
        ax.spines[["top", "right"]].set_visible(False)
    panels[0, 0].set_ylabel("cells", fontsize=8)
    caption = (
        f"Distribution over the {adata.n_obs:,} cells that were kept; the line is the median. No test is involved."
    )
    return [save_picture(fig, folder, name="quality_control", title="Quality control", caption=caption)]


def umap_picture(adata: AnnData, options: Namespace, folder: Path, *, key: str) -> list[Picture]:
    """Draw a UMAP of the usages, coloured by perturbation and by the program that a cell uses most."""
    import scanpy as sc
    from matplotlib import pyplot as plt

    sc.pp.neighbors(adata, use_rep=Slots(key).usages, random_state=options.random_state)
    sc.tl.umap(adata, random_state=options.random_state)
    fig, panels = plt.subplots(2, 1, figsize=(6, 10), layout="constrained")
    for ax, color in zip(panels, (options.groupby, Slots(key).program), strict=True):
        sc.pl.umap(adata, color=color, ax=ax, show=False, legend_fontsize=6)
    caption = (
        f"Cells by their usages of all programs (UMAP of the 15 nearest neighbours), coloured by {options.groupby} and "
        "by the program that a cell uses most. Distances between far groups mean nothing. No test is involved."
    )
    return [save_picture(fig, folder, name="umap", title="Map of the cells", caption=caption)]
