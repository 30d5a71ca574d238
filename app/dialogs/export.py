"""Choosing what is written of the current state, and where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from app import settings
from app.commands import RESULTS
from app.panels.parts import label, row
from app.texts import mark, tr

if TYPE_CHECKING:
    from engine.io.export import Exporter

_RESULTS_TEXT = mark("Results folder: transform, DVF, warped image, difference, figures and the case")


class ExportDialog(QDialog):
    """`chosen` carries the name of the format (or `results`) and the path."""

    chosen = Signal(str, str)

    def __init__(self, exporters: dict[str, Exporter], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Export the current state"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._suffixes = {RESULTS: "", **{name: exporter.suffix for name, exporter in exporters.items()}}
        self._typed = False
        layout = QVBoxLayout(self)
        layout.addWidget(label(tr("What")))
        self.group = QButtonGroup(self)
        self.choices: dict[str, QRadioButton] = {}
        texts = {RESULTS: tr(_RESULTS_TEXT), **{name: exporter.description for name, exporter in exporters.items()}}
        for name, text in texts.items():
            choice = QRadioButton(text)
            suffix = self._suffixes[name]
            one_file = tr("One file that ends in {suffix}").format(suffix=suffix)
            choice.setToolTip(one_file if suffix else tr("A new folder with all of it"))
            self.choices[name] = choice
            self.group.addButton(choice)
            layout.addWidget(choice)
            choice.toggled.connect(self._suggest)
        self.path = QLineEdit(textEdited=self._take_typing, textChanged=self._update)
        self.path.setAccessibleName(tr("Where to export to"))
        self.path.setToolTip(tr("Path of the file or folder that is written; nothing else is touched"))
        browse = QPushButton(tr("Browse …"), toolTip=tr("Choose the place in a file dialog"))
        browse.clicked.connect(self._browse)
        layout.addSpacing(6)
        layout.addWidget(label(tr("Where")))
        layout.addLayout(row(self.path, browse, stretch_last=True))
        vectors = tr("Vectors are mm along the patient axes (LPS) and point from fixed to moving.")
        layout.addWidget(label(vectors, "dim"))
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Save | QDialogButtonBox.StandardButton.Cancel)
        self.buttons.button(QDialogButtonBox.StandardButton.Save).setText(tr("Export"))
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        layout.addWidget(self.buttons)
        self.setMinimumWidth(520)
        self.choices[RESULTS].setChecked(True)

    @property
    def format_name(self) -> str:
        return next(name for name, choice in self.choices.items() if choice.isChecked())

    def accept(self) -> None:
        settings.remember_folder(Path(self.path.text()).parent)
        self.chosen.emit(self.format_name, self.path.text().strip())
        super().accept()

    def _suggest(self, checked: bool) -> None:
        if not checked:
            return
        suffix = self._suffixes[self.format_name]
        path = Path(self.path.text()) if self._typed else settings.last_folder() / "registration"
        stem = path.name
        for known in sorted(filter(None, self._suffixes.values()), key=len, reverse=True):
            stem = stem.removesuffix(known)
        self.path.setText(str(path.with_name(stem + suffix)))

    def _take_typing(self, _text: str) -> None:
        self._typed = True

    def _update(self) -> None:
        self.buttons.button(QDialogButtonBox.StandardButton.Save).setEnabled(bool(self.path.text().strip()))

    def _browse(self) -> None:
        dialog = QFileDialog(self, tr("Export to"), self.path.text())
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.fileSelected.connect(self._take)
        dialog.open()

    def _take(self, path: str) -> None:
        self._typed = True
        suffix = self._suffixes[self.format_name]
        self.path.setText(path if path.endswith(suffix) else path + suffix)
