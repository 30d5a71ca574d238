"""What a drag means: one small tool for each, chosen when the button goes down."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol

from PySide6.QtCore import Qt

from app.store import Store
from app.viewer.box_outlines import Handle, Outline, Place, handle_at, outline, reshaped_box
from app.viewer.boxes import dragged_box, spanned
from app.viewer.by_hand import ShiftTool, TurnTool, turns
from app.viewer.pane import Gesture
from app.viewer.pane_state import PaneState
from app.viewer.planes import Plane, stepped
from app.viewer.view_state import Continuous, ImageName, ViewState, dragged_window
from engine.regions import NamedBox
from engine.roi import Box

HANDLE_REACH_PIXELS = 8
_HU_PER_PIXEL = 2.0
_ZOOM_PER_NOTCH = 1.15
_CURSORS = (
    Qt.CursorShape.SizeHorCursor,
    Qt.CursorShape.SizeFDiagCursor,
    Qt.CursorShape.SizeVerCursor,
    Qt.CursorShape.SizeBDiagCursor,
)
"""By the direction of a drag on the screen, to the right and every 45 degrees on, clockwise."""


class Viewed(Protocol):
    """Whoever holds a view."""

    view: ViewState

    def set_view(self, view: ViewState) -> None: ...


class Tool(Protocol):
    """A drag under way."""

    def move(self, gesture: Gesture) -> None: ...

    def release(self, gesture: Gesture) -> None: ...


class PointTool:
    """Moves the cursor of all panes."""

    def __init__(self, store: Store, state: PaneState, gesture: Gesture) -> None:
        self._store, self._plane = store, state.plane
        self.move(gesture)

    def move(self, gesture: Gesture) -> None:
        self._store.set_view(self._plane.pointed(self._store.view, gesture.place_mm))

    def release(self, gesture: Gesture) -> None:
        self.move(gesture)


class WindowTool:
    """Right-drag: sideways changes the width of the window, up and down its level."""

    def __init__(self, store: Store, image: ImageName, gesture: Gesture) -> None:
        self._store, self._image, self._start = store, image, gesture.pixel
        self._window_hu = store.view.window_of(image)

    def move(self, gesture: Gesture) -> None:
        wider = (gesture.pixel[0] - self._start[0]) * _HU_PER_PIXEL
        higher = (gesture.pixel[1] - self._start[1]) * _HU_PER_PIXEL
        view = self._store.view
        self._store.set_view(view.with_window(self._image, dragged_window(self._window_hu, wider, higher)))

    def release(self, gesture: Gesture) -> None:
        self.move(gesture)


class PanTool:
    """Middle-drag or Shift-drag: moves the picture under the hand."""

    def __init__(self, store: Store, state: PaneState, gesture: Gesture) -> None:
        self._store, self._plane, self._held = store, state.plane, gesture.place_mm

    def move(self, gesture: Gesture) -> None:
        moved = gesture.place_mm[0] - self._held[0], gesture.place_mm[1] - self._held[1]
        pan = list(self._store.view.pan_zyx_mm)
        pan[self._plane.column] -= moved[0]
        pan[self._plane.row] -= moved[1]
        self._store.change_view(pan_zyx_mm=tuple(pan))

    def release(self, gesture: Gesture) -> None:
        self.move(gesture)


class DrawTool:
    """Drags a new box; the box is the store's from the first voxel on, so every pane shows it."""

    def __init__(self, store: Store, state: PaneState, gesture: Gesture) -> None:
        self._store, self._plane = store, state.plane
        self._from = self._pixel(gesture)
        self._number = len(store.boxes)
        store.add_box(self._box(gesture))
        self._held = store.boxes[self._number]

    def move(self, gesture: Gesture) -> None:
        if _holds(self._store, self._number, self._held):
            self._store.reshape_box(self._number, self._box(gesture))
            self._held = self._store.boxes[self._number]

    def release(self, gesture: Gesture) -> None:
        if not _holds(self._store, self._number, self._held):
            return
        box = self._box(gesture)
        if not spanned(self._from, self._pixel(gesture), self._plane):
            self._store.remove_box(self._number)
        else:
            self._store.reshape_box(self._number, box)
            self._store.change_view(drawing_box=False)

    def _pixel(self, gesture: Gesture) -> Continuous:
        return self._plane.pixel(gesture.place_mm, self._plane.cursor(self._store.view))

    def _box(self, gesture: Gesture) -> Box:
        return dragged_box(self._from, self._pixel(gesture), self._plane)


class ReshapeTool:
    """Drags a handle of a box."""

    def __init__(self, store: Store, state: PaneState, gesture: Gesture, number: int, handle: Handle) -> None:
        self._store, self._plane, self._number, self._handle = store, state.plane, number, handle
        self._held, self._start = store.boxes[number], gesture.place_mm
        self._box = self._held.box

    def move(self, gesture: Gesture) -> None:
        if not _holds(self._store, self._number, self._held):
            return
        moved: Place = gesture.place_mm[0] - self._start[0], gesture.place_mm[1] - self._start[1]
        box = reshaped_box(self._box, self._handle.faces, moved, self._plane)
        if box != self._held.box:
            self._store.reshape_box(self._number, box)
            self._held = self._store.boxes[self._number]

    def release(self, gesture: Gesture) -> None:
        self.move(gesture)


