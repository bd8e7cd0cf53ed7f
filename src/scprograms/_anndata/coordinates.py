"""Where features lie on the genome."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scprograms._core.validate import listing

from .matrix import check_adata

if TYPE_CHECKING:
    from anndata import AnnData


def coordinates(adata: AnnData) -> pd.DataFrame:
    """Return the interval of each feature.

    Parameters
    ----------
    adata
        Samples x features. Intervals are those of the columns ``chrom``, ``start`` and ``end`` of ``.var``, or of names
        such as ``chr1:100-600`` (also ``chr1-100-600`` and ``chr1_100_600``) where these columns are not there.

    Returns
    -------
    ``chrom``, ``start``, ``end`` of each feature, as they stand: BED files count from 0 and leave out the end.

    Raises
    ------
    ValueError
        A feature has no coordinates, or its end is not beyond its start.
    TypeError
        ``adata`` is no AnnData.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_modules(1000, 12, 4)
    >>> scp.get.coordinates(adata)["end"].iloc[0].item()
    10501
    """
    return read_coordinates(adata)


_COLUMNS = ("chrom", "start", "end")


_NAME = re.compile(r"^(?P<chrom>.+?)(?::|-|_)(?P<start>\d+)(?:-|_)(?P<end>\d+)$")


def read_coordinates(adata: AnnData) -> pd.DataFrame:
    """Return ``chrom, start, end`` of each feature, from these columns of ``.var`` or from the names."""
    check_adata(adata)
    present = [column for column in _COLUMNS if column in adata.var]
    if len(present) == len(_COLUMNS):
        table = pd.DataFrame({column: adata.var[column] for column in _COLUMNS})
        where = "adata.var[['chrom', 'start', 'end']]"
    else:
        names = adata.var_names.astype(str).to_series()
        table = names.str.extract(_NAME).set_axis(adata.var_names, axis=0)
        where = "adata.var_names"
    chrom = table["chrom"].astype(object)
    start, end = (pd.to_numeric(table[column], errors="coerce") for column in ("start", "end"))
    whole = (start % 1 == 0) & (end % 1 == 0)
    unnamed = chrom.isna() | chrom.astype(str).str.contains(r"\s|^$", regex=True)
    bad = (unnamed | ~whole | (start < 0) | (end <= start)).to_numpy()
    if bad.any():
        msg = (
            f"{where}: {int(bad.sum())} of {adata.n_vars} features have no coordinates "
            f"({listing(adata.var_names[bad], at_most=3)}). BED needs names such as 'chr1:100-600', or columns chrom, "
            "start and end in adata.var, with 0 <= start < end."
        )
        raise ValueError(msg)
    return pd.DataFrame(
        {"chrom": chrom.astype(str), "start": start.astype(np.int64), "end": end.astype(np.int64)},
        index=adata.var_names,
    )
