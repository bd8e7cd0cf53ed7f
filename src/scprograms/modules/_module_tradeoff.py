"""``tl.module_tradeoff``: how many modules, by how concentrated samples are on single ones."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scprograms._anndata import slot_names
from scprograms._anndata.matrix import check_adata
from scprograms._core.validate import check_int, check_name
from scprograms.programs.engine import NMF
from scprograms.programs.factorization import check_non_negative, read_screen
from scprograms.programs.store import write_rank_sweep

from .engine import concentration

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

logger = logging.getLogger("scprograms")


def module_tradeoff(
    adata: AnnData,
    n_programs: Iterable[int] = range(5, 50, 5),
    *,
    layer: str | None = None,
    mask_var: str | NDArray | None = None,
    key_added: str = "nmf",
    random_state: int | np.random.Generator | np.random.RandomState | None = 0,
    n_jobs: int | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Fit different numbers of modules, and compare how sparse samples become with how much is left undecided.

    With more modules, a sample is described by a smaller part of them (its usages are sparser, which is wanted), and by
    more of them in number (their entropy is higher, which is not). Both are scaled to 0 to 1 over the range, and the
    number with the largest sparseness minus entropy is suggested [1]_ [2]_. This is a way to look at the curves, no
    test: the suggestion depends on the range. See :func:`scprograms.tl.rank_sweep` for held-out error and stability.

    Parameters
    ----------
    adata
        Samples x features, without negative values.
    n_programs
        Numbers of modules to compare, each at least 2 and at most the number of samples. Duplicates count once.
    layer
        Layer to factorize; None means ``.X``.
    mask_var
        Features that enter the fit: a boolean column of ``.var`` or a boolean array. None means all features.
    key_added
        Name of the slot below.
    random_state
        Seed: an int, a Generator, a RandomState or None.
    n_jobs
        Number of threads; None means all. It does not change the result.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the changed copy with ``copy=True``. Written into ``.uns["{key_added}"]["module_tradeoff"]``, beside a
    factorization where there is one, is a table with one row per number of modules: ``n_programs``; ``sparseness`` and
    ``entropy`` in bits, medians over samples of what :func:`scprograms.tl.assign_modules` writes;
    ``information_gain``, 1 - mean entropy / log2 n_programs; ``error`` of the fit; ``tradeoff``, scaled sparseness
    minus scaled entropy; ``suggested``.

    Raises
    ------
    TypeError
        If ``adata`` is no AnnData or is backed, the matrix is no numpy array or scipy matrix of real numbers, or an
        argument has the wrong type.
    ValueError
        If the matrix is empty, has negative, NaN or infinite values or no signal, or a number of modules is out of
        range.
    KeyError
        If ``layer`` or ``mask_var`` does not exist.

    References
    ----------
    .. [1] Li et al. (2023), Science 382:eadf7044, https://doi.org/10.1126/science.adf7044
    .. [2] Zu et al. (2023), Nature 624:378, https://doi.org/10.1038/s41586-023-06824-9

    Examples
    --------
    >>> import scprograms as scp
    >>> counts = scp.datasets.simulate_modules(1000, 12, 4)
    >>> adata = scp.pp.pseudobulk(counts, ["subtype", "region"], min_cells=1)
    >>> scp.tl.module_tradeoff(adata, range(2, 9))
    >>> scp.get.module_tradeoff(adata).shape
    (7, 7)
    """
    if isinstance(n_programs, str) or not isinstance(n_programs, Iterable):
        msg = f"n_programs={n_programs!r} is a {type(n_programs).__name__}; pass several, such as range(5, 50, 5)."
        raise TypeError(msg)
    ranks = sorted({check_int("n_programs", k, at_least=2) for k in n_programs})
    if not ranks:
        msg = f"n_programs={n_programs!r} is empty; pass the numbers to compare, such as range(5, 50, 5)."
        raise ValueError(msg)
    key = check_name("key_added", key_added)
    check_adata(adata)
    if ranks[-1] > adata.n_obs:
        msg = f"n_programs goes up to {ranks[-1]}, but there are {adata.n_obs} samples: pass at most {adata.n_obs}."
        raise ValueError(msg)
    screen = read_screen(adata, ranks[-1], layer=layer, mask_var=mask_var)
    check_non_negative(screen, layer=layer, method="NMF")

    rows = []
    for k in ranks:
        model = NMF(k, random_state=random_state, n_jobs=n_jobs)
        found = concentration(model.fit_transform(screen.fitted))
        entropy = float(np.nanmean(found.entropy))
        rows.append(
            (
                k,
                float(np.nanmedian(found.sparseness)),
                float(np.nanmedian(found.entropy)),
                1 - entropy / np.log2(k),
                float(model.error_),
            )
        )
        logger.info("module_tradeoff: %d modules.", k)
    names = ("n_programs", "sparseness", "entropy", "information_gain", "error")
    table = pd.DataFrame(rows, columns=list(names), index=[str(i) for i in range(len(rows))])
    table["tradeoff"] = _scaled(table["sparseness"]) - _scaled(table["entropy"])
    table["suggested"] = np.arange(len(table)) == int(np.argmax(table["tradeoff"]))
    adata = adata.copy() if copy else adata
    write_rank_sweep(adata, key, {slot_names.MODULE_TRADEOFF: table})
    return adata if copy else None


def _scaled(values: pd.Series) -> np.ndarray:
    """Return the values scaled to 0 to 1; equal ones are 0."""
    found = values.to_numpy(dtype=float)
    width = np.ptp(found)
    return (found - found.min()) / width if width > 0 else np.zeros_like(found)
