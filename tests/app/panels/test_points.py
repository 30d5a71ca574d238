from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt

import engine
from app.autosave import unsaved_cases
from app.panels.points import summary_text
from tests.app.conftest import previewed
from tests.app.driving import CONTROL, LEFT, draw_box, press, wait_idle, wait_pictures

FIXED, WARPED, MOVING, DIFFERENCE = "fixed", "warped", "moving", "difference"
SHIFT = (6.0, -3.0, 5.0)
P, Q = (6, 8, 11), (6, 9, 13)
"""Voxels z, y, x that are clicked in the fixed and the moving pane."""


@pytest.fixture
def shifted(opened, qtbot):
    """A case whose rigid part is a shift."""
    rigid = np.eye(4)
    rigid[:3, 3] = SHIFT
    store = opened.store
    state = replace(store.case.current, rigid=rigid)
    store.set_case(store.case.after(state))
    wait_pictures(opened, qtbot)
    return opened


def click(window, qtbot, image, voxel):
    window.grid.refresh()
    pane = next(pane for pane in window.grid.panes if pane.isVisible() and pane.state.slot.image == image)
    qtbot.mouseClick(pane, LEFT, pos=pane.pixel_of(pane.state.plane.place(voxel)).toPoint())
    window.grid.refresh()


def add_pair(window, qtbot, fixed=P, moving=Q):
    if not window.store.view.marking:
        press(window, qtbot, Qt.Key.Key_P)
    click(window, qtbot, FIXED, fixed)
    click(window, qtbot, MOVING, moving)


def point(window, voxel_zyx):
    return window.store.case.fixed.geometry.points([voxel_zyx[::-1]])[0]


def test_two_clicks_make_a_pair_through_the_rigid_part(shifted, qtbot):
    add_pair(shifted, qtbot)
    guidance = shifted.store.case.guidance
    # a pixel is at most half a millimetre at this size of window
    np.testing.assert_allclose(guidance.fixed_points_mm, [point(shifted, P)], atol=0.5)
    np.testing.assert_allclose(guidance.moving_points_mm, [point(shifted, Q) + SHIFT], atol=0.5)


def test_the_hint_says_which_click_is_next(opened, qtbot):
    assert not opened.readout.hint.isVisible()
    press(opened, qtbot, Qt.Key.Key_P)
    assert "Fixed or Warped" in opened.readout.hint.text()
    click(opened, qtbot, WARPED, P)
    assert "Moving" in opened.readout.hint.text()
    prompts = {pane.state.slot.image: pane.state.prompt for pane in opened.grid.panes}
    assert prompts == {FIXED: "", WARPED: "", MOVING: "click the same place", DIFFERENCE: ""}
    assert opened.store.view.cursor_zyx == P
    press(opened, qtbot, Qt.Key.Key_Escape)
    assert not opened.readout.hint.isVisible()
    assert opened.store.view.started_mm is None
    assert opened.store.case.guidance.is_empty


def test_a_click_in_another_image_moves_the_cursor_only(opened, qtbot):
    press(opened, qtbot, Qt.Key.Key_P)
    for image in (MOVING, DIFFERENCE):
        click(opened, qtbot, image, Q)
        assert opened.store.view.cursor_zyx == Q
        assert opened.store.view.started_mm is None
    click(opened, qtbot, FIXED, Q)
    click(opened, qtbot, FIXED, P)
    np.testing.assert_allclose(opened.store.view.started_mm, point(opened, P), atol=0.5)
    assert opened.store.case.guidance.is_empty


def test_a_click_outside_the_image_sets_nothing(opened, qtbot):
    press(opened, qtbot, Qt.Key.Key_P)
    qtbot.mouseClick(opened.grid.panes[0], LEFT, pos=QPoint(1, 1))
    assert opened.store.view.started_mm is None
    assert opened.store.view.marking


def test_one_image_in_three_orientations_shows_the_one_that_is_wanted(opened, qtbot):
    opened.store.change_view(layout="orientations", image=DIFFERENCE)
    press(opened, qtbot, Qt.Key.Key_P)
    assert opened.store.view.image == FIXED
    click(opened, qtbot, FIXED, P)
    assert opened.store.view.image == MOVING
    click(opened, qtbot, MOVING, Q)
    assert opened.store.view.image == FIXED
    assert len(opened.points.table.findItems("mm", Qt.MatchFlag.MatchContains)) == 1


def test_distances_follow_the_steps_and_undo_leaves_the_pairs(shifted, qtbot):
    add_pair(shifted, qtbot)
    store, table = shifted.store, shifted.points.table

    def expected():
        guidance = store.case.guidance
        return np.linalg.norm(store.case.current.map_points(guidance.fixed_points_mm) - guidance.moving_points_mm)

    before = expected()
    assert table.item(0, 1).text() == f"{before:.1f} mm"
    assert f"mean {before:.1f} mm" in shifted.points.summary.text()
    shifted.commands.iso()
    wait_idle(shifted, qtbot)
    assert expected() != before
    assert table.item(0, 1).text() == f"{expected():.1f} mm"
    press(shifted, qtbot, Qt.Key.Key_Z, CONTROL)
    assert table.item(0, 1).text() == f"{before:.1f} mm"
    assert len(store.case.guidance.fixed_points_mm) == 1
    wait_idle(shifted, qtbot)


