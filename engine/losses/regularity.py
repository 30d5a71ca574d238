"""Roughness of a displacement: always a mean, so that its weight does not depend on the image size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def grad_l2(displacement_vox: Tensor) -> Tensor:
    """Mean over axes of the mean squared forward difference, (B, 3, D, H, W) or (B, 2, H, W) (VoxelMorph)."""
    return _mean_over_axes(displacement_vox, torch.square)


def grad_l1(displacement_vox: Tensor) -> Tensor:
    """Mean over axes of the mean absolute forward difference, (B, 3, D, H, W) or (B, 2, H, W) (VoxelMorph)."""
    return _mean_over_axes(displacement_vox, torch.abs)


def bending_energy(displacement_vox: Tensor, spacing_zyx: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Tensor:
    """Sum over pairs of axes of the mean squared second difference, (B, 3, D, H, W) (Rueckert et al. 1999).

    Unlike the first differences it leaves an even stretch, as of a lung that fills, without a price. `spacing_zyx`: the
    size of a voxel in the unit of length that counts.
    """
    axes = range(3)
    moved = torch.cat([spacing_zyx[axis] * displacement_vox[:, axis : axis + 1] for axis in axes], dim=1)
    slopes = [torch.diff(moved, dim=axis + 2) / spacing_zyx[axis] for axis in axes]
    sizes = displacement_vox.shape[2:]
    pairs = [(a, b) for a in axes for b in axes if a <= b and sizes[a] > 1 and sizes[b] > 1 + (a == b)]
    bends = [
        (1 if a == b else 2) * torch.diff(slopes[a], dim=b + 2).square().mean() / spacing_zyx[b] ** 2 for a, b in pairs
    ]
    return torch.stack(bends).sum() if bends else displacement_vox.sum() * 0.0


def fold_penalty(displacement_vox: Tensor, least: float = 0.3) -> Tensor:
    """Mean squared shortfall of det(I + grad u), forward differences, below `least`."""
    if min(displacement_vox.shape[2:]) < 2:
        return displacement_vox.sum() * 0.0
    here = displacement_vox[:, :, :-1, :-1, :-1]
    dz = displacement_vox[:, :, 1:, :-1, :-1] - here
    dy = displacement_vox[:, :, :-1, 1:, :-1] - here
    dx = displacement_vox[:, :, :-1, :-1, 1:] - here
    zz, yy, xx = dz[:, 0] + 1, dy[:, 1] + 1, dx[:, 2] + 1
    determinant = (
        zz * (yy * xx - dx[:, 1] * dy[:, 2])
        - dy[:, 0] * (dz[:, 1] * xx - dx[:, 1] * dz[:, 2])
        + dx[:, 0] * (dz[:, 1] * dy[:, 2] - yy * dz[:, 2])
    )
    return (torch.relu(least - determinant) ** 2).mean()


def _mean_over_axes(displacement_vox: Tensor, size: Callable[[Tensor], Tensor]) -> Tensor:
    """Over the axes that have a difference; zero where none has."""
    axes = [axis for axis in range(2, displacement_vox.dim()) if displacement_vox.shape[axis] > 1]
    if not axes:
        return displacement_vox.sum() * 0.0
    return torch.stack([size(torch.diff(displacement_vox, dim=axis)).mean() for axis in axes]).mean()
