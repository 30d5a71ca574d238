"""What a model is, what it was trained on and how good it was."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QFont, QPalette, QTextCharFormat, QTextCursor, QTextDocument, QTextFrameFormat, QTextTable
from PySide6.QtWidgets import QDialog, QTextBrowser, QVBoxLayout, QWidget

from app.texts import tr

_MARGIN = 14
_INDENT = 18
_CELL_PADDING = 6


class ModelCardDialog(QDialog):
    """A model card in Markdown; stays open beside the work."""

    def __init__(self, name: str, card: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("About the model {name}").format(name=name))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowModality(Qt.WindowModality.NonModal)
        self.resize(760, 620)
        self.text = QTextBrowser()
        self.text.setAccessibleName(tr("Card of the model {name}").format(name=name))
        QVBoxLayout(self).addWidget(self.text)
        document = self.text.document()
        document.setDocumentMargin(_MARGIN)
        document.setIndentWidth(_INDENT)
        self.text.setMarkdown(card)
        _even_headings(document)
        for table in _tables(document):
            _drop_empty_header(table)
            _embolden_first_column(table)
        self._draw_lines()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._draw_lines()

    def _draw_lines(self) -> None:
        """Give the tables the lines of the theme."""
        for table in _tables(self.text.document()):
            table_format = table.format()
            table_format.setCellPadding(_CELL_PADDING)
            table_format.setBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
            table_format.setBorderBrush(self.palette().color(QPalette.ColorRole.Mid))
            table.setFormat(table_format)


def _tables(document: QTextDocument) -> list[QTextTable]:
    return [frame for frame in document.rootFrame().childFrames() if isinstance(frame, QTextTable)]


def _even_headings(document: QTextDocument) -> None:
    """Code in a heading looks like the rest of the heading."""
    block = document.begin()
    while block.isValid():
        if block.blockFormat().headingLevel():
            cursor = QTextCursor(block)
            cursor.movePosition(QTextCursor.MoveOperation.NextCharacter)
            heading = cursor.charFormat()
            cursor.movePosition(QTextCursor.MoveOperation.StartOfBlock)
            cursor.movePosition(QTextCursor.MoveOperation.EndOfBlock, QTextCursor.MoveMode.KeepAnchor)
            cursor.setCharFormat(heading)
        block = block.next()


def _drop_empty_header(table: QTextTable) -> None:
    """Markdown has no table without a header."""
    first = [table.cellAt(0, column) for column in range(table.columns())]
    if all(cell.firstPosition() == cell.lastPosition() for cell in first):
        table.removeRows(0, 1)


def _embolden_first_column(table: QTextTable) -> None:
    bold = QTextCharFormat()
    bold.setFontWeight(QFont.Weight.DemiBold)
    for row in range(table.rows()):
        cell = table.cellAt(row, 0)
        cursor = cell.firstCursorPosition()
        cursor.setPosition(cell.lastPosition(), QTextCursor.MoveMode.KeepAnchor)
        cursor.mergeCharFormat(bold)
