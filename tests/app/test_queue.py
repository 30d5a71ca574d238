"""Steps that wait for the one that runs."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt

from engine.errors import InputError
from engine.roi import Box
from tests.app.driving import CONTROL, LEFT, SHIFT, press, told_problem, wait_idle

FIRST, SECOND, THIRD = Box(2, 9, 3, 8, 1, 6), Box(12, 20, 6, 15, 4, 9), Box(3, 8, 10, 18, 2, 7)


@pytest.fixture
def regions(opened):
    """Two boxes to optimise and one that is excluded."""
    for box in (FIRST, SECOND, THIRD):
        opened.store.add_box(box)
    opened.commands.use_box("excluded")
    opened.store.set_boxes(opened.store.boxes, 0)
    return opened


def begin_endless(window, qtbot, fake_engine):
    fake_engine.endless = True
    window.commands.iso()
    qtbot.waitUntil(lambda: window.store.run.done > 3)


def stop(window, qtbot, fake_engine):
    fake_engine.endless = False
    qtbot.mouseClick(window.run_panel.stop_button, LEFT)
    wait_idle(window, qtbot)


def names(window):
    return [step.name for step in window.store.case.current.steps]


def waiting(window):
    panel = window.run_panel
    return [panel.queue.item(i).text() for i in range(panel.queue.count())] if panel.queue_panel.isVisible() else []


def test_a_step_waits_and_begins_from_what_the_one_before_leaves(regions, fake_engine, qtbot):
    begin_endless(regions, qtbot, fake_engine)
    press(regions, qtbot, Qt.Key.Key_4, CONTROL)
    regions.store.set_boxes(regions.store.boxes, 1)
    press(regions, qtbot, Qt.Key.Key_2, CONTROL)
    assert waiting(regions) == ["Region 1 (RSO)", "General"]
    assert regions.run_panel.queue_title.text() == "2 steps to follow"
    stop(regions, qtbot, fake_engine)
    assert names(regions) == ["iso", "rso 1", "general"]
    assert regions.store.case.parents == (0, 0, 1, 2)
    assert fake_engine.asked[1].box == FIRST, "the box that was selected when it was asked for"
    assert waiting(regions) == []


def test_a_waiting_step_can_be_dropped_by_button_and_key(regions, fake_engine, qtbot):
    begin_endless(regions, qtbot, fake_engine)
    for ask in (regions.commands.align, regions.commands.general, regions.commands.rso):
        ask()
    queue = regions.run_panel.queue
    queue.setCurrentRow(1)
    qtbot.mouseClick(regions.run_panel.drop_button, LEFT)
    assert waiting(regions) == ["Align", "Region 1 (RSO)"]
    queue.setFocus()
    queue.setCurrentRow(0)
    qtbot.keyClick(queue, Qt.Key.Key_Delete)
    assert waiting(regions) == ["Region 1 (RSO)"]
    assert len(regions.store.boxes) == 3, "Del in the queue removes no region"
    press(regions, qtbot, Qt.Key.Key_Backspace, CONTROL | SHIFT)
    assert waiting(regions) == []
    stop(regions, qtbot, fake_engine)
    assert names(regions) == ["iso"]


def test_cancel_holds_back_what_waits_until_it_is_told_to_go_on(regions, fake_engine, qtbot):
    begin_endless(regions, qtbot, fake_engine)
    regions.commands.rso()
    fake_engine.endless = False
    qtbot.mouseClick(regions.run_panel.cancel_button, LEFT)
    wait_idle(regions, qtbot)
    assert (names(regions), waiting(regions)) == ([], ["Region 1 (RSO)"])
    assert regions.run_panel.queue_title.text() == "1 step held back"
    qtbot.mouseClick(regions.run_panel.go_on_button, LEFT)
    wait_idle(regions, qtbot)
    assert (names(regions), waiting(regions)) == (["rso 1"], [])


def test_what_is_held_back_does_not_follow_another_step(regions, fake_engine, qtbot):
    begin_endless(regions, qtbot, fake_engine)
    regions.commands.rso()
    fake_engine.endless = False
    qtbot.mouseClick(regions.run_panel.cancel_button, LEFT)
    wait_idle(regions, qtbot)
    regions.commands.general()
    wait_idle(regions, qtbot)
    assert (names(regions), waiting(regions)) == (["general"], ["Region 1 (RSO)"])
    regions.commands.go_on()
    wait_idle(regions, qtbot)
    assert (names(regions), waiting(regions)) == (["general", "rso 1"], [])


def test_a_failure_stops_the_queue_and_says_so(regions, fake_engine, qtbot):
    fake_engine.error = InputError("Expected something else.")
    press(regions, qtbot, Qt.Key.Key_4, CONTROL | SHIFT)
    wait_idle(regions, qtbot)
    assert told_problem(regions) == "Expected something else."
    assert (names(regions), waiting(regions)) == ([], ["Region 2 (RSO)"])
    assert "held back" in regions.run_panel.queue_title.text()


def test_all_regions_that_are_meant_for_it(regions, fake_engine, qtbot):
    press(regions, qtbot, Qt.Key.Key_4, CONTROL | SHIFT)
    wait_idle(regions, qtbot)
    assert [settings.box for settings in fake_engine.asked] == [FIRST, SECOND]
    assert names(regions) == ["rso 1", "rso 2"]


def test_what_is_missing_up_to_iso_runs_in_one_go(opened, fake_engine, qtbot):
    opened.commands.align()
    wait_idle(opened, qtbot)
    for _ in range(2):
        press(opened, qtbot, Qt.Key.Key_3, CONTROL | SHIFT)
        wait_idle(opened, qtbot)
        assert names(opened) == ["align", "general", "iso"]
    assert "Nothing is missing" in opened.message.text.text()


def test_nothing_waits_for_work_that_is_no_step(regions, fake_engine, qtbot):
    fake_engine.endless = True
    regions.commands.propose_regions()
    qtbot.waitUntil(lambda: regions.store.run.done > 3)
    assert not regions.actions_table["rso"].isEnabled()
    regions.commands.rso()
    assert waiting(regions) == []
    assert "Wait for the running step" in regions.message.text.text()
    regions.commands.cancel()
    wait_idle(regions, qtbot)


def test_closing_begins_nothing_that_waits(regions, fake_engine, qtbot):
    begin_endless(regions, qtbot, fake_engine)
    regions.commands.rso()
    regions.close()
    qtbot.waitUntil(lambda: not regions.isVisible(), timeout=10_000)
    assert len(fake_engine.asked) == 1


def test_the_curve_marks_the_best_state_and_stays_when_the_step_is_done(regions, fake_engine, qtbot):
    regions.commands.rso()
    wait_idle(regions, qtbot)
    points = regions.run_panel._best.getData()
    assert [list(axis) for axis in points] == [[2], [148.0]]  # the fake tells 150 − n and its second as the best
    assert regions.run_panel.plot.isVisible()
