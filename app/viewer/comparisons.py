"""Ways to show the fixed image together with another one in one picture. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.viewer.view_state import ComparisonName, ImageName, WindowHu
from engine.shapes import HuArray

if TYPE_CHECKING:
    from app.viewer.layers import SliceContext

Gray = NDArray[np.uint8]
Colors = NDArray[np.uint32]
"""(rows, columns) 0xAARRGGBB."""

COMPARED: tuple[ImageName, ...] = ("moving", "warped")
"""The images that comparisons are drawn in."""

CELLS_ACROSS = 9
GLASS_SHARE = 0.14
"""Radius of the spyglass as a share of the longer side of what is shown."""

_EDGE_RGB = 0xFFFF8C28
_EDGE_GRAY = 22.0
"""Least slope of the windowed, smoothed image, gray values a pixel, that counts as an edge."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row of `COMPARISONS`. `draw`: from the gray values of fixed and other image to pixels."""

    text: str
    tooltip: str
    key: str
    draw: Callable[[SliceContext, Gray, Gray], Gray | Colors]
    follows_pointer: bool = False


def gray(hu: HuArray, window_hu: WindowHu) -> Gray:
    """(rows, columns) 0 to 255 through a window."""
    low, high = window_hu
    scaled = np.multiply(hu, np.float32(255 / (high - low)), order="C")
    scaled += np.float32(-255 * low / (high - low))
    result = np.empty(scaled.shape, dtype=np.uint8)
    np.clip(scaled, 0, 255, out=result, casting="unsafe")
    return result


def compared(context: SliceContext) -> Gray | Colors:
    """The slice of the context's image together with the fixed one, as its view says."""
    assert context.view.comparison is not None
    window = context.view.window_of("fixed")
    fixed, other = (gray(context.slice_of(image), window) for image in ("fixed", context.image))
    return COMPARISONS[context.view.comparison].draw(context, fixed, other)


def glass(context: SliceContext) -> tuple[float, float, float] | None:
    """Place (across, down) and radius of the spyglass in mm, if the hand is over the images."""
    pointer = context.view.pointer_zyx
    if pointer is None:
        return None
    across, down = context.plane.place(pointer)
    return across, down, GLASS_SHARE * max(context.plane.extent_mm) / context.view.zoom


def split_at_mm(context: SliceContext) -> float:
    """Where the two halves meet, mm across: at the hand, or at the cursor."""
    pointer = context.view.pointer_zyx
    return context.plane.place(context.plane.cursor(context.view) if pointer is None else pointer)[0]


def _blend(context: SliceContext, fixed: Gray, other: Gray) -> Gray:
    share = np.uint16(round(256 * context.view.blend))
    mixed: Gray = ((fixed * share + other * np.uint16(256 - share)) >> 8).astype(np.uint8)
    return mixed


def _checkerboard(context: SliceContext, fixed: Gray, other: Gray) -> Gray:
    """Squares of the same size in mm, anchored to the cursor, smaller on the patient the nearer one looks."""
    plane = context.plane
    side_mm = max(plane.extent_mm) / (CELLS_ACROSS * max(context.view.zoom, 1.0))
    anchor = plane.place(plane.cursor(context.view))
    row, column = (
        np.floor((np.arange(count) * spacing - middle) / side_mm + 0.5).astype(int)
        for count, spacing, middle in zip(fixed.shape, plane.spacing_mm[::-1], anchor[::-1], strict=True)
    )
    return np.where((row[:, None] + column) % 2 == 0, fixed, other)


def _split(context: SliceContext, fixed: Gray, other: Gray) -> Gray:
    """Fixed on the left of the screen."""
    place = np.arange(fixed.shape[1]) * context.plane.spacing_mm[0]
    left = place > split_at_mm(context) if context.plane.flip_across else place < split_at_mm(context)
    return np.where(left, fixed, other)


def _spyglass(context: SliceContext, fixed: Gray, other: Gray) -> Gray:
    """The fixed image inside a circle under the hand."""
    at = glass(context)
    if at is None:
        return other
    across, down, radius = at
    row, column = (
        (np.arange(count) * spacing - middle) ** 2
        for count, spacing, middle in zip(fixed.shape, context.plane.spacing_mm[::-1], (down, across), strict=True)
    )
    return np.where(row[:, None] + column < radius**2, fixed, other)


def _complementary(_context: SliceContext, fixed: Gray, other: Gray) -> Colors:
    """Fixed in red, the other in cyan; gray where they agree."""
    cyan = other.astype(np.uint32) * np.uint32(0x000101)
    colors: Colors = (fixed.astype(np.uint32) << 16) | cyan | np.uint32(0xFF000000)
    return colors


def _edges(_context: SliceContext, fixed: Gray, other: Gray) -> Colors:
    """Edges of the fixed image over the other one."""
    colors: Colors = other.astype(np.uint32) * np.uint32(0x010101) | np.uint32(0xFF000000)
    colors[_edge_pixels(fixed)] = _EDGE_RGB
    return colors


def _edge_pixels(image: Gray) -> NDArray[np.bool_]:
    """Where the slope of the smoothed image is steep and steepest across the edge (Canny's first two steps)."""
    if min(image.shape) < 2:
        return np.zeros(image.shape, dtype=bool)
    smooth = _smoothed(image.astype(np.float32))
    slope_row, slope_column = np.gradient(smooth)
    slope = np.hypot(slope_row, slope_column)
    upright = np.abs(slope_column) >= np.abs(slope_row)
    steepest = np.zeros(image.shape, dtype=bool)
    inner = slope[1:-1, 1:-1]
    across = (inner >= slope[1:-1, :-2]) & (inner > slope[1:-1, 2:])
    along = (inner >= slope[:-2, 1:-1]) & (inner > slope[2:, 1:-1])
    steepest[1:-1, 1:-1] = np.where(upright[1:-1, 1:-1], across, along) & (inner > _EDGE_GRAY)
    return steepest


def _smoothed(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Binomial weights 1 2 1 along both axes."""
    for axis in (0, 1):
        padded = np.pad(image, [(1, 1) if i == axis else (0, 0) for i in (0, 1)], mode="edge")
        before, after = (np.take(padded, range(k, k + image.shape[axis]), axis=axis) for k in (0, 2))
        image = (before + after + 2 * image) / np.float32(4)
    return image


COMPARISONS: MappingProxyType[ComparisonName, Comparison] = MappingProxyType(
    {
        "blend": Comparison(
            "Blend", "Fade between the fixed image and the other; the slider sets the share", "X", _blend
        ),
        "checkerboard": Comparison(
            "Checkerboard", "Squares of the fixed image and the other in turn", "H", _checkerboard
        ),
        "split": Comparison(
            "Split", "The fixed image left of the pointer, the other right of it", "V", _split, follows_pointer=True
        ),
        "spyglass": Comparison(
            "Spyglass", "The fixed image in a circle round the pointer", "Q", _spyglass, follows_pointer=True
        ),
        "complementary": Comparison(
            "Two colours", "Fixed in red, the other in cyan: gray where they agree", "Y", _complementary
        ),
        "edges": Comparison("Edges", "Edges of the fixed image over the other", "E", _edges),
    }
)
"""One row for each comparison, in the order of the menu."""
