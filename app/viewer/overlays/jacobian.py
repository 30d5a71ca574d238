"""Local change of volume, with folding in a warning colour."""

from __future__ import annotations

import numpy as np

from app.viewer.slicing import Layer, Pixels, SliceContext
from engine.shapes import DisplacementArray, HuArray

_SHRINKS = np.array([60, 130, 255], dtype=np.float32)
_EXPANDS = np.array([255, 150, 30], dtype=np.float32)
_FOLDED = np.array([255, 0, 220, 255], dtype=np.uint8)
_FULL_COLOR_AT = 0.8
_STRONGEST_ALPHA = 160.0


def layer(context: SliceContext) -> Layer | None:
    """The determinant of the cells in front of the slice; they lie half a voxel to the lower right of it."""
    displacement = context.pictures.displacement_vox
    if displacement is None or context.image not in ("warped", "difference"):
        return None
    return Layer(context.key("jacobian"), lambda: colored(cells(displacement, context)), shift_voxels=0.5)


def cells(displacement_vox: DisplacementArray, context: SliceContext) -> HuArray:
    """(rows − 1, columns − 1) determinants between this slice and the next one."""
    from engine.spatial.jacobian import jacobian_determinant

    axis = context.plane.normal
    first = min(context.index, displacement_vox.shape[1 + axis] - 2)
    slab = [slice(None)] * 4
    slab[1 + axis] = slice(first, first + 2)
    return context.plane.slice_of(jacobian_determinant(displacement_vox[tuple(slab)]), 0)


def colored(determinant: HuArray) -> Pixels:
    """Blue below 1, orange above, stronger with the distance from it; magenta at or below zero."""
    strength = np.clip((determinant - 1) / _FULL_COLOR_AT, -1, 1)[..., None]
    pixels = np.empty((*determinant.shape, 4), dtype=np.uint8)
    pixels[..., :3] = np.where(strength < 0, _SHRINKS, _EXPANDS)
    pixels[..., 3:] = np.abs(strength) * _STRONGEST_ALPHA
    pixels[determinant <= 0] = _FOLDED
    return pixels
