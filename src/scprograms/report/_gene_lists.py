"""The top genes of every program as CSV files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from scprograms import get
from scprograms._core.files import atomic_path

if TYPE_CHECKING:
    import os

    from anndata import AnnData


def write_gene_lists(
    adata: AnnData, folder: str | os.PathLike[str], *, key: str = "semi_nmf", n_genes: int = 100
) -> list[Path]:
    """Write the genes that each program raises and lowers most, a file for each end of each program.

    Parameters
    ----------
    adata
        Cells x genes, factorized.
    folder
        Where to write; it is made where it does not exist.
    key
        ``key_added`` of the factorization.
    n_genes
        Genes per list, at most: a raised gene has a positive loading, a lowered one a negative loading.

    Returns
    -------
    The files: ``program_0_top100_genes.csv`` (raised), ``program_0_top100_genes_down.csv`` (lowered), and so on, each
    with the columns ``rank, gene, loading``.

    Raises
    ------
    KeyError
        There is no factorization under ``key``.
    TypeError, ValueError
        ``n_genes`` is no number of genes, or gene names are not unique.
    OSError
        A file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> from scprograms import report
    >>> adata = scp.datasets.simulate_screen(300, 100, n_programs=5)
    >>> sc.pp.normalize_total(adata)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = report.write_gene_lists(adata, folder, n_genes=20)
    >>> files[0].name
    'program_0_top20_genes.csv'
    """
    folder = Path(folder)
    files = []
    ends: tuple[tuple[Literal["up", "down"], str], ...] = (("up", ""), ("down", "_down"))
    for direction, ending in ends:
        table = get.top_genes(adata, key=key, n_genes=n_genes, direction=direction, layout="long")
        folder.mkdir(parents=True, exist_ok=True)
        for program in get.usages(adata, key=key):
            files.append(folder / f"{program}_top{n_genes}_genes{ending}.csv")
            part = table.loc[table["program"] == program, ["rank", "gene", "loading"]]
            with atomic_path(files[-1]) as path:
                part.to_csv(path, index=False)
    return files
