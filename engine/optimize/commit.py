"""Writing a regional correction into the displacement: nothing else is touched, no fold is added, all is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from engine.registration import Certificate
from engine.roi import Box
from engine.shapes import DisplacementArray
from engine.shared_arrays import with_part
from engine.spatial.jacobian import jacobian_determinant

LEAST_DETERMINANT = 0.05
LARGEST_SEAM_JUMP = 0.25
"""Largest jump of the displacement's slope at the seam, mm per mm, that a certificate passes."""

_HALVINGS = 8


_ROUNDS = 8
_REACH_VOX = 6.0
"""How far round a voxel that was about to fold the correction is reduced."""

Share = NDArray[np.float32]
"""How much of a correction is applied at each voxel of the crop, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The new displacement (the old array itself if nothing was kept), the mean share of the correction applied."""

    displacement_vox: DisplacementArray
    share: float


def commit(
    present: DisplacementArray,
    crop: Box,
    weight: NDArray[np.float32],
    corrected: Callable[[Share], DisplacementArray],
    allowed: Box,
    spacing_zyx_mm: tuple[float, float, float],
) -> Committed:
    """Write `corrected(share)` (u inside `crop` with that share of the correction) where `weight` > 0.

    Where the correction would bring the determinant to 0.05 or below, and lower than it was, or where the seam of
    `allowed` (box and collar) would not be smooth, it is reduced: all of it alike by bisection, or first locally round
    such voxels, whichever keeps more. So no voxel folds that did not fold before; nothing at all always qualifies.
    """
    size = (present.shape[1], present.shape[2], present.shape[3])
    context = crop.grown(1, size)
    before = np.array(present[(slice(None), *context.slices_zyx)])
    inside = (slice(None), *crop.inside(context).slices_zyx)
    determinant = jacobian_determinant(before)
    faces = _inner_faces(allowed, size)

    def written(share: Share) -> DisplacementArray:
        part = before.copy()
        part[inside] = np.where((weight > 0) & (share > 0), corrected(share), part[inside])
        return part

    def acceptable(part: DisplacementArray) -> bool:
        jump = seam_gradient_jump(before, part, allowed.inside(context), faces, spacing_zyx_mm)
        return jump <= LARGEST_SEAM_JUMP and not _spoilt(jacobian_determinant(part), determinant).any()

    def reduced(share: Share) -> tuple[float, DisplacementArray]:
        """The mean share of the correction that is left, and the field."""
        scale, part = _largest_scale(lambda factor: written(np.float32(factor) * share), acceptable)
        return scale * float(share[weight > 0].mean()), part

    everywhere = np.ones(crop.shape_zyx, np.float32)
    mean_share, part = reduced(everywhere)
    if mean_share < 1.0:
        locally = reduced(_local_share(written, determinant, inside, everywhere))
        mean_share, part = max((mean_share, part), locally, key=lambda candidate: candidate[0])
    if mean_share == 0.0:
        return Committed(present, 0.0)
    return Committed(with_part(present, context, part), mean_share)


def _local_share(
    written: Callable[[Share], DisplacementArray],
    before: NDArray[np.float32],
    inside: tuple[slice, ...],
    share: Share,
) -> Share:
    """Less of the correction round every voxel whose determinant it would spoil; none where that determinant looks."""
    for _ in range(_ROUNDS):
        spoilt = _spoilt(jacobian_determinant(written(share)), before)
        if not spoilt.any():
            break
        distance = distance_transform_edt(~np.pad(spoilt, [(0, 1)] * 3))[inside[1:]]
        beyond = np.clip((distance - 1.0) / _REACH_VOX, 0.0, 1.0)
        share = share * (0.5 - 0.5 * np.cos(np.pi * beyond)).astype(np.float32)
    return share


def _largest_scale(
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


def _spoilt(after: NDArray[np.float32], before: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Voxels that fold, or nearly do, and were better before; not a number counts as folded."""
    return ~(after > LEAST_DETERMINANT) & ~(after >= before)


def certify(
    before: DisplacementArray,
    after: DisplacementArray,
    allowed: Box,
    spacing_zyx_mm: tuple[float, float, float],
    share: float,
    error_before: float,
    error_after: float,
    error_may_grow: bool = False,
) -> Certificate:
    """Measure the contract on two displacements: `allowed` is box and collar.

    `error_may_grow`: whether nothing was promised of the error, as when an earlier state is taken back.
    """
    shape = (before.shape[1], before.shape[2], before.shape[3])
    outside = _change_outside_mm(before, after, allowed, spacing_zyx_mm)
    looked_at = allowed.grown(1, shape) if outside == 0.0 else Box.whole(shape)
    part = (slice(None), *looked_at.slices_zyx)
    new_folds = int(
        np.count_nonzero(~(jacobian_determinant(after[part]) > 0) & (jacobian_determinant(before[part]) > 0))
    )
    faces = _inner_faces(allowed, shape)
    jump = seam_gradient_jump(before, after, allowed, faces, spacing_zyx_mm)
    grew = not error_after <= error_before
    kept = outside == 0.0 and new_folds == 0 and jump <= LARGEST_SEAM_JUMP
    passed = kept and (error_may_grow or not grew)
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
        largest = float(np.maximum(largest, np.sqrt((change**2).sum(axis=0)).max()))
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
