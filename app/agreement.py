"""Keeps the figures of the structures in step with the case, computed in the worker whenever nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

import engine
from app.store import Store
from app.worker import Task, Worker
from engine.registration import Registration
from engine.structures import Structures

if TYPE_CHECKING:
    from engine.agreement import StructureFigures

_State = tuple[Structures, Registration]


class Agreement(QObject):
    """Owner of `store.agreement`. Gives way to every step."""

    failed = Signal(object)

    def __init__(self, store: Store, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store, self._worker = store, worker
        self._of: _State | None = None
        self._task: Task | None = None
        for signal in (store.case_changed, store.run_changed, store.draft_changed):
            signal.connect(self.update)

    def update(self) -> None:
        """Ask for the figures of the current state unless they are there or on their way."""
        wanted, running = self._wanted(), self._store.running
        if not _same(wanted, self._of) or (running and self._task is not None):
            self._forget()
        if wanted is not None and self._of is None and not running:
            self._ask(wanted)

    def _wanted(self) -> _State | None:
        """What the figures are to be of; of nothing while the hand aligns."""
        store, case = self._store, self._store.case
        if case is None or case.structures.is_empty or store.draft is not None:
            return None
        return case.structures, case.current

    def _ask(self, wanted: _State) -> None:
        case = self._store.case
        task = self._worker.submit(lambda: engine.structure_figures(case))
        task.succeeded.connect(lambda figures: self._take(task, figures))
        task.failed.connect(self.failed)
        self._of, self._task = wanted, task

    def _take(self, task: Task, figures: dict[int, StructureFigures]) -> None:
        if task is self._task:
            self._task = None
            self._store.set_agreement(figures)

    def _forget(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._of = self._task = None
        if self._store.agreement is not None:
            self._store.set_agreement(None)


def _same(one: _State | None, other: _State | None) -> bool:
    if one is None or other is None:
        return one is other
    return one[0] is other[0] and one[1] is other[1]
