"""What a refinement changes: a grid of control points, or a copy of a network's weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.models import first_guess
from engine.spatial.resample import along_axes, linear_weights

_FIELD_LEARNING_RATE = 0.3
_NETWORK_LEARNING_RATE = 3e-4

CONVOLUTIONS_IN = {"cuda": torch.bfloat16}
"""By type of device, where that is not float32 (tests/benchmarks/results/precision.md: landmarks end within 0.01 mm).

Displacements, losses and Adam are float32 everywhere.
"""


class Parametrization(Protocol):
    """Numbers that stand for a residual displacement."""

    learning_rate: float

    def parameters(self) -> list[Tensor]:
        """The tensors that Adam changes."""

    def residual(self) -> Tensor:
        """The residual displacement (1, 3, D, H, W) in voxels that they stand for."""


class ControlGrid:
    """Displacements on every `stride`-th voxel, smoothed by two 3³ means and interpolated linearly in between.

    One unit is one control cell, so that a step means the same motion at every resolution.
    """

    learning_rate = _FIELD_LEARNING_RATE

    def __init__(
        self, shape_zyx: tuple[int, ...], stride: int, device: torch.device, start: Tensor | None = None
    ) -> None:
        """`start`: a residual (voxels) that the control points add to."""
        self._start = start
        cells = [max(2, -(-(n - 1) // stride) + 1) for n in shape_zyx]
        self._control = torch.zeros((1, 3, *cells), device=device, requires_grad=True)
        weights = [_weights_of_cells(n, count) for n, count in zip(shape_zyx, cells, strict=True)]
        weights[0] = stride * weights[0]
        self._weights = [torch.as_tensor(matrix).to(self._control) for matrix in weights]

    def parameters(self) -> list[Tensor]:
        return [self._control]

    def residual(self) -> Tensor:
        change = along_axes(self._control, self._weights)
        return change if self._start is None else self._start + change


def _weights_of_cells(voxels: int, cells: int) -> NDArray[np.float64]:
    """What every control point along an axis counts for every voxel, (voxels, cells): two means of three, then linear.

    Edge values are repeated; first and last voxel lie on the first and last control point.
    """
    mean_of_three = np.zeros((cells, cells))
    for step in (-1, 0, 1):
        np.add.at(mean_of_three, (np.arange(cells), np.clip(np.arange(cells) + step, 0, cells - 1)), 1.0 / 3.0)
    return linear_weights(np.linspace(0.0, cells - 1.0, voxels), cells) @ mean_of_three @ mean_of_three


class NetworkChange:
    """What a network predicts now less what it predicted at the start: exactly zero before the first step.

    The network is changed in place; give it a copy.
    """

    learning_rate = _NETWORK_LEARNING_RATE

    def __init__(
        self, network: nn.Module, moving: Tensor, fixed: Tensor, cut: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        """`cut`: takes the padding off again where the images were padded."""
        self._network, self._cut = network, cut
        self._precision = _precision(moving.device.type)
        self._inputs = (moving, fixed, *first_guess(network, moving, fixed))
        self._at_start = self._predicted().detach()

    def parameters(self) -> list[Tensor]:
        return list(self._network.parameters())

    def residual(self) -> Tensor:
        change = self._predicted() - self._at_start
        return change if self._cut is None else self._cut(change)

    def _predicted(self) -> Tensor:
        device, lower = self._inputs[0].device.type, self._precision
        with torch.autocast(device, lower, enabled=lower is not None, cache_enabled=False):
            displacement: Tensor = self._network(*self._inputs)
        return displacement.float()


def _precision(device: str) -> torch.dtype | None:
    """Lower than float32 where that is asked for, and where a GPU computes in it instead of imitating it."""
    if device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return None
    return CONVOLUTIONS_IN.get(device)
