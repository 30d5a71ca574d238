"""How the user looks at the case: one frozen value that every pane is drawn from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from app.texts import mark
from engine.shapes import HuArray, MaskArray

PlaneName = Literal["axial", "coronal", "sagittal"]
ImageName = Literal["fixed", "moving", "warped", "difference"]
LayoutName = Literal["compare", "orientations", "sheet", "single"]
QuantityName = Literal["length", "left", "back", "head", "change"]
ComparisonName = Literal["blend", "checkerboard", "split", "spyglass", "complementary", "edges"]
WindowHu = tuple[float, float]
Index = tuple[int, int, int]
Continuous = tuple[float, float, float]

PLANES: tuple[PlaneName, ...] = ("axial", "coronal", "sagittal")
PLANE_TEXTS: MappingProxyType[PlaneName, str] = MappingProxyType(
    {"axial": mark("Axial"), "coronal": mark("Coronal"), "sagittal": mark("Sagittal")}
)
IMAGES: MappingProxyType[ImageName, str] = MappingProxyType(
    {
        "fixed": mark("Fixed"),
        "moving": mark("Moving, aligned"),
        "warped": mark("Warped"),
        "difference": mark("Difference, fixed − warped"),
    }
)
IMAGES_IN_SHORT: MappingProxyType[ImageName, str] = MappingProxyType(
    {"fixed": mark("Fixed"), "moving": mark("Moving"), "warped": mark("Warped"), "difference": mark("Difference")}
)
LAYOUTS: MappingProxyType[LayoutName, str] = MappingProxyType(
    {
        "compare": mark("Four images"),
        "orientations": mark("Three orientations"),
        "sheet": mark("All twelve"),
        "single": mark("One pane"),
    }
)
WINDOWS: MappingProxyType[str, WindowHu] = MappingProxyType(
    {
        mark("Paper"): (-1000, 500),
        mark("Lung"): (-1350, 150),
        mark("Soft tissue"): (-160, 240),
        mark("Bone"): (-450, 1050),
    }
)
DIFFERENCE_WINDOW: WindowHu = (-500, 500)
ZOOM_LIMITS = (0.25, 40.0)
NARROWEST_WINDOW_HU = 10.0
_SAMPLED_PLANES = 64


@dataclass(frozen=True, slots=True)
class Slot:
    """What one pane is for."""

    plane: PlaneName
    image: ImageName


@dataclass(frozen=True, slots=True)
class ViewState:
    """Layout, cursor, zoom, windows and overlays. The cursor is a voxel (z, y, x) of the fixed image.

    `enlarged_from`: the layout that a single pane goes back to. `comparison`: how moving and warped image are shown
    together with the fixed one; `blend`: the share of the fixed one in a blend. `pointer_zyx`: where the hand is
    (voxels, continuous), for what follows it. `flickering`: the state before in place of the present one.
    `signed_colors`: of the difference. `quantity`: what of the displacement is in colours; `arrow_scale`: how much
    longer than the displacement its arrows are.
    `pan_zyx_mm`: the place in the middle of the panes, measured from the middle of the image along the grid axes.
    `other_state`: the number of the state of the case that the current one is held against.
    `along_patient`: slices at right angles to the patient's axes where the image's own are oblique; `exact_zyx`: a
    voxel, and the place (voxels, continuous) where the cursor is in such slices while it is at that voxel, the image's
    nearest one: where such slices show nothing, which they do beyond the image, it may be far from the place.
    `marking`: clicks set pairs of points; `started_mm`: the fixed point (x, y, z) that waits for its partner.
    """

    layout: LayoutName = "compare"
    plane: PlaneName = "axial"
    image: ImageName = "warped"
    cursor_zyx: Index = (0, 0, 0)
    zoom: float = 1.0
    pan_zyx_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    window_hu: WindowHu = WINDOWS["Paper"]
    difference_window_hu: WindowHu = DIFFERENCE_WINDOW
    enlarged_from: LayoutName = "compare"
    comparison: ComparisonName | None = None
    blend: float = 0.5
    pointer_zyx: Continuous | None = None
    flickering: bool = False
    signed_colors: bool = False
    quantity: QuantityName = "length"
    arrow_scale: float = 1.0
    overlays: frozenset[str] = frozenset({"invalid", "masks", "contours"})
    hidden_structures: frozenset[int] = frozenset()
    drawing_box: bool = False
    other_state: int | None = None
    along_patient: bool = False
    exact_zyx: tuple[Index, Continuous] | None = None
    marking: bool = False
    started_mm: tuple[float, float, float] | None = None

    def slots(self) -> tuple[Slot, ...]:
        """The panes of the layout, in reading order."""
        return slots_of(self.layout, self.plane, self.image)

    def arranged(self, layout: LayoutName) -> ViewState:
        """In another layout; a single pane remembers the one it comes from."""
        before = self.layout if layout == "single" and self.layout != "single" else self.enlarged_from
        return replace(self, layout=layout, enlarged_from=before)

    def enlarged(self, slot: Slot) -> ViewState:
        """One pane alone, or all of them again."""
        if self.layout == "single":
            return replace(self, layout=self.enlarged_from)
        return replace(self.arranged("single"), plane=slot.plane, image=slot.image)

    def compared(self, comparison: ComparisonName) -> ViewState:
        """With a comparison on, or off where it is on already."""
        return replace(self, comparison=None if self.comparison == comparison else comparison, pointer_zyx=None)

    def at(self, cursor_zyx: Iterable[float], shape_zyx: Index) -> ViewState:
        """With the cursor on the voxel of the image nearest to a place, and along the patient's axes at that place."""
        z, y, x = cursor_zyx
        at_z, at_y, at_x = (min(max(round(i), 0), n - 1) for i, n in zip((z, y, x), shape_zyx, strict=True))
        voxel = at_z, at_y, at_x
        exact = (voxel, (float(z), float(y), float(x))) if self.along_patient else None
        return replace(self, cursor_zyx=voxel, exact_zyx=exact)

    @property
    def place_zyx(self) -> Continuous:
        """The cursor as panes show it: a voxel, or in slices along the patient's axes the place of `exact_zyx`."""
        known = self.exact_zyx
        return known[1] if self.along_patient and known is not None and known[0] == self.cursor_zyx else self.cursor_zyx

    def zoomed(self, factor: float) -> ViewState:
        low, high = ZOOM_LIMITS
        return replace(self, zoom=min(max(self.zoom * factor, low), high))

    def toggled(self, overlay: str) -> ViewState:
        return replace(self, overlays=self.overlays ^ {overlay})

    @property
    def prompted(self) -> tuple[ImageName, ...]:
        """The images in which the next click sets a point."""
        if not self.marking:
            return ()
        return ("fixed", "warped") if self.started_mm is None else ("moving",)

    def window_of(self, image: ImageName) -> WindowHu:
        return self.difference_window_hu if image == "difference" else self.window_hu

    def with_window(self, image: ImageName, window_hu: WindowHu) -> ViewState:
        """With another window for the images, or for the difference where `image` is that."""
        if image == "difference":
            return replace(self, difference_window_hu=window_hu)
        return replace(self, window_hu=window_hu)


