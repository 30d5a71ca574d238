"""A user's guidance as a part of what refinement minimises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from engine.geometry import Geometry, transform_points
from engine.guidance import Guidance
from engine.losses.guidance import point_distance, rigidity
from engine.optimize.pair_grid import PairGrid
from engine.preprocess import of_same_patient
from engine.registration import Registration
from engine.roi import Box
from engine.shapes import MaskArray, Matrix, PointArray
from engine.spatial.resample import as_tensor, resampled
from engine.volume import Volume

_POINT_WEIGHT = 0.05
"""Of the mean squared distance in mm²: points 4 mm off weigh as much as images that are wholly unlike."""

_RIGID_WEIGHT = 20.0


def compared(fixed: Volume, guidance: Guidance) -> Volume:
    """The fixed image without what corresponds to nothing: that takes part in no loss and in no error."""
    if guidance.excluded is None:
        return fixed
    return of_same_patient(replace(fixed, valid=fixed.valid & ~guidance.excluded), fixed)


def guiding(
    guidance: Guidance, grid: PairGrid, start: Registration, box: Box | None = None
) -> Callable[[Tensor], Tensor] | None:
    """From a displacement on a working grid to how much it goes against the guidance; none where there is none.

    `box`: points count only there.
    """
    spacing_mm = torch.tensor(grid.geometry.spacing_zyx_mm).to(grid.fixed).view(1, 3, 1, 1, 1)
    terms: list[Callable[[Tensor], Tensor]] = []
    used = points_in(box, guidance, start.fixed)
    if used.any():
        fixed_mm, moving_mm = guidance.fixed_points_mm[used], guidance.moving_points_mm[used]
        index = _as_points(grid.geometry.indices(fixed_mm), grid.fixed)
        to_fixed: Matrix = np.linalg.inv(start.rigid).astype(np.float64)
        aim = _as_points(grid.geometry.indices(transform_points(to_fixed, moving_mm)), grid.fixed)
        terms.append(lambda total: _POINT_WEIGHT * point_distance(total, index, aim - index, spacing_mm))
    bone = _on(grid, guidance.rigid, start.fixed)
    if bone is not None:
        terms.append(lambda total: _RIGID_WEIGHT * rigidity(total, bone, spacing_mm))
    if not terms:
        return None
    return lambda total: torch.stack([term(total) for term in terms]).sum()


def points_in(box: Box | None, guidance: Guidance, fixed: Geometry) -> MaskArray:
    """Which of the points (N,) lie in a box of the fixed image, or anywhere in it where there is no box."""
    box = box or Box.whole(fixed.shape_zyx)
    index_zyx = fixed.indices(guidance.fixed_points_mm)[:, ::-1]
    low, high = np.array(box.ranges_zyx).T
    inside: MaskArray = np.all((index_zyx >= low - 0.5) & (index_zyx <= high - 0.5), axis=1)
    return inside


def _as_points(index_xyz: PointArray, like: Tensor) -> Tensor:
    return torch.as_tensor(index_xyz[:, ::-1].T.copy()).to(like).view(1, 3, -1, 1, 1)


def _on(grid: PairGrid, mask: MaskArray | None, fixed: Geometry) -> Tensor | None:
    """How much of each voxel of a working grid a mask of the fixed image fills, or none where it does not reach it.

    Shares, not a mask: the cortex of a bone is thinner than a voxel.
    """
    if mask is None or not mask.any():
        return None
    share = resampled(as_tensor(mask.astype(np.float32), grid.fixed.device), fixed, grid.geometry)
    return share if share.any() else None
