"""A user without aim: actions of the table, keys, drags, the wheel, clicks on whatever is in sight, in any order."""

from __future__ import annotations

import random

from PySide6.QtCore import QCoreApplication, QEvent, QPoint, QPointF, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QApplication,
    QComboBox,
    QDialog,
    QFileDialog,
    QLineEdit,
    QSlider,
    QSpinBox,
    QWidget,
)

from app.actions import ROWS
from app.main_window import MainWindow
from tests.app.driving import turn_wheel
from tests.app.watchdog import Watchdog, timed

LEFT_OUT = {"quit"}
_MODIFIERS = (
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.AltModifier,
)
_BUTTONS = (
    Qt.MouseButton.LeftButton,
    Qt.MouseButton.LeftButton,
    Qt.MouseButton.RightButton,
    Qt.MouseButton.MiddleButton,
)
_KEYS = tuple(
    getattr(Qt.Key, f"Key_{name}")
    for name in (*"ABCDEFGHIJKLMNOPRSTUVWXYZ0123456789", "Up", "Down", "Left", "Right", "PageUp", "PageDown",
                 "Home", "End", "Space", "Tab", "Return", "Escape", "Delete", "Backspace", "Plus",
                 "Minus", "Question", "F1", "F2")
)  # fmt: skip
_TEXTS = ("", "3:9,4:8,1:6", "3:9", "no number", "-1", "Bronchus", "9" * 40)
_POPUP_MS = 5
"""The menu of a button waits in a loop of its own until it is closed."""

_SIZES = ((1366, 768), (1500, 900), (1920, 1080))


class Monkey:
    """Does what a seed says. File dialogs are closed at once, so that it touches no files of others."""

    def __init__(self, window: MainWindow, seed: int, watchdog: Watchdog | None = None) -> None:
        self.window, self.watchdog = window, watchdog or Watchdog()
        self.done: list[str] = []
        self.random = random.Random(seed)
        self._closer = QTimer(window, interval=_POPUP_MS)
        self._closer.timeout.connect(_close_popups)
        self._closer.start()

    def act(self) -> None:
        """One thing, and all that Qt makes of it."""
        kinds = (self._action, self._key, self._drag, self._wheel, self._click, self._type, self._resize, self._close)
        kind = self.random.choices(kinds, weights=(8, 5, 5, 4, 5, 2, 0.2, 3))[0]
        with timed(self.watchdog.acts, kind.__name__.strip("_")):
            self.done.append(kind())
            with timed(self.watchdog.turns, self.done[-1]):
                QCoreApplication.processEvents()
        _close_popups()
        for dialog in self._dialogs():
            if isinstance(dialog, QFileDialog):
                dialog.reject()

    def tidy(self) -> None:
        """Close every window but the one."""
        self._closer.stop()
        for widget in QApplication.topLevelWidgets():
            if widget.isVisible() and widget is not self.window:
                widget.close()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    def _action(self) -> str:
        row = self.random.choice([row for row in ROWS if row.name not in LEFT_OUT])
        with self.watchdog.event(row.name):
            self.window.actions_table[row.name].trigger()
        return f"action {row.name}"

    def _key(self) -> str:
        key, modifiers = self.random.choice(_KEYS), self.random.choice(_MODIFIERS)
        focus = self.window.focusWidget()
        target = focus if focus is not None and self.random.random() < 0.5 else self._pane()
        QTest.keyClick(target, key, modifiers)
        return f"key {modifiers.name} {key.name} in {type(target).__name__}"

    def _drag(self) -> str:
        pane, button, modifiers = self._pane(), self.random.choice(_BUTTONS), self.random.choice(_MODIFIERS)
        places = [self._inside(pane) for _ in range(self.random.randint(2, 6))]
        QTest.mousePress(pane, button, modifiers, places[0])
        for place in places:
            QTest.mouseMove(pane, place)
            if self.random.random() < 0.1:
                self._action()
        QTest.mouseRelease(pane, button, modifiers, places[-1])
        return f"drag {button.name} {modifiers.name}"

    def _wheel(self) -> str:
        pane, notches = self._pane(), self.random.choice((-3, -1, 1, 2))
        modifiers = self.random.choice(_MODIFIERS)
        turn_wheel(pane, notches, modifiers, QPointF(self._inside(pane)))
        return f"wheel {notches} {modifiers.name}"

    def _click(self) -> str:
        kinds = (QAbstractButton, QComboBox, QAbstractItemView, QSlider, QSpinBox)
        roots = [self.window, *(dialog for dialog in self._dialogs() if not isinstance(dialog, QFileDialog))]
        root = self.random.choice(roots)
        seen = _usable(root, kinds)
        if not seen:
            return "no click"
        widget = self.random.choice(seen)
        name = f"click {type(widget).__name__} {widget.accessibleName() or widget.toolTip()!r}"
        target = widget.viewport() if isinstance(widget, QAbstractItemView) else widget
        QTest.mouseClick(target, Qt.MouseButton.LeftButton, pos=self._inside(target))
        return name

    def _type(self) -> str:
        fields = _usable(self.window, (QLineEdit,))
        if not fields:
            return "nothing to type into"
        line, text = self.random.choice(fields), self.random.choice(_TEXTS)
        line.selectAll()
        QTest.keyClicks(line, text)
        QTest.keyClick(line, Qt.Key.Key_Return)
        return f"type {text!r} into {line.accessibleName()!r}"

    def _resize(self) -> str:
        size = self.random.choice(_SIZES)
        with self.watchdog.event("resize"):
            self.window.resize(*size)
        return f"resize {size}"

    def _close(self) -> str:
        dialogs = self._dialogs()
        for dialog in dialogs:
            with self.watchdog.event(f"close {type(dialog).__name__}"):
                dialog.close()
        return f"close {len(dialogs)} dialogs"

    def _dialogs(self) -> list[QDialog]:
        return [
            widget for widget in QApplication.topLevelWidgets() if isinstance(widget, QDialog) and widget.isVisible()
        ]

    def _pane(self) -> QWidget:
        return self.random.choice([pane for pane in self.window.grid.panes if pane.isVisible()])

    def _inside(self, widget: QWidget) -> QPoint:
        return QPoint(self.random.randrange(max(widget.width(), 1)), self.random.randrange(max(widget.height(), 1)))


def _close_popups() -> None:
    while (popup := QApplication.activePopupWidget()) is not None:
        popup.close()


def _usable(root: QWidget, kinds: tuple[type[QWidget], ...]) -> list[QWidget]:
    """What can be seen and used in a window, not in those that it opened."""
    own = [w for w in root.findChildren(QWidget) if isinstance(w, kinds) and QWidget.window(w) is root]
    return [w for w in own if w.isVisible() and w.isEnabled()]
