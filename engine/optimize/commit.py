"""Writing a regional correction into the displacement: nothing else is touched, no fold is added, all is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engine.registration import Certificate
from engine.roi import Box
from engine.shapes import DisplacementArray
from engine.spatial.jacobian import jacobian_determinant

LEAST_DETERMINANT = 0.05
LARGEST_SEAM_JUMP = 0.25
"""Largest jump of the displacement's slope at the seam, mm per mm, that a certificate passes."""

_HALVINGS = 8


@dataclass(frozen=True, slots=True)
class Committed:
    """The new displacement (the old array itself if nothing was kept), the share of the correction that was applied."""

    displacement_vox: DisplacementArray
    share: float


def commit(
    present: DisplacementArray,
    crop: Box,
    weight: NDArray[np.float32],
    corrected: Callable[[float], DisplacementArray],
    allowed: Box,
    spacing_zyx_mm: tuple[float, float, float],
) -> Committed:
    """Write `corrected(share)` (u inside `crop` with that share of the correction) where `weight` > 0.

    The share is 1, or the largest found by bisection that adds no voxel with det ≤ 0, leaves the smallest determinant
    above 0.05 or no lower than it was, and keeps the seam of `allowed` (box and collar) smooth; 0 always qualifies.
    """
    context = crop.grown(1, (present.shape[1], present.shape[2], present.shape[3]))
    before = np.array(present[(slice(None), *context.slices_zyx)])
    determinant = jacobian_determinant(before)

    def written(share: float) -> DisplacementArray:
        part = before.copy()
        inside = (slice(None), *crop.inside(context).slices_zyx)
        part[inside] = np.where(weight > 0, corrected(share), part[inside])
        return part

    seam = allowed.inside(context)
    size = (present.shape[1], present.shape[2], present.shape[3])
    inner_faces = _inner_faces(allowed, size)

    def acceptable(part: DisplacementArray) -> bool:
        jump = seam_gradient_jump(before, part, seam, inner_faces, spacing_zyx_mm)
        return jump <= LARGEST_SEAM_JUMP and _adds_no_fold(jacobian_determinant(part), determinant)

    share, part = _largest_share(written, acceptable)
    if share == 0.0:
        return Committed(present, 0.0)
    result = np.array(present)
    result[(slice(None), *context.slices_zyx)] = part
    return Committed(result, share)


def _largest_share(
    written: Callable[[float], DisplacementArray], acceptable: Callable[[DisplacementArray], bool]
) -> tuple[float, DisplacementArray]:
    part = written(1.0)
    if acceptable(part):
        return 1.0, part
    low, high, kept = 0.0, 1.0, part
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        part = written(middle)
        if acceptable(part):
            low, kept = middle, part
        else:
            high = middle
    return low, kept


def _adds_no_fold(after: NDArray[np.float32], before: NDArray[np.float32]) -> bool:
    new_fold = bool(np.any((after <= 0) & (before > 0)))
    least = float(after.min())
    return not new_fold and (least > LEAST_DETERMINANT or least >= float(before.min()))


def certify(
    before: DisplacementArray,
    after: DisplacementArray,
    allowed: Box,
    spacing_zyx_mm: tuple[float, float, float],
    share: float,
    error_before: float,
    error_after: float,
) -> Certificate:
    """Measure the contract on two displacements: `allowed` is box and collar."""
    outside = _change_outside_mm(before, after, allowed, spacing_zyx_mm)
    new_folds = int(np.count_nonzero((jacobian_determinant(after) <= 0) & (jacobian_determinant(before) > 0)))
    faces = _inner_faces(allowed, (before.shape[1], before.shape[2], before.shape[3]))
    jump = seam_gradient_jump(before, after, allowed, faces, spacing_zyx_mm)
    grew = error_after > error_before
    passed = outside == 0.0 and new_folds == 0 and jump <= LARGEST_SEAM_JUMP and not grew
    return Certificate(outside, new_folds, jump, grew, passed, share)


def _change_outside_mm(
    before: DisplacementArray, after: DisplacementArray, allowed: Box, spacing_zyx_mm: tuple[float, float, float]
) -> float:
    """Largest change of the displacement in mm outside a box; 0 exactly where every bit is the same."""
    if after is before:
        return 0.0
    largest = 0.0
    inner_z, inner_y, inner_x = allowed.slices_zyx
    spacing = np.asarray(spacing_zyx_mm).reshape(3, 1, 1)
    for z in range(before.shape[1]):
        change = (after[:, z].astype(np.float64) - before[:, z]) * spacing
        if inner_z.start <= z < inner_z.stop:
            change[:, inner_y, inner_x] = 0.0
        largest = max(largest, float(np.sqrt((change**2).sum(axis=0)).max()))
    return largest


Face = tuple[int, int]
"""Axis (0 = z) and side (0 = start, 1 = end) of a box."""


def _inner_faces(allowed: Box, shape_zyx: tuple[int, int, int]) -> list[Face]:
    """The faces of a box that do not lie on a face of the image."""
    ends = [((axis, 0), start > 0) for axis, (start, _) in enumerate(allowed.ranges_zyx)]
    ends += [((axis, 1), stop < shape_zyx[axis]) for axis, (_, stop) in enumerate(allowed.ranges_zyx)]
    return [face for face, inner in ends if inner]


def seam_gradient_jump(
    before: DisplacementArray,
    after: DisplacementArray,
    allowed: Box,
    faces: list[Face],
    spacing_zyx_mm: tuple[float, float, float],
) -> float:
    """Largest slope (mm per mm) with which the change starts at the given faces of `allowed`.

    Outside the change is zero, so this slope is the jump of the first derivative across the seam.
    """
    largest = 0.0
    spacing = np.asarray(spacing_zyx_mm).reshape(3, 1, 1)
    for axis, side in faces:
        start, stop = allowed.ranges_zyx[axis]
        face, step = (stop - 1, -1) if side else (start, 1)
        largest = max(largest, _slope_at(before, after, allowed, axis, face, step, spacing) / spacing_zyx_mm[axis])
    return largest


def _slope_at(
    before: DisplacementArray,
    after: DisplacementArray,
    allowed: Box,
    axis: int,
    face: int,
    step: int,
    spacing: NDArray[np.float64],
) -> float:
    """Largest difference in mm between the change at a face and one voxel further in, or one voxel further out."""
    layers = []
    for position in (face - step, face, face + step):
        if not 0 <= position < before.shape[axis + 1]:
            continue
        slices = list(allowed.slices_zyx)
        slices[axis] = slice(position, position + 1)
        index = (slice(None), *slices)
        difference = (after[index].astype(np.float64) - before[index]).squeeze(axis + 1)
        layers.append(difference * spacing)
    steps = [np.sqrt(((b - a) ** 2).sum(axis=0)).max() for a, b in pairwise(layers)]
    return float(max(steps))
