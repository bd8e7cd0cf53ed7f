"""``tl.calibrate``: the test of effects where there is nothing to find."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from scprograms._anndata import slot_names
from scprograms._anndata.labels import check_level, read_labels, warn_about_labels
from scprograms._anndata.obs import find_replicates, read_covariates, read_names, read_replicates, read_strata
from scprograms._anndata.slots import read_usages, write_table
from scprograms._core.multiple_testing import benjamini_hochberg
from scprograms._core.validate import check_choice, check_int, listing, warn

from ._calibration_splits import Splits, split_cells, split_guides
from .engine.calibration import effective_columns, inflation, inflation_interval
from .engine.comparison import Comparison, Effects, Options, compare, n_permutations_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

MOST_LAMBDA = 1.1
FALSE_DISCOVERY_RATE = 0.05
TESTED = ("effect", "p", "log10_p")


def calibrate(
    adata: AnnData,
    groupby: str,
    control: str,
    *,
    key: str = "semi_nmf",
    replicate: str | None = None,
    strata: str | Sequence[str] | None = None,
    covariates: str | Sequence[str] | None = None,
    method: Literal["auto", "replicate", "permutation"] = "auto",
    n_splits: int | None = None,
    group_size: int | None = None,
    n_permutations: int | None = None,
    random_state: int | np.random.Generator | np.random.RandomState | None = 0,
    n_jobs: int | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Run the test of :func:`scprograms.tl.perturbation_effects` where there is nothing to find: within the control.

    Control guides are put into random groups as large as perturbations are, and each of these pseudo-perturbations is
    tested against the control guides that are left, several times over. All p-values should be uniform; if they are
    too small here, they are too small in the table of effects. The figure to look at is lambda, the median chi-square
    value of the tests over its expectation: 1 if the test holds, above if it finds too much, below if it is careful.

    Without ``replicate`` control cells are drawn, not guides. This shows whether the test copes with the distribution
    of the usages, not whether guides differ: for that, pass ``replicate``, also with ``method="permutation"`` (guides
    are put into groups, and cells are tested).

    Parameters
    ----------
    adata
        Data with a factorization.
    groupby
        Column of ``.obs`` with the perturbation of each cell.
    control
        The label of the control cells.
    key
        Key of the factorization (``key_added`` of the verb that made it).
    replicate
        Column of ``.obs`` with the guide or replicate of each cell; each belongs to one perturbation.
    strata, covariates
        As in :func:`scprograms.tl.perturbation_effects`.
    method
        ``"replicate"`` or ``"permutation"``; ``"auto"`` takes the first where ``replicate`` is given.
    n_splits
        How often the control is split anew. None: 20 times, or in all ways if there are fewer. Splits share guides, so
        more of them tell little more.
    group_size
        Guides of a pseudo-perturbation (cells, without ``replicate``). None: as many as perturbations have in the
        median (cells: as many as real perturbations have in each stratum). At most half of the control becomes
        pseudo-perturbations; only a larger ``group_size`` leaves fewer guides, but at least two.
    n_permutations
        As in :func:`scprograms.tl.perturbation_effects`.
    random_state
        Seed of the splits and permutations.
    n_jobs
        Number of threads; None means all. It does not change the result.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the copy with ``copy=True``. Sets these fields (a slash in ``groupby`` becomes ``_``):

    ``.uns[key]["calibration"][groupby]``
        DataFrame with a row per split, pseudo-perturbation and program: ``split``; ``pseudo_perturbation``;
        ``program``; ``effect``; ``p``; ``log10_p``; ``q``, adjusted over all rows; ``n_cells``; ``n_replicates``;
        ``n_control``; ``replicates``, the names of the guides that were put together.
    ``.uns[key]["calibration_summary"][groupby]``
        DataFrame of one row. ``lambda`` with the ends of its 95 % interval, ``lambda_low`` and ``lambda_high``: a
        bootstrap over programs, of which as many are drawn as correlated ones are worth (``n_effective_programs``),
        but at least the spread of the median of ``n_independent`` tests. Few guides make it wide, however many splits
        there are: n guides have n - 1 independent differences in a program. ``rate_05`` and
        ``rate_001``: share of p-values up to 0.05 and 0.001. ``n_hits`` with q <= 0.05. ``n_tests``;
        ``n_independent``, about how many independent tests they are worth. ``caution``: what to do if the whole
        interval lies above 1.1 (also a warning), else empty. Then the design: ``method``, ``control``, ``replicate``,
        ``strata``, ``covariates``, ``n_splits``, ``n_pseudo_perturbations``, ``group_size``, ``n_units`` (guides or
        cells of the control), ``n_cells``.

    Raises
    ------
    KeyError
        If a column does not exist, or there is no factorization under ``key``.
    ValueError
        If ``control`` is no label, there are fewer than four control guides or 20 control cells, or the control does
        not allow ``group_size`` or ``n_splits``. Without control cells there is nothing to calibrate on.

    See Also
    --------
    scprograms.get.calibration : the tests, the summary, and quantiles.
    scprograms.pl.calibration : quantiles against those of a uniform distribution.

    References
    ----------
    Devlin and Roeder (1999), Biometrics 55, 997-1004, https://doi.org/10.1111/j.0006-341X.1999.00997.x (lambda).

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(900, 200, n_programs=6, n_perturbations=5, n_control_guides=8)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 6)
    >>> scp.tl.calibrate(adata, "perturbation", "non-targeting", replicate="guide", strata="batch")
    >>> summary = scp.get.calibration(adata, "perturbation", what="summary").iloc[0]
    >>> bool(summary["lambda_low"] < 1 < summary["lambda_high"]), int(summary["n_hits"])
    (True, 0)
    """
    check_choice("method", method, ["auto", "replicate", "permutation"])
    usages = read_usages(adata, key)
    if method == "replicate" and replicate is None:
        msg = "method='replicate' needs replicates: pass replicate=, the column of adata.obs with the guides."
        raise ValueError(msg)
    by_replicate = replicate is not None and method != "permutation"
    if n_splits is not None:
        n_splits = check_int("n_splits", n_splits, at_least=1)
    if n_permutations is not None:
        n_permutations = check_int("n_permutations", n_permutations, at_least=1)
    rng = _generator(random_state)
    data = read_control_cells(adata, groupby, control, usages.to_numpy(), replicate, strata, covariates)
    how: dict[str, Any] = {"sizes": data.sizes, "group_size": group_size, "n_splits": n_splits, "rng": rng}
    if data.guides is None:
        splits = split_cells(data.strata, **how)
    else:
        splits = split_guides(data.guides, data.guide_names, where=f"adata.obs[{replicate!r}]", **how)
    options = Options(n_permutations, 0, n_jobs)
    n_tests = int(np.median([len(split.members) for split in splits.drawn])) * usages.shape[1]
    options = replace(options, n_permutations=n_permutations_of(options, n_tests))
    table = _tests(data, splits, list(usages.columns), options, rng=rng, by_replicate=by_replicate)
    summary = _summary(table, data, splits, usages.shape[1], seed=int(rng.integers(2**63)))
    of = f"{'guides' if data.guides is not None else 'cells'} of {control!r}"
    summary["caution"] = _caution(summary, of, by_replicate=by_replicate, replicate=replicate)
    summary |= {
        "method": "replicate" if by_replicate else "permutation",
        "control": str(control),
        "replicate": replicate or "",
        "strata": ", ".join(read_names("strata", strata)),
        "covariates": ", ".join(read_names("covariates", covariates)),
        "n_splits": len(splits.drawn),
        "n_pseudo_perturbations": sum(len(split.members) for split in splits.drawn),
        "group_size": splits.group_size,
        "n_units": splits.n_units,
        "n_cells": len(data.usages),
    }
    adata = adata.copy() if copy else adata
    write_table(adata, key, slot_names.CALIBRATION, table, groupby=groupby)
    write_table(adata, key, slot_names.CALIBRATION_SUMMARY, pd.DataFrame([summary], index=["0"]), groupby=groupby)
    return adata if copy else None


