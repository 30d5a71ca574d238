"""Local change of volume, with folding in a warning colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.texts import tr
from app.viewer.layers import ABOVE_RGB, BELOW_RGB, ColorBar, Layer, Pixels, SliceContext
from app.viewer.planes import section_of
from engine.shapes import DisplacementArray, HuArray

_FOLDED = (255, 0, 220, 255)
_FULL_COLOR_AT = 0.8
_STRONGEST_ALPHA = 160


def _table() -> NDArray[np.uint32]:
    """RGBA in one number: blue from the strongest to none, orange from none to the strongest, folded."""
    steps = np.arange(-_STRONGEST_ALPHA, _STRONGEST_ALPHA + 1)
    colors = np.empty((steps.size + 1, 4), np.uint8)
    colors[:-1, :3] = np.where(steps[:, np.newaxis] < 0, BELOW_RGB, ABOVE_RGB)
    colors[:-1, 3] = np.abs(steps)
    colors[-1] = _FOLDED
    return colors.view(np.uint32).ravel()


_COLORS = _table()


def layer(context: SliceContext) -> Layer:
    """The determinant of the cells in front of the slice, half a voxel to the lower right of it.

    Where slices are sampled: of the cell that each pixel lies in.
    """
    shift_voxels = 0.0 if context.plane.is_sampled else 0.5
    key = context.key("jacobian")
    return Layer(key, lambda: context.once(key, lambda: _in_body(context)), shift_voxels=shift_voxels)


def bar(_context: SliceContext) -> ColorBar:
    """What the colours mean."""
    labels = (f"{1 - _FULL_COLOR_AT:g}", "1", f"{1 + _FULL_COLOR_AT:g}")
    return ColorBar(tr("Jacobian (magenta: folded)"), (BELOW_RGB, (60, 60, 60), ABOVE_RGB), labels)


def _in_body(context: SliceContext) -> Pixels:
    displacement, body = context.pictures.displacement_vox, context.body()
    assert displacement is not None
    determinant = cells(displacement, context)
    if body is not None:
        rows, columns = determinant.shape
        np.copyto(determinant, 1.0, where=~body[:rows, :columns])
    return colored(determinant)


def cells(displacement_vox: DisplacementArray, context: SliceContext) -> HuArray:
    """Determinants between this slice and the next, (rows − 1, columns − 1); (rows, columns) where it is sampled."""
    from engine.spatial.jacobian import jacobian_determinant
    from engine.spatial.oblique import determinants

    if context.plane.is_sampled:
        return determinants(section_of(context.plane, context.index), displacement_vox)
    axis = context.plane.normal
    first = min(int(context.index), displacement_vox.shape[1 + axis] - 2)
    slab = [slice(None)] * 4
    slab[1 + axis] = slice(first, first + 2)
    return context.plane.slice_of(jacobian_determinant(displacement_vox[tuple(slab)]), 0)


def colored(determinant: HuArray) -> NDArray[np.uint8]:
    """Blue below 1, orange above, stronger with the distance from it; magenta at or below zero."""
    steps = (determinant - 1) * np.float32(_STRONGEST_ALPHA / _FULL_COLOR_AT)
    np.clip(steps, -_STRONGEST_ALPHA, _STRONGEST_ALPHA, out=steps)
    numbers = (steps + np.float32(_STRONGEST_ALPHA + 0.5)).astype(np.intp)
    numbers[determinant <= 0] = -1
    return _COLORS.take(numbers, mode="wrap").view(np.uint8).reshape(*determinant.shape, 4)
