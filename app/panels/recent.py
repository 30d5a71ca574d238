"""The cases that were saved or opened last."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtWidgets import QMenu, QWidget

from app import settings
from app.store import Store
from app.texts import tr


class RecentMenu(QMenu):
    """The newest first; cases that are gone vanish. `open_case` gets the folder of the one chosen."""

    def __init__(self, store: Store, open_case: Callable[[Path], object], parent: QWidget) -> None:
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
            name = text.replace("&", "&&")
            action = self.addAction(f"&{number}  {name}")
            action.setToolTip(str(folder))
            action.triggered.connect(partial(self._open, folder))
        self.menuAction().setEnabled(not self.isEmpty())

    def _open(self, folder: Path, _checked: bool = False) -> None:
        self._open_case(folder)

    def _remember(self) -> None:
        folder = self._store.folder
        if folder is not None and settings.remember_case(folder):
            self.fill()