def slots_of(layout: LayoutName, plane: PlaneName, image: ImageName) -> tuple[Slot, ...]:
    """The panes of a layout, in reading order; `plane` and `image` are those of the layouts that show one."""
    if layout == "compare":
        return tuple(Slot(plane, name) for name in IMAGES)
    if layout == "orientations":
        return tuple(Slot(name, image) for name in PLANES)
    if layout == "sheet":
        return tuple(Slot(row, column) for row in PLANES for column in IMAGES)
    return (Slot(plane, image),)


def windows_of_values(hu: HuArray, valid: MaskArray) -> dict[str, WindowHu]:
    """For an image on a scale of its own: its values but for half a percent at either end, and ± half of that."""
    sampled = tuple(slice(None, None, max(1, n // _SAMPLED_PLANES)) for n in hu.shape)
    low, high = (float(value) for value in np.percentile(hu[sampled][valid[sampled]], (0.5, 99.5)))
    width = max(high - low, NARROWEST_WINDOW_HU)
    return {"window_hu": (low, low + width), "difference_window_hu": (-width / 2, width / 2)}


def dragged_window(window_hu: WindowHu, wider_hu: float, higher_hu: float) -> WindowHu:
    """A window after a drag: wider or narrower round its level, and its level moved."""
    low, high = window_hu
    level = (low + high) / 2 + higher_hu
    width = max(high - low + wider_hu, NARROWEST_WINDOW_HU)
    return level - width / 2, level + width / 2
