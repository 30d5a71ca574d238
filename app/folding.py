"""Finds where the current state folds, in the background, for those who want to look at each place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from app.store import Store
from app.worker import Worker, job_of
from engine.case import Case
from engine.preprocess import body_of
from engine.registration import Registration

if TYPE_CHECKING:
    from engine.metrics import FoldedPlace


class Folding(QObject):
    """Owner of `store.folded`."""

    failed = Signal(object)

    def __init__(self, store: Store, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store, self._worker = store, worker
        self._looked_at: Registration | None = None
        store.case_changed.connect(self._look)

    def _look(self) -> None:
        case = self._store.case
        registration = None if case is None else case.current
        if registration is self._looked_at:
            return
        self._looked_at = registration
        self._store.set_folded(())
        if case is None or not case.current.steps or case.current.steps[-1].folding_percent == 0:
            return
        task = self._worker.submit(job_of(_folded, case))
        task.succeeded.connect(lambda places: self._take(case, places))
        task.failed.connect(self.failed)

    def _take(self, case: Case, places: tuple[FoldedPlace, ...]) -> None:
        if self._looked_at is case.current:
            self._store.set_folded(places)


def _folded(case: Case) -> tuple[FoldedPlace, ...]:
    from engine.metrics import folded_places

    return folded_places(case.current.displacement_vox, body_of(case.fixed))
