"""Choosing the two images: a file or a DICOM folder each, typed, browsed for, or dropped."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from app.dialogs.files import ask_file, ask_folder, image_filter
from app.panels.parts import label, row
from app.texts import tr


class PathField(QWidget):
    """A path with buttons for a file and a folder; takes drops."""

    changed = Signal()

    def __init__(self, name: str, placeholder: str) -> None:
        super().__init__()
        self.setAcceptDrops(True)
        self.edit = QLineEdit(placeholderText=placeholder)
        self.edit.setAccessibleName(name)
        self.edit.setToolTip(tr("Path of an image file or of a folder of DICOM slices; it can be dropped here"))
        self.edit.setAcceptDrops(False)
        self.edit.setMinimumWidth(320)
        self.edit.textChanged.connect(self.changed)
        file_button = QPushButton(tr("File …"), toolTip=tr("NIfTI, MHA/MHD or NRRD"))
        folder_button = QPushButton(tr("Folder …"), toolTip=tr("A folder of DICOM slices"))
        file_button.clicked.connect(lambda: self._browse(folder=False))
        folder_button.clicked.connect(lambda: self._browse(folder=True))
        layout = row(self.edit, file_button, folder_button, stretch_last=True)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setLayout(layout)

    @property
    def text(self) -> str:
        return self.edit.text().strip()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802
        self.edit.setText(event.mimeData().urls()[0].toLocalFile())
        event.acceptProposedAction()

    def _browse(self, folder: bool) -> None:
        if folder:
            ask_folder(self, tr("Choose a folder of DICOM slices"), self.edit.setText)
        else:
            ask_file(self, tr("Choose an image"), image_filter(), self.edit.setText)


class OpenDialog(QDialog):
    """`chosen` carries both paths."""

    chosen = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Open images"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.fixed = PathField(tr("Fixed image"), tr("the image of today, e.g. the CBCT"))
        self.moving = PathField(tr("Moving image"), tr("the image to be deformed onto it, e.g. the planning CT"))
        form = QFormLayout()
        form.addRow(tr("Fixed"), self.fixed)
        form.addRow(tr("Moving"), self.moving)
        swap = QPushButton(tr("Swap"), toolTip=tr("Exchange the two"))
        swap.clicked.connect(self._swap)
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel)
        self.buttons.addButton(swap, QDialogButtonBox.ButtonRole.ActionRole)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(
            label(tr("The moving image is deformed onto the fixed one. DICOM folder, NIfTI, MHA/MHD or NRRD."), "dim")
        )
        layout.addLayout(form)
        several = tr("A DICOM folder with several series: add #SERIES_UID to the path to pick one.")
        layout.addWidget(label(several, "dim"))
        layout.addWidget(self.buttons)
        for field in (self.fixed, self.moving):
            field.changed.connect(self._update)
        self._update()

    def accept(self) -> None:
        self.chosen.emit(self.fixed.text, self.moving.text)
        super().accept()

    def _swap(self) -> None:
        fixed, moving = self.fixed.text, self.moving.text
        self.fixed.edit.setText(moving)
        self.moving.edit.setText(fixed)

    def _update(self) -> None:
        ready = bool(self.fixed.text and self.moving.text)
        self.buttons.button(QDialogButtonBox.StandardButton.Open).setEnabled(ready)
