"""What is drawn over each other in a pane, as pixels and lines made when they are needed. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from app.viewer.comparisons import COMPARED, compared, glass, split_at_mm
from app.viewer.cuts import Made
from app.viewer.pictures import Pictures
from app.viewer.planes import Plane, section_of
from app.viewer.view_state import ComparisonName, ImageName, ViewState, WindowHu
from engine.shapes import HuArray, MaskArray
from engine.volume import PADDING_HU

Pixels = NDArray[np.generic]
RGB = tuple[int, int, int]

ABOVE_RGB: RGB = (255, 150, 30)
BELOW_RGB: RGB = (60, 130, 255)
"""Orange and blue: told apart by the colour-blind too."""

BLACK_RGB: RGB = (0, 0, 0)
WHITE_RGB: RGB = (255, 255, 255)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One picture drawn in a pane. Equal keys mean equal pixels.

    `draw` is called when the pixels are needed: (rows, columns) in HU with `levels`, (rows, columns) uint8 gray,
    (rows, columns, 4) uint8 RGBA, (rows, columns) uint32 ARGB premultiplied, (rows, columns) of bool, true where there
    is the one colour `argb`, or `None` where there is nothing to see. `sketch`: of every few rows and columns, where
    that is faster than to draw all of them.
    `shift_voxels` moves them to the lower right, for values that lie between voxels. Not `smooth`: voxels keep their
    edges, which paints faster.
    """

    key: tuple[object, ...]
    draw: Callable[[], Pixels | None]
    levels: WindowHu | None = None
    opacity: float = 1.0
    shift_voxels: float = 0.0
    smooth: bool = True
    argb: int = 0
    sketch: Callable[[tuple[int, int]], Pixels | None] | None = None

    def pixels(self, every: tuple[int, int]) -> Pixels | None:
        """Of every few rows and columns."""
        if self.sketch is not None and every != (1, 1):
            return self.sketch(every)
        drawn = self.draw()
        return None if drawn is None else drawn[:: every[0], :: every[1]]


@dataclass(frozen=True, slots=True, eq=False)
class Stroke:
    """Lines of one colour: (N, 2) places (across, down) in mm, each joined to the next where `joined` (N,) is true."""

    rgb: RGB
    places_mm: NDArray[np.float64]
    joined: MaskArray
    dashed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Strokes:
    """Lines drawn over a pane. Equal keys mean equal lines; `draw` is called when they are needed.

    `sketch`: the same from every second pixel, where that saves time, for slices that follow each other fast; what is
    one pixel thin may be missing.
    """

    key: tuple[object, ...]
    draw: Callable[[], tuple[Stroke, ...]]
    sketch: Callable[[], tuple[Stroke, ...]] | None = None


