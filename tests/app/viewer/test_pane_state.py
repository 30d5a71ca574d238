from __future__ import annotations

from dataclasses import fields, replace

import pytest

from app.viewer.pane_state import PaneState, moved, resolve
from app.viewer.view_state import IMAGES, PLANES, Slot, ViewState
from engine.regions import NamedBox
from engine.roi import Box

VIEW = ViewState(cursor_zyx=(5, 8, 11))


def test_without_images_every_pane_says_what_to_do():
    for image in IMAGES:
        state = resolve(None, VIEW, Slot("axial", image))
        assert state.hint
        assert not state.layers


def test_images_that_are_not_there_yet_are_said_to_be_computed(pictures):
    bare = replace(pictures, warped_hu=None)
    assert "computed" in resolve(bare, VIEW, Slot("axial", "warped")).hint
    old = replace(pictures, stale=True)
    assert "updating" in resolve(old, VIEW, Slot("axial", "warped")).title
    assert "updating" not in resolve(old, VIEW, Slot("axial", "moving")).title
    assert "updating" in resolve(replace(old, moving_stale=True), VIEW, Slot("axial", "moving")).title


def test_captions_name_slice_and_place(pictures):
    state = resolve(pictures, VIEW, Slot("axial", "fixed"))
    assert state.place_text == "Axial 6 / 12   S 65.0 mm"  # 40 + 5 · 5 mm
    assert (
        resolve(pictures, VIEW, Slot("sagittal", "fixed")).place_text == "Sagittal 12 / 26   L 12.0 mm"
    )  # -10 + 11 · 2 mm
    assert state.window_text == "-1000 … 500 HU"


def test_outlines_follow_the_selection(pictures):
    boxes = (NamedBox("a", Box(0, 4, 0, 4, 4, 8)), NamedBox("b", Box(0, 4, 0, 4, 0, 2)))
    outlines = resolve(pictures, VIEW, Slot("axial", "fixed"), boxes, 1).outlines
    assert [(shape.selected, shape.on_slice) for shape in outlines] == [(False, True), (True, False)]


@pytest.mark.parametrize("plane", PLANES)
def test_a_cursor_that_moves_on_its_slice_changes_nothing_else(pictures, plane):
    view = replace(VIEW, overlays=frozenset({"arrows", "invalid", "jacobian"}))
    boxes = (NamedBox("a", Box(0, 4, 0, 4, 4, 8)),)
    slot, state = Slot(plane, "warped"), resolve(pictures, view, Slot(plane, "warped"), boxes, 0)
    for cursor in ((5, 3, 2), (1, 8, 4), (3, 1, 11)):
        there = replace(view, cursor_zyx=cursor)
        same = moved(state, view, there)
        wanted = resolve(pictures, there, slot, boxes, 0)
        if wanted.place_text != state.place_text:
            assert same is None
        else:
            assert same.layers is state.layers
            assert same.cursor_mm != state.cursor_mm
            assert _told(same) == _told(wanted)


def _told(state: PaneState) -> list[object]:
    """All of a state, its layers and strokes by the keys that tell when they are drawn again."""
    values = {field.name: getattr(state, field.name) for field in fields(state)}
    values |= {name: [part.key for part in values[name]] for name in ("layers", "strokes")}
    return list(values.values())


@pytest.mark.parametrize(
    "change",
    [{"zoom": 2.0}, {"comparison": "checkerboard"}, {"overlays": frozenset({"arrows"})}, {"window_hu": (0.0, 80.0)}],
)
def test_a_view_that_changes_more_than_the_cursor_is_resolved_anew(pictures, change):
    there = replace(VIEW, cursor_zyx=(5, 3, 2), **change)
    assert moved(resolve(pictures, VIEW, Slot("axial", "warped")), VIEW, there) is None
    assert moved(resolve(pictures, there, Slot("axial", "warped")), there, VIEW) is None
