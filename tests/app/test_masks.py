"""What is kept rigid and where nothing corresponds: by boxes and by files."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt

import engine
from app.autosave import unsaved_cases
from app.commands import regions
from app.panels.regions import masks_text
from app.worker import job_of
from engine.io.images import write_image
from engine.preprocess import masks_of
from engine.roi import Box
from engine.volume import NOT_IN_HU
from tests.app.driving import LEFT, choose_path, draw_box, press, wait_idle, wait_pictures

START, END = (6, 4, 6), (6, 14, 18)
BONY = Box(3, 9, 4, 8, 10, 12)
"""The ramp of the fixed image ends at 124 HU, so bone has to be put there."""


@pytest.fixture
def bony(opened, volumes, qtbot):
    """A pair whose fixed image has bone in one corner of a box."""
    fixed, moving = volumes
    hu = fixed.hu.copy()
    hu[BONY.slices_zyx][0, :2, :3] = 700.0
    opened.store.set_images(replace(fixed, hu=hu), moving)
    wait_pictures(opened, qtbot)
    return opened


@pytest.fixture
def mask(volumes):
    voxels = np.zeros(volumes[0].hu.shape, dtype=bool)
    voxels[2:5, 3:6, 4:9] = True
    return voxels


@pytest.fixture
def mask_file(tmp_path, mask, geometry):
    path = tmp_path / "mask.nii.gz"
    write_image(path, mask, geometry)
    return path


@pytest.fixture
def given(monkeypatch, fake_engine):
    """The guidance that each step was given."""
    found, run_step = [], engine.run_step

    def recorded(case, *rest, **named):
        found.append(case.guidance)
        return run_step(case, *rest, **named)

    monkeypatch.setattr(engine, "run_step", recorded)
    return found


def run_iso(window, qtbot):
    window.commands.iso()
    wait_idle(window, qtbot)


def test_a_box_keeps_its_bone_rigid(bony, given, qtbot):
    bony.store.add_box(BONY)
    press(bony, qtbot, Qt.Key.Key_K)
    run_iso(bony, qtbot)
    np.testing.assert_array_equal(given[0].rigid, bony.store.fixed.hu == 700.0)
    assert given[0].excluded is None
    assert not bony.message.isVisible()


def test_a_box_takes_part_in_nothing(opened, given, qtbot):
    draw_box(opened, qtbot, START, END)
    press(opened, qtbot, Qt.Key.Key_N)
    run_iso(opened, qtbot)
    expected = np.zeros(opened.store.fixed.hu.shape, dtype=bool)
    expected[opened.store.boxes[0].box.slices_zyx] = True
    np.testing.assert_array_equal(given[0].excluded, expected)
    assert given[0].rigid is None
    press(opened, qtbot, Qt.Key.Key_O)
    run_iso(opened, qtbot)
    assert given[1].is_empty


def test_masks_follow_the_boxes_when_the_hand_rests(opened, qtbot):
    draw_box(opened, qtbot, START, END)
    opened.commands.use_box("excluded")
    count = np.prod(opened.store.boxes[0].box.shape_zyx)
    qtbot.waitUntil(lambda: opened.store.case.guidance.excluded is not None)
    assert opened.store.case.guidance.excluded.sum() == count
    opened.store.reshape_box(0, Box(2, 4, 2, 4, 2, 4))
    qtbot.waitUntil(lambda: opened.store.case.guidance.excluded.sum() == 8)
    press(opened, qtbot, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: opened.store.case.guidance.is_empty)
    wait_idle(opened, qtbot)


def test_only_a_box_to_optimise_is_optimised(opened, fake_engine, qtbot):
    draw_box(opened, qtbot, START, END)
    opened.commands.use_box("excluded")
    assert not opened.actions_table["rso"].isEnabled()
    assert not opened.actions_table["compare_region"].isEnabled()
    assert "none" in opened.workflow.region_text.text()
    with qtbot.waitSignal(opened.problems.shown) as told:
        opened.commands.rso()
    assert "'Nothing corresponds'" in told.args[0]
    assert fake_engine.asked == []
    assert len(opened.store.boxes) == 1
    wait_idle(opened, qtbot)


def test_the_use_is_chosen_in_the_menu_of_the_table(opened, qtbot):
    opened.store.add_box(BONY)
    opened.store.add_box(Box(2, 4, 2, 4, 2, 4))
    panel = opened.regions
    panel.table.customContextMenuRequested.emit(panel.table.visualItemRect(panel.table.item(0, 0)).center())
    assert panel.menu.isVisible()
    assert [action.isChecked() for action in panel.menu.actions()[:3]] == [True, False, False]
    panel.menu.actions()[2].trigger()
    panel.menu.close()
    assert [named.use for named in opened.store.boxes] == ["excluded", "optimise"]
    panel.show_errors()
    assert panel.table.item(0, 2).text() == "excluded"
    panel.table.customContextMenuRequested.emit(QPoint(5, 5000))
    assert not panel.menu.isVisible()
    opened.store.change_view(cursor_zyx=(10, 5, 5))
    opened.grid.refresh()
    assert [shape.use for shape in opened.grid.panes[0].state.outlines] == ["excluded", "optimise"]
    assert opened.grid.panes[0].state.outlines[0].name == "Region 1 · excluded"
    opened.grab()
    wait_idle(opened, qtbot)


def test_a_box_without_bone_says_so(opened, qtbot):
    draw_box(opened, qtbot, START, END)
    press(opened, qtbot, Qt.Key.Key_K)
    wait_idle(opened, qtbot)
    assert "No voxel of 200 HU" in opened.message.text.text()


def test_bone_is_not_looked_for_where_values_are_no_hu(opened, volumes, qtbot):
    fixed, moving = volumes
    opened.store.set_images(replace(fixed, modality=NOT_IN_HU), moving)
    wait_pictures(opened, qtbot)
    opened.store.add_box(BONY)
    opened.commands.use_box("rigid")
    assert opened.store.boxes[0].use == "optimise"
    assert "not in HU" in opened.message.text.text()


def test_a_mask_from_a_file_counts_beside_the_boxes(opened, given, mask, mask_file, qtbot):
    opened.store.add_box(BONY)
    opened.commands.use_box("excluded")
    opened.actions_table["load_excluded"].trigger()
    choose_path(opened, qtbot, mask_file)
    qtbot.waitUntil(lambda: bool(opened.store.masks))
    wait_idle(opened, qtbot)
    assert "45 voxels" in opened.message.text.text()
    assert opened.regions.masks.text() == "From files: 45 voxels excluded"
    run_iso(opened, qtbot)
    expected = mask.copy()
    expected[BONY.slices_zyx] = True
    np.testing.assert_array_equal(given[0].excluded, expected)
    opened.actions_table["forget_masks"].trigger()
    expected = np.zeros_like(mask)
    expected[BONY.slices_zyx] = True
    run_iso(opened, qtbot)
    np.testing.assert_array_equal(given[1].excluded, expected)
    assert not opened.regions.masks.isVisible()


@pytest.mark.parametrize("change", [{"shape_zyx": (11, 20, 26)}, {"origin_xyz_mm": (0.0, 0.0, 0.0)}])
def test_a_mask_on_another_grid_is_refused(opened, geometry, tmp_path, mask, qtbot, change):
    other = replace(geometry, **change)
    write_image(tmp_path / "other.mha", mask[: other.shape_zyx[0]], other)
    before = opened.store.case
    with qtbot.waitSignal(opened.problems.shown) as told:
        opened.commands.load_mask("rigid", tmp_path / "other.mha")
    assert "Expected a mask on the fixed grid (12, 20, 26)" in told.args[0]
    assert "\n" not in told.args[0]
    assert (opened.store.case, opened.store.masks) == (before, {})
    wait_idle(opened, qtbot)


def test_a_mask_that_marks_nothing_or_is_no_image_changes_nothing(opened, geometry, tmp_path, mask, qtbot):
    write_image(tmp_path / "empty.mha", np.zeros_like(mask), geometry)
    opened.commands.load_mask("rigid", tmp_path / "empty.mha")
    wait_idle(opened, qtbot)
    assert "Every voxel of this mask is zero" in opened.message.text.text()
    (tmp_path / "notes.nii.gz").write_text("no image")
    with qtbot.waitSignal(opened.problems.shown):
        opened.commands.load_mask("rigid", tmp_path / "notes.nii.gz")
    assert opened.store.masks == {}
    wait_idle(opened, qtbot)


def test_masks_come_back_with_the_case(opened, mask, mask_file, tmp_path, qtbot):
    opened.commands.load_mask("rigid", mask_file)
    wait_idle(opened, qtbot)
    opened.commands.save(tmp_path / "case")
    wait_idle(opened, qtbot)
    before = opened.store.case
    opened.commands.open_case(tmp_path / "case")
    qtbot.waitUntil(lambda: opened.store.case is not before)
    wait_pictures(opened, qtbot)
    np.testing.assert_array_equal(opened.store.masks["rigid"], mask)
    opened.commands.guide()
    wait_idle(opened, qtbot)
    assert not opened.store.unsaved
    np.testing.assert_array_equal(opened.store.case.guidance.rigid, mask)


def test_masks_are_tinted_where_they_are(opened, mask, mask_file, qtbot):
    opened.commands.load_mask("rigid", mask_file)
    wait_idle(opened, qtbot)
    opened.commands.guide()
    wait_idle(opened, qtbot)
    opened.store.change_view(cursor_zyx=(3, 8, 8))
    opened.grid.refresh()
    layers = {pane.state.slot.image: {layer.key[0]: layer for layer in pane.state.layers} for pane in opened.grid.panes}
    assert "masks" not in layers["moving"]
    for image in ("fixed", "warped", "difference"):
        np.testing.assert_array_equal(layers[image]["masks"].draw()[..., 3] > 0, mask[3])
    press(opened, qtbot, Qt.Key.Key_U)
    opened.grid.refresh()
    assert "masks" not in {layer.key[0] for layer in opened.grid.panes[0].state.layers}
    opened.grab()
    wait_idle(opened, qtbot)


def test_uses_cannot_be_changed_while_a_step_runs(opened, fake_engine, qtbot):
    draw_box(opened, qtbot, START, END)
    fake_engine.endless = True
    opened.commands.iso()
    qtbot.waitUntil(lambda: opened.store.run.done > 3)
    assert not opened.actions_table["use_excluded"].isEnabled()
    opened.commands.use_box("excluded")
    assert opened.store.boxes[0].use == "optimise"
    qtbot.mouseClick(opened.run_panel.cancel_button, LEFT)
    wait_idle(opened, qtbot)


def test_what_was_said_last_is_kept_when_the_window_closes(opened, qtbot):
    draw_box(opened, qtbot, START, END)
    opened.commands.use_box("excluded")
    opened.close()
    qtbot.waitUntil(lambda: not opened.isVisible(), timeout=10_000)
    (folder,) = unsaved_cases()
    assert engine.open_case(folder).guidance.excluded.any()


def test_masks_are_made_by_the_worker(opened, monkeypatch, tmp_path, qtbot):
    made = []

    def watched(*arguments):
        made.append(threading.current_thread() is threading.main_thread())
        return masks_of(*arguments)

    monkeypatch.setattr(regions, "masks_of", watched)
    opened.store.add_box(BONY)
    opened.commands.use_box("excluded")
    opened.commands.guide()
    wait_idle(opened, qtbot)
    assert made == [False]
    opened.store.reshape_box(0, Box(2, 4, 2, 4, 2, 4))
    opened.commands.save(tmp_path / "case")
    wait_idle(opened, qtbot)
    assert made == [False, False]
    assert engine.open_case(tmp_path / "case").guidance.excluded.sum() == 8
    opened.store.rename_box(0, "Gas")
    opened.commands.iso()
    wait_idle(opened, qtbot)
    assert len(made) == 2, "a name makes no other mask"


def test_what_is_asked_for_waits_until_the_masks_are_made(opened, given, qtbot):
    opened.store.add_box(BONY)
    opened.commands.use_box("excluded")
    opened.commands.iso()
    opened.commands.general()
    assert opened.store.running
    assert len(opened.store.planned) == 1
    wait_idle(opened, qtbot)
    assert [guidance.excluded.sum() for guidance in given] == [np.prod(BONY.shape_zyx)] * 2


def test_masks_of_boxes_that_have_moved_on_are_not_taken(opened, qtbot):
    opened.store.add_box(BONY)
    opened.commands.use_box("excluded")
    opened.commands.guide()
    opened.store.reshape_box(0, Box(2, 4, 2, 4, 2, 4))
    wait_idle(opened, qtbot)
    qtbot.waitUntil(lambda: opened.store.case.guidance.excluded is not None)
    assert opened.store.case.guidance.excluded.sum() == 8
    wait_idle(opened, qtbot)


def test_voxels_from_files_are_counted_once(opened, mask, monkeypatch, qtbot):
    counted = []

    def watched(masks):
        counted.append(tuple(masks))
        return masks_text(masks)

    monkeypatch.setattr("app.panels.regions.masks_text", watched)
    opened.store.set_mask("excluded", mask)
    draw_box(opened, qtbot, START, END)
    opened.store.reshape_box(0, BONY)
    assert counted == [("excluded",)]
    assert opened.regions.masks.text() == "From files: 45 voxels excluded"
    wait_idle(opened, qtbot)


def test_masks_that_are_being_made_are_not_asked_for_twice(opened, monkeypatch, qtbot):
    made, may_go_on = [], threading.Event()

    def watched(*arguments):
        made.append(arguments)
        return masks_of(*arguments)

    monkeypatch.setattr(regions, "masks_of", watched)
    blocked = opened.worker.submit(job_of(may_go_on.wait, 10))
    opened.store.add_box(BONY)
    opened.commands.use_box("excluded")
    for _ in range(3):
        opened.commands.guide()
    with qtbot.waitSignal(blocked.ended):
        may_go_on.set()
    wait_idle(opened, qtbot)
    qtbot.waitUntil(lambda: opened.store.case.guidance.excluded is not None)
    assert len(made) == 1


def test_masks_that_cannot_be_made_are_told_once_and_let_the_window_close(opened, monkeypatch, qtbot):
    def fail(*_arguments):
        raise MemoryError("no room for masks")

    monkeypatch.setattr(regions, "masks_of", fail)
    opened.store.add_box(BONY)
    opened.commands.use_box("excluded")
    with qtbot.waitSignal(opened.commands.failed):
        opened.commands.guide()
    opened.close()
    qtbot.waitUntil(lambda: not opened.isVisible(), timeout=10_000)
