"""What each pane shows, decided without Qt: `resolve` turns pictures and view into a `PaneState`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.texts import mark, tr
from app.viewer.box_outlines import Outline, outline
from app.viewer.comparisons import COMPARED, COMPARISONS, compared, glass, split_at_mm
from app.viewer.contours import Labels
from app.viewer.marks import Mark, Pairs
from app.viewer.patched import Patched
from app.viewer.planes import How, Plane, letters, plane_of, section_of, value_at
from app.viewer.view_state import (
    IMAGES,
    PLANE_TEXTS,
    ComparisonName,
    Continuous,
    ImageName,
    Index,
    Slot,
    ViewState,
    WindowHu,
)
from engine.geometry import Geometry
from engine.regions import NamedBox
from engine.roi import Box
from engine.shapes import DisplacementArray, HuArray, LabelArray, MaskArray
from engine.volume import PADDING_HU

if TYPE_CHECKING:
    from app.viewer.overlays import Overlay
    from engine.spatial.live_field import LiveField
    from engine.spatial.section import CarriedLabels, MovedImage

_LAST_AXIS = 2
_MOST_VOXELS = 2**20
"""Of a box: as many are compared in some ten milliseconds."""

_SLAB = 16
"""Columns of 4 bytes in a line of the processor's cache."""

_SLABS = ("fixed", "moving", "warped", "u0", "u1", "u2", "body", "valid", "labels")

Made = TypeVar("Made")
Pixels = NDArray[np.generic]
RGB = tuple[int, int, int]

ABOVE_RGB: RGB = (255, 150, 30)
BELOW_RGB: RGB = (60, 130, 255)
"""Orange and blue: told apart by the colour-blind too."""

BLACK_RGB: RGB = (0, 0, 0)
WHITE_RGB: RGB = (255, 255, 255)


_CUT = ("fixed_hu", "fixed_valid", "moving_hu", "warped_hu", "displacement_vox", "body")
_MADE_OF: dict[ImageName, tuple[str, ...]] = {
    "fixed": ("fixed_hu", "fixed_valid", "rigid", "excluded", "body"),
    "moving": ("fixed_hu", "fixed_valid", "moving_hu"),
}
"""What the panes of images show that stay while a step runs."""

