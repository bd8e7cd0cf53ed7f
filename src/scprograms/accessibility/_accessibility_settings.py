"""The arguments of the network, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scprograms._core.validate import check_choice, check_int, check_name, check_real

OPTIMIZERS, NORMALIZATIONS = ("rmsprop", "adam"), (None, "batch", "layer")


def network_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings as the network takes them."""
    check_choice("optimizer", given["optimizer"], OPTIMIZERS)
    check_choice("normalization", given["normalization"], NORMALIZATIONS)
    dropout = check_real("dropout", given["dropout"], at_least=0, at_most=0.95)
    focal, dice = (check_real(name, given[name], at_least=0) for name in ("focal_weight", "dice_weight"))
    if focal + dice == 0:
        msg = "focal_weight and dice_weight are both 0: there is no loss to lower. Give one a weight."
        raise ValueError(msg)
    alpha, patience, device = given["alpha"], given["patience"], given["device"]
    return {
        "hidden": _widths(given["hidden"]),
        "dropout": dropout,
        "normalization": given["normalization"],
        "optimizer": given["optimizer"],
        "learning_rate": check_real("learning_rate", given["learning_rate"], at_least=1e-9),
        "weight_decay": check_real("weight_decay", given["weight_decay"], at_least=0),
        "averaging": check_real("averaging", given["averaging"], at_least=0, at_most=0.9999),
        "epochs": check_int("epochs", given["epochs"], at_least=1),
        "batch_size": check_int("batch_size", given["batch_size"], at_least=2),
        "patience": None if patience is None else check_int("patience", patience, at_least=1),
        "focal_weight": focal,
        "dice_weight": dice,
        "alpha": None if alpha is None else check_real("alpha", alpha, at_least=0, at_most=1),
        "gamma": check_real("gamma", given["gamma"], at_least=0),
        "n_jobs": check_int("n_jobs", given["n_jobs"], at_least=1),
        "device": None if device is None else check_name("device", device),
    }


def _widths(hidden: Any) -> list[int]:
    if isinstance(hidden, str) or not hasattr(hidden, "__iter__"):
        msg = (
            f"hidden={hidden!r} is a {type(hidden).__name__}; pass the widths of the hidden layers, such as (512, 256)."
        )
        raise TypeError(msg)
    return [check_int("hidden", width, at_least=1) for width in hidden]
