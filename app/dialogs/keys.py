"""The sheet of keys and mouse gestures."""

from __future__ import annotations

from html import escape

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QTextBrowser, QVBoxLayout, QWidget

from app.actions import MENUS, ROWS
from app.menus import key_text
from app.texts import mark, tr

_MOUSE = {
    mark("Wheel"): mark("next and previous slice"),
    mark("Ctrl + wheel"): mark("zoom about the pointer"),
    mark("Left click or drag"): mark("move the cursor of all panes"),
    mark("Right drag"): mark("window: sideways its width, up and down its level"),
    mark("Middle drag, Shift + drag"): mark("move the picture"),
    mark("P, then clicks"): mark("a place in the fixed or warped image, then the same place in the moving one"),
    mark("By hand: drag"): mark("move the moving image; outside the ring or with Ctrl, turn it about the cursor"),
    mark("Drag a handle"): mark("resize the region; the round one in the middle moves it"),
}


class KeysDialog(QDialog):
    """Made from the table of actions, so it is always complete."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Keys and mouse"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(620, 560)
        text = QTextBrowser()
        text.setAccessibleName(tr("Keys and mouse"))
        text.setHtml(keys_html())
        QVBoxLayout(self).addWidget(text)
        self.setWindowModality(Qt.WindowModality.NonModal)


def keys_html() -> str:
    """One table for each menu, and one for the mouse."""
    blocks = [_table(tr("Mouse"), ((tr(gesture), tr(what)) for gesture, what in _MOUSE.items()))]
    for menu in MENUS:
        rows = [row for row in ROWS if row.menu == menu and row.key]
        lines = ((key_text(row.key), f"{tr(row.text)}: {row.shown_tooltip()}") for row in rows)
        blocks.append(_table(tr(menu), lines))
    return "".join(blocks)


def _table(title: str, lines: object) -> str:
    rows = "".join(f"<tr><td width=170><b>{escape(key)}</b></td><td>{escape(text)}</td></tr>" for key, text in lines)
    return f"<h3>{escape(title)}</h3><table cellpadding=3>{rows}</table>"
