"""``tl.nmf``: programs of a screen by NMF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from scprograms._core.validate import check_int, check_name

from .engine import NMF
from .factorization import check_non_negative, plain_params, read_screen, write_programs

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from numpy.typing import NDArray

    from .engine import Init


def nmf(
    adata: AnnData,
    n_programs: int = 30,
    *,
    layer: str | None = None,
    mask_var: str | NDArray | None = None,
    init: Init | NDArray = "varimax",
    solver: Literal["hals", "cd", "mu", "lsnmf"] = "hals",
    loss: Literal["frobenius", "kullback-leibler"] = "frobenius",
    max_iter: int = 200,
    tol: float | None = None,
    key_added: str = "nmf",
    random_state: int | np.random.Generator | np.random.RandomState | None = 0,
    n_jobs: int | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Find gene programs by NMF: usages W >= 0, loadings H >= 0 [1]_.

    The matrix is modelled as ``W H``: programs only add up, and a gene is carried by a program or it is not. Whatever
    the solver, the descent begins at a few sweeps of semi-NMF with their loadings clipped at 0. Pass log-normalised
    expression; sparse matrices stay sparse.

    Parameters
    ----------
    adata
        Cells x genes. The matrix may be a dask array in chunks of cells (as from ``anndata.experimental.read_lazy``),
        or in the file of a backed AnnData: it is then never loaded as a whole, but read once per sweep, a few
        chunks at a time, on the scheduler or cluster that dask is set to use; only with ``solver="hals"``.
    n_programs
        Number of programs.
    layer
        Layer to factorize; None means ``.X``. ``.raw`` is never read.
    mask_var
        Genes that enter the fit: a boolean column of ``.var`` (such as ``"highly_variable"``) or a boolean array. None
        means all genes. Genes outside get the non-negative loadings of least loss for the usages found.
    init
        Start, as in :func:`scprograms.tl.semi_nmf`: ``"varimax"``, ``"svd"``, ``"kmeans"``, ``"nndsvd"``,
        ``"random"``, or starting usages as an array n_obs x n_programs.
    solver
        ``"hals"`` (sparse, threaded), ``"cd"`` or ``"mu"`` (scikit-learn's coordinate descent and multiplicative
        updates), or ``"lsnmf"`` (alternating least squares by projected gradient [2]_).
    loss
        ``"frobenius"`` (squared differences), or ``"kullback-leibler"`` with ``solver="mu"``.
    max_iter
        Largest number of sweeps (``"hals"``: over the compressed matrix, and again over the matrix itself).
    tol
        When to stop. ``"hals"``: a sweep changes the loadings (as rows of unit norm, in the Frobenius norm) and the
        error by less than this share of them (default 2e-3); ``"cd"`` and ``"mu"``: as in scikit-learn (1e-4);
        ``"lsnmf"``: the projected gradient falls below this share of the first one (1e-4).
    key_added
        Name of the slots below.
    random_state
        Seed: an int, a Generator, a RandomState or None.
    n_jobs
        Number of threads; None means all. It does not change the result.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the changed copy with ``copy=True``. The slots are those of :func:`scprograms.tl.semi_nmf`, the last one
    replaced whole:

    ``.obsm["X_{key_added}"]``
        Usages W, n_obs x n_programs, non-negative, in the dtype of the matrix.
    ``.varm["{key_added}_loadings"]``
        Loadings H transposed, n_vars x n_programs, non-negative. Each program has unit L2 norm over the genes that
        entered the fit.
    ``.varm["{key_added}_model"]``
        Table ``baseline, center, scale, used`` per gene: 0, 0, 1, and whether the gene entered the fit.
    ``.obs["{key_added}_program"]``
        The program that a cell uses most (category); ``"none"`` where there is none, or a tie.
    ``.uns["{key_added}"]``
        ``params``, ``programs``, ``history``, ``error``, ``error_bound``, ``error_ratio``, ``l1_penalty`` (0),
        ``n_iter`` and ``converged``. Errors are Frobenius norms whatever the loss; the bound is the truncated SVD's,
        which NMF need not attain.

    Raises
    ------
    TypeError
        If ``adata`` is no AnnData, the matrix is no numpy, scipy or dask array of real numbers, it is in a file by
        column, or an argument has the wrong type.
    ValueError
        If the matrix is empty, has negative, NaN or infinite values or no signal, or an argument is out of range.
    KeyError
        If ``layer`` or ``mask_var`` does not exist.

    See Also
    --------
    scprograms.tl.semi_nmf : signed loadings, any matrix, and an error next to the least possible one.
    scprograms.programs.engine.NMF : the estimator behind it.

    References
    ----------
    .. [1] Lee & Seung (1999), Nature 401:788, https://doi.org/10.1038/44565
    .. [2] Lin (2007), Neural Computation 19:2756, https://doi.org/10.1162/neco.2007.19.10.2756

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(n_cells=600, n_genes=300, n_programs=6, random_state=0)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.nmf(adata, n_programs=6)
    >>> adata.obsm["X_nmf"].shape
    (600, 6)
    >>> bool((adata.varm["nmf_loadings"] >= 0).all())
    True
    """
    n_programs = check_int("n_programs", n_programs, at_least=1)
    key = check_name("key_added", key_added)
    screen = read_screen(adata, n_programs, layer=layer, mask_var=mask_var)
    check_non_negative(screen, layer=layer, method="NMF")

    model = NMF(
        n_programs,
        init=init,
        solver=solver,
        loss=loss,
        max_iter=max_iter,
        tol=tol,
        random_state=random_state,
        n_jobs=n_jobs,
        verbose=True,
    )
    W = model.fit_transform(screen.fitted)
    params = plain_params(
        n_programs=n_programs,
        layer=layer,
        mask_var=mask_var,
        init=init,
        solver=solver,
        loss=loss,
        max_iter=int(max_iter),
        tol=model.tol_,
        random_state=random_state,
        method="nmf",
    )
    return write_programs(adata, key, model, usages=W, screen=screen, params=params, copy=copy)
