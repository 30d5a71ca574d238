"""Keys and switches: held or pressed, in the first window and in the second."""

from __future__ import annotations

import itertools

import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtWidgets import QApplication

from app.viewer.pop_out import PopOut
from tests.app.driving import CONTROL, press

Key = Qt.Key


@pytest.fixture
def slow_hand(monkeypatch):
    """Every look at the clock is a second after the last, so that each key counts as held."""
    clock = itertools.count()
    monkeypatch.setattr("app.menus.time.monotonic", lambda: float(next(clock)))


@pytest.fixture
def quick_hand(monkeypatch):
    monkeypatch.setattr("app.menus.time.monotonic", lambda: 0.0)


def test_a_switch_that_the_mouse_turned_on_is_turned_off_by_its_key(opened, qtbot, slow_hand):
    opened.actions_table["flicker"].trigger()
    press(opened, qtbot, Key.Key_Z)
    assert not opened.store.view.flickering


def test_another_key_with_the_same_letter_turns_nothing_on(opened, qtbot, slow_hand):
    """Before on and off by mouse, then Ctrl+Z."""
    for _ in range(2):
        opened.actions_table["flicker"].trigger()
    press(opened, qtbot, Key.Key_Z, CONTROL)
    assert not opened.store.view.flickering


def test_a_held_key_is_let_go_with_the_window(opened, qtbot, slow_hand):
    opened.activateWindow()
    opened.grid.panes[0].setFocus()
    qtbot.keyPress(opened, Key.Key_Z)
    assert opened.store.view.flickering
    QApplication.sendEvent(opened, QEvent(QEvent.Type.WindowDeactivate))
    assert not opened.store.view.flickering
    qtbot.keyRelease(opened, Key.Key_Z)
    assert not opened.store.view.flickering


def test_a_held_key_that_another_took_the_place_of_turns_nothing_on(opened, qtbot, slow_hand):
    """X is held, Y pressed beside it, then X is let go."""
    opened.activateWindow()
    opened.grid.panes[0].setFocus()
    qtbot.keyPress(opened, Key.Key_X)
    qtbot.keyPress(opened, Key.Key_Y)
    assert opened.actions_table["complementary"].isChecked()
    qtbot.keyRelease(opened, Key.Key_X)
    assert opened.actions_table["complementary"].isChecked()
    assert not opened.actions_table["blend"].isChecked()
    QApplication.sendEvent(opened, QEvent(QEvent.Type.WindowDeactivate))
    assert opened.store.view.comparison is None


def test_a_pressed_key_stays_on_when_the_window_is_left(opened, qtbot, quick_hand):
    press(opened, qtbot, Key.Key_Z)
    QApplication.sendEvent(opened, QEvent(QEvent.Type.WindowDeactivate))
    assert opened.store.view.flickering


@pytest.fixture
def second(opened, qtbot):
    """The images in a window of their own, which is the active one."""
    opened.actions_table["pop_out"].trigger()
    (window,) = opened.findChildren(PopOut)
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    yield window
    window.close()


def test_keys_work_in_the_second_window(opened, second, qtbot, quick_hand):
    store = opened.store
    assert second.grid.panes[0].hasFocus()
    qtbot.keyClick(second, Key.Key_Z)
    assert store.view.flickering
    z, y, x = store.view.cursor_zyx
    qtbot.keyClick(second.grid.panes[0], Key.Key_Down)
    assert sum(abs(a - b) for a, b in zip(store.view.cursor_zyx, (z, y, x), strict=True)) == 1


def test_a_key_held_in_the_second_window_is_let_go_there(opened, second, qtbot, slow_hand):
    qtbot.keyPress(second, Key.Key_Z)
    assert opened.store.view.flickering
    qtbot.keyRelease(second, Key.Key_Z)
    assert not opened.store.view.flickering


def test_keys_of_the_layout_are_for_the_window_in_front(opened, second, qtbot):
    before = opened.store.view
    qtbot.keyClick(second, Key.Key_1)
    qtbot.keyClick(second, Key.Key_S)
    assert (second.grid.view.layout, second.grid.view.plane) == ("compare", "sagittal")
    assert second.arrangement.currentData() == "compare"
    assert (opened.store.view.layout, opened.store.view.plane) == (before.layout, before.plane)
    qtbot.keyClick(second.grid.panes[0], Key.Key_Return)
    assert second.grid.view.layout == "single"
    assert opened.store.view.layout == before.layout
