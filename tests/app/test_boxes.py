"""Boxes that stay: copied, locked, shrunk to the body, typed, and kept with the case."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import Qt

from app.autosave import unsaved_cases
from app.viewer.boxes import name_of_copy
from engine.io.case_folder import open_case, save_case
from engine.regions import NamedBox
from engine.roi import Box
from engine.volume import NOT_IN_HU
from tests.app.driving import CONTROL, LEFT, SHIFT, draw_box, press, wait_idle, wait_pictures

FIRST, SECOND = Box(2, 9, 3, 8, 1, 6), Box(12, 20, 6, 15, 4, 9)


@pytest.fixture
def marked(opened, qtbot):
    """A box to optimise and one where nothing corresponds."""
    opened.store.add_box(FIRST)
    opened.store.add_box(SECOND)
    opened.commands.use_box("excluded")
    opened.commands.guide()
    wait_idle(opened, qtbot)
    return opened


def reopened(window, qtbot, folder):
    before = window.store.case
    window.commands.open_case(folder)
    qtbot.waitUntil(lambda: window.store.case is not before)
    wait_pictures(window, qtbot)
    return window.store


def inside(box, shape_zyx):
    mask = np.zeros(shape_zyx, dtype=bool)
    mask[box.slices_zyx] = True
    return mask


def test_a_copy_has_a_name_of_its_own(marked, qtbot):
    press(marked, qtbot, Qt.Key.Key_B, CONTROL)
    assert marked.store.boxes[2] == NamedBox("Region 3", SECOND, use="excluded")
    assert marked.store.selected == 2
    wait_idle(marked, qtbot)


@pytest.mark.parametrize(
    ("name", "copy"), [("Region 1", "Region 2"), ("Bronchus", "Bronchus 1"), ("7", "7 1"), ("T4 node 2", "T4 node 1")]
)
def test_names_of_copies(name, copy):
    assert name_of_copy(name, (NamedBox(name, FIRST),)) == copy


def test_nothing_changes_a_locked_box(marked, qtbot):
    store = marked.store
    press(marked, qtbot, Qt.Key.Key_L, CONTROL | SHIFT)
    kept = store.selected_box
    assert kept.locked
    store.change_view(cursor_zyx=(6, 10, 15))
    marked.grid.refresh()
    pane = marked.grid.panes[0]
    shape = pane.state.outlines[1]
    held = pane.pixel_of((sum(shape.across) / 2, sum(shape.down) / 2)).toPoint()
    qtbot.mousePress(pane, LEFT, pos=held)
    qtbot.mouseMove(pane, held / 2)
    qtbot.mouseRelease(pane, LEFT, pos=held / 2)
    press(marked, qtbot, Qt.Key.Key_Delete)
    press(marked, qtbot, Qt.Key.Key_O)
    marked.commands.snap_box()
    marked.regions.faces.setText(str(FIRST))
    marked.regions.faces.editingFinished.emit()
    marked.regions.table.item(1, 0).setText("other")
    assert store.boxes[1] == kept
    assert not marked.regions.table.item(1, 0).icon().isNull()
    assert marked.regions.table.item(0, 0).icon().isNull()
    assert not marked.regions.table.item(1, 0).flags() & Qt.ItemFlag.ItemIsEditable
    assert pane.state.outlines[1].name == "Region 2 · excluded · locked"
    press(marked, qtbot, Qt.Key.Key_L, CONTROL | SHIFT)
    press(marked, qtbot, Qt.Key.Key_Delete)
    assert len(store.boxes) == 1
    wait_idle(marked, qtbot)


def test_a_box_shrinks_to_the_patient_in_it(opened, volumes, qtbot):
    fixed, moving = volumes
    hu = np.full_like(fixed.hu, -1000.0)
    hu[2:10, 4:16, 5:21] = 30.0
    opened.store.set_images(replace(fixed, hu=hu, valid=np.ones_like(fixed.valid)), moving)
    wait_pictures(opened, qtbot)
    for drawn, expected in ((Box(0, 12, 0, 9, 0, 5), Box(5, 12, 4, 9, 2, 5)), (Box(0, 3, 0, 3, 0, 2), None)):
        opened.store.add_box(drawn)
        press(opened, qtbot, Qt.Key.Key_B, CONTROL | SHIFT)
        wait_idle(opened, qtbot)
        assert opened.store.selected_box.box == (expected or drawn)
    assert "holds nothing of the patient" in opened.message.text.text()


def test_the_body_is_not_looked_for_where_values_are_no_hu(opened, volumes, qtbot):
    fixed, moving = volumes
    opened.store.set_images(replace(fixed, modality=NOT_IN_HU), moving)
    wait_pictures(opened, qtbot)
    opened.store.add_box(FIRST)
    opened.commands.snap_box()
    assert "not in HU" in opened.message.text.text()
    assert opened.store.boxes[0].box == FIRST
    wait_idle(opened, qtbot)


def test_faces_can_be_typed(marked, qtbot):
    field, panel = marked.regions.faces, marked.regions
    marked.activateWindow()
    field.setFocus()
    qtbot.waitUntil(field.hasFocus)
    field.selectAll()
    qtbot.keyClicks(field, "3:8, 4:9, 0:5")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert marked.store.selected_box.box == Box(3, 8, 4, 9, 0, 5)
    assert field.text() == "3:8,4:9,0:5"
    for wrong, words in (("3:8", "x0:x1"), ("3:99,4:9,0:5", "inside the fixed image"), ("8:3,4:9,0:5", "a voxel")):
        field.setText(wrong)
        field.editingFinished.emit()
        assert words in panel.refusal.text()
        assert field.text() == "3:8,4:9,0:5"
    marked.store.add_box(FIRST)
    assert not panel.refusal.isVisible()
    wait_idle(marked, qtbot)


def test_boxes_come_back_with_the_case_and_count_once(marked, tmp_path, qtbot):
    store, shape = marked.store, marked.store.fixed.geometry.shape_zyx
    from_file = inside(Box(0, 3, 0, 3, 0, 3), shape)
    store.set_mask("excluded", from_file)
    store.lock_box(0, True)
    store.rename_box(1, "Gas")
    boxes = store.boxes
    marked.commands.save(tmp_path / "case")
    wait_idle(marked, qtbot)
    assert not store.unsaved
    reopened(marked, qtbot, tmp_path / "case")
    assert store.boxes == boxes
    marked.commands.guide()
    wait_idle(marked, qtbot)
    assert not store.unsaved
    np.testing.assert_array_equal(store.case.guidance.excluded, from_file | inside(SECOND, shape))
    store.remove_box(1)
    marked.commands.guide()
    wait_idle(marked, qtbot)
    np.testing.assert_array_equal(store.case.guidance.excluded, from_file)
    assert store.unsaved
    wait_idle(marked, qtbot)


def test_a_case_without_boxes_stays_without(marked, tmp_path, qtbot):
    marked.store.set_boxes(marked.store.boxes[:1], 0)
    marked.commands.rso()
    wait_idle(marked, qtbot)
    marked.store.remove_box(0)
    marked.commands.save(tmp_path / "case")
    wait_idle(marked, qtbot)
    assert reopened(marked, qtbot, tmp_path / "case").boxes == ()


def test_masks_of_a_case_that_knows_no_boxes_stay(marked, tmp_path, qtbot):
    case = marked.store.case
    save_case(replace(case, regions=None), tmp_path / "case")
    store = reopened(marked, qtbot, tmp_path / "case")
    np.testing.assert_array_equal(store.masks["excluded"], case.guidance.excluded)
    store.add_box(FIRST)
    marked.commands.guide()
    wait_idle(marked, qtbot)
    np.testing.assert_array_equal(store.case.guidance.excluded, case.guidance.excluded)
    wait_idle(marked, qtbot)


def test_boxes_are_kept_after_a_crash(opened, qtbot):
    draw_box(opened, qtbot, (6, 4, 6), (6, 14, 18))
    qtbot.waitUntil(lambda: opened.store.case.regions is not None)
    wait_idle(opened, qtbot)
    (folder,) = unsaved_cases()
    assert open_case(folder).regions.boxes == opened.store.boxes


def test_what_is_renamed_while_a_step_runs_is_kept(marked, fake_engine, qtbot):
    marked.store.set_boxes(marked.store.boxes, 0)
    fake_engine.endless = True
    marked.commands.rso()
    qtbot.waitUntil(lambda: marked.store.run.done > 3)
    marked.store.rename_box(0, "Node")
    marked.commands.guide()
    marked.commands.stop()
    qtbot.waitUntil(lambda: len(marked.store.case.states) == 2)
    qtbot.waitUntil(lambda: marked.store.case.regions.boxes[0].name == "Node")
    wait_idle(marked, qtbot)


def test_a_box_drawn_after_the_export_leaves_it_done(marked, qtbot):
    marked.store.set_exported()
    marked.store.add_box(FIRST)
    marked.commands.guide()
    wait_idle(marked, qtbot)
    assert marked.store.exported
    wait_idle(marked, qtbot)


@pytest.mark.parametrize("drawing", [True, False])
def test_a_box_deleted_during_a_drag_lets_go_of_the_hand(opened, qtbot, drawing):
    store = opened.store
    if not drawing:
        store.add_box(SECOND)
        store.change_view(cursor_zyx=(6, 10, 15))
    store.change_view(drawing_box=drawing)
    opened.grid.refresh()
    pane = opened.grid.panes[0]
    start = pane.pixel_of(pane.state.plane.place((6, 15, 20)) if drawing else (31.0, 30.0)).toPoint()
    qtbot.mousePress(pane, LEFT, pos=start)
    qtbot.mouseMove(pane, start * 0.8)
    qtbot.waitUntil(lambda: len(store.boxes) == 1 and store.boxes[0].box != SECOND)
    press(opened, qtbot, Qt.Key.Key_Delete)
    qtbot.mouseMove(pane, start * 0.7)
    qtbot.mouseRelease(pane, LEFT, pos=start * 0.6)
    assert store.boxes == ()
    wait_idle(opened, qtbot)


def test_another_orientation_during_a_drag_lets_go_of_the_hand(opened, qtbot):
    store, pane = opened.store, opened.grid.panes[0]
    store.change_view(drawing_box=True)
    opened.grid.refresh()
    start = pane.pixel_of(pane.state.plane.place((6, 15, 20))).toPoint()
    qtbot.mousePress(pane, LEFT, pos=start)
    qtbot.mouseMove(pane, start * 0.8)
    drawn = store.boxes
    press(opened, qtbot, Qt.Key.Key_C)
    opened.grid.refresh()
    qtbot.mouseMove(pane, start * 0.5)
    qtbot.mouseRelease(pane, LEFT, pos=start * 0.5)
    assert store.boxes == drawn
    wait_idle(opened, qtbot)


@pytest.mark.parametrize("use", ["optimise", "excluded"])
def test_a_box_that_leaves_the_image_is_told_once_and_begins_nothing(opened, fake_engine, qtbot, use):
    told = []
    opened.commands.failed.connect(told.append)
    opened.store.set_boxes((NamedBox("Region 1", Box(8, 20, 8, 19, 6, 99), use=use),), 0)
    opened.commands.iso()
    wait_idle(opened, qtbot)
    opened.commands.guide()
    wait_idle(opened, qtbot)
    assert len(told) == 1
    assert "inside the fixed image" in str(told[0])
    assert (fake_engine.asked, opened.store.running) == ([], False)
