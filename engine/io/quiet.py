"""Silence for libraries that print what they should only report."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Silencer:
    """Redirects the process's standard error, once however many threads ask for it, and gives it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._saved: int | None = None

    def begin(self) -> None:
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            try:
                if sys.stderr is not None:
                    sys.stderr.flush()
                self._saved = os.dup(2)
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, 2)
                os.close(nowhere)
            except (OSError, ValueError):
                self._saved = None

    def end(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._saved is not None:
                os.dup2(self._saved, 2)
                os.close(self._saved)
                self._saved = None


_silencer = _Silencer()


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what ITK, GDCM and HDF5 print to standard error about a bad file; they raise besides."""
    _silencer.begin()
    try:
        yield
    finally:
        _silencer.end()
