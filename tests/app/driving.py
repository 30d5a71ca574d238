"""What a hand does in the window: keys, clicks and drags."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication, QDialogButtonBox, QFileDialog

WHEEL_AT = QPointF(100, 80)
LEFT = Qt.MouseButton.LeftButton
CONTROL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


def press(window, qtbot, key, modifiers=Qt.KeyboardModifier.NoModifier):
    """A key while the viewer has the focus."""
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    window.grid.panes[0].setFocus()
    qtbot.keyClick(window, key, modifiers)


def click_stage(window, qtbot, name):
    """The main button of a stage of the workflow."""
    window.workflow.sections[name].content.show()
    qtbot.mouseClick(window.workflow.sections[name].main_buttons[0], LEFT)


def draw_box(window, qtbot, start, end):
    """B, then a drag in the third pane from one voxel (z, y, x) to another."""
    press(window, qtbot, Qt.Key.Key_B)
    window.grid.refresh()
    pane = window.grid.panes[2]
    first, last = (pane.pixel_of(pane.state.plane.place(index)).toPoint() for index in (start, end))
    qtbot.mousePress(pane, LEFT, pos=first)
    qtbot.mouseMove(pane, (first + last) / 2)
    qtbot.mouseMove(pane, last)
    qtbot.mouseRelease(pane, LEFT, pos=last)


def choose_path(window, qtbot, path):
    """A path in the file dialog that is open, then its button."""
    dialog = window.dialog
    assert isinstance(dialog, QFileDialog)
    dialog.selectFile(str(path))
    buttons = dialog.findChild(QDialogButtonBox)
    button = next(b for b in buttons.buttons() if buttons.buttonRole(b) == QDialogButtonBox.ButtonRole.AcceptRole)
    qtbot.waitUntil(button.isEnabled)
    qtbot.mouseClick(button, LEFT)


def told_problem(window):
    """What the message bar says did not work; nothing if it says none of that."""
    bar = window.message
    return bar.text.text() if bar.isVisible() and bar.property("role") == "problem" else ""


def wait_pictures(window, qtbot):
    qtbot.waitUntil(
        lambda: (
            window.store.pictures is not None
            and window.store.pictures.warped_hu is not None
            and not window.store.pictures.stale
        )
    )
    wait_idle(window, qtbot)
    window.grid.refresh()


def wait_idle(window, qtbot):
    qtbot.waitUntil(lambda: not window.worker.busy, timeout=30_000)


def turn_wheel(pane, notches, modifiers=Qt.KeyboardModifier.NoModifier, at=WHEEL_AT):
    where = pane.mapToGlobal(at.toPoint())
    event = QWheelEvent(
        at,
        QPointF(where),
        QPoint(),
        QPoint(0, 120 * notches),
        Qt.MouseButton.NoButton,
        modifiers,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(pane, event)
