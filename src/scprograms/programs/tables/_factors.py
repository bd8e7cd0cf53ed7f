"""The two factors, W and H, and what is read off them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from scprograms._anndata.cell_groups import labels
from scprograms._anndata.matrix import read_gene_names
from scprograms._anndata.selection import select_programs
from scprograms._anndata.slots import programs_as_adata, read_history, read_loadings, read_usages
from scprograms._core.validate import check_choice, check_int

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anndata import AnnData

_KEY = "semi_nmf"


def usages(adata: AnnData, *, key: str = _KEY) -> pd.DataFrame:
    """Return how much each cell uses each program (W).

    Parameters
    ----------
    adata
        Cells x genes, factorized.
    key
        ``key_added`` of the factorization.

    Returns
    -------
    Cells x programs, in the units of the matrix that was factorized (rows of H have unit length).

    Raises
    ------
    KeyError
        There is no factorization under ``key``.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> scp.get.usages(adata).shape
    (400, 3)
    """
    return read_usages(adata, key)


def loadings(
    adata: AnnData, *, key: str = _KEY, layout: Literal["genes", "programs", "long"] = "genes"
) -> pd.DataFrame:
    """Return which genes each program raises and lowers (H).

    Parameters
    ----------
    adata
        Cells x genes, factorized.
    key
        ``key_added`` of the factorization.
    layout
        ``"genes"``: genes x programs, ``"programs"``: programs x genes, ``"long"``: one row per program and gene with
        the columns ``program, gene, loading``.

    Returns
    -------
    The loadings, without units: each program has unit length over the genes.

    Raises
    ------
    KeyError
        There is no factorization under ``key``.
    ValueError
        ``layout`` is not known.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> scp.get.loadings(adata, layout="programs").shape
    (3, 200)
    >>> list(scp.get.loadings(adata, layout="long"))
    ['program', 'gene', 'loading']
    """
    check_choice("layout", layout, ("genes", "programs", "long"))
    table = read_loadings(adata, key)
    if layout == "genes":
        return table
    if layout == "programs":
        return table.T
    n_genes, n_programs = table.shape
    return pd.DataFrame(
        {
            "program": np.repeat(table.columns.to_numpy(), n_genes),
            "gene": np.tile(table.index.to_numpy(), n_programs),
            "loading": table.to_numpy().T.ravel(),
        }
    )


def top_genes(
    adata: AnnData,
    *,
    key: str = _KEY,
    n_genes: int = 100,
    direction: Literal["up", "down"] = "up",
    programs: str | Iterable[str] | None = None,
    layout: Literal["wide", "long"] = "wide",
) -> pd.DataFrame:
    """Return the genes that each program moves most, strongest first.

    Parameters
    ----------
    adata
        Cells x genes, factorized. Gene names must be unique.
    key
        ``key_added`` of the factorization.
    n_genes
        Genes per program, at most. A gene whose loading has the other sign, or is zero, is never listed.
    direction
        ``"up"``: the largest positive loadings, ``"down"``: the most negative ones.
    programs
        Names of the programs; all by default.
    layout
        ``"wide"``: one column of gene names per program, missing below its last gene. ``"long"``: one row per program
        and gene with the columns ``program, direction, rank, gene, loading`` (``rank`` counts from 1).

    Returns
    -------
    The genes, in the layout asked for.

    Raises
    ------
    KeyError
        There is no factorization under ``key``.
    TypeError
        ``n_genes`` is no integer.
    ValueError
        ``n_genes`` is below 1, ``direction``, ``layout`` or a program is not known, or gene names are not unique.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> scp.get.top_genes(adata, n_genes=5).shape
    (5, 3)
    >>> list(scp.get.top_genes(adata, n_genes=5, layout="long"))
    ['program', 'direction', 'rank', 'gene', 'loading']
    """
    n_genes = check_int("n_genes", n_genes, at_least=1)
    check_choice("direction", direction, ("up", "down"))
    check_choice("layout", layout, ("wide", "long"))
    table = read_loadings(adata, key)
    genes = np.asarray(read_gene_names(adata), dtype=object)
    sign = 1 if direction == "up" else -1
    parts = {}
    for program in select_programs(programs, list(table.columns)):
        loading = table[program].to_numpy()
        order = np.argsort(-sign * loading, kind="stable")
        order = order[sign * loading[order] > 0][:n_genes]
        parts[program] = pd.DataFrame(
            {
                "program": program,
                "direction": direction,
                "rank": np.arange(1, len(order) + 1),
                "gene": genes[order],
                "loading": loading[order],
            }
        )
    if layout == "long":
        return pd.concat(parts.values(), ignore_index=True)
    return pd.DataFrame({program: part["gene"] for program, part in parts.items()})


def programs(adata: AnnData, *, key: str = _KEY) -> AnnData:
    """Return the programs as the variables of an AnnData, for scanpy's plots and tools.

    Parameters
    ----------
    adata
        Cells x genes, factorized.
    key
        ``key_added`` of the factorization.

    Returns
    -------
    Cells x programs: ``.X`` is W, ``.obs`` and ``.obsm`` (embeddings) are those of the cells, ``.var`` the table of the
    programs (with their names, after :func:`scprograms.tl.annotate_programs`), ``.varm["loadings"]`` H with the gene
    names in ``.uns["loadings_genes"]``; palettes are kept in ``.uns``.

    Raises
    ------
    KeyError
        There is no factorization under ``key``.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> programs = scp.get.programs(adata)
    >>> programs.var_names.tolist()
    ['program_0', 'program_1', 'program_2']
    >>> axes = sc.pl.matrixplot(programs, programs.var_names, groupby="batch", show=False)
    """
    return programs_as_adata(adata, key)


def history(adata: AnnData, *, key: str = _KEY) -> pd.DataFrame:
    """Return the course of a fit.

    Parameters
    ----------
    adata
        Cells x genes, factorized.
    key
        ``key_added`` of the factorization.

    Returns
    -------
    One row per recorded iteration: ``iteration``, ``stage`` (``"compressed"``: on the projected matrix, ``"full"``: on
    the whole one), ``loss`` and ``error_ratio`` (error over the smallest one that any fit of this rank can have).

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or none that recorded its course.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> sorted(scp.get.history(adata))
    ['error_ratio', 'iteration', 'loss', 'stage']
    """
    return read_history(adata, key)


def usages_by_group(
    adata: AnnData, groupby: str, *, key: str, control: str | None, programs: str | Iterable[str] | None
) -> tuple[pd.DataFrame, pd.Series, list[str]]:
    """Usages of the chosen programs, the group of every cell, and the names of the groups, the control first."""
    table = read_usages(adata, key)
    groups = labels(adata, groupby, control=control)
    return table[select_programs(programs, list(table.columns))], groups, list(groups.cat.categories)
