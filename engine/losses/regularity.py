"""Roughness of a displacement: always a mean, so that its weight does not depend on the image size."""

from __future__ import annotations

import torch
from torch import Tensor


def grad_l2(displacement_vox: Tensor) -> Tensor:
    """Mean over axes of the mean squared forward difference, (B, 3, D, H, W) or (B, 2, H, W) (VoxelMorph)."""
    squares = [(torch.diff(displacement_vox, dim=axis) ** 2).mean() for axis in _axes(displacement_vox)]
    return torch.stack(squares).mean()


def grad_l1(displacement_vox: Tensor) -> Tensor:
    """Mean over axes of the mean absolute forward difference, (B, 3, D, H, W) or (B, 2, H, W) (VoxelMorph)."""
    sizes = [torch.diff(displacement_vox, dim=axis).abs().mean() for axis in _axes(displacement_vox)]
    return torch.stack(sizes).mean()


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


def _axes(displacement_vox: Tensor) -> list[int]:
    return [axis for axis in range(2, displacement_vox.dim()) if displacement_vox.shape[axis] > 1]
