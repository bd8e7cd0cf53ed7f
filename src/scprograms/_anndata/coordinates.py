"""Where features lie on the genome."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scprograms.modules.store import read_coordinates

if TYPE_CHECKING:
    import pandas as pd
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
