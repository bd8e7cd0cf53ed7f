"""Reading and writing of chromatin modules: of features, of samples, and of groups of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scprograms._anndata import slot_names
from scprograms._anndata.matrix import check_adata
from scprograms._anndata.slot_names import Slots
from scprograms._anndata.slots import read_fit, read_loadings, read_model, read_usages
from scprograms._anndata.transaction import write
from scprograms._core.validate import check_has_key, listing

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy import sparse


@dataclass(frozen=True)
class Modules:
    """Everything that an assignment leaves in an AnnData."""

    features: pd.DataFrame
    """``feature_score, module, top_module, module_share`` of each feature, under the names of :class:`Slots`."""
    shared: sparse.csr_matrix
    samples: pd.DataFrame
    summary: pd.DataFrame
    params: Mapping[str, Any]
    groups: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def read_factors(adata: AnnData, key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return loadings (features x k), usages (samples x k) and the mask of the features that entered the fit."""
    check_adata(adata)
    W, H = (np.ascontiguousarray(read(adata, key).to_numpy()) for read in (read_loadings, read_usages))
    n_samples, k = H.shape
    if k < 2:
        msg = f"key={key!r} has {k} module: a feature cannot be more specific to it than to others. Fit at least 2."
        raise ValueError(msg)
    if k > n_samples:
        msg = (
            f"key={key!r} has {k} modules of {n_samples} samples: modules beyond the samples mean nothing. Fit at most "
            f"{n_samples}."
        )
        raise ValueError(msg)
    for name, values in ((f"adata.varm[{Slots(key).loadings!r}]", W), (f"adata.obsm[{Slots(key).usages!r}]", H)):
        if not np.isfinite(values).all():
            msg = f"{name} has NaN or infinite values: fit again."
            raise ValueError(msg)
        if (low := values.min(initial=0)) < 0:
            msg = (
                f"{name} has {int((values < 0).sum())} negative values, the lowest is {low:g}; shares need "
                "non-negative ones: fit with scp.tl.nmf."
            )
            raise ValueError(msg)
    if not W.any():
        msg = f"key={key!r}: no feature has a loading above zero. Fit again."
        raise ValueError(msg)
    return W, H, read_model(adata, key)["used"].to_numpy(dtype=bool)


def write_feature_score(adata: AnnData, key: str, score: np.ndarray, params: Mapping[str, Any]) -> None:
    """Write the score of each feature."""
    entry = {**adata.uns[key], slot_names.FEATURE_SCORE_PARAMS: dict(params)}
    write(adata, uns={key: entry}, var={Slots(key).feature_score: score})


def write_modules(adata: AnnData, key: str, found: Modules) -> None:
    """Write an assignment; the tables of an older one are replaced."""
    params = dict(found.params)
    entries = {
        slot_names.FEATURE_SCORE_PARAMS: {name: params[name] for name in ("method", "scale")},
        slot_names.MODULES: found.summary,
        slot_names.MODULES_PARAMS: params,
        slot_names.MODULE_GROUPS: {slot_names.table_name(name): table for name, table in found.groups.items()},
    }
    write(
        adata,
        uns={key: {**adata.uns[key], **entries}},
        var={
            str(name): column.to_numpy() if str(name).endswith("score") else column.array
            for name, column in found.features.items()
        },
        obs={str(name): column.array for name, column in found.samples.items()},
        varm={Slots(key).shared_modules: found.shared},
    )


def _modules_of(adata: AnnData, key: str) -> Mapping[str, Any]:
    entry = read_fit(adata, key)
    check_has_key(
        entry,
        slot_names.MODULES,
        where=f"adata.uns[{key!r}]",
        hint=f"Call scp.tl.assign_modules(adata, key={key!r}) first.",
    )
    return entry


def read_modules(adata: AnnData, key: str) -> pd.DataFrame:
    """Return a row per module; ``.attrs`` holds the parameters and thresholds."""
    entry = _modules_of(adata, key)
    table = entry[slot_names.MODULES].copy()
    table.attrs.update({name: _plain(value) for name, value in entry[slot_names.MODULES_PARAMS].items()})
    return table


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def read_feature_modules(adata: AnnData, key: str) -> pd.DataFrame:
    """Return a row per feature: ``score, module, top_module, share, n_modules``."""
    _modules_of(adata, key)
    slots = Slots(key)
    columns = {
        "score": slots.feature_score,
        "module": slots.module,
        "top_module": slots.top_module,
        "share": slots.module_share,
    }
    for column in columns.values():
        check_has_key(adata.var, column, where="adata.var", hint="Call scp.tl.assign_modules again.")
    table = pd.DataFrame({name: adata.var[column] for name, column in columns.items()})
    check_has_key(adata.varm, slots.shared_modules, where="adata.varm", hint="Call scp.tl.assign_modules again.")
    n_shared = np.diff(adata.varm[slots.shared_modules].tocsr().indptr)
    own = table["module"].astype(str).to_numpy() == table["top_module"].astype(str).to_numpy()
    table["n_modules"] = np.where(own & (table["module"] != slot_names.INACTIVE).to_numpy(), 1, n_shared)
    return table


def read_sample_modules(adata: AnnData, key: str) -> pd.DataFrame:
    """Return a row per sample: ``module, contribution, sparseness, entropy``."""
    _modules_of(adata, key)
    slots = Slots(key)
    columns = {"module": slots.module, **{what: slots.of_sample(what) for what in slot_names.SAMPLE_MEASURES}}
    for column in columns.values():
        check_has_key(adata.obs, column, where="adata.obs", hint="Call scp.tl.assign_modules again.")
    return pd.DataFrame({name: adata.obs[column] for name, column in columns.items()})


def read_group_modules(adata: AnnData, key: str, groupby: str) -> pd.DataFrame:
    """Return a row per group of samples: ``module, contribution, sparseness, entropy, n_samples, agreement``."""
    groups = _modules_of(adata, key)[slot_names.MODULE_GROUPS]
    hint = f"Call scp.tl.assign_modules(adata, {groupby!r}, key={key!r}) first."
    where = f"adata.uns[{key!r}][{slot_names.MODULE_GROUPS!r}]"
    name = slot_names.table_name(groupby) if isinstance(groupby, str) else groupby
    check_has_key(groups, name, where=where, hint=hint)
    return groups[name].copy()


def read_tradeoff(adata: AnnData, key: str) -> pd.DataFrame:
    """Return the table of :func:`scprograms.tl.module_tradeoff`."""
    check_adata(adata)
    keys = [
        name for name, entry in adata.uns.items() if isinstance(entry, Mapping) and slot_names.MODULE_TRADEOFF in entry
    ]
    if key not in keys:
        msg = (
            f"There is no tradeoff of modules under key={key!r}. There: {listing(keys)}. "
            "Make one with scp.tl.module_tradeoff(adata, key_added=...)."
        )
        raise KeyError(msg)
    return adata.uns[key][slot_names.MODULE_TRADEOFF].copy()
