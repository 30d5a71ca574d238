"""A tint over what is kept rigid and over where nothing corresponds."""

from __future__ import annotations

import numpy as np

from app.viewer.boxes import EXCLUDED_RGB, RIGID_RGB
from app.viewer.layers import Layer, Pixels, SliceContext
from engine.shapes import MaskArray

_ALPHA = 70


def layer(context: SliceContext) -> Layer | None:
    """Both masks on the images of the fixed grid; the aligned moving image is not yet where they are."""
    pictures = context.pictures
    if context.image == "moving" or (pictures.rigid is None and pictures.excluded is None):
        return None
    return Layer(context.key("masks"), lambda: _tinted(context), smooth=False)


def _tinted(context: SliceContext) -> Pixels:
    """(rows, columns, 4) uint8; what is excluded lies over what is rigid."""
    pictures, plane = context.pictures, context.plane
    masks = ((pictures.rigid, RIGID_RGB), (pictures.excluded, EXCLUDED_RGB))
    slices = [(plane.slice_of(mask, context.index), color) for mask, color in masks if mask is not None]
    return tinted(slices)


def tinted(masks: list[tuple[MaskArray, tuple[int, int, int]]]) -> Pixels:
    """(rows, columns, 4) uint8: each mask (rows, columns) in its colour, later ones over earlier ones."""
    pixels = np.zeros((*masks[0][0].shape, 4), dtype=np.uint8)
    for mask, color in masks:
        pixels[mask] = (*color, _ALPHA)
    return pixels
