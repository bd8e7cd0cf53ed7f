"""``tl.perturbation_effects``: what every perturbation does to every program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scprograms._anndata import slot_names
from scprograms._anndata.obs import read_names
from scprograms._anndata.slots import read_usages, write_table
from scprograms._core.validate import check_choice, check_int

from ._effects_design import effects_of_groups, effects_of_guides, read_leave_out
from .engine.comparison import Options, n_permutations_of
from .store import read_guides

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData

Method = Literal["auto", "replicate", "permutation"]
Random = int | np.random.Generator | np.random.RandomState | None


def perturbation_effects(
    adata: AnnData,
    groupby: str | None = None,
    control: str | None = None,
    *,
    key: str = "semi_nmf",
    versus: Literal["control", "rest"] = "control",
    method: Method = "auto",
    replicate: str | None = None,
    strata: str | Sequence[str] | None = None,
    covariates: str | Sequence[str] | None = None,
    n_permutations: int | None = None,
    drop_target: bool = False,
    target: str | Mapping[str, str | Sequence[str]] | None = None,
    layer: str | None = None,
    guide_key: str | None = None,
    guide_names: str | Sequence[str] | None = None,
    guide_target: str | Sequence[str] | Mapping[str, str] | None = None,
    guide_threshold: float = 5,
    random_state: Random = 0,
    n_jobs: int | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Compare the usage of every program under every perturbation with that of control cells.

    Where a screen has several guides per target, name their column as ``replicate``: cells of one guide are alike for
    reasons of their own, and every test that takes cells as independent calls far too much then. With replicates the
    test is a t test between guides, weighted by their numbers of cells, on the ranks of the usages (whose sign may
    differ from that of ``effect`` where there is next to none); without, the labels of the cells are permuted
    within ``strata``. Only the second kind needs no replicates, and it holds only if cells do not differ by guide.

    Cells with several guides (high multiplicity of infection): pass ``guide_key`` instead of ``groupby``. The carriers
    of any guide of a target are then compared with the cells that carry none of its guides but as many guides in all:
    which guides a cell carries is chance only given their number. No cell is a control there, and cells without any
    guide are compared with none. With a handful of targets, a strong effect of one shows in the others with the
    opposite sign: their carriers have one place less for it.

    Parameters
    ----------
    adata
        Data with a factorization.
    groupby
        Column of ``.obs`` with the perturbation of each cell. Cells without a label are left out, with a warning.
    control
        The label of the control cells.
    key
        Key of the factorization (``key_added`` of the verb that made it).
    versus
        ``"control"``: against the control cells. ``"rest"``: against all other cells with a label, the control's
        included; it needs no control, and with one the control gets no rows of its own.
    method
        ``"replicate"`` or ``"permutation"``; ``"auto"`` takes the first where ``replicate`` is given.
    replicate
        Column of ``.obs`` with the guide or replicate of each cell; each belongs to one perturbation. With
        ``guide_key``: ``"guide"`` takes the guides, of which those of a target are compared with all others.
    strata
        Column(s) of ``.obs`` within which cells are compared, such as the batch. Combinations count. A perturbation
        without control cells in any of its strata gets NaN.
    covariates
        Column(s) of ``.obs`` whose linear effect is taken off the usages before they are compared; its slope is that
        within perturbations and strata. The fold change is that of the usages as they are. A perturbation that cannot
        be told from a covariate, or from a combination of several, gets NaN and is named in a warning. The uncertainty
        of the slope is not part of p, which is too small where a covariate goes along with the perturbations.
    n_permutations
        Most permutations of a test, which ends once 20 of them were at least as extreme. None: 20 per test in the
        table, so that a single effect can be found, but at least 9,999 and at most 99,999.
    drop_target
        Leave the targeted gene out of the usages: that a knock-down lowers its own target is no effect on a program.
        The usages of the cells of a perturbation, and of those that they are compared with, are solved again without
        the gene, for fixed loadings. Perturbations whose gene did not enter the fit have nothing to drop; a warning
        says how many.
    target
        Gene (or genes) that a perturbation targets: a column of ``.obs``, or a mapping from perturbation to gene. By
        default the perturbation's name is the gene.
    layer
        Layer with the expression that ``drop_target`` needs; by default that of the fit.
    guide_key
        Key of ``.obsm`` with a matrix of cells x guides: counts or booleans, dense, sparse or a DataFrame.
    guide_names
        Names of the guides, or where they are in ``.uns``; by default the columns of the DataFrame, else
        ``.uns["guide_names"]``.
    guide_target
        Target of each guide: a mapping, one per guide, or where they are in ``.uns``; ``.uns["guide_target"]`` by
        default.
    guide_threshold
        Counts from which a cell carries a guide.
    random_state
        Seed of the permutations.
    n_jobs
        Number of threads; None means all. It does not change the result.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the copy with ``copy=True``. Sets these fields, where name is ``groupby`` or ``guide_key`` (a slash in it
    becomes ``_``):

    ``.uns[key]["effects"][name]``
        DataFrame with a row per perturbation and program. ``perturbation``; ``program``; ``effect``, the difference
        in standard deviations within the two sides; ``difference`` of the mean usages; ``auc``, the chance that a
        perturbed cell uses the program more, ties half; ``log2_fold_change`` of the means plus 1 % of the program's
        mean over all cells (NaN where usages are negative); ``p``; ``log10_p``; ``q``, adjusted over all rows
        (Benjamini-Hochberg); ``n_cells``; ``n_replicates`` (0 where cells are the unit); ``n_control``, the cells
        compared with. All sizes are taken within strata. A program that is the same in all cells compared, and
        a perturbation with a single cell, have p = NaN and count in no family.
    ``.uns[key]["effects_params"][name]``
        How the table was made.

    Raises
    ------
    KeyError
        If ``groupby``, ``guide_key`` or another column does not exist, or there is no factorization under ``key``.
    ValueError
        If ``control`` is no label, or the only one; if both or neither of ``groupby`` and ``guide_key`` are given; or
        if replicates belong to several perturbations; or if no perturbation can be told from the covariates.
    TypeError
        If ``groupby`` is not one string.

    See Also
    --------
    scprograms.get.effects : the table.
    scprograms.tl.program_anova : one test per program for all perturbations together.

    References
    ----------
    Besag and Clifford (1991), Biometrika 78, 301-304, https://doi.org/10.1093/biomet/78.2.301 (when to stop
    permuting).

    Freedman and Lane (1983), Journal of Business & Economic Statistics 1, 292-298,
    https://doi.org/10.1080/07350015.1983.10509354 (permuting what covariates leave).

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(600, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 6)
    >>> scp.tl.perturbation_effects(adata, "perturbation", "non-targeting", replicate="guide", strata="batch")
    >>> effects = scp.get.effects(adata, "perturbation")
    >>> len(effects), int(effects["n_replicates"].min())
    (30, 3)
    """
    check_choice("versus", versus, ["control", "rest"])
    check_choice("method", method, ["auto", "replicate", "permutation"])
    usages = read_usages(adata, key)
    by_replicate = _by_replicate(method, replicate)
    _check_combination(groupby, control, versus, guide_key=guide_key, replicate=replicate)
    if target is not None and not drop_target:
        msg = f"target={target!r} has no effect without drop_target=True: pass both, or leave target out."
        raise ValueError(msg)
    if n_permutations is not None:
        n_permutations = check_int("n_permutations", n_permutations, at_least=1)
    options = Options(n_permutations, _seed(random_state), n_jobs)
    leave_out = read_leave_out(adata, key, target=target, layer=layer) if drop_target else None
    design: dict[str, Any] = {"strata": strata, "covariates": covariates, "leave_out": leave_out}
    if groupby is not None:
        effects, names, rows = effects_of_groups(
            adata,
            groupby,
            control,
            usages=usages.to_numpy(),
            options=options,
            rest=versus == "rest",
            replicate=replicate,
            **design,
        )
    else:
        guides = read_guides(adata, guide_key, names=guide_names, target=guide_target, threshold=guide_threshold)
        effects, names, rows = effects_of_guides(
            adata, guides, usages=usages.to_numpy(), options=options, replicates=by_replicate, **design
        )
    table = effects.table(names, list(usages.columns), rows)
    params = {
        "method": "replicate" if by_replicate else "permutation",
        "versus": versus if guide_key is None else "rest",
        "control": control,
        "replicate": replicate,
        "strata": ", ".join(read_names("strata", strata)) or None,
        "covariates": ", ".join(read_names("covariates", covariates)) or None,
        "n_permutations": None if by_replicate else n_permutations_of(options, len(table)),
        "drop_target": bool(drop_target),
        "guide_threshold": None if guide_key is None else float(guide_threshold),
        "random_state": int(random_state) if isinstance(random_state, int | np.integer) else None,
    }
    params = {name: value for name, value in params.items() if value is not None}
    adata = adata.copy() if copy else adata
    name = str(groupby if guide_key is None else guide_key)
    write_table(adata, key, slot_names.EFFECTS, table, groupby=name)
    write_table(adata, key, slot_names.EFFECTS_PARAMS, params, groupby=name)
    return adata if copy else None


