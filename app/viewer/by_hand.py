"""The moving image moved and turned by hand in the plane of a pane."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from app.store import Store
from app.texts import mark
from app.viewer.pane import Gesture
from app.viewer.pane_state import PaneState, ring_radii
from app.viewer.planes import Plane, plane_of_keys
from engine.rigid_motion import RigidMotion
from engine.shapes import PointArray

_STILL_PIXELS = 3
"""A press that moves no further is a click and sets the cursor."""


@dataclass(frozen=True, slots=True)
class Nudge:
    """Steps to the right and down on the screen, and clockwise."""

    right: int = 0
    down: int = 0
    clockwise: int = 0


_ON_SCREEN = mark("One step on the screen, by hand")
_ABOUT_CURSOR = mark("One step about the cursor, by hand")
NUDGES: MappingProxyType[str, tuple[str, str, str, Nudge]] = MappingProxyType(
    {
        "nudge_left": (
            mark("Moving image to the left"),
            "Ctrl+Left",
            _ON_SCREEN,
            Nudge(right=-1),
        ),
        "nudge_right": (
            mark("Moving image to the right"),
            "Ctrl+Right",
            _ON_SCREEN,
            Nudge(right=1),
        ),
        "nudge_up": (mark("Moving image up"), "Ctrl+Up", _ON_SCREEN, Nudge(down=-1)),
        "nudge_down": (mark("Moving image down"), "Ctrl+Down", _ON_SCREEN, Nudge(down=1)),
        "turn_back": (
            mark("Turn anticlockwise"),
            "Ctrl+Shift+Left",
            _ABOUT_CURSOR,
            Nudge(clockwise=-1),
        ),
        "turn_on": (
            mark("Turn clockwise"),
            "Ctrl+Shift+Right",
            _ABOUT_CURSOR,
            Nudge(clockwise=1),
        ),
    }
)
"""Name: text, key, tooltip and what it does to the moving image."""


def _may_move(store: Store) -> bool:
    """Whether the alignment still goes on: it may be kept or cancelled while the button is down."""
    return store.draft is not None and not store.running


class ShiftTool:
    """Drags the moving image along; a click sets the cursor."""

    def __init__(self, store: Store, state: PaneState, gesture: Gesture) -> None:
        self._store, self._plane, self._start, self._from = store, state.plane, gesture, store.draft
        self._is_drag = False

    def move(self, gesture: Gesture) -> None:
        self._is_drag = self._is_drag or _pixels_between(self._start, gesture) > _STILL_PIXELS
        if self._is_drag and _may_move(self._store):
            across, down = (now - then for now, then in zip(gesture.place_mm, self._start.place_mm, strict=True))
            right, bottom = _along(self._plane)
            self._store.set_draft(self._from.shifted(across * right + down * bottom))

    def release(self, gesture: Gesture) -> None:
        self.move(gesture)
        if not self._is_drag:
            view = self._store.view
            self._store.set_view(self._plane.pointed(view, gesture.place_mm))


class TurnTool:
    """Turns the moving image about the cursor, as far as the hand goes round it."""

    def __init__(self, store: Store, state: PaneState, gesture: Gesture) -> None:
        self._store, self._plane, self._pivot_mm, self._from = store, state.plane, state.cursor_mm, store.draft
        self._start = self._angle(gesture)

    def move(self, gesture: Gesture) -> None:
        if not _may_move(self._store):
            return
        angle = self._angle(gesture) - self._start
        self._store.set_draft(_turned(self._from, self._plane, self._store, angle))

    def release(self, gesture: Gesture) -> None:
        self.move(gesture)

    def _angle(self, gesture: Gesture) -> float:
        across, down = (place - pivot for place, pivot in zip(gesture.place_mm, self._pivot_mm, strict=True))
        return math.degrees(math.atan2(down, across))


def turns(state: PaneState, gesture: Gesture, with_control: bool) -> bool:
    """Whether a drag from here turns the image: outside the ring, or with Ctrl."""
    middle, radii = ring_radii(state.plane)
    away = (abs(place - m) / r for place, m, r in zip(gesture.place_mm, middle, radii, strict=True))
    return with_control or math.hypot(*away) > 1


def nudged(store: Store, nudge: Nudge) -> RigidMotion:
    """The draft a step further on the screen, in the plane that is looked at."""
    view, step = store.view, store.settings.by_hand_step
    plane = plane_of_keys(store.pictures.geometry, view)
    right, bottom = _along(plane)
    sense_across, sense_down = (-1 if flip else 1 for flip in (plane.flip_across, plane.flip_down))
    if nudge.clockwise:
        return _turned(store.draft, plane, store, nudge.clockwise * sense_across * sense_down * step)
    return store.draft.shifted(step * (nudge.right * sense_across * right + nudge.down * sense_down * bottom))


def _turned(motion: RigidMotion, plane: Plane, store: Store, angle_deg: float) -> RigidMotion:
    """Turned about the cursor from the direction across toward the direction down."""
    right, bottom = _along(plane)
    pivot = plane.voxels.points([plane.cursor(store.view)[::-1]])[0]
    return motion.turned(np.cross(right, bottom), angle_deg, pivot)


def _along(plane: Plane) -> tuple[PointArray, PointArray]:
    """Patient directions (3,) in which columns and rows of a plane count up."""
    direction = np.asarray(plane.grid.direction)
    return direction[:, 2 - plane.column], direction[:, 2 - plane.row]


def _pixels_between(one: Gesture, other: Gesture) -> float:
    return math.dist(one.pixel, other.pixel)
