"""Losses for matrices of which few entries are positive: focal cross entropy and soft dice."""

from __future__ import annotations

import torch
from torch.nn import functional


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