def _tests(
    data: ControlCells,
    splits: Splits,
    programs: list[str],
    options: Options,
    *,
    rng: np.random.Generator,
    by_replicate: bool,
) -> pd.DataFrame:
    """Return the tests of all pseudo-perturbations."""
    parts = []
    for i, split in enumerate(splits.drawn):
        n_groups = len(split.members)
        comparison = Comparison(
            split.codes,
            n_groups + 1,
            n_groups,
            strata=data.strata if data.has_strata else None,
            replicates=data.guides if by_replicate else None,
            covariates=data.covariates,
        )
        found: Effects = compare(data.usages, comparison, replace(options, seed=int(rng.integers(2**63))))
        names = [f"pseudo_{g}" for g in range(n_groups)]
        part = found.table(names, programs, list(range(n_groups)))
        part = part.rename(columns={"perturbation": "pseudo_perturbation"})
        part.insert(0, "split", i)
        part["replicates"] = np.repeat(split.members, len(programs))
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    table["q"] = benjamini_hochberg(table["p"].to_numpy())
    columns = ["split", "pseudo_perturbation", "program", *TESTED, "q", "n_cells", "n_replicates", "n_control"]
    return table[[*columns, "replicates"]]


def _summary(table: pd.DataFrame, data: ControlCells, splits: Splits, k: int, *, seed: int) -> dict[str, Any]:
    log10_p = table["log10_p"].to_numpy().reshape(-1, k)
    p = table["p"].to_numpy()
    p = p[~np.isnan(p)]
    if not len(p):
        msg = "No test could be made: every program is the same in all control cells that are compared."
        raise ValueError(msg)
    n_effective = effective_columns(data.units())
    # Contrasts of n units have n - 1 dimensions, however many of them are tested.
    n_independent = max(1, round(n_effective * min(len(log10_p), splits.n_units - 1)))
    low, high = inflation_interval(log10_p, n_effective, n_independent=n_independent, seed=seed)
    return {
        "lambda": inflation(log10_p),
        "lambda_low": low,
        "lambda_high": high,
        "rate_05": float(np.mean(p <= 0.05)),
        "rate_001": float(np.mean(p <= 0.001)),
        "n_hits": int(np.sum(table["q"] <= FALSE_DISCOVERY_RATE)),
        "n_tests": len(p),
        "n_independent": n_independent,
        "n_effective_programs": float(n_effective),
    }


def _caution(summary: dict[str, Any], of: str, *, by_replicate: bool, replicate: str | None) -> str:
    """Return (and warn of) what follows if the test finds too much; an empty string if nothing does."""
    if not summary["lambda_low"] > MOST_LAMBDA:
        return ""
    fix = "Name the batch as strata, or what differs between cells as covariates, if it is not named yet."
    if replicate is not None and not by_replicate:
        fix = f"Cells of a guide are alike: test with replicate={replicate!r} and method='replicate'."
    text = (
        f"lambda is {summary['lambda']:.2f} ({summary['lambda_low']:.2f} to {summary['lambda_high']:.2f}) in groups of "
        f"{of}, where nothing is to be found and 1 is right: p-values of effects are too small. {fix}"
    )
    warn(text)
    return text


def _generator(random_state: int | np.random.Generator | np.random.RandomState | None) -> np.random.Generator:
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31))
    return np.random.default_rng(random_state)


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
    warn_about_labels(labels)
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
