"""How well accessibility is predicted, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from scprograms._anndata import slot_names
from scprograms._core.validate import check_choice

from .store import read_report

if TYPE_CHECKING:
    import pandas as pd


def accessibility(
    data: Any,
    *,
    of: Literal["models", "peaks", "cells", "calibration", "confusion", "curves", "validation", "history"] = "models",
    key: str = "accessibility",
    atac: str = "atac",
) -> pd.DataFrame:
    """Return the report of :func:`scprograms.tl.train_accessibility`. The mean of each peak is in every table.

    Parameters
    ----------
    data
        MuData or mapping, or the AnnData of the accessibility.
    of
        Which table.
    key
        ``key_added`` of the training.
    atac
        Name of the modality.

    Returns
    -------
    ``.attrs`` holds ``params``, ``chosen`` and ``summary``. All but "validation" and "history" are on test cells.

    ``of="models"``
        A row per model: ``pr_auc`` over all entries with its interval ``low, high`` (95 %, resampled cells); ``gain``
        over the mean of each peak, whose tied cells stand in random order for this (any noise would else seem to gain),
        with ``gain_low, gain_high``; ``pr_auc_per_peak`` and ``pr_auc_per_cell``, means
        over those with an open entry, with ``chance_per_peak`` and ``chance_per_cell``, what a random order is expected
        to reach, which for few cells is well above the ``prevalence``; ``brier`` score; ``calibration_error``.
    ``of="peaks"``
        A row per target peak: ``training_prevalence, prevalence, chance`` and the PR-AUC of each model over the cells;
        NaN where it is open in none. The mean has all cells tied, so its PR-AUC is the prevalence.
    ``of="cells"``
        A row per cell: ``prevalence, chance`` and the PR-AUC of each model over the peaks.
    ``of="calibration"``
        ``model, predicted, observed, n``: in ten bins, the mean probability and the share that is open.
    ``of="confusion"``
        A row per model: ``threshold`` (highest F1 on the validation cells), ``true_positives, false_positives,
        false_negatives, true_negatives, precision, recall, f1``; of Fisher's exact test ``odds_ratio``, ``p`` (two
        sides) and ``log10_p`` (one side; it does not underflow); and ``odds_ratio_within_peaks``, by Mantel and
        Haenszel. Fisher's test takes entries for independent, so the mean of each peak has a p-value of 0 as well:
        compare the odds within peaks.
    ``of="curves"``
        ``model, threshold, precision, recall``.
    ``of="validation"``
        A row per model: ``pr_auc``, ``behind`` (the best, with its standard error ``se``), chosen ``setting``,
        ``slope, intercept`` of the probabilities, ``threshold``.
    ``of="history"``
        ``epoch, loss, validation_loss, validation_pr_auc`` of the network; epoch 0 is the mean of each peak.

    Raises
    ------
    KeyError
        There is no report under ``key``, or no such modality.
    TypeError
        ``data`` is neither.
    ValueError
        ``of`` is not known.

    Examples
    --------
    >>> import scprograms as scp
    >>> data = scp.datasets.simulate_multiome(400, 200, 60)
    >>> model = scp.tl.train_accessibility(data, model="ridge", n_peaks=50)
    >>> list(scp.get.accessibility(data, of="calibration"))
    ['model', 'predicted', 'observed', 'n']
    """
    check_choice("of", of, slot_names.ACCESSIBILITY_TABLES)
    entry = read_report(data, key, atac)
    table: pd.DataFrame = entry[of].copy()
    table.attrs.update(
        {
            slot_names.PARAMS: dict(entry[slot_names.PARAMS]),
            slot_names.ACCESSIBILITY_CHOSEN: str(entry[slot_names.ACCESSIBILITY_CHOSEN]),
            slot_names.ACCESSIBILITY_SUMMARY: str(entry[slot_names.ACCESSIBILITY_SUMMARY]),
        }
    )
    return table
