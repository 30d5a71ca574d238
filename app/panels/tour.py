"""The strip that leads through the tour: above the images, never in the way."""

from __future__ import annotations

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QSizePolicy

from app.menus import Actions
from app.panels.parts import label
from app.store import Store
from app.texts import tr
from app.tour import END, STEPS

_LOOK_DELAY_MS = 60
"""The store is looked at when the hand rests, so that dragging stays smooth."""


class TourStrip(QFrame):
    """Goes on by itself as soon as the store shows that a step was done."""

    def __init__(self, store: Store, actions: Actions) -> None:
        super().__init__()
        self._store, self._actions = store, actions
        self._number, self._case_id = 0, ""
        self._began = store.view
        self.setProperty("role", "message")
        self.setAccessibleName(tr("Tour"))
        self.place, self.text = label(role="heading"), label(wrap=True)
        self.text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.do_button = QPushButton()
        self.do_button.setProperty("role", "next")
        self.do_button.clicked.connect(self._do)
        self.skip_button = QPushButton(tr("Skip"), toolTip=tr("Go on to the next step of the tour"))
        self.skip_button.clicked.connect(self.skip)
        self.leave_button = QPushButton(tr("Leave"), toolTip=tr("Close the tour; F1 starts it again"))
        self.leave_button.clicked.connect(self.leave)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(10, 4, 6, 4)
        layout.addWidget(self.place)
        layout.addWidget(self.text, 1)
        for button in (self.do_button, self.skip_button, self.leave_button):
            layout.addWidget(button)
        self._due = QTimer(self, singleShot=True, interval=_LOOK_DELAY_MS)
        self._due.timeout.connect(self.look)
        for signal in (
            store.case_changed,
            store.pictures_changed,
            store.view_changed,
            store.boxes_changed,
            store.run_changed,
        ):
            signal.connect(self._ask)
        self.hide()

    @property
    def number(self) -> int:
        """Of the step that is shown, from 0; as many as there are steps at the end."""
        return self._number

    def start(self) -> None:
        """From the beginning; what the store shows to be done already is passed over."""
        self.show()
        self._enter(0)
        self.look()

    def skip(self) -> None:
        if self._number < len(STEPS):
            self._enter(self._number + 1)
            self.look()

    def leave(self) -> None:
        self.hide()

    def look(self) -> None:
        """Go on past every step that is done; begin again where another case was opened."""
        case, store = self._store.case, self._store
        if ("" if case is None else case.id) != self._case_id:
            self._enter(0)
        while self._number < len(STEPS) and not store.running and STEPS[self._number].done(store, self._began):
            self._enter(self._number + 1)
        self._show()

    def _enter(self, number: int) -> None:
        self._number, self._began = number, self._store.view
        self._case_id = "" if self._store.case is None else self._store.case.id

    def _ask(self) -> None:
        if self.isVisible() and not self._due.isActive():
            self._due.start()

    def _show(self) -> None:
        ended = self._number >= len(STEPS)
        place = tr("Step {number} of {count}").format(number=self._number + 1, count=len(STEPS))
        self.place.setText(tr("Tour") if ended else place)
        self.do_button.setVisible(not ended)
        self.skip_button.setVisible(not ended)
        self.skip_button.setEnabled(self._store.case is not None)
        self.leave_button.setText(tr("Close") if ended else tr("Leave"))
        if ended:
            self.text.setText(tr(END))
            return
        step = STEPS[self._number]
        action = self._actions[step.action]
        self.do_button.setText(action.text())
        self.do_button.setToolTip(action.toolTip())
        self.do_button.setEnabled(action.isEnabled())
        self.text.setText(f"{tr(step.text)} {step.note(self._store)}".strip())

    def _do(self) -> None:
        self._actions[STEPS[self._number].action].trigger()
