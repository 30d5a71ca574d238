"""What each pane shows, decided without Qt: `resolve` turns pictures and view into a `PaneState`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np

from app.texts import mark, tr
from app.viewer.box_outlines import Outline, outline
from app.viewer.comparisons import COMPARISONS, glass, split_at_mm
from app.viewer.layers import (
    ABOVE_RGB,
    BELOW_RGB,
    BLACK_RGB,
    WHITE_RGB,
    ColorBar,
    Layer,
    Pixels,
    SliceContext,
    Strokes,
    base_layer,
)
from app.viewer.marks import Mark, Pairs
from app.viewer.pictures import Pictures
from app.viewer.planes import Plane, letters, plane_of
from app.viewer.view_state import IMAGES, PLANE_TEXTS, ImageName, Slot, ViewState
from engine.regions import NamedBox

if TYPE_CHECKING:
    from app.viewer.overlays import Overlay

_RING = 0.85
"""Of the extent of an image."""


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
    elif (pictures.stale and slot.image in ("warped", "difference")) or (
        pictures.moving_stale and slot.image == "moving"
    ):
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


def moved(state: PaneState, before: ViewState, view: ViewState) -> PaneState | None:
    """The same picture with the cursor elsewhere on its slice, or none where the view has changed more than that."""
    plane = state.plane
    if not state.layers or plane is None or plane.is_sampled or view.comparison is not None:
        return None
    if view.cursor_zyx[plane.normal] != before.cursor_zyx[plane.normal]:
        return None
    if replace(view, cursor_zyx=before.cursor_zyx, exact_zyx=before.exact_zyx) != before:
        return None
    return replace(state, cursor_mm=plane.place(view.cursor_zyx))


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


def _switched_on(context: SliceContext) -> tuple[Overlay, ...]:
    """The overlays that have something to say about the image of a pane."""
    from app.viewer.overlays import OVERLAYS

    return tuple(
        row
        for name, row in OVERLAYS.items()
        if name in context.view.overlays and (not row.of_field or context.shows_field)
    )


def _layers(context: SliceContext, overlays: tuple[Overlay, ...]) -> tuple[Layer, ...]:
    layers = _drawn(context, overlays)
    if not context.plane.is_sampled:
        return layers
    return tuple(
        replace(layer, sketch=partial(_sketched, context, overlays, number)) for number, layer in enumerate(layers)
    )


def _sketched(
    context: SliceContext, overlays: tuple[Overlay, ...], number: int, every: tuple[int, int]
) -> Pixels | None:
    return _drawn(replace(context, plane=context.plane.thinned(every)), overlays)[number].draw()


def _drawn(context: SliceContext, overlays: tuple[Overlay, ...]) -> tuple[Layer, ...]:
    base = base_layer(context)
    if base is None:
        return ()
    shown = [row.layer(context) for row in overlays if row.layer is not None]
    return (base, *(layer for layer in shown if layer is not None))


def _bars(context: SliceContext, overlays: tuple[Overlay, ...]) -> tuple[ColorBar, ...]:
    """What the colours of a pane mean, where gray alone does not say it."""
    told = [row.bar(context) for row in overlays if row.bar is not None]
    if context.image == "difference":
        low, high = context.view.difference_window_hu
        stops = (BELOW_RGB, BLACK_RGB, ABOVE_RGB) if context.view.signed_colors else (BLACK_RGB, WHITE_RGB)
        labels = tuple(f"{value:+.0f}" if value else "0" for value in (low, (low + high) / 2, high))
        told.insert(0, ColorBar(tr("fixed − warped, HU"), stops, labels))
    return tuple(told)


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
