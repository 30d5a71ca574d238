"""Small widgets that several panels use."""

from __future__ import annotations

import re
from collections.abc import Callable

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction, QColor, QIcon, QPainter, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from app import theme
from app.texts import tr

_LONG_WORD, _BREAK = re.compile(r"\S{24}(?=\S)"), "\u200b"
"""Where a line may break in a name or path without a blank."""


def label(text: str = "", role: str = "", wrap: bool = False) -> QLabel:
    """A label whose colour the theme gives by its role."""
    widget = QLabel(text)
    widget.setTextFormat(Qt.TextFormat.PlainText)
    widget.setWordWrap(wrap)
    if role:
        widget.setProperty("role", role)
    return widget


class WrappedLabel(QLabel):
    """Breaks its text over lines, a word that is longer than a line too; `text` is what it was given."""

    def __init__(self) -> None:
        super().__init__(wordWrap=True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self._text = ""

    def text(self) -> str:
        return self._text

    def setText(self, text: str) -> None:  # noqa: N802
        self._text = text
        super().setText(_LONG_WORD.sub(lambda found: found[0] + _BREAK, text))


class ElidedLabel(QLabel):
    """One line that takes the room there is and ends in dots where that is too little; all of it is its tooltip."""

    def __init__(self, role: str = "") -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setProperty("role", role)

    def setText(self, text: str) -> None:  # noqa: N802
        super().setText(text)
        self.setToolTip(text)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return QSize(0, super().minimumSizeHint().height())

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, self.width())
        self.style().drawItemText(
            painter, self.rect(), self.alignment(), self.palette(), self.isEnabled(), text, self.foregroundRole()
        )


def set_role(widget: QWidget, role: str) -> None:
    if widget.property("role") != role:
        widget.setProperty("role", role)
        widget.style().unpolish(widget)
        widget.style().polish(widget)


def action_button(action: QAction, text: str = "") -> QPushButton:
    """A button that does what an action does and is enabled when it is."""
    button = QPushButton(text or action.text())
    button.setToolTip(action.toolTip())
    button.clicked.connect(action.trigger)

    def follow() -> None:
        button.setEnabled(action.isEnabled())

    action.changed.connect(follow)
    follow()
    return button


def tool_button(action: QAction) -> QToolButton:
    button = QToolButton()
    button.setDefaultAction(action)
    button.setAutoRaise(True)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button


def lock_icon() -> QIcon:
    """A padlock in the colour of the text."""
    picture = QPixmap(32, 32)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    color = QColor(theme.current().text)
    painter.setPen(QPen(color, 3))
    painter.drawArc(10, 4, 12, 18, 0, 180 * 16)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(color)
    painter.drawRoundedRect(6, 14, 20, 14, 3, 3)
    painter.end()
    return QIcon(picture)


def row(*widgets: QWidget, stretch_last: bool = False) -> QHBoxLayout:
    layout = QHBoxLayout()
    layout.setSpacing(6)
    for widget in widgets:
        layout.addWidget(widget)
    if not stretch_last:
        layout.addStretch(1)
    return layout


class Panel(QFrame):
    """A block of a column, with a heading unless a tab names it."""

    def __init__(self, title: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(8, 6, 8, 8)
        self.body.setSpacing(5)
        if title:
            self.body.addWidget(label(title, "heading"))


class MessageBar(QFrame):
    """One line above the images, with buttons: what the window says or asks without stopping anybody."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "message")
        self.text = WrappedLabel()
        self.text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self._answers: dict[str, Callable[[], object]] = {}
        self._buttons: list[QPushButton] = []
        self._layout = QHBoxLayout(self)
        self._layout.setContentsMargins(10, 4, 6, 4)
        self._layout.addWidget(self.text, 1)
        self.hide()

    def warn(self, text: str, answers: dict[str, Callable[[], object]] | None = None) -> None:
        """Show a line about what did not work."""
        self.say(text, answers)
        set_role(self, "problem")

    def say(self, text: str, answers: dict[str, Callable[[], object]] | None = None) -> None:
        """Show a line; each answer is a button, and one that closes the line is always among them."""
        set_role(self, "message")
        for button in self._buttons:
            self._layout.removeWidget(button)
            button.deleteLater()
        self._buttons = []
        self.text.setText(text)
        self._answers = answers or {}
        close = tr("Close")
        for name, then in {**self._answers, close: lambda: None}.items():
            button = QPushButton(name, toolTip=tr("Hide this line") if name == close else f"{name}: {text}")
            button.clicked.connect(lambda _checked=False, then=then: self._answer(then))
            self._layout.addWidget(button)
            self._buttons.append(button)
        self.show()

    def add(self, text: str, answers: dict[str, Callable[[], object]]) -> None:
        """Show a line below what is said already, with its answers beside the ones that are there."""
        if self.isHidden():
            self.say(text, answers)
        else:
            self.say(f"{self.text.text()}\n{text}", {**self._answers, **answers})

    def button(self, name: str) -> QPushButton:
        return next(button for button in self._buttons if button.text() == name)

    def _answer(self, then: Callable[[], object]) -> None:
        self.hide()
        then()