def _holds(store: Store, number: int, held: NamedBox) -> bool:
    """Whether the box under the hand is still there: a key can remove it, or begin a step, during a drag."""
    return not store.running and number < len(store.boxes) and store.boxes[number] is held


class MarkTool:
    """Clicks that set a pair of points: first in the fixed or the warped image, then in the moving one."""

    def __init__(self, store: Store, state: PaneState, gesture: Gesture) -> None:
        view, plane = store.view, state.plane
        index = plane.index_at(gesture.place_mm, plane.cursor(view))
        if not plane.shows(index):
            return
        x, y, z = store.pictures.geometry.points([index[::-1]])[0]
        if state.slot.image == "moving":
            store.add_pair(view.started_mm, (x, y, z))
            store.change_view(started_mm=None, **_shown(view, "fixed"))
        else:
            store.set_view(view.at(index, plane.voxels.shape_zyx))
            store.change_view(started_mm=(x, y, z), **_shown(view, "moving"))

    @staticmethod
    def takes(view: ViewState, image: ImageName) -> bool:
        """Whether a click in an image sets a point now; the first of a pair can be set again."""
        return view.marking and (image in ("fixed", "warped") or image in view.prompted)

    def move(self, gesture: Gesture) -> None:
        pass

    def release(self, gesture: Gesture) -> None:
        pass


def _shown(view: ViewState, image: ImageName) -> dict[str, ImageName]:
    """Layouts of one image show that in which the next click is wanted."""
    return {"image": image} if view.layout in ("orientations", "single") else {}


def tool_for(store: Store, state: PaneState, gesture: Gesture) -> Tool | None:
    """The tool that a press begins."""
    shift = bool(gesture.modifiers & Qt.KeyboardModifier.ShiftModifier)
    if gesture.button == Qt.MouseButton.RightButton:
        return WindowTool(store, state.slot.image, gesture)
    if gesture.button == Qt.MouseButton.MiddleButton or (gesture.button == Qt.MouseButton.LeftButton and shift):
        return PanTool(store, state, gesture)
    if gesture.button != Qt.MouseButton.LeftButton:
        return None
    if store.view.drawing_box and not store.running:
        return DrawTool(store, state, gesture)
    if store.draft is not None and not store.running:
        return (TurnTool if _turns(state, gesture) else ShiftTool)(store, state, gesture)
    is_old = store.pictures.stale and state.slot.image != "fixed"
    if MarkTool.takes(store.view, state.slot.image) and not store.running and not is_old:
        return MarkTool(store, state, gesture)
    grasp = grasped(state, gesture)
    if grasp is not None and not store.running:
        if not _is_there(store, state.plane, grasp[0]):
            return None
        return ReshapeTool(store, state, gesture, grasp[0].number, grasp[1])
    return PointTool(store, state, gesture)


def _is_there(store: Store, plane: Plane, shape: Outline) -> bool:
    """Whether a box still is as a pane shows it, which may not have been drawn since the box was changed."""
    number = shape.number
    if number >= len(store.boxes):
        return False
    return outline(store.boxes[number], number, plane, plane.cursor(store.view), number == store.selected) == shape


def _turns(state: PaneState, gesture: Gesture) -> bool:
    return turns(state, gesture, bool(gesture.modifiers & Qt.KeyboardModifier.ControlModifier))


def grasped(state: PaneState, gesture: Gesture) -> tuple[Outline, Handle] | None:
    """The handle of the selected box under the hand."""
    for shape in state.outlines:
        handle = handle_at(shape, gesture.place_mm, HANDLE_REACH_PIXELS * gesture.mm_per_pixel)
        if handle is not None:
            return shape, handle
    return None


def hand_shape(state: PaneState, gesture: Gesture) -> Qt.CursorShape:
    """The mouse pointer that says what a press would do."""
    if state.prompt:
        return Qt.CursorShape.CrossCursor
    if state.is_draft:
        return Qt.CursorShape.PointingHandCursor if _turns(state, gesture) else Qt.CursorShape.SizeAllCursor
    grasp = grasped(state, gesture)
    if grasp is None:
        return Qt.CursorShape.ArrowCursor
    return _drag_shape(grasp[1], state.plane) if grasp[1].faces else Qt.CursorShape.SizeAllCursor


def _drag_shape(handle: Handle, plane: Plane) -> Qt.CursorShape:
    across, down = handle.outward
    turned_deg = math.degrees(math.atan2(-down if plane.flip_down else down, -across if plane.flip_across else across))
    return _CURSORS[round(turned_deg / 45) % len(_CURSORS)]


def wheel(store: Viewed, state: PaneState, gesture: Gesture) -> None:
    """Scroll through the slices; with Ctrl, zoom about the pointer."""
    plane, view = state.plane, store.view
    if gesture.modifiers & Qt.KeyboardModifier.ControlModifier:
        zoomed = view.zoomed(_ZOOM_PER_NOTCH**gesture.notches)
        kept = 1 - view.zoom / zoomed.zoom
        pan = list(view.pan_zyx_mm)
        pan[plane.column] += (gesture.place_mm[0] - state.middle_mm[0]) * kept
        pan[plane.row] += (gesture.place_mm[1] - state.middle_mm[1]) * kept
        store.set_view(replace(zoomed, pan_zyx_mm=(pan[0], pan[1], pan[2])))
        return
    steps = -round(gesture.notches) if abs(gesture.notches) >= 1 else (-1 if gesture.notches > 0 else 1)
    store.set_view(stepped(view, plane, steps))
