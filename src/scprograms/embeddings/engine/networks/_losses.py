"""Losses against sparse targets: only the entries that are not zero are read, and nothing but the output is dense."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from ._batches import Batch


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