@dataclass(frozen=True, slots=True)
class ColorBar:
    """What colours mean: their stops from the lowest value to the highest, and the values at even steps."""

    title: str
    stops: tuple[RGB, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class SliceContext:
    """What an overlay may draw from."""

    pictures: Pictures
    view: ViewState
    plane: Plane
    image: ImageName

    @cached_property
    def index(self) -> float:
        return self.plane.index(self.view)

    @property
    def comparison(self) -> ComparisonName | None:
        """The comparison that this image is shown in."""
        return self.view.comparison if self.image in COMPARED else None

    @property
    def shows_field(self) -> bool:
        """Whether the image is where a displacement says something about it."""
        return self.image in ("warped", "difference") and self.pictures.displacement_vox is not None

    def body(self) -> MaskArray | None:
        """(rows, columns): the patient, if it is known where that is."""
        return self.pictures.body_slice_of(self.plane, self.index)

    def moved_mm(self, axis: int, part: tuple[slice, ...] = ()) -> HuArray:
        """(rows, columns) displacement along an axis of the plane's grid (0 z, 1 y, 2 x) in mm, or part of it."""
        weights = self.plane.mm_a_voxel[axis]
        first, *rest = (
            self.pictures.displacement_slice_of(own, self.plane, self.index)[part] * weights[own]
            for own in np.flatnonzero(weights)
        )
        total: HuArray = sum(rest, first)
        return total

    def in_plane_mm(self, part: tuple[slice, ...] = ()) -> tuple[HuArray, HuArray]:
        """(rows, columns) displacement across and down this slice in mm, or part of it."""
        return self.moved_mm(self.plane.column, part), self.moved_mm(self.plane.row, part)

    def every(self, rows: int, columns: int) -> tuple[SliceContext, tuple[slice, ...], tuple[int, int]]:
        """What makes every few rows and columns, from the middle of the first few, cheapest.

        A context, the part of its slices to take, and the first row and column.
        """
        plane = self.plane
        counts = plane.shape_zyx[plane.row], plane.shape_zyx[plane.column]
        row, column = (min(step // 2, (n - 1) // 2) for step, n in zip((rows, columns), counts, strict=True))
        if plane.is_sampled:
            return replace(self, plane=plane.thinned((rows, columns), (row, column))), (), (row, column)
        return self, (slice(row, None, rows), slice(column, None, columns)), (row, column)

    def key(self, *parts: object) -> tuple[object, ...]:
        return (*parts, self.pictures.version_of(self.image), self.plane, self.index)

    def slice_of(self, image: ImageName) -> HuArray | None:
        return self.pictures.slice_of(image, self.plane, self.index)

    def once(self, key: tuple[object, ...], make: Callable[[], Made]) -> Made:
        """The same object for all panes that show it."""
        return self.pictures.once(key, self.plane, make)

    @property
    def source(self) -> ImageName:
        """The image whose voxels are seen: the difference says nothing where the warped image does not."""
        return "warped" if self.image == "difference" else self.image

    def invalid(self) -> MaskArray:
        """(rows, columns): where the image that is shown says nothing."""
        return self.once(self.key(f"invalid {self.source}"), self._invalid)

    def _invalid(self) -> MaskArray:
        invalid: MaskArray = ~self.pictures.valid_slice_of(self.plane, self.index)
        seen = self.slice_of(self.source)
        if seen is not None and self.image != "fixed":
            invalid |= seen <= PADDING_HU
        return invalid


def base_layer(context: SliceContext) -> Layer | None:
    image, levels = context.image, context.view.window_of(context.image)
    if context.pictures.volume("warped" if image == "difference" else image) is None:
        return None
    if context.comparison is not None:
        return Layer(_comparison_key(context, levels), partial(compared, context))
    if image != "difference":
        return Layer(context.key(image), partial(_shown_slice, context), levels)
    if context.view.signed_colors:
        return Layer(context.key(image, levels), lambda: signed_colors(difference(context), levels))
    return Layer(context.key(image), partial(_gray_difference, context), levels)


def _comparison_key(context: SliceContext, levels: WindowHu) -> tuple[object, ...]:
    view = context.view
    parts: dict[ComparisonName, tuple[object, ...]] = {
        "blend": (view.blend,),
        "checkerboard": (context.plane.cursor(view), max(view.zoom, 1.0)),
        "split": (split_at_mm(context),),
        "spyglass": (glass(context),),
    }
    assert view.comparison is not None
    return context.key(context.image, view.comparison, levels, *parts.get(view.comparison, ()))


def signed_colors(values: HuArray, window: WindowHu) -> NDArray[np.uint32]:
    """(rows, columns) 0xAARRGGBB: black in the middle of a window, orange above it, blue below."""
    low, high = window
    share = np.clip((values - np.float32((low + high) / 2)) * np.float32(2 / (high - low)), -1, 1)
    colors = np.full(values.shape, 0xFF000000, dtype=np.uint32)
    for shift, above, below in zip((16, 8, 0), ABOVE_RGB, BELOW_RGB, strict=True):
        full = np.where(share > 0, np.float32(above), np.float32(-below))
        colors |= (share * full).astype(np.uint32) << np.uint32(shift)
    return colors


def _shown_slice(context: SliceContext) -> HuArray | None:
    return context.slice_of(context.image)


def difference(context: SliceContext) -> HuArray:
    """(rows, columns) fixed minus warped in HU, zero where either says nothing."""
    result: HuArray = context.slice_of("fixed") - context.slice_of("warped")
    np.copyto(result, 0, where=context.invalid())
    return result


def _gray_difference(context: SliceContext) -> HuArray:
    """The difference, black beyond the voxels of the image."""
    result = difference(context)
    if context.plane.is_sampled:
        np.copyto(result, np.float32(PADDING_HU), where=~section_of(context.plane, context.index).seen)
    return result
