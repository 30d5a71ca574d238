"""File dialogs that do not block."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QWidget

from app import settings
from app.texts import tr

_IMAGES = "*.nii *.nii.gz *.mha *.mhd *.nrrd"


def label_filter() -> str:
    return _filter(tr("Label images"), _IMAGES)


def mask_filter() -> str:
    return _filter(tr("Masks"), _IMAGES)


def image_filter() -> str:
    return _filter(tr("Images"), f"{_IMAGES} *.dcm")


def transform_filter() -> str:
    return _filter(tr("Transforms"), "*.h5 *.tfm *.txt")


def ask_file(parent: QWidget, title: str, name_filter: str, then: Callable[[str], object]) -> QFileDialog:
    """Let the user choose an existing file."""
    dialog = _dialog(parent, title, then)
    dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
    dialog.setNameFilter(name_filter)
    dialog.open()
    return dialog


def ask_folder(parent: QWidget, title: str, then: Callable[[str], object]) -> QFileDialog:
    """Let the user choose an existing folder."""
    dialog = _dialog(parent, title, then)
    dialog.setFileMode(QFileDialog.FileMode.Directory)
    dialog.open()
    return dialog


def ask_new_folder(parent: QWidget, title: str, name: str, then: Callable[[str], object]) -> QFileDialog:
    """Let the user name a folder that need not exist."""
    dialog = _dialog(parent, title, then)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setFileMode(QFileDialog.FileMode.AnyFile)
    dialog.selectFile(name)
    dialog.open()
    return dialog


def _filter(kind: str, patterns: str) -> str:
    """Files of a kind, or all."""
    return f"{kind} ({patterns});;{tr('All files')} (*)"


def _dialog(parent: QWidget, title: str, then: Callable[[str], object]) -> QFileDialog:
    dialog = QFileDialog(parent, title)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setDirectory(str(settings.last_folder()))

    def take(path: str) -> None:
        settings.remember_folder(Path(path))
        then(path)

    dialog.fileSelected.connect(take)
    return dialog
