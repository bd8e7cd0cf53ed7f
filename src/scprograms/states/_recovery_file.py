"""Recovery models as tables, for files and for users."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from .engine import Draws, HeldOut, Identity, Profiles, Signature, Trained
from .store import ModelFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .engine import Calibration

_PARTS = ("identity", "profiles")


class ModelState(Protocol):
    """What a recovery model consists of, as :class:`scprograms.tl.RecoveryModel` has it."""

    @property
    def genes(self) -> list[str]: ...
    @property
    def type_names(self) -> list[str]: ...
    @property
    def state_names(self) -> list[str]: ...
    @property
    def trained(self) -> Trained: ...
    @property
    def held_out(self) -> HeldOut: ...
    @property
    def held_out_types(self) -> np.ndarray: ...
    @property
    def summary(self) -> pd.DataFrame: ...
    @property
    def params(self) -> Mapping[str, Any]: ...
    @property
    def calibration(self) -> Calibration: ...


def feature_names(genes: list[str]) -> list[str]:
    """Return ``GENE__pos`` of all genes, then ``GENE__neg``."""
    return [f"{gene}__{sign}" for sign in ("pos", "neg") for gene in genes]


def thresholds(model: ModelState) -> pd.DataFrame:
    """Return ``cell_type, state, threshold, n_held_out``."""
    rows = [
        (
            model.type_names[t],
            model.state_names[c],
            model.calibration.threshold(t, int(c)),
            model.calibration.n_cells.get((t, int(c)), 0),
        )
        for t, states in model.trained.states.items()
        for c in states
    ]
    return pd.DataFrame(rows, columns=["cell_type", "state", "threshold", "n_held_out"])


def first_difference(a: ModelState, b: ModelState) -> str:
    """Return what two models of some runs each differ in, beside the runs; "" where in nothing."""
    for name in sorted(set(a.params) | set(b.params)):
        if a.params.get(name) != b.params.get(name):
            return f"{name} ({a.params.get(name)!r} and {b.params.get(name)!r})"
    if (a.type_names, a.state_names) != (b.type_names, b.state_names):
        return "their cell types and states"
    if set(a.trained.draws) != set(b.trained.draws):
        return "the cell types that were learned"
    names = [[[model.genes[j] for j in draws.genes] for draws in model.trained.draws.values()] for model in (a, b)]
    parts = [
        [part for draws in model.trained.draws.values() for part in (draws.effects, draws.center, draws.scale)]
        for model in (a, b)
    ]
    if names[0] != names[1] or not all(np.allclose(x, y) for x, y in zip(*parts, strict=True)):
        return "the expression that they were trained on"
    return ""


def keep_used_genes(genes: list[str], trained: Trained) -> tuple[list[str], Trained]:
    """Return the genes that a model needs, and the model with columns renumbered to them."""
    identity, profiles = trained.identity, trained.profiles
    others = [part for part in (identity, profiles) if part is not None]
    parts: list[Any] = [*trained.signatures.values(), *trained.draws.values(), *others]
    used = np.unique(np.concatenate([part.genes for part in parts]))

    def renumbered(part: Any) -> Any:
        return replace(part, genes=np.searchsorted(used, part.genes))

    return [genes[j] for j in used], replace(
        trained,
        signatures={t: renumbered(part) for t, part in trained.signatures.items()},
        identity=None if identity is None else renumbered(identity),
        draws={t: renumbered(part) for t, part in trained.draws.items()},
        profiles=None if profiles is None else renumbered(profiles),
    )


# --- files ---------------------------------------------------------------------------------------------------------


def to_file(model: ModelState) -> ModelFile:
    """Return a model as the arrays and tables that are written."""
    signatures = model.trained.signatures
    used = np.unique(np.concatenate([signature.genes for signature in signatures.values()]))
    rows = [(t, i, int(c)) for t, signature in signatures.items() for i, c in enumerate(signature.states)]
    shape = (len(rows), 2 * len(used))
    layers = {name: np.full(shape, np.nan) for name in ("W", "spread", "chosen", "effects", "center", "scale")}
    for row, (t, i, _) in enumerate(rows):
        signature = signatures[t]
        at = np.searchsorted(used, signature.genes)
        both = np.concatenate([at, at + len(used)])
        for name in ("W", "spread", "chosen"):
            layers[name][row, both] = getattr(signature, name)[:, i]
        layers["effects"][row, both] = np.tile(signature.effects[:, i], 2)
        for name in ("center", "scale"):
            layers[name][row, both] = np.tile(getattr(signature, name), 2)
    names = [model.genes[j] for j in used]
    states = pd.DataFrame(
        {
            "cell_type": [model.type_names[t] for t, _, _ in rows],
            "state": [model.state_names[c] for _, _, c in rows],
        }
    ).assign(**{name: thresholds(model)[name].to_numpy()[: len(rows)] for name in ("threshold", "n_held_out")})
    features = pd.DataFrame({"gene": names * 2, "sign": ["pos"] * len(names) + ["neg"] * len(names)})
    tables: dict[str, Any] = {
        "params": dict(model.params),
        "summary": model.summary.reset_index(drop=True),
        "cell_types": np.array(model.type_names, dtype=object),
        "states": np.array(model.state_names, dtype=object),
        "genes": np.array(model.genes, dtype=object),
        "skipped": pd.DataFrame(
            {
                "cell_type": [model.type_names[t] for t in model.trained.skipped],
                "reason": list(model.trained.skipped.values()),
            },
            dtype=object,
        ),
        "held_out": pd.DataFrame(
            {
                "cell_type": model.held_out_types[model.held_out.cells],
                "state": model.held_out.state,
                "agreement": model.held_out.agreement,
                "margin": model.held_out.margin,
            }
        ).rename(index=str),
    }
    for name in _PARTS:
        if (part := getattr(model.trained, name)) is not None:
            tables[name] = dict(vars(part))
    if single := model.trained.single:
        tables["single"] = {"cell_types": np.array(list(single)), "states": np.array(list(single.values()))}
    if model.trained.draws:
        tables["runs"] = {f"cell_type_{t}": dict(vars(draws)) for t, draws in model.trained.draws.items()}
    return ModelFile(layers.pop("W"), layers, states, features.set_axis(feature_names(names), axis=0), tables)


def from_file(stored: ModelFile) -> dict[str, Any]:
    """Return what a model is made of."""
    tables = stored.tables
    genes, types, states = ([str(x) for x in tables[name]] for name in ("genes", "cell_types", "states"))
    column = {gene: j for j, gene in enumerate(genes)}
    p = stored.signatures.shape[1] // 2
    columns = np.array([column[str(gene)] for gene in stored.features["gene"].iloc[:p]], dtype=np.int64)
    signatures = {}
    of_row = stored.states["cell_type"].astype(str).to_numpy()
    for name in dict.fromkeys(of_row):
        rows = np.flatnonzero(of_row == name)
        at = np.flatnonzero(~np.isnan(stored.signatures[rows[0], :p]))
        both = np.concatenate([at, at + p])
        signatures[types.index(name)] = Signature(
            states=np.array([states.index(str(state)) for state in stored.states["state"].iloc[rows]]),
            genes=columns[at],
            W=np.ascontiguousarray(stored.signatures[np.ix_(rows, both)].T),
            spread=np.ascontiguousarray(stored.layers["spread"][np.ix_(rows, both)].T),
            chosen=np.ascontiguousarray(stored.layers["chosen"][np.ix_(rows, both)].T),
            effects=np.ascontiguousarray(stored.layers["effects"][np.ix_(rows, at)].T),
            center=stored.layers["center"][rows[0], at],
            scale=stored.layers["scale"][rows[0], at],
        )
    skipped = {
        types.index(str(name)): str(reason)
        for name, reason in zip(tables["skipped"]["cell_type"], tables["skipped"]["reason"], strict=True)
    }
    parts = {name: {k: np.asarray(v) for k, v in tables[name].items()} for name in _PARTS if name in tables}
    identity = Identity(**parts["identity"]) if "identity" in parts else None
    profiles = Profiles(**parts["profiles"]) if "profiles" in parts else None
    single = tables.get("single", {"cell_types": (), "states": ()})
    of_type = {int(t): int(c) for t, c in zip(single["cell_types"], single["states"], strict=True)}
    draws = {
        int(name.rpartition("_")[2]): Draws(**{k: np.asarray(v) for k, v in part.items()})
        for name, part in tables.get("runs", {}).items()
    }
    held = tables["held_out"]
    return {
        "genes": genes,
        "type_names": types,
        "state_names": states,
        "trained": Trained(signatures, identity, skipped, dict(sorted(draws.items())), of_type, profiles),
        "held_out": HeldOut(
            np.arange(len(held)), *(held[name].to_numpy() for name in ("state", "agreement", "margin"))
        ),
        "held_out_types": held["cell_type"].to_numpy(),
        "summary": tables["summary"].reset_index(drop=True),
        "params": {name: _plain(value) for name, value in tables["params"].items()},
    }


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
