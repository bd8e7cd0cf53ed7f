"""Tests whose units are replicates (guides, samples, clones), not cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import rankdata

from scprograms._core.f_distribution import f_tail
from scprograms._core.moments import group_moments
from scprograms._core.resampling import Seed, key_of, positive, read_n_jobs

from ._anova import one_way_anova
from ._combination import Statistic, check_statistic, smaller_p
from ._replicate_model import ReplicateMeans, replicate_means, weighted_fit
from ._replicate_permutation import furthest_group
from ._replicate_statistics import contrasts, omnibus
from ._skewed_tail import skewed_t_tail

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

SCALES = ("rank", "raw")
LEAST_DF = 0.5
NOT_ESTIMABLE = (
    "Groups and strata cannot be told apart: some groups share no stratum with the others, directly or through third "
    "groups. Leave strata out, or merge strata so that groups meet in them."
)


Scale = Literal["rank", "raw"]


@dataclass(frozen=True)
class ReplicateAnova:
    """Result of an analysis of variance of replicates: one value per column, and the numbers that all share."""

    F: Array
    """Of the weighted means of replicates, k."""
    p: Array
    """The smaller one of the two below, each divided by its share (or p of F)."""
    log10_p: Array
    """log10 of p."""
    p_all: Array
    """Of F, so of all groups together."""
    p_furthest: Array
    """Of the group furthest from the others, by permuting replicates; NaN with two groups, or ``statistic="F"``."""
    df_between: Array
    """Degrees of freedom that the weighted sums of squares are worth, k; whole numbers if all replicates are alike."""
    df_within: Array
    """Those between replicates within groups, k (Satterthwaite)."""
    eta_squared: Array
    """Share of the variance of the cells between groups, in the sample."""
    omega_squared: Array
    """The same share, corrected for what cells drawn by chance would give."""
    replicate_share: Array
    """Share of the variance within groups that lies between replicates, on the scale of the test."""
    n_groups: int
    """Groups with replicates."""
    n_replicates: int
    """Replicates that were used."""
    n_cells: int
    """Cells that were used."""


@dataclass(frozen=True)
class ReplicateContrasts:
    """Each group against the control (or the rest): G x k, rows in the order of the codes."""

    difference: Array
    """Weighted mean of the group's replicates less that of the control's, on the scale of the values."""
    standard_error: Array
    """Of the difference."""
    t: Array
    """On the scale of the test, that of the ranks unless raw values were asked for."""
    df: Array
    """Degrees of freedom of t (Satterthwaite)."""
    p: Array
    """Two-sided."""
    log10_p: Array
    """log10 of p; keeps its digits where p underflows to 0."""
    replicate_share: Array
    """Share of the variance within groups that lies between replicates, on the scale of the test, k."""
    n_replicates: Array
    """Replicates of each group, G."""


def replicate_anova(
    values: Array,
    codes: Array,
    replicates: Array,
    *,
    strata: Array | None = None,
    covariates: Array | None = None,
    scale: Scale = "rank",
    statistic: Statistic = "combined",
    n_permutations: int = 9_999,
    random_state: Seed = 0,
    n_jobs: int | None = None,
) -> ReplicateAnova:
    """Test each column for a difference of its mean between groups, with replicates as the unit.

    The mean of replicate r has the variance ``s_g^2 + s_w^2 / n_r``: replicates differ among themselves, and the fewer
    cells the more. F compares the weighted sum of squares of the group means with what these two variances let expect
    of it; the weights are ``1 / (1 / median(n) + 1 / n_r)``, in between cells that all count and replicates that all
    count. They do not depend on the values: weights that follow an estimate of ``s_g^2`` give the groups whose weight
    is too large by chance too much to say, and too many discoveries if replicates are of unequal size. ``s_w^2`` is
    pooled within replicates, ``s_g^2`` follows from the weighted sum of squares between replicates within groups, and
    both degrees of freedom are Satterthwaite's. If replicates differ by less than their cells let expect, the
    denominator shrinks with them (as in an ANOVA of the means), so that nothing is lost by truncation at zero. With
    replicates of equal size this is the ANOVA of the replicate means.

    F is weak where one group of many moves. So the group furthest from the others, in standard deviations, is tested as
    well, by permuting the replicates, and p is the smaller of ``p_all / (1 - a)`` and ``p_furthest / a`` with
    ``a = (1 - 1 / (G - 1)) / 3`` for G groups: never above 1.5 times that of F, and right by Bonferroni's inequality.
    With two groups the two are the same, and p is that of F.

    Values are ranked first (average ranks over all cells kept): a usage is zero in most cells and large in a few, and
    the tails of its replicate means are too long for any F test on few replicates.

    Parameters
    ----------
    values
        n_obs x k, real and finite.
    codes
        Group of each row, 0, 1, ...; -1 leaves a row out.
    replicates
        Replicate (guide, sample, clone) of each row, any integers from 0; -1 leaves a row out. Each lies in one group.
    strata
        Stratum (batch) of each row, integers from 0, whose effects are taken out: additive, estimated within
        replicates and between them together. -1 leaves a row out.
    covariates
        n_obs x c, real and finite, without intercept (log depth, say): their slopes within replicates and strata are
        taken out of the ranks. (Ranks of values from which they were taken out before would order the zeros by them.)
    scale
        ``"rank"`` or ``"raw"``: what is tested.
    statistic
        ``"combined"``, or ``"F"`` for the test of F alone.
    n_permutations
        Number of permutations of the replicates, at most; a column stops after 100 that are as extreme.
    random_state
        Seed of the permutations.
    n_jobs
        Number of threads for them; None means all that numba is allowed to use. Never changes the result.

    Returns
    -------
    F, p, log10(p), degrees of freedom and effect sizes. Constant columns are NaN.

    Raises
    ------
    ValueError
        If there are fewer than two groups, no group has two replicates, a replicate lies in two groups, strata and
        groups cannot be told apart, shapes do not match, or a value is not finite.

    References
    ----------
    Paule and Mandel (1982), Journal of Research of the National Bureau of Standards 87, 377-385,
    https://doi.org/10.6028/jres.087.022

    Satterthwaite (1946), Biometrics Bulletin 2, 110-114, https://doi.org/10.2307/3002019

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.perturbation.engine import replicate_anova
    >>> rng = np.random.default_rng(0)
    >>> guide = np.repeat(np.arange(9), 40)
    >>> usage = rng.normal(size=(360, 1)) + 0.5 * rng.normal(size=9)[guide, None]  # guides differ, groups do not
    >>> result = replicate_anova(usage, guide // 3, guide)
    >>> bool(result.p[0] > 0.05), result.n_replicates
    (True, 9)
    """
    check_statistic(statistic)
    n_permutations, n_threads, key = (
        positive("n_permutations", n_permutations),
        read_n_jobs(n_jobs),
        key_of(random_state),
    )
    cells = checked_cells(values, codes, replicates, strata=strata, covariates=covariates, scale=scale)
    data = cells.means(scale)
    if len(np.unique(data.blocks)) > 1:
        raise ValueError(NOT_ESTIMABLE)
    fit = weighted_fit(data, np.full(data.means.shape[1], 1 / np.median(data.counts)))
    F, df_between, df_within, share = omnibus(data, fit)
    p_all, log10_p = f_tail(F, df_between, df_within)
    p = p_all
    p_furthest = np.full_like(p, np.nan)
    n_groups = len(fit.group_weights)
    if statistic == "combined" and n_groups > 2:
        p_furthest = furthest_group(data, n_permutations=n_permutations, key=key, n_threads=n_threads)
        p, log10_p = smaller_p(p, log10_p, p_furthest, n_groups)
    of_cells = one_way_anova(cells.values, cells.codes)
    return ReplicateAnova(
        F=F,
        p=p,
        log10_p=log10_p,
        p_all=p_all,
        p_furthest=p_furthest,
        df_between=df_between,
        df_within=df_within,
        eta_squared=of_cells.eta_squared,
        omega_squared=of_cells.omega_squared,
        replicate_share=share,
        n_groups=of_cells.n_groups,
        n_replicates=len(data.counts),
        n_cells=of_cells.n_cells,
    )


def replicate_contrasts(
    values: Array,
    codes: Array,
    replicates: Array,
    *,
    control: int | None,
    strata: Array | None = None,
    covariates: Array | None = None,
    scale: Scale = "rank",
) -> ReplicateContrasts:
    """Test each group against the control, or against all other groups, with replicates as the unit.

    The mean of replicate r has the variance ``s_g^2 + s_w^2 / n_r``, and replicates are weighted by its inverse.
    ``s_g^2`` is common to all groups and solves "weighted sum of squares between replicates within groups = its degrees
    of freedom" (Paule and Mandel); where replicates differ by less than their cells let expect it is 0, and the
    variances shrink by the ratio of the two. ``s_w^2`` is pooled within all replicates for the weights; in the standard
    error it is that of the two groups compared in each stratum (and 100 cells' worth of the common one), so that
    groups which a perturbation made more or less variable, and strata that are, do not spoil the tests of the others.
    t has replicates - groups degrees of freedom, fewer (Satterthwaite) where the groups compared have large replicates,
    whose variance is mostly the uncertain ``s_g^2``. The skewness that is left in the difference, the sum of
    ``a_r^3 k_3 / n_r^2`` with a_r the weights and k_3 the third cumulant of the cells, is corrected for by referring t
    to a shifted gamma instead of a normal distribution.

    Ranks are tested (average ranks over all cells kept), for usages are zero in most cells and large in a few; the
    difference and its standard error are those of the values, from the same model, and their ratio is t only with
    ``scale="raw"``. A group of one replicate is tested too: the others say how much replicates differ.

    Parameters
    ----------
    values
        n_obs x k, real and finite.
    codes
        Group of each row, 0, 1, ...; -1 leaves a row out.
    replicates
        Replicate (guide, sample, clone) of each row, any integers from 0; -1 leaves a row out. Each lies in one group.
    control
        Code of the group that the others are compared with; None compares each group with all others together.
    strata
        Stratum (batch) of each row, integers from 0, whose effects are taken out: additive, estimated within
        replicates and between them together. -1 leaves a row out. A group that shares no stratum with the control,
        directly or through other groups, is NaN.
    covariates
        n_obs x c, real and finite, without intercept (log depth, say): their slopes within replicates and strata are
        taken out of the ranks. (Ranks of values from which they were taken out before would order the zeros by them.)
        Where depth differs much between groups, ten bins of it as strata hold the error rate better.
    scale
        ``"rank"`` or ``"raw"``: what is tested.

    Returns
    -------
    Differences, standard errors, t, degrees of freedom, p and log10(p), a row for each code from 0 to the largest. The
    control, groups without rows and constant columns are NaN.

    Raises
    ------
    ValueError
        If there are fewer than two groups, the control has no rows, no group has two replicates, a replicate lies in
        two groups, no group can be told from strata, shapes do not match, or a value is not finite.

    References
    ----------
    Paule and Mandel (1982), Journal of Research of the National Bureau of Standards 87, 377-385,
    https://doi.org/10.6028/jres.087.022

    Satterthwaite (1946), Biometrics Bulletin 2, 110-114, https://doi.org/10.2307/3002019

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.perturbation.engine import replicate_contrasts
    >>> rng = np.random.default_rng(0)
    >>> guide = np.repeat(np.arange(9), 40)
    >>> usage = rng.gamma(0.5, size=(360, 1)) + 0.5 * (guide >= 6)[:, None]
    >>> result = replicate_contrasts(usage, guide // 3, guide, control=0)
    >>> (result.p[1:, 0] < 0.001).tolist(), result.n_replicates.tolist()
    ([False, True], [3, 3, 3])
    """
    cells = checked_cells(values, codes, replicates, strata=strata, covariates=covariates, scale=scale)
    if control is not None and control not in cells.labels:
        msg = f"control={control} has no rows; groups with rows are {cells.labels.tolist()}."
        raise ValueError(msg)
    position = None if control is None else int(np.flatnonzero(cells.labels == control)[0])
    data = cells.means(scale)
    apart = data.blocks != (data.blocks[0] if position is None else data.blocks[position])
    if (apart.any() and position is None) or apart.sum() == len(apart) - 1:
        raise ValueError(NOT_ESTIMABLE)
    difference, error, df, skewness, share = contrasts(data, position)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = difference / error
    p, log10_p = skewed_t_tail(t, df, skewness)
    if scale == "rank":
        difference, error = contrasts(cells.means("raw"), position)[:2]
    untested = apart if position is None else apart | (np.arange(len(apart)) == position)

    def by_code(x: Array) -> Array:
        out = np.full((int(cells.labels[-1]) + 1, x.shape[1]), np.nan)
        out[cells.labels] = np.where(untested[:, None], np.nan, x)
        return out

    n_replicates = np.zeros(int(cells.labels[-1]) + 1, dtype=np.int64)
    n_replicates[cells.labels] = np.bincount(data.groups)
    return ReplicateContrasts(
        difference=by_code(difference),
        standard_error=by_code(error),
        t=by_code(t),
        df=by_code(np.where(np.isnan(t), np.nan, df)),
        p=by_code(p),
        log10_p=by_code(log10_p),
        replicate_share=share,
        n_replicates=n_replicates,
    )


@dataclass(frozen=True)
class Cells:
    """The cells kept, with groups, replicates and strata counted from 0."""

    values: Array
    codes: Array
    labels: Array
    replicates: Array
    strata: Array | None
    covariates: Array | None

    def means(self, scale: str) -> ReplicateMeans:
        """Reduce the cells, or their average ranks, to replicates."""
        values = self.values
        if scale == "rank":
            values = rankdata(values, axis=0) / len(values)
        if self.covariates is not None:
            values = self._without(self.covariates, values)
        data = replicate_means(values, self.codes, self.replicates, self.strata)
        if np.max(weighted_fit(data, np.zeros(values.shape[1])).df, initial=0.0) < LEAST_DF:
            msg = (
                f"{len(data.counts)} replicates in {len(self.labels)} groups and {data.shares.shape[1]} strata leave "
                "nothing to tell how much replicates differ: replicates need to lie in several strata, or to be more."
            )
            raise ValueError(msg)
        return data

    def _without(self, C: Array, values: Array) -> Array:
        strata = 0 if self.strata is None else self.strata
        cells = np.unique(self.replicates * (np.max(strata) + 1) + strata, return_inverse=True)[1]
        within = C - group_moments(C, cells).means[cells]
        # Relative to the first row, so that a constant column stays constant.
        slopes = np.linalg.pinv(within.T @ within, hermitian=True) @ (within.T @ (values - values[0]))
        return np.asarray(values - (C - C.mean(axis=0)) @ slopes)


def checked_cells(
    values: Array,
    codes: Array,
    replicates: Array,
    *,
    strata: Array | None,
    covariates: Array | None,
    scale: str,
) -> Cells:
    """Leave out the cells without a code, and say what is wrong with the others."""
    if scale not in SCALES:
        msg = f"scale={scale!r} is unknown; possible are {list(SCALES)}."
        raise ValueError(msg)
    values = np.asarray(values)
    labels = {"codes": np.asarray(codes), "replicates": np.asarray(replicates)}
    if strata is not None:
        labels["strata"] = np.asarray(strata)
    for name, x in labels.items():
        if values.ndim != 2 or x.shape != values.shape[:1] or x.dtype.kind not in "iu":
            msg = (
                f"values has shape {values.shape} and {name} shape {x.shape} and dtype {x.dtype}; "
                "a matrix and one integer per row are needed."
            )
            raise ValueError(msg)
    kept = np.logical_and.reduce([x >= 0 for x in labels.values()])
    values = values[kept].astype(np.float64, copy=False)
    if covariates is not None:
        covariates = np.asarray(covariates, dtype=np.float64)
        if covariates.ndim != 2 or len(covariates) != len(kept) or not np.isfinite(covariates[kept]).all():
            msg = (
                f"covariates has shape {covariates.shape}; a matrix of finite numbers with {len(kept)} rows is needed, "
                "or -1 in codes for the cells without."
            )
            raise ValueError(msg)
        covariates = covariates[kept]
    if not (finite := np.isfinite(values).all(axis=0)).all():
        msg = f"values has NaN or infinite entries in column(s) {np.flatnonzero(~finite).tolist()}: remove them."
        raise ValueError(msg)
    groups, codes = np.unique(labels["codes"][kept], return_inverse=True)
    names, replicates = np.unique(labels["replicates"][kept], return_inverse=True)
    if len(groups) < 2:
        msg = f"There are {len(groups)} groups with rows in them; a comparison needs at least two."
        raise ValueError(msg)
    nested = np.unique(np.column_stack([replicates, codes]), axis=0)
    if len(nested) > len(names):
        shared = names[np.bincount(nested[:, 0]) > 1]
        msg = (
            f"{len(shared)} of {len(names)} replicates have rows in several groups (code {shared[0]} is one): a "
            "replicate belongs to one group. What groups have in common, as a batch, goes into strata."
        )
        raise ValueError(msg)
    if len(names) == len(groups):
        msg = (
            f"Each of the {len(groups)} groups has a single replicate: how much replicates differ cannot be known. At "
            "least one group, say the control, needs two."
        )
        raise ValueError(msg)
    if strata is not None:
        strata = np.unique(labels["strata"][kept], return_inverse=True)[1]
    return Cells(values, codes, groups, replicates, strata, covariates)
