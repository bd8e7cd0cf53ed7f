"""``tl.recover_states``: find the states of a recovery model in other cells."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from scprograms._anndata import slot_names
from scprograms._anndata.categories import categorical
from scprograms._anndata.matrix import check_adata, read_gene_names, read_matrix
from scprograms._core.threads import threads
from scprograms._core.validate import case_hint, check_choice, check_name, check_real, listing, warn, warn_about_counts

from ._recovery_model import RecoveryModel
from .engine import LOSSES, REASONS, RECOVERED, REFERENCES, Recovered, recover
from .store import Recovery, read_codes, write_recovery

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from scprograms._anndata.labels import Labels

logger = logging.getLogger("scprograms")

MOST_MISSING = 0.5
_COLUMNS = ("n_cells", "n_recovered", "n_non_state", "n_too_few", "n_genes", "n_genes_missing", "identity_checked")


def recover_states(
    adata: AnnData,
    model: RecoveryModel,
    cell_type_key: str,
    *,
    sample_key: str | None = None,
    layer: str | None = None,
    min_score: float | None = None,
    loss: Literal["kl", "frobenius"] = "kl",
    reference: Literal["sample", "training"] = "sample",
    key_added: str = "recovery",
    n_jobs: int | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Find the states of a recovery model in other cells: of another sample, study, or technology.

    Genes are z-scored within samples, as in training, and split into positive and negative parts; the usages of the
    state signatures are solved cell by cell, to the end of a convex problem. A cell is in the state with the largest
    share if its score is high enough, else it is "non-state". Only the scaling looks at other cells, those of the same
    type and sample; so the result does not depend on how cells are ordered or cut into chunks.

    A sample that has more cells of one state than of others would have that state as its centre. So the centre is
    corrected by the states that are found, a few times over. This needs some cells of another state: a sample of one
    state alone looks like one of no state, most of its cells will be "non-state", and a warning says so.

    A cell type that had one state in training has no signature: its cells are compared with the mean profile of that
    state, and not scaled.

    Parameters
    ----------
    adata
        Cells x genes, log-normalised as the cells of training. Gene names must be unique.
    model
        From :func:`scprograms.tl.train_recovery`.
    cell_type_key
        Column of ``.obs`` with cell types, named as in training. Cells without one are "non-state".
    sample_key
        Column of ``.obs`` with samples; ``None`` if all cells are of one.
    layer
        Layer to use; ``None`` means ``.X``.
    min_score
        Cells with a lower score are "non-state", from 0 (none is) to 1. ``None`` for the thresholds of the model, which
        its ``confidence`` gave: about 0.05 for 0.95, and lower where two ranks are compared.
    loss
        What usages minimise: the Kullback-Leibler divergence, as published, or least squares.
    reference
        What z-scores are relative to: ``"sample"``, the cells of the same type and sample, of which there must be 20;
        or ``"training"``, the average sample of training. The latter is for few cells, and for samples of one state; it
        takes differences between studies for differences between states.
    key_added
        Name of the slots below.
    n_jobs
        Number of threads; ``None`` means all. It does not change the result.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the changed copy with ``copy=True``. Written are:

    ``.obs["{key_added}_state"]``
        The state of a cell (category; all states of the model, and "non-state").
    ``.obs["{key_added}_score"]``
        Between 0 and 1: among held-out cells of the same type, the rank of how near the cell is to its
        state, or that of how likely it is to be of its type, whichever is lower. NaN where no state was looked for.
    ``.obsm["X_{key_added}"]``
        Shares of the states, n_obs x states of the model; 0 for states that the cell's type does not have, and
        throughout where no state was looked for.
    ``.uns["{key_added}"]``
        ``params`` (with ``states``, the columns of the shares); ``cell_types``, a table with a row per cell type:
        ``cell_type``; ``n_cells``; ``n_recovered`` and ``n_non_state``, which add up to them; ``n_too_few``, the cells
        in samples with fewer than 20 of the type; ``n_genes`` of the signature (or profile) and ``n_genes_missing`` of
        them; ``identity_checked``; and ``note``, which says why no state was looked for.

    Raises
    ------
    KeyError
        There is no such column or layer.
    TypeError
        ``adata`` is no AnnData in memory, ``model`` no RecoveryModel, or an argument has the wrong type.
    ValueError
        An argument is out of range, gene names are not unique, or the model knows none of the genes or cell types.

    Warns
    -----
    ProgramsWarning
        Cell types are unknown, have few cells, or miss many genes; or most cells of a sample fit no state.

    See Also
    --------
    scprograms.tl.train_recovery, scprograms.tl.cross_validate_recovery

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_states(900, 400, n_samples=4, n_cell_types=2)
    >>> new = adata.obs["sample"] == "sample_3"
    >>> model = scp.tl.train_recovery(adata[~new], "state", "cell_type", sample_key="sample")
    >>> found = scp.tl.recover_states(adata[new], model, "cell_type", sample_key="sample", copy=True)
    >>> bool((found.obs["recovery_state"].astype(str) == found.obs["state"].astype(str)).mean() > 0.9)
    True
    """
    if not isinstance(model, RecoveryModel):
        msg = f"model is a {type(model).__name__}; pass what scp.tl.train_recovery or RecoveryModel.read returned."
        raise TypeError(msg)
    check_choice("loss", loss, LOSSES)
    check_choice("reference", reference, REFERENCES)
    key_added = check_name("key_added", key_added)
    if min_score is not None:
        min_score = check_real("min_score", min_score, at_least=0, at_most=1)
    genes = read_gene_names(check_adata(adata))
    types = read_codes(adata, cell_type_key)
    codes = _codes_in_model(types, model)
    samples = np.zeros(adata.n_obs, dtype=np.int64)
    if sample_key is not None:
        samples = read_codes(adata, sample_key).codes
    columns = pd.Index(genes).get_indexer(pd.Index(model.genes))
    _check_genes(columns, genes, model)
    matrix = read_matrix(adata, layer=layer)
    warn_about_counts(matrix, "adata.X" if layer is None else f"adata.layers[{layer!r}]")
    matrix = sparse.csr_array(matrix) if sparse.issparse(matrix) else matrix

    with threads(n_jobs):
        found = recover(
            matrix,
            codes,
            samples,
            model.trained,
            len(model.state_names),
            columns=columns,
            loss=loss,
            reference=reference,
        )
    score, accepted = accept(found, codes, model, min_score)
    table = _describe(types, codes, found, accepted, model, columns)
    _warn(table, found, codes, samples, accepted)
    names = [*model.state_names, slot_names.NON_STATE]
    params = {
        "cell_type_key": cell_type_key,
        **({} if sample_key is None else {"sample_key": sample_key}),
        **({} if layer is None else {"layer": layer}),
        **({"confidence": model.params["confidence"]} if min_score is None else {"min_score": min_score}),
        "loss": loss,
        "reference": reference,
        "states": np.array(model.state_names, dtype=object),
    }
    result = Recovery(
        state=categorical(np.where(accepted, found.state, len(names) - 1), names),
        score=score,
        shares=found.shares.astype(np.float32),
        params=params,
        cell_types=table,
    )
    adata = adata.copy() if copy else adata
    write_recovery(adata, key_added, result)
    logger.info("recover_states: %d of %d cells are in a state.", int(accepted.sum()), adata.n_obs)
    return adata if copy else None


