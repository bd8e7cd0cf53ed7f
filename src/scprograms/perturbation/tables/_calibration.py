"""What the test of effects finds where there is nothing to find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from scprograms._anndata import slot_names
from scprograms._anndata.slots import read_fit, read_table
from scprograms._core.validate import check_choice
from scprograms.perturbation.engine.calibration import quantiles

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
DESIGN = ("control", "strata", "covariates")


def calibration(
    adata: AnnData,
    groupby: str,
    *,
    key: str = "semi_nmf",
    what: Literal["tests", "summary", "qq"] = "tests",
) -> pd.DataFrame:
    """Return the tests of control pseudo-perturbations, lambda with its interval, or their quantiles.

    Parameters
    ----------
    adata
        Cells x genes, factorized and calibrated with :func:`scprograms.tl.calibrate`.
    groupby
        Column of ``.obs`` that was calibrated.
    key
        ``key_added`` of the factorization.
    what
        ``"tests"``: a row per split, pseudo-perturbation and program. ``"summary"``: one row, with ``lambda``,
        ``lambda_low``, ``lambda_high``, rates, counts and the design, and ``is_of_effects``: whether the effects of
        ``groupby`` that are there now were tested in this way. ``"qq"``: ``-log10 p`` in ascending order.

    Returns
    -------
    The table; with ``"qq"`` the columns ``expected`` and ``observed`` (-log10 p), and ``low`` and ``high``, between
    which an observed value lies in 95 % of cases if all tests hold. These take the tests for as many independent ones
    as they are worth (``n_independent`` in the summary), because splits share guides and programs are correlated.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or ``groupby`` has not been calibrated on it.
    ValueError
        ``what`` is not known.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5, n_control_guides=6)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> scp.tl.calibrate(adata, "perturbation", "non-targeting", replicate="guide", n_splits=5)
    >>> len(scp.get.calibration(adata, "perturbation"))
    15
    """
    check_choice("what", what, ("tests", "summary", "qq"))
    table = read_table(adata, key, slot_names.CALIBRATION, groupby=groupby)
    if what == "tests":
        return table
    summary = read_table(adata, key, slot_names.CALIBRATION_SUMMARY, groupby=groupby)
    if what == "summary":
        return summary.reset_index(drop=True).assign(is_of_effects=_is_of_effects(adata, key, groupby, summary))
    return quantiles(table["log10_p"].to_numpy(), n_independent=int(summary["n_independent"].iloc[0]))


def _is_of_effects(adata: AnnData, key: str, groupby: str, summary: pd.DataFrame) -> bool:
    params = read_fit(adata, key).get(slot_names.EFFECTS_PARAMS, {}).get(slot_names.table_name(groupby))
    if params is None or params.get("versus") != "control":
        return False
    made = summary.iloc[0]
    names = [*DESIGN, "replicate"] if made["method"] == "replicate" else DESIGN
    same = [str(params.get(name, "")) == str(made[name]) for name in names]
    return params.get("method") == made["method"] and all(same)
