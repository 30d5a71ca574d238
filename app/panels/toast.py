"""A few words in the corner of the images after a step. They go away by themselves."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtGui import QEnterEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QToolButton, QWidget

from app.panels.parts import ElidedLabel
from app.store import Store
from app.texts import tr

SHOWN_MS = 9000
_MARGIN = 12


class Toast(QFrame):
    """Lies over a widget, takes no focus, and stays while the pointer is on it or another state is not current."""

    def __init__(self, over: QWidget, store: Store, button: QPushButton) -> None:
        """`button`: what can be done about it."""
        super().__init__(over)
        self._store = store
        self._told_of: object = None
        self.setProperty("role", "message")
        self.setAccessibleName(tr("Result of the last step"))
        self.setAutoFillBackground(True)
        self.text = ElidedLabel()
        self.button = button
        self.close_button = QToolButton(text="✕", autoRaise=True, toolTip=tr("Close this message"))
        self.close_button.setAccessibleName(tr("Close this message"))
        self.close_button.clicked.connect(self.hide)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 6, 6, 6)
        for widget in (self.text, self.button, self.close_button):
            layout.addWidget(widget)
        self._due = QTimer(self, singleShot=True, interval=SHOWN_MS)
        self._due.timeout.connect(self.hide)
        over.installEventFilter(self)
        store.case_changed.connect(self._hide_if_past)
        self.hide()

    def say(self, text: str) -> None:
        """Show a sentence about the state that is current now."""
        case = self._store.case
        self._told_of = None if case is None else case.current
        self.text.setText(text)
        self._place()
        self.show()
        self.raise_()
        self._due.start()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        if event.type() == QEvent.Type.Resize and self.isVisible():
            self._place()
        return super().eventFilter(watched, event)

    def enterEvent(self, event: QEnterEvent) -> None:  # noqa: N802
        self._due.stop()
        super().enterEvent(event)

    def leaveEvent(self, event: QEvent) -> None:  # noqa: N802
        self._due.start()
        super().leaveEvent(event)

    def _place(self) -> None:
        """In the lower right corner, the text cut where there is no room for all of it."""
        over = self.parentWidget()
        self.setMaximumWidth(max(over.width() - 2 * _MARGIN, 1))
        self.adjustSize()
        self.move(over.width() - self.width() - _MARGIN, over.height() - self.height() - _MARGIN)

    def _hide_if_past(self) -> None:
        case = self._store.case
        if case is None or case.current is not self._told_of:
            self.hide()
