"""The four autoencoders. Each says how it encodes, how it decodes, and what it minimises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._batches import Batch

_SMALL = 0.02
"""Standard deviation of weights that begin near zero: what is random in them should not outlive the training."""


class _BernoulliLoss(torch.autograd.Function):
    """Sum of log(1 + exp(logit)) - target * logit: one pass forward and one backward over the logits."""

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(logits, rows, columns)
        return functional.softplus(logits).sum() - logits[rows, columns].sum()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        logits, rows, columns = ctx.saved_tensors
        slope = torch.sigmoid(logits)
        slope[rows, columns] -= 1  # each entry is there once
        return slope.mul_(grads[0]), None, None


def bernoulli_loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the negative log-likelihood of what is accessible in each cell, averaged over cells."""
    return _BernoulliLoss.apply(logits, batch.rows, batch.columns) / len(batch)


class _SquaredLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, output: torch.Tensor, values: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(output, values, rows, columns)
        return output.square().sum() + (values * (values - 2 * output[rows, columns])).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        output, values, rows, columns = ctx.saved_tensors
        slope = output.clone()
        slope[rows, columns] -= values
        return slope.mul_(2 * grads[0]), None, None, None


def squared_loss(output: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the squared error as a share of the sum of squares of the batch: 0 is perfect, 1 is predicting zeros."""
    loss = _SquaredLoss.apply(output, batch.values, batch.rows, batch.columns)
    return loss / batch.values.square().sum().clamp_min(1e-12)


def sparsity_penalty(activation: torch.Tensor, target: float) -> torch.Tensor:
    """Return the sum over units of KL(target || mean activation over the batch), of Bernoulli variables."""
    mean = activation.mean(dim=0).clamp(1e-6, 1 - 1e-6)
    return (target * torch.log(target / mean) + (1 - target) * torch.log((1 - target) / (1 - mean))).sum()


def gaussian_divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Return KL(N(mean, variance) || N(0, 1)), averaged over cells."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()


@dataclass(frozen=True)
class Start:
    """What networks know of the training data before training."""

    mean: torch.Tensor
    """Mean of each feature, as the encoder sees it."""
    logit: torch.Tensor
    """Logit of the share of cells with the feature."""
    scale: float
    """One over the typical Euclidean length of a row."""


def _output_layer(n_in: int, baseline: torch.Tensor) -> nn.Linear:
    """Return a layer that predicts the baseline, and little else, before training."""
    layer = nn.Linear(n_in, len(baseline))
    with torch.no_grad():
        layer.bias.copy_(baseline)
        layer.weight.normal_(std=_SMALL)
    return layer


def weighted_sums(weight: torch.Tensor, batch: Batch, values: torch.Tensor, *, dense: bool) -> torch.Tensor:
    """Return the rows of a batch, with these values, times a matrix; ``dense`` where a device cannot do better."""
    if dense:
        rows = torch.zeros(len(batch), len(weight), device=weight.device)
        return rows.index_put((batch.rows, batch.columns), values) @ weight
    return functional.embedding_bag(batch.columns, weight, batch.offsets, mode="sum", per_sample_weights=values)


class SparseLinear(nn.Module):
    """A linear layer on sparse rows: it sums the weights of the entries that are not zero."""

    def __init__(self, n_in: int, n_out: int, *, scale: float, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.weight = nn.Parameter(torch.empty(n_in, n_out).normal_(std=_SMALL))
        self.register_buffer("scale", torch.tensor(scale))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return batch x n_out."""
        values = functional.dropout(batch.values, self.dropout, training=self.training)
        return weighted_sums(self.weight, batch, values, dense=values.device.type == "mps") * self.scale + self.bias


class Network(nn.Module, ABC):
    """What the trainer and the estimator ask of an autoencoder."""

    @abstractmethod
    def encode(self, batch: Batch) -> torch.Tensor:
        """Return the latent variables, batch x n_latent."""

    @abstractmethod
    def loss(self, batch: Batch, progress: float) -> torch.Tensor:
        """Return what is minimised, per cell; ``progress`` is the share of the warm-up that is over."""


def _dense(widths: Sequence[int]) -> nn.Sequential:
    """Return linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class BasicAutoencoder(Network):
    """Encoder x - layers - latent with ReLU, its mirror as decoder with a linear output, squared error."""

    def __init__(self, start: Start, n_latent: int, layers: Sequence[int], *, dropout: float) -> None:
        super().__init__()
        n_in = len(start.mean)
        widths = [*layers, n_latent]
        self.first = SparseLinear(n_in, widths[0], scale=start.scale, dropout=dropout)
        self.encoder = _dense(widths)
        self.decoder = _dense(widths[::-1])
        self.last = _output_layer(widths[0], start.mean)

    def encode(self, batch: Batch) -> torch.Tensor:
        """Return the latent variables, which have either sign."""
        hidden = self.first(batch)
        return self.encoder(torch.relu(hidden)) if len(self.encoder) else hidden

    def loss(self, batch: Batch, progress: float) -> torch.Tensor:  # noqa: ARG002
        """Return the share of the sum of squares that is not reproduced."""
        hidden = self.encode(batch)
        if len(self.decoder):
            hidden = torch.relu(self.decoder(hidden))
        return squared_loss(self.last(hidden), batch)


class StackedAutoencoder(BasicAutoencoder):
    """The basic network, with its layers trained one by one, from the outside in, before all are trained together."""

    def layers_to_pretrain(self) -> list[tuple[nn.Module, Callable[[Batch, float], torch.Tensor]]]:
        """Return, for each layer, its parameters and its loss: how well it reproduces what enters it."""
        first = nn.ModuleList([self.first, self.last])
        stages: list[tuple[nn.Module, Callable[[Batch, float], torch.Tensor]]] = [(first, self._outer_loss)]
        inward = [layer for layer in self.encoder if isinstance(layer, nn.Linear)]
        outward = [layer for layer in self.decoder if isinstance(layer, nn.Linear)][::-1]
        for depth, (encoder, decoder) in enumerate(zip(inward, outward, strict=True)):
            stages.append((nn.ModuleList([encoder, decoder]), partial(self._inner_loss, depth)))
        return stages

    def _outer_loss(self, batch: Batch, progress: float) -> torch.Tensor:  # noqa: ARG002
        return squared_loss(self.last(torch.relu(self.first(batch))), batch)

    def _inner_loss(self, depth: int, batch: Batch, progress: float) -> torch.Tensor:  # noqa: ARG002
        inward = [layer for layer in self.encoder if isinstance(layer, nn.Linear)]
        outward = [layer for layer in self.decoder if isinstance(layer, nn.Linear)][::-1]
        with torch.no_grad():  # the layers outside are done
            below = torch.relu(self.first(batch))
            for layer in inward[:depth]:
                below = torch.relu(layer(below))
        above = inward[depth](below)
        if depth < len(inward) - 1:  # the latent variables are not rectified
            above = torch.relu(above)
        return (torch.relu(outward[depth](above)) - below).square().sum() / below.square().sum().clamp_min(1e-12)


class SparseAutoencoder(Network):
    """One layer of sigmoid units, few of which may be active, and a linear decoder."""

    def __init__(self, start: Start, n_latent: int, *, dropout: float, target: float, weight: float) -> None:
        super().__init__()
        n_in = len(start.mean)
        self.first = SparseLinear(n_in, n_latent, scale=start.scale, dropout=dropout)
        self.last = _output_layer(n_latent, start.mean)
        self.target, self.weight = target, weight
        with torch.no_grad():  # a unit starts where it should be on average
            self.first.bias.fill_(torch.logit(torch.tensor(target)).item())

    def encode(self, batch: Batch) -> torch.Tensor:
        """Return the activations, between 0 and 1."""
        return torch.sigmoid(self.first(batch))

    def loss(self, batch: Batch, progress: float) -> torch.Tensor:  # noqa: ARG002
        """Return the share of squares that is not reproduced, and the penalty on the mean activations."""
        activation = self.encode(batch)
        return squared_loss(self.last(activation / self.target), batch) + self.weight * sparsity_penalty(
            activation, self.target
        )


class VariationalAutoencoder(Network):
    """Gaussian latent variables; whether a feature is accessible is a Bernoulli variable with linear logits.

    The logits have a baseline per feature and, with ``depth``, the logarithm of the number of accessible features of
    the cell: rare features then follow the depth without any latent variable.
    """

    def __init__(self, start: Start, n_latent: int, layers: Sequence[int], *, dropout: float, depth: bool) -> None:
        super().__init__()
        n_in = len(start.mean)
        self.first = SparseLinear(n_in, layers[0], scale=start.scale, dropout=dropout)
        self.norm = nn.LayerNorm(layers[0])
        self.encoder = nn.Sequential(nn.ReLU())
        if len(layers) > 1:
            self.encoder.extend([_dense(layers), nn.ReLU()])
        self.mean = nn.Linear(layers[-1], n_latent)
        self.log_variance = nn.Linear(layers[-1], n_latent)
        self.last = _output_layer(n_latent, start.logit)
        self.depth = depth

    def _posterior(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.encoder(self.norm(self.first(batch)))
        return self.mean(hidden), self.log_variance(hidden).clamp(-12, 6)

    def encode(self, batch: Batch) -> torch.Tensor:
        """Return the means of the latent variables."""
        return self._posterior(batch)[0]

    def loss(self, batch: Batch, progress: float) -> torch.Tensor:
        """Return the negative evidence lower bound; the divergence has the weight ``progress``."""
        mean, log_variance = self._posterior(batch)
        latent = mean
        if self.training:
            noise = torch.randn(mean.shape).to(mean.device)
            latent = mean + noise * (0.5 * log_variance).exp()
        logits = self.last(latent)
        if self.depth:
            logits = logits + batch.log_depth
        return bernoulli_loss(logits, batch) + progress * gaussian_divergence(mean, log_variance)
