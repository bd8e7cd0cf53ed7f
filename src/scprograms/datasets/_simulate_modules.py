"""Pseudo-bulk accessibility with known modules: which features belong to one, to several, or to all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scprograms._anndata.categories import categorical
from scprograms._core.validate import check_int, check_real

from ._random import RandomState, as_generator

SPECIFIC, SHARED, NON_SPECIFIC = "specific", "shared", "non-specific"
_ENTRIES_PER_CHUNK = 2**22
_FEATURES_TO_CALIBRATE_WITH = 4000
_LOG_SD_SIZE = 0.8
_N_MINOR = 2
_LEAST_SHARED_WEIGHT = 0.5
_WIDTH, _SPACING, _FEATURES_PER_CHROMOSOME = 501, 1500, 50_000


def simulate_modules(
    n_features: int = 10_000,
    n_subtypes: int = 20,
    n_modules: int = 8,
    *,
    n_regions: int = 3,
    specific_fraction: float = 0.2,
    nonspecific_fraction: float = 0.2,
    density: float = 0.38,
    background: float = 0.002,
    region_sd: float = 0.2,
    dispersion: float = 0.05,
    random_state: RandomState = 0,
) -> AnnData:
    r"""Simulate counts of chromatin accessibility, summed by subtype and region, with known modules.

    A sample is a subtype in a region. A subtype uses one module fully and two more at 5 to 30 % of that; regions differ
    by a factor for every module. A feature is *specific* to one module, *shared* by several (two up to a quarter of the
    modules, at least three), or *non-specific*: accessible through all of them alike. With H the usages of the samples,
    w the weights of a feature, and a the feature's size,

    .. math::

        \text{counts}_{ij} \sim \text{NB}\left(c\, a_j\, ((H w_j)_i + b),\ \phi\right),

    and c such that the asked share of all counts is not zero.

    Parameters
    ----------
    n_features
        Features, such as candidate cis-regulatory elements (cCREs).
    n_subtypes, n_regions
        Cell subtypes and regions; there are n_subtypes x n_regions samples.
    n_modules
        Modules, at least 2 and at most ``n_subtypes``: every module is the main one of a subtype.
    specific_fraction, nonspecific_fraction
        Shares of the features that are specific and non-specific; the rest is shared.
    density
        Share of the counts that are not zero, above 0.
    background
        b: accessibility everywhere, in units of that of a subtype that uses the feature's module fully.
    region_sd
        Standard deviation of the logarithm of a module's factor in a sample.
    dispersion
        :math:`\phi`: the variance of a count with mean m is :math:`m + \phi m^2`. 0 gives Poisson counts.
    random_state
        Seed or generator. The same integer gives the same counts.

    Returns
    -------
    Samples x features:

    ``.X``
        Counts, CSC, float32.
    ``.obs``
        Categories ``subtype``, ``region`` and ``true_module``, the main module of the subtype.
    ``.var``
        ``chrom``, ``start``, ``end``; categories ``true_kind`` ("specific", "shared", "non-specific") and
        ``true_module`` (of specific features; else missing). Names are ``chrom:start-end``.
    ``.obsm["true_usages"]``, ``.varm["true_loadings"]``
        Usages, and weights of the features times their sizes.
    ``.uns["truth"]``
        ``params``.

    Raises
    ------
    TypeError
        An argument has the wrong type.
    ValueError
        An argument is out of range, there are more modules than subtypes, the two fractions exceed 1, or no depth of
        sequencing gives the density.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_modules(1000, 12, 4)
    >>> adata.shape, list(adata.var)
    ((36, 1000), ['chrom', 'start', 'end', 'true_kind', 'true_module'])
    """
    params: dict[str, Any] = {
        "n_features": check_int("n_features", n_features, at_least=10),
        "n_subtypes": check_int("n_subtypes", n_subtypes, at_least=2),
        "n_modules": check_int("n_modules", n_modules, at_least=2),
        "n_regions": check_int("n_regions", n_regions, at_least=1),
        "specific_fraction": check_real("specific_fraction", specific_fraction, at_least=0, at_most=1),
        "nonspecific_fraction": check_real("nonspecific_fraction", nonspecific_fraction, at_least=0, at_most=1),
        "density": check_real("density", density, at_least=1e-4, at_most=1),
        "background": check_real("background", background, at_least=0),
        "region_sd": check_real("region_sd", region_sd, at_least=0),
        "dispersion": check_real("dispersion", dispersion, at_least=0),
    }
    _check_together(params)
    rng = as_generator(random_state)
    params["random_state"] = int(random_state) if isinstance(random_state, int | np.integer) else str(random_state)

    main = rng.permutation(np.arange(n_subtypes) % n_modules)
    usages = _draw_usages(rng, main, params)
    kind, weights = _draw_weights(rng, params)
    size = np.exp(_LOG_SD_SIZE * rng.standard_normal(n_features))
    depth = _find_depth(usages, weights, size, params)
    counts = _draw_counts(rng, usages, weights, depth * size, params)

    names = [f"module_{i}" for i in range(n_modules)]
    subtype = np.repeat(np.arange(n_subtypes), n_regions)
    region = np.tile(np.arange(n_regions), n_subtypes)
    obs = pd.DataFrame(
        {
            "subtype": categorical(subtype, [f"subtype_{i}" for i in range(n_subtypes)]),
            "region": categorical(region, [f"region_{i}" for i in range(n_regions)]),
            "true_module": categorical(main[subtype], names),
        },
        index=[f"subtype_{s}_region_{r}" for s, r in zip(subtype, region, strict=True)],
    )
    var = _coordinates(n_features)
    var["true_kind"] = categorical(kind, [SPECIFIC, SHARED, NON_SPECIFIC])
    var["true_module"] = categorical(np.where(kind == 0, weights.argmax(axis=1), -1), names)
    return AnnData(
        counts,
        obs=obs,
        var=var,
        uns={"truth": {"params": params}},
        obsm={"true_usages": usages.astype(np.float32)},
        varm={"true_loadings": (weights * size[:, None]).astype(np.float32)},
    )


def _check_together(params: dict[str, Any]) -> None:
    if params["n_modules"] > params["n_subtypes"]:
        msg = (
            f"n_modules={params['n_modules']} exceeds n_subtypes={params['n_subtypes']}: every module is the main one "
            "of a subtype. Pass fewer modules or more subtypes."
        )
        raise ValueError(msg)
    total = params["specific_fraction"] + params["nonspecific_fraction"]
    if total > 1:
        msg = f"specific_fraction + nonspecific_fraction = {total:g}: together they are at most 1."
        raise ValueError(msg)


def _draw_usages(rng: np.random.Generator, main: np.ndarray, params: dict[str, Any]) -> np.ndarray:
    """Return n_samples x n_modules: samples of a subtype share its modules."""
    n_subtypes, n_modules = params["n_subtypes"], params["n_modules"]
    base = np.zeros((n_subtypes, n_modules))
    for s in range(n_subtypes):
        others = np.flatnonzero(np.arange(n_modules) != main[s])
        minor = rng.choice(others, min(_N_MINOR, len(others)), replace=False)
        base[s, minor] = rng.uniform(0.05, 0.3, len(minor))
        base[s, main[s]] = 1
    usages = np.repeat(base, params["n_regions"], axis=0)
    return np.asarray(usages * np.exp(params["region_sd"] * rng.standard_normal(usages.shape)))


def _draw_weights(rng: np.random.Generator, params: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the kind of each feature (0 specific, 1 shared, 2 non-specific) and its weights in the modules."""
    n, k = params["n_features"], params["n_modules"]
    n_specific, n_wide = round(params["specific_fraction"] * n), round(params["nonspecific_fraction"] * n)
    kind = np.ones(n, dtype=np.int64)
    kind[:n_specific] = 0
    kind[n - min(n_wide, n - n_specific) :] = 2
    rng.shuffle(kind)
    widest = min(k - 1, max(3, k // 4))
    n_members = np.where(kind == 0, 1, rng.integers(2, widest + 1, n) if widest >= 2 else 2)
    n_members[kind == 2] = k
    rank = rng.random((n, k)).argsort(axis=1).argsort(axis=1)
    weights = rng.uniform(_LEAST_SHARED_WEIGHT, 1, (n, k)) * (rank < n_members[:, None])
    weights[kind == 0] = weights[kind == 0] > 0
    return kind, weights


def _find_depth(usages: np.ndarray, weights: np.ndarray, size: np.ndarray, params: dict[str, Any]) -> float:
    """Return the factor of the means at which the asked share of the counts is not zero."""
    few = slice(0, _FEATURES_TO_CALIBRATE_WITH)  # kinds are in random order
    mean = (weights[few] @ usages.T + params["background"]) * size[few, None]
    phi = params["dispersion"]

    def share(log_depth: float) -> float:
        m = mean * np.exp(log_depth)
        return float(np.mean(-np.expm1(-m if phi == 0 else -np.log1p(phi * m) / phi)))

    low, high = -20.0, 20.0
    if share(high) < params["density"]:
        msg = (
            f"density={params['density']:g} cannot be reached: only {share(high):.3f} of the counts have a mean above "
            "zero. Pass a background above 0, or a lower density."
        )
        raise ValueError(msg)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if share(middle) < params["density"] else (low, middle)
    return float(np.exp(high))


def _draw_counts(
    rng: np.random.Generator, usages: np.ndarray, weights: np.ndarray, size: np.ndarray, params: dict[str, Any]
) -> sparse.csc_matrix:
    """Draw the counts, samples x features, a chunk of features at a time."""
    step = max(1, _ENTRIES_PER_CHUNK // len(usages))
    chunks = []
    for start in range(0, len(weights), step):
        rows = slice(start, start + step)
        mean = (weights[rows] @ usages.T + params["background"]) * size[rows, None]
        if params["dispersion"] > 0:
            mean *= rng.gamma(1 / params["dispersion"], params["dispersion"], mean.shape)
        chunks.append(sparse.csr_matrix(rng.poisson(mean).astype(np.float32)))
    return sparse.csc_matrix(sparse.vstack(chunks, format="csr").T)


def _coordinates(n_features: int) -> pd.DataFrame:
    """Return evenly spaced intervals, named after their coordinates."""
    chromosome, place = np.divmod(np.arange(n_features), _FEATURES_PER_CHROMOSOME)
    start = 10_000 + place * _SPACING
    table = pd.DataFrame({"chrom": [f"chr{c + 1}" for c in chromosome], "start": start, "end": start + _WIDTH})
    names = [f"{c}:{s}-{e}" for c, s, e in zip(table["chrom"], table["start"], table["end"], strict=True)]
    table["chrom"] = table["chrom"].astype("category")
    return table.set_index(pd.Index(names))
