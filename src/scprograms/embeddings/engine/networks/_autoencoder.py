"""``Autoencoder``: one of the four networks, from a matrix to latent variables and back from a file."""

from __future__ import annotations

import json
import pickle
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from scipy import sparse

from scprograms._core.devices import choose_device, limited_threads

from ._batches import Batches, Transform, canonical
from ._networks import BasicAutoencoder, Network, SparseAutoencoder, StackedAutoencoder, Start, VariationalAutoencoder
from ._trainer import Schedule, train

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from scprograms._core.matrix import Array

Kind = Literal["basic", "sparse", "stacked", "vae"]
KINDS = ("basic", "sparse", "stacked", "vae")
FORMAT = 1
_ROWS_AT_A_TIME = 512

DEFAULT_LAYERS: dict[str, tuple[int, ...]] = {"basic": (128,), "sparse": (), "stacked": (256, 64), "vae": (128,)}
DEFAULT_RATES = {"basic": 3e-3, "sparse": 5e-3, "stacked": 3e-3, "vae": 3e-3}
_PARAMS = ("kind", "n_latent", "layers", "transform", "epochs", "pretrain_epochs", "batch_size", "learning_rate",
           "patience", "validation_fraction", "dropout", "sparsity_target", "sparsity_weight", "warmup_epochs", "depth",
           "random_state")  # fmt: skip