def test_selecting_goes_there_and_delete_removes(opened, qtbot):
    draw_box(opened, qtbot, (6, 4, 6), (6, 14, 18))
    add_pair(opened, qtbot)
    opened.store.change_view(cursor_zyx=(2, 5, 5))
    opened.grid.refresh()
    opened.store.change_view(cursor_zyx=(9, 5, 5))
    add_pair(opened, qtbot, (9, 4, 5), (9, 4, 6))
    table = opened.points.table
    assert opened.tabs.currentWidget() is opened.points
    assert opened.tabs.tabText(1) == "Points (2)"
    qtbot.mouseClick(table.viewport(), LEFT, pos=table.visualItemRect(table.item(0, 0)).center())
    assert opened.store.view.cursor_zyx == P
    assert opened.store.selected_pair == 0
    qtbot.keyClick(table, Qt.Key.Key_Delete)
    assert [round(value) for value in opened.store.case.guidance.fixed_points_mm[0]] == [0, 37, 85]
    assert len(opened.store.boxes) == 1
    opened.actions_table["delete_pair"].trigger()
    assert opened.store.case.guidance.is_empty
    assert not opened.actions_table["delete_pair"].isEnabled()
    assert opened.tabs.tabText(1) == "Points"
    assert "Press P" in opened.points.summary.text()


def test_marks_are_numbered_in_all_panes(opened, qtbot):
    add_pair(opened, qtbot)
    marks = {pane.state.slot.image: pane.state.marks for pane in opened.grid.panes}
    assert {image: [mark.text for mark in found] for image, found in marks.items()} == {image: ["1"] for image in marks}
    places = {image: found[0].place_mm for image, found in marks.items()}
    assert places[FIXED] == places[WARPED] == places[DIFFERENCE]
    assert places[MOVING] != places[FIXED]
    opened.grab()


def test_pairs_are_kept_and_come_back(opened, qtbot, tmp_path):
    add_pair(opened, qtbot)
    wait_idle(opened, qtbot)
    assert opened.store.unsaved
    assert len(unsaved_cases()) == 1
    opened.commands.save(tmp_path / "case")
    wait_idle(opened, qtbot)
    expected = opened.store.case.guidance.moving_points_mm
    opened.commands.open_case(tmp_path / "case")
    wait_pictures(opened, qtbot)
    np.testing.assert_array_equal(opened.store.case.guidance.moving_points_mm, expected)
    assert opened.points.table.rowCount() == 1


def test_a_step_is_given_the_pairs(opened, qtbot, monkeypatch):
    cases = []
    run_step = engine.run_step
    monkeypatch.setattr(
        engine, "run_step", lambda case, *rest, **named: (cases.append(case), run_step(case, *rest, **named))[1]
    )
    add_pair(opened, qtbot)
    opened.commands.iso()
    wait_idle(opened, qtbot)
    assert len(cases[0].guidance.fixed_points_mm) == 1


def test_no_pair_without_two_images_or_while_a_step_runs(window, opened, fake_engine, qtbot):
    fake_engine.endless = True
    press(opened, qtbot, Qt.Key.Key_P)
    opened.commands.iso()
    qtbot.waitUntil(lambda: opened.store.run.done > 3)
    assert not opened.actions_table["add_pair"].isEnabled()
    click(opened, qtbot, FIXED, P)
    assert opened.store.view.started_mm is None
    opened.commands.cancel()
    wait_idle(opened, qtbot)
    opened.store.set_images(None, None)
    assert not opened.actions_table["add_pair"].isEnabled()
    assert not opened.store.view.marking


def test_drawing_and_marking_exclude_each_other(opened, qtbot):
    press(opened, qtbot, Qt.Key.Key_P)
    press(opened, qtbot, Qt.Key.Key_B)
    assert (opened.store.view.drawing_box, opened.store.view.marking) == (True, False)
    assert opened.tabs.currentWidget() is opened.regions
    press(opened, qtbot, Qt.Key.Key_P)
    assert (opened.store.view.drawing_box, opened.store.view.marking) == (False, True)


def test_summary():
    assert summary_text([]) == ""
    assert summary_text([1.0, 4.0]) == "mean 2.5 mm, largest 4.0 mm now"


def test_distances_follow_a_running_step_and_the_hand(shifted, qtbot):
    """Of a preview that moves all by a voxel, of a shift by hand, and in the end of the case again."""
    add_pair(shifted, qtbot)
    store, table = shifted.store, shifted.points.table
    case = store.case

    def shown():
        return float(table.item(0, 1).text().removesuffix(" mm"))

    assert shown() == pytest.approx(case.pair_distances_mm()[0], abs=0.06)
    live = replace(case.current, displacement_vox=np.ones_like(case.current.displacement_vox))
    expected = case.pair_distances_mm(live.map_points)[0]
    assert abs(expected - case.pair_distances_mm()[0]) > 0.2
    shifted.commands.display.preview(previewed(case))
    assert shown() == pytest.approx(expected, abs=0.06)
    shifted.commands.display.end_preview()
    assert shown() == pytest.approx(case.pair_distances_mm()[0], abs=0.06)

    shifted.commands.begin_by_hand()
    store.set_draft(replace(store.draft, shift_mm=(40.0, 0.0, 0.0)))
    hand = replace(case.current, rigid=store.draft.rigid())
    assert shown() == pytest.approx(case.pair_distances_mm(hand.map_points)[0], abs=0.06)
    assert shown() > 30
    assert shifted.quality.values["rmse"].text() == "–"
    shifted.commands.cancel()
    assert shown() == pytest.approx(case.pair_distances_mm()[0], abs=0.06)
