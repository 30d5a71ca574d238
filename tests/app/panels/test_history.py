from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import Qt

from app.autosave import unsaved_cases
from app.panels.history import deletion_text, state_lines
from engine.case import Case
from engine.guidance import Guidance
from engine.io.case_folder import open_case
from engine.roi import Box
from tests.app.driving import CONTROL, LEFT, SHIFT, press, told_problem, wait_idle, wait_pictures

BOX = Box(2, 9, 3, 8, 1, 6)


@pytest.fixture
def case(volumes, make_step):
    """0 start – 1 align – 2 iso, and 3 rso beside 2, from 1; 3 is current."""
    case = Case.new(*volumes)
    for name, rmse_hu in (("align", 100.0), ("iso", 80.0)):
        case = case.after(case.current.after(replace(make_step(name), rmse_hu=rmse_hu)))
    case = case.gone_to(1)
    step = replace(make_step("rso 1", 40, BOX), settings={"fit": "closer"})
    return case.after(case.current.after(step))


@pytest.fixture
def branched(opened, qtbot):
    """Align and ISO in the window, then back and a general step beside ISO."""
    for ask in (opened.commands.align, opened.commands.iso, lambda: opened.commands.go_to(1), opened.commands.general):
        ask()
        wait_pictures(opened, qtbot)
    return opened


def mark(window, number):
    """The state marked by arrow keys, without going there."""
    window.history.list.setCurrentRow(number)


def test_a_state_says_what_it_came_from(case):
    assert state_lines(case, 0) == ("0  Start", "", "")
    assert state_lines(case, 1) == ("1  Align", "100 HU · fold 0 %", "0.5 s")
    assert state_lines(case, 2, compared=True) == (
        "2  ISO · compared",
        "100 → 80 HU · fold 0 %",
        "0.5 s",
    )
    assert state_lines(case, 3) == ("3  RSO 1, 40 it., closer · from 1", "90 → 60 HU · fold 0 %", "0.5 s")


def test_points_are_told_at_every_state(case):
    """Off by (3, 0, 0) and (0, 4, 0) mm where nothing moves."""
    fixed_mm = np.array([[0.0, 40.0, 60.0], [10.0, 50.0, 70.0]])
    guided = case.guided(Guidance(fixed_mm, fixed_mm + np.array([[3.0, 0.0, 0.0], [0.0, 4.0, 0.0]])))
    assert state_lines(guided, 0)[1] == "points 3.5 mm"
    assert state_lines(guided, 2)[2] == "points 3.5 mm · 0.5 s"


def test_a_branch_leaves_what_was_there(branched, qtbot):
    panel, store = branched.history, branched.store
    assert [panel.list.item(i).text().split("\n")[0] for i in range(4)] == [
        "0  Start",
        "1  Align, 3 it.",
        "2  ISO, 3 it.",
        "3  General, 3 it. · from 1",
    ]
    assert [panel.list.item(i).font().bold() for i in range(4)] == [False, False, False, True]
    qtbot.mouseClick(panel.list.viewport(), LEFT, pos=panel.list.visualItemRect(panel.list.item(2)).center())
    assert store.case.cursor == 2
    press(branched, qtbot, Qt.Key.Key_Z, CONTROL)
    press(branched, qtbot, Qt.Key.Key_Z, CONTROL | SHIFT)
    assert store.case.cursor == 2
    wait_idle(branched, qtbot)


def test_every_state_that_was_shown_has_a_thumbnail(branched):
    store = branched.store
    assert sorted(store.thumbnails) == [0, 1, 2, 3]
    assert all(picture.any() for picture in store.thumbnails.values())


def test_return_goes_to_the_marked_state_and_arrows_alone_do_not(branched, qtbot):
    panel = branched.history.list
    panel.setFocus()
    qtbot.keyClick(panel, Qt.Key.Key_Up)
    assert (branched.store.case.cursor, branched.store.marked_state) == (3, 2)
    qtbot.keyClick(panel, Qt.Key.Key_Return)
    assert branched.store.case.cursor == 2
    wait_idle(branched, qtbot)


def test_a_state_to_compare_with_is_at_hand(branched, fake_engine, qtbot):
    store = branched.store
    mark(branched, 0)
    press(branched, qtbot, Qt.Key.Key_C, CONTROL | SHIFT)
    qtbot.waitUntil(lambda: store.pictures.other_warped_hu is not None)
    start = store.case.states[0]
    np.testing.assert_array_equal(store.pictures.other_warped_hu, fake_engine.warped_hu(store.case, start))
    assert store.pictures.other_displacement_vox is start.displacement_vox
    assert "compared" in branched.history.list.item(0).text()
    press(branched, qtbot, Qt.Key.Key_Z, CONTROL)
    wait_pictures(branched, qtbot)
    assert store.pictures.other_displacement_vox is start.displacement_vox, "it stays while one walks on"
    press(branched, qtbot, Qt.Key.Key_X, CONTROL | SHIFT)
    assert (store.view.other_state, store.pictures.other_warped_hu) == (None, None)
    assert "compared" not in branched.history.list.item(0).text()


def test_a_region_goes_back_to_the_marked_state_and_undo_takes_it_back(branched, fake_engine, qtbot):
    store = branched.store
    assert not branched.actions_table["take_back"].isEnabled()
    store.add_box(BOX)
    mark(branched, 1)
    press(branched, qtbot, Qt.Key.Key_T, CONTROL | SHIFT)
    wait_idle(branched, qtbot)
    assert (fake_engine.asked[-1].to, fake_engine.asked[-1].box) == (1, BOX)
    assert store.case.current.steps[-1].name == "revert"
    assert branched.toast.text.text().startswith("Region 1 as in state 1: 90 → 60 HU in the box")
    qtbot.mouseClick(branched.toast.button, LEFT)
    assert store.case.cursor == 3
    assert told_problem(branched) == ""
    wait_idle(branched, qtbot)


