"""The one training loop: shuffled minibatches, Adam with a decaying rate, early stopping."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from scprograms._core.matrix import Array

    from ._batches import Batch, Batches


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int | None = None
    warmup: int = 0
    """Epochs over which the warm-up goes from 0 to 1; the best epoch is sought after it."""
    decay: float = 0.9
    decay_every: int = 10
    lowest_rate: float = 2e-5

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch."""
        lowest = min(self.lowest_rate, self.learning_rate)
        return max(self.learning_rate * self.decay ** (epoch // self.decay_every), lowest)

    def progress(self, epoch: int) -> float:
        """Return the share of the warm-up that is over."""
        return min(1.0, (epoch + 1) / self.warmup) if self.warmup else 1.0


def train(
    module: nn.Module,
    loss: Callable[[Batch, float], torch.Tensor],
    batches: Batches,
    *,
    rows: Array,
    held_out: Array,
    schedule: Schedule,
    stage: str,
    order: np.random.Generator,
    show_progress: bool = False,
) -> tuple[list[dict[str, Any]], int]:
    """Minimise a loss over the parameters of a module, and leave them as they were after the best epoch.

    Best is the epoch of the least loss of the held-out rows (of the training rows where none are held out), and
    training ends when ``patience`` epochs have not lowered it. Returns a row of history per epoch, and the best epoch.
    """
    from tqdm.auto import tqdm

    optimizer = torch.optim.Adam(module.parameters(), lr=schedule.learning_rate, fused=batches.device.type != "mps")
    history: list[dict[str, Any]] = []
    best, best_epoch, best_state = math.inf, schedule.epochs - 1, None
    with tqdm(total=schedule.epochs, desc=stage, disable=not show_progress, leave=False) as bar:
        for epoch in range(schedule.epochs):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(epoch)
            progress = schedule.progress(epoch)
            training_loss = _one_epoch(module, loss, batches, order.permutation(rows), schedule, progress, optimizer)
            held_out_loss = _evaluate(module, loss, batches, held_out, schedule.batch_size)
            history.append(
                {
                    "stage": stage,
                    "epoch": epoch,
                    "loss": training_loss,
                    "held_out_loss": held_out_loss,
                    "learning_rate": schedule.rate(epoch),
                }
            )
            watched = held_out_loss if len(held_out) else training_loss
            if not math.isfinite(training_loss) or not math.isfinite(watched):
                msg = (
                    f"The loss is {training_loss} after {epoch + 1} epochs of stage {stage!r}: lower learning_rate "
                    f"(it is {schedule.learning_rate:g})."
                )
                raise FloatingPointError(msg)
            bar.set_postfix(loss=f"{watched:.4g}", refresh=False)
            bar.update()
            if progress < 1:
                continue
            if watched < best:
                best, best_epoch = watched, epoch
                best_state = {name: value.detach().clone() for name, value in module.state_dict().items()}
            elif schedule.patience is not None and epoch - best_epoch >= schedule.patience:
                break
    if best_state is not None:
        module.load_state_dict(best_state)
    module.eval()
    return history, best_epoch


def _one_epoch(
    module: nn.Module,
    loss: Callable[[Batch, float], torch.Tensor],
    batches: Batches,
    rows: Array,
    schedule: Schedule,
    progress: float,
    optimizer: torch.optim.Optimizer,
) -> float:
    module.train()
    total = 0.0
    for batch in batches.iterate(rows, schedule.batch_size):
        optimizer.zero_grad(set_to_none=True)
        value = loss(batch, progress)
        value.backward()
        optimizer.step()
        total += float(value.detach()) * len(batch)
    return total / len(rows)


@torch.no_grad()
def _evaluate(
    module: nn.Module,
    loss: Callable[[Batch, float], torch.Tensor],
    batches: Batches,
    rows: Array,
    batch_size: int,
) -> float:
    """Return the loss without dropout and noise, after the warm-up; NaN where there are no rows."""
    if not len(rows):
        return math.nan
    module.eval()
    total = sum(float(loss(batch, 1.0)) * len(batch) for batch in batches.iterate(rows, batch_size))
    return total / len(rows)
