"""The moving image aligned by mouse, keys and numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import Qt

from app.viewer.comparisons import COMPARISONS
from app.viewer.overlays import OVERLAYS
from app.viewer.view_state import LAYOUTS
from engine.errors import DeviceError
from engine.registration import Registration
from engine.spatial.volume_warp import warped_volume
from tests.app.driving import CONTROL, LEFT, SHIFT, press, wait_idle, wait_pictures

CURSOR = (5, 9, 12)


@pytest.fixture
def by_hand(opened, qtbot):
    """A window in which the alignment by hand has begun, with the cursor inside the image."""
    opened.store.change_view(cursor_zyx=CURSOR)
    press(opened, qtbot, Qt.Key.Key_A, CONTROL | SHIFT)
    opened.grid.refresh()
    return opened


def drag(window, qtbot, image, start, end, modifiers=Qt.KeyboardModifier.NoModifier):
    """A drag in the pane of an image from one voxel (z, y, x) to another."""
    window.grid.refresh()
    pane = next(pane for pane in window.grid.panes if pane.isVisible() and pane.state.slot.image == image)
    first, last = (pane.pixel_of(pane.state.plane.place(index)).toPoint() for index in (start, end))
    qtbot.mousePress(pane, LEFT, modifiers, first)
    qtbot.mouseMove(pane, (first + last) / 2)
    qtbot.mouseMove(pane, last)
    qtbot.mouseRelease(pane, LEFT, modifiers, last)
    window.grid.refresh()


@pytest.mark.parametrize("image", ["moving", "fixed", "difference"])
def test_a_drag_moves_the_moving_image_with_the_hand(by_hand, qtbot, image):
    """Three columns of 2 mm to the left of the patient and two rows of 3 mm to the back; a pixel is under 0.5 mm."""
    drag(by_hand, qtbot, image, (5, 8, 10), (5, 10, 13))
    np.testing.assert_allclose(by_hand.store.draft.numbers, (6, 6, 0, 0, 0, 0), atol=0.5)
    assert by_hand.store.view.cursor_zyx == CURSOR


def test_a_drag_in_a_coronal_slice_moves_along_the_body(by_hand, qtbot):
    by_hand.store.change_view(plane="coronal")
    drag(by_hand, qtbot, "moving", (4, 9, 12), (7, 9, 12))
    np.testing.assert_allclose(by_hand.store.draft.numbers, (0, 0, 15, 0, 0, 0), atol=0.5)


def test_a_click_sets_the_cursor_and_moves_nothing(by_hand, qtbot):
    drag(by_hand, qtbot, "moving", (5, 8, 10), (5, 8, 10))
    assert by_hand.store.view.cursor_zyx == (5, 8, 10)
    assert by_hand.store.draft.numbers == (0, 0, 0, 0, 0, 0)


def test_with_control_a_drag_turns_about_the_cursor(by_hand, qtbot):
    """From the cursor's left (12 mm off) to its back (12 mm): a quarter turn about the head's direction."""
    drag(by_hand, qtbot, "warped", (5, 9, 18), (5, 13, 12), CONTROL)
    motion = by_hand.store.draft
    assert motion.turn_deg[2] == pytest.approx(90, abs=2)
    assert motion.turn_deg[:2] == pytest.approx((0, 0), abs=1e-6)
    cursor = by_hand.store.fixed.geometry.points([CURSOR[::-1]])[0]
    np.testing.assert_allclose((motion.matrix() @ [*cursor, 1])[:3], cursor, atol=1e-6)


def test_outside_the_ring_a_drag_turns(by_hand, qtbot):
    drag(by_hand, qtbot, "moving", (5, 9, 25), (5, 15, 25))
    assert by_hand.store.draft.turn_deg[2] > 10


def test_keys_move_and_turn_by_the_chosen_step(by_hand, qtbot):
    by_hand.store.set_settings(replace(by_hand.store.settings, by_hand_step=2.0))
    press(by_hand, qtbot, Qt.Key.Key_Right, CONTROL)
    press(by_hand, qtbot, Qt.Key.Key_Down, CONTROL)
    assert by_hand.store.draft.numbers == (2, 2, 0, 0, 0, 0)
    press(by_hand, qtbot, Qt.Key.Key_Left, CONTROL)
    press(by_hand, qtbot, Qt.Key.Key_Up, CONTROL)
    by_hand.store.change_view(plane="coronal")
    press(by_hand, qtbot, Qt.Key.Key_Up, CONTROL)
    assert by_hand.store.draft.numbers == (0, 0, 2, 0, 0, 0)
    press(by_hand, qtbot, Qt.Key.Key_Right, CONTROL | SHIFT)
    # seen from the front, clockwise takes the head to the patient's left: right-handed about the back
    assert by_hand.store.draft.turn_deg == pytest.approx((0, 2, 0), abs=1e-6)
    press(by_hand, qtbot, Qt.Key.Key_Left, CONTROL | SHIFT)
    np.testing.assert_allclose(by_hand.store.draft.numbers, (0, 0, 2, 0, 0, 0), atol=1e-9)


def test_numbers_are_seen_at_once_as_they_will_be_kept(by_hand, volumes, qtbot):
    fixed, moving = volumes
    fields = by_hand.workflow.by_hand.numbers
    fields[1].setValue(4.5)
    fields[5].setValue(-12.0)
    assert by_hand.store.draft.numbers == (0, 4.5, 0, 0, 0, -12.0)
    by_hand.grid.refresh()
    rigid = by_hand.store.draft.rigid()
    expected = warped_volume(moving, replace(Registration.identity(fixed.geometry), rigid=rigid))
    for pane in by_hand.grid.panes[1:3]:
        np.testing.assert_allclose(pane.state.layers[0].draw(), expected[CURSOR[0]], atol=0.05)
    assert by_hand.grid.panes[2].state.title == "Warped (by hand)"
    by_hand.grab()


def test_what_is_kept_is_a_step_that_undo_takes_back(by_hand, fake_engine, qtbot):
    before = by_hand.store.case
    by_hand.workflow.by_hand.numbers[0].setValue(3.0)
    press(by_hand, qtbot, Qt.Key.Key_Return, CONTROL)
    wait_pictures(by_hand, qtbot)
    assert by_hand.store.draft is None
    (asked,) = fake_engine.asked
    assert (asked.method, asked.motion) == ("manual", (3, 0, 0, 0, 0, 0))
    assert len(by_hand.store.case.states) == len(before.states) + 1
    assert isinstance(by_hand.store.pictures.moving_hu, np.ndarray)
    press(by_hand, qtbot, Qt.Key.Key_Z, CONTROL)
    assert by_hand.store.case.current is before.current
    wait_idle(by_hand, qtbot)


def test_cancel_shows_the_case_again(by_hand, fake_engine, qtbot):
    before = by_hand.store.case
    by_hand.workflow.by_hand.numbers[0].setValue(3.0)
    press(by_hand, qtbot, Qt.Key.Key_Backspace, CONTROL)
    assert by_hand.store.draft is None
    assert not by_hand.workflow.by_hand.isVisible()
    np.testing.assert_array_equal(by_hand.store.pictures.moving_hu, by_hand.store.moving.hu)
    assert by_hand.store.case is before
    assert fake_engine.asked == []


def test_a_step_that_fails_leaves_the_draft(by_hand, fake_engine, qtbot):
    fake_engine.error = DeviceError("The machine has no memory left.")
    by_hand.workflow.by_hand.numbers[0].setValue(3.0)
    with qtbot.waitSignal(by_hand.problems.shown):
        qtbot.mouseClick(by_hand.workflow.by_hand.keep, LEFT)
    assert by_hand.store.draft.shift_mm == (3, 0, 0)
    assert by_hand.workflow.by_hand.isVisible()
    assert by_hand.store.pictures.is_draft
    wait_idle(by_hand, qtbot)


def test_nothing_else_begins_before_the_draft_ends(by_hand, fake_engine, qtbot):
    before = by_hand.store.case
    for name in ("general", "undo", "open", "draw_box"):
        assert by_hand.actions_table[name].isEnabled() == (name == "draw_box")
    by_hand.commands.general()
    by_hand.commands.go_to(0)
    assert "Keep or cancel the alignment by hand" in by_hand.message.text.text()
    assert by_hand.store.case is before
    assert fake_engine.asked == []
    assert not by_hand.history.list.isEnabled()


def test_it_begins_where_the_case_is_and_says_what_is_dropped(opened, make_step, qtbot):
    store, rigid = opened.store, np.eye(4)
    rigid[:3, 3] = (-6.0, 3.0, -5.0)
    opened.commands.begin_by_hand()
    assert opened.workflow.by_hand.isVisible()
    assert not opened.workflow.by_hand.warning.isVisible()
    opened.commands.cancel()
    moved = {"rigid": rigid, "displacement_vox": store.case.current.displacement_vox + 1}
    store.set_case(store.case.after(store.case.current.after(make_step("iso"), **moved)))
    wait_pictures(opened, qtbot)
    opened.commands.begin_by_hand()
    np.testing.assert_allclose(store.draft.numbers, (6, -3, 5, 0, 0, 0), atol=1e-9)
    assert opened.workflow.by_hand.warning.isVisible()
    assert opened.workflow.widget().width() <= opened.workflow.viewport().width()


def test_points_follow_the_hand(by_hand, qtbot):
    by_hand.store.add_pair((0.0, 40.0, 60.0), (0.0, 40.0, 60.0))
    by_hand.workflow.by_hand.numbers[0].setValue(8.0)
    np.testing.assert_allclose(by_hand.store.pairs().aligned_mm, [[8, 40, 60]], atol=1e-9)
    wait_idle(by_hand, qtbot)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_comparison_and_overlay_follows_the_hand(by_hand, layout):
    store = by_hand.store
    store.change_view(layout=layout, overlays=frozenset(OVERLAYS), pointer_zyx=CURSOR)
    for comparison in COMPARISONS:
        store.change_view(comparison=comparison, flickering=not store.view.flickering)
        store.set_draft(store.draft.shifted((1.0, 0, 0)))
        by_hand.grab()
    titles = {pane.state.title for pane in by_hand.grid.panes if pane.isVisible() and pane.state.slot.image != "fixed"}
    assert all("(by hand)" in title for title in titles)


def test_swapping_the_roles_waits_for_the_hand(by_hand, qtbot):
    fixed = by_hand.store.fixed
    by_hand.commands.swap_images()
    assert by_hand.store.fixed is fixed
    by_hand.commands.cancel()
    by_hand.commands.swap_images()
    assert by_hand.store.moving is fixed
    wait_pictures(by_hand, qtbot)
    by_hand.commands.begin_by_hand()
    plain = by_hand.store.case.current.displacement_vox
    expected = warped_volume(fixed, replace(by_hand.store.case.current, displacement_vox=plain))
    np.testing.assert_allclose(by_hand.store.pictures.moving_hu[6, :, :], expected[6], atol=0.5)


@pytest.mark.parametrize("way", ["Return", "Tab", "Keep", "key of Keep"])
def test_a_typed_number_is_taken_however_one_leaves_it(by_hand, fake_engine, qtbot, way):
    panel = by_hand.workflow.by_hand
    field = panel.numbers[1]
    by_hand.activateWindow()
    qtbot.waitUntil(by_hand.isActiveWindow)
    field.setFocus()
    field.selectAll()
    qtbot.keyClicks(field, field.locale().toString(7.25, "f", 2))
    assert by_hand.store.draft.shift_mm == (0, 0, 0), "nothing moves while the number is typed"
    if way == "Return":
        qtbot.keyClick(field, Qt.Key.Key_Return)
        assert field.hasFocus()
    elif way == "Tab":
        qtbot.keyClick(field, Qt.Key.Key_Tab)
        assert not field.hasFocus()
    elif way == "Keep":
        qtbot.mouseClick(panel.keep, LEFT)
    else:
        qtbot.keyClick(field, Qt.Key.Key_Return, CONTROL)
    if "Keep" in way:
        wait_pictures(by_hand, qtbot)
        (asked,) = fake_engine.asked
        assert asked.motion == (0, 7.25, 0, 0, 0, 0)
    else:
        assert by_hand.store.draft.shift_mm == (0, 7.25, 0)
        assert by_hand.store.view.layout == "compare", "Return in a number enlarges no pane"
    wait_idle(by_hand, qtbot)
