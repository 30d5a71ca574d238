"""Unsupervised training of a 2-D network: squared difference against roughness, combined in the way that is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.errors import InputError
from engine.losses.regularity import grad_l1, grad_l2
from engine.models.morph2d import ConditionalMorph2d
from engine.optimize.surgery import SurgeryStats
from engine.progress import STOP, Job, Progress
from engine.spatial.warp import warp
from engine.training.cardiac import SlicePair

SMOOTHNESS: dict[str, Callable[[Tensor], Tensor]] = {"l1": grad_l1, "l2": grad_l2}
"""Roughness to train against: `l1` is the default of GSMorph's authors."""

_IMAGE_SIGMA = 0.05
"""S.d. of the image noise by which HyperMorph scales the squared difference."""
_END_SHARE = 0.2
"""Share of the weights that HyperMorph draws at 0 or 1."""


class Combination(Protocol):
    """How two losses become the gradients of a step; `GradientSurgery` is one."""

    def backward(self, similarity: Tensor, regularity: Tensor, parameters: Sequence[Tensor]) -> SurgeryStats | None:
        """Put gradients into `.grad`."""


class WeightedSum:
    """similarity + `weight` · regularity (VoxelMorph)."""

    def __init__(self, weight: float) -> None:
        self._weight = weight

    def backward(self, similarity: Tensor, regularity: Tensor, parameters: Sequence[Tensor]) -> None:
        """As `loss.backward()`."""
        torch.autograd.backward(similarity + self._weight * regularity, inputs=parameters)


class SampledWeight:
    """(1 − w) / 0.05² · similarity + w · regularity, w drawn anew after every step and given to the network.

    w is uniform in 0 to 1, one time in five 0 or 1 (Hoopes et al. 2021 and their code).
    """

    def __init__(self, network: ConditionalMorph2d, seed: int = 0) -> None:
        self._network, self._rng = network, np.random.default_rng(seed)
        self._draw()

    def backward(self, similarity: Tensor, regularity: Tensor, parameters: Sequence[Tensor]) -> None:
        """As `loss.backward()`, for losses that `forward` gave at the network's present weight."""
        weight = self._network.weight
        loss = (1 - weight) / _IMAGE_SIGMA**2 * similarity + weight * regularity
        torch.autograd.backward(loss, inputs=parameters)
        self._draw()

    def _draw(self) -> None:
        at_end = self._rng.random() < _END_SHARE
        weight = self._rng.random()
        self._network.weight = float(round(weight)) if at_end else float(weight)


@dataclass(frozen=True, slots=True)
class Morph2dSettings:
    """`smoothness` is a row of `SMOOTHNESS`; the same seed draws the same batches for every combination."""

    steps: int = 600
    batch: int = 8
    learning_rate: float = 1e-3
    smoothness: str = "l1"
    seed: int = 0


def train_morph2d(
    network: nn.Module, combination: Combination, pairs: list[SlicePair], settings: Morph2dSettings
) -> Job[nn.Module]:
    """Train `network` where its weights lie, by Adam at a rate that falls as a cosine; returns it in evaluation mode.

    The paper's rate is constant, 5e-3 at batches of 32; at batches of 8 that is too much, and learns nothing.

    Raises:
        InputError: no pairs, or no such smoothness.
    """
    if not pairs:
        raise InputError("Expected at least one pair to train on, got none.")
    if settings.smoothness not in SMOOTHNESS:
        raise InputError(f"Expected a smoothness among {', '.join(SMOOTHNESS)}, got {settings.smoothness!r}.")
    roughness = SMOOTHNESS[settings.smoothness]
    parameters = list(network.parameters())
    device = parameters[0].device
    fixed = _stacked([pair.fixed for pair in pairs], device)
    moving = _stacked([pair.moving for pair in pairs], device)
    optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    generator = torch.Generator().manual_seed(settings.seed)
    network.train()
    for step in range(1, settings.steps + 1):
        chosen = torch.randperm(len(pairs), generator=generator)[: settings.batch]
        displacement = network(moving[chosen], fixed[chosen])
        similarity = (warp(moving[chosen], displacement, padding="zeros") - fixed[chosen]).square().mean()
        stats = combination.backward(similarity, roughness(displacement), parameters)
        optimizer.step()
        schedule.step()
        note = f"MSE {float(similarity.detach()):.4f}"
        if stats is not None:
            note += f", {100 * stats.conflict_share:.0f} % of the groups in conflict"
        if (yield Progress("train", step, settings.steps, note=note)) is STOP:
            break
    return network.eval()


def _stacked(images: list[NDArray[np.float32]], device: torch.device) -> Tensor:
    return torch.from_numpy(np.stack(images)).unsqueeze(1).to(device)
