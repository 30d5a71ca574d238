"""How far a displacement is from what a user knows of the pair."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.spatial.warp import sample


def point_distance(displacement_vox: Tensor, index_zyx: Tensor, wanted_vox: Tensor, spacing_mm: Tensor) -> Tensor:
    """Mean squared distance in mm² of u at N continuous indices from what it should be there; both (1, 3, N, 1, 1).

    `spacing_mm`: of the grid of u (1, 3, 1, 1, 1), components z, y, x.
    """
    off_mm = (sample(displacement_vox, index_zyx) - wanted_vox) * spacing_mm
    return (off_mm**2).sum(dim=1).mean()


def rigidity(displacement_vox: Tensor, mask: Tensor, spacing_mm: Tensor) -> Tensor:
    """Weighted mean of |FᵀF − I|² (weights (1, 1, D, H, W)), F = I + grad u in mm: zero for rotations and shifts.

    Forward differences; the last voxel of each axis takes no part, and along an axis of one voxel nothing changes.
    """
    for axis in range(2, 5):
        if displacement_vox.shape[axis] == 1:
            displacement_vox, mask = (torch.cat([part, part], dim=axis) for part in (displacement_vox, mask))
    here = displacement_vox[:, :, :-1, :-1, :-1] * spacing_mm
    ahead = (slice(1, None), slice(None, -1), slice(None, -1))
    columns = []
    for axis in range(3):
        window = tuple(ahead[(k - axis) % 3] for k in range(3))
        there = displacement_vox[(slice(None), slice(None), *window)] * spacing_mm
        slope = (there - here) / spacing_mm[:, axis]
        unit = torch.zeros_like(spacing_mm)
        unit[:, axis] = 1.0
        columns.append(slope + unit)
    strain = torch.zeros_like(here[:, :1])
    for i in range(3):
        for j in range(3):
            product = (columns[i] * columns[j]).sum(dim=1, keepdim=True)
            strain = strain + (product - float(i == j)) ** 2
    counted = mask[:, :, :-1, :-1, :-1]
    return (strain * counted).sum() / counted.sum().clamp(min=1.0)
