"""The table of enriched terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from scprograms._anndata import slot_names
from scprograms._anndata.selection import select_programs
from scprograms._anndata.slots import read_table, read_usages
from scprograms._core.validate import check_choice, check_int, check_real, listing

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from anndata import AnnData


def enrichment(
    adata: AnnData,
    *,
    key: str = "semi_nmf",
    programs: str | Iterable[str] | None = None,
    direction: Literal["up", "down"] | None = None,
    library: str | None = None,
    max_q: float | None = None,
    n_top: int | None = None,
    representative: bool = False,
) -> pd.DataFrame:
    """Return the enriched terms, the best of every program first.

    Parameters
    ----------
    adata
        Cells x genes, factorized and tested with :func:`scprograms.tl.program_enrichment`.
    key
        ``key_added`` of the factorization.
    programs
        Keep these programs; all by default.
    direction
        Keep the terms of the raised (``"up"``) or of the lowered (``"down"``) genes; both by default.
    library
        Keep the terms of this gene-set library; all by default.
    max_q
        Keep terms with at most this adjusted p-value; all by default.
    n_top
        Keep the best terms of every program, after the other filters; all by default.
    representative
        Keep the best term of each group of redundant ones (of a program, direction and library) only.

    Returns
    -------
    One row per program, direction and term, sorted by program, p and then the size of the effect (the combined score,
    or the absolute normalised enrichment score of a ranked test). Empty where nothing passes.

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or no enrichment of it, or one without groups of terms.
    TypeError
        ``n_top`` is no integer, or ``max_q`` no number.
    ValueError
        A program, direction or library is not known, ``max_q`` is not within 0 and 1, or ``n_top`` is below 1.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> gene_sets = scp.datasets.planted_gene_sets(adata, n_genes=20)
    >>> scp.tl.program_enrichment(adata, gene_sets, n_genes=20)
    >>> best = scp.get.enrichment(adata, n_top=1)
    >>> best["program"].is_unique
    True
    """
    check_choice("direction", direction, (None, "up", "down"))
    if max_q is not None:
        max_q = check_real("max_q", max_q, at_least=0, at_most=1)
    if n_top is not None:
        n_top = check_int("n_top", n_top, at_least=1)
    table = read_table(adata, key, slot_names.ENRICHMENT)
    wanted = select_programs(programs, list(read_usages(adata, key).columns))
    libraries = list(table["library"].unique())
    if library is not None and library not in libraries:
        msg = f"library={library!r} was not tested. There: {listing(libraries)}."
        raise ValueError(msg)

    keep = table["program"].isin(wanted)
    if direction is not None:
        keep &= table["direction"] == direction
    if library is not None:
        keep &= table["library"] == library
    if max_q is not None:
        keep &= table["q"] <= max_q
    if representative:
        if "representative" not in table:
            msg = (
                f"The enrichment under key={key!r} has no column 'representative': it was made by an older version. "
                "Call scp.tl.program_enrichment again."
            )
            raise KeyError(msg)
        keep &= table["representative"].to_numpy(dtype=bool)
    table = table[keep]
    effect = table["combined_score"] if "combined_score" in table else table["nes"].abs()
    rank = table["program"].astype(str).map({name: i for i, name in enumerate(wanted)})
    order = table.assign(_program=rank, _effect=-effect).sort_values(["_program", "p", "_effect"], kind="stable").index
    table = table.loc[order]
    if n_top is not None:
        table = table.groupby("program", sort=False, observed=True).head(n_top)
    return table.reset_index(drop=True)
