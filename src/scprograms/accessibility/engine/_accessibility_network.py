"""A dense network from expression to accessibility: built, trained and handed back as plain arrays."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from scprograms._core.devices import choose_device, limited_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scprograms._core.matrix import Array

NORM_EPS = 1e-5
_LEAST_PROBABILITY = 1e-4


def focal_loss(
    logits: torch.Tensor, target: torch.Tensor, *, alpha: float | None = 0.25, gamma: float = 2.0
) -> torch.Tensor:
    r"""Return the focal loss of each entry.

    With p the probability that the model gives to what is observed,

    .. math::

        \text{FL} = -\alpha_t\, (1 - p)^\gamma \log p,

    where :math:`\alpha_t` is ``alpha`` for entries that are 1, and 1 - ``alpha`` for those that are 0.

    Parameters
    ----------
    logits
        Of any shape.
    target
        Of the same shape, 0 or 1.
    alpha
        Weight of the ones, from 0 to 1; None weighs all entries 1.
    gamma
        How much less well predicted entries count. 0 is cross entropy.

    References
    ----------
    Lin et al. (2017), Focal loss for dense object detection, https://doi.org/10.1109/ICCV.2017.324
    """
    signed = logits * (2 * target - 1)
    # By logarithms: (1 - p) ** gamma has an infinite slope at p = 1 for gamma below 1.
    loss = -torch.exp(gamma * functional.logsigmoid(-signed)) * functional.logsigmoid(signed)
    return loss if alpha is None else loss * (alpha * target + (1 - alpha) * (1 - target))


def dice_loss(probability: torch.Tensor, target: torch.Tensor, *, smooth: float = 1.0) -> torch.Tensor:
    r"""Return one minus the soft dice coefficient of all entries together.

    .. math::

        1 - \frac{2 \sum p y + s}{\sum p + \sum y + s}

    Parameters
    ----------
    probability
        Of any shape, from 0 to 1.
    target
        Of the same shape, 0 or 1.
    smooth
        s: keeps the loss defined where nothing is observed nor predicted.

    References
    ----------
    Milletari et al. (2016), V-Net, https://doi.org/10.1109/3DV.2016.79
    """
    overlap = (probability * target).sum()
    return 1 - (2 * overlap + smooth) / (probability.sum() + target.sum() + smooth)


def accessibility_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    focal_weight: float = 1.0,
    dice_weight: float = 1.0,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
) -> torch.Tensor:
    """Return the weighted sum of the focal loss (summed over peaks, mean over cells) and the dice loss of the batch.

    Parameters
    ----------
    logits, target
        Cells x peaks.
    focal_weight, dice_weight
        Weights of the two; a loss of weight 0 is not computed.
    alpha, gamma
        Of the focal loss.
    """
    loss = logits.new_zeros(())
    if focal_weight:
        loss = loss + focal_weight * focal_loss(logits, target, alpha=alpha, gamma=gamma).sum(dim=1).mean()
    if dice_weight:
        loss = loss + dice_weight * dice_loss(torch.sigmoid(logits), target)
    return loss


@dataclass(frozen=True)
class NetworkSettings:
    """How the network is built and trained."""

    hidden: Sequence[int] = (512, 256)
    dropout: float = 0.0
    normalization: str | None = None
    optimizer: str = "rmsprop"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    averaging: float = 0.99
    epochs: int = 50
    batch_size: int = 32
    patience: int | None = 10
    focal_weight: float = 1.0
    dice_weight: float = 1.0
    alpha: float | None = 0.25
    gamma: float = 2.0
    device: str | None = None
    n_jobs: int = 1
    random_state: int = 0


class SwishNetwork(nn.Module):
    """Linear layers with swish between them; logits of accessibility come out.

    The last layer starts with weights of zero, and with the logits of the peaks' means: before training, the network
    is the mean of each peak.

    Parameters
    ----------
    n_genes
        Width of the input.
    mean
        Share of the training cells in which each peak is accessible.
    settings
        Widths of the hidden layers, dropout and normalization.
    local
        Whether to add the expression near each peak, times a slope of the peak.
    """

    def __init__(self, n_genes: int, mean: Array, settings: NetworkSettings, *, local: bool = False) -> None:
        super().__init__()
        rng = np.random.default_rng(settings.random_state)
        widths = [n_genes, *settings.hidden]
        self.linear = nn.ModuleList(_linear(a, b, rng) for a, b in pairwise(widths))
        norm = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}.get(settings.normalization or "")
        self.norm = nn.ModuleList(norm(width, eps=NORM_EPS) for width in settings.hidden) if norm else None
        self.dropout = nn.Dropout(settings.dropout)
        self.last = nn.Linear(widths[-1], len(mean))
        p = np.clip(mean, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
        with torch.no_grad():
            self.last.weight.zero_()
            self.last.bias.copy_(torch.from_numpy(np.log(p / (1 - p)).astype(np.float32)))
        self.local = nn.Parameter(torch.zeros(len(mean))) if local else None

    def forward(self, x: torch.Tensor, local: torch.Tensor | None = None) -> torch.Tensor:
        """Return logits, cells x peaks."""
        for i, layer in enumerate(self.linear):
            x = layer(x)
            if self.norm is not None:
                x = self.norm[i](x)
            x = self.dropout(nn.functional.silu(x))
        x = self.last(x)
        return x if self.local is None or local is None else x + local * self.local

    def arrays(self) -> dict[str, Array]:
        """Return all weights, those of linear layers as inputs x outputs."""
        found = {}
        for i, layer in enumerate([*self.linear, self.last]):
            found[f"weight_{i}"], found[f"bias_{i}"] = layer.weight.T, layer.bias
        for i, norm in enumerate(self.norm or []):
            found[f"norm_weight_{i}"], found[f"norm_bias_{i}"] = norm.weight, norm.bias
            if isinstance(norm, nn.BatchNorm1d):
                found[f"norm_mean_{i}"], found[f"norm_variance_{i}"] = norm.running_mean, norm.running_var
        if self.local is not None:
            found["local"] = self.local
        return {name: value.detach().cpu().numpy().copy(order="C") for name, value in found.items()}


class RunningWeights:
    """The mean of the weights over the last steps, by which a network predicts better than by those of one step.

    Parameters
    ----------
    network
        What is trained.
    decay
        How much of the mean stays at a step; less during the first steps. 0 has no mean.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._weights = list(network.parameters())
        self._mean = [weight.detach().clone() for weight in self._weights]
        self._decay, self._steps = decay, 0

    def update(self) -> None:
        """Take in the weights after a step."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        with torch.no_grad():
            for mean, weight in zip(self._mean, self._weights, strict=True):
                mean.lerp_(weight, 1 - decay)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Have the network use the means within the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        with torch.no_grad():
            for mean, weight in zip(self._mean, self._weights, strict=True):
                current = weight.clone()
                weight.copy_(mean)
                mean.copy_(current)


def _linear(n_in: int, n_out: int, rng: np.random.Generator) -> nn.Linear:
    layer = nn.Linear(n_in, n_out)
    bound = np.sqrt(6 / (n_in + n_out))  # Glorot, drawn by numpy: the same on every device
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(rng.uniform(-bound, bound, (n_out, n_in)).astype(np.float32)))
        layer.bias.zero_()
    return layer


def train_network(
    rows: Callable[[Array], tuple[Array, Array | None]],
    observed: Array,
    split: tuple[Array, Array],
    *,
    settings: NetworkSettings,
    score: Callable[[Array], float],
    progress: bool = False,
) -> tuple[dict[str, Array], list[dict[str, Any]]]:
    """Train a network, and return its weights at the epoch that predicts the validation cells best.

    Parameters
    ----------
    rows
        Given indices of cells, returns their z-scores (cells x genes, float32), and the expression near each peak
        (cells x peaks) or None.
    observed
        All cells x peaks, boolean.
    split
        Indices of training and of validation cells.
    settings
        How to build and train it.
    score
        Given probabilities of the validation cells, returns how good they are. The epoch of the highest is kept; epoch
        0, before training, is the mean of each peak.
    progress
        Whether to show a bar.

    Returns
    -------
    Weights as arrays, and a row for each epoch: ``epoch, loss, validation_loss, validation_pr_auc``.
    """
    from tqdm.auto import tqdm

    training, validation = split
    device = choose_device(settings.device)
    cuda = [device] if device.type == "cuda" else []
    with limited_threads(settings.n_jobs), torch.random.fork_rng(devices=cuda):
        torch.manual_seed(settings.random_state)
        x, local = rows(training[:1])
        mean = observed[training].mean(axis=0)
        network = SwishNetwork(x.shape[1], mean, settings, local=local is not None).to(device)
        optimizer, running = _optimizer(network, settings), RunningWeights(network, settings.averaging)
        rng = np.random.default_rng([settings.random_state, 1])

        def tensors(cells: Array) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
            x, local = rows(cells)
            near = None if local is None else torch.from_numpy(local.astype(np.float32)).to(device)
            return torch.from_numpy(x).to(device), near, torch.from_numpy(observed[cells]).to(device).float()

        def validate() -> tuple[float, float]:
            network.eval()
            total, parts = 0.0, []
            with torch.no_grad():
                for start in range(0, len(validation), 512):
                    cells = validation[start : start + 512]
                    x, near, y = tensors(cells)
                    logits = network(x, near)
                    total += float(_loss(logits, y, settings)) * len(cells)
                    parts.append(torch.sigmoid(logits).cpu().numpy())
            return total / len(validation), score(np.concatenate(parts))

        loss, best = validate()
        history = [{"epoch": 0, "loss": np.nan, "validation_loss": loss, "validation_pr_auc": best}]
        kept, waited = network.arrays(), 0
        for epoch in tqdm(range(1, settings.epochs + 1), desc="accessibility", disable=not progress):
            network.train()
            total, n = 0.0, 0
            for cells in _batches(rng.permutation(training), settings):
                x, near, y = tensors(cells)
                optimizer.zero_grad(set_to_none=True)
                value = _loss(network(x, near), y, settings)
                value.backward()
                optimizer.step()
                running.update()
                total, n = total + float(value.detach()) * len(cells), n + len(cells)
            if not np.isfinite(total):
                break  # what was kept is from before it diverged
            with running.used():
                loss, reached = validate()
                weights = network.arrays()
            history.append({"epoch": epoch, "loss": total / n, "validation_loss": loss, "validation_pr_auc": reached})
            waited += 1
            if reached > best:
                best, kept, waited = reached, weights, 0
            if settings.patience is not None and waited >= settings.patience:
                break
    return kept, history


def _loss(logits: torch.Tensor, target: torch.Tensor, settings: NetworkSettings) -> torch.Tensor:
    return accessibility_loss(
        logits,
        target,
        focal_weight=settings.focal_weight,
        dice_weight=settings.dice_weight,
        alpha=settings.alpha,
        gamma=settings.gamma,
    )


def _optimizer(network: nn.Module, settings: NetworkSettings) -> torch.optim.Optimizer:
    common = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.optimizer == "adam":
        return torch.optim.AdamW(network.parameters(), **common)
    # Smoothing and epsilon as in Keras, with which the published network was trained; torch has 0.99 and 1e-8.
    return torch.optim.RMSprop(network.parameters(), alpha=0.9, eps=1e-7, **common)


def _batches(order: Array, settings: NetworkSettings) -> list[Array]:
    """Cut the cells into batches; a single cell left over joins the one before, for it has no variance."""
    batches = [order[i : i + settings.batch_size] for i in range(0, len(order), settings.batch_size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return batches
