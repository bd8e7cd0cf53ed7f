"""``scprograms embed``: latent variables of accessibility, in a folder of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from scprograms import get, pl, pp, tl
from scprograms._anndata.transaction import write
from scprograms._core.files import atomic_path
from scprograms._core.validate import listing
from scprograms.report.figures import save_picture

from ._embedding_input import LABEL, add_labels, read_data
from ._h5ad import write_h5ad
from ._journal import InputError, Journal, explained
from ._pictures import add_umap

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

    from anndata import AnnData

KEY = "autoencoder"
N_STEPS = 5
OWN_FILES = ("figures/*.png", "figures/*.pdf", "scores.csv")


def embed(options: Namespace, journal: Journal, stage: Path) -> None:
    """Train an autoencoder on the data that the options name, and write everything into the folder."""
    _check_torch()
    with journal.step("reading"):
        adata, label = _read(options, journal)
    with journal.step("training"):
        _train(adata, options, stage, journal)
    with journal.step("scores"):
        _score(adata, label, options, stage, journal)
    with journal.step("figures"):
        _draw(adata, label, options, stage / "figures")
    with journal.step("tables"):
        _write(adata, options, stage, journal)


def _check_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        msg = 'torch is not installed: pip install "scprograms[deep]".'
        raise InputError(msg) from error


def _read(options: Namespace, journal: Journal) -> tuple[AnnData, str | None]:
    adata = read_data(options.data)
    label = options.label
    if options.label_file is not None:
        add_labels(adata, options.label_file)
        label = LABEL
    if label is not None and label not in adata.obs:
        msg = f"--label={label!r} is no column of .obs. There: {listing(adata.obs.columns)}."
        raise InputError(msg)
    journal.say(f"Read {adata.n_obs:,} cells and {adata.n_vars:,} peaks from {options.data.name}.")
    with explained():
        kept = pp.filter_peaks(
            adata,
            min_fraction=options.min_fraction,
            max_fraction=options.max_fraction,
            min_peaks=options.min_peaks,
            layer=options.layer,
        )
    journal.say(
        f"Kept {kept.n_obs:,} cells with at least {options.min_peaks:,} open peaks, and {kept.n_vars:,} peaks that are "
        f"open in {options.min_fraction:.1%} to {options.max_fraction:.0%} of them."
    )
    return kept, label


def _train(adata: AnnData, options: Namespace, stage: Path, journal: Journal) -> None:
    with explained():
        try:
            tl.autoencoder(
                adata,
                options.kind,
                options.n_latent,
                layer=options.layer,
                transform=None if options.transform == "none" else options.transform,
                layers=options.layers,
                epochs=options.epochs,
                pretrain_epochs=options.pretrain_epochs,
                patience=options.patience,
                batch_size=options.batch_size,
                learning_rate=options.learning_rate,
                sparsity_target=options.sparsity_target,
                sparsity_weight=options.sparsity_weight,
                device=options.device,
                random_state=options.random_state,
                save=stage / "encoder.pt",
                progress=not options.quiet,
                key_added=KEY,
            )
        except FloatingPointError as error:
            raise InputError(str(error)) from error
    history = get.training_history(adata, key=KEY)
    entry = adata.uns[KEY]
    journal.say(
        f"Trained the {options.kind} autoencoder with {options.n_latent} latent variables on {entry['device']}: "
        f"{len(history)} epochs in {entry['seconds']:.0f} s; kept is epoch {entry['best_epoch']} of stage "
        f"{history['stage'].iloc[-1]!r}, with a loss of {entry['held_out_loss']:.5g} of the cells held out."
    )


def _score(adata: AnnData, label: str | None, options: Namespace, stage: Path, journal: Journal) -> None:
    if label is None:
        return
    with explained():
        tl.compare_embeddings(
            adata, [f"X_{KEY}"], label, random_state=options.random_state, progress=False, key_added="scores"
        )
    table = get.embedding_comparison(adata, key="scores")
    measured = table.dropna(subset=["mean"]).set_index("metric")["mean"]
    with atomic_path(stage / "scores.csv") as part:
        table.dropna(subset=["mean"]).to_csv(part, index=False)
    scores = ", ".join(f"{str(name).replace('_', ' ')} {value:.3f}" for name, value in measured.items())
    journal.say(
        f"Against {label} (as many clusters of k-means as labels; means of {table['n_seeds'].iloc[0]} seeds of the "
        f"clustering): {scores}."
    )


def _draw(adata: AnnData, label: str | None, options: Namespace, folder: Path) -> None:
    fig: Any = pl.training_history(adata, key=KEY, show=False, return_fig=True)
    save_picture(fig, folder, name="loss", title="Loss", caption="")
    if not add_umap(adata, f"X_{KEY}", random_state=options.random_state):
        return
    shown = adata
    if label is None:
        label = "cells"
        shown = adata.copy()
        write(shown, obs={label: pd.Categorical(["all"] * adata.n_obs)})
    fig = pl.embedding_maps(shown, label, "X_umap", show=False, return_fig=True)
    save_picture(fig, folder, name="umap", title="UMAP", caption="")


def _write(adata: AnnData, options: Namespace, stage: Path, journal: Journal) -> None:
    latent = pd.DataFrame(
        adata.obsm[f"X_{KEY}"], index=adata.obs_names, columns=[f"latent_{i}" for i in range(options.n_latent)]
    )
    tables = {"latent.csv.gz": latent, "history.csv": get.training_history(adata, key=KEY).set_index("stage")}
    for name, table in tables.items():
        with atomic_path(stage / name) as part:
            table.to_csv(part)
    write_h5ad(adata, stage / "embedding.h5ad")
    journal.write_summary(stage, options.argv)