def _by_replicate(method: str, replicate: str | None) -> bool:
    if method == "replicate" and replicate is None:
        msg = "method='replicate' needs replicates: pass replicate=, the column of adata.obs with the guides."
        raise ValueError(msg)
    if method == "permutation" and replicate is not None:
        msg = f"replicate={replicate!r} has no part in method='permutation': pass method='replicate', or leave it out."
        raise ValueError(msg)
    return replicate is not None


def _check_combination(
    groupby: object, control: object, versus: str, *, guide_key: object, replicate: str | None
) -> None:
    if (groupby is None) == (guide_key is None):
        msg = (
            f"groupby={groupby!r} and guide_key={guide_key!r}: pass one of them, groupby (a column of adata.obs) where "
            "each cell has one perturbation, or guide_key (a key of adata.obsm) where cells carry several guides."
        )
        raise ValueError(msg)
    if guide_key is not None and (control is not None or versus == "rest"):
        msg = (
            f"control={control!r} and versus={versus!r} have no meaning with guide_key={guide_key!r}, where carriers "
            "of a target's guides are compared with all other cells: leave them out."
        )
        raise ValueError(msg)
    if guide_key is not None and replicate not in (None, "guide"):
        msg = f"replicate={replicate!r}: with guide_key the replicates are the guides, pass 'guide' or leave it out."
        raise ValueError(msg)


def _seed(random_state: Random) -> int:
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    return int(np.random.default_rng(random_state).integers(2**63))
