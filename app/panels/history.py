"""The states of the case: undo, redo, or go to any of them."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QBrush, QColor
from PySide6.QtWidgets import QListWidget, QListWidgetItem

from app import theme
from app.menus import Actions
from app.panels.parts import Panel, action_button, row
from app.store import Store
from engine.registration import Registration


class HistoryPanel(Panel):
    """One line a state; a click goes there. `chosen` carries the number of the state."""

    chosen = Signal(int)

    def __init__(self, store: Store, actions: Actions) -> None:
        super().__init__("History")
        self._store = store
        self.list = QListWidget(toolTip="Click a state to go back or forth to it")
        self.list.setAccessibleName("History of the registration")
        self.list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.list.itemClicked.connect(lambda item: self.chosen.emit(self.list.row(item)))
        self.body.addWidget(self.list, 1)
        self.body.addLayout(row(action_button(actions["undo"], "Undo"), action_button(actions["redo"], "Redo")))
        store.case_changed.connect(self.show_case)
        for signal in (store.run_changed, store.draft_changed):
            signal.connect(self._guard)
        self.show_case()

    def show_case(self) -> None:
        """List the states, the current one selected and what could be redone dimmed."""
        self.list.clear()
        case = self._store.case
        if case is None:
            item = QListWidgetItem("Each finished step appears here")
            item.setFlags(Qt.ItemFlag.NoItemFlags)
            self.list.addItem(item)
            return
        for number, state in enumerate(case.states):
            item = QListWidgetItem(describe(state, number))
            if number > case.cursor:
                item.setForeground(QBrush(QColor(theme.current().dim)))
            self.list.addItem(item)
        self.list.setCurrentRow(case.cursor)

    def _guard(self) -> None:
        self.list.setEnabled(not self._store.running and self._store.draft is None)


def describe(state: Registration, number: int) -> str:
    """What a state came from and how well it fits."""
    if number == 0 or not state.steps:
        return "Start"
    step = state.steps[-1]
    name = step.name.upper() if step.name.startswith(("iso", "rso")) else step.name.capitalize()
    if step.settings.get("method") == "manual":
        name += " by hand"
    count = f", {step.iterations} it." if step.iterations > 1 else ""
    fit = step.settings.get("fit", "balanced")
    chosen = "" if fit == "balanced" else f", {fit}"
    return f"{name}{count}{chosen} · {step.rmse_hu:.0f} HU · {step.seconds:.1f} s"
