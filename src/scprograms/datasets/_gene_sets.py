"""Gene sets of which it is known whether a program holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scprograms._core.validate import check_has_key, check_int

from ._random import RandomState, as_generator

if TYPE_CHECKING:
    from anndata import AnnData


def planted_gene_sets(
    adata: AnnData, *, n_genes: int = 50, n_decoys: int = 20, random_state: RandomState = 0
) -> dict[str, list[str]]:
    """Return the signatures of a simulated screen as gene sets, with decoys drawn at random.

    An enrichment test of the right program finds its signature; it should find no decoy more often than by chance.

    Parameters
    ----------
    adata
        A screen from :func:`simulate_screen`.
    n_genes
        Genes per set: the strongest of a signature, or all where a signature is smaller.
    n_decoys
        Sets of random genes of the panel, each as large as the largest signature.
    random_state
        Seed or generator for the decoys.

    Returns
    -------
    Genes by name of the set: ``planted_0`` and so on, strongest gene first, then ``decoy_0`` and so on.

    Raises
    ------
    KeyError
        ``adata`` is not a simulated screen.
    TypeError, ValueError
        ``n_genes`` or ``n_decoys`` is not a number of genes or sets.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(200, 400, 6, n_perturbations=5)
    >>> gene_sets = scp.datasets.planted_gene_sets(adata, n_genes=10, n_decoys=2)
    >>> [(name, len(genes)) for name, genes in gene_sets.items()][4:]
    [('planted_4', 10), ('planted_5', 10), ('decoy_0', 10), ('decoy_1', 10)]
    """
    n_genes = check_int("n_genes", n_genes, at_least=1)
    n_decoys = check_int("n_decoys", n_decoys, at_least=0)
    check_has_key(adata.uns, "truth", where="adata.uns", hint="datasets.simulate_screen makes a screen with a truth.")
    markers = adata.uns["truth"]["markers"]
    panel = adata.var_names
    gene_sets = {}
    for name in adata.uns["truth"]["programs"].index:
        genes = markers.loc[markers["program"] == name, "gene"].astype(str)
        gene_sets[name] = genes[genes.isin(panel)].head(n_genes).tolist()  # the panel may have been filtered since
    size = min(max(map(len, gene_sets.values())), len(panel))
    rng = as_generator(random_state)
    for i in range(n_decoys):
        gene_sets[f"decoy_{i}"] = panel[rng.choice(len(panel), size, replace=False)].astype(str).tolist()
    return gene_sets
