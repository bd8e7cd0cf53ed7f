"""The groups of cells that programs are compared between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from .categories import categorical
from .labels import check_level, read_colors, read_labels
from .matrix import check_adata

if TYPE_CHECKING:
    from anndata import AnnData


def labels(adata: AnnData, groupby: str, *, control: str | None = None) -> pd.Series:
    """Return the group of every cell, as a category with the control first.

    Parameters
    ----------
    adata
        Cells x genes.
    groupby
        Column of ``.obs``.
    control
        Level to put first. By default the order is that of the column's categories (sorted, where it has none).

    Returns
    -------
    One label per cell. The categories are strings; unused ones are dropped, and cells without a label are missing.

    Raises
    ------
    KeyError
        ``groupby`` is no column of ``.obs``.
    ValueError
        ``control`` is no level of it, or no cell has a label.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6)
    >>> scp.get.labels(adata, "perturbation", control="non-targeting").cat.categories[0]
    'non-targeting'
    """
    found = read_labels(check_adata(adata), groupby)
    values = categorical(found.codes, found.names)
    if control is not None:
        first = found.names[check_level(found, control, name="control")]
        values = values.reorder_categories([first, *(name for name in found.names if name != first)])
    return pd.Series(values, index=adata.obs_names, name=groupby)


def colors(adata: AnnData, groupby: str) -> dict[str, str] | None:
    """Return the colour of each group from ``.uns[f"{groupby}_colors"]``.

    Parameters
    ----------
    adata
        Cells x genes.
    groupby
        Column of ``.obs``.

    Returns
    -------
    Group -> colour, or None where no palette with a colour for every category is stored.

    Raises
    ------
    KeyError
        ``groupby`` is no column of ``.obs``.

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6)
    >>> adata.uns["batch_colors"] = ["#0072b2", "#d55e00", "#009e73"]
    >>> scp.get.colors(adata, "batch")
    {'batch_0': '#0072b2', 'batch_1': '#d55e00', 'batch_2': '#009e73'}
    """
    return read_colors(adata, read_labels(check_adata(adata), groupby))
