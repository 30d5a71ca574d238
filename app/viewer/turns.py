"""Work in pieces, a few of them in each turn of the event loop, so that the window answers in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from PySide6.QtCore import QObject, QTimer

_TURN_S = 0.02
"""After so long no further piece is begun in the same turn."""

_REST_MS = 150

_OVER = object()

Start = Callable[[], Iterator[None]]


class Turns(QObject):
    """Does what is asked for in the order of the asking, each to its end. A piece ends where its iterator yields.

    `rest` runs out a moment after the last start: whoever shows something new starts it for all.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._waiting: dict[object, Start] = {}
        self._begun: Iterator[None] | None = None
        self._last: object = None
        self.rest = QTimer(self, singleShot=True, interval=_REST_MS)
        self._due = QTimer(self, singleShot=True, interval=0)
        self._due.timeout.connect(self.go_on)

    def ask(self, who: object, start: Start, first: bool = False) -> None:
        """Have work done for somebody, in place of what they asked for before and was not begun.

        `first`: before all others, but not twice in a row.
        """
        self._waiting[who] = start
        if first and who is not self._last:
            self._waiting = {who: start, **self._waiting}
        if not self._due.isActive():
            self._due.start()

    def forget(self) -> None:
        """Drop everything that was asked for."""
        self._due.stop()
        self._waiting.clear()
        self._begun = None

    def go_on(self) -> None:
        """Do pieces for as long as a turn may take."""
        end_s = time.perf_counter() + _TURN_S
        self._due.start()
        while self._does_a_piece():
            if time.perf_counter() >= end_s:
                return
        self._due.stop()

    def _does_a_piece(self) -> bool:
        """Whether there was anything to do."""
        if self._begun is None:
            if not self._waiting:
                return False
            self._last = next(iter(self._waiting))
            self._begun = self._waiting.pop(self._last)()
        if next(self._begun, _OVER) is _OVER:
            self._begun = None
        return True
