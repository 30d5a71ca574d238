"""A pair of images as tensors, ready to be compared on one grid."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.geometry import Geometry, Triple
from engine.preprocess import body_box, body_of
from engine.roi import Box
from engine.shapes import HuArray, MaskArray, Matrix
from engine.spatial.resample import index_map, indices_by_axis, is_axis_by_axis, resampled_slabs
from engine.spatial.warp import Sampler, mapped_indices, voxel_grid
from engine.volume import Volume, filled_hu, hu_from_normalized_rmse, normalized

_WHOLLY_VALID = 0.99
_SURFACE_MM = 5.0
"""Beyond the body, where its surface is compared too."""

SPARE_MM = 30.0
"""How much further than the present displacement a refinement may look into the moving image."""


@dataclass(frozen=True, slots=True, eq=False)
class PairGrid:
    """Fixed image on a grid, moving image on its own, normalised, and the way between their voxel indices.

    Tensors (1, 1, D, H, W); valid masks 1 where the scanner saw something. `to_moving` (4 × 4, x y z) leads from
    voxels of `geometry` to voxels of the moving tensor, the rigid part included.
    """

    geometry: Geometry
    fixed: Tensor
    fixed_valid: Tensor
    moving: Tensor
    moving_valid: Tensor
    to_moving: Matrix
    sampler: Sampler = field(init=False)

    def __post_init__(self) -> None:
        shape = self.geometry.shape_zyx
        object.__setattr__(self, "sampler", Sampler(shape, self.to_moving, self.moving.shape[2:], self.fixed))

    def warped(self, displacement_vox: Tensor) -> Tensor:
        """moving(T(x)) for u in voxels of `geometry`."""
        return self.sampler(self.moving, displacement_vox)

    @torch.no_grad()
    def mask(self, displacement_vox: Tensor) -> Tensor:
        """1 where fixed(x) and moving(T(x)) are both valid."""
        seen = self.sampler(self.moving_valid, displacement_vox, padding="zeros")
        return self.fixed_valid * (seen > _WHOLLY_VALID).to(seen.dtype)

    @torch.no_grad()
    def mean_square(self, warped: Tensor, mask: Tensor) -> Tensor:
        """Mean squared difference of normalised values over a mask (1, 1, D, H, W); zero where the mask is empty.

        A tensor of one number, which stays on the device.
        """
        return ((warped - self.fixed) ** 2 * mask).sum() / mask.sum().clamp(min=1.0)

    def mse(self, warped: Tensor, mask: Tensor) -> float:
        """`mean_square`, fetched."""
        return float(self.mean_square(warped, mask))

    def rmse_hu(self, warped: Tensor, mask: Tensor) -> float:
        """Root mean squared difference over a mask, HU."""
        return hu_from_normalized_rmse(self.mse(warped, mask))

    def holding(self, box: Box, fixed: Geometry) -> Tensor:
        """1 where a voxel center lies in a box of the fixed image (half a voxel more all round), (1, 1, D, H, W)."""
        positions = mapped_indices(voxel_grid(self.geometry.shape_zyx, self.fixed), index_map(self.geometry, fixed))
        low, high = (
            torch.tensor([limits[end] - 0.5 for limits in box.ranges_zyx], device=positions.device).view(1, 3, 1, 1, 1)
            for end in (0, 1)
        )
        return ((positions >= low) & (positions <= high)).all(dim=1, keepdim=True).to(self.fixed.dtype)


def at_spacing(
    fixed: Volume, moving: Volume, rigid: Matrix, spacing_mm: float, device: torch.device, multiple_of: int = 1
) -> PairGrid:
    """The pair at an isotropic working spacing, low-pass filtered where voxels grow, as far as the patient reaches."""
    geometry = fixed.geometry.cropped(body_box(fixed)).resampled((spacing_mm,) * 3, multiple_of)
    return _pair(fixed, moving, rigid, geometry, moving.geometry.resampled((spacing_mm,) * 3), device)


def near_patient(fixed: Volume, grid: PairGrid, crop: Box | None = None) -> Tensor:
    """1 in the patient and a few millimeters beyond, 0 where streaks cross open air; 1 everywhere where no patient is.

    `crop`: a box of the fixed image that holds the working grid.
    """
    part = crop or Box.whole(fixed.geometry.shape_zyx)
    body = body_of(fixed)[part.slices_zyx]
    share = mask_share(body, fixed.geometry.cropped(part), grid.geometry, grid.fixed.device)
    inside = (share > 0.5).to(grid.fixed.dtype)
    if not inside.any():
        return torch.ones_like(grid.fixed)
    for axis, spacing_mm in enumerate(grid.geometry.spacing_zyx_mm):
        radius = math.ceil(_SURFACE_MM / spacing_mm)
        sizes, padding = ([1 + 2 * radius * (k == axis) for k in range(3)], [radius * (k == axis) for k in range(3)])
        inside = F.max_pool3d(inside, sizes, stride=1, padding=padding)
    return inside


def _pair(
    fixed: Volume, moving: Volume, rigid: Matrix, geometry: Geometry, moving_geometry: Geometry, device: torch.device
) -> PairGrid:
    """Two images on grids parallel to their own."""
    return PairGrid(
        geometry,
        *_reduced(fixed, geometry, device),
        *_reduced(moving, moving_geometry, device),
        index_map(geometry, moving_geometry, rigid),
    )


def _reduced(volume: Volume, geometry: Geometry, device: torch.device) -> tuple[Tensor, Tensor]:
    def hu(slices: slice) -> HuArray:
        return normalized(filled_hu(volume.hu[slices], volume.valid[slices]))

    image = resampled_slabs(hu, volume.geometry, geometry, device)
    if volume.valid.all():
        return image, _inside(volume.geometry, geometry, image)
    valid = mask_share(volume.valid, volume.geometry, geometry, device)
    return image, (valid > _WHOLLY_VALID).to(image.dtype) * _inside(volume.geometry, geometry, image)


def mask_share(mask: MaskArray, source: Geometry, target: Geometry, device: torch.device) -> Tensor:
    """How much of each voxel of `target` is in a mask."""
    return resampled_slabs(lambda slices: mask[slices].astype(np.float32), source, target, device)


def _inside(source: Geometry, target: Geometry, like: Tensor) -> Tensor:
    """1 where a voxel center of `target`, a grid parallel to `source`, lies within it (half a voxel more counts)."""
    to_source = index_map(target, source)
    assert is_axis_by_axis(to_source)
    inside = np.ones(target.shape_zyx, dtype=bool)
    by_axis = zip(indices_by_axis(to_source, target.shape_zyx), source.shape_zyx, strict=True)
    for axis, (indices, length) in enumerate(by_axis):
        within = (indices > -0.5) & (indices < length - 0.5)
        inside &= np.expand_dims(within, [k for k in range(3) if k != axis])
    return torch.from_numpy(inside).to(like)[None, None]


def on_crop(
    fixed: Volume,
    moving: Volume,
    rigid: Matrix,
    crop: Box,
    reach_vox: Tensor,
    device: torch.device,
    spacing_xyz_mm: Triple | None = None,
    multiple_of: int = 1,
    least: int = 1,
) -> PairGrid:
    """The fixed image inside a box, and that part of the moving image that can be needed.

    Both at their own voxels, or the fixed one at a working spacing in sizes that `Geometry.resampled` tells, and the
    moving one at voxels that are no smaller. `reach_vox` (1, 3, d, h, w): the present displacement at the voxels of the
    box; the moving part covers where it leads and `SPARE_MM` more.
    """
    inner = fixed.geometry.cropped(crop)
    part = _reached(reach_vox, index_map(inner, moving.geometry, rigid), moving.geometry)
    pieces = fixed.cropped(crop), moving.cropped(part)
    if spacing_xyz_mm is None:
        return _pair(*pieces, rigid, inner, pieces[1].geometry, device)
    geometry = inner.resampled(spacing_xyz_mm, multiple_of, least)
    moving_geometry = pieces[1].geometry.coarsened(min(spacing_xyz_mm))
    return _pair(*pieces, rigid, geometry, moving_geometry, device)


def _reached(reach_vox: Tensor, to_moving: Matrix, moving: Geometry) -> Box:
    positions = mapped_indices(voxel_grid(tuple(reach_vox.shape[2:]), reach_vox) + reach_vox, to_moving)[0].flatten(1)
    low, high = positions.amin(1).tolist(), positions.amax(1).tolist()
    ranges = []
    for axis, (n, spacing) in enumerate(zip(moving.shape_zyx, moving.spacing_zyx_mm, strict=True)):
        spare = SPARE_MM / spacing
        start = int(np.clip(np.floor(low[axis] - spare), 0, n - 2 if n > 1 else 0))
        stop = int(np.clip(np.ceil(high[axis] + spare) + 1, min(start + 2, n), n))
        ranges.append((start, stop))
    (z0, z1), (y0, y1), (x0, x1) = ranges
    return Box(x0, x1, y0, y1, z0, z1)
