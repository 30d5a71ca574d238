"""The table of actions as Qt actions in the menus of a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenu

from app.actions import LOCAL_MENU, MENUS, ROWS, Row

if TYPE_CHECKING:
    from app.main_window import MainWindow


class Actions:
    """Actions by name, always enabled and checked as the store says."""

    def __init__(self, window: MainWindow) -> None:
        self._store = window.store
        self._actions: dict[str, QAction] = {}
        menus = {name: window.menuBar().addMenu(f"&{name}") for name in MENUS}
        for row in ROWS:
            self._actions[row.name] = self._added(row, window, menus[row.menu])
        store = self._store
        for signal in (
            store.case_changed,
            store.pictures_changed,
            store.view_changed,
            store.boxes_changed,
            store.pairs_changed,
            store.run_changed,
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

    def _added(self, row: Row, window: MainWindow, menu: QMenu) -> QAction:
        action = QAction(row.text, window)
        action.setShortcut(QKeySequence(row.key))
        action.setToolTip(f"{row.tooltip} ({row.key})" if row.key else row.tooltip)
        action.setStatusTip(row.tooltip)
        action.setCheckable(row.checked is not None)
        action.triggered.connect(lambda _checked=False: (row.slot(window), self.update()))
        if row.menu == LOCAL_MENU:
            action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            window.grid.addAction(action)
        menu.setToolTipsVisible(True)
        menu.addAction(action)
        return action