def test_the_menu_of_a_state_is_about_that_state(branched, qtbot):
    panel = branched.history
    panel._show_menu(panel.list.visualItemRect(panel.list.item(1)).center())
    assert branched.store.marked_state == 1
    assert [action.isEnabled() for action in panel.menu.actions()] == [True, False, False, False]
    panel.menu.close()
    assert branched.store.case.cursor == 3


def test_a_box_that_is_drawn_leaves_the_marked_state(branched, qtbot):
    branched.history.list.setCurrentRow(0)
    branched.store.add_box(Box(2, 9, 3, 8, 1, 6))
    branched.commands.guide()
    assert branched.store.case.regions is not None
    assert (branched.history.list.currentRow(), branched.store.marked_state) == (0, 0)


def test_the_current_state_stays_in_sight_when_the_list_shrinks(branched, qtbot):
    states = branched.history.list
    states.setFixedHeight(90)
    qtbot.waitUntil(lambda: states.height() == 90)
    shown = states.viewport().rect()
    assert not shown.contains(states.visualItemRect(states.item(0)))
    assert shown.contains(states.visualItemRect(states.currentItem()).center())


def test_a_branch_goes_after_a_question_and_leaves_every_number(branched, qtbot):
    panel, store = branched.history, branched.store
    action = branched.actions_table["delete_branch"]
    mark(branched, 1)
    assert not action.isEnabled()
    mark(branched, 2)
    store.change_view(other_state=2)
    wait_idle(branched, qtbot)
    press(branched, qtbot, Qt.Key.Key_Delete, CONTROL | SHIFT)
    assert branched.message.text.text() == "Delete state 2? Nothing brings it back."
    assert store.case.numbers == (0, 1, 2, 3)
    qtbot.mouseClick(branched.message.button("Delete"), LEFT)
    assert store.case.numbers == (0, 1, 3)
    assert [panel.list.item(i).text().split(" ")[0] for i in range(panel.list.count())] == ["0", "1", "3"]
    assert (store.marked_state, store.view.other_state, sorted(store.thumbnails)) == (3, None, [0, 1, 3])
    assert store.unsaved
    wait_idle(branched, qtbot)
    (folder,) = unsaved_cases()
    assert open_case(folder).numbers == (0, 1, 3)
    qtbot.mouseClick(panel.list.viewport(), LEFT, pos=panel.list.visualItemRect(panel.list.item(2)).center())
    assert store.case.cursor == 3
    mark(branched, 1)
    assert store.marked_state == 1
    branched.commands.iso()
    wait_pictures(branched, qtbot)
    assert panel.list.item(3).text().startswith("4  ISO")
    assert told_problem(branched) == ""


def test_what_was_asked_about_can_have_become_the_line_one_is_on(branched, qtbot):
    store, case = branched.store, branched.store.case
    mark(branched, 2)
    branched.ask_delete_branch()
    branched.commands.go_to(2)
    qtbot.mouseClick(branched.message.button("Delete"), LEFT)
    assert "State 2 leads to the current one" in told_problem(branched)
    branched.commands.delete_branch("another case", (3,))
    assert store.case.numbers == case.numbers
    wait_idle(branched, qtbot)


def test_a_state_that_came_after_the_question_goes_only_when_asked_about(branched, qtbot):
    store = branched.store
    mark(branched, 2)
    branched.ask_delete_branch()
    for act in (lambda: branched.commands.go_to(2), branched.commands.iso, lambda: branched.commands.go_to(3)):
        act()
        wait_pictures(branched, qtbot)
    assert branched.message.text.text() == "Delete state 2? Nothing brings it back."
    qtbot.mouseClick(branched.message.button("Delete"), LEFT)
    assert store.case.numbers == (0, 1, 2, 3, 4)
    assert branched.message.text.text() == deletion_text(2, 1)
    qtbot.mouseClick(branched.message.button("Delete"), LEFT)
    assert store.case.numbers == (0, 1, 3)
    assert branched.message.isHidden()
    wait_idle(branched, qtbot)


def test_the_question_counts_what_goes():
    assert deletion_text(4, 1) == "Delete state 4 and the state that began from it? Nothing brings them back."
    assert deletion_text(4, 3) == "Delete state 4 and the 3 states that began from it? Nothing brings them back."


def test_other_images_have_thumbnails_of_their_own(branched, qtbot):
    """Also where the fixed image stays."""
    store = branched.store
    first = store.thumbnails[0]
    store.set_images(store.fixed, replace(store.moving, hu=store.moving.hu + np.float32(90)))
    branched.commands.iso()
    wait_pictures(branched, qtbot)
    assert sorted(store.thumbnails) == [0, 1]
    assert not np.array_equal(store.thumbnails[0], first)


def test_every_state_of_a_reopened_case_has_a_thumbnail(branched, qtbot, tmp_path):
    store = branched.store
    expected = store.thumbnails
    branched.commands.save(tmp_path / "case")
    wait_idle(branched, qtbot)
    branched.commands.open_case(tmp_path / "case")
    qtbot.waitUntil(lambda: len(store.thumbnails) == 4 and store.thumbnails is not expected)
    for number, picture in expected.items():
        np.testing.assert_array_equal(store.thumbnails[number], picture)
    wait_idle(branched, qtbot)
