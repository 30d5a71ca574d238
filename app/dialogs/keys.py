"""The sheet of keys and mouse gestures."""

from __future__ import annotations

from html import escape

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QTextBrowser, QVBoxLayout, QWidget

from app.actions import MENUS, ROWS

_MOUSE = {
    "Wheel": "next and previous slice",
    "Ctrl + wheel": "zoom about the pointer",
    "Left click or drag": "move the cursor of all panes",
    "Right drag": "window: sideways its width, up and down its level",
    "Middle drag, Shift + drag": "move the picture",
    "P, then clicks": "a place in the fixed or warped image, then the same place in the moving one",
    "Drag a handle": "resize the region; the round one in the middle moves it",
}


class KeysDialog(QDialog):
    """Made from the table of actions, so it is always complete."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys and mouse")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(620, 560)
        text = QTextBrowser()
        text.setAccessibleName("Keys and mouse")
        text.setHtml(keys_html())
        QVBoxLayout(self).addWidget(text)
        self.setWindowModality(Qt.WindowModality.NonModal)


def keys_html() -> str:
    """One table for each menu, and one for the mouse."""
    blocks = [_table("Mouse", _MOUSE.items())]
    for menu in MENUS:
        blocks.append(
            _table(menu, ((row.key, f"{row.text}: {row.tooltip}") for row in ROWS if row.menu == menu and row.key))
        )
    return "".join(blocks)


def _table(title: str, lines: object) -> str:
    rows = "".join(f"<tr><td width=170><b>{escape(key)}</b></td><td>{escape(text)}</td></tr>" for key, text in lines)
    return f"<h3>{escape(title)}</h3><table cellpadding=3>{rows}</table>"
