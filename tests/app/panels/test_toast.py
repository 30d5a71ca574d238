from __future__ import annotations

from PySide6.QtCore import Qt

from app.panels.toast import SHOWN_MS
from tests.app.driving import CONTROL, LEFT, press, wait_idle


def finish_step(window, qtbot):
    window.commands.iso()
    wait_idle(window, qtbot)
    return window.toast


def test_a_result_lies_in_the_corner_and_goes_by_itself(opened, qtbot):
    focused = opened.focusWidget()
    toast = finish_step(opened, qtbot)
    assert toast.isVisible()
    assert toast.text.text() == "Image (ISO): 100 HU"
    assert opened.focusWidget() is focused
    assert opened.grid.rect().contains(toast.geometry())
    assert toast.geometry().center().x() > opened.grid.width() / 2
    assert toast._due.isActive()
    assert toast._due.interval() == SHOWN_MS
    toast._due.timeout.emit()
    assert not toast.isVisible()


def test_it_undoes_the_step(opened, qtbot):
    toast = finish_step(opened, qtbot)
    qtbot.mouseClick(toast.button, LEFT)
    assert opened.store.case.cursor == 0
    assert not toast.isVisible()
    wait_idle(opened, qtbot)


def test_it_goes_when_another_state_is_current(opened, qtbot):
    toast = finish_step(opened, qtbot)
    opened.commands.guide()
    assert toast.isVisible()
    press(opened, qtbot, Qt.Key.Key_Z, CONTROL)
    assert not toast.isVisible()
    wait_idle(opened, qtbot)


def test_it_fits_into_narrow_images(opened, qtbot):
    opened.resize(900, 600)
    toast = finish_step(opened, qtbot)
    toast.say("Region 1: " + "a long name " * 30)
    opened.resize(1000, 700)
    assert opened.grid.rect().contains(toast.geometry())
    toast.close_button.click()
    assert not toast.isVisible()
