"""``tl.feature_score``: how specific features are to one chromatin module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from scprograms._core.validate import check_choice

from .engine import feature_scores
from .store import read_factors, write_feature_score

if TYPE_CHECKING:
    from anndata import AnnData

METHODS = ("kim",)
SCALES = ("l2", "max", "raw")


def feature_score(
    adata: AnnData,
    *,
    key: str = "nmf",
    method: Literal["kim"] = "kim",
    scale: Literal["l2", "max", "raw"] = "l2",
    copy: bool = False,
) -> AnnData | None:
    r"""Score each feature by how specific it is to one module.

    With p the loadings of a feature in k modules, scaled to sum to 1, the score is
    :math:`1 + \frac{1}{\log_2 k} \sum_q p_q \log_2 p_q` [1]_: 1 if it is in one module only, 0 if it is in all alike.
    A feature without loadings has no score (NaN); taken literally, the formula would call it most specific.

    Parameters
    ----------
    adata
        Samples x features, factorized without negative loadings, as by :func:`scprograms.tl.nmf`.
    key
        ``key_added`` of the factorization.
    method
        ``"kim"``, the formula above.
    scale
        A factorization leaves the unit of each module open, and the score depends on it: with ``"l2"`` every module has
        unit Euclidean length over the features, with ``"max"`` a largest loading of 1; ``"raw"`` takes loadings as they
        are stored.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the changed copy with ``copy=True``. Written are:

    ``.var["{key}_feature_score"]``
        The scores.
    ``.uns["{key}"]["feature_score_params"]``
        ``method`` and ``scale``.

    Raises
    ------
    KeyError
        There is no factorization under ``key``.
    TypeError
        ``adata`` is no AnnData.
    ValueError
        There is one module, or more than samples; a loading is negative, NaN or infinite; or ``method`` or ``scale`` is
        not known.

    See Also
    --------
    scprograms.pl.feature_score : the distribution.

    References
    ----------
    .. [1] Kim & Park (2007), Bioinformatics 23:1495, https://doi.org/10.1093/bioinformatics/btm134

    Examples
    --------
    >>> import scprograms as scp
    >>> counts = scp.datasets.simulate_modules(1000, 12, 4)
    >>> adata = scp.pp.pseudobulk(counts, ["subtype", "region"], min_cells=1)
    >>> scp.tl.nmf(adata, 4)
    >>> scp.tl.feature_score(adata, key="nmf")
    >>> adata.var["nmf_feature_score"].dropna().between(0, 1).all().item()
    True
    """
    check_choice("method", method, METHODS)
    check_choice("scale", scale, SCALES)
    W, _, _ = read_factors(adata, key)
    found = feature_scores(W, scale=scale)
    adata = adata.copy() if copy else adata
    write_feature_score(adata, key, found.score, {"method": method, "scale": scale})
    return adata if copy else None
