"""Every action of the window in one table: menu, text, key, tooltip, what it does and when it can be done."""

from __future__ import annotations

from app.actions import about, edit, file, look, move, run, view
from app.actions.row import Row
from app.texts import mark

__all__ = ["LOCAL_MENU", "MENUS", "ROWS", "Row"]

ROWS: tuple[Row, ...] = tuple(row for menu in (file, edit, run, view, move, look, about) for row in menu.rows())
LOCAL_MENU = "Move"
"""Its keys work where an image pane has the focus; elsewhere arrows move through lists and numbers."""

MENUS = (
    mark("File"),
    mark("Edit"),
    mark("Run"),
    mark("View"),
    mark("Move"),
    mark("HU window"),
    mark("Compare"),
    mark("Overlays"),
    mark("Help"),
)
