"""Figures of the command line that scanpy draws: quality control, and a map of the cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scprograms._anndata.slot_names import Slots
from scprograms._core.validate import warn
from scprograms._draw.figure import LABEL_SIZE, TITLE_SIZE, name_axes, set_title
from scprograms._draw.palette import CYCLE, WITHOUT, group_colors
from scprograms.report.figures import Picture, save_picture

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

    from ._settings import Settings

_AT_MOST_EXACT = 30_000
"""Cells whose neighbours are searched exactly."""
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
        ax.hist(values, bins=60, color=CYCLE[4], rasterized=True)
        middle = float(adata.obs[name].median())
        ax.axvline(middle, color="black", linewidth=1)
        name_axes(ax, _MEASURES[name])
        set_title(ax, f"Median {middle:,.4g}")
    panels[0, 0].set_ylabel("cells", fontsize=LABEL_SIZE)
    caption = (
        f"Distribution over the {adata.n_obs:,} cells that were kept; the line is the median. The unit is the cell; "
        "no test is involved."
    )
    return [save_picture(fig, folder, name="quality_control", title="Quality control", caption=caption)]


def add_umap(adata: AnnData, use_rep: str, *, random_state: int) -> bool:
    """Add a UMAP; say False, with a warning, where another package fails: a map is not worth a whole run."""
    import scanpy as sc

    # The exact search is fast enough for these, and does not depend on a package for approximate ones.
    exact = {"transformer": "sklearn"} if adata.n_obs <= _AT_MOST_EXACT else {}
    try:
        sc.pp.neighbors(adata, use_rep=use_rep, random_state=random_state, **exact)
        sc.tl.umap(adata, random_state=random_state)
    except Exception as error:  # noqa: BLE001
        warn(f"The map of the cells could not be made ({type(error).__name__}: {error}). Everything else is there.")
        return False
    return True


def umap_picture(adata: AnnData, settings: Settings, folder: Path, *, key: str) -> list[Picture]:
    """Draw a UMAP of the usages, coloured by perturbation and by the program that a cell uses most."""
    import scanpy as sc
    from matplotlib import pyplot as plt

    if not add_umap(adata, Slots(key).usages, random_state=settings.random_state):
        return []
    fig, panels = plt.subplots(2, 1, figsize=(6, 10), layout="constrained")
    for ax, color in zip(panels, (settings.groupby, Slots(key).program), strict=True):
        control = settings.control if color == settings.groupby else None
        # Categories without a cell are not drawn, but scanpy asks for a colour of each.
        palette = dict.fromkeys(map(str, adata.obs[color].astype("category").cat.categories), WITHOUT)
        sc.pl.umap(
            adata,
            color=color,
            palette=palette | group_colors(adata, color, control=control),
            ax=ax,
            show=False,
            title="",
            legend_fontsize=6,
        )
        by = settings.groupby if color == settings.groupby else "the program that they use most"
        ax.set_title(f"Cells by {by}", fontsize=TITLE_SIZE, loc="left")
        ax.set_xlabel("UMAP 1", fontsize=LABEL_SIZE)
        ax.set_ylabel("UMAP 2", fontsize=LABEL_SIZE)
    caption = (
        f"Cells by their usages of all programs (UMAP of the 15 nearest neighbours), coloured by {settings.groupby} "
        "and by the program that a cell uses most. Distances between far groups mean nothing. The unit is the cell; "
        "no test is involved."
    )
    return [save_picture(fig, folder, name="umap", title="Map of the cells", caption=caption)]
