"""What ``tl.perturbation_effects`` reads off an AnnData: who is compared with whom, and which genes are left out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scprograms._anndata import slot_names
from scprograms._anndata.labels import Labels, check_level, read_labels, warn_about_labels
from scprograms._anndata.matrix import read_gene_names, read_matrix
from scprograms._anndata.obs import find_replicates, read_covariates, read_names, read_replicates, read_strata
from scprograms._anndata.slots import read_fit, read_fitted_loadings, read_model
from scprograms._core.validate import check_has_key, listing, warn
from scprograms.programs.engine.leave_out import UsagesWithout

from .engine.carriers import carriers_of_targets, compare_carriers
from .engine.comparison import Comparison, Effects, Options, compare, compare_without_targets, not_estimable

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from .engine.carriers import Guides

logger = logging.getLogger("scprograms")

Targets = str | Mapping[str, str | Sequence[str]] | None


@dataclass(frozen=True)
class LeaveOut:
    """How to solve usages without a gene, and which gene a perturbation targets."""

    solver: UsagesWithout
    feature: dict[str, int]
    """Place of each gene that entered the fit among the features of the solver."""
    measured: set[str]
    target: Targets

    def features_of(
        self, adata: AnnData, names: list[str], cells_of: list[NDArray], *, rows: list[int]
    ) -> dict[int, NDArray]:
        """Return the features to leave out for each perturbation that has any.

        ``cells_of`` are the cells of each group; ``rows`` are the groups that are tested.
        """
        genes = _targets(adata, self.target, names, cells_of)
        found, n_fitted = {}, 0
        for g, wanted in enumerate(genes):
            fitted = [gene for gene in wanted if gene in self.feature]
            for gene in wanted:
                if gene not in self.feature:
                    why = "did not enter the fit" if gene in self.measured else "is not measured"
                    logger.info("drop_target: %s, the target of %s, %s: nothing to drop.", gene, names[g], why)
            n_fitted += len(fitted)
            features = np.array(sorted({self.feature[gene] for gene in fitted}), dtype=np.int64)
            if len(features) and self.solver.changes(features):
                found[g] = features
        without = [names[g] for g in rows if genes[g] and not set(genes[g]) & set(self.feature)]
        if n_fitted and without:
            hint = "" if self.target is not None else " Say with target= which genes they target: a pair has two."
            warn(
                f"drop_target: {len(without)} of {len(rows)} perturbations have no target among the genes of the fit "
                f"({listing(without, at_most=5)}), and nothing was dropped for them.{hint}"
            )
        if not n_fitted:
            shown = listing([gene for wanted in genes for gene in wanted], at_most=5)
            warn(
                f"drop_target=True found none of the targets ({shown}) among the genes of the fit: nothing was "
                "dropped. Say with target= which gene each perturbation targets."
            )
        return found


def read_leave_out(adata: AnnData, key: str, *, target: Targets, layer: str | None) -> LeaveOut:
    """Return what is needed to solve the usages of a factorization again without some genes."""
    fit = read_fit(adata, key)
    params = fit.get(slot_names.PARAMS, {})
    if (loss := params.get("loss", "frobenius")) != "frobenius":
        msg = (
            f"drop_target=True solves usages by least squares, but the programs under key={key!r} were fitted with "
            f"loss={loss!r}: fit them with loss='frobenius'."
        )
        raise ValueError(msg)
    hint = "It is the penalty of the fit, without which usages cannot be solved alike: factorize again."
    check_has_key(fit, slot_names.L1_PENALTY, where=f"adata.uns[{key!r}]", hint=hint)
    if target is not None and not isinstance(target, str | Mapping):
        msg = f"target={target!r} is a {type(target).__name__}; pass a column of adata.obs or a mapping to genes."
        raise TypeError(msg)
    fitted, used = read_fitted_loadings(adata, key), read_model(adata, key)
    used = used[used["used"].to_numpy(dtype=bool)]
    matrix = read_matrix(adata, layer=params.get("layer") if layer is None else layer)
    columns = np.flatnonzero(read_model(adata, key)["used"].to_numpy(dtype=bool))
    solver = UsagesWithout(
        matrix if len(columns) == adata.n_vars else matrix[:, columns],
        fitted.to_numpy().T,
        **{name: used[name].to_numpy() for name in ("baseline", "center", "scale")},
        penalty=float(fit[slot_names.L1_PENALTY]),
    )
    names = {str(name): i for i, name in enumerate(fitted.index)}
    return LeaveOut(solver, names, set(read_gene_names(adata)), target)


def _targets(adata: AnnData, target: Targets, names: list[str], cells_of: list[NDArray]) -> list[list[str]]:
    """Return the genes that each perturbation targets."""
    if target is None:
        return [[name] for name in names]
    if isinstance(target, Mapping):
        plain = {
            str(name): [genes] if isinstance(genes, str) else list(map(str, genes)) for name, genes in target.items()
        }
        if unknown := [name for name in plain if name not in names]:
            warn(f"target names {listing(unknown, at_most=5)}, which is no perturbation here.")
        return [plain.get(name, []) for name in names]
    labels = read_labels(adata, target)
    found = []
    for name, cells in zip(names, cells_of, strict=True):
        codes = np.unique(labels.codes[cells])
        codes = codes[codes >= 0]
        if len(codes) > 1:
            msg = (
                f"target={target!r}: the cells of {name!r} have {len(codes)} different targets there "
                f"({listing([labels.names[c] for c in codes], at_most=5)}); one per perturbation is needed."
            )
            raise ValueError(msg)
        found.append([labels.names[c] for c in codes])
    return found


def effects_of_groups(
    adata: AnnData,
    groupby: str,
    control: str | None,
    *,
    usages: NDArray,
    options: Options,
    rest: bool,
    replicate: str | None,
    strata: Any,
    covariates: Any,
    leave_out: LeaveOut | None,
) -> tuple[Effects, list[str], list[int]]:
    """Compare the groups of a column; return effects, the names of all groups, and those that get rows."""
    labels = read_labels(adata, groupby)
    warn_about_labels(labels)
    level = None if control is None else check_level(labels, control, name="control")
    if len(labels.names) < 2:
        msg = (
            f"adata.obs[{groupby!r}] has a single group, {listing(labels.names)}: there is nothing to compare it with. "
            "Name a column with more groups as groupby."
        )
        raise ValueError(msg)
    if level is None and not rest:
        msg = f"control=None: pass the label of the control cells, one of {listing(labels.names)}, or versus='rest'."
        raise ValueError(msg)
    codes, among = labels.codes.copy(), labels.labelled
    design = _design(adata, among, strata=strata, covariates=covariates)
    replicates = None
    if replicate is not None:
        units = read_replicates(adata, replicate, labels, among=among)
        design["kept"] &= units.labelled
        replicates = np.maximum(units.codes, 0)
    elif found := find_replicates(adata, labels):
        warn(
            f"{listing(found)} of adata.obs may hold guides or replicates, and cells are taken as independent: where "
            f"guides differ among themselves the p-values are far too small. Pass replicate={found[0]!r}."
        )
    codes[~design.pop("kept")] = -1
    rows = [g for g in range(len(labels.names)) if g != level]
    _warn_about_sizes(labels, codes, level, rows)
    comparison = Comparison(
        codes, len(labels.names), None if rest else level, replicates=replicates, n_tests=len(rows), **design
    )
    _check_covariates(labels.names, not_estimable(comparison), rows, covariates)
    if leave_out is None:
        effects = compare(usages, comparison, options)
    else:
        cells_of = [np.flatnonzero(codes == g) for g in range(len(labels.names))]
        genes = leave_out.features_of(adata, labels.names, cells_of, rows=rows)
        genes = {g: features for g, features in genes.items() if g in rows and len(cells_of[g])}
        effects = compare_without_targets(usages, comparison, options, solver=leave_out.solver, genes=genes)
    alone = [labels.names[g] for g in rows if effects.n_cells[g] > 0 and effects.n_control[g] == 0]
    if alone:
        warn(f"{len(alone)} groups share no stratum with cells to compare with ({listing(alone)}): they have NaN.")
    return effects, labels.names, rows


def effects_of_guides(
    adata: AnnData,
    guides: Guides,
    *,
    usages: NDArray,
    options: Options,
    replicates: bool,
    strata: Any,
    covariates: Any,
    leave_out: LeaveOut | None,
) -> tuple[Effects, list[str], list[int]]:
    """Compare the carriers of each target's guides with the other cells; return effects, names and rows."""
    among = np.ones(adata.n_obs, dtype=bool)
    design = _design(adata, among, strata=strata, covariates=covariates)
    carries = carriers_of_targets(guides) > 0
    n_carriers = carries[design["kept"]].sum(axis=0)
    few = [f"{name} ({n})" for name, n in zip(guides.targets, n_carriers, strict=True) if n < 2]
    if few:
        warn(f"{len(few)} targets have fewer than two carriers ({listing(few)}): they are not tested.")
    more: dict[str, Any] = {}
    if leave_out is not None:
        cells_of = [np.flatnonzero(column) for column in carries.T]
        genes = leave_out.features_of(adata, guides.targets, cells_of, rows=list(range(len(guides.targets))))
        more = {"solver": leave_out.solver, "genes": genes}
    effects = compare_carriers(usages, guides, options, replicates=replicates, **design, **more)
    if covariates is not None:
        lost = (effects.n_cells > 1) & (effects.n_control > 0) & np.isnan(effects.difference).all(axis=1)
        _check_covariates(guides.targets, lost, list(range(len(guides.targets))), covariates)
    return effects, guides.targets, list(range(len(guides.targets)))


