"""Settings of an analysis, from quality control to the report."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Settings:
    """What an analysis is to do; names are those of :func:`scprograms.pipeline.analyse` and of ``scprograms run``."""

    groupby: str
    """Column of ``.obs`` with the perturbations."""
    control: str | None = None
    """Its level for control cells; without one, each group is compared with all other cells."""
    screen: Path | None = None
    """File or zarr store that the screen was read from; None where it was in memory."""
    layer: str | None = None
    """Layer to use instead of ``.X``."""
    lazy: bool = False
    """Leave the matrix on disk and read it in chunks of cells; the result is written without the matrix."""

    subset_obs: str | None = None
    """Boolean column of ``.obs``: cells to keep."""
    min_counts: float | None = None
    """Fewest counts of a cell."""
    min_genes: int | None = None
    """Fewest detected genes of a cell."""
    max_mito: float | None = None
    """Largest percentage of mitochondrial counts of a cell."""
    min_cells: int = 1
    """Fewest cells in which a gene is detected."""
    mito_prefix: str | None = None
    """Prefix of mitochondrial genes; ``MT-`` or ``mt-`` by default."""
    cell_cycle_genes: Path | None = None
    """File with 43 genes of S phase, then those of G2M, one a line."""
    s_genes: Path | None = None
    """File with the genes of S phase, one a line."""
    g2m_genes: Path | None = None
    """File with the genes of G2M phase, one a line."""
    batch: str | None = None
    """Column of ``.obs``: adds an indicator column for each batch, and tests programs between batches."""
    target_sum: float | None = None
    """Counts per cell after normalisation; 10,000 by default, the median for panels of fewer than 1,000 genes."""
    n_top_genes: int | None = None
    """Highly variable genes to fit on; all genes by default."""
    hvg: bool = False
    """Fit on highly variable genes by mean (0.0125 to 3) and dispersion (from 0.5)."""

    n_programs: int = 30
    """Number of programs."""
    center: Literal["mean", "control"] | None = None
    """``"mean"`` or ``"control"``: subtract each gene's mean, or its mean in control cells."""
    scale: bool = False
    """Divide each gene by its standard deviation."""
    init: Literal["varimax", "svd", "kmeans", "nndsvd", "nmf", "random"] = "varimax"
    """Start of the factorization."""
    l1: float = 0.02
    """Penalty on the usages."""
    random_state: int = 0
    """Seed."""
    n_jobs: int | None = None
    """Threads; all by default."""

    replicate: str | None = None
    """Column of ``.obs`` with guides, clones or donors: the unit of the tests."""
    strata: Sequence[str] = ()
    """Columns of ``.obs`` within which perturbations are compared with the control."""

    gene_sets: Sequence[str] = ()
    """GMT files, or names of Enrichr libraries."""
    n_genes: int | None = None
    """Top genes of a program that are tested; 100 by default, at most a tenth of the fitted genes."""
    min_size: int = 10
    """Smallest gene set."""
    max_size: int = 500
    """Largest gene set."""
    organism: str = "human"
    """Organism of Enrichr libraries."""
    umap: bool = False
    """Draw a UMAP of the usages as well."""

    in_shell: bool = False
    """Whether messages name options as a shell spells them."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from a mapping of names to values; an unknown name is an error that says the nearest one."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                msg = f"{name!r} is no setting of an analysis.{hint} Settings: {', '.join(known)}."
                raise TypeError(msg)
        values = dict(values)
        for name in ("strata", "gene_sets"):
            if isinstance(values.get(name), str):
                values[name] = [values[name]]
        for name in ("cell_cycle_genes", "s_genes", "g2m_genes"):
            if values.get(name) is not None:
                values[name] = Path(values[name])
        return cls(**values)

    def spelled(self, name: str) -> str:
        """Name of a setting as its user writes it."""
        return f"--{name.replace('_', '-')}" if self.in_shell else name

    def given(self, name: str) -> str:
        """A setting with its value, as in ``--control='x'``."""
        value = getattr(self, name)
        return f"{self.spelled(name)}={(str(value) if isinstance(value, Path) else value)!r}"

    def parameters(self) -> dict[str, Any]:
        """All that was set, as plain values."""
        values = asdict(self)
        del values["in_shell"]
        return {name: value for name, value in values.items() if value not in (None, [], (), False)}
