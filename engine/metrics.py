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

_VOXELS_AT_ONCE = 2**21


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
class FoldedPlace:
    """Connected voxels whose determinant is zero or less: the worst of them, how many, and its determinant."""

    index_zyx: tuple[int, int, int]
    voxels: int
    min_jacobian: float


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
    total, count, rows = 0.0, 0, _rows_at_once(mask)
    for start in range(0, len(mask), rows):
        here = slice(start, start + rows)
        difference = (fixed[here] - warped[here])[mask[here]].astype(np.float64)
        total += float(np.dot(difference, difference))
        count += difference.size
    return math.sqrt(total / count) if count else math.nan


def folded_places(displacement_vox: DisplacementArray, mask: MaskArray, most: int = 50) -> tuple[FoldedPlace, ...]:
    """Where u folds inside a mask (Z, Y, X), the largest place first, at most so many."""
    determinant = jacobian_determinant(displacement_vox)
    folded = (determinant <= 0) & mask[:-1, :-1, :-1]
    labels, _ = ndimage.label(folded, np.ones((3, 3, 3)))
    places = []
    for number, part in enumerate(ndimage.find_objects(labels), start=1):
        values = np.where(labels[part] == number, determinant[part], np.inf)
        worst = np.unravel_index(int(values.argmin()), values.shape)
        z, y, x = (int(i) + edge.start for i, edge in zip(worst, part, strict=True))
        places.append(FoldedPlace((z, y, x), int(np.isfinite(values).sum()), float(values.min())))
    return tuple(sorted(places, key=lambda place: -place.voxels)[:most])


def field_figures(displacement_vox: DisplacementArray, mask: MaskArray) -> FieldFigures:
    """Figures of u over the voxels of `mask` (Z, Y, X); the last voxel of each axis has no forward difference.

    Slab by slab, so that it takes little memory beside what it is given.
    """
    if not displacement_vox.any():
        return FieldFigures(0.0, 1.0, 0.0, 0.0)
    volume, squares, counts = _VolumeChange(), np.zeros(3), np.zeros(3)
    rows = _rows_at_once(mask)
    for start in range(0, len(mask), rows):
        here = slice(start, start + rows + 1)
        part, counted = np.asarray(displacement_vox[:, here]), mask[here]
        volume.add(jacobian_determinant(part)[counted[:-1, :-1, :-1]])
        for axis in range(3):
            squared, number = _squared_differences(part, counted, axis, rows)
            squares[axis] += squared
            counts[axis] += number
    roughness = float(np.mean(squares / np.maximum(3.0 * counts, 1.0)))
    return volume.figures(roughness) if volume.count else FieldFigures(0.0, 1.0, 0.0, 0.0)


class _VolumeChange:
    """What is to be known of determinants that come in parts."""

    def __init__(self) -> None:
        self.count, self._folded, self._least = 0, 0, math.inf
        self._log_sum, self._log_squares = 0.0, 0.0

    def add(self, determinant: NDArray[np.float32]) -> None:
        if not determinant.size:
            return
        logarithms = np.log(determinant[determinant > 0].astype(np.float64))
        self.count += determinant.size
        self._folded += determinant.size - logarithms.size
        self._least = min(self._least, float(determinant.min()))
        self._log_sum += float(logarithms.sum())
        self._log_squares += float(np.dot(logarithms, logarithms))

    def figures(self, roughness: float) -> FieldFigures:
        positive = max(1, self.count - self._folded)
        variance = self._log_squares / positive - (self._log_sum / positive) ** 2
        folding = 100.0 * self._folded / self.count
        return FieldFigures(folding, self._least, math.sqrt(max(0.0, variance)), roughness)


def _rows_at_once(mask: MaskArray) -> int:
    return int(max(1, _VOXELS_AT_ONCE // max(1, mask[0].size)))


def _squared_differences(part: DisplacementArray, mask: MaskArray, axis: int, rows: int) -> tuple[float, int]:
    """Sum over components of squared forward differences along an axis over a mask, of `rows` slices; how many."""
    if axis > 0:
        part, mask = part[:, :rows], mask[:rows]
    counted = mask[tuple(slice(0, -1) if k == axis else slice(None) for k in range(3))]
    differences = [np.diff(component, axis=axis)[counted].astype(np.float64) for component in part]
    return sum(float(np.dot(values, values)) for values in differences), int(np.count_nonzero(counted))


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