def accept(
    found: Recovered, cell_types: NDArray, model: RecoveryModel, min_score: float | None
) -> tuple[NDArray, NDArray]:
    """Return the scores, and the mask of the cells that are in their state."""
    score = model.calibration.scores(cell_types, found)
    if min_score is not None:
        return score, (found.reason == RECOVERED) & ~(score < min_score)
    threshold = np.full(len(score), 0.0)
    for t, states in model.trained.states.items():
        for c in states:
            threshold[(cell_types == t) & (found.state == c)] = model.calibration.threshold(t, int(c))
    return score, (found.reason == RECOVERED) & ~(score < threshold)


def _codes_in_model(types: Labels, model: RecoveryModel) -> NDArray:
    """Return the codes that the cell types have in the model; unknown ones come after those."""
    known = {name: t for t, name in enumerate(model.type_names)}
    code_of = np.array([known.get(name, len(known) + i) for i, name in enumerate(types.names)], dtype=np.int64)
    if not set(types.names) & set(model.cell_types):
        msg = (
            f"adata.obs[{types.key!r}] has none of the cell types of the model "
            f"({listing(model.cell_types)}); there: {listing(types.names)}."
            f"{case_hint(types.names, model.cell_types)} Name cell types as in training."
        )
        raise ValueError(msg)
    return np.where(types.codes >= 0, code_of[types.codes], -1) if len(code_of) else types.codes


