"""What a voxel looks like beside its own neighbors (torch): descriptors that do not depend on the contrast."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_PATCH = 3
_DILATION = 2

SELF_SIMILARITY_REACH = _PATCH // 2 + _DILATION
"""Voxels to either side that a descriptor is made of."""

_NEIGHBORS = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))
_NEIGHBOR_PAIRS = tuple((a, b) for a in range(6) for b in range(a + 1, 6) if a // 2 != b // 2)


def mind_ssc(image: Tensor, counted: Tensor | None = None) -> Tensor:
    """Self-similarity context of (B, 1, D, H, W), (B, 12, D, H, W) in (0, 1] (MIND-SSC, Heinrich et al. 2013).

    Squared patch distances (3³ voxels) between the pairs of the six neighbors two voxels away that do not oppose each
    other, less their minimum, divided by their mean (kept within 10⁻³ to 10³ of its mean over `counted`), through
    exp(−d).
    """
    padded = F.pad(image, (_DILATION,) * 6, mode="replicate")
    neighbors = [_neighbor(padded, offset, image.shape) for offset in _NEIGHBORS]
    distances = torch.cat(
        [box_sum((neighbors[a] - neighbors[b]) ** 2, _PATCH) / _PATCH**3 for a, b in _NEIGHBOR_PAIRS], dim=1
    )
    distances = distances - distances.min(dim=1, keepdim=True).values
    spread = distances.mean(dim=1, keepdim=True)
    typical = float(_mean(spread.detach(), counted)) + 1e-12
    return torch.exp(distances / -spread.clamp(min=1e-3 * typical, max=1e3 * typical))


def _mean(values: Tensor, counted: Tensor | None) -> Tensor:
    if counted is None:
        return values.mean()
    return (values * (counted / counted.sum().clamp(min=1.0))).sum()


def _neighbor(padded: Tensor, offset: tuple[int, int, int], shape: torch.Size) -> Tensor:
    starts = [_DILATION * (1 + step) for step in offset]
    z, y, x = (slice(start, start + n) for start, n in zip(starts, shape[2:], strict=True))
    return padded[:, :, z, y, x]


def box_sum(image: Tensor, size: int) -> Tensor:
    """Sum over size³ voxels around each voxel (size odd), zeros outside; one axis after the other, by doubling."""
    for axis in (2, 3, 4):
        length = image.shape[axis]
        padding = [0] * 6
        padding[2 * (4 - axis)] = padding[2 * (4 - axis) + 1] = size // 2
        image = _running_sum(F.pad(image, padding), axis, size, length)
    return image


def _running_sum(padded: Tensor, axis: int, size: int, length: int) -> Tensor:
    """out[i] = padded[i] + ... + padded[i + size − 1], from sums of 1, 2, 4, ... neighbors."""
    total: Tensor | None = None
    power, start, width = padded, 0, 1
    while True:
        if size & width:
            part = power.narrow(axis, start, length)
            total = part.clone() if total is None else total.add_(part)
            start += width
        if 2 * width > size:
            break
        shorter = power.shape[axis] - width
        power = power.narrow(axis, 0, shorter) + power.narrow(axis, width, shorter)
        width *= 2
    assert total is not None
    return total
