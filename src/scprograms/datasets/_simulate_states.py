"""Cells of several samples and cell types in known states, with batch effects and places in a tissue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scprograms._anndata.categories import categorical
from scprograms._core.validate import check_int, check_real

from ._random import RandomState, as_generator

if TYPE_CHECKING:
    from collections.abc import Sequence

_COUNTS_PER_GENE, _LOG_SD_DEPTH, _DISPERSION = 2.0, 0.3, 0.1
_TARGET = 1e4
_LOG_SD_RATE = 1.0
_TYPE_GENES, _TYPE_LOG_FOLD = 0.1, 1.5
_DOWN = 0.3
_SAME_COMPOSITION = 100.0
_PATCHES, _PATCH_SD = 3, 6.0
_FIELD, _GAP = 100.0, 20.0
_CELLS_PER_CHUNK = 2048


def simulate_states(
    n_obs: int = 4000,
    n_vars: int = 1000,
    *,
    n_samples: int = 8,
    n_cell_types: int = 4,
    n_states: int = 3,
    state_sizes: Sequence[float] | None = None,
    n_markers: int = 50,
    effect: float = 1.0,
    batch_effect: float = 0.5,
    random_state: RandomState = 0,
) -> AnnData:
    r"""Simulate cells in known states within cell types, in samples with batch effects and places.

    Every cell type has its own markers for each state, so that "state_0" of one type looks unlike that of another; what
    they share is where they are. A state changes ``n_markers`` genes, most of them up and some down, no two states of a
    type the same gene, each by so much that the means of the log-normalised expression of cells inside and outside of
    the state differ by ``effect`` standard deviations (those of cells of one state and one sample). Counts are negative
    binomial with a dispersion of 0.1, and cells have about two counts per gene.

    Parameters
    ----------
    n_obs
        Cells. Samples and cell types are about equally frequent.
    n_vars
        Genes, at least ``4 * n_states * n_markers / 3``.
    n_samples
        Samples, such as donors.
    n_cell_types
        Cell types. Each raises a tenth of the genes.
    n_states
        States in each cell type.
    state_sizes
        Expected fraction of the cells in each state; they are divided by their sum. They vary between samples. ``None``
        for equal ones.
    n_markers
        Genes that a state changes, in each cell type.
    effect
        How far a state moves its markers, in standard deviations. 0 for states that differ in name only.
    batch_effect
        Standard deviation, over samples, of the logarithm of the factor of a gene's counts in a sample.
    random_state
        Seed or generator. The same integer gives the same counts.

    Returns
    -------
    Cells x genes:

    ``.X``
        Log-normalised counts (10,000 per cell), CSR, float32.
    ``.layers["counts"]``
        Counts, CSR, float32.
    ``.obs``
        Categories ``cell_type`` ("type_0"...), ``state`` ("state_0"..., the same names in all types) and ``sample``
        ("sample_0"...).
    ``.obsm["spatial"]``
        Places, n_obs x 2: cells of a state are together in a few patches of each sample, and samples are side by side.
    ``.varm["true_markers"]``
        Table, a column "type_0:state_0" per type and state: 1 for markers that are up, -1 for those that are down, else
        0.
    ``.uns["truth"]``
        ``params``.

    Raises
    ------
    TypeError
        An argument has the wrong type.
    ValueError
        An argument is out of range, ``state_sizes`` does not fit, or there are too few genes for the markers.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_states(400, 300, n_samples=3, n_markers=20)
    >>> adata.shape, list(adata.obs), adata.obs["state"].cat.categories.tolist()
    ((400, 300), ['cell_type', 'state', 'sample'], ['state_0', 'state_1', 'state_2'])
    """
    params: dict[str, Any] = {
        "n_obs": check_int("n_obs", n_obs, at_least=1),
        "n_vars": check_int("n_vars", n_vars, at_least=10),
        "n_samples": check_int("n_samples", n_samples, at_least=1),
        "n_cell_types": check_int("n_cell_types", n_cell_types, at_least=1),
        "n_states": check_int("n_states", n_states, at_least=1),
        "n_markers": check_int("n_markers", n_markers, at_least=1),
        "effect": check_real("effect", effect, at_least=0, at_most=10),
        "batch_effect": check_real("batch_effect", batch_effect, at_least=0, at_most=5),
    }
    if 3 * n_vars < 4 * n_states * n_markers:
        msg = (
            f"n_vars={n_vars} is too few for n_states={n_states} x n_markers={n_markers}: every state of a type has "
            f"its own markers. Pass at least {-(-4 * n_states * n_markers // 3)} genes."
        )
        raise ValueError(msg)
    sizes = _check_sizes(state_sizes, n_states)
    params["state_sizes"] = sizes.tolist()
    rng = as_generator(random_state)
    params["random_state"] = int(random_state) if isinstance(random_state, int | np.integer) else str(random_state)

    sample = rng.permutation(np.arange(n_obs) % n_samples)
    cell_type = rng.integers(0, n_cell_types, n_obs)
    state = _draw_states(rng, sample, sizes, params)
    log_rates, markers = _draw_log_rates(rng, params)
    batches = params["batch_effect"] * rng.standard_normal((n_samples, n_vars))
    depth = _COUNTS_PER_GENE * n_vars * np.exp(_LOG_SD_DEPTH * rng.standard_normal(n_obs))
    counts = _draw_counts(rng, log_rates, cell_type * n_states + state, batches, sample, depth)
    total = np.asarray(counts.sum(axis=1)).ravel()
    X = sparse.csr_matrix(sparse.diags(_TARGET / np.maximum(total, 1)) @ counts).log1p().astype(np.float32)

    names = {
        "cell_type": [f"type_{i}" for i in range(n_cell_types)],
        "state": [f"state_{i}" for i in range(n_states)],
        "sample": [f"sample_{i}" for i in range(n_samples)],
    }
    codes = {"cell_type": cell_type, "state": state, "sample": sample}
    columns = [f"{t}:{s}" for t in names["cell_type"] for s in names["state"]]
    genes = pd.Index([f"gene_{i}" for i in range(n_vars)])
    return AnnData(
        X,
        obs=pd.DataFrame(
            {name: categorical(codes[name], names[name]) for name in names},
            index=[f"cell_{i}" for i in range(n_obs)],
        ),
        var=pd.DataFrame(index=genes),
        uns={"truth": {"params": params}},
        obsm={"spatial": _draw_places(rng, sample, state, params)},
        varm={"true_markers": pd.DataFrame(markers.T, index=genes, columns=columns)},
        layers={"counts": counts},
    )


def _check_sizes(state_sizes: Sequence[float] | None, n_states: int) -> np.ndarray:
    if state_sizes is None:
        return np.full(n_states, 1 / n_states)
    if isinstance(state_sizes, str) or np.ndim(state_sizes) != 1 or len(state_sizes) != n_states:
        example = [round(1 / n_states, 2)] * n_states
        msg = f"state_sizes={state_sizes!r}: pass n_states={n_states} fractions, such as {example}."
        raise ValueError(msg)
    sizes = np.array([check_real("state_sizes", size, at_least=0) for size in state_sizes])
    if not sizes.any():
        msg = "state_sizes are all zero: at least one state has cells."
        raise ValueError(msg)
    return sizes / sizes.sum()


def _draw_states(rng: np.random.Generator, sample: np.ndarray, sizes: np.ndarray, params: dict[str, Any]) -> np.ndarray:
    """Return the state of each cell; every sample has its own composition, the same in all cell types."""
    present = np.flatnonzero(sizes)
    state = np.empty(len(sample), dtype=np.int64)
    for i in range(params["n_samples"]):
        cells = np.flatnonzero(sample == i)
        state[cells] = rng.choice(present, len(cells), p=rng.dirichlet(_SAME_COMPOSITION * sizes[present]))
    return state


def _draw_log_rates(rng: np.random.Generator, params: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return log-rates per type and state (rows, states within types) and gene, and the signs of the markers."""
    n_vars, n_states, n_markers = params["n_vars"], params["n_states"], params["n_markers"]
    rate = np.exp(_LOG_SD_RATE * rng.standard_normal(n_vars))
    base = np.log(rate / rate.sum())
    response = _Response(rng, n_vars)
    allowed = np.argsort(rate)[n_vars // 4 :]  # a rare gene would need a change that no biology makes
    log_rates = np.empty((params["n_cell_types"], n_states, n_vars))
    signs = np.zeros(log_rates.shape, dtype=np.int8)
    for t in range(params["n_cell_types"]):
        of_type = base + _TYPE_LOG_FOLD * (rng.random(n_vars) < _TYPE_GENES)
        log_rates[t] = of_type - np.log(np.exp(of_type).sum())
        markers = rng.choice(allowed, (n_states, n_markers), replace=False)
        down = rng.random(markers.shape) < _DOWN
        for s in range(n_states):
            moved, sign = response.moved(log_rates[t, s, markers[s]], params["effect"], down[s])
            log_rates[t, s, markers[s]] = moved
            signs[t, s, markers[s]] = sign
    return log_rates.reshape(-1, n_vars), signs.reshape(-1, n_vars)


class _Response:
    """Mean and standard deviation of log-normalised expression as functions of the log-rate of the counts."""

    def __init__(self, rng: np.random.Generator, n_vars: int, n_draws: int = 1500) -> None:
        self.log_rates = np.linspace(-12, 0, 400) + np.log(1000 / n_vars)
        depth = _COUNTS_PER_GENE * n_vars * np.exp(_LOG_SD_DEPTH * rng.standard_normal(n_draws))
        noise = rng.gamma(1 / _DISPERSION, _DISPERSION, n_draws)
        values = np.log1p(_TARGET / depth * rng.poisson(np.exp(self.log_rates)[:, None] * depth * noise))
        self.mean = np.maximum.accumulate(values.mean(axis=1))
        self.var = values.var(axis=1)

    def moved(self, log_rates: np.ndarray, effect: float, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the log-rates at which the means are ``effect`` standard deviations away, and whether up or down.

        A gene that cannot fall as far, since counts end at zero, goes up instead.
        """
        mean, var = (np.interp(log_rates, self.log_rates, values) for values in (self.mean, self.var))
        step = (self.mean - mean[:, None]) / np.sqrt((self.var + var[:, None]) / 2 + 1e-12)
        below = self.log_rates < log_rates[:, None]
        step_down, step_up = np.where(below, step, 0), np.where(below, 0, step)
        falls = down & (step_down.min(axis=1) <= -effect)
        first_up = (step_up >= effect).argmax(axis=1)
        last_down = self.log_rates.size - 1 - (step_down <= -effect)[:, ::-1].argmax(axis=1)
        found = np.where(falls, self.log_rates[last_down], self.log_rates[first_up])
        sign = np.where(falls, -1, 1)
        return (log_rates, sign) if effect == 0 else (found, sign)


def _draw_counts(
    rng: np.random.Generator,
    log_rates: np.ndarray,
    of_class: np.ndarray,
    batches: np.ndarray,
    sample: np.ndarray,
    depth: np.ndarray,
) -> sparse.csr_matrix:
    """Draw the counts, cells x genes, a chunk of cells at a time."""
    chunks = []
    for start in range(0, len(depth), _CELLS_PER_CHUNK):
        rows = slice(start, start + _CELLS_PER_CHUNK)
        mean = depth[rows, None] * np.exp(log_rates[of_class[rows]] + batches[sample[rows]])
        mean *= rng.gamma(1 / _DISPERSION, _DISPERSION, mean.shape)
        chunks.append(sparse.csr_matrix(rng.poisson(mean).astype(np.float32)))
    return sparse.vstack(chunks, format="csr")


def _draw_places(rng: np.random.Generator, sample: np.ndarray, state: np.ndarray, params: dict[str, Any]) -> np.ndarray:
    """Return n_obs x 2: each state has a few patches in every sample, and samples lie in a square."""
    n_samples, n_states = params["n_samples"], params["n_states"]
    centres = rng.uniform(_PATCH_SD, _FIELD - _PATCH_SD, (n_samples, n_states, _PATCHES, 2))
    patch = rng.integers(0, _PATCHES, len(sample))
    places = centres[sample, state, patch] + _PATCH_SD * rng.standard_normal((len(sample), 2))
    columns = int(np.ceil(np.sqrt(n_samples)))
    corner = (_FIELD + _GAP) * np.stack([sample % columns, sample // columns], axis=1)
    inside = _FIELD - np.abs(_FIELD - np.abs(places))  # what falls outside is reflected at the border
    return np.asarray(inside + corner, dtype=np.float32)
