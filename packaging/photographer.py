"""A hand that works in the window as a user's does, by events of mouse and keys alone, and a camera for the screen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from picture_names import PICTURES
from PySide6.QtCore import QElapsedTimer, QEventLoop, QMimeData, QPoint, QPointF, QRect, Qt, QTimer, QUrl
from PySide6.QtGui import QAction, QCursor, QDragEnterEvent, QDropEvent, QGuiApplication, QWindow
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QDialogButtonBox, QLineEdit, QMenu, QToolButton, QWidget

from app.main_window import MainWindow
from app.viewer.pane import Pane
from app.viewer.view_state import Index

_LIMIT_MS = 10 * 60_000
_QUIET_MS = 300
_PATIENCE_MS = 10
"""Between two looks, in an event loop: `processEvents` and `qWait` keep Python from the worker."""

_TOOLTIP_MS = 1200
_HELD_MS = 500
_QUALITY = {1: 55, 2: 20}
"""Of WebP, by how many pixels a line is wide: doubled lines forgive more."""

Key = Qt.Key
NONE, CONTROL, SHIFT, ALT = (
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.AltModifier,
)
LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton


class Photographer:
    """A window that fills the screen, a hand, and a folder for pictures, numbered in the order of the guide."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._error: BaseException | None = None
        self._expects_problem = False
        self._left = list(PICTURES)
        self.window: MainWindow

    def open_window(self) -> None:
        """A window like that of a new process."""
        self.window = MainWindow()
        self.window.setGeometry(QGuiApplication.primaryScreen().geometry())
        self.window.show()
        self.window.commands.failed.connect(self._fail)
        self.window.commands.find_device()
        QCursor.setPos(self.window.mapToGlobal(self.window.statusBar().geometry().center()))
        self.front(self.window)

    def finish(self) -> None:
        """All pictures were taken, or one sentence on what was not."""
        if self._left:
            raise SystemExit(f"Not photographed: {', '.join(self._left)}")

    def settle(self) -> None:
        """Wait until the worker is idle and everything is painted."""
        self.wait(lambda: not self.window.worker.busy, _QUIET_MS)

    def pause(self, time_ms: int) -> None:
        rest = QEventLoop()
        QTimer.singleShot(time_ms, rest.quit)
        rest.exec()

    def wait(self, ready: Callable[[], object], quiet_ms: int = 0) -> None:
        """Wait until something is so, and stays so for some time."""
        timer, quiet = QElapsedTimer(), QElapsedTimer()
        timer.start()
        quiet.start()
        while not quiet.hasExpired(quiet_ms) or not ready():
            self.pause(_PATIENCE_MS)
            if not ready():
                quiet.restart()
            if timer.hasExpired(_LIMIT_MS) and self._error is None:
                self._error = TimeoutError("What the walk waits for did not come.")
            if self._error is not None:
                self.window.worker.shut_down()
                raise self._error

    def shoot(self, name: str, window: QWidget | None = None, settled: bool = True) -> None:
        """Write the screen as a picture with all menus that are open, or the part of it that one window takes."""
        if settled:
            self.settle()
        self._left.remove(name)
        screen = self.window.screen()
        path = self._folder / f"{PICTURES.index(name) + 1:02d}-{name}.webp"
        ratio, picture = screen.devicePixelRatio(), screen.grabWindow(0)
        if window is not None:
            seen = window.geometry() & screen.geometry()
            picture = picture.copy(QRect(seen.topLeft() * ratio, seen.size() * ratio))
        picture.save(str(path), "webp", _QUALITY[round(ratio)])
        print(path, flush=True)

    def front(self, window: QWidget) -> None:
        """Give a window the keyboard; there is no window manager that would."""
        window.raise_()
        window.activateWindow()
        self.wait(window.isActiveWindow)

    def press(self, key: Key, modifiers: Qt.KeyboardModifier = NONE) -> None:
        """A key while the images have the focus, let go at once: nothing is painted in between that would hold it."""
        self.front(self.window)
        self.window.grid.panes[0].setFocus()
        QTest.keyClick(self.window, key, modifiers)
        self._let_paint()

    @contextmanager
    def held(self, key: Key) -> Iterator[None]:
        """A key that is down for a while, while the images have the focus."""
        self.front(self.window)
        self.window.grid.panes[0].setFocus()
        QTest.keyPress(self.window.windowHandle(), key)
        self.pause(_HELD_MS)
        yield
        QTest.keyRelease(self.window.windowHandle(), key)
        self._let_paint()

    def hit(self, key: Key, modifiers: Qt.KeyboardModifier = NONE) -> None:
        """A key for whatever has the focus."""
        QTest.keyClick(self._focused(), key, modifiers)
        self._let_paint()

    def type_over(self, text: str) -> None:
        """Other text in the field that has the focus, then Return."""
        self.hit(Key.Key_A, CONTROL)
        QTest.keyClicks(QApplication.focusWidget(), text)
        self.hit(Key.Key_Return)

    def click(self, widget: QWidget, at: QPoint | None = None, button: Qt.MouseButton = LEFT) -> None:
        """On whatever lies there in the widget's window."""
        window, place = _place_in_window(widget, at)
        QTest.mouseClick(window, button, NONE, place)
        self._let_paint()

    def double_click(self, widget: QWidget, at: QPoint | None = None) -> None:
        window, place = _place_in_window(widget, at)
        QTest.mouseClick(window, LEFT, NONE, place)
        QTest.mouseDClick(window, LEFT, NONE, place)
        self._let_paint()

    def drag(self, widget: QWidget, start: QPoint, end: QPoint, button: Qt.MouseButton = LEFT) -> None:
        window, first = _place_in_window(widget, start)
        _, last = _place_in_window(widget, end)
        QTest.mousePress(window, button, NONE, first)
        for share in (0.3, 0.6, 1.0):
            QTest.mouseMove(window, first + (last - first) * share)
            self._let_paint()
        QTest.mouseRelease(window, button, NONE, last)
        self._let_paint()

    def hover(self, widget: QWidget, at: QPoint | None = None) -> None:
        """The pointer itself goes there and rests for long enough to bring a tooltip."""
        QCursor.setPos(widget.mapToGlobal(widget.rect().center() if at is None else at))
        self.pause(_TOOLTIP_MS)

    def open_menu(self, title: str) -> QMenu:
        """A menu of the bar, opened by mouse."""
        bar = self.window.menuBar()
        action = next(action for action in bar.actions() if action.text().replace("&", "") == title)
        self.click(bar, bar.actionGeometry(action).center())
        menu: QMenu = action.menu()
        self.wait(menu.isVisible)
        return menu

    def in_menu_of(self, button: QToolButton, then: Callable[[], object]) -> None:
        """Something done while the menu of a button is open, which keeps the event loop until it closes."""

        def do() -> None:
            try:
                then()
            finally:
                button.menu().close()

        QTimer.singleShot(_HELD_MS, do)
        self.click(button)
        self.settle()

    def choose_in(self, menu: QMenu, action: QAction) -> None:
        self.click(menu, menu.actionGeometry(action).center())

    def pane(self, number: int) -> Pane:
        self.window.grid.refresh()
        return self.window.grid.panes[number]

    def at(self, pane: Pane, index_zyx: Index) -> QPoint:
        """Where a voxel is in a pane."""
        return pane.pixel_of(pane.state.plane.place(index_zyx)).toPoint()

    def click_voxel(self, number: int, index_zyx: Index) -> None:
        pane = self.pane(number)
        self.click(pane, self.at(pane, index_zyx))

    def hover_voxel(self, number: int, index_zyx: Index) -> None:
        pane = self.pane(number)
        self.hover(pane, self.at(pane, index_zyx))

    def drag_voxels(self, number: int, start: Index, end: Index) -> None:
        """The left button, from one voxel to another."""
        pane = self.pane(number)
        self.drag(pane, self.at(pane, start), self.at(pane, end))

    def drop(self, *paths: Path) -> None:
        """Files let go over the images."""
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
        middle = self.window.rect().center()
        how = Qt.DropAction.CopyAction, mime, LEFT, NONE
        enter = QDragEnterEvent(middle, *how)
        QApplication.sendEvent(self.window, enter)
        if enter.isAccepted():
            QApplication.sendEvent(self.window, QDropEvent(QPointF(middle), *how))

    @contextmanager
    def problem(self) -> Iterator[None]:
        """Something that the window has to refuse."""
        self._expects_problem = True
        yield
        self.settle()
        if self._expects_problem:
            raise SystemExit("The window took what it has to refuse.")

    def choose_file(self, path: Path) -> None:
        """A path in the file dialog that is open, then its button."""
        dialog = self.window.dialog
        self.front(dialog)
        dialog.findChild(QLineEdit, "fileNameEdit").setText(str(path))
        buttons = dialog.findChild(QDialogButtonBox)
        accept = QDialogButtonBox.ButtonRole.AcceptRole
        button = next(b for b in buttons.buttons() if buttons.buttonRole(b) == accept)
        self.wait(button.isEnabled)
        self.click(button)
        self.settle()

    def close_dialog(self) -> None:
        dialog = self.window.dialog
        self.front(dialog)
        QTest.keyClick(dialog.windowHandle(), Key.Key_Escape)
        self.wait(lambda: self.window.dialog is not dialog)

    def timed(self, action: Callable[[], object]) -> float:
        """Do something and wait for its end; the seconds that it took."""
        start_s = time.monotonic()
        action()
        self.settle()
        return time.monotonic() - start_s - _QUIET_MS / 1000

    def _focused(self) -> QWindow:
        return QGuiApplication.focusWindow() or self.window.windowHandle()

    def _let_paint(self) -> None:
        QApplication.processEvents()

    def _fail(self, error: BaseException) -> None:
        if self._expects_problem:
            self._expects_problem = False
        else:
            self._error = error


def _place_in_window(widget: QWidget, at: QPoint | None) -> tuple[QWindow, QPoint]:
    """The window that a widget is in, and a place of the widget, its middle if none is given, in it."""
    window = widget.window()
    return window.windowHandle(), widget.mapTo(window, widget.rect().center() if at is None else at)
