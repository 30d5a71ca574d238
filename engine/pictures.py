"""Pictures of a case without a window: a sheet of slices as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.case import Case
from engine.io.atomic import whole_file
from engine.registration import Registration
from engine.roi import Box
from engine.shapes import HuArray
from engine.volume import PADDING_HU

IMAGE_WINDOW_HU = (-1000.0, 500.0)
DIFFERENCE_WINDOW_HU = (-500.0, 500.0)
THUMBNAIL = 48
_THUMBNAIL_WINDOW_HU = (-150.0, 150.0)
_THUMBNAIL_MARGIN = 8
"""Voxels that a thumbnail shows round a box."""

_GAP = 4
_BOX_COLOR = (255, 176, 0)

Picture = NDArray[np.uint8]


def write_sheet(case: Case, warped_hu: HuArray, path: Path, box: Box | None = None) -> None:
    """Fixed, moving as aligned or warped, and difference (columns) in three orientations (rows) through a box.

    Without a box: through the middle of the fixed image.
    """
    import SimpleITK as sitk

    sheet = case_sheet(case, warped_hu, box)
    with whole_file(path) as temporary:
        sitk.WriteImage(sitk.GetImageFromArray(sheet, isVector=True), str(temporary))


def case_sheet(case: Case, warped_hu: HuArray, box: Box | None) -> Picture:
    """(height, width, 3) RGB."""
    shape = case.fixed.hu.shape
    ranges = Box.whole((shape[0], shape[1], shape[2])).ranges_zyx if box is None else box.ranges_zyx
    seen = case.fixed.valid & (warped_hu > PADDING_HU)
    difference = np.where(seen, case.fixed.hu - warped_hu, np.float32(0))
    rows = []
    for axis in range(3):
        index = sum(ranges[axis]) // 2
        panes = [
            _gray(_slice(case.fixed.hu, axis, index), IMAGE_WINDOW_HU),
            _gray(_slice(warped_hu, axis, index), IMAGE_WINDOW_HU),
            _signed(_slice(difference, axis, index), DIFFERENCE_WINDOW_HU),
        ]
        spacing = [s for k, s in enumerate(case.fixed.geometry.spacing_zyx_mm) if k != axis]
        outline = None if box is None else [r for k, r in enumerate(ranges) if k != axis]
        rows.append(_row([_scaled(_outlined(pane, outline), spacing, axis != 0) for pane in panes]))
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, _GAP), (0, width - row.shape[1]), (0, 0))) for row in rows]
    return np.concatenate(padded)


def state_thumbnail(case: Case, registration: Registration) -> Picture:
    """(height, width, 3) RGB, at most `THUMBNAIL` a side: what is left of the difference on one axial slice.

    Through the box of the state's own step, or through the middle of the image where it has none. Only that part of
    the moving image is warped.
    """
    from engine.spatial.volume_warp import warped_volume

    step = registration.steps[-1] if registration.steps else None
    z, y, x = case.fixed.geometry.shape_zyx
    box = Box.whole((z, y, x)) if step is None or step.box is None else step.box
    middle = (box.z0 + box.z1) // 2
    part = replace(box.grown(_THUMBNAIL_MARGIN, (z, y, x)), z0=middle, z1=middle + 1)
    index, displacement_vox = part.slices_zyx, registration.displacement_vox[(slice(None), *part.slices_zyx)]
    shown = Registration(case.fixed.geometry.cropped(part), registration.rigid, np.ascontiguousarray(displacement_vox))
    warped = warped_volume(case.moving, shown)
    seen = case.fixed.valid[index] & (warped > PADDING_HU)
    difference = np.where(seen, case.fixed.hu[index] - warped, np.float32(0))
    down, across = case.fixed.geometry.spacing_zyx_mm[1:]
    _, height, width = part.shape_zyx
    fine_mm = max(height * down, width * across) / THUMBNAIL
    return _resized(_signed(difference[0], _THUMBNAIL_WINDOW_HU), (down, across), fine_mm)


def _slice(volume: HuArray, axis: int, index: int) -> HuArray:
    return np.asarray(np.take(volume, index, axis))


def _gray(hu: HuArray, window: tuple[float, float]) -> Picture:
    level = np.clip((hu - window[0]) / (window[1] - window[0]), 0.0, 1.0)
    gray: Picture = np.repeat((255.0 * level).astype(np.uint8)[..., None], 3, axis=2)
    return gray


def _signed(hu: HuArray, window: tuple[float, float]) -> Picture:
    """Blue where the warped image is brighter, orange where the fixed one is, black where they agree."""
    up = np.clip(hu / window[1], 0.0, 1.0)[..., None]
    down = np.clip(hu / window[0], 0.0, 1.0)[..., None]
    color = up * np.array([255.0, 160.0, 40.0]) + down * np.array([60.0, 150.0, 255.0])
    picture: Picture = color.astype(np.uint8)
    return picture


def _outlined(picture: Picture, ranges: list[tuple[int, int]] | None) -> Picture:
    if ranges is not None:
        (top, bottom), (left, right) = ranges
        picture[[top, bottom - 1], left:right] = _BOX_COLOR
        picture[top:bottom, [left, right - 1]] = _BOX_COLOR
    return picture


def _scaled(picture: Picture, spacing_mm: list[float], head_up: bool) -> Picture:
    """Nearest-neighbor to square pixels twice as fine as the smaller spacing; rows along z turned head up."""
    scaled = _resized(picture, spacing_mm, min(spacing_mm) / 2)
    return scaled[::-1] if head_up else scaled


def _resized(picture: Picture, spacing_mm: Sequence[float], fine_mm: float) -> Picture:
    """Nearest-neighbor to square pixels of `fine_mm`."""
    rows, columns = (
        np.minimum((np.arange(max(1, round(n * s / fine_mm))) * fine_mm / s).astype(int), n - 1)
        for n, s in zip(picture.shape[:2], spacing_mm, strict=True)
    )
    resized: Picture = picture[rows][:, columns]
    return resized


def _row(panes: list[Picture]) -> Picture:
    return np.concatenate([np.pad(pane, ((0, 0), (0, _GAP), (0, 0))) for pane in panes], axis=1)
