"""The one foreground job of the window: how it begins, what it reports, how it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.autosave import Autosave
from app.display import Display
from app.store import Run, Store
from app.texts import mark, tr
from app.worker import Task, Worker
from engine.progress import Job, Progress

_WAIT = mark("Wait for the running step, or stop it first.")


class Work(QObject):
    """The link between store and worker. One foreground job at a time.

    `begun`: something else is done now; what was said before is over. `ended`: what was asked for is over; with true
    its result is the next state of the case.
    """

    failed = Signal(object)
    told = Signal(str)
    begun = Signal()
    ended = Signal(bool)

    def __init__(self, store: Store, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.store, self.worker = store, worker
        self.display = Display(store, worker, self)
        self.autosave = Autosave(store, worker, self)
        self.display.failed.connect(self.failed)
        self.autosave.failed.connect(self.failed)
        self._task: Task | None = None

    def stop(self) -> None:
        self._end_early("stopping", Task.stop)

    def cancel(self) -> None:
        """End the running step, or else the alignment by hand."""
        if self.store.running:
            self._end_early("cancelling", Task.cancel)
        elif self.store.draft is not None:
            self.store.set_draft(None)

    def _begin(
        self,
        title: str,
        start: Callable[[], Job[Any]],
        keep: Callable[[Any], object],
        is_step: bool = False,
        leads_on: bool = False,
        after_failure: Callable[[], object] = lambda: None,
        of_draft: bool = False,
    ) -> None:
        if not self._is_free(of_draft):
            return
        self.begun.emit()
        if is_step:
            self.store.change_view(drawing_box=False, marking=False, started_mm=None)
        self.store.set_run(Run(title, is_step, leads_on))
        task = self._task = self.worker.submit(start)
        task.progressed.connect(self._take_reports)
        task.succeeded.connect(lambda result: self._finish("done", lambda: keep(result)))
        task.cancelled.connect(lambda: self._finish("cancelled", self.display.end_preview))
        task.failed.connect(lambda error: self._finish("failed", lambda: (self._report(error), after_failure())))

    def _is_free(self, of_draft: bool = False) -> bool:
        """Whether something else can begin; if not, a word on what has to end first."""
        if self.store.running:
            self.told.emit(tr(_WAIT))
        elif self.store.draft is not None and not of_draft:
            self.told.emit(tr("Keep or cancel the alignment by hand first."))
        else:
            return True
        return False

    def _take_reports(self, reports: list[Progress]) -> None:
        for progress in reports:
            self.store.run.take(progress)
        previews = [progress.preview for progress in reports if progress.preview is not None]
        if previews:
            self.display.preview(previews[-1])
        self.store.run_changed.emit()

    def _finish(self, state: str, then: Callable[[], object]) -> None:
        self._task, run = None, self.store.run
        run.state = state
        self.store.run_changed.emit()
        then()
        self.ended.emit(state == "done" and run.leads_on)

    def _report(self, error: BaseException) -> None:
        self.display.end_preview()
        self.failed.emit(error)

    def _end_early(self, state: str, ask: Callable[[Task], None]) -> None:
        if self._task is not None:
            self.store.run.state = state
            ask(self._task)
            self.store.run_changed.emit()
