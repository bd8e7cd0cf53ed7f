"""Over-representation against gseapy's local test: 7,000 terms x 100 gene lists, CPU and wall time in one run.

    python benchmarks/enrichment.py [--terms 7000] [--lists 100] [--genes 15000] [--gmt FILE.gmt]

Both get the same terms, lists and background, and report overlap, p, q, odds ratio, score and the names of the genes.
gseapy takes one list at a time; each of its calls is timed. The p-values of all reported terms are compared.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import gseapy
import numpy as np
import pandas as pd
from anndata import AnnData

import scprograms as scp
from scprograms._anndata import slot_names
from scprograms._anndata import slots as _store


def timed(function):
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def random_terms(names, n_terms, rng):
    sizes = np.clip(np.exp(rng.normal(3.3, 0.9, n_terms)).astype(int), 10, 500)
    return {f"TERM{i}": rng.choice(names, size, replace=False).tolist() for i, size in enumerate(sizes)}


def programs(names, n_programs, rng):
    """Return an AnnData with random loadings: the test does not look at anything else."""
    adata = AnnData(X=np.ones((2, len(names)), np.float32), var=pd.DataFrame(index=names))
    model = pd.DataFrame({"baseline": 0.0, "center": 0.0, "scale": 1.0, "used": True}, index=names)
    table = pd.DataFrame({"variance_explained": 0.0}, index=slot_names.program_names(n_programs))
    loadings = rng.normal(size=(n_programs, len(names))).astype(np.float32)
    fit = {slot_names.PARAMS: {"n_programs": n_programs}, slot_names.ERROR: float("nan")}
    _store.write_factorization(
        adata, "semi_nmf", _store.Factorization(np.ones((2, n_programs)), loadings, model, table, fit)
    )
    return adata


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--terms", type=int, default=7000)
    parser.add_argument("--lists", type=int, default=100)
    parser.add_argument("--genes", type=int, default=15_000)
    parser.add_argument("--gmt", type=Path, help="real gene sets instead of random ones")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    names = np.array([f"GENE{i}" for i in range(options.genes)])
    if options.gmt:
        known = [line.rstrip("\n").split("\t") for line in options.gmt.read_text().splitlines()]
        terms = {fields[0]: [gene for gene in fields[2:] if gene] for fields in known}
        names = np.array(sorted({gene for genes in terms.values() for gene in genes}))
    else:
        terms = random_terms(names, options.terms, rng)
    adata = programs(names, options.lists, rng)
    limits = {"min_size": 10, "max_size": 500, "direction": "up"}
    scp.tl.program_enrichment(adata[:, :200].copy(), {"warm-up": names[:20].tolist()}, n_genes=20, **limits)
    _, wall, cpu = timed(lambda: scp.tl.program_enrichment(adata, terms, n_genes=100, **limits))
    ours = adata.uns["semi_nmf"]["enrichment"]

    eligible = {name: genes for name, genes in terms.items() if 10 <= len(set(genes)) <= 500}
    loadings, background = adata.varm["semi_nmf_loadings"], names.tolist()
    lists = [names[np.argsort(-column, kind="stable")[:100]].tolist() for column in loadings.T]
    theirs, their_wall, their_cpu = timed(
        lambda: [gseapy.enrich(genes, eligible, background=background, outdir=None).results for genes in lists]
    )
    theirs = pd.concat(theirs, keys=slot_names.program_names(len(lists)), names=["program", None]).reset_index(level=0)
    both = ours.merge(theirs, left_on=["program", "term"], right_on=["program", "Term"], how="outer", indicator=True)
    print(
        f"{len(eligible)} terms x {len(lists)} lists of 100 genes, background {len(names)}; {len(ours)} rows reported"
    )
    print(f"rows in one result only: {int((both['_merge'] != 'both').sum())}")
    print(f"largest difference of p: {np.abs(both['p'] - both['P-value']).max():.1e}")
    print(f"largest q / gseapy's q:  {(both['q'] / both['Adjusted P-value']).max():.3f}")
    print(f"{'':12}{'wall (s)':>10}{'CPU (s)':>10}")
    print(f"{'scprograms':12}{wall:10.2f}{cpu:10.2f}")
    print(f"{'gseapy':12}{their_wall:10.2f}{their_cpu:10.2f}")
    print(f"{'ratio':12}{their_wall / wall:10.1f}{their_cpu / cpu:10.1f}")


if __name__ == "__main__":
    main()
