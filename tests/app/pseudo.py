"""A language that nobody speaks: every letter accented, every text a third longer, so that what is missed is seen."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from pyqtgraph import PlotWidget
from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QDialogButtonBox,
    QGroupBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QListWidget,
    QMenu,
    QTabBar,
    QTableWidget,
    QTabWidget,
    QTextBrowser,
    QTreeWidget,
    QWidget,
)

from app.viewer.pane import Pane

LANGUAGE = "xx"
_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ACCENTED = "àƀçðéƒĝĥîĵķļɱñöþǫŕšţûṽŵẋýžÀƁÇÐÉƑĜĤÎĴĶĻṀÑÖÞǪŔŠŢÛṼŴẊÝŽ"
_ACCENTS = str.maketrans(_PLAIN, _ACCENTED)
_HEADER = "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=(n != 1);\n"
_QT_SAYS = ("OK", "Open", "Cancel", "Close", "")
_MAGIC = 0x950412DE


def pseudo(text: str) -> str:
    """«Ŝàṽéð îñ {folder}. ····»."""
    pieces = re.split(r"(\{[^}]*\})", text)
    said = "".join(piece if piece.startswith("{") else piece.translate(_ACCENTS) for piece in pieces)
    return f"«{said}{'·' * round(0.3 * len(text))}»"


def write_catalogue(folder: Path, messages: Iterable[tuple[str, ...]], language: str = LANGUAGE) -> None:
    """Messages and what they are in the pseudo-language, as gettext's compiled file."""
    entries = {"": _HEADER, **{"\0".join(forms): "\0".join(map(pseudo, forms)) for forms in messages}}
    pairs = [(key.encode(), entries[key].encode()) for key in sorted(entries)]
    count, tables, place, strings = len(pairs), [[], []], 28 + 16 * len(pairs), b""
    for side in (0, 1):
        for pair in pairs:
            tables[side] += [len(pair[side]), place + len(strings)]
            strings += pair[side] + b"\0"
    head = struct.pack("<7I", _MAGIC, 0, count, 28, 28 + 8 * count, 0, 0)
    path = folder / language / "LC_MESSAGES" / "regard.mo"
    path.parent.mkdir(parents=True)
    path.write_bytes(head + struct.pack(f"<{4 * count}I", *tables[0], *tables[1]) + strings)


def shown_texts(top: QWidget) -> Iterator[tuple[str, str]]:
    """Where and what: every text of a window's widgets, menus and panes that is there to be read or heard.

    Without those that Qt has translations of its own for, and the menus of pyqtgraph's plots, which nobody can open.
    """
    for widget in (top, *filter(_is_ours, top.findChildren(QWidget))):
        name = f"{type(widget).__name__} in {type(widget.parent()).__name__}"
        texts = [widget.windowTitle(), widget.toolTip(), widget.accessibleName(), widget.statusTip(), *_own(widget)]
        yield from ((name, text) for text in texts if text)
    for action in filter(_is_ours, top.findChildren(QAction)):
        name = f"action in {type(action.parent()).__name__}"
        texts = action.text(), action.iconText(), action.toolTip(), action.statusTip()
        yield from ((name, text) for text in texts if text)


def _is_ours(thing: QObject) -> bool:
    if isinstance(thing, QAbstractButton) and thing.text().replace("&", "") in _QT_SAYS:
        return not isinstance(thing.parent(), QDialogButtonBox | QTabBar)
    above = thing.parent()
    while above is not None and not isinstance(above, PlotWidget):
        above = above.parent()
    return above is None


def _own(widget: QWidget) -> Iterator[str]:
    if isinstance(widget, QAbstractButton | QLabel):
        yield widget.text()
    elif isinstance(widget, QLineEdit):
        yield widget.placeholderText()
    elif isinstance(widget, QGroupBox | QMenu):
        yield widget.title()
    elif isinstance(widget, QTextBrowser):
        yield widget.toPlainText()
    elif isinstance(widget, QComboBox):
        yield widget.placeholderText()
        for number in range(widget.count()):
            yield widget.itemText(number)
            yield widget.itemData(number, Qt.ItemDataRole.ToolTipRole) or ""
    elif isinstance(widget, QTabWidget):
        yield from (widget.tabText(number) for number in range(widget.count()))
    elif isinstance(widget, Pane):
        yield from _of_pane(widget)
    else:
        yield from _of_view(widget)


def _of_pane(pane: Pane) -> Iterator[str]:
    state = pane.state
    if state is not None:
        yield from (state.title, state.hint, state.prompt, state.place_text, state.window_text)
        yield from (text for bar in state.bars for text in (bar.title, *bar.labels))
        yield from (outline.name for outline in state.outlines)


def _of_view(view: QWidget) -> Iterator[str]:
    if isinstance(view, QListWidget):
        items = [view.item(row) for row in range(view.count())]
        yield from (text for item in items for text in (item.text(), item.toolTip()))
    elif isinstance(view, QTableWidget):
        places = [(row, column) for row in range(view.rowCount()) for column in range(view.columnCount())]
        items = [item for place in places if (item := view.item(*place)) is not None]
        yield from (text for item in items for text in (item.text(), item.toolTip()))
    elif isinstance(view, QTreeWidget):
        for item in view.findItems("", Qt.MatchFlag.MatchContains | Qt.MatchFlag.MatchRecursive):
            yield from (
                text for column in range(view.columnCount()) for text in (item.text(column), item.toolTip(column))
            )
    elif isinstance(view, QHeaderView) and view.orientation() == Qt.Orientation.Horizontal and view.model() is not None:
        for role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            headers = (view.model().headerData(i, view.orientation(), role) for i in range(view.count()))
            yield from (str(header) for header in headers if header)
