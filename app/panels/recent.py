"""The cases that were saved or opened last, and work that was left unsaved."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QDateTime, QLocale, Qt
from PySide6.QtWidgets import QMenu, QWidget

from app import settings
from app.autosave import left_s, unsaved_cases
from app.store import Store
from app.texts import tr

_WIDEST = 420
"""Pixels of a name; the tooltip has all of it."""


class OpenCase(Protocol):
    """Opens the case in a folder, as work that has no home yet where that is asked for."""

    def __call__(self, folder: Path, *, as_unsaved: bool) -> object: ...


class RecentMenu(QMenu):
    """The newest first; cases that are gone vanish."""

    def __init__(self, store: Store, open_case: OpenCase, parent: QWidget) -> None:
        super().__init__(tr("Open recent case"), parent)
        self._store, self._open_case = store, open_case
        self.setToolTipsVisible(True)
        self.aboutToShow.connect(self.fill)
        store.case_changed.connect(self._remember)
        self.fill()

    def fill(self) -> None:
        """List the cases that are still there."""
        self.clear()
        for number, folder in enumerate(settings.recent_cases(), start=1):
            text = tr("{case}   in {folder}").format(case=folder.name, folder=folder.parent.name or folder.parent)
            text = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, _WIDEST)
            name = text.replace("&", "&&")
            action = self.addAction(f"&{number}  {name}")
            action.setToolTip(str(folder))
            action.triggered.connect(partial(self._open, folder, as_unsaved=False))
        self._list_unsaved()
        self.menuAction().setEnabled(not self.isEmpty())

    def _list_unsaved(self) -> None:
        """Work that was left without being saved, but for that on the case that is open."""
        current = "" if self._store.case is None else self._store.case.id
        folders = [folder for folder in unsaved_cases() if not current or not folder.name.startswith(current)]
        if folders:
            self.addSection(tr("Not saved"))
        for folder in folders:
            left = QDateTime.fromSecsSinceEpoch(int(left_s(folder)))
            when = QLocale().toString(left, QLocale.FormatType.ShortFormat)
            action = self.addAction(tr("Work of {when}").format(when=when))
            action.triggered.connect(partial(self._open, folder, as_unsaved=True))

    def _open(self, folder: Path, _checked: bool = False, *, as_unsaved: bool) -> None:
        self._open_case(folder, as_unsaved=as_unsaved)

    def _remember(self) -> None:
        folder = self._store.folder
        if folder is not None and settings.remember_case(folder):
            self.fill()
