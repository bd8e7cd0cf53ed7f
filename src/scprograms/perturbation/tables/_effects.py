"""What every perturbation does to every program."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from scprograms._anndata import slot_names
from scprograms._anndata.selection import select_programs
from scprograms._anndata.slots import read_fit, read_table, read_usages
from scprograms._core.validate import listing

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def effects(
    adata: AnnData,
    groupby: str,
    *,
    key: str = "semi_nmf",
    perturbation: str | Iterable[str] | None = None,
    program: str | Iterable[str] | None = None,
) -> pd.DataFrame:
    """Return the effect of every perturbation on every program.

    Parameters
    ----------
    adata
        Cells x genes, factorized and tested with :func:`scprograms.tl.perturbation_effects`.
    groupby
        Column of ``.obs`` that was tested, or key of ``.obsm`` with the guides of cells that carry several.
    key
        ``key_added`` of the factorization.
    perturbation
        Keep these perturbations; all by default.
    program
        Keep these programs; all by default.

    Returns
    -------
    One row per perturbation and program: ``perturbation, program``, the effect sizes, ``p, log10_p, q`` and counts.
    ``.attrs["versus"]`` says what perturbations were compared with: "control" or "rest".

    Raises
    ------
    KeyError
        There is no factorization under ``key``, or the effects of ``groupby`` on it have not been tested.
    ValueError
        A perturbation or program is not known.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> scp.tl.perturbation_effects(adata, "perturbation", "non-targeting", replicate="guide")
    >>> len(scp.get.effects(adata, "perturbation", program="program_0"))
    5
    """
    table = read_table(adata, key, slot_names.EFFECTS, groupby=groupby)
    for column in ("perturbation", "program"):
        table[column] = table[column].astype(str)
    programs = select_programs(program, list(read_usages(adata, key).columns), argument="program")
    keep = table["program"].isin(programs)
    if perturbation is not None:
        # The labels of a column of booleans or numbers are in the table as texts.
        single = isinstance(perturbation, str) or not isinstance(perturbation, Iterable)
        wanted = [str(perturbation)] if single else list(map(str, perturbation))
        tested = set(table["perturbation"])
        unknown = [name for name in wanted if name not in tested]
        if unknown or not wanted:
            why = f"{listing(unknown)} not tested" if unknown else "no name given"
            msg = f"perturbation: {why}. Choose from {listing(table['perturbation'].unique())}."
            raise ValueError(msg)
        keep &= table["perturbation"].isin(wanted)
    found = table[keep].reset_index(drop=True)
    params = read_fit(adata, key).get(slot_names.EFFECTS_PARAMS, {}).get(slot_names.table_name(groupby), {})
    found.attrs["versus"] = str(params.get("versus", "control"))
    return found
