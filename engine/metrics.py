"""Figures of a registration: image error, landmarks, structures, and the displacement itself."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.errors import InputError
from engine.shapes import DisplacementArray, HuArray, MaskArray, PointArray
from engine.spatial.jacobian import jacobian_determinant


@dataclass(frozen=True, slots=True)
class FieldFigures:
    """Folding in percent of the voxels looked at, the smallest determinant there, and the roughness.

    Roughness: mean squared forward difference of u in voxels, mean over the axes, over the same voxels.
    """

    folding_percent: float
    min_jacobian: float
    sd_log_jacobian: float
    roughness: float


@dataclass(frozen=True, slots=True)
class Distances:
    """Target registration error in mm over landmarks."""

    count: int
    mean: float
    median: float
    percentile_95: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Overlap:
    """Agreement of two masks: Dice (0 to 1), 95th percentile of the surface distances and their mean, in mm."""

    dice: float
    hd95_mm: float
    mda_mm: float


def rmse_hu(fixed: HuArray, warped: HuArray, mask: MaskArray) -> float:
    """Root mean squared difference in HU over a mask; not a number where the mask is empty."""
    difference = (fixed - warped)[mask].astype(np.float64)
    return float(np.sqrt(np.mean(difference**2))) if difference.size else math.nan


def field_figures(displacement_vox: DisplacementArray, mask: MaskArray) -> FieldFigures:
    """Figures of u over the voxels of `mask` (Z, Y, X); the last voxel of each axis has no forward difference."""
    if not displacement_vox.any():
        return FieldFigures(0.0, 1.0, 0.0, 0.0)
    inner = mask[:-1, :-1, :-1]
    determinant = jacobian_determinant(displacement_vox)[inner]
    if determinant.size == 0:
        return FieldFigures(0.0, 1.0, 0.0, 0.0)
    positive = determinant[determinant > 0]
    spread = float(np.log(positive).std()) if positive.size else 0.0
    folding = 100.0 * float((determinant <= 0).mean())
    return FieldFigures(folding, float(determinant.min()), spread, _roughness(displacement_vox, mask))


def _roughness(displacement_vox: DisplacementArray, mask: MaskArray) -> float:
    per_axis = []
    for axis in range(3):
        ahead = np.delete(np.arange(mask.shape[axis]), 0)
        counted = np.take(mask, ahead - 1, axis)
        squares = [float((np.diff(component, axis=axis)[counted] ** 2).mean()) for component in displacement_vox]
        per_axis.append(float(np.mean(squares)) if counted.any() else 0.0)
    return float(np.mean(per_axis))


def target_registration_error(mapped_mm: PointArray, moving_mm: PointArray) -> Distances:
    """|T(p_fixed) − p_moving| in mm.

    Raises:
        InputError: the two lists do not pair up.
    """
    if mapped_mm.shape != moving_mm.shape or len(mapped_mm) == 0:
        raise InputError(f"Expected as many fixed as moving points, got {len(mapped_mm)} and {len(moving_mm)}.")
    distance = np.linalg.norm(mapped_mm - moving_mm, axis=1)
    return Distances(
        len(distance),
        float(distance.mean()),
        float(np.median(distance)),
        float(np.percentile(distance, 95)),
        float(distance.max()),
    )


def overlap(a: MaskArray, b: MaskArray, spacing_zyx_mm: tuple[float, ...]) -> Overlap:
    """Agreement of two masks on one grid, of three axes or two.

    Raises:
        InputError: one of them is empty.
    """
    if not a.any() or not b.any():
        raise InputError("Expected masks that hold voxels; one of them is empty on the fixed grid.")
    dice = 2.0 * float(np.logical_and(a, b).sum()) / float(a.sum() + b.sum())
    distances = _surface_distances(a, b, spacing_zyx_mm)
    hd95 = max(float(np.percentile(part, 95)) for part in distances)
    return Overlap(dice, hd95, float(np.mean([part.mean() for part in distances])))


def _surface_distances(
    a: MaskArray, b: MaskArray, spacing_zyx_mm: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances in mm from the surface voxels of each mask to the surface of the other."""
    region = _bounding_region([a, b])
    surfaces = [mask[region] & ~ndimage.binary_erosion(mask[region], border_value=0) for mask in (a, b)]
    to_surface = [ndimage.distance_transform_edt(~surface, sampling=spacing_zyx_mm) for surface in surfaces]
    return to_surface[1][surfaces[0]], to_surface[0][surfaces[1]]


def _bounding_region(masks: Iterable[MaskArray]) -> tuple[slice, ...]:
    together = np.logical_or.reduce(list(masks))
    region: tuple[slice, ...] = ndimage.find_objects(together.astype(np.uint8))[0]
    return region
