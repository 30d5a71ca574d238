from __future__ import annotations

from types import SimpleNamespace

import pytest
from PySide6.QtCore import Qt

from app.panels.parts import action_button
from app.viewer.boxes import middle_of
from engine.errors import InputError
from engine.roi import Box
from tests.app.driving import CONTROL, LEFT, draw_box, press, wait_idle

START, END = (6, 4, 6), (6, 14, 18)
FIRST, SECOND, THIRD = Box(2, 9, 3, 8, 1, 6), Box(12, 20, 6, 15, 4, 9), Box(3, 8, 10, 18, 2, 7)


@pytest.fixture
def propose(opened, fake_engine, qtbot):
    """Let the engine propose boxes, asked for by key."""

    def ask(*boxes):
        fake_engine.proposals = tuple(
            SimpleNamespace(box=box, score=3.0 - i, reason=f"reason {i}") for i, box in enumerate(boxes)
        )
        press(opened, qtbot, Qt.Key.Key_P, CONTROL)
        wait_idle(opened, qtbot)

    return ask


def names(window):
    return [named.name for named in window.store.boxes]


def test_proposals_become_boxes_with_their_reasons(opened, propose):
    propose(FIRST, SECOND)
    store, panel = opened.store, opened.regions
    assert [(named.name, named.box) for named in store.boxes] == [("Proposal 1", FIRST), ("Proposal 2", SECOND)]
    assert store.selected == 0
    assert store.view.cursor_zyx == middle_of(FIRST)
    assert panel.reason.isVisible()
    assert panel.reason.text() == "Probably about 3.0 mm off: reason 0"
    assert panel.table.item(1, 0).toolTip() == "Probably about 2.0 mm off: reason 1"
    assert len(store.case.states) == 1, "a proposal changes nothing"


def test_a_box_drawn_by_hand_shows_no_reason(opened, propose, qtbot):
    propose(FIRST)
    draw_box(opened, qtbot, START, END)
    assert not opened.regions.reason.isVisible()
    assert names(opened) == ["Proposal 1", "Region 1"]


def test_earlier_proposals_are_replaced(opened, propose, qtbot):
    draw_box(opened, qtbot, START, END)
    propose(FIRST, SECOND)
    propose(THIRD)
    assert names(opened) == ["Region 1", "Proposal 1"]
    assert opened.store.boxes[1].box == THIRD


def test_a_proposal_that_was_renamed_reshaped_or_optimised_stays(opened, propose, qtbot):
    propose(FIRST, SECOND, THIRD)
    opened.regions.table.item(0, 0).setText("bronchus")
    opened.store.reshape_box(1, Box(12, 20, 6, 15, 4, 10))
    opened.store.set_boxes(opened.store.boxes, 2)
    opened.commands.rso()
    wait_idle(opened, qtbot)
    propose(FIRST)
    assert names(opened) == ["bronchus", "Proposal 2", "Proposal 3", "Proposal 1"]


def test_nothing_stands_out_is_an_answer(opened, propose):
    propose(FIRST)
    propose()
    assert opened.store.boxes == ()
    assert opened.store.selected is None
    assert "No region to propose" in opened.message.text.text()


def test_a_box_stays_selected_when_nothing_stands_out(opened, propose, qtbot):
    propose(FIRST)
    draw_box(opened, qtbot, START, END)
    propose()
    assert (names(opened), opened.store.selected) == (["Region 1"], 0)


def test_proposing_can_be_cancelled_and_keeps_the_boxes(opened, fake_engine, propose, qtbot):
    propose(FIRST)
    before = opened.store.boxes
    fake_engine.endless = True
    opened.commands.propose_regions()
    qtbot.waitUntil(lambda: opened.store.run.done > 3)
    assert not opened.run_panel.stop_button.isEnabled()
    qtbot.mouseClick(opened.run_panel.cancel_button, LEFT)
    wait_idle(opened, qtbot)
    assert opened.store.boxes == before


def test_a_failure_is_one_line_and_keeps_the_boxes(opened, fake_engine, propose, qtbot):
    propose(FIRST)
    before = opened.store.boxes
    fake_engine.error = InputError("Expected something else.")
    with qtbot.waitSignal(opened.problems.shown) as told:
        opened.commands.propose_regions()
    assert told.args[0] == "Expected something else."
    wait_idle(opened, qtbot)
    assert opened.store.boxes == before


def test_there_is_nothing_to_propose_without_images(window, fake_engine, qtbot):
    button = action_button(window.actions_table["propose"])
    qtbot.addWidget(button)
    assert not button.isEnabled()
    with qtbot.waitSignal(window.problems.shown):
        window.commands.propose_regions()


def test_the_arrow_keys_choose_the_region_that_commands_act_on(opened, propose, qtbot):
    propose(FIRST, SECOND, THIRD)
    table, store = opened.regions.table, opened.store
    qtbot.mouseClick(table.viewport(), LEFT, pos=table.visualItemRect(table.item(1, 0)).center())
    assert store.selected == 1
    qtbot.keyClick(table, Qt.Key.Key_Down)
    assert (store.selected, table.currentRow()) == (2, 2)
    assert [index.row() for index in table.selectionModel().selectedRows()] == [2]
    assert store.view.cursor_zyx == middle_of(THIRD)
    opened.actions_table["delete_box"].trigger()
    assert [named.box for named in store.boxes] == [FIRST, SECOND]


def test_a_second_region_gets_no_name_that_is_taken(opened, propose):
    propose(FIRST, SECOND)
    opened.store.rename_box(0, "Heart")
    opened.store.rename_box(1, "Heart")
    assert names(opened) == ["Heart", "Heart 1"]


def test_locked_regions_are_said_to_be_locked(opened, propose):
    opened.commands.rso_all()
    assert "press B" in opened.message.text.text()
    propose(FIRST)
    opened.store.lock_box(0, locked=True)
    opened.commands.rso_all()
    assert "locked" in opened.message.text.text()
