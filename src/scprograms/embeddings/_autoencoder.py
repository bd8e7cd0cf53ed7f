"""``tl.autoencoder``: latent variables of cells by a small network."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from scprograms._anndata.matrix import check_adata, read_gene_mask, read_gene_names
from scprograms._core.files import atomic_path
from scprograms._core.validate import check_choice, check_int, check_name, check_real, warn

from .store import Training, read_accessibility, write_training

if TYPE_CHECKING:
    import os

    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy import sparse

logger = logging.getLogger("scprograms")

KINDS = ("basic", "sparse", "stacked", "vae")
TRANSFORMS = ("tfidf", "binary", None)


def autoencoder(
    adata: AnnData,
    kind: Literal["basic", "sparse", "stacked", "vae"] = "vae",
    n_latent: int = 10,
    *,
    layer: str | None = None,
    mask_var: str | NDArray | None = None,
    transform: Literal["tfidf", "binary"] | None = "tfidf",
    layers: Sequence[int] | None = None,
    epochs: int = 100,
    pretrain_epochs: int = 30,
    batch_size: int = 100,
    learning_rate: float | None = None,
    patience: int | None = 20,
    validation_fraction: float = 0.1,
    dropout: float = 0.5,
    sparsity_target: float = 0.03,
    sparsity_weight: float = 1.0,
    warmup_epochs: int | None = None,
    depth: bool = True,
    device: str | None = None,
    save: str | os.PathLike[str] | None = None,
    progress: bool = True,
    key_added: str = "autoencoder",
    random_state: int = 0,
    n_jobs: int = 1,
    copy: bool = False,
) -> AnnData | None:
    r"""Learn latent variables of accessibility with an autoencoder; needs torch (``pip install "scprograms[deep]"``).

    The four kinds are those that [1]_ compares on scATAC:

    ``"basic"``
        Encoder of ``layers`` with ReLU, its mirror as decoder, squared error.
    ``"sparse"``
        One layer of sigmoid units and a linear decoder, squared error, and a penalty that holds the mean activation of
        each unit at ``sparsity_target``: the divergence of Bernoulli variables with these means. (The code of [1]_
        normalises activations over the batch first, so that their mean, and the penalty, are constants.)
    ``"stacked"``
        The basic network; each layer is first trained to reproduce what enters it (``pretrain_epochs``), from the
        outside in, and then all of them together (``epochs``).
    ``"vae"``
        Gaussian latent variables z with the prior N(0, 1), and whether a peak is open as a Bernoulli variable with the
        logit b + w'z + log(depth of the cell / typical depth); the weight of the divergence from the prior rises over
        ``warmup_epochs`` [2]_.

    Squared errors are shares of the sum of squares of what the encoder sees. Minibatches are cut from the sparse
    matrix, the first layer sums the weights of the open peaks, and losses read only the entries that are not zero: no
    more than the output of one batch is ever dense. Leave rare peaks out first (:func:`scprograms.pp.filter_peaks`):
    the cost is that of the decoder, cells x peaks per epoch.

    Parameters
    ----------
    adata
        Cells x peaks (or another sparse matrix without negative values).
    kind
        Which network.
    n_latent
        Number of latent variables.
    layer
        Layer to learn from; None means ``.X``. ``.raw`` is never read.
    mask_var
        Features to learn from: a boolean column of ``.var`` or a boolean array. None means all.
    transform
        What is done to the values. ``"tfidf"``: open peaks count log(1 + cells / cells with the peak), and all cells
        get one length, so that depth is taken out; ``"binary"``: open peaks count 1; None: values stay as they are.
        For ``"vae"`` it concerns the encoder only.
    layers
        Widths of the hidden layers. None means (128,), and (256, 64) for ``"stacked"``; ``"sparse"`` has none.
    epochs, pretrain_epochs
        Passes over the cells, at most; ``pretrain_epochs`` are those of each layer of ``"stacked"``.
    batch_size
        Cells of a step.
    learning_rate
        Of Adam; a tenth less every ten epochs, down to 2e-5. None means 0.003, and 0.005 for ``"sparse"``.
    patience
        Training ends after so many epochs without a lower loss of the cells held out; None: never before ``epochs``.
        The weights of the best epoch are kept.
    validation_fraction
        Share of the cells that are held out to watch the loss; with 0 that of the training cells is watched.
    dropout
        Share of a cell's open peaks that the encoder does not get to see in a step.
    sparsity_target, sparsity_weight
        Mean activation, and weight of the penalty, for ``"sparse"``.
    warmup_epochs
        For ``"vae"``; None means a third of ``epochs``.
    depth
        For ``"vae"``: whether logits follow the depth of the cell.
    device
        Such as ``"cpu"``, ``"cuda"`` or ``"mps"``. None takes a GPU where there is one.
    save
        File to write the trained encoder to, for :func:`scprograms.tl.encode`.
    progress
        Whether to show a progress bar.
    key_added
        Name of the slots below.
    random_state
        Seed. The same seed gives the same result on a CPU with the same ``n_jobs``.
    n_jobs
        Threads of the CPU. Batches are small: more than one gains little, and changes the last digits.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the changed copy with ``copy=True``. Written are:

    ``.obsm["X_{key_added}"]``
        Latent variables, n_obs x n_latent, float32: means for ``"vae"``, activations for ``"sparse"``.
    ``.var["{key_added}_used"]``
        Which features were learned from.
    ``.uns["{key_added}"]``
        ``params``; ``history`` (table ``stage, epoch, loss, held_out_loss, learning_rate``); ``best_epoch`` and
        ``held_out_loss`` (NaN with ``validation_fraction=0``) of the last stage; ``seconds``; ``device``.

    Raises
    ------
    ImportError
        If torch is not installed.
    TypeError
        If ``adata`` is no AnnData or is backed, the matrix is no numpy array or scipy matrix of real numbers, or an
        argument has the wrong type.
    ValueError
        If the matrix is empty, has negative, NaN or infinite values or no signal, or an argument is out of range.
    KeyError
        If ``layer`` or ``mask_var`` does not exist.
    FloatingPointError
        If the loss is no longer finite: ``learning_rate`` is too high.

    See Also
    --------
    scprograms.tl.compare_embeddings : how well latent variables tell known labels apart.
    scprograms.get.training_history : the losses.

    References
    ----------
    .. [1] Huang et al. (2021), Symmetry 13:1467, https://doi.org/10.3390/sym13081467
    .. [2] Kingma & Welling (2014), https://arxiv.org/abs/1312.6114

    Examples
    --------
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_peaks(300, 1000, 4)
    >>> scp.tl.autoencoder(adata, "vae", n_latent=5, epochs=10, device="cpu", progress=False)
    >>> adata.obsm["X_autoencoder"].shape
    (300, 5)
    """
    check_adata(adata)
    options = _checked(
        kind=kind, n_latent=n_latent, transform=transform, layers=layers, epochs=epochs,
        pretrain_epochs=pretrain_epochs, batch_size=batch_size, learning_rate=learning_rate, patience=patience,
        validation_fraction=validation_fraction, dropout=dropout, sparsity_target=sparsity_target,
        sparsity_weight=sparsity_weight, warmup_epochs=warmup_epochs, depth=depth, random_state=random_state,
    )  # fmt: skip
    check_name("key_added", key_added)
    n_jobs = check_int("n_jobs", n_jobs, at_least=1)
    path = None if save is None else _writable(save)
    matrix = read_accessibility(adata, layer=layer)
    mask = read_gene_mask(adata, mask_var)
    used = np.ones(adata.n_vars, dtype=bool) if mask is None else mask
    names = read_gene_names(adata) if path is not None else []
    if not used.all():
        matrix = matrix[:, np.flatnonzero(used)]
    _check_cells(matrix, adata.n_obs)
    from .engine.networks import Autoencoder

    started = time.perf_counter()
    model = Autoencoder(device=device, n_jobs=n_jobs, progress=progress, **options).fit(matrix)
    latent = model.encode(matrix)
    seconds = time.perf_counter() - started
    history = pd.DataFrame(model.history_)
    logger.info("%s autoencoder: %d epochs in %.1f s", kind, len(history), seconds)
    if path is not None:
        features = [name for name, is_used in zip(names, used, strict=True) if is_used]
        with atomic_path(path) as part:
            model.save(part, features=features)
    params = {name: list(value) if isinstance(value, tuple) else value for name, value in model.params.items()}
    result = Training(
        latent=latent,
        used=used,
        history=history,
        params={name: value for name, value in {**params, "layer": layer}.items() if value is not None},
        measures={
            "best_epoch": model.best_epoch_,
            "held_out_loss": model.best_held_out_loss_,
            "seconds": seconds,
            "device": str(model.device_),
        },
    )
    adata = adata.copy() if copy else adata
    write_training(adata, key_added, result)
    return adata if copy else None


def _checked(**options: Any) -> dict[str, Any]:
    """Return the options of a network, checked."""
    check_choice("kind", options["kind"], KINDS)
    check_choice("transform", options["transform"], TRANSFORMS)
    for name, at_least in (("n_latent", 1), ("epochs", 1), ("pretrain_epochs", 0), ("batch_size", 1)):
        options[name] = check_int(name, options[name], at_least=at_least)
    options["random_state"] = check_int("random_state", options["random_state"], at_least=0)
    for name, at_least in (("patience", 1), ("warmup_epochs", 0)):
        if options[name] is not None:
            options[name] = check_int(name, options[name], at_least=at_least)
    if (layers := options["layers"]) is not None:
        if isinstance(layers, str) or not isinstance(layers, Sequence):
            msg = f"layers={layers!r} is a {type(layers).__name__}; pass widths from the outside in, such as (128, 32)."
            raise TypeError(msg)
        options["layers"] = tuple(check_int("layers", width, at_least=1) for width in layers)
        if (options["kind"] == "sparse") == bool(layers):
            msg = (
                f"layers={layers!r}: kind={options['kind']!r} needs "
                f"{'none, it is a single layer' if layers else 'one hidden layer or more, such as (128,)'}."
            )
            raise ValueError(msg)
    if options["learning_rate"] is not None:
        options["learning_rate"] = check_real("learning_rate", options["learning_rate"], at_least=1e-8)
    options["validation_fraction"] = check_real(
        "validation_fraction", options["validation_fraction"], at_least=0, at_most=0.9
    )
    options["dropout"] = check_real("dropout", options["dropout"], at_least=0, at_most=0.99)
    options["sparsity_target"] = check_real(
        "sparsity_target", options["sparsity_target"], at_least=1e-4, at_most=0.9999
    )
    options["sparsity_weight"] = check_real("sparsity_weight", options["sparsity_weight"], at_least=0)
    check_choice("depth", options["depth"], (True, False))
    return options


def _writable(save: str | os.PathLike[str]) -> Path:
    """Return the path, after a look at whether its folder is there: before the training, not after it."""
    path = Path(save)
    if not path.parent.is_dir():
        msg = f"save={str(path)!r}: the folder {str(path.parent)!r} does not exist. Make it first."
        raise FileNotFoundError(msg)
    return path


def _check_cells(matrix: sparse.csr_matrix, n_obs: int) -> None:
    if n_obs < 2:
        msg = f"adata has {n_obs} cell: there is nothing to learn from."
        raise ValueError(msg)
    if matrix.nnz == 0:
        msg = "No cell has a value above 0 in the features of mask_var: there is nothing to learn from."
        raise ValueError(msg)
    if n_empty := int((np.diff(matrix.indptr) == 0).sum()):
        warn(
            f"{n_empty} of {n_obs} cells have no accessible peak: their latent variables say nothing. "
            "Leave them out with scp.pp.filter_peaks."
        )
