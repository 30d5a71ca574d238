"""The whole moving image warped onto the fixed grid, slab by slab."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from engine.registration import Registration
from engine.shapes import HuArray, MaskArray
from engine.shared_arrays import in_file
from engine.spatial.resample import index_map
from engine.spatial.warp import sample
from engine.volume import PADDING_HU, Volume

_VOXELS_AT_ONCE = 2**20
_WHOLLY_VALID = 0.999


def warped_volume(moving: Volume, registration: Registration) -> HuArray:
    """moving(R(x + u(x))) in HU on the fixed grid, linear; `PADDING_HU` where the moving scanner saw nothing.

    Beside the result, which lies in a temporary file where it is large, it takes memory for a slab and what that
    reaches of the moving image.
    """
    return in_file(registration.fixed.shape_zyx, lambda: _slabs(moving, registration))


@torch.no_grad()
def _slabs(moving: Volume, registration: Registration) -> Iterator[HuArray]:
    depth, height, width = registration.fixed.shape_zyx
    matrix = index_map(registration.fixed, moving.geometry, registration.rigid)
    rows = max(1, _VOXELS_AT_ONCE // (height * width))
    for start in range(0, depth, rows):
        positions = _moving_indices(registration, matrix, start, min(depth, start + rows))
        first, last = _reached_slices(positions, len(moving.hu))
        image, valid = moving.hu[first:last], moving.valid[first:last]
        seen = _inside(positions, moving.hu.shape)
        positions[:, 0] -= first
        yield _sampled(image, None if valid.all() else valid, positions, seen)


def _reached_slices(positions: Tensor, depth: int) -> tuple[int, int]:
    """The slices of the moving image (first, last + 1) between which positions (1, 3, d, h, w) lie, two at least."""
    low, high = (float(limit) for limit in positions[:, 0].aminmax())
    first = min(max(0, int(np.floor(low)) - 1), max(0, depth - 2))
    return first, min(depth, max(first + 2, int(np.ceil(high)) + 2))


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


def _sampled(image: HuArray, valid: MaskArray | None, positions: Tensor, inside: Tensor) -> HuArray:
    values = sample(torch.tensor(image).reshape(1, 1, *image.shape), positions)
    if valid is not None:
        inside &= sample(torch.tensor(valid).float().reshape(1, 1, *valid.shape), positions) > _WHOLLY_VALID
    result: HuArray = torch.where(inside, values, torch.full_like(values, PADDING_HU))[0, 0].numpy()
    return result


def _inside(positions: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Within half a voxel of the moving image, as ITK has it."""
    upper = torch.tensor([n - 0.5 for n in shape], dtype=positions.dtype).view(1, 3, 1, 1, 1)
    return ((positions >= -0.5) & (positions < upper)).all(dim=1, keepdim=True)
