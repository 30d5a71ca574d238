from __future__ import annotations

from dataclasses import replace

from app.viewer.pane_state import resolve
from app.viewer.view_state import IMAGES, Slot, ViewState
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
    assert "updating" in resolve(replace(pictures, stale=True), VIEW, Slot("axial", "warped")).title


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
