"""``scprograms recover discover``, ``apply`` and ``validate``: states of cells, in a folder of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scprograms import get, pl, tl
from scprograms._anndata import slot_names
from scprograms.report.formats import plural
from scprograms.states.store import read_recovery_table

from ._h5ad import write_h5ad
from ._journal import InputError, explained
from ._recovery_cells import draw, read_cells, training_arguments, write_tables

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

    from ._journal import Journal

KEY = "recovery"
OF_APPLY = ("figures/state_map.*", "cells.csv.gz", "recovered.h5ad")
"""What an apply writes in some cases only."""


def apply(options: Namespace, journal: Journal, stage: Path) -> list[str]:
    """Find states in cells, and write what was found into the folder."""
    with journal.step("reading"):
        if not options.model.is_file():
            msg = f"--model={str(options.model)!r} does not exist."
            raise InputError(msg)
        with explained():
            model = tl.RecoveryModel.read(options.model)
        adata = read_cells(options, journal)
    with journal.step("recovery"), explained():
        tl.recover_states(
            adata,
            model,
            options.cell_type,
            sample_key=options.sample,
            layer=options.layer,
            min_score=options.min_score,
            loss=options.loss,
            n_jobs=options.n_jobs,
            key_added=KEY,
        )
    with journal.step("tables"):
        cells = get.recovered_states(adata, key=KEY)
        cells.insert(0, "cell_type", adata.obs[options.cell_type].to_numpy())
        groups = ["cell_type"]
        if options.sample is not None:
            cells.insert(1, "sample", adata.obs[options.sample].to_numpy())
            groups = ["sample", "cell_type"]
        counts = cells.groupby([*groups, "state"], observed=True).size().rename("n_cells").reset_index()
        tables = {"cells.csv.gz": cells.rename_axis("cell"), "counts.csv": counts.set_index(groups[0])}
        tables["cell_types.csv"] = read_recovery_table(adata, KEY, slot_names.CELL_TYPES).set_index("cell_type")
        write_tables(tables, stage)
        share = (cells["state"].astype(str) == slot_names.NON_STATE).mean()
        journal.say(f"Looked for states in {adata.n_obs:,} cells; {share:.0%} are in none (non-state).")
        if not options.no_h5ad:
            write_h5ad(adata, stage / "recovered.h5ad")
    with journal.step("figures"):
        if options.basis in adata.obsm:
            draw("state_map", pl.state_map, stage, adata, options.cell_type, key=KEY, basis=options.basis)
        draw("signatures", pl.recovery_signatures, stage, model)
    journal.write_summary(stage, options.argv)
    return journal.steps


def validate(options: Namespace, journal: Journal, stage: Path) -> list[str]:
    """Leave each sample out in turn, and write how well its states are found."""
    with journal.step("reading"):
        adata = read_cells(options, journal, options.state)
    with journal.step("cross-validation"), explained():
        tl.cross_validate_recovery(
            adata, options.state, options.cell_type, **training_arguments(options), key_added=KEY
        )
        states = get.recovery_states(adata, key=KEY)
    with journal.step("tables"):
        confusion = get.recovery_confusion(adata, key=KEY)
        write_tables(
            {"confusion.csv": confusion.set_index("cell_type"), "states.csv": states.set_index("cell_type")}, stage
        )
        draw("confusion", pl.recovery_confusion, stage, adata, key=KEY)
        n_good = int(states["recoverable"].astype(bool).sum())
        journal.say(
            f"Left each sample out in turn: {n_good} of {plural(len(states), 'state')} are recoverable; mean F1 is "
            f"{states['f1'].mean():.2f}."
        )
        journal.write_summary(stage, options.argv)
    return journal.steps


def discover(options: Namespace, journal: Journal, stage: Path) -> list[str]:
    """Find states that nobody has labelled, and write cells with their labels, from which to train."""
    with journal.step("reading"):
        adata = read_cells(options, journal)
    with journal.step("discovery"), explained():
        tl.discover_states(
            adata,
            options.cell_type,
            sample_key=options.sample,
            layer=options.layer,
            n_factors=options.n_factors,
            max_negative_ratio=options.max_negative_ratio,
            random_state=options.random_state,
            n_jobs=options.n_jobs,
        )
    with journal.step("tables"):
        types = get.discovered_states(adata, of="cell_types")
        tables = {
            "states.csv": get.discovered_states(adata),
            "cell_types.csv": types,
            "sweep.csv": get.discovered_states(adata, of="sweep"),
            "markers.csv": get.discovered_states(adata, of="markers"),
        }
        write_tables({name: table.set_index("cell_type") for name, table in tables.items()}, stage)
        write_h5ad(adata, stage / "discovered.h5ad")
        if options.basis in adata.obsm:
            draw("state_map", pl.state_map, stage, adata, options.cell_type, key="discovery", basis=options.basis)
        n_states, n_cells = int(types["n_states"].sum()), int(types["n_labelled"].sum())
        journal.say(
            f"Found {plural(n_states, 'state')} in {plural(len(types), 'cell type')}; "
            f"{n_cells:,} of {adata.n_obs:,} cells are in one (column discovery_state of discovered.h5ad)."
        )
        journal.write_summary(stage, options.argv)
    return journal.steps
