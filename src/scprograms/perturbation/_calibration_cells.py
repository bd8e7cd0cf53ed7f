"""The cells that a calibration takes: those of the control, of which all is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scprograms._anndata.labels import check_level, read_labels
from scprograms._anndata.obs import find_replicates, read_covariates, read_replicates, read_strata
from scprograms._core.validate import listing, warn

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ControlCells:
    """The control cells of which everything is known, and the sizes of the real perturbations."""

    usages: NDArray
    strata: NDArray
    has_strata: bool
    covariates: NDArray | None
    guides: NDArray | None
    guide_names: list[str]
    sizes: NDArray
    """Guides of each perturbation, G; or cells of each perturbation in each stratum, G x S."""

    def units(self) -> NDArray:
        """Return the usages of what the splits take as independent: means of guides, or cells."""
        if self.guides is None:
            return self.usages
        _, codes = np.unique(self.guides, return_inverse=True)
        sums = np.zeros((codes.max() + 1, self.usages.shape[1]))
        np.add.at(sums, codes, self.usages)
        return sums / np.bincount(codes)[:, None]


def read_control_cells(
    adata: AnnData, groupby: str, control: str, usages: NDArray, replicate: str | None, strata: Any, covariates: Any
) -> ControlCells:
    """Return the control cells, and how large perturbations are, in guides or in cells per stratum."""
    labels = read_labels(adata, groupby)
    level = check_level(labels, control, name="control")
    among = kept = labels.labelled
    strata_of, design, units = np.zeros(adata.n_obs, dtype=np.int64), None, None
    if strata is not None:
        strata_of = read_strata(adata, strata, among=among)
        kept = kept & (strata_of >= 0)
    if covariates is not None:
        found = read_covariates(adata, covariates, among=among)
        kept, design = kept & found.complete, found.design
    if replicate is not None:
        units = read_replicates(adata, replicate, labels, among=among)
        kept = kept & units.labelled
    elif columns := find_replicates(adata, labels):
        warn(
            f"{listing(columns)} of adata.obs may hold guides or replicates. Cells are split without them, so lambda "
            f"does not show whether guides differ among themselves: pass replicate={columns[0]!r}."
        )
    n_groups, n_strata = len(labels.names), int(strata_of.max(initial=0)) + 1
    if units is None:
        sizes = np.zeros((n_groups, n_strata), dtype=np.int64)
        np.add.at(sizes, (labels.codes[kept], strata_of[kept]), 1)
    else:
        pairs = np.unique(np.stack([labels.codes[kept], units.codes[kept]]), axis=1)
        sizes = np.bincount(pairs[0], minlength=n_groups)
    real = np.delete(sizes, level, axis=0)
    cells = kept & (labels.codes == level)
    return ControlCells(
        usages=np.asarray(usages[cells], dtype=np.float64),
        strata=strata_of[cells],
        has_strata=strata is not None,
        covariates=None if design is None else design[cells],
        guides=None if units is None else units.codes[cells],
        guide_names=[] if units is None else units.names,
        sizes=real[real > 0] if real.ndim == 1 else real[real.sum(axis=1) > 0],
    )
