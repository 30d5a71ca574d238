"""Every widget that can be used says what it is, by name and by tooltip."""

from __future__ import annotations

from collections import Counter

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QDialogButtonBox,
    QFileDialog,
    QHeaderView,
    QLineEdit,
    QScrollBar,
    QTabBar,
    QTextEdit,
    QWidget,
)

from app.actions import ROWS
from app.dialogs.keys import keys_html
from app.fits import FITS
from app.viewer.pane import Pane
from tests.app.driving import wait_idle, wait_pictures

USABLE = (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QTextEdit,
    Pane,
)
LOOKED_AT = (QTextEdit, Pane)
"""A tooltip would only lie over what is read or seen there."""

OF_QT = (QScrollBar, QHeaderView)


def usable(root):
    """What a hand or a key can use, but for the parts that Qt makes of others and names itself."""
    for widget in root.findChildren(QWidget):
        inner = widget.objectName().startswith("qt_") or isinstance(
            widget.parentWidget(), (QComboBox, QAbstractSpinBox, QAbstractItemView, QTabBar, QDialogButtonBox)
        )
        inside_list = type(widget).__name__ in ("QTableCornerButton", "QComboBoxListView") or (
            QWidget.window(widget) is not QWidget.window(root)
        )
        if isinstance(widget, Pane) and widget.state is None:
            continue
        if isinstance(widget, USABLE) and not isinstance(widget, OF_QT) and not inner and not inside_list:
            yield widget


def nameless(root):
    """Those without a name or without a tooltip."""
    found = []
    for widget in usable(root):
        text = widget.text() if isinstance(widget, QAbstractButton) else ""
        if not (widget.accessibleName() or text.strip(" …")):
            found.append(f"{type(widget).__name__} in {type(widget.parentWidget()).__name__} has no name")
        if not widget.toolTip() and not isinstance(widget, LOOKED_AT):
            found.append(f"{type(widget).__name__} {widget.accessibleName() or text!r} has no tooltip")
    return found


def test_the_window(opened, qtbot):
    for section in opened.workflow.sections.values():
        section.content.show()
    opened.message.say("Something.", {"Answer": lambda: None})
    opened.tour.start()
    assert len(list(usable(opened))) > 40
    assert "\n".join(nameless(opened)) == ""
    wait_idle(opened, qtbot)


@pytest.mark.parametrize("open_dialog", ["ask_images", "ask_export", "show_keys", "show_model_card"])
def test_the_dialogs(opened, open_dialog):
    getattr(opened, open_dialog)()
    dialog = opened.dialog
    assert not isinstance(dialog, QFileDialog)
    assert list(usable(dialog))
    assert "\n".join(nameless(dialog)) == ""


def test_the_comparison_of_fits(opened, qtbot):
    opened.commands.compare_image_fits()
    qtbot.waitUntil(lambda: opened.dialog is not None)
    wait_pictures(opened, qtbot)
    assert len(opened.dialog.buttons) == len(FITS)
    assert nameless(opened.dialog) == []


def test_every_action_says_what_it_does_and_has_a_key_of_its_own(window):
    assert all(row.text and row.tooltip for row in ROWS)
    assert [name for name, count in Counter(row.name for row in ROWS).items() if count > 1] == []
    keys = [QKeySequence(row.key) for row in ROWS if row.key]
    assert all(not key.isEmpty() and key[0].key() != Qt.Key.Key_unknown for key in keys)
    shown = [key.toString() for key in keys]
    assert [key for key, count in Counter(shown).items() if count > 1] == []


def test_the_sheet_of_keys_holds_every_key():
    from html import escape

    sheet = keys_html()
    for row in ROWS:
        if row.key:
            assert f"<b>{escape(row.key)}</b>" in sheet, row.name
            assert escape(f"{row.text}: {row.shown_tooltip()}") in sheet, row.name