_RING = 0.85
"""Of the extent of an image."""


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """Some of a volume, and where it is from."""

    source: object
    at: object
    values: Any


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Everything that can be drawn, on the fixed grid. What is not computed yet is `None`.

    `other_warped_hu`, `other_displacement_vox`, `other_name`: of the state that `ViewState.other_state` names.
    `unrefined_warped_hu`: the warped image before the first refinement. `body`: the patient in the fixed image.
    `version` grows whenever a value changes, also in place during a live preview. `stale`: the warped image is still
    that of the state before. `is_draft`: the moving image is being aligned by hand. `live_iteration`: the iteration of
    a running step whose warped image and displacement these are.
    """

    geometry: Geometry
    fixed_hu: HuArray
    fixed_valid: MaskArray
    moving_hu: HuArray | MovedImage | None = None
    warped_hu: HuArray | MovedImage | Patched | None = None
    displacement_vox: DisplacementArray | LiveField | None = field(default=None, repr=False)
    rigid: MaskArray | None = field(default=None, repr=False)
    excluded: MaskArray | None = field(default=None, repr=False)
    body: MaskArray | None = field(default=None, repr=False)
    other_warped_hu: HuArray | None = field(default=None, repr=False)
    other_displacement_vox: DisplacementArray | None = field(default=None, repr=False)
    other_name: str = ""
    labels: Labels = field(default_factory=Labels, repr=False)
    unrefined_warped_hu: HuArray | None = field(default=None, repr=False)
    version: int = 0
    stale: bool = False
    is_draft: bool = False
    live_iteration: int | None = None
    _made: dict[tuple[object, str], tuple[tuple[object, ...], Any]] = field(
        default_factory=dict, init=False, repr=False
    )
    _slices: dict[tuple[str, str], _Cut] = field(default_factory=dict, init=False, repr=False)
    _versions: dict[ImageName, int] = field(default_factory=dict, init=False, repr=False)
    _before: list[Pictures] = field(default_factory=list, init=False, repr=False)

    def take_over(self, before: Pictures) -> None:
        """Keep what was cut from volumes that both have, and the versions of images in which nothing has changed."""
        kept = {id(getattr(self, name)) for name in _CUT}
        self._slices.update({name: cut for name, cut in before._slices.items() if id(cut.source) in kept})
        for image, parts in _MADE_OF.items():
            if all(getattr(self, part) is getattr(before, part) for part in parts):
                self._versions[image] = before.version_of(image)

    def version_of(self, image: ImageName) -> int:
        """Grows whenever something changes that the pane of an image shows, contours and lines aside."""
        return self._versions.get(image, self.version)

    def volume(self, image: ImageName) -> HuArray | MovedImage | Patched | None:
        """The voxels behind an image; the difference has none of its own."""
        return {"fixed": self.fixed_hu, "moving": self.moving_hu, "warped": self.warped_hu}.get(image)

    def slice_of(self, image: ImageName, plane: Plane, index: float) -> HuArray | None:
        """(rows, columns) of an image; the last one of each plane is remembered, since several layers need it."""
        volume = self.volume(image)
        name = "moving" if volume is self.moving_hu else image
        return None if volume is None else self._remembered(name, volume, plane, index, "hu")

    def displacement_slice_of(self, axis: int, plane: Plane, index: float) -> HuArray:
        """(rows, columns) of one component of u, in voxels."""
        assert self.displacement_vox is not None
        u = self.displacement_vox
        component: HuArray = self._remembered(f"u{axis}", u, plane, index, "linear", lambda: u[axis])
        return component

    def body_slice_of(self, plane: Plane, index: float) -> MaskArray | None:
        """(rows, columns): the patient, if it is known where that is."""
        return None if self.body is None else self._remembered("body", self.body, plane, index, "nearest")

    def valid_slice_of(self, plane: Plane, index: float) -> MaskArray:
        """(rows, columns): where the fixed image says something."""
        return self._remembered("valid", self.fixed_valid, plane, index, "wholly")

    def labels_slice_of(self, labels: LabelArray | CarriedLabels, plane: Plane, index: float) -> LabelArray:
        """(rows, columns) of labels, carried ones by the slices of u that are drawn from as well."""
        if isinstance(labels, np.ndarray):
            return self._remembered("labels", labels, plane, index, "nearest")
        u = self.displacement_vox
        if plane.is_sampled or u is None or labels.displacement_vox is not u:
            return plane.slice_of(labels, index)
        moved = (self.displacement_slice_of(axis, plane, index) for axis in range(3))
        is_turned = plane.row > plane.column
        carried = labels.cut(plane.part(int(index)), [along.T if is_turned else along for along in moved])
        return carried.T if is_turned else carried

    def _remembered(
        self, name: str, source: Any, plane: Plane, index: float, how: How, part: Callable[[], Any] | None = None
    ) -> Any:
        key = name, plane.name
        known = self._slices.get(key)
        if known is None or known.source is not source or known.at != (plane, index):
            volume, at = source if part is None else part(), index
            if plane.normal == _LAST_AXIS and isinstance(volume, (np.ndarray, Patched)) and not plane.is_sampled:
                volume, at = self._slab(name, source, volume, int(index))
            values = np.ascontiguousarray(plane.slice_of(volume, at, how))
            known = self._slices[key] = _Cut(source, (plane, index), values)
        return known.values

    def _slab(self, name: str, source: Any, volume: Any, index: int) -> tuple[Any, int]:
        """Some columns of a volume and the place of one among them: each alone takes as long to gather as all of them.

        Slabs of different volumes end at different columns, so that no slice has to wait for all.
        """
        shift = _SLABS.index(name)
        first = (index + shift) // _SLAB * _SLAB - shift
        key = name, "slab"
        known = self._slices.get(key)
        if known is None or known.source is not source or known.at != first:
            values = volume[:, :, max(first, 0) : first + _SLAB].copy()
            known = self._slices[key] = _Cut(source, first, values)
        return known.values, index - max(first, 0)

    def once(self, key: tuple[object, ...], plane: Plane, make: Callable[[], Made]) -> Made:
        """What is made from a slice, kept until something else by its name (the first of the key) is on that plane."""
        known = self._made.get((key[0], plane.name))
        if known is None or known[0] != key:
            known = self._made[key[0], plane.name] = key, make()
        made: Made = known[1]
        return made

    def before(self) -> Pictures:
        """With the state to compare with in place of the present one, or the alignment alone where none is chosen."""
        if not self._before:
            other = self.other_warped_hu is not None
            self._before.append(
                replace(
                    self,
                    warped_hu=self.other_warped_hu if other else self.moving_hu,
                    displacement_vox=self.other_displacement_vox if other else None,
                    labels=replace(self.labels, warped=None if other else self.labels.aligned),
                    version=-self.version - 1,
                    live_iteration=None,
                )
            )
        return self._before[0]

    def middle_zyx(self) -> Index:
        z, y, x = self.geometry.shape_zyx
        return z // 2, y // 2, x // 2


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One picture drawn in a pane. Equal keys mean equal pixels.

    `draw` is called when the pixels are needed: (rows, columns) in HU with `levels`, (rows, columns) uint8 gray,
    (rows, columns, 4) uint8 RGBA, (rows, columns) uint32 ARGB premultiplied, (rows, columns) of bool, true where there
    is the one colour `argb`, or `None` where there is nothing to see.
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


@dataclass(frozen=True, slots=True, eq=False)
class Stroke:
    """Lines of one colour: (N, 2) places (across, down) in mm, each joined to the next where `joined` (N,) is true."""

    rgb: RGB
    places_mm: NDArray[np.float64]
    joined: MaskArray
    dashed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Strokes:
    """Lines drawn over a pane. Equal keys mean equal lines; `draw` is called when they are needed."""

    key: tuple[object, ...]
    draw: Callable[[], tuple[Stroke, ...]]


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


@dataclass(frozen=True, slots=True, eq=False)
class PaneState:
    """All that a pane needs in order to draw itself. Places are (across, down) in mm on the plane."""

    title: str
    slot: Slot
    hint: str = ""
    plane: Plane | None = None
    layers: tuple[Layer, ...] = ()
    outlines: tuple[Outline, ...] = ()
    cursor_mm: tuple[float, float] = (0.0, 0.0)
    middle_mm: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0
    place_text: str = ""
    window_text: str = ""
    marks: tuple[Mark, ...] = ()
    prompt: str = ""
    strokes: tuple[Strokes, ...] = ()
    bars: tuple[ColorBar, ...] = ()
    split_mm: float | None = None
    glass_mm: tuple[float, float, float] | None = None
    is_draft: bool = False


def resolve(
    pictures: Pictures | None,
    view: ViewState,
    slot: Slot,
    boxes: tuple[NamedBox, ...] = (),
    selected: int | None = None,
    pairs: Pairs | None = None,
) -> PaneState:
    """What a pane shows. Pure: the same arguments give the same picture."""
    title = tr(IMAGES[slot.image])
    if pictures is None:
        return PaneState(title, slot, hint=tr(_EMPTY[slot.image]))
    if view.flickering and slot.image in ("warped", "difference"):
        pictures, title = pictures.before(), _before_text(pictures.other_name)
    plane = plane_of(pictures.geometry, slot.plane, view.along_patient)
    cursor = plane.cursor(view)
    context = SliceContext(pictures, view, plane, slot.image)
    overlays = _switched_on(context)
    layers = _layers(context, overlays)
    low, high = view.window_of(slot.image)
    if pictures.is_draft and slot.image != "fixed":
        title = tr("{image} (by hand)").format(image=title)
    elif pictures.live_iteration is not None and slot.image in ("warped", "difference"):
        title = tr("{image}, live: iteration {number}").format(image=title, number=pictures.live_iteration)
    elif pictures.stale and slot.image in ("warped", "difference"):
        title = tr("{image} (updating …)").format(image=title)
    comparison = context.comparison if layers else None
    if comparison is not None:
        title += f" | {tr(COMPARISONS[comparison].text)}"
    return PaneState(
        title,
        slot,
        hint="" if layers else _missing(pictures, slot.image),
        plane=plane,
        layers=layers,
        outlines=tuple(outline(box, i, plane, cursor, i == selected) for i, box in enumerate(boxes)),
        cursor_mm=plane.place(cursor),
        middle_mm=_middle(plane, view),
        zoom=view.zoom,
        place_text=_place_text(plane, plane.to_grid(cursor)[plane.normal]),
        window_text=f"{low:.0f} … {high:.0f} HU",
        marks=() if pairs is None else pairs.marks(slot.image, plane, cursor),
        prompt=_prompt(view, slot.image),
        strokes=tuple(row.strokes(context) for row in overlays if row.strokes is not None) if layers else (),
        bars=_bars(context, overlays) if layers else (),
        split_mm=split_at_mm(context) if comparison == "split" else None,
        glass_mm=glass(context) if comparison == "spyglass" else None,
        is_draft=pictures.is_draft,
    )


def _before_text(state: str) -> str:
    return tr("Before: {state}").format(state=state) if state else tr("Before: aligned")


def _prompt(view: ViewState, image: ImageName) -> str:
    """What the hand is to do in a pane."""
    if view.drawing_box:
        return tr("drag to draw a box")
    if image not in view.prompted:
        return ""
    return tr("click a place") if view.started_mm is None else tr("click the same place")


def ring_radii(plane: Plane) -> tuple[tuple[float, float], tuple[float, float]]:
    """Middle and radii (across, down) in mm of the ring round an image, outside which a hand turns it."""
    middle = [(extent - spacing) / 2 for extent, spacing in zip(plane.extent_mm, plane.spacing_mm, strict=True)]
    across, down = (_RING * extent / 2 for extent in plane.extent_mm)
    return (middle[0], middle[1]), (across, down)


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


def hu_at(pictures: Pictures, index_zyx: Continuous) -> dict[ImageName, float | None]:
    """HU of every image at a voxel or between some; `None` where it is absent or says nothing."""
    values: dict[ImageName, float | None] = {}
    shape = pictures.geometry.shape_zyx
    for image in ("fixed", "moving", "warped"):
        volume = pictures.volume(image)
        value = None if volume is None else float(value_at(volume, shape, index_zyx, "hu"))
        seen = value is not None and value > PADDING_HU
        if image == "fixed":
            seen = seen and bool(value_at(pictures.fixed_valid, shape, index_zyx, "wholly"))
        values[image] = value if seen else None
    warped, fixed = values["warped"], values["fixed"]
    values["difference"] = None if warped is None or fixed is None else fixed - warped
    return values


def box_rmse_hu(pictures: Pictures, box: Box) -> float | None:
    """Root mean square of the difference inside a box, over voxels that both images show and that are not excluded.

    Of a large box every few slices count, so that the window answers meanwhile. Unknown while the moving image is
    aligned by hand.
    """
    if pictures.warped_hu is None or pictures.is_draft:
        return None
    depth, *rest = box.slices_zyx
    thin = slice(depth.start, depth.stop, math.ceil(math.prod(box.shape_zyx) / _MOST_VOXELS)), *rest
    warped = pictures.warped_hu[thin]
    valid = pictures.fixed_valid[thin] & (warped > PADDING_HU)
    if pictures.excluded is not None:
        valid &= ~pictures.excluded[thin]
    if not valid.any():
        return None
    return float(np.sqrt(np.mean(np.square(warped - pictures.fixed_hu[thin], dtype=np.float64), where=valid)))


def _switched_on(context: SliceContext) -> tuple[Overlay, ...]:
    """The overlays that have something to say about the image of a pane."""
    from app.viewer.overlays import OVERLAYS

    return tuple(
        row
        for name, row in OVERLAYS.items()
        if name in context.view.overlays and (not row.of_field or context.shows_field)
    )


def _layers(context: SliceContext, overlays: tuple[Overlay, ...]) -> tuple[Layer, ...]:
    base = _base(context)
    if base is None:
        return ()
    shown = [row.layer(context) for row in overlays if row.layer is not None]
    return (base, *(layer for layer in shown if layer is not None))


def _base(context: SliceContext) -> Layer | None:
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


def _bars(context: SliceContext, overlays: tuple[Overlay, ...]) -> tuple[ColorBar, ...]:
    """What the colours of a pane mean, where gray alone does not say it."""
    told = [row.bar(context) for row in overlays if row.bar is not None]
    if context.image == "difference":
        low, high = context.view.difference_window_hu
        stops = (BELOW_RGB, BLACK_RGB, ABOVE_RGB) if context.view.signed_colors else (BLACK_RGB, WHITE_RGB)
        labels = tuple(f"{value:+.0f}" if value else "0" for value in (low, (low + high) / 2, high))
        told.insert(0, ColorBar(tr("fixed − warped, HU"), stops, labels))
    return tuple(told)


def _shown_slice(context: SliceContext) -> HuArray | None:
    return context.slice_of(context.image)


def _middle(plane: Plane, view: ViewState) -> tuple[float, float]:
    across, down = plane.spacing_mm
    width, height = plane.extent_mm
    pan = view.pan_zyx_mm
    return (width - across) / 2 + pan[plane.column], (height - down) / 2 + pan[plane.row]


@lru_cache(maxsize=64)
def _place_text(plane: Plane, index: float) -> str:
    along_xyz = [index if axis == plane.normal else 0 for axis in (2, 1, 0)]
    toward = np.asarray(plane.grid.direction)[:, 2 - plane.normal]
    toward = toward if toward[np.argmax(np.abs(toward))] > 0 else -toward
    place_mm = float(plane.grid.points([along_xyz])[0] @ toward)
    count = plane.shape_zyx[plane.normal]
    return f"{tr(PLANE_TEXTS[plane.name])} {round(index) + 1} / {count}   {letters(toward)} {place_mm:.1f} mm"


def _missing(pictures: Pictures, image: ImageName) -> str:
    if pictures.displacement_vox is None:
        is_moving = image == "moving"
        return tr("Open or drop the moving image") if is_moving else tr("Appears when both images are open")
    return tr("Being computed …")


_EMPTY: dict[ImageName, str] = {
    "fixed": mark("Drop the fixed image or a folder here,\nor press Ctrl+O"),
    "moving": mark("Then drop the moving image"),
    "warped": mark("The moving image appears here,\nwarped onto the fixed one"),
    "difference": mark("What is left between the two\nappears here"),
}
