"""Hatching over what a scanner did not see."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from app.viewer.layers import Layer, SliceContext
from app.viewer.planes import section_of
from engine.shapes import MaskArray

_STRIPE_ARGB = 0x5A467896
_PERIOD = 8


def layer(context: SliceContext) -> Layer:
    """Diagonal stripes where the shown image says nothing; none beyond the voxels that it has."""
    key = context.key("invalid", context.source)
    shared = context.key(f"hatched {context.source}")

    def draw() -> MaskArray | None:
        return context.once(shared, lambda: hatched(_told(context), context.plane.every))

    return Layer(key, draw, smooth=False, argb=_STRIPE_ARGB)


def _told(context: SliceContext) -> MaskArray:
    invalid = context.invalid()
    return invalid & section_of(context.plane, context.index).seen if context.plane.is_sampled else invalid


def hatched(mask: MaskArray, every: tuple[int, int] = (1, 1)) -> MaskArray | None:
    """(rows, columns): the stripes in a mask of every few pixels; nothing for an empty one."""
    return mask & _stripes(*mask.shape, *every) if mask.any() else None


@lru_cache(maxsize=8)
def _stripes(rows: int, columns: int, every_row: int, every_column: int) -> MaskArray:
    row, column = np.ogrid[:rows, :columns]
    stripes: MaskArray = (row * every_row + column * every_column) % _PERIOD < 2
    return stripes
