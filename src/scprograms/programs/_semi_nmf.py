"""``tl.semi_nmf``: programs of a screen by semi-NMF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from scprograms._core.validate import check_int, check_name

from .engine import SemiNMF
from .factorization import plain_params, read_control, read_screen, write_programs

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from numpy.typing import NDArray

    from .engine import Init


def semi_nmf(
    adata: AnnData,
    n_programs: int = 30,
    *,
    layer: str | None = None,
    mask_var: str | NDArray | None = None,
    center: Literal["mean", "control"] | None = None,
    scale: bool = False,
    fit_intercept: bool | None = None,
    control: tuple[str, str] | NDArray | None = None,
    init: Init | NDArray = "varimax",
    solver: Literal["hals", "mu"] = "hals",
    l1: float = 0.02,
    max_iter: int = 100,
    tol: float = 1e-4,
    key_added: str = "semi_nmf",
    random_state: int | np.random.Generator | np.random.RandomState | None = 0,
    n_jobs: int | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Find gene programs by semi-NMF: usages W >= 0, loadings H of either sign [1]_.

    The matrix is modelled as ``center + scale * (baseline + W H)``. H is free, so no error below that of the truncated
    SVD is possible, and many factorizations come within 0.1 % of it; the default start (rotated singular vectors)
    picks one whose programs are used by few cells each, and which hardly changes when cells are resampled. Pass
    log-normalised expression; sparse matrices stay sparse, also with ``center`` and ``scale``.

    Parameters
    ----------
    adata
        Cells x genes. The matrix may be a dask array in chunks of cells (as from ``anndata.experimental.read_lazy``),
        or in the file of a backed AnnData: it is then never loaded as a whole, but read 5 times (up to 16 where genes
        are so many that their products ``X'X`` cost more than that), a few chunks at a time, on the scheduler or
        cluster that dask is set to use; only with ``solver="hals"``.
    n_programs
        Number of programs.
    layer
        Layer to factorize; None means ``.X``. ``.raw`` is never read.
    mask_var
        Genes that enter the fit: a boolean column of ``.var`` (such as ``"highly_variable"``) or a boolean array. None
        means all genes. Genes outside get loadings by least squares.
    center
        What to subtract from each gene: nothing, its ``"mean"``, or its mean in the ``"control"`` cells; programs are
        then deviations from control.
    scale
        Divide each gene by its standard deviation (in the control cells with ``center="control"``).
    fit_intercept
        Fit a free baseline per gene. None turns it on when the matrix has negative values, or ``center="mean"`` or
        ``scale`` is used.
    control
        The control cells, for ``center="control"``: ``(obs column, level)`` or a boolean mask.
    init
        Start: ``"varimax"``, ``"svd"`` (closed form of least error), ``"kmeans"``, ``"nndsvd"``, ``"nmf"`` (with many
        programs they tend to change less between subsamples, but a response that is lost is not found as well; not
        with ``center``, ``scale`` or an intercept), ``"random"``, or starting usages as an array n_obs x n_programs.
    solver
        ``"hals"`` (hierarchical alternating least squares on a compressed matrix), or ``"mu"`` (multiplicative updates
        on the matrix itself, as in [1]_).
    l1
        Penalty on the usages, in units of their root mean square: more exact zeros at a slightly larger error.
    max_iter
        Largest number of sweeps.
    tol
        Sweeps end once one changes the error by less than this share of it; asked after 1, 2, 3, 4, 6, 8, 12, 16, 24,
        ... of them, so that rounding does not decide on one more.
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
    None, or the changed copy with ``copy=True``. These slots are written, the last one replaced whole:

    ``.obsm["X_{key_added}"]``
        Usages W, n_obs x n_programs, non-negative, in the dtype of the matrix.
    ``.varm["{key_added}_loadings"]``
        Loadings H transposed, n_vars x n_programs. Each program has unit L2 norm over the genes that entered the fit.
    ``.varm["{key_added}_model"]``
        Table ``baseline, center, scale, used`` per gene; ``used`` says which genes entered the fit.
    ``.obs["{key_added}_program"]``
        The program that a cell uses most (category); ``"none"`` where there is none, or a tie.
    ``.uns["{key_added}"]``
        ``params``; ``programs`` (table indexed ``program_0``, ..., by variance explained: ``variance_explained``,
        ``sparsity`` = share of cells with a usage of exactly 0, ``stability`` = NaN until a consensus fills it);
        ``history`` (table ``stage, iteration, loss, error_ratio``); ``error`` (Frobenius norm of the residual),
        ``error_bound`` (that of the truncated SVD), ``error_ratio``, ``n_iter``, ``converged``.

    Raises
    ------
    TypeError
        If ``adata`` is no AnnData, the matrix is no numpy, scipy or dask array of real numbers, it is in a file by
        column, or an argument has the wrong type.
    ValueError
        If the matrix is empty, has NaN or infinite values or no signal, or an argument is out of range.
    KeyError
        If ``layer``, ``mask_var`` or the column of ``control`` does not exist.

    See Also
    --------
    scprograms.tl.program_anova : which programs differ between perturbations.
    scprograms.tl.program_enrichment : what the programs mean.
    scprograms.programs.engine.SemiNMF : the estimator behind it.

    References
    ----------
    .. [1] Ding, Li & Jordan (2010), IEEE TPAMI 32:45, https://doi.org/10.1109/TPAMI.2008.277

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(n_cells=600, n_genes=300, n_programs=6, random_state=0)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, n_programs=6)
    >>> adata.obsm["X_semi_nmf"].shape
    (600, 6)
    >>> bool(adata.uns["semi_nmf"]["error_ratio"] < 1.01)
    True
    """
    n_programs = check_int("n_programs", n_programs, at_least=1)
    key = check_name("key_added", key_added)
    screen = read_screen(adata, n_programs, layer=layer, mask_var=mask_var)
    controls = read_control(adata, center=center, control=control)

    model = SemiNMF(
        n_programs,
        init=init,
        solver=solver,
        l1=l1,
        center=center,
        scale=scale,
        fit_intercept=fit_intercept,
        max_iter=max_iter,
        tol=tol,
        random_state=random_state,
        n_jobs=n_jobs,
        verbose=True,
    )
    W = model.fit_transform(screen.fitted, control=controls)
    params = plain_params(
        n_programs=n_programs,
        layer=layer,
        mask_var=mask_var,
        center=center,
        scale=bool(scale),
        fit_intercept=model.intercept_,
        control=" = ".join(map(str, control)) if isinstance(control, tuple) else None,
        init=init,
        solver=solver,
        l1=float(l1),
        max_iter=int(max_iter),
        tol=float(tol),
        random_state=random_state,
        method="semi_nmf",
    )
    return write_programs(adata, key, model, usages=W, screen=screen, params=params, control=controls, copy=copy)
