"""What the steps of ``scprograms recover`` share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scprograms._core.files import atomic_path
from scprograms._core.validate import listing
from scprograms.report.figures import save_picture

from ._journal import InputError, Journal, one_line

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
    from anndata import AnnData

TRAINING = ("n_features", "n_features_per_state", "n_cells", "n_runs", "confidence", "random_state")


def read_cells(options: Namespace, journal: Journal, *more: str) -> AnnData:
    """Return the cells that the options name, if they have the columns that these and the caller name."""
    import anndata

    path = options.cells
    if not path.is_file():
        msg = f"{str(path)!r} {'is a folder; pass an .h5ad file' if path.is_dir() else 'does not exist'}."
        raise InputError(msg)
    try:
        adata = anndata.read_h5ad(path)
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        msg = f"{str(path)!r} cannot be read as an .h5ad file: {one_line(error)[:200]}"
        raise InputError(msg) from error
    for column in (options.cell_type, options.sample, *more):
        if column is not None and column not in adata.obs:
            msg = f"{column!r} is no column of .obs. There: {listing(adata.obs.columns)}."
            raise InputError(msg)
    journal.say(f"Read {adata.n_obs:,} cells and {adata.n_vars:,} genes from {path.name}.")
    return adata


def draw(name: str, function: Callable[..., Any], stage: Path, *args: Any, **kwargs: Any) -> None:
    """Draw a figure into the folder of figures."""
    fig = function(*args, **kwargs, show=False, return_fig=True)
    save_picture(fig, stage / "figures", name=name, title=name, caption="")


def write_tables(tables: dict[str, pd.DataFrame], stage: Path) -> None:
    """Write tables under their names."""
    for name, table in tables.items():
        with atomic_path(stage / name) as part:
            table.to_csv(part)


def training_arguments(options: Namespace) -> dict[str, Any]:
    """Return what the options say of the training, by the names of the verbs."""
    named = {name: getattr(options, name) for name in (*TRAINING, "layer", "n_jobs")}
    return {**named, "sample_key": options.sample}
