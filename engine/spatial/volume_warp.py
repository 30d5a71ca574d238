"""The whole moving image warped onto the fixed grid, slab by slab."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from engine.registration import Registration
from engine.shapes import HuArray
from engine.spatial.resample import index_map
from engine.spatial.warp import sample
from engine.volume import PADDING_HU, Volume

_VOXELS_AT_ONCE = 2**21
_WHOLLY_VALID = 0.999


@torch.no_grad()
def warped_volume(moving: Volume, registration: Registration) -> HuArray:
    """moving(R(x + u(x))) in HU on the fixed grid, linear; `PADDING_HU` where the moving scanner saw nothing."""
    depth, height, width = registration.fixed.shape_zyx
    matrix = index_map(registration.fixed, moving.geometry, registration.rigid)
    image = torch.tensor(moving.hu).reshape(1, 1, *moving.hu.shape)
    valid = None if moving.valid.all() else torch.tensor(moving.valid).float().reshape(image.shape)
    warped = np.empty((depth, height, width), np.float32)
    rows = max(1, _VOXELS_AT_ONCE // (height * width))
    for start in range(0, depth, rows):
        stop = min(depth, start + rows)
        positions = _moving_indices(registration, matrix, start, stop)
        warped[start:stop] = _sampled(image, valid, positions)
    return warped


def _moving_indices(registration: Registration, matrix: np.ndarray, start: int, stop: int) -> Tensor:
    """Indices (z, y, x) in the moving image of a slab; in double precision up to the last step."""
    _, height, width = registration.fixed.shape_zyx
    linear, offset = matrix[:3, :3][::-1, ::-1], matrix[:3, 3][::-1]
    z, y, x = np.arange(start, stop), np.arange(height), np.arange(width)
    u = np.asarray(registration.displacement_vox[:, start:stop])
    out = np.empty((3, stop - start, height, width), np.float32)
    for row in range(3):
        plane = (
            offset[row]
            + (linear[row, 0] * z)[:, None, None]
            + (linear[row, 1] * y)[None, :, None]
            + (linear[row, 2] * x)[None, None, :]
        )
        for column in range(3):
            if linear[row, column] != 0.0:
                plane = plane + linear[row, column] * u[column]
        out[row] = plane
    return torch.from_numpy(out).unsqueeze(0)


def _sampled(image: Tensor, valid: Tensor | None, positions: Tensor) -> HuArray:
    values = sample(image, positions)
    inside = _inside(positions, image.shape[2:])
    if valid is not None:
        inside &= sample(valid, positions) > _WHOLLY_VALID
    result: HuArray = torch.where(inside, values, torch.full_like(values, PADDING_HU))[0, 0].numpy()
    return result


def _inside(positions: Tensor, shape: torch.Size) -> Tensor:
    """Within half a voxel of the moving image, as ITK has it."""
    upper = torch.tensor([n - 0.5 for n in shape], dtype=positions.dtype).view(1, 3, 1, 1, 1)
    return ((positions >= -0.5) & (positions < upper)).all(dim=1, keepdim=True)
