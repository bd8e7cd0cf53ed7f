"""``tl.train_accessibility``: learn which peaks are open from expression, and test it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scprograms._core.validate import check_choice, check_int, check_name, check_real, listing, warn_about_counts

from ._accessibility_report import make_report
from .engine import CANDIDATES, AccessibilityModel, Split, distance_weights, moments, most_variable, split_cells
from .store import (
    Pair,
    read_expression,
    read_gene_places,
    read_groups,
    read_open,
    read_pair,
    read_peak_choice,
    read_peak_places,
    write_predictions,
    write_report,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

logger = logging.getLogger("scprograms")


def train_accessibility(
    data: Any,
    *,
    model: Literal["auto", "mean", "ridge", "knn", "network"] = "auto",
    n_genes: int = 10_000,
    n_peaks: int = 500,
    peaks: Any = None,
    layer: str | None = None,
    atac_layer: str | None = None,
    groupby: str | None = None,
    test_groups: Sequence[str] | None = None,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    gene_distance: float | None = None,
    n_components: int = 50,
    hidden: Sequence[int] = (1024, 512),
    dropout: float = 0.3,
    normalization: Literal["batch", "layer"] | None = None,
    optimizer: Literal["rmsprop", "adam"] = "rmsprop",
    learning_rate: float = 1.5e-4,
    weight_decay: float = 0.0,
    averaging: float = 0.99,
    epochs: int = 50,
    batch_size: int = 32,
    patience: int | None = 10,
    focal_weight: float = 1.0,
    dice_weight: float = 1.0,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    device: str | None = None,
    n_jobs: int = 1,
    rna: str = "rna",
    atac: str = "atac",
    key_added: str = "accessibility",
    random_state: int = 0,
    progress: bool = False,
) -> AccessibilityModel:
    """Learn from multiome cells which peaks are open, given the expression of the genes, and test it.

    The most variable genes are z-scored; the target is whether each of the most variable peaks is open. Mean and
    standard deviation, and which genes and peaks are most variable, come from the training cells alone. The mean of
    each peak, ridge regression on principal components and the nearest cells (kNN) are always fitted and reported
    beside the model that is asked for: that mean alone ranks entries far above chance, and so does depth. What is
    chosen is chosen on the validation cells; the test cells are looked at once, for the report. See
    :class:`scprograms.accessibility.engine.AccessibilityModel` for how.

    Parameters
    ----------
    data
        MuData, or a mapping from names to AnnData, with log-normalised expression and with accessibility.
    model
        ``"auto"`` takes the best on the validation cells, and of equally good ones the simplest; without torch, the
        network is not among them. Only the network needs torch.
    n_genes, n_peaks
        How many of the most variable genes and peaks to use. The variance of a peak is that of 0 and 1.
    peaks
        Target peaks in place of the most variable: names, a boolean column of ``.var``, or a mask.
    layer, atac_layer
        Layers to use instead of ``.X``. Every accessibility above 0 counts as open.
    groupby
        Column of ``.obs`` (of the MuData or of a modality), such as a cell type or batch: whole groups are held out for
        the test, and for validation where enough are left.
    test_groups
        Which groups of ``groupby`` to test on; drawn by default.
    test_fraction
        Share of the cells to test on.
    validation_fraction
        Share of the other cells to choose on.
    gene_distance
        Scale in base pairs, such as 50,000: genes count more, by exp(-distance / scale), the nearer they start to a
        target peak, and each peak has a term of its own for the expression near it. None does without coordinates.
    n_components
        Principal components for ridge regression and kNN.
    hidden
        Widths of the hidden layers.
    dropout
        Share of the hidden units that are left out at each step of the training.
    normalization
        Of hidden layers, before the activation.
    optimizer
        ``"rmsprop"`` has the smoothing 0.9 of Keras; ``"adam"`` has decoupled weight decay.
    learning_rate, weight_decay
        Of the optimizer.
    averaging
        The network predicts by the mean of its weights over steps, of which so much stays at a step; 0 takes the
        weights as they are.
    epochs
        At most so many passes over the training cells. The weights of the epoch with the best validation PR-AUC stay.
    batch_size
        Cells in a step.
    patience
        Stop after so many epochs without a better one; None never stops early.
    focal_weight, dice_weight
        Weights of the two losses: focal cross entropy, summed over peaks, and one minus the soft dice coefficient.
    alpha, gamma
        Of the focal loss: weight of open entries, and how little easy entries count. ``alpha=None, gamma=0`` is cross
        entropy.
    device
        Of torch; by default a GPU (CUDA or MPS) where there is one, and else the CPU.
    n_jobs
        Threads of the CPU for the network. Batches are small: more than one gains little, and changes the last digits.
    rna, atac
        Names of the two modalities.
    key_added
        Name of the results.
    random_state
        Seed of the split and of the network.
    progress
        Show the epochs as a bar.

    Returns
    -------
    The fitted model, for :func:`predict_accessibility`; its method ``write`` keeps it in a file. Written into the
    modality ``atac`` are:

    ``.layers["{key_added}"]``
        Probability of being open, CSR, float32: at target peaks, for all cells with expression; empty elsewhere.
    ``.var["{key_added}_target"]``
        Which peaks are targets.
    ``.obs["{key_added}_split"]``
        Category "train", "validation" or "test"; missing for cells without expression or group.
    ``.uns["{key_added}"]``
        ``params``, ``chosen``, ``summary`` (sentences), and the tables of :func:`scprograms.get.accessibility`.

    Raises
    ------
    ImportError
        ``model="network"`` without torch.
    KeyError
        There is no such modality, layer or column, or genes have no coordinates for ``gene_distance``.
    TypeError
        ``data`` is neither, or an argument has the wrong type.
    ValueError
        Too few cells, groups, or open peaks; or an argument is out of range.

    See Also
    --------
    scprograms.get.accessibility, scprograms.pl.accessibility_report, scprograms.pl.precision_recall

    Notes
    -----
    The published network had no dropout: ``dropout=0, learning_rate=1e-3, averaging=0, patience=None`` comes closest.
    It overfits within a few epochs, as the history shows.

    References
    ----------
    Lin et al. (2017), Focal loss for dense object detection, https://doi.org/10.1109/ICCV.2017.324. Wu et al. (2021),
    BABEL, PNAS 118:e2023070118, https://doi.org/10.1073/pnas.2023070118 (holding out cell types).

    Examples
    --------
    >>> import scprograms as scp
    >>> data = scp.datasets.simulate_multiome(400, 200, 60)
    >>> model = scp.tl.train_accessibility(data, model="ridge", n_peaks=50)
    >>> table = scp.get.accessibility(data)
    >>> list(table.index), bool(table.loc["ridge", "gain"] > 0.1)
    (['mean', 'ridge', 'knn'], True)
    """
    settings = network_settings(locals())
    check_choice("model", model, ("auto", *CANDIDATES))
    n_genes = check_int("n_genes", n_genes, at_least=2)
    n_peaks = check_int("n_peaks", n_peaks, at_least=1)
    n_components = check_int("n_components", n_components, at_least=1)
    random_state = check_int("random_state", random_state, at_least=0)
    test_fraction = check_real("test_fraction", test_fraction, at_least=0.01, at_most=0.9)
    validation_fraction = check_real("validation_fraction", validation_fraction, at_least=0.01, at_most=0.9)
    if gene_distance is not None:
        gene_distance = check_real("gene_distance", gene_distance, at_least=1)
    check_name("key_added", key_added)

    pair = read_pair(data, rna, atac)
    split, held_out = _split(data, pair, groupby, test_groups, test_fraction, validation_fraction, random_state)
    expression = read_expression(pair.rna, pair.in_rna, layer=layer)
    warn_about_counts(expression, f"data[{rna!r}]" + (".X" if layer is None else f".layers[{layer!r}]"))
    accessible = read_open(pair.atac, pair.in_atac, layer=atac_layer)

    genes = most_variable(moments(expression[split.train])[1], n_genes)
    if len(genes) < 2:
        msg = f"{len(genes)} of {pair.rna.n_vars} genes vary over the {len(split.train)} training cells: 2 are needed."
        raise ValueError(msg)
    if peaks is None:
        share = moments(accessible[split.train].astype(np.float32))[0]
        targets = most_variable(share * (1 - share), n_peaks)
    else:
        targets = read_peak_choice(pair.atac, peaks)
    if not len(targets):
        msg = f"No peak varies over the {len(split.train)} training cells: there is nothing to predict."
        raise ValueError(msg)
    observed = accessible[:, targets].toarray().astype(bool)
    if not observed[split.test].any():
        msg = (
            f"No target peak is open in the {len(split.test)} test cells: the model cannot be tested. Split otherwise."
        )
        raise ValueError(msg)
    near = None
    if gene_distance is not None:
        near = distance_weights(
            read_gene_places(pair.rna).iloc[genes],
            read_peak_places(pair.atac, targets),
            scale=gene_distance,
        )

    fitted = AccessibilityModel(model, n_components=n_components, settings=settings, random_state=random_state)
    matrix = expression[:, genes]
    fitted.fit(
        matrix,
        observed,
        split,
        genes=pair.rna.var_names[genes].astype(str).tolist(),
        peaks=pair.atac.var_names[targets].astype(str).tolist(),
        near=near,
        progress=progress,
    )
    params = {
        "model": model,
        "n_genes": len(genes),
        "n_peaks": len(targets),
        "layer": layer,
        "atac_layer": atac_layer,
        "groupby": groupby,
        "test_groups": held_out,
        "test_fraction": test_fraction,
        "validation_fraction": validation_fraction,
        "gene_distance": gene_distance,
        "n_components": n_components,
        "random_state": random_state,
        **(settings if "network" in fitted.candidates_ else {}),
        "n_train": len(split.train),
        "n_validation": len(split.validation),
        "n_test": len(split.test),
    }
    report = make_report(
        fitted, matrix[split.test], observed[split.test], params, pair.atac.obs_names[pair.in_atac[split.test]]
    )
    probability = fitted.predict_proba(matrix)
    write_predictions(pair, key_added, targets, probability, _codes(split, pair.n_cells))
    write_report(pair.atac, key_added, report)
    logger.info("train_accessibility: %s", report["summary"])
    return fitted


def _codes(split: Split, n_cells: int) -> np.ndarray:
    codes = np.full(n_cells, -1)
    for i, part in enumerate((split.train, split.validation, split.test)):
        codes[part] = i
    return codes


def _split(
    data: Any,
    pair: Pair,
    groupby: str | None,
    test_groups: Sequence[str] | None,
    test_fraction: float,
    validation_fraction: float,
    random_state: int,
) -> tuple[Split, list[str] | None]:
    """Return the split, and the names of the groups that are tested on."""
    common: dict[str, Any] = {
        "test_fraction": test_fraction,
        "validation_fraction": validation_fraction,
        "random_state": random_state,
    }
    if groupby is None:
        if test_groups is not None:
            msg = f"test_groups={test_groups!r} without groupby: name the column of .obs with groupby=."
            raise ValueError(msg)
        return split_cells(pair.n_cells, **common), None
    labels = read_groups(data, pair, groupby)
    wanted = None
    if test_groups is not None:
        names = [test_groups] if isinstance(test_groups, str) else list(test_groups)
        if unknown := [name for name in names if str(name) not in labels.names]:
            msg = f"test_groups={unknown} are no levels of {groupby!r}. There: {listing(labels.names)}."
            raise ValueError(msg)
        wanted = [labels.names.index(str(name)) for name in names]
    split = split_cells(pair.n_cells, groups=labels.codes, test_groups=wanted, **common)
    return split, [labels.names[i] for i in np.unique(labels.codes[split.test])]


OPTIMIZERS, NORMALIZATIONS = ("rmsprop", "adam"), (None, "batch", "layer")


def network_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings as the network takes them."""
    check_choice("optimizer", given["optimizer"], OPTIMIZERS)
    check_choice("normalization", given["normalization"], NORMALIZATIONS)
    dropout = check_real("dropout", given["dropout"], at_least=0, at_most=0.95)
    focal, dice = (check_real(name, given[name], at_least=0) for name in ("focal_weight", "dice_weight"))
    if focal + dice == 0:
        msg = "focal_weight and dice_weight are both 0: there is no loss to lower. Give one a weight."
        raise ValueError(msg)
    alpha, patience, device = given["alpha"], given["patience"], given["device"]
    return {
        "hidden": _widths(given["hidden"]),
        "dropout": dropout,
        "normalization": given["normalization"],
        "optimizer": given["optimizer"],
        "learning_rate": check_real("learning_rate", given["learning_rate"], at_least=1e-9),
        "weight_decay": check_real("weight_decay", given["weight_decay"], at_least=0),
        "averaging": check_real("averaging", given["averaging"], at_least=0, at_most=0.9999),
        "epochs": check_int("epochs", given["epochs"], at_least=1),
        "batch_size": check_int("batch_size", given["batch_size"], at_least=2),
        "patience": None if patience is None else check_int("patience", patience, at_least=1),
        "focal_weight": focal,
        "dice_weight": dice,
        "alpha": None if alpha is None else check_real("alpha", alpha, at_least=0, at_most=1),
        "gamma": check_real("gamma", given["gamma"], at_least=0),
        "n_jobs": check_int("n_jobs", given["n_jobs"], at_least=1),
        "device": None if device is None else check_name("device", device),
    }


def _widths(hidden: Any) -> list[int]:
    if isinstance(hidden, str) or not hasattr(hidden, "__iter__"):
        msg = (
            f"hidden={hidden!r} is a {type(hidden).__name__}; pass the widths of the hidden layers, such as (512, 256)."
        )
        raise TypeError(msg)
    return [check_int("hidden", width, at_least=1) for width in hidden]
