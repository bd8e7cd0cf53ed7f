"""``tl.onmf``: programs of a screen by orthogonal NMF, each gene in one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from scprograms._core.validate import check_int, check_name

from .engine import OrthogonalNMF
from .factorization import check_non_negative, plain_params, read_screen, write_programs

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from numpy.typing import NDArray


def onmf(
    adata: AnnData,
    n_programs: int = 30,
    *,
    layer: str | None = None,
    mask_var: str | NDArray | None = None,
    init: Literal["varimax", "random"] | NDArray = "varimax",
    solver: Literal["em", "mu"] = "em",
    min_share: float = 0.01,
    max_iter: int = 200,
    tol: float | None = None,
    key_added: str = "onmf",
    random_state: int | np.random.Generator | np.random.RandomState | None = 0,
    n_jobs: int | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Find gene programs that share no gene, by orthogonal NMF: W >= 0, H >= 0, ``H H' = I`` [1]_.

    Every gene belongs to one program or to none, as in a clustering of the genes, and the usage of a program is the sum
    of its genes' expression weighted by their loadings. Pass log-normalised expression; sparse matrices stay sparse.

    Parameters
    ----------
    adata
        Cells x genes. The matrix may be a dask array in chunks of cells (as from ``anndata.experimental.read_lazy``),
        or in the file of a backed AnnData: it is then never loaded as a whole, but read about 6 times, a few
        chunks at a time, on the scheduler or cluster that dask is set to use; only with ``solver="em"``.
    n_programs
        Number of programs; at most the number of cells, and of genes with a signal.
    layer
        Layer to factorize; None means ``.X``. ``.raw`` is never read.
    mask_var
        Genes that enter the fit: a boolean column of ``.var`` (such as ``"highly_variable"``) or a boolean array. None
        means all genes. Each gene outside gets a loading in the program that fits it best, by least squares.
    init
        Start: ``"varimax"``, ``"random"``, or starting usages as an array n_obs x n_programs.
    solver
        ``"em"`` (deal out the genes and fit each program to its own, in turn), or ``"mu"`` (multiplicative updates that
        draw H towards orthogonality [2]_, after which each gene goes to the program with the largest of its loadings).
    min_share
        Genes of whose sum of squares their program explains less than this share get a loading of 0 and are
        ``"unassigned"``, as are genes without expression.
    max_iter
        Largest number of rounds on a compressed matrix, and again on the matrix itself.
    tol
        Rounds end once one changes the error by less than this share of it (default 1e-6; 1e-4 for ``solver="mu"``).
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
    None, or the changed copy with ``copy=True``. The slots are those of :func:`scprograms.tl.semi_nmf`, and one more;
    the last one is replaced whole:

    ``.obsm["X_{key_added}"]``
        Usages W, n_obs x n_programs, non-negative, in the dtype of the matrix.
    ``.varm["{key_added}_loadings"]``
        Loadings H transposed, n_vars x n_programs, non-negative, at most one in a row that is not 0. Each program has
        unit L2 norm over the genes that entered the fit.
    ``.var["{key_added}_program"]``
        The program of each gene (category); ``"unassigned"`` where there is none.
    ``.varm["{key_added}_model"]``
        Table ``baseline, center, scale, used`` per gene: 0, 0, 1, and whether the gene entered the fit.
    ``.obs["{key_added}_program"]``
        The program that a cell uses most (category); ``"none"`` where there is none, or a tie.
    ``.uns["{key_added}"]``
        ``params``, ``programs``, ``history``, ``error``, ``error_bound``, ``error_ratio``, ``l1_penalty`` (0),
        ``n_iter`` and ``converged``. The bound is the truncated SVD's, which orthogonal NMF need not attain.
        ``params["orthogonality"]`` is the Frobenius norm of the off-diagonal part of ``H H'`` before the genes were
        dealt out: 0 for ``solver="em"``, where they always are.

    Raises
    ------
    TypeError
        If ``adata`` is no AnnData, the matrix is no numpy, scipy or dask array of real numbers, it is in a file by
        column, or an argument has the wrong type.
    ValueError
        If the matrix is empty, has negative, NaN or infinite values or no signal, there are more programs than cells or
        genes with a signal, or an argument is out of range.
    KeyError
        If ``layer`` or ``mask_var`` does not exist.

    See Also
    --------
    scprograms.tl.nmf : programs that may share genes.
    scprograms.programs.engine.OrthogonalNMF : the estimator behind it.

    References
    ----------
    .. [1] Pompili, Gillis, Absil & Glineur (2014), Neurocomputing 141:15, https://doi.org/10.1016/j.neucom.2014.02.018
    .. [2] Ding, Li, Peng & Park (2006), KDD 2006:126, https://doi.org/10.1145/1150402.1150420

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(n_cells=600, n_genes=300, n_programs=6, random_state=0)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.onmf(adata, n_programs=6)
    >>> int((adata.varm["onmf_loadings"] > 0).sum(axis=1).max())
    1
    >>> adata.var["onmf_program"].cat.categories[-1]
    'unassigned'
    """
    n_programs = check_int("n_programs", n_programs, at_least=1)
    key = check_name("key_added", key_added)
    screen = read_screen(adata, n_programs, layer=layer, mask_var=mask_var, at_most_rank=True)
    check_non_negative(screen, layer=layer, method="orthogonal NMF")

    model = OrthogonalNMF(
        n_programs,
        init=init,
        solver=solver,
        min_share=min_share,
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
        min_share=float(min_share),
        max_iter=int(max_iter),
        tol=model.tol_,
        random_state=random_state,
        orthogonality=model.orthogonality_,
        method="onmf",
    )
    return write_programs(adata, key, model, usages=W, screen=screen, params=params, copy=copy)
