"""Hatching over what a scanner did not see."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from app.viewer.planes import section_of
from app.viewer.slicing import Layer, Pixels, SliceContext
from engine.shapes import MaskArray

_STRIPE = np.uint32(0x5A192A35)
"""ARGB (90, 70, 120, 150), its colours multiplied by its opacity as Qt paints them."""

_PERIOD = 8


def layer(context: SliceContext) -> Layer:
    """Diagonal stripes where the shown image says nothing; none beyond the voxels that it has."""
    return Layer(context.key("invalid", context.image), lambda: hatched(_told(context)), smooth=False)


def _told(context: SliceContext) -> MaskArray:
    invalid = context.invalid()
    return invalid & section_of(context.plane, context.index).seen if context.plane.is_sampled else invalid


def hatched(mask: MaskArray) -> Pixels | None:
    """(rows, columns) uint32, ARGB premultiplied: stripes in the mask; nothing for an empty one."""
    if not mask.any():
        return None
    pixels = np.zeros(mask.shape, dtype=np.uint32)
    np.copyto(pixels, _STRIPE, where=mask & _stripes(*mask.shape))
    return pixels


@lru_cache(maxsize=8)
def _stripes(rows: int, columns: int) -> MaskArray:
    row, column = np.ogrid[:rows, :columns]
    stripes: MaskArray = (row + column) % _PERIOD < 2
    return stripes
