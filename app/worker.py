"""The one background worker. It runs any engine job and ends it with exactly one of succeeded, failed, cancelled."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event
from typing import Any

from PySide6.QtCore import QObject, Qt, QThread, Signal, Slot

from engine.memory import give_back
from engine.progress import STOP, Command, Job, Progress

REPORT_PERIOD_S = 0.05
_STACK_BYTES = 16 * 2**20
"""The default of a thread on macOS is too small for torch."""

_NICE = 7
"""By how much the worker's threads give way to the window's where they compete: a fifth of its share of a core."""


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    result: Any = None
    error: BaseException | None = None
    cancelled: bool = False


class Task(QObject):
    """A job on its way. Its signals are emitted on the GUI thread, whatever is connected to them.

    `progressed` carries the reports since the last time, so that a curve misses none.
    """

    progressed = Signal(list)
    succeeded = Signal(object)
    failed = Signal(object)
    cancelled = Signal()
    ended = Signal()

    _reported = Signal(list)
    _finished = Signal(object)

    def __init__(self, start: Callable[[], Job[Any]], lasting: bool = False, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._start, self.lasting = start, lasting
        self._stop, self._cancel = Event(), Event()
        self._pending: list[Progress] = []
        self._reported_s = 0.0
        self._reported.connect(self._relay_reports, Qt.ConnectionType.QueuedConnection)
        self._finished.connect(self._relay_outcome, Qt.ConnectionType.QueuedConnection)

    def stop(self) -> None:
        """Ask for the best result so far."""
        self._stop.set()

    def cancel(self) -> None:
        """End with nothing kept."""
        self._cancel.set()

    def run(self) -> None:
        """Run to the end. Called by the worker, on its thread."""
        try:
            outcome = self._driven()
        except BaseException as error:  # noqa: BLE001  torch raises RuntimeError for want of memory; nothing may get lost
            outcome = _Outcome(error=error)
        self._report_pending()
        self._finished.emit(outcome)

    def _driven(self) -> _Outcome:
        if self._cancel.is_set():
            return _Outcome(cancelled=True)
        job = self._start()
        command: Command | None = None
        try:
            while not self._cancel.is_set():
                self._take(job.send(command))
                command = STOP if self._stop.is_set() else None
        except StopIteration as end:
            return _Outcome(end.value, cancelled=self._cancel.is_set())
        finally:
            job.close()
        return _Outcome(cancelled=True)

    def _take(self, progress: Progress) -> None:
        self._pending.append(progress)
        if time.monotonic() - self._reported_s >= REPORT_PERIOD_S:
            self._report_pending()

    def _report_pending(self) -> None:
        if self._pending:
            self._reported.emit(self._pending)
        self._pending = []
        self._reported_s = time.monotonic()

    @Slot(list)
    def _relay_reports(self, reports: list[Progress]) -> None:
        if not self._cancel.is_set():
            self.progressed.emit(reports)

    @Slot(object)
    def _relay_outcome(self, outcome: _Outcome) -> None:
        if outcome.cancelled:
            self.cancelled.emit()
        elif outcome.error is not None:
            self.failed.emit(outcome.error)
        else:
            self.succeeded.emit(outcome.result)
        self.ended.emit()


class _Thread(QThread):
    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.tasks: SimpleQueue[Task | None] = SimpleQueue()
        self.setStackSize(_STACK_BYTES)

    def run(self) -> None:
        _give_way()
        while (task := self.tasks.get()) is not None:
            task.run()
            if self.tasks.empty():
                give_back()


class Worker(QObject):
    """Runs tasks one after the other on one thread."""

    idle = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._waiting: list[Task] = []
        self._thread = _Thread(self)
        self._thread.start(QThread.Priority.LowPriority)

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def submit(self, start: Callable[[], Job[Any]], lasting: bool = False) -> Task:
        """Queue a job; `start` is called on the worker's thread. `lasting`: not ended by `cancel_all`."""
        task = Task(start, lasting, self)
        task.ended.connect(self._take_off)
        self._waiting.append(task)
        self._thread.tasks.put(task)
        return task

    def cancel_all(self) -> None:
        """Cancel whatever is not lasting."""
        for task in self._waiting:
            if not task.lasting:
                task.cancel()

    def shut_down(self) -> None:
        """Cancel everything and wait for the thread to end."""
        self.cancel_all()
        self._thread.tasks.put(None)
        self._thread.wait()

    @Slot()
    def _take_off(self) -> None:
        task = self.sender()
        self._waiting.remove(task)
        task.deleteLater()
        if not self._waiting:
            self.idle.emit()


def _give_way() -> None:
    """Let the window go before this thread and those that it starts. Linux has a priority for each, which Qt leaves."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + _NICE)


def job_of(function: Callable[..., Any], *arguments: Any) -> Callable[[], Job[Any]]:
    """A plain function call as a job that reports nothing."""

    def start() -> Generator[Progress, Command | None, Any]:
        return function(*arguments)
        yield

    return start
