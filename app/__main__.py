"""The window as a program."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Sequence
from types import TracebackType

from PySide6.QtCore import QCoreApplication, QEvent, QTimer
from PySide6.QtWidgets import QApplication

from app import settings, theme
from app.language import apply_language
from app.main_window import MainWindow
from engine.case import Case

_PRELOAD_DELAY_MS = 400
"""The window is drawn before torch is loaded."""


def main(argv: Sequence[str] | None = None, case: Case | None = None) -> int:
    """Show the window, with a case if one is given, and return the exit status when it is closed.

    `argv`: paths of a case, of an image, or of a fixed and a moving image.
    """
    application = QApplication.instance() or QApplication(["regard"])
    application.setApplicationName("Regard")
    apply_language(application)
    theme.apply_theme(application, settings.load_theme())
    window = MainWindow()
    _catch_errors(window)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    window.show()
    window.commands.models_known.connect(spare_the_collector)
    QTimer.singleShot(_PRELOAD_DELAY_MS, window.commands.find_device)
    paths = list(argv or ())
    if case is not None:
        window.store.set_opened(case, None)
    elif paths:
        window.take_paths(paths)
    else:
        window.offer_unsaved()
        window.offer_tour()
    status = application.exec()
    sys.excepthook = sys.__excepthook__
    window.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    return status


def spare_the_collector() -> None:
    """Tell the garbage collector that what is loaded stays: a pass over all of torch stops every thread for 0.2 s."""
    gc.freeze()


def _catch_errors(window: MainWindow) -> None:
    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            window.problems.show(error.with_traceback(trace))

    sys.excepthook = show


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
