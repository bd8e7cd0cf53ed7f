"""The two statistics of replicates: of all groups at once, and of each group against the control."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._replicate_model import ReplicateMeans, WeightedFit, least_scale, sum_by, variance_components, weighted_fit

if TYPE_CHECKING:
    from collections.abc import Callable

    from scprograms._core.matrix import Array

PRIOR_CELLS = 100  # what the variance within all groups counts beside that within the two groups compared


def omnibus(data: ReplicateMeans, fit: WeightedFit) -> tuple[Array, ...]:
    """Return F, both degrees of freedom, and the share of the variance between replicates, k each."""
    groups, n_groups, w, W = data.groups, len(fit.group_weights), fit.weights, fit.group_weights
    total = W.sum(axis=0)
    means = fit.group_means - np.sum(W * fit.group_means, axis=0) / total
    between = np.sum(W * means**2, axis=0)

    def moments(v: Array) -> tuple[Array, Array]:
        """Return the means of both sums of squares if the variances of the replicate means are v."""
        V = sum_by(w**2 * v, groups, n_groups)
        return (V / W).sum(axis=0) - V.sum(axis=0) / total, (w * v).sum(axis=0) - (V / W).sum(axis=0)

    sampling = 1 / data.counts[:, None]
    (a_within, e_within), (a_between, e_between) = moments(sampling), moments(np.ones_like(sampling))
    if fit.group_shares.shape[1]:
        shares = fit.group_shares - np.einsum("gk,gsk->sk", W, fit.group_shares) / total
        a_within = a_within + np.einsum("gk,gsk,kst,gtk->k", W, shares, fit.strata_covariance, shares, optimize=True)
    s2 = data.variance
    df = len(groups) - n_groups
    chi2 = fit.chi2 * df / fit.df
    with np.errstate(divide="ignore", invalid="ignore"):
        s2_replicate = np.maximum(chi2 - e_within * s2, 0.0) / e_between
        phi = np.clip(chi2 / (e_within * s2), least_scale(fit.df), 1.0)
        expected = a_within * s2 + a_between * s2_replicate
        # Satterthwaite: twice the squared mean over the variance of a quadratic form in independent replicate means.
        v = sampling * s2 + s2_replicate
        V = sum_by(w**2 * v, groups, n_groups)
        mean = (V / W).sum(axis=0) - V.sum(axis=0) / total
        trace = (V**2 / W**2).sum(axis=0) - 2 * (V**2 / W).sum(axis=0) / total + (V.sum(axis=0) / total) ** 2
        trace_within = ((w * v) ** 2 - 2 * w**3 * v**2 / W[groups]).sum(axis=0) + (V**2 / W**2).sum(axis=0)
        numerator = np.where(s2_replicate > 0, expected * e_between / a_between, e_within * s2)
        df_between, df_within = mean**2 / trace, numerator**2 / trace_within * (fit.df / df)
        F = between / (phi * expected)
        share = s2_replicate / (s2_replicate + s2)
    return F, df_between, df_within, share


def contrasts(data: ReplicateMeans, control: int | None) -> tuple[Array, ...]:
    """Return differences from the control, their standard errors, degrees of freedom and skewness, and the share.

    G x k each, the share of the variance between replicates k; ``control`` is a position, or None for all others.
    """
    parts = variance_components(data)
    fit = weighted_fit(data, parts.ratio)
    groups, n_groups, w = data.groups, len(fit.group_weights), fit.weights
    sums = fit.group_weights
    weighted_means = sums * fit.group_means
    squares = sum_by(w**2, groups, n_groups)
    cubes = sum_by(w**3 / data.counts[:, None] ** 2, groups, n_groups)
    weighted_shares = sums[:, None] * fit.group_shares

    def of_reference(x: Array) -> Array:
        return x.sum(axis=0) - x if control is None else x[[control]]

    reference = of_reference(sums)
    difference = fit.group_means - of_reference(weighted_means) / reference
    variance = 1 / sums + 1 / reference
    squared = squares / sums**2 + of_reference(squares) / reference**2
    cubed = cubes / sums**3 - of_reference(cubes) / reference**3
    if weighted_shares.shape[1]:
        shares = fit.group_shares - of_reference(weighted_shares) / reference[:, None]
        variance = variance + np.einsum("gsk,kst,gtk->gk", shares, fit.strata_covariance, shares, optimize=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        satterthwaite = 2 * variance**2 / (squared**2 * parts.ratio_variance)
        df = np.where(parts.ratio > 0, np.clip(satterthwaite, 1, np.maximum(parts.df, 1)), parts.df)
        total = variance * data.variance
        for s, squares_of in enumerate(data.squares):
            # A stratum's own variance, and there that of the two groups: what its cells add beyond the common one.
            n = data.n_squares[s]
            common = (squares_of.sum(axis=0) + PRIOR_CELLS * data.variance) / (n.sum() + PRIOR_CELLS)
            pair = _of_both(squares_of, of_reference) + PRIOR_CELLS * common
            pair /= _of_both(n, of_reference) + PRIOR_CELLS
            sampling = sum_by(w**2 * (data.shares[:, s] / data.counts)[:, None], groups, n_groups)
            sampling = sampling / sums**2 + of_reference(sampling) / reference**2
            total = total + sampling * (pair - data.variance)
        total = np.maximum(total, 0.0)
        third = _of_both(data.cubes, of_reference) / np.maximum(_of_both(data.n_cubes, of_reference), 1.0)
        skewness = np.nan_to_num(third * cubed / total**1.5)
    return difference, np.sqrt(total * parts.scale), df, skewness, parts.ratio / (1 + parts.ratio)


def _of_both(x: Array, of_reference: Callable[[Array], Array]) -> Array:
    return x + of_reference(x)
