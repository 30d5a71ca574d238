"""Length of the displacement in mm."""

from __future__ import annotations

import numpy as np

from app.viewer.slicing import Layer, Pixels, SliceContext
from engine.shapes import DisplacementArray, HuArray

_LONGEST_MM = 20.0
_ALPHA = 150
_STOPS = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=np.float32)
"""Five colours of the perceptually uniform map `inferno`."""


def layer(context: SliceContext) -> Layer | None:
    """A wash of colour over the warped image and the difference."""
    displacement = context.pictures.displacement_vox
    if displacement is None or context.image not in ("warped", "difference"):
        return None
    return Layer(context.key("magnitude"), lambda: colored(length_mm(displacement, context)))


def length_mm(displacement_vox: DisplacementArray, context: SliceContext) -> HuArray:
    """(rows, columns) length of the displacement of one slice."""
    components = [
        context.plane.slice_of(component, context.index) * np.float32(spacing)
        for component, spacing in zip(displacement_vox, context.plane.spacing_zyx_mm, strict=True)
    ]
    result: HuArray = np.sqrt(sum(np.square(component) for component in components))
    return result


def colored(length: HuArray) -> Pixels:
    """(rows, columns, 4) uint8."""
    place = np.clip(length / _LONGEST_MM, 0, 1) * (len(_STOPS) - 1)
    pixels = np.empty((*length.shape, 4), dtype=np.uint8)
    for channel in range(3):
        pixels[..., channel] = np.interp(place, np.arange(len(_STOPS)), _STOPS[:, channel])
    pixels[..., 3] = _ALPHA
    return pixels
