"""Keeps every finished step on disk, so that whatever happens to the process the case reopens there."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from platformdirs import user_data_path
from PySide6.QtCore import QObject, Signal

import engine
from app.store import Store
from app.worker import Worker, job_of
from engine.case import Case

_KEPT = 5
_KEPT_BYTES = 20 * 2**30
"""Pieces of work that were left unsaved, and the room that they may take; the last one is kept in any case."""


def autosave_root() -> Path:
    return user_data_path("regard", appauthor=False) / "unsaved"


def unsaved_cases() -> list[Path]:
    """Folders of work that was never saved, the newest first."""
    folders = [folder for folder in _folders() if (folder / "case.json").is_file()]
    return sorted(folders, key=left_s, reverse=True)


def left_s(folder: Path) -> float:
    """When work was last written, in seconds since 1970; long ago if it is gone by now."""
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def taken_up(folder: Path) -> Case:
    """Open work that was left unsaved; from now on it is the last to be cleared away."""
    with suppress(OSError):
        os.utime(folder)
    return engine.open_case(folder)


def home_of(case_id: str) -> Path | None:
    """Where the unsaved work on a case is kept."""
    return next(iter(_homes_of(case_id)), None)


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
        task = self._worker.submit(job_of(_write, case), lasting=True)
        task.failed.connect(self.failed)

    def keep_aside(self, case: Case) -> str:
        """Keep the work on a case whose saved state is opened again under another id, which is returned."""
        aside = replace(case, id=uuid4().hex)
        task = self._worker.submit(job_of(_write, aside), lasting=True)
        task.failed.connect(self.failed)
        self.forget(case)
        return aside.id

    def forget(self, case: Case) -> None:
        """The case has a home of its own now."""
        self._worker.submit(job_of(_forget, case.id), lasting=True)


def discard(folder: Path) -> None:
    """Remove one autosaved case. Windows keeps what is still mapped: without `case.json` it is none, and goes later."""
    if folder.parent == autosave_root():
        with suppress(OSError):
            (folder / "case.json").unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _write(case: Case) -> None:
    """Keep a case, take its history from there from now on, and remove what is too old or was left behind."""
    autosave_root().mkdir(parents=True, exist_ok=True)
    folder = _home_of(case.id)
    engine.save_case(case, folder, force=True)
    engine.rest_on_files(case, folder)
    kept = _worth_keeping(unsaved_cases())
    for old in _folders():
        if old not in kept:
            discard(old)


def _worth_keeping(folders: list[Path]) -> list[Path]:
    """The first of them, as far as they are few and take little room."""
    kept, room = [], _KEPT_BYTES
    for folder in folders[:_KEPT]:
        with suppress(OSError):
            room -= sum(path.stat().st_size for path in folder.iterdir())
        if room >= 0 or not kept:
            kept.append(folder)
    return kept


def _forget(case_id: str) -> None:
    for folder in _homes_of(case_id):
        discard(folder)


def _home_of(case_id: str) -> Path:
    """The folder of a case: where it is, or a new one, beside what may have been left of the last."""
    known = _homes_of(case_id)
    first = autosave_root() / case_id
    return known[0] if known else first if not first.exists() else first.with_name(f"{case_id}-{uuid4().hex[:8]}")


def _homes_of(case_id: str) -> list[Path]:
    return [folder for folder in unsaved_cases() if folder.name.startswith(case_id)]


def _folders() -> list[Path]:
    """All but those with a dot, which another window may be writing at present."""
    root = autosave_root()
    found = root.iterdir() if root.is_dir() else ()
    return [folder for folder in found if folder.is_dir() and not folder.name.startswith(".")]
