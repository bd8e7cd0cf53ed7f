"""Models in files: arrays and JSON in a zip archive, read without running anything."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from scprograms._files import atomic_path

from ._baselines import Neighbours, PeakMean, Ridge
from ._genes import GeneScaler
from ._model import AccessibilityModel
from ._nearby import LocalTerm
from ._network import Network

FORMAT, VERSION = "scprograms.AccessibilityModel", 1
_HEADER = "header"


def write_model(model: AccessibilityModel, path: str | os.PathLike[str]) -> None:
    """Write the chosen model and the mean of each peak."""
    if not hasattr(model, "model_"):
        msg = "This model was not fitted: there is nothing to write. Call fit first."
        raise ValueError(msg)
    kept = list(dict.fromkeys(["mean", model.model_]))
    header = {
        "format": FORMAT,
        "version": VERSION,
        "init": {
            "model": model.model,
            "n_components": model.n_components,
            "max_value": model.max_value,
            "gene_boost": model.gene_boost,
            "settings": {name: list(v) if isinstance(v, tuple) else v for name, v in model.settings.items()},
            "random_state": model.random_state,
        },
        "model_": model.model_,
        "genes": model.genes_,
        "peaks": model.peaks_,
        "validation": json.loads(model.validation_.reset_index().to_json(orient="records", double_precision=15)),
        "history": json.loads(model.history_.to_json(orient="records", double_precision=15)),
        "n_peaks": len(model.peaks_),
    }
    # JSON rounds the last bits of a number, which probabilities are made with.
    exact = ("slope", "intercept", "threshold")
    arrays: dict[str, np.ndarray] = {f"validation/{name}": model.validation_[name].to_numpy(float) for name in exact}
    scaler = model._scaler
    arrays |= {f"scaler/{name}": getattr(scaler, name) for name in ("mean", "sd", "weight")}
    if model._local is not None:
        near = model._local.near
        arrays |= {f"near/{name}": getattr(near, name) for name in ("data", "indices", "indptr")}
        arrays |= {f"near/{name}": getattr(model._local, name) for name in ("centre", "scale")}
    for name in kept:
        arrays |= {f"{name}/{part}": value for part, value in _arrays_of(model.candidates_[name]).items()}
    arrays[_HEADER] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    with atomic_path(path) as part, part.open("wb") as handle:
        np.savez_compressed(handle, allow_pickle=False, **arrays)


def _arrays_of(predictor: Any) -> dict[str, np.ndarray]:
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


def read_model(path: str | os.PathLike[str]) -> AccessibilityModel:
    """Return the model of a file."""
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
    model = AccessibilityModel(**header["init"])
    model.model_, model.genes_, model.peaks_ = header["model_"], header["genes"], header["peaks"]
    model.validation_ = pd.DataFrame(header["validation"]).set_index("model")
    for name in ("slope", "intercept", "threshold"):
        model.validation_[name] = arrays[f"validation/{name}"]
    model.history_ = pd.DataFrame(header["history"], columns=["epoch", "loss", "validation_loss", "validation_pr_auc"])
    mean, sd, weight = (arrays[f"scaler/{name}"] for name in ("mean", "sd", "weight"))
    scaler = GeneScaler(mean=mean, sd=sd, weight=weight, max_value=model.max_value)
    model._scaler = scaler
    model._local = None
    shape = (len(model.genes_), len(model.peaks_))
    if "near/data" in arrays:
        near = sparse.csc_array(tuple(arrays[f"near/{name}"] for name in ("data", "indices", "indptr")), shape=shape)
        model._local = LocalTerm(near, arrays["near/centre"], arrays["near/scale"], np.empty((0, shape[1])))
    model.candidates_ = {
        name: _predictor(
            name,
            {part.partition("/")[2]: value for part, value in arrays.items() if part.startswith(f"{name}/")},
            scaler,
            shape[1],
        )
        for name in dict.fromkeys(["mean", model.model_])
    }
    return model


def _predictor(kind: str, arrays: dict[str, np.ndarray], scaler: GeneScaler, n_peaks: int) -> Any:
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
