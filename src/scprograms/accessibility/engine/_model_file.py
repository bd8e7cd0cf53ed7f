"""Models in files: arrays and JSON in a zip archive, read without running anything."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from scprograms._core.files import atomic_path

from ._baselines import Neighbours, PeakMean, Ridge
from ._genes import GeneScaler
from ._nearby import LocalTerm
from ._network import Network

if TYPE_CHECKING:
    import os

    from scprograms._core.matrix import Array

FORMAT, VERSION = "scprograms.AccessibilityModel", 1
_HEADER = "header"


@dataclass(frozen=True)
class ModelState:
    """What a model of accessibility consists of."""

    init: dict[str, Any]
    """Arguments of the model."""
    chosen: str
    """The candidate that predicts."""
    genes: list[str]
    peaks: list[str]
    validation: pd.DataFrame
    history: pd.DataFrame
    scaler: GeneScaler
    local: LocalTerm | None
    candidates: dict[str, Any]


def write_state(state: ModelState, path: str | os.PathLike[str]) -> None:
    """Write the chosen candidate and the mean of each peak."""
    kept = list(dict.fromkeys(["mean", state.chosen]))
    header = {
        "format": FORMAT,
        "version": VERSION,
        "init": state.init,
        "model_": state.chosen,
        "genes": state.genes,
        "peaks": state.peaks,
        "validation": json.loads(state.validation.reset_index().to_json(orient="records", double_precision=15)),
        "history": json.loads(state.history.to_json(orient="records", double_precision=15)),
        "n_peaks": len(state.peaks),
    }
    # JSON rounds the last bits of a number, which probabilities are made with.
    exact = ("slope", "intercept", "threshold")
    arrays: dict[str, Array] = {f"validation/{name}": state.validation[name].to_numpy(float) for name in exact}
    arrays |= {f"scaler/{name}": getattr(state.scaler, name) for name in ("mean", "sd", "weight")}
    if state.local is not None:
        near = state.local.near
        arrays |= {f"near/{name}": getattr(near, name) for name in ("data", "indices", "indptr")}
        arrays |= {f"near/{name}": getattr(state.local, name) for name in ("centre", "scale")}
    for name in kept:
        arrays |= {f"{name}/{part}": value for part, value in _arrays_of(state.candidates[name]).items()}
    arrays[_HEADER] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    with atomic_path(path) as part, part.open("wb") as handle:
        np.savez_compressed(handle, allow_pickle=False, **arrays)


def _arrays_of(predictor: Any) -> dict[str, Array]:
    if isinstance(predictor, PeakMean):
        return {"mean": predictor.mean}
    if isinstance(predictor, Network):
        return predictor.weights
    if isinstance(predictor, Ridge):
        names = ("axes", "centre", "mean", "slopes", "local")
        return {**{name: getattr(predictor, name) for name in names}, "penalty": np.array(predictor.penalty)}
    return {
        **{name: getattr(predictor, name) for name in ("axes", "mean", "cells")},
        "observed": np.packbits(predictor.observed, axis=1),
        "n_neighbours": np.array(predictor.n_neighbours),
    }


def read_state(path: str | os.PathLike[str]) -> ModelState:
    """Read what :func:`write_state` wrote."""
    path = Path(path)
    if not path.is_file():
        msg = f"{str(path)!r} does not exist, or is a folder. Pass a file that AccessibilityModel.write wrote."
        raise FileNotFoundError(msg)
    try:
        # numpy leaves a damaged file open if it opens it
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop(_HEADER).tobytes().decode())
        known = header.get("format") == FORMAT
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError, AttributeError, TypeError) as error:
        msg = f"{str(path)!r} is no file that AccessibilityModel.write wrote, or it is damaged ({error})."
        raise ValueError(msg) from error
    if not known:
        msg = f"{str(path)!r} holds {header.get('format')!r}, no model of accessibility."
        raise ValueError(msg)
    if header["version"] > VERSION:
        msg = f"{str(path)!r} was written by a newer scprograms (format {header['version']}; this one reads {VERSION})."
        raise ValueError(msg)
    validation = pd.DataFrame(header["validation"]).set_index("model")
    for name in ("slope", "intercept", "threshold"):
        validation[name] = arrays[f"validation/{name}"]
    mean, sd, weight = (arrays[f"scaler/{name}"] for name in ("mean", "sd", "weight"))
    scaler = GeneScaler(mean=mean, sd=sd, weight=weight, max_value=header["init"]["max_value"])
    shape = (len(header["genes"]), len(header["peaks"]))
    local = None
    if "near/data" in arrays:
        near = sparse.csc_array(tuple(arrays[f"near/{name}"] for name in ("data", "indices", "indptr")), shape=shape)
        local = LocalTerm(near, arrays["near/centre"], arrays["near/scale"], np.empty((0, shape[1])))
    candidates = {}
    for name in dict.fromkeys(["mean", header["model_"]]):
        parts = {part.partition("/")[2]: value for part, value in arrays.items() if part.startswith(f"{name}/")}
        candidates[name] = _predictor(name, parts, scaler, shape[1])
    history = pd.DataFrame(header["history"], columns=["epoch", "loss", "validation_loss", "validation_pr_auc"])
    return ModelState(
        init=header["init"],
        chosen=header["model_"],
        genes=header["genes"],
        peaks=header["peaks"],
        validation=validation,
        history=history,
        scaler=scaler,
        local=local,
        candidates=candidates,
    )


def _predictor(kind: str, arrays: dict[str, Array], scaler: GeneScaler, n_peaks: int) -> Any:
    if kind == "mean":
        return PeakMean(arrays["mean"])
    if kind == "network":
        return Network(scaler, arrays)
    if kind == "ridge":
        penalty = float(arrays.pop("penalty"))
        return Ridge(scaler=scaler, penalty=penalty, **arrays)
    observed = np.unpackbits(arrays["observed"], axis=1, count=n_peaks).astype(bool)
    n = int(arrays["n_neighbours"])
    return Neighbours(scaler, arrays["axes"], arrays["mean"], arrays["cells"], observed, n)
