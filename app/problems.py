"""The only place where an error becomes a dialog."""

from __future__ import annotations

import logging

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QMessageBox, QWidget

from engine.errors import DeviceError, RegardError

_LOG = logging.getLogger("regard.window")
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


def message_of(error: BaseException) -> str:
    """One line for the person who must act."""
    if isinstance(error, RegardError):
        return str(error)
    if isinstance(error, MemoryError) or any(word in str(error).lower() for word in _MEMORY_WORDS):
        return "There is not enough memory for this step. Close other programs, or draw a smaller box."
    if isinstance(error, ImportError):
        return f"A part of the program is not installed ({error.name or type(error).__name__}). Install Regard again."
    if isinstance(error, OSError):
        return f"A file could not be read or written ({error.strerror or type(error).__name__})."
    return f"Something went wrong that should not have ({type(error).__name__}). The case is as it was before."


def title_of(error: BaseException) -> str:
    if isinstance(error, DeviceError):
        return "The device cannot do this"
    return "This did not work"


class Problems(QObject):
    """Shows errors without stopping the window."""

    shown = Signal(str)

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self.dialog: QMessageBox | None = None

    def show(self, error: BaseException) -> None:
        """Open a dialog that the user may leave open; a later error takes its place."""
        if not isinstance(error, RegardError):
            _LOG.error("%s in the window", type(error).__name__, exc_info=error)
        self.close()
        message = message_of(error)
        dialog = QMessageBox(
            QMessageBox.Icon.Warning, title_of(error), message, QMessageBox.StandardButton.Ok, self._window
        )
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowModality(Qt.WindowModality.NonModal)
        dialog.destroyed.connect(self._forget)
        self.dialog = dialog
        dialog.show()
        self.shown.emit(message)

    def close(self) -> None:
        if self.dialog is not None:
            dialog, self.dialog = self.dialog, None
            dialog.destroyed.disconnect(self._forget)
            dialog.close()

    def _forget(self) -> None:
        self.dialog = None
