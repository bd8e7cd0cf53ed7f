"""Scores of the cell cycle from lists of genes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._journal import InputError, Journal, one_line

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

    from ._settings import Settings

N_S_GENES = 43
"""Genes of S phase at the top of the usual list of cell-cycle genes."""
_FEWEST_PHASE_GENES = 3


def score_cell_cycle(adata: AnnData, settings: Settings, journal: Journal) -> None:
    """Write S_score, G2M_score and phase into .obs, where genes were given and enough of them are measured."""
    import scanpy as sc

    phases = cell_cycle_genes(settings)
    if phases is None:
        return
    if settings.lazy:
        journal.note(
            f"Cells have no cell-cycle scores: scanpy computes them in memory alone, so leave "
            f"{settings.spelled('lazy')} out."
        )
        return
    found = {name: [gene for gene in genes if gene in adata.var_names] for name, genes in phases.items()}
    counted = " and ".join(f"{len(found[name])} of {len(phases[name])} {name} genes" for name in phases)
    if min(map(len, found.values())) < _FEWEST_PHASE_GENES:
        journal.note(f"Cells have no cell-cycle scores: the data have only {counted} (is it the right species?).")
        return
    try:
        sc.tl.score_genes_cell_cycle(adata, s_genes=found["S"], g2m_genes=found["G2M"])
    except (ValueError, RuntimeError) as error:  # too few other genes to compare with
        journal.note(f"Cells have no cell-cycle scores: {one_line(error)}")
        return
    shares = adata.obs["phase"].value_counts(normalize=True)
    phase = ", ".join(f"{share:.0%} {name}" for name, share in shares.items())
    journal.say(f"Scored the cell cycle by {counted} (S_score, G2M_score, phase in .obs): {phase}.")


def cell_cycle_genes(settings: Settings) -> dict[str, list[str]] | None:
    """Return the genes of S and G2M phase that were given, or None."""
    files = {name: getattr(settings, name) for name in ("cell_cycle_genes", "s_genes", "g2m_genes")}
    lists = {name: _read_genes(path, settings.given(name)) for name, path in files.items() if path is not None}
    if not lists:
        return None
    if set(lists) == {"cell_cycle_genes"}:
        genes = lists["cell_cycle_genes"]
        if len(genes) <= N_S_GENES:
            msg = (
                f"{settings.spelled('cell_cycle_genes')} has {len(genes)} genes; {N_S_GENES} of S phase and then those "
                "of G2M are needed."
            )
            raise InputError(msg)
        return {"S": genes[:N_S_GENES], "G2M": genes[N_S_GENES:]}
    if set(lists) == {"s_genes", "g2m_genes"}:
        return {"S": lists["s_genes"], "G2M": lists["g2m_genes"]}
    whole, s, g2m = map(settings.spelled, files)
    msg = f"Give either {whole}, or both {s} and {g2m}."
    raise InputError(msg)


def _read_genes(path: Path, option: str) -> list[str]:
    try:
        genes = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{option} cannot be read: {one_line(error)}"
        raise InputError(msg) from error
    if not genes:
        msg = f"{option} is empty."
        raise InputError(msg)
    return genes
