"""The table of actions as Qt actions in the menus of a window."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenu

from app.actions import LOCAL_MENU, MENUS, ROWS, Row
from app.texts import tr

if TYPE_CHECKING:
    from app.main_window import MainWindow


_HELD_S = 0.35
"""A key that is down for longer was held, not pressed."""


class Actions:
    """Actions by name, always enabled and checked as the store says."""

    def __init__(self, window: MainWindow) -> None:
        self._store = window.store
        self._actions: dict[str, QAction] = {}
        self._pressed_s: dict[str, float] = {}
        menus = {name: window.menuBar().addMenu(f"&{tr(name)}") for name in MENUS}
        for row in ROWS:
            self._actions[row.name] = self._added(row, window, menus[row.menu])
        store = self._store
        for signal in (
            store.case_changed,
            store.pictures_changed,
            store.view_changed,
            store.boxes_changed,
            store.pairs_changed,
            store.draft_changed,
            store.run_changed,
            store.folded_changed,
            store.history_changed,
        ):
            signal.connect(self.update)
        self.update()

    def __getitem__(self, name: str) -> QAction:
        return self._actions[name]

    def update(self) -> None:
        """Enable, disable and check."""
        for row in ROWS:
            action = self._actions[row.name]
            action.setEnabled(row.enabled(self._store))
            if row.checked is not None:
                action.setChecked(row.checked(self._store))

    def release(self, key: str) -> None:
        """A key was let go: a switch that it held is off again."""
        for row in ROWS:
            if row.held and row.key == key and time.monotonic() - self._pressed_s.pop(row.name, math.inf) > _HELD_S:
                self._actions[row.name].trigger()

    def _added(self, row: Row, window: MainWindow, menu: QMenu) -> QAction:
        tooltip = row.shown_tooltip()
        action = QAction(tr(row.text), window)
        action.setShortcut(QKeySequence(row.key, QKeySequence.SequenceFormat.PortableText))
        action.setToolTip(f"{tooltip} ({key_text(row.key)})" if row.key else tooltip)
        action.setStatusTip(tooltip)
        action.setCheckable(row.checked is not None)
        action.setAutoRepeat(not row.held)
        action.triggered.connect(lambda _checked=False: self._do(row, window))
        if row.menu == LOCAL_MENU:
            action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            window.grid.addAction(action)
        menu.setToolTipsVisible(True)
        menu.addAction(action)
        return action

    def _do(self, row: Row, window: MainWindow) -> None:
        row.slot(window)
        self.update()
        if row.held and row.checked is not None and row.checked(self._store):
            self._pressed_s[row.name] = time.monotonic()


def key_text(key: str) -> str:
    """A key as the user's keyboard has it: `Strg+S` for `Ctrl+S` in German."""
    return QKeySequence(key, QKeySequence.SequenceFormat.PortableText).toString(QKeySequence.SequenceFormat.NativeText)
