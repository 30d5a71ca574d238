"""How long the window's thread is busy: with one event, one turn of the event loop, all that an act brings."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import QEvent, QObject
from PySide6.QtWidgets import QApplication

_SCHEDULED = Path("/proc/self/schedstat")
_TOLD = os.open(_SCHEDULED, os.O_RDONLY) if _SCHEDULED.is_file() else None


@dataclass(frozen=True, slots=True)
class Spent:
    """Time by the clock of the thread, and by that on the wall less what the thread waited for a processor.

    The first counts work alone; the second also waiting for the worker, which may hold the interpreter.
    """

    name: str
    thread_ms: float
    wall_ms: float


@dataclass(slots=True)
class Watchdog:
    """Watches what it is told to. Of what lies in each other, only the outermost `event` counts as one."""

    acts: list[Spent] = field(default_factory=list)
    turns: list[Spent] = field(default_factory=list)
    events: list[Spent] = field(default_factory=list)
    _is_in_event: bool = False

    @contextmanager
    def event(self, name: str) -> Iterator[None]:
        """A time in which the event loop does not get to run."""
        if self._is_in_event:
            yield
            return
        self._is_in_event = True
        try:
            with timed(self.events, name):
                yield
        finally:
            self._is_in_event = False


@contextmanager
def timed(spent: list[Spent], name: str) -> Iterator[None]:
    """Note the time that a block takes on the thread that began the process."""
    began_s, began_cpu_s, began_waited_s = time.perf_counter(), time.thread_time(), _waited_s()
    try:
        yield
    finally:
        thread_s, waited_s = time.thread_time() - began_cpu_s, _waited_s() - began_waited_s
        wall_s = time.perf_counter() - began_s - waited_s
        spent.append(Spent(name, thread_s * 1000, wall_s * 1000))


def _waited_s() -> float:
    """How long that thread was ready and other programs ran instead; only Linux tells it, and not in every kernel."""
    return 0.0 if _TOLD is None else int(os.pread(_TOLD, 100, 0).split()[1]) / 1e9


class WatchedApplication(QApplication):
    """Tells a watchdog of every event."""

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(arguments)
        self.watchdog = Watchdog()

    def notify(self, receiver: QObject, event: QEvent) -> bool:
        with self.watchdog.event(f"{event.type().name} to {type(receiver).__name__}"):
            return super().notify(receiver, event)