class Autoencoder:
    """An autoencoder of accessibility, or of any sparse matrix without negative values.

    The four kinds are those that were compared in [1]_; the last one is variational [2]_.

    Parameters
    ----------
    kind
        ``"basic"``, ``"sparse"``, ``"stacked"`` or ``"vae"``.
    n_latent
        Number of latent variables.
    layers
        Widths of the hidden layers of the encoder; None means (128,), none for ``"sparse"``, (256, 64) for
        ``"stacked"``.
    transform
        What encoders see: ``"tfidf"`` (entries above 0 count as 1, are weighted by log(1 + cells / cells with the
        feature), and rows scaled to one length), ``"binary"`` or None (the values as they are).
    epochs, pretrain_epochs
        Passes over the rows, at most; ``pretrain_epochs`` for each layer of ``"stacked"``.
    batch_size
        Rows of a step.
    learning_rate
        Of Adam, lowered by a tenth every ten epochs, down to 2e-5. None means 0.003, and 0.005 for ``"sparse"``.
    patience
        Training ends after so many epochs without a lower loss; None never ends it.
    validation_fraction
        Share of the rows that are held out to watch the loss; 0 watches that of the training rows.
    dropout
        Share of the entries of a row that the encoder does not get to see in a step.
    sparsity_target, sparsity_weight
        Mean activation of a unit, and weight of the penalty, of ``"sparse"``.
    warmup_epochs
        Epochs over which the weight of the divergence rises to 1, of ``"vae"``. None means a third of ``epochs``.
    depth
        Whether the logits of ``"vae"`` follow the number of features of the row.
    device
        Such as ``"cpu"``, ``"cuda"`` or ``"mps"``; None takes a GPU where there is one.
    n_jobs
        Threads of the CPU. Batches are small: more than one gains little, and changes the last digits.
    random_state
        Seed. The same seed gives the same result on a CPU with as many threads.
    progress
        Whether to show a bar.

    Attributes
    ----------
    network_
        The trained module.
    transform_
        The transform, with the weights of the features.
    history_
        A list of rows ``stage, epoch, loss, held_out_loss, learning_rate``.
    best_epoch_, best_held_out_loss_
        Of the last stage.
    n_features_, device_
        Number of features, and where the network was trained.

    References
    ----------
    .. [1] Huang et al. (2021), Symmetry 13:1467, https://doi.org/10.3390/sym13081467
    .. [2] Kingma & Welling (2014), https://arxiv.org/abs/1312.6114

    Examples
    --------
    >>> import scprograms as scp
    >>> from scprograms.embeddings.engine.networks import Autoencoder
    >>> X = scp.datasets.simulate_peaks(200, 500, 3).X
    >>> model = Autoencoder("vae", 4, epochs=5, device="cpu").fit(X)
    >>> model.encode(X).shape
    (200, 4)
    """

    def __init__(
        self,
        kind: Kind = "vae",
        n_latent: int = 10,
        *,
        layers: Sequence[int] | None = None,
        transform: Literal["tfidf", "binary"] | None = "tfidf",
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
        n_jobs: int = 1,
        random_state: int = 0,
        progress: bool = False,
    ) -> None:
        self.kind, self.n_latent, self.transform = kind, n_latent, transform
        self.layers = DEFAULT_LAYERS[kind] if layers is None else tuple(layers)
        self.epochs, self.pretrain_epochs, self.batch_size = epochs, pretrain_epochs, batch_size
        self.learning_rate = DEFAULT_RATES[kind] if learning_rate is None else learning_rate
        self.patience, self.validation_fraction, self.dropout = patience, validation_fraction, dropout
        self.sparsity_target, self.sparsity_weight = sparsity_target, sparsity_weight
        self.warmup_epochs = self.epochs // 3 if warmup_epochs is None else warmup_epochs
        self.depth, self.device, self.n_jobs = depth, device, n_jobs
        self.random_state, self.progress = random_state, progress

    @property
    def params(self) -> dict[str, Any]:
        """All that a fit depends on, besides the data and the device."""
        return {name: getattr(self, name) for name in _PARAMS}

    def fit(self, X: sparse.csr_matrix) -> Autoencoder:
        """Train on the rows of a CSR matrix."""
        X = canonical(X)
        device = self.device_ = choose_device(self.device)
        self.n_features_ = X.shape[1]
        rng = np.random.default_rng(self.random_state)
        self.transform_ = Transform.fit(X, self.transform)
        batches = Batches(X, self.transform_, device)
        shuffled = rng.permutation(X.shape[0])
        n_held_out = min(round(self.validation_fraction * X.shape[0]), X.shape[0] - 1)
        held_out, rows = shuffled[:n_held_out], shuffled[n_held_out:]
        devices = range(torch.cuda.device_count())
        with (
            limited_threads(self.n_jobs),
            torch.random.fork_rng(devices=devices),
        ):  # what the user draws stays as it was
            torch.manual_seed(int(rng.integers(2**31)))
            self.network_ = self._network(_start(X, batches.matrix)).to(device)
            self.history_ = []
            for stage, module, loss, epochs in self._stages():
                history, best = train(
                    module,
                    loss,
                    batches,
                    rows=rows,
                    held_out=held_out,
                    schedule=Schedule(
                        epochs=epochs,
                        batch_size=self.batch_size,
                        learning_rate=self.learning_rate,
                        patience=self.patience,
                        warmup=min(self.warmup_epochs, epochs) if self.kind == "vae" else 0,
                    ),
                    stage=stage,
                    order=rng,
                    show_progress=self.progress,
                )
                self.history_ += history
        self.best_epoch_, self.best_held_out_loss_ = best, history[best]["held_out_loss"]
        return self

    def _stages(self) -> list[tuple[str, torch.nn.Module, Any, int]]:
        """Return what is trained one after the other: stage, parameters, loss, epochs."""
        network = self.network_
        stages: list[tuple[str, torch.nn.Module, Any, int]] = []
        if isinstance(network, StackedAutoencoder) and self.pretrain_epochs:
            stages = [
                (f"layer {i + 1}", part, loss, self.pretrain_epochs)
                for i, (part, loss) in enumerate(network.layers_to_pretrain())
            ]
        if self.epochs:
            stages.append(("joint" if stages else "training", network, network.loss, self.epochs))
        return stages

    def _network(self, start: Start) -> Network:
        if self.kind == "basic":
            return BasicAutoencoder(start, self.n_latent, self.layers, dropout=self.dropout)
        if self.kind == "sparse":
            return SparseAutoencoder(
                start,
                self.n_latent,
                dropout=self.dropout,
                target=self.sparsity_target,
                weight=self.sparsity_weight,
            )
        if self.kind == "stacked":
            return StackedAutoencoder(start, self.n_latent, self.layers, dropout=self.dropout)
        return VariationalAutoencoder(start, self.n_latent, self.layers, dropout=self.dropout, depth=self.depth)

    def encode(self, X: sparse.csr_matrix) -> Array:
        """Return the latent variables of the rows of a CSR matrix, n x n_latent, float32."""
        device = next(self.network_.parameters()).device
        batches = Batches(sparse.csr_matrix(X), self.transform_, device)
        self.network_.eval()
        with torch.no_grad(), limited_threads(self.n_jobs):
            parts = [self.network_.encode(batch) for batch in batches.iterate(np.arange(X.shape[0]), _ROWS_AT_A_TIME)]
        return np.concatenate([part.cpu().numpy() for part in parts])

    def save(self, file: str | os.PathLike[str] | IO[bytes], **extra: Any) -> None:
        """Write the trained network; ``extra`` holds plain values (lists, strings, numbers) to keep with it."""
        transform = self.transform_
        torch.save(
            {
                "format": FORMAT,
                "about": json.dumps(
                    {
                        "params": self.params,
                        "history": self.history_,
                        "transform": {"length": transform.length, "log_depth": transform.log_depth},
                        "extra": extra,
                    }
                ),
                "weights_of_features": torch.from_numpy(transform.weights),
                "state": {name: value.cpu() for name, value in self.network_.state_dict().items()},
            },
            file,
        )

    @classmethod
    def load(
        cls, file: str | os.PathLike[str] | IO[bytes], *, device: str | None = None
    ) -> tuple[Autoencoder, dict[str, Any]]:
        """Return what :meth:`save` wrote, and its ``extra``; nothing in the file is executed."""
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            msg = f"{str(file)!r} cannot be read as an encoder: {str(error).splitlines()[0][:120]}"
            raise ValueError(msg) from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            msg = f"{str(file)!r} holds no encoder that this version of scprograms can read."
            raise ValueError(msg)
        about = json.loads(content["about"])
        model = cls(**about["params"], device=device)
        weights = content["weights_of_features"].numpy()
        model.transform_ = Transform(kind=model.transform, weights=weights, **about["transform"])
        unknown = torch.zeros(len(weights))
        model.network_ = model._network(Start(mean=unknown, logit=unknown, scale=1.0))
        model.network_.load_state_dict(content["state"])
        model.network_.to(choose_device(device)).eval()
        model.history_ = about["history"]
        model.n_features_, model.device_ = len(weights), choose_device(device)
        return model, about["extra"]


def _start(X: sparse.csr_matrix, seen: sparse.csr_matrix) -> Start:
    share = (np.bincount(X.indices[X.data != 0], minlength=X.shape[1]) + 0.5) / (X.shape[0] + 1)
    mean = np.bincount(seen.indices, seen.data, minlength=X.shape[1]) / X.shape[0]
    squares = float(np.square(seen.data, dtype=np.float64).sum()) / X.shape[0]
    return Start(
        mean=torch.from_numpy(mean.astype(np.float32)),
        logit=torch.from_numpy(np.log(share / (1 - share)).astype(np.float32)),
        scale=max(squares, 1e-12) ** -0.5,
    )
