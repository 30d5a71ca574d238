from __future__ import annotations

import pytest
from PySide6.QtGui import QFont, QPalette
from PySide6.QtWidgets import QApplication

import engine
from app import theme
from app.dialogs.model_card import ModelCardDialog, _tables

CARD = """# Model card: `mine`

| | |
|---|---|
| Meant for | legs |
| Not meant for | `--model arms` |

Some words.
"""


@pytest.fixture
def dialog(qapp, qtbot):
    theme.apply_theme(qapp, "dark")
    dialog = ModelCardDialog("mine", CARD)
    dialog.show()
    yield dialog
    dialog.close()


def table(dialog):
    (only,) = _tables(dialog.text.document())
    return only


def test_the_card_is_rendered(dialog):
    text = dialog.text.toPlainText()
    assert text.startswith("Model card: mine")
    assert all(words in text for words in ("legs", "--model arms", "Some words."))
    assert "|" not in text


def test_there_is_no_empty_header_and_the_first_column_is_bold(dialog):
    assert (table(dialog).rows(), table(dialog).columns()) == (2, 2)
    cursors = [table(dialog).cellAt(0, column).lastCursorPosition() for column in (0, 1)]
    assert [cursor.charFormat().fontWeight() > QFont.Weight.Normal for cursor in cursors] == [True, False]


def test_code_in_the_heading_looks_like_the_heading(dialog):
    fragments = list(dialog.text.document().begin())
    assert len(fragments) == 1


def test_lines_follow_the_theme(dialog, qapp: QApplication):
    for name in ("dark", "light"):
        theme.apply_theme(qapp, name)
        qapp.processEvents()
        line = table(dialog).format().borderBrush().color()
        assert line.name() == theme.THEMES[name].line == dialog.palette().color(QPalette.ColorRole.Mid).name()


def test_a_table_with_a_header_keeps_it(qtbot):
    dialog = ModelCardDialog("mine", "| tissue | error |\n|---|---|\n| lung | 2 mm |\n")
    qtbot.addWidget(dialog)
    assert table(dialog).rows() == 2


@pytest.mark.parametrize("name", engine.MODELS)
def test_every_card_that_ships_has_a_table(name, qtbot):
    dialog = ModelCardDialog(name, engine.model_card(name))
    qtbot.addWidget(dialog)
    assert table(dialog).rows() > 3
