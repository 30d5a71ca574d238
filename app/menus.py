"""The table of actions as Qt actions in the menus of a window."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QAction, QKeyEvent, QKeySequence, QShortcutEvent
from PySide6.QtWidgets import QMenu, QWidget

from app.actions import LOCAL_MENU, MENUS, ROWS, Row
from app.texts import tr

if TYPE_CHECKING:
    from app.main_window import MainWindow


_HELD_S = 0.35
"""A key that is down for longer was held, not pressed."""


class Actions(QObject):
    """Actions by name, always enabled and checked as the store says."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._store = window.store
        self._actions: dict[str, QAction] = {}
        self._by_key = False
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
        self._follow(window)
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

    def offer_in(self, window: QWidget, grid: QWidget) -> None:
        """Have the keys work in a further window too, those of `LOCAL_MENU` in its images."""
        for row in ROWS:
            (grid if row.menu == LOCAL_MENU else window).addAction(self._actions[row.name])
        self._follow(window)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Learn which switches a key turned on, and when it is let go, at the latest when its window is left."""
        if isinstance(event, QShortcutEvent):
            self._by_key = not event.isAmbiguous()
        elif event.type() == QEvent.Type.WindowDeactivate:
            self._let_go(list(self._pressed_s))
        elif event.type() == QEvent.Type.KeyRelease and isinstance(event, QKeyEvent) and not event.isAutoRepeat():
            key = QKeySequence(event.key()).toString()
            self._let_go([row.name for row in ROWS if row.key == key])
        return super().eventFilter(watched, event)

    def _follow(self, window: QWidget) -> None:
        """Hear of the keys that are let go in a window, and of its being left."""
        window.installEventFilter(self)

    def _let_go(self, names: list[str]) -> None:
        """A switch that a key held is off again."""
        for name in names:
            pressed_s = self._pressed_s.pop(name, None)
            is_held = pressed_s is not None and time.monotonic() - pressed_s > _HELD_S
            if is_held and self._actions[name].isChecked():
                self._actions[name].trigger()

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
        if row.held:
            action.installEventFilter(self)
        menu.setToolTipsVisible(True)
        menu.addAction(action)
        return action

    def _do(self, row: Row, window: MainWindow) -> None:
        by_key, self._by_key = self._by_key, False
        row.slot(window)
        self.update()
        self._pressed_s.pop(row.name, None)
        if by_key and row.held and row.checked is not None and row.checked(self._store):
            self._pressed_s[row.name] = time.monotonic()


def key_text(key: str) -> str:
    """A key as the user's keyboard has it: `Strg+S` for `Ctrl+S` in German."""
    return QKeySequence(key, QKeySequence.SequenceFormat.PortableText).toString(QKeySequence.SequenceFormat.NativeText)
