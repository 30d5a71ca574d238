"""Looks at every pair that is opened, whatever way it came, and tells what is odd about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

import engine
from app.store import Store
from app.worker import Worker, job_of
from engine.volume import Volume

if TYPE_CHECKING:
    from engine.pairing import Finding


class PairCheck(QObject):
    """`found` carries the findings of the pair that is open, none as soon as another takes its place."""

    found = Signal(tuple)
    failed = Signal(object)

    def __init__(self, store: Store, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store, self._worker = store, worker
        self._pair: tuple[Volume, Volume] | None = None
        store.case_changed.connect(self._check)

    def _check(self) -> None:
        case = self._store.case
        pair = None if case is None else (case.fixed, case.moving)
        if pair == self._pair:
            return
        self._pair = pair
        self.found.emit(())
        if pair is not None:
            task = self._worker.submit(job_of(lambda: (pair, engine.pair_findings(*pair))))
            task.succeeded.connect(self._take)
            task.failed.connect(self.failed)

    def _take(self, result: tuple[tuple[Volume, Volume], tuple[Finding, ...]]) -> None:
        pair, findings = result
        if pair == self._pair and findings:
            self.found.emit(findings)