def _check_genes(columns: NDArray, genes: list[str], model: RecoveryModel) -> None:
    if (columns < 0).all():
        msg = (
            f"adata has none of the {len(model.genes)} genes of the model "
            f"({listing(model.genes, at_most=3)}); there: {listing(genes, at_most=3)}."
            f"{case_hint(genes, model.genes)} Give both the same kind of gene names."
        )
        raise ValueError(msg)


def _describe(
    types: Labels, codes: NDArray, found: Recovered, accepted: NDArray, model: RecoveryModel, columns: NDArray
) -> pd.DataFrame:
    """Return a row per cell type of the cells."""
    rows = []
    for i, name in enumerate(types.names):
        mine = types.codes == i
        code = int(codes[mine][0])
        known = model.trained.profiles if code in model.trained.single else model.trained.signatures.get(code)
        n_genes = 0 if known is None else len(known.genes)
        n_missing = 0 if known is None else int((columns[known.genes] < 0).sum())
        reasons = np.bincount(found.reason[mine], minlength=len(REASONS))
        notes = [f"{n} cells: {REASONS[r]}" for r, n in enumerate(reasons) if n and r != RECOVERED]
        if code in model.trained.skipped:
            notes = [f"left out of the model: {model.trained.skipped[code]}"]
        n_in = int(accepted[mine].sum())
        rows.append(
            {
                "cell_type": name,
                **dict(
                    zip(
                        _COLUMNS,
                        (
                            int(mine.sum()),
                            n_in,
                            int(mine.sum()) - n_in,
                            int(reasons[REASONS.index(next(r for r in REASONS if "cells in the sample" in r))]),
                            n_genes,
                            n_missing,
                            bool((~np.isnan(found.margin[mine])).any()),
                        ),
                        strict=True,
                    )
                ),
                "note": "; ".join(notes),
            }
        )
    return pd.DataFrame(rows, columns=["cell_type", *_COLUMNS, "note"])


def _warn(table: pd.DataFrame, found: Recovered, codes: NDArray, samples: NDArray, accepted: NDArray) -> None:
    silent = table["n_genes"] == 0
    if silent.any():
        names, n = table.loc[silent, "cell_type"], int(table.loc[silent, "n_cells"].sum())
        warn(f"The model has no states of {listing(names)}: their {n} cells are 'non-state'.")
    if n := int(table["n_too_few"].sum()):
        warn(
            f"{n} cells are in samples with fewer than 20 cells of their type, too few to be scaled by, and are "
            "'non-state'. Pass reference='training' if they are comparable to the cells of training as they are."
        )
    many = (table["n_genes_missing"] > MOST_MISSING * table["n_genes"]) & ~silent
    if many.any():
        what = ", ".join(
            f"{row.cell_type!r}: {row.n_genes_missing} of {row.n_genes}" for row in table[many].itertuples()
        )
        warn(f"More than half of the genes of a signature are missing in adata ({what}).")
    looked = found.reason == RECOVERED
    if not looked.any():
        return
    groups, of_cell = np.unique(np.stack([codes[looked], samples[looked]]), axis=1, return_inverse=True)
    share = np.bincount(of_cell, weights=~accepted[looked]) / np.bincount(of_cell)
    if n := int((share > 0.5).sum()):
        warn(
            f"In {n} of {groups.shape[1]} combinations of cell type and sample most cells fit no state. They may be of "
            "another type or state, or the sample may be of one state alone, which centring by its own cells removes: "
            "compare with reference='training'."
        )
