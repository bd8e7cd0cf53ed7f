"""``scprograms demo``: the same analysis on a simulated screen, and how much of the truth it found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scprograms import datasets
from scprograms.pipeline import (
    N_STEPS,
    Settings,
    analyse_cells,
    compare_with_truth,
    explained,
    results_folder,
    write_h5ad,
)

from ._progress import journal_of, print_end

if TYPE_CHECKING:
    from argparse import Namespace

SCREEN, GENE_SETS = "demo_screen.h5ad", "demo_gene_sets.gmt"
CONTROL = "non-targeting"
"""Label of the control cells of simulated screens."""


def demo(options: Namespace) -> None:
    """Simulate a screen, analyse it, and compare with the truth."""
    settings = Settings(
        groupby="perturbation",
        control=CONTROL,
        screen=options.out / SCREEN,
        replicate="guide",
        strata=["batch"],
        batch="batch",
        n_programs=options.n_programs or options.n_planted,
        gene_sets=[str(options.out / GENE_SETS)],
        in_shell=True,
        **{
            name: getattr(options, name) for name in ("center", "scale", "init", "l1", "random_state", "n_jobs", "umap")
        },
    )
    with results_folder(options.out) as stage, journal_of(options, n_steps=N_STEPS + 1) as journal:
        with journal.step("simulation"), explained():
            adata = datasets.simulate_screen(
                options.n_cells, options.n_genes_screen, options.n_planted, random_state=options.random_state
            )
            gene_sets = datasets.planted_gene_sets(adata, random_state=options.random_state)
        write_h5ad(adata, stage / SCREEN)
        lines = ["\t".join([name, "simulated", *genes]) for name, genes in gene_sets.items()]
        (stage / GENE_SETS).write_text("\n".join(lines) + "\n", encoding="utf-8")
        journal.say(
            f"Simulated {adata.n_obs:,} cells and {adata.n_vars:,} genes with {options.n_planted} programs: counts "
            "with library sizes, batches, cell types, guides, and perturbations that push programs up or down."
        )
        analyse_cells(
            adata,
            settings,
            journal,
            stage,
            argv=_as_run(settings, options),
            gene_sets=[str(stage / GENE_SETS)],
            title="Gene programs of a simulated screen",
            extra=compare_with_truth,
            files={
                SCREEN: "The simulated counts, with the truth in .obsm, .varm and .uns.",
                GENE_SETS: "The genes of the planted programs, and decoys of random genes.",
            },
        )
    print_end(journal, options, f"Open {options.out / 'report.html'}")


def _as_run(settings: Settings, options: Namespace) -> list[str]:
    """Arguments of ``scprograms run`` that do the same on the simulated screen once it is on disk."""
    argv = ["run", str(settings.screen), "--groupby", settings.groupby, "--control", CONTROL]
    argv += ["-k", str(settings.n_programs), "--l1", str(settings.l1), "--init", settings.init]
    argv += ["--random-state", str(settings.random_state), "--gene-sets", *settings.gene_sets]
    argv += ["--batch", "batch", "--replicate", "guide", "--strata", *settings.strata, "-o", str(options.out)]
    argv += ["--center", settings.center] if settings.center else []
    argv += ["--n-jobs", str(settings.n_jobs)] if settings.n_jobs else []
    return argv + [f"--{name}" for name in ("scale", "umap", "quiet", "debug") if getattr(options, name)]
