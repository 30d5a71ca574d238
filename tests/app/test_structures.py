"""Contours from files: drawn, carried by every step, measured, and kept with the case."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import Qt

from app.viewer.contours import color_of
from engine.io.images import write_image
from engine.structures import Structures
from tests.app.driving import CONTROL, SHIFT, choose_path, press, wait_idle, wait_pictures

SLICE = 6


@pytest.fixture
def labels(volumes):
    """One structure of 4 × 6 × 8 voxels in both images, two columns further in the moving one; one in each alone."""
    fixed, moving = np.zeros((2, *volumes[0].hu.shape), np.uint8)
    fixed[4:8, 5:11, 6:14], moving[4:8, 5:11, 8:16] = 3, 3
    fixed[SLICE, 14:16, 4:6], moving[SLICE, 14:16, 20:22] = 8, 11
    return {"fixed": fixed, "moving": moving}


@pytest.fixture
def files(labels, geometry, tmp_path):
    for role, voxels in labels.items():
        write_image(tmp_path / f"{role}.nii.gz", voxels, geometry)
    return tmp_path


@pytest.fixture
def contoured(opened, labels, qtbot):
    opened.store.change_view(cursor_zyx=(SLICE, 8, 8))
    opened.store.set_structures(Structures(**labels))
    wait_idle(opened, qtbot)
    return opened


def drawn(window, image):
    """Number, whether carried, and the leftmost place of what a pane shows."""
    window.grid.refresh()
    pane = next(pane for pane in window.grid.panes if pane.isVisible() and pane.state.slot.image == image)
    known = window.store.case.structures.numbers
    numbers = {color_of(number, known): number for number in known}
    found = next((strokes.draw() for strokes in pane.state.strokes if strokes.key[0] == "contours"), ())
    return [(numbers[stroke.rgb], stroke.dashed, float(stroke.places_mm[:, 0].min())) for stroke in found]


def texts(window, line):
    return [window.structures.table.item(line, column).text() for column in range(4)]


def test_both_sides_are_loaded_from_the_menu_and_drawn(opened, files, qtbot):
    opened.store.change_view(cursor_zyx=(SLICE, 8, 8))
    for role in ("fixed", "moving"):
        opened.actions_table[f"load_{role}_contours"].trigger()
        choose_path(opened, qtbot, files / f"{role}.nii.gz")
        qtbot.waitUntil(lambda role=role: getattr(opened.store.case.structures, role) is not None)
        wait_idle(opened, qtbot)
    assert opened.message.text.text() == "2 structures of the moving image."
    assert opened.tabs.currentWidget() is opened.structures
    # columns of 2 mm; the outline is half a voxel before the first one
    assert drawn(opened, "fixed") == [(3, False, 11.0), (8, False, 7.0), (3, True, 15.0), (11, True, 39.0)]
    assert drawn(opened, "difference") == drawn(opened, "warped") == drawn(opened, "fixed")
    assert drawn(opened, "moving") == [(3, True, 15.0), (11, True, 39.0)]
    opened.grab()


def test_figures_are_those_of_the_state(contoured, fake_engine, qtbot):
    """6 of 8 columns overlap: Dice 0.75. 192 voxels of 30 mm³ are 5.76 cm³. A step of the test moves by one slice."""
    assert texts(contoured, 0)[:3] == ["3", "5.8", "0.75"]
    assert texts(contoured, 1) == ["8", "0.1", "–", "–"]
    assert texts(contoured, 2) == ["11", "0.1", "–", "–"]
    assert contoured.structures.table.item(0, 1).toolTip() == "Fixed: 5.8 cm³, Moving: 5.8 cm³"
    contoured.commands.iso()
    qtbot.waitUntil(lambda: contoured.store.agreement is not None and texts(contoured, 0)[2] != "0.75")
    # three of four slices as well: 0.75 × 0.75
    assert texts(contoured, 0)[2] == "0.56"
    assert [number for number, carried, _ in drawn(contoured, "warped") if carried] == [3]
    press(contoured, qtbot, Qt.Key.Key_Z, CONTROL)
    qtbot.waitUntil(lambda: texts(contoured, 0)[2] == "0.75")
    wait_idle(contoured, qtbot)


def test_nothing_is_measured_while_a_step_runs(contoured, fake_engine, qtbot):
    before = contoured.store.agreement
    fake_engine.endless = True
    contoured.commands.iso()
    qtbot.waitUntil(lambda: contoured.store.run.done > 3)
    assert contoured.store.agreement is before
    contoured.commands.cancel()
    wait_idle(contoured, qtbot)
    assert contoured.store.agreement is before


def test_contours_are_hidden_by_key_and_one_by_one(contoured, qtbot):
    everything = drawn(contoured, "fixed")
    press(contoured, qtbot, Qt.Key.Key_L, CONTROL)
    assert drawn(contoured, "fixed") == []
    press(contoured, qtbot, Qt.Key.Key_L, CONTROL)
    assert drawn(contoured, "fixed") == everything
    item = contoured.structures.table.item(0, 0)
    item.setCheckState(Qt.CheckState.Unchecked)
    assert [number for number, _, _ in drawn(contoured, "fixed")] == [8, 11]
    item.setCheckState(Qt.CheckState.Checked)
    assert drawn(contoured, "fixed") == everything


def test_they_follow_the_hand(contoured, qtbot):
    press(contoured, qtbot, Qt.Key.Key_A, CONTROL | SHIFT)
    contoured.workflow.by_hand.numbers[0].setValue(-4.0)
    assert drawn(contoured, "moving") == [(3, True, 11.0), (11, True, 35.0)]
    assert (3, True, 11.0) in drawn(contoured, "fixed")
    assert texts(contoured, 0)[1:] == ["5.8", "–", "–"]
    contoured.commands.cancel()
    assert (3, True, 15.0) in drawn(contoured, "fixed")
    wait_idle(contoured, qtbot)
    assert texts(contoured, 0)[2] == "0.75"


def test_they_come_back_with_the_case_and_are_forgotten(contoured, labels, tmp_path, qtbot):
    contoured.commands.save(tmp_path / "case")
    wait_idle(contoured, qtbot)
    before = contoured.store.case
    contoured.commands.open_case(tmp_path / "case")
    qtbot.waitUntil(lambda: contoured.store.case is not before)
    wait_pictures(contoured, qtbot)
    for role, voxels in labels.items():
        np.testing.assert_array_equal(getattr(contoured.store.case.structures, role), voxels)
    assert not contoured.store.unsaved
    contoured.actions_table["forget_contours"].trigger()
    assert contoured.structures.table.rowCount() == 0
    assert drawn(contoured, "fixed") == []
    assert not contoured.actions_table["forget_contours"].isEnabled()
    wait_idle(contoured, qtbot)


def test_what_is_no_label_image_of_that_side_is_refused(opened, geometry, labels, tmp_path, qtbot):
    write_image(tmp_path / "other.mha", labels["moving"], replace(geometry, origin_xyz_mm=(0.0, 0.0, 0.0)))
    before = opened.store.case
    with qtbot.waitSignal(opened.problems.shown) as told:
        opened.commands.load_structures("moving", tmp_path / "other.mha")
    assert "Expected labels on the moving grid (12, 20, 26)" in told.args[0]
    wait_idle(opened, qtbot)
    write_image(tmp_path / "empty.mha", np.zeros_like(labels["fixed"]), geometry)
    opened.commands.load_structures("fixed", tmp_path / "empty.mha")
    wait_idle(opened, qtbot)
    assert "Every voxel of this image is zero" in opened.message.text.text()
    assert opened.store.case is before
