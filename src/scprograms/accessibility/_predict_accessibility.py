"""``tl.predict_accessibility``: which peaks are open in cells that a model was not fitted on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from scprograms._core.validate import check_name, listing, warn

from ._accessibility_report import make_report
from .engine import AccessibilityModel
from .store import (
    align_genes,
    copy_of,
    forget_report,
    predictions_as_adata,
    read_expression,
    read_open,
    read_pair,
    write_predictions,
    write_report,
)

if TYPE_CHECKING:
    from anndata import AnnData


def predict_accessibility(
    data: Any,
    model: AccessibilityModel | str | os.PathLike[str],
    *,
    layer: str | None = None,
    atac_layer: str | None = None,
    evaluate: bool = False,
    rna: str = "rna",
    atac: str = "atac",
    key_added: str = "accessibility",
    copy: bool = False,
) -> Any:
    """Predict which peaks are open in cells that a model was not fitted on.

    Parameters
    ----------
    data
        MuData or mapping with both modalities: the predictions become a layer of the accessibility. Or the AnnData of
        the expression alone, where accessibility was not measured. Expression is to be normalised as it was in the
        training.
    model
        As :func:`train_accessibility` returned it, or the file that it was written to. Genes and peaks are found by
        name; a gene of the model that is missing counts as average.
    layer, atac_layer
        Layers to use instead of ``.X``.
    evaluate
        Compare the predictions with the accessibility as it was measured, beside the mean of each peak.
    rna, atac
        Names of the two modalities.
    key_added
        Name of the results.
    copy
        Return a changed copy instead of changing ``data``.

    Returns
    -------
    For an AnnData: an AnnData, cells x target peaks, with the probabilities in ``.X`` (float32). Else None, or the
    changed copy with ``copy=True``. Written into the modality ``atac`` are ``.layers["{key_added}"]`` and
    ``.var["{key_added}_target"]`` as by :func:`train_accessibility`, and with ``evaluate`` its ``.uns["{key_added}"]``;
    without, an older report under that name is removed.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such file, it holds no model, or no gene or peak of the model is in the data.
    KeyError
        There is no such modality or layer.
    TypeError
        ``data`` or ``model`` is neither.

    Examples
    --------
    >>> import scprograms as scp
    >>> data = scp.datasets.simulate_multiome(400, 200, 60)
    >>> model = scp.tl.train_accessibility(data, model="ridge", n_peaks=50)
    >>> predicted = scp.tl.predict_accessibility(data["rna"][:5], model)
    >>> predicted.shape
    (5, 50)
    """
    from anndata import AnnData

    if isinstance(model, str | os.PathLike):
        model = AccessibilityModel.read(model)
    if not isinstance(model, AccessibilityModel) or not hasattr(model, "model_"):
        msg = f"model is a {type(model).__name__}; pass what scp.tl.train_accessibility returned, or its file."
        raise TypeError(msg)
    check_name("key_added", key_added)
    if isinstance(data, AnnData):
        if evaluate:
            msg = "evaluate=True needs the accessibility as well: pass a MuData or mapping with both modalities."
            raise ValueError(msg)
        cells = np.arange(data.n_obs)
        probability = model.predict_proba(_aligned(data, cells, model, layer))
        params = {"model": model.model_, "threshold": model.threshold_}
        return predictions_as_adata(data, model.peaks_, probability, params)

    data = copy_of(data) if copy else data
    pair = read_pair(data, rna, atac)
    matrix = _aligned(pair.rna, pair.in_rna, model, layer)
    place = pair.atac.var_names.astype(str).get_indexer(model.peaks_)
    there = place >= 0
    if not there.any():
        msg = (
            f"None of the {len(there)} target peaks of the model is in data[{atac!r}]: there are "
            f"{listing(pair.atac.var_names, at_most=3)}, the model has "
            f"{listing(model.peaks_, at_most=3)}. Pass data[{rna!r}] to get predictions of their own."
        )
        raise ValueError(msg)
    if not there.all():
        warn(f"{int(np.sum(~there))} of {len(there)} target peaks are not in data[{atac!r}]: left out.")
    order = np.flatnonzero(there)[np.argsort(place[there])]
    report = None
    if evaluate:
        measured = read_open(pair.atac, pair.in_atac, layer=atac_layer)
        observed = measured[:, place[order]].toarray().astype(bool)
        if not observed.any():
            msg = "evaluate=True: no target peak is open in these cells."
            raise ValueError(msg)
        params = {"model": model.model, "layer": layer, "atac_layer": atac_layer, "n_test": pair.n_cells}
        names = pair.atac.obs_names[pair.in_atac]
        report = make_report(model, matrix, observed, params, names, peaks=order)
    probability = model.predict_proba(matrix)[:, order]
    write_predictions(pair, key_added, place[order], probability)
    if report is None:
        forget_report(pair.atac, key_added)
    else:
        write_report(pair.atac, key_added, report)
    return data if copy else None


def _aligned(adata: AnnData, cells: np.ndarray, model: AccessibilityModel, layer: str | None) -> Any:
    matrix = read_expression(adata, cells, layer=layer)
    return align_genes(adata, matrix, model.genes_, model.gene_means_)
