"""What is true of a simulated screen: its programs, perturbations, guides and usages."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from scprograms._anndata.categories import categorical

NON_TARGETING = "non-targeting"
HOUSEKEEPING, IDENTITY, ACTIVITY = "housekeeping", "identity", "activity"

# The 13 protein-coding genes of the mitochondrion.
_MITOCHONDRIAL = ("ND1", "ND2", "CO1", "CO2", "ATP8", "ATP6", "CO3", "ND3", "ND4L", "ND4", "ND5", "ND6", "CYB")

# Shape of the programs. Most genes of a panel are hardly expressed; a signature has few strong and many weak genes.
_SHARE_HOUSEKEEPING_GENES = 0.02
_SHARE_HOUSEKEEPING_COUNTS = 0.98
_SHARE_MITOCHONDRIAL_COUNTS = 0.08
_SHARE_SIGNATURE_GENES = 0.04
_LOG_SD_HOUSEKEEPING, _LOG_SD_BACKGROUND, _LOG_SD_SIGNATURE = 1.0, 1.5, 1.25
_IDENTITY_SIGNAL = 0.07
_LOG_SD_IDENTITY = 0.25
_MODULE_SIZE = 4
_SHARE_MEASURED_TARGETS = 0.8


def gene_names(n_genes: int) -> pd.Index:
    """Return the names of the panel: numbered genes, then the mitochondrial ones (as many as fit the panel)."""
    n_mitochondrial = min(len(_MITOCHONDRIAL), n_genes // 40)
    mitochondrial = [f"MT-{name}" for name in _MITOCHONDRIAL[:n_mitochondrial]]
    return pd.Index([_gene_name(i) for i in range(n_genes - n_mitochondrial)] + mitochondrial)


def _gene_name(number: int) -> str:
    return f"gene_{number:04d}"


def planted_programs(n_programs: int, n_cell_types: int) -> pd.DataFrame:
    """Return ``kind`` and ``cell_type`` of each program: housekeeping, identities, activities."""
    n_activity = n_programs - n_cell_types
    return pd.DataFrame(
        {
            "kind": [HOUSEKEEPING] + [IDENTITY] * (n_cell_types - 1) + [ACTIVITY] * n_activity,
            "cell_type": [""] + [f"type_{t}" for t in range(1, n_cell_types)] + [""] * n_activity,
        },
        index=[f"planted_{i}" for i in range(n_programs)],
    )


def draw_loadings(rng: np.random.Generator, genes: pd.Index, programs: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """Return H (n_programs x n_genes, rows sum to 1) and the signatures, strongest gene first."""
    n_genes = len(genes)
    mitochondrial = np.flatnonzero(genes.str.startswith("MT-"))
    n_housekeeping = max(round(_SHARE_HOUSEKEEPING_GENES * n_genes), 2)
    housekeeping = rng.choice(n_genes - len(mitochondrial), n_housekeeping, replace=False)

    loadings = np.zeros((len(programs), n_genes))
    loadings[0] = _heavy_tailed(rng, n_genes, _LOG_SD_BACKGROUND) * (1 - _SHARE_HOUSEKEEPING_COUNTS)
    shares = [(housekeeping, _SHARE_HOUSEKEEPING_COUNTS)]
    if len(mitochondrial):
        shares[0] = (housekeeping, _SHARE_HOUSEKEEPING_COUNTS - _SHARE_MITOCHONDRIAL_COUNTS)
        shares.append((mitochondrial, _SHARE_MITOCHONDRIAL_COUNTS))
    for members, share in shares:
        loadings[0, members] += share * _heavy_tailed(rng, len(members), _LOG_SD_HOUSEKEEPING)
    signatures = [np.concatenate([members for members, _ in shares])]

    # Some genes are responsive and enter many signatures, so programs overlap more than at random.
    responsive = rng.gamma(1.0, size=n_genes)
    responsive[signatures[0]] = 0
    size = min(max(round(_SHARE_SIGNATURE_GENES * n_genes), 10), n_genes - len(signatures[0]))
    for program in range(1, len(programs)):
        members = rng.choice(n_genes, size, replace=False, p=responsive / responsive.sum())
        loadings[program, members] = _heavy_tailed(rng, size, _LOG_SD_SIGNATURE)
        signatures.append(members)

    tables = []
    for name, weights, members in zip(programs.index, loadings, signatures, strict=True):
        ranked = members[np.argsort(-weights[members], kind="stable")]
        tables.append(pd.DataFrame({"program": name, "gene": genes[ranked], "weight": weights[ranked]}))
    return loadings, pd.concat(tables, ignore_index=True)


def _heavy_tailed(rng: np.random.Generator, size: int, log_sd: float) -> np.ndarray:
    weights = rng.lognormal(0, log_sd, size)
    return weights / weights.sum()


def choose_targets(
    rng: np.random.Generator, genes: pd.Index, loadings: np.ndarray, params: dict[str, Any]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the table of the perturbations, and the column of each target that is a gene of the panel."""
    n_genes, n_perturbations = len(genes), params["n_perturbations"]
    # Screens perturb expressed genes; the most expressed are housekeeping genes, which cells cannot do without.
    expressed = np.argsort(-loadings.mean(axis=0), kind="stable")
    n_housekeeping = round(2 * _SHARE_HOUSEKEEPING_GENES * n_genes)
    candidates = np.array([i for i in expressed[n_housekeeping:] if not genes[i].startswith("MT-")])
    n_measured = min(math.ceil(_SHARE_MEASURED_TARGETS * n_perturbations), len(candidates))
    pool = candidates[: max(n_measured, n_genes // 5)]
    columns = np.sort(rng.choice(pool, n_measured, replace=False))
    target = {str(genes[column]): int(column) for column in columns}
    names = [*target, *(_gene_name(n_genes + i) for i in range(n_perturbations - n_measured))]
    null = np.arange(n_perturbations) < round(params["null_fraction"] * n_perturbations)
    table = pd.DataFrame(
        {"measured": [name in target for name in names], "null": rng.permutation(null)},
        index=names,
    )
    return table, target


def draw_design(
    rng: np.random.Generator, perturbations: pd.DataFrame, params: dict[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ``.obs`` (perturbation, guide, batch, cell_type) and the table of the guides."""
    targets = [NON_TARGETING, *perturbations.index]
    n_guides = [params["n_control_guides"]] + [params["guides_per_perturbation"]] * len(perturbations)
    of_target = np.repeat(np.arange(len(targets)), n_guides)
    number = np.concatenate([np.arange(1, n + 1) for n in n_guides])
    control = of_target == 0
    # With the default mean of 80 %, guides remove between about 50 % and 97 % of the transcripts.
    lost = np.full(len(of_target), params["knockdown"])
    if 0 < params["knockdown"] < 1:
        lost = rng.beta(12 * params["knockdown"], 12 * (1 - params["knockdown"]), len(of_target))
    guides = pd.DataFrame(
        {"perturbation": [targets[t] for t in of_target], "knockdown": np.where(control, 0.0, lost)},
        index=[f"{targets[t]}_g{i}" for t, i in zip(of_target, number, strict=True)],
    )

    # One cell each, the rest by chance: libraries are uneven.
    n_cells, n_targeting = params["n_cells"], int((~control).sum())
    n_control_cells = round(params["control_fraction"] * n_cells)
    n_control_cells = min(max(n_control_cells, int(control.sum())), n_cells - n_targeting)
    guide = np.arange(len(guides))
    for group, n_group in ((control, n_control_cells), (~control, n_cells - n_control_cells)):
        abundance = rng.gamma(4.0, size=int(group.sum()))
        extra = rng.choice(np.flatnonzero(group), n_group - int(group.sum()), p=abundance / abundance.sum())
        guide = np.concatenate([guide, extra])
    guide = rng.permutation(guide)
    obs = pd.DataFrame(
        {
            "perturbation": categorical(of_target[guide], targets),
            "guide": categorical(guide, guides.index),
            "batch": _labels(rng, "batch", params["n_batches"], n_cells),
            "cell_type": _labels(rng, "type", params["n_cell_types"], n_cells),
        },
        index=[f"cell_{i:05d}" for i in range(n_cells)],
    )
    return obs, guides


def _labels(rng: np.random.Generator, name: str, n_labels: int, n_cells: int) -> pd.Categorical:
    codes = rng.integers(n_labels, size=n_cells)
    return categorical(codes, [f"{name}_{i}" for i in range(n_labels)])


def draw_effects(
    rng: np.random.Generator,
    programs: pd.DataFrame,
    perturbations: pd.DataFrame,
    guides: pd.DataFrame,
    params: dict[str, Any],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the effects of the perturbations and of their guides, in standard deviations of the latent variables."""
    activity = np.flatnonzero(programs["kind"] == ACTIVITY)
    effects = pd.DataFrame(0.0, index=perturbations.index, columns=programs.index)
    for row in np.flatnonzero(~perturbations["null"]):
        moved = rng.choice(activity, min(int(rng.integers(1, 4)), len(activity)), replace=False)
        sizes = params["effect_size"] * rng.uniform(0.5, 1.5, len(moved))
        # The stubs know no array of positions here.
        effects.iloc[row, moved] = sizes * rng.choice([-1.0, 1.0], len(moved))  # type: ignore[index]
    of_guide = effects.reindex(guides["perturbation"], fill_value=0.0).to_numpy(copy=True)
    of_guide[:, activity] += params["guide_sd"] * rng.standard_normal((len(guides), len(activity)))
    return effects, pd.DataFrame(of_guide, index=guides.index, columns=programs.index)


def draw_usages(
    rng: np.random.Generator,
    programs: pd.DataFrame,
    obs: pd.DataFrame,
    guide_effects: pd.DataFrame,
    params: dict[str, Any],
) -> np.ndarray:
    """Return W (n_cells x n_programs): rows sum to 1, the share of each program in a cell's transcripts."""
    kind = programs["kind"].to_numpy()
    n_cells, n_activity = len(obs), int((kind == ACTIVITY).sum())
    module = np.arange(n_activity) // _MODULE_SIZE
    shared = rng.standard_normal((n_cells, module[-1] + 1))[:, module]
    own = rng.standard_normal((n_cells, n_activity))
    rho = params["usage_correlation"]
    latent = math.sqrt(rho) * shared + math.sqrt(1 - rho) * own
    latent += guide_effects.to_numpy()[obs["guide"].cat.codes][:, kind == ACTIVITY]

    # What lies in the upper tail of size `activity` is on; the place in that tail gives the exponential quantile.
    tail = special.ndtr(-latent)
    on = tail < params["activity"]
    active = np.zeros_like(tail)
    active[on] = -np.log(np.maximum(tail[on], np.finfo(float).tiny) / params["activity"])

    total = n_activity * params["activity"]  # the expected sum of the row
    amounts = np.zeros((n_cells, len(programs)))
    amounts[:, kind == ACTIVITY] = active
    amounts[:, 0] = _around(rng, total * (1 - params["signal"] - _IDENTITY_SIGNAL) / params["signal"], n_cells)
    for program in np.flatnonzero(kind == IDENTITY):
        own_type = (obs["cell_type"] == programs["cell_type"].iloc[program]).to_numpy()
        amounts[own_type, program] = _around(rng, total * _IDENTITY_SIGNAL / params["signal"], int(own_type.sum()))
    return amounts / amounts.sum(axis=1, keepdims=True)


def _around(rng: np.random.Generator, mean: float, size: int) -> np.ndarray:
    return mean * rng.lognormal(-(_LOG_SD_IDENTITY**2) / 2, _LOG_SD_IDENTITY, size)
