"""``tl.consensus``: programs that come back when cells are resampled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from scprograms._anndata import slot_names
from scprograms._core.validate import check_choice, check_int, check_name, check_real

from ._checkpoint import Checkpoint
from .engine import consensus_programs, pooled_similarity
from .factorization import check_non_negative, plain_params, read_screen, write_programs

if TYPE_CHECKING:
    import os

    from anndata import AnnData
    from numpy.typing import NDArray

    from .engine import Consensus

METHODS = ("semi_nmf", "nmf", "onmf")
GROUPINGS = ("align", "kmeans")
INITS = ("auto", "varimax", "nmf")
LARGEST_DENSITY = 2.0
"""Unit vectors are no farther apart."""
AT_MOST_SHOWN = 300


def consensus(
    adata: AnnData,
    n_programs: int = 30,
    *,
    method: Literal["semi_nmf", "nmf", "onmf"] = "semi_nmf",
    n_runs: int = 50,
    subsample: float = 0.7,
    layer: str | None = None,
    mask_var: str | NDArray | None = None,
    init: Literal["auto", "varimax", "nmf"] = "auto",
    grouping: Literal["align", "kmeans"] = "align",
    density_threshold: float | None = None,
    key_added: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    random_state: int | np.random.Generator | np.random.RandomState | None = 0,
    n_jobs: int | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Find gene programs that come back when cells are resampled, and say how well each does.

    Every run draws cells without replacement and is a full refit with few sweeps, from a seed of its own; only its
    loadings are kept (n_runs x n_programs x n_vars numbers), scaled to unit norm. ``grouping="align"`` matches each run
    to a fit of all cells one to one, averages what is matched, and repeats both with the averages until the matches
    stay; ``"kmeans"`` clusters the loadings of all runs and takes the median of each cluster [1]_. These loadings are
    the result; usages are the penalised non-negative least squares solution on all cells.

    A program that only one fit has is not matched well by the others: where ``n_programs`` exceeds what the data hold,
    spurious programs are those of low ``stability``.

    Parameters
    ----------
    adata
        Cells x genes. The matrix may be a dask array in chunks of cells (as from ``anndata.experimental.read_lazy``),
        or in the file of a backed AnnData: it is then never loaded as a whole, but read 4 to 9 times per run,
        a few chunks at a time, on the scheduler or cluster that dask is set to use.
    n_programs
        Number of programs.
    method
        ``"semi_nmf"``, ``"nmf"`` or ``"onmf"``, with the defaults of :func:`scprograms.tl.semi_nmf`,
        :func:`scprograms.tl.nmf` and :func:`scprograms.tl.onmf`. With ``"onmf"`` each gene stays with the program that
        it has the largest loading in.
    n_runs
        Number of runs, at least 2.
    subsample
        Share of the cells in each run, above 0 and up to 1.
    layer
        Layer to factorize; None means ``.X``.
    mask_var
        Genes that enter the fit: a boolean column of ``.var`` (such as ``"highly_variable"``) or a boolean array. None
        means all genes. Genes outside get loadings by least squares.
    init
        Start of the runs of semi-NMF. ``"varimax"``, then three sweeps: as in a single fit. ``"nmf"``: the usages of a
        non-negative factorization, and loadings set free once; for data without negative values. ``"auto"`` takes
        ``"varimax"`` where its programs come back, in three runs with a mean matched cosine of at least 0.8, or where
        there are negative values, and else ``"nmf"``: with more programs than the data hold, what varimax adds differs
        from run to run, while parts of what is there do not. ``.uns["{key_added}"]["params"]["init"]`` says which.
    grouping
        ``"align"`` or ``"kmeans"``.
    density_threshold
        Leave programs of runs out of averages or medians whose mean Euclidean distance to their ``0.3 * n_runs``
        nearest ones, over the programs of all runs, exceeds this, from 0 to 2 [1]_. None leaves out none. The stability
        counts all in any case.
    key_added
        Name of the slots below; ``"{method}_consensus"`` by default, so that a single fit is not replaced.
    checkpoint
        Folder, made if need be, in which each run leaves its loadings. A call that was interrupted continues there,
        and ends at the same numbers as one that was not. Names of files hold a hash of all values of the matrix and of
        all arguments that matter to a run; files of other data or arguments are left alone, with a warning, and damaged
        ones are computed again. Needs an integer ``random_state``.
    random_state
        Seed: an int, a Generator, a RandomState or None. The first runs are the same whatever ``n_runs``.
    n_jobs
        Number of threads; None means all. It does not change the result.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the changed copy with ``copy=True``. The slots are those of :func:`scprograms.tl.semi_nmf`,
    :func:`scprograms.tl.nmf` or :func:`scprograms.tl.onmf`, and ``.uns["{key_added}"]`` has in addition:

    ``"programs"``, column ``stability``
        Mean over the runs of the cosine between a program's loadings and those that it is matched to in the run, one to
        one.
    ``"consensus"``
        ``cosines`` (table of these cosines, runs x programs), ``similarity`` (cosines among the programs of some of the
        runs, at most about 300, sorted by program) and ``members`` (table ``run, program`` of its rows), for
        :func:`scprograms.pl.consensus`.

    Raises
    ------
    TypeError
        If ``adata`` is no AnnData, the matrix is no numpy, scipy or dask array of real numbers, it is in a file by
        column, or an argument has the wrong type.
    ValueError
        If the matrix is empty, has NaN or infinite values, no signal or, but for semi-NMF, negative values; if an
        argument is out of range, ``density_threshold`` leaves too few programs, or ``checkpoint`` is used without an
        integer ``random_state``.
    KeyError
        If ``layer`` or ``mask_var`` does not exist.
    NotADirectoryError
        If ``checkpoint`` is a file.

    See Also
    --------
    scprograms.pl.consensus : runs and stability at a glance.
    scprograms.get.consensus : the cosines as a table.

    References
    ----------
    .. [1] Kotliar et al. (2019), eLife 8:e43803, https://doi.org/10.7554/eLife.43803

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(n_cells=600, n_genes=300, n_programs=6, random_state=0)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.consensus(adata, 6, n_runs=10)
    >>> bool((adata.uns["semi_nmf_consensus"]["programs"]["stability"] > 0.8).all())
    True
    """
    n_programs = check_int("n_programs", n_programs, at_least=1)
    n_runs = check_int("n_runs", n_runs, at_least=2)
    check_choice("method", method, METHODS)
    check_choice("grouping", grouping, GROUPINGS)
    check_choice("init", init, INITS)
    subsample = _check_share(subsample)
    if density_threshold is not None:
        density_threshold = check_real("density_threshold", density_threshold, at_least=0, at_most=LARGEST_DENSITY)
    key = check_name("key_added", f"{method}_consensus" if key_added is None else key_added)
    screen = read_screen(adata, n_programs, layer=layer, mask_var=mask_var)
    if method != "semi_nmf" or init == "nmf":
        what = {"semi_nmf": "init='nmf'", "nmf": "NMF", "onmf": "orthogonal NMF"}[method]
        check_non_negative(screen, layer=layer, method=what)

    matrix = screen.fitted
    kept_runs = None
    if checkpoint is not None:
        kept_runs = Checkpoint.open(
            checkpoint, matrix, n_programs=n_programs, random_state=random_state, method=method, subsample=subsample
        )
    found = consensus_programs(
        matrix,
        n_programs,
        method=method,
        n_runs=n_runs,
        subsample=subsample,
        init=init,
        grouping=grouping,
        density_threshold=density_threshold,
        random_state=random_state,
        n_jobs=n_jobs,
        verbose=True,
        remember=None if kept_runs is None else kept_runs.remember,
    )
    params = plain_params(
        n_programs=n_programs,
        layer=layer,
        mask_var=mask_var,
        init=found.init,
        random_state=random_state,
        method=method,
        n_runs=n_runs,
        subsample=subsample,
        grouping=grouping,
        density_threshold=density_threshold,
    )
    return write_programs(
        adata,
        key,
        found.model,
        usages=found.usages,
        screen=screen,
        params=params,
        copy=copy,
        stability=found.stability,
        entries={slot_names.CONSENSUS: _tables(found)},
    )


def _check_share(subsample: float) -> float:
    share = check_real("subsample", subsample, at_least=0, at_most=1)
    if share == 0:
        msg = "subsample=0 draws no cell; pass a share above 0 and up to 1."
        raise ValueError(msg)
    return share


def _tables(found: Consensus) -> dict[str, pd.DataFrame | NDArray]:
    """Return what is kept of the runs, in forms that can be written to disk."""
    names = np.array(slot_names.program_names(found.cosines.shape[1]), dtype=object)
    similarity, runs, programs = pooled_similarity(found, at_most=AT_MOST_SHOWN)
    return {
        slot_names.CONSENSUS_COSINES: pd.DataFrame(
            found.cosines, index=[str(i) for i in range(len(found.cosines))], columns=names
        ),
        slot_names.CONSENSUS_SIMILARITY: similarity.astype(np.float32),
        slot_names.CONSENSUS_MEMBERS: pd.DataFrame(
            {"run": runs, "program": names[programs]}, index=[str(i) for i in range(len(runs))]
        ),
    }
