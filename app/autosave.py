"""Keeps every finished step on disk, so that whatever happens to the process the case reopens there."""

from __future__ import annotations

import shutil
from pathlib import Path

from platformdirs import user_data_path
from PySide6.QtCore import QObject, Signal

import engine
from app.store import Store
from app.worker import Worker, job_of
from engine.case import Case

_KEPT = 2


def autosave_root() -> Path:
    return user_data_path("regard", appauthor=False) / "unsaved"


def unsaved_cases() -> list[Path]:
    """Folders of work that was never saved, the newest first."""
    root = autosave_root()
    folders = [folder for folder in root.iterdir() if folder.is_dir()] if root.is_dir() else []
    return sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)


class Autosave(QObject):
    """Writes the case after each finished step; forgets it when the user has saved the case."""

    failed = Signal(object)

    def __init__(self, store: Store, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store, self._worker = store, worker
        self._written: Case | None = None

    def write(self) -> None:
        """Keep the case as it is now. A failure is reported and costs nothing else."""
        case = self._store.case
        if case is None or not self._store.unsaved or case is self._written:
            return
        self._written = case
        task = self._worker.submit(job_of(_write, case, autosave_root() / case.id), lasting=True)
        task.failed.connect(self.failed)

    def forget(self, case: Case) -> None:
        """The case has a home of its own now."""
        self._worker.submit(job_of(discard, autosave_root() / case.id), lasting=True)


def discard(folder: Path) -> None:
    """Remove one autosaved case."""
    if folder.parent == autosave_root():
        shutil.rmtree(folder, ignore_errors=True)


def _write(case: Case, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    engine.save_case(case, folder, force=True)
    for old in unsaved_cases()[_KEPT:]:
        discard(old)
