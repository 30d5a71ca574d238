"""The only place where an error becomes words."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QMessageBox, QWidget

from app.texts import tr
from engine.errors import RegardError

_FRAMES = 12
_LOG = logging.getLogger("regard.window")
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


def message_of(error: BaseException) -> str:
    """One line for the person who must act."""
    if isinstance(error, RegardError):
        return str(error)
    if isinstance(error, MemoryError) or any(word in str(error).lower() for word in _MEMORY_WORDS):
        return tr("There is not enough memory for this step. Close other programs, or draw a smaller box.")
    if isinstance(error, ImportError):
        text = tr("A part of the program is not installed ({name}). Install Regard again.")
        return text.format(name=error.name or type(error).__name__)
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        return tr("A file could not be read or written ({reason}).").format(reason=reason)
    text = tr("Something went wrong that should not have ({kind}). The case is as it was before.")
    return text.format(kind=type(error).__name__)


def details_of(error: BaseException) -> str:
    """Where an unexpected error came from, for a report: places in the program, nothing of what it worked on."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}, line {frame.lineno}, {frame.name}" for frame in frames[-_FRAMES:]]
    return "\n".join([type(error).__name__, *reversed(places)])


class Problems(QObject):
    """Says errors where the window says everything else, without stopping it."""

    shown = Signal(str)

    def __init__(self, window: QWidget, say: Callable[[str, dict[str, Callable[[], object]]], object]) -> None:
        """`say`: shows a sentence with buttons."""
        super().__init__(window)
        self._window, self._say = window, say
        self.dialog: QMessageBox | None = None

    def show(self, error: BaseException) -> None:
        """One sentence; for what should not have happened also a button for its details."""
        message = message_of(error)
        answers: dict[str, Callable[[], object]] = {}
        if not isinstance(error, RegardError):
            _LOG.error("%s in the window", type(error).__name__, exc_info=error)
            answers[tr("Details")] = partial(self._show_details, details_of(error))
        self._say(message, answers)
        self.shown.emit(message)

    def close(self) -> None:
        """Close the details if they are open."""
        if self.dialog is not None:
            dialog, self.dialog = self.dialog, None
            dialog.destroyed.disconnect(self._forget)
            dialog.close()

    def _show_details(self, details: str) -> None:
        self.close()
        icon, button = QMessageBox.Icon.Warning, QMessageBox.StandardButton.Ok
        dialog = QMessageBox(icon, tr("Details"), details, button, self._window)
        dialog.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowModality(Qt.WindowModality.NonModal)
        dialog.destroyed.connect(self._forget)
        self.dialog = dialog
        dialog.show()

    def _forget(self) -> None:
        self.dialog = None
