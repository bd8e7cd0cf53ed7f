"""Cells with states, cell types and samples, to learn states from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from scprograms._anndata import slot_names
from scprograms._anndata.labels import Labels
from scprograms._anndata.matrix import read_matrix
from scprograms._core.validate import warn, warn_about_counts

from .store import read_codes

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from scprograms._core.matrix import Matrix


@dataclass(frozen=True)
class LabelledCells:
    """Cells x genes, and the codes of what is known of the cells; -1 where it is not."""

    matrix: Matrix
    cell_types: Labels
    states: Labels
    samples: Labels

    @property
    def n_unlabelled(self) -> int:
        """Cells of a known type and sample that have no state."""
        return int(((self.states.codes < 0) & (self.cell_types.codes >= 0) & (self.samples.codes >= 0)).sum())

    def subset(self, cells: NDArray) -> LabelledCells:
        """Return some of the cells, with all names."""
        parts = (Labels(x.key, x.codes[cells], x.names) for x in (self.cell_types, self.states, self.samples))
        return LabelledCells(self.matrix[cells], *parts)


def read_labelled(
    adata: AnnData, state_key: str, cell_type_key: str, *, sample_key: str | None, layer: str | None
) -> LabelledCells:
    """Return the cells to learn from, after a look at whether states can be learned at all."""
    if state_key == cell_type_key:
        msg = (
            f"state_key and cell_type_key are both {state_key!r}: states are told apart within a cell type. To find "
            "the types themselves, take all cells as of one type: adata.obs['all'] = 'all', and cell_type_key='all'."
        )
        raise ValueError(msg)
    states, types, samples = read_columns(adata, state_key, cell_type_key, sample_key)
    labelled = (states.codes >= 0) & (types.codes >= 0) & (samples.codes >= 0)
    for labels in (states, types, samples):
        if (labels.codes < 0).all():
            msg = f"adata.obs[{labels.key!r}] has no label at all: every value is missing."
            raise ValueError(msg)
    if not labelled.any():
        msg = "No cell has a state, a cell type and a sample: all of them would be left out."
        raise ValueError(msg)
    if slot_names.NON_STATE in states.names:
        msg = (
            f"adata.obs[{state_key!r}] has a state {slot_names.NON_STATE!r}, which is the name of what fits no state. "
            f"Make these labels missing: adata.obs[{state_key!r}].replace({slot_names.NON_STATE!r}, None)."
        )
        raise ValueError(msg)
    if len(present := np.unique(states.codes[labelled])) < 2:
        msg = (
            f"All {int(labelled.sum())} labelled cells are in one state, {states.names[present[0]]!r}: a state is "
            f"learned by what sets it apart from another. Label two states or more in adata.obs[{state_key!r}]."
        )
        raise ValueError(msg)
    matrix = read_matrix(adata, layer=layer)
    warn_about_counts(matrix, "adata.X" if layer is None else f"adata.layers[{layer!r}]")
    if sparse.issparse(matrix):
        matrix = sparse.csr_array(matrix)
        if not matrix.has_canonical_format:
            matrix = matrix.copy()
            matrix.sum_duplicates()
    found = LabelledCells(matrix, types, states, samples)
    if found.n_unlabelled:
        warn(
            f"adata.obs[{state_key!r}] is missing for {found.n_unlabelled} of {adata.n_obs} cells: no state is learned "
            "from them."
        )
    return found


def read_columns(
    adata: AnnData, state_key: str, cell_type_key: str, sample_key: str | None
) -> tuple[Labels, Labels, Labels]:
    """Return states, cell types and samples; without ``sample_key`` all cells are of one sample."""
    states, types = (read_codes(adata, key) for key in (state_key, cell_type_key))
    if sample_key is None:
        return states, types, Labels("sample", np.zeros(adata.n_obs, dtype=np.int64), ["all"])
    return states, types, read_codes(adata, sample_key)