def _design(adata: AnnData, among: NDArray, *, strata: Any, covariates: Any) -> dict[str, Any]:
    """Return the mask of the cells of which all is known, their strata and covariates."""
    design: dict[str, Any] = {"kept": among.copy(), "strata": None, "covariates": None}
    if strata is not None:
        codes = read_strata(adata, strata, among=among)
        design["kept"] &= codes >= 0
        design["strata"] = np.maximum(codes, 0)
    if covariates is not None:
        found = read_covariates(adata, covariates, among=among)
        design["kept"] &= found.complete
        design["covariates"] = found.design
    return design


def _check_covariates(names: list[str], lost: NDArray, rows: list[int], covariates: Any) -> None:
    """Warn about perturbations that no test can tell from the covariates; raise where that is all of them."""
    confounded = [names[g] for g in rows if lost[g]]
    if not confounded:
        return
    what = f"covariates {listing(read_names('covariates', covariates))}, or a combination of them"
    if len(confounded) == len(rows):
        msg = (
            f"No effect is estimable beside {what}: they do not vary within perturbations (and strata), and differ "
            "between each perturbation and the cells that it is compared with. Leave them out of covariates."
        )
        raise ValueError(msg)
    warn(
        f"{len(confounded)} perturbations cannot be told from {what}, which do not vary within them "
        f"({listing(confounded)}): they have NaN."
    )


def _warn_about_sizes(labels: Labels, codes: NDArray, level: int | None, rows: list[int]) -> None:
    n_cells = np.bincount(codes[codes >= 0], minlength=len(labels.names))
    if level is not None and n_cells[level] == 0:
        msg = f"No control cell ({labels.names[level]!r}) has everything known that the comparison needs."
        raise ValueError(msg)
    small = [labels.names[g] for g in rows if n_cells[g] < 2]
    if len(small) == len(rows):
        msg = (
            f"None of the {len(rows)} groups of adata.obs[{labels.key!r}] to compare has more than one cell: there is "
            "nothing to test. Name a column with larger groups as groupby."
        )
        raise ValueError(msg)
    if small:
        warn(f"{len(small)} groups have fewer than two cells ({listing(small)}): they are not tested.")
