"""Screens in which no perturbation does anything: thousands of programs at once, for measuring type-I errors.

Every program (column) is an independent draw on one screen: targets with a few guides each and control guides. What
differs between guides, batches or depths acts on the probability that a program is active in a cell (on the mean, if
the null is normal), drawn anew for every program.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

GAMMA_SHAPE = 0.3
ZEROS = {"zeros70": 0.70, "zeros97": 0.97}
NORMAL = "normal"
KINDS = (NORMAL, *ZEROS)
CONTROL = 0


@dataclass(frozen=True)
class Screen:
    """One screen: what each of its cells is, and the usages of programs that no perturbation moves."""

    values: np.ndarray
    """Usages, n_obs x n_programs, float32."""
    codes: np.ndarray
    """Perturbation of each cell; 0 is control."""
    replicates: np.ndarray
    """Guide of each cell; the guides of the control come first."""
    batch: np.ndarray
    depth: np.ndarray
    """Logarithm of the sequencing depth, about 0."""


def simulate_null(
    kind: str = "zeros70",
    *,
    n_programs: int = 500,
    seed: int = 0,
    n_targets: int = 50,
    guides_per_target: int = 3,
    control_guides: int = 15,
    cells_per_guide: int | tuple[int, int] = 50,
    guide_variance: float = 0.0,
    batches: str = "none",
    depth_shift: float = 0.0,
    effects: np.ndarray | None = None,
) -> Screen:
    """Draw one screen.

    Parameters
    ----------
    kind
        Usage of a cell: "normal"; "zeros70" or "zeros97": zero with that probability, else gamma(0.3).
    n_programs, seed
        Number of columns; the same seed gives the same screen.
    n_targets, guides_per_target, control_guides
        The design.
    cells_per_guide
        The same for every guide, or the ends of a log-uniform distribution.
    guide_variance
        Share of the variance of a usage that lies between guides of the same perturbation.
    batches
        "none": three batches that do nothing; "mild" or "uneven": perturbations spread over them unevenly, and the
        batches differ by 1 and by 2 on the logit scale (on the normal scale: standard deviations).
    depth_shift
        Standard deviation of the mean log depth between perturbations (0.5 within); usage rises with depth.
    effects
        Planted effects, perturbations (control first) x programs, in standard deviations: added to the mean if the
        kind is normal, else reached by changing the probability of being active.
    """
    rng = np.random.default_rng(seed)
    n_guides = control_guides + n_targets * guides_per_target
    target = np.concatenate([np.zeros(control_guides, int), np.repeat(np.arange(1, n_targets + 1), guides_per_target)])
    if isinstance(cells_per_guide, tuple):
        low, high = np.log(cells_per_guide[0]), np.log(cells_per_guide[1])
        sizes = np.rint(np.exp(rng.uniform(low, high, n_guides))).astype(int)
    else:
        sizes = np.full(n_guides, cells_per_guide)
    replicates = np.repeat(np.arange(n_guides), sizes)
    codes = target[replicates]
    concentration = {"none": 1e6, "mild": 10.0, "uneven": 1.0}[batches]
    share = rng.dirichlet(np.full(3, concentration), n_targets + 1).cumsum(axis=1)
    batch = np.minimum((rng.random(len(codes))[:, None] > share[codes]).sum(axis=1), 2)
    depth = rng.normal(0, 0.5, len(codes)) + depth_shift * rng.normal(size=n_targets + 1)[codes]
    shift = {"none": 0.0, "mild": 1.0, "uneven": 2.0}[batches] / 2 * (batch - 1.0)
    if depth_shift:
        shift = shift + depth
    cells = (len(codes), n_programs)
    if kind == NORMAL:
        values = rng.standard_normal(cells, dtype=np.float32)
        mean = np.sqrt(guide_variance / (1 - guide_variance)) * rng.normal(size=(n_guides, n_programs))
        if effects is not None:
            mean += effects[target]
        values += mean.astype(np.float32)[replicates] + shift[:, None].astype(np.float32)
        return Screen(values, codes, replicates, batch, depth)
    logit, spread = _logit_normal(1 - ZEROS[kind], guide_variance)
    logits = logit + spread * rng.normal(size=(n_guides, n_programs))
    if effects is not None:
        active = np.clip(expit(logits) + effects[target] * usage_sd(kind) / GAMMA_SHAPE, 1e-9, 1 - 1e-9)
        logits = np.log(active) - np.log1p(-active)
    if np.any(shift):
        probability = expit(logits[replicates] + shift[:, None]).astype(np.float32)
    else:
        probability = expit(logits).astype(np.float32)[replicates]
    active = rng.random(cells, dtype=np.float32) < probability
    values = np.zeros(cells, dtype=np.float32)
    values[active] = rng.standard_gamma(GAMMA_SHAPE, int(active.sum()), dtype=np.float32)
    return Screen(values, codes, replicates, batch, depth)


def usage_sd(kind: str) -> float:
    """Return the standard deviation of a usage among the cells of one guide."""
    if kind == NORMAL:
        return 1.0
    p = 1 - ZEROS[kind]
    return float(np.sqrt(p * GAMMA_SHAPE * (1 + GAMMA_SHAPE) - (p * GAMMA_SHAPE) ** 2))


def _logit_normal(active: float, share: float) -> tuple[float, float]:
    """Return mean and standard deviation of logits whose probability has mean ``active`` and the variance wanted."""
    center = float(np.log(active / (1 - active)))
    if share == 0:
        return center, 0.0
    x, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()

    def centered(spread: float) -> float:
        return float(brentq(lambda m: weights @ expit(m + spread * x) - active, -40, 40))

    def variance(spread: float) -> float:
        return float(weights @ (expit(centered(spread) + spread * x) - active) ** 2)

    total = active * GAMMA_SHAPE * (1 + GAMMA_SHAPE) - (active * GAMMA_SHAPE) ** 2
    spread = float(brentq(lambda s: variance(s) - share * total / GAMMA_SHAPE**2, 1e-6, 20))
    return centered(spread), spread
