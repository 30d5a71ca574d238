"""Six numbers of the alignment by hand, with what keeps it and what drops it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from PySide6.QtWidgets import QComboBox, QDoubleSpinBox, QGridLayout, QVBoxLayout, QWidget

from app.menus import Actions
from app.panels.parts import action_button, label, row, set_role
from app.store import Store
from app.texts import mark, tr
from engine.rigid_motion import RigidMotion

STEPS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
_AXES = (
    (
        "L",
        mark("Moves the moving image toward the patient's left; below zero the other way"),
        mark("Turns the moving image about the line from right to left through the middle of the fixed image"),
    ),
    (
        "P",
        mark("Moves the moving image toward the patient's back; below zero the other way"),
        mark("Turns the moving image about the line from front to back through the middle of the fixed image"),
    ),
    (
        "S",
        mark("Moves the moving image toward the patient's head; below zero the other way"),
        mark("Turns the moving image about the line from feet to head through the middle of the fixed image"),
    ),
)
"""Patient axis, what shifting along it does, and what turning about it does."""

_FARTHEST_MM = 5000.0
_WARNING = mark("Keeping it drops the deformable steps; undo brings them back.")


class ByHand(QWidget):
    """Seen while the hand aligns. Up and down change a number by a step, with Ctrl by ten."""

    def __init__(self, store: Store, actions: Actions) -> None:
        super().__init__()
        self._store = store
        self.numbers = [_number(tr("Shift toward {axis}, mm").format(axis=axis), _FARTHEST_MM) for axis, _, _ in _AXES]
        self.numbers += [_number(tr("Turn about {axis}, degrees").format(axis=axis), 180.0) for axis, _, _ in _AXES]
        self.step = QComboBox(toolTip=tr("What an arrow key or a click on an arrow changes, in mm and degrees"))
        self.step.setAccessibleName(tr("Step of the arrows"))
        for step in STEPS:
            self.step.addItem(f"{step:g}", step)
        self.warning = label(tr(_WARNING), "warn", wrap=True)
        self.keep = action_button(actions["keep_by_hand"], tr("Keep"))
        set_role(self.keep, "next")
        self._arrange(actions)
        for number, field in enumerate(self.numbers):
            field.valueChanged.connect(partial(self._take, number))
        self.step.activated.connect(self._take_step)
        for signal in (store.draft_changed, store.case_changed, store.settings_changed, store.run_changed):
            signal.connect(self.show_draft)
        self.show_draft()

    def show_draft(self) -> None:
        """Show the numbers of the motion that is under way."""
        store = self._store
        self.setVisible(store.draft is not None)
        if store.draft is None:
            return
        for field, value in zip(self.numbers, store.draft.numbers, strict=True):
            field.blockSignals(True)
            field.setSingleStep(store.settings.by_hand_step)
            field.setValue(round(value, field.decimals()) + 0.0)
            field.blockSignals(False)
        self.setEnabled(not store.running)
        self.step.setCurrentIndex(self.step.findData(store.settings.by_hand_step))
        self.warning.setVisible(any(step.name != "align" for step in store.case.current.steps))

    def commit(self) -> None:
        """Take what was typed and not left yet."""
        for field in self.numbers:
            field.interpretText()

    def _take(self, number: int, value: float) -> None:
        draft = self._store.draft
        values = list(draft.numbers)
        values[number] = value
        self._store.set_draft(RigidMotion(draft.center_mm, tuple(values[:3]), tuple(values[3:])))

    def _take_step(self, _index: int) -> None:
        self._store.set_settings(replace(self._store.settings, by_hand_step=self.step.currentData()))

    def _arrange(self, actions: Actions) -> None:
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        for column, text in enumerate(("", tr("Shift, mm"), tr("Turn, °"))):
            grid.addWidget(label(text, "dim"), 0, column)
        for number, (axis, toward, about) in enumerate(_AXES):
            shift, turn = self.numbers[number], self.numbers[3 + number]
            shift.setToolTip(tr(toward))
            turn.setToolTip(f"{tr(about)}\n{tr('Right-handed; L is turned about after P, S last')}")
            for column, widget in enumerate((label(axis), shift, turn)):
                grid.addWidget(widget, 1 + number, column)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(2, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(grid)
        layout.addLayout(row(label(tr("Step"), "dim"), self.step, label(tr("mm, °"), "dim")))
        layout.addWidget(self.warning)
        layout.addLayout(row(self.keep, action_button(actions["cancel"], tr("Cancel"))))


def _number(name: str, farthest: float) -> QDoubleSpinBox:
    field = QDoubleSpinBox(decimals=2, minimum=-farthest, maximum=farthest)
    field.setKeyboardTracking(False)
    field.setAccessibleName(name)
    field.setMinimumWidth(60)
    return field
