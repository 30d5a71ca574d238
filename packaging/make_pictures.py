"""Drive the real window by mouse and keys through the whole work and photograph it (`make pictures`).

    [QT_QPA_PLATFORM=xcb] python packaging/make_pictures.py [--out docs/guide] [--sizes 1366x768 1920x1080 3840x2160]

Every size is a run of its own with pictures in a folder of its own; on 3840×2160 everything is drawn twice as large.
docs/guide/README.md says what they show.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PySide6.QtCore import QElapsedTimer, QEventLoop, QPoint, QSettings, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QDialogButtonBox, QWidget

from app import autosave, settings, theme
from app.main_window import MainWindow
from app.viewer.pane import Pane
from app.viewer.pop_out import PopOut
from app.viewer.view_state import Index

ROOT = Path(__file__).resolve().parents[1]
SIZES = ("1366x768", "1920x1080", "3840x2160")
STEP_LIMIT_MS = 15 * 60_000
_QUALITY = 82
_LUNG_BELOW_HU = -400
_PATIENCE_MS = 10
"""Between two looks, in an event loop: `processEvents` and `qWait` keep Python from the worker."""

Key = Qt.Key
CONTROL, SHIFT, ALT = (
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.AltModifier,
)
LEFT = Qt.MouseButton.LeftButton


class Photographer:
    """A window, a hand, and a folder for pictures, numbered in their order."""

    def __init__(self, application: QApplication, folder: Path, size: tuple[int, int]) -> None:
        self._application, self._folder = application, folder
        self._error: BaseException | None = None
        self._count = 0
        theme.apply_theme(application, "dark")
        self.window = MainWindow()
        self.window.resize(*size)
        self.window.show()
        self.window.commands.failed.connect(self._fail)
        self.window.commands.find_device()
        self.settle()

    def settle(self) -> None:
        """Wait until the worker is idle and everything is painted."""
        self.wait(lambda: not self.window.worker.busy, quiet_ms=400)

    def wait(self, ready: object, quiet_ms: int = 0) -> None:
        """Wait until something is so, and for some time longer."""
        timer, quiet = QElapsedTimer(), QElapsedTimer()
        timer.start()
        quiet.start()
        while not quiet.hasExpired(quiet_ms) or not ready():
            rest = QEventLoop()
            QTimer.singleShot(_PATIENCE_MS, rest.quit)
            rest.exec()
            if not ready():
                quiet.restart()
            if timer.hasExpired(STEP_LIMIT_MS):
                self._fail(TimeoutError("A step took too long."))
            if self._error is not None:
                self.window.worker.shut_down()
                raise SystemExit(f"{type(self._error).__name__}: {self._error}")

    def shoot(self, name: str, widget: QWidget | None = None, settled: bool = True) -> None:
        """Write the next picture: the window, or a dialog of it."""
        if settled:
            self.settle()
        self._count += 1
        path = self._folder / f"{self._count:02d}-{name}.webp"
        (widget or self.window).grab().save(str(path), "webp", _QUALITY)
        sys.stdout.write(f"{path}\n")

    def press(self, key: Key, modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        """A key while the images have the focus."""
        self.window.activateWindow()
        self.window.grid.panes[0].setFocus()
        self._application.processEvents()
        QTest.keyClick(self.window, key, modifiers)
        self._application.processEvents()

    def pane(self, number: int) -> Pane:
        self.window.grid.refresh()
        return self.window.grid.panes[number]

    def at(self, pane: Pane, index_zyx: Index) -> QPoint:
        """Where a voxel is in a pane."""
        return pane.pixel_of(pane.state.plane.place(index_zyx)).toPoint()

    def click(self, number: int, index_zyx: Index) -> None:
        pane = self.pane(number)
        QTest.mouseClick(pane, LEFT, Qt.KeyboardModifier.NoModifier, self.at(pane, index_zyx))

    def hover(self, number: int, index_zyx: Index) -> None:
        pane = self.pane(number)
        QTest.mouseMove(pane, self.at(pane, index_zyx))

    def drag(self, number: int, start: Index, end: Index) -> None:
        """The left button, from one voxel to another."""
        pane = self.pane(number)
        first, last = self.at(pane, start), self.at(pane, end)
        QTest.mousePress(pane, LEFT, Qt.KeyboardModifier.NoModifier, first)
        for share in (0.3, 0.6, 1.0):
            QTest.mouseMove(pane, first + (last - first) * share)
            self._application.processEvents()
        QTest.mouseRelease(pane, LEFT, Qt.KeyboardModifier.NoModifier, last)

    def choose(self, path: Path) -> None:
        """A path in the file dialog that is open, then its button."""
        dialog = self.window.dialog
        dialog.selectFile(str(path))
        buttons = dialog.findChild(QDialogButtonBox)
        accept = QDialogButtonBox.ButtonRole.AcceptRole
        button = next(b for b in buttons.buttons() if buttons.buttonRole(b) == accept)
        self.wait(button.isEnabled)
        QTest.mouseClick(button, LEFT)
        self.settle()

    def close_dialog(self) -> None:
        self.window.dialog.close()
        self._application.processEvents()

    def _fail(self, error: BaseException) -> None:
        self._error = error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "guide")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=SIZES)
    arguments = parser.parse_args()
    if len(arguments.sizes) > 1:
        for size in arguments.sizes:
            subprocess.run([sys.executable, __file__, "--out", str(arguments.out), "--sizes", size], check=True)
        return
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    (size,) = arguments.sizes
    scale = 2 if size == SIZES[-1] else 1
    os.environ["QT_SCALE_FACTOR"] = str(scale)
    width, height = (int(side) // scale for side in size.split("x"))
    folder = arguments.out / size
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.webp"):
        old.unlink()
    with tempfile.TemporaryDirectory() as scratch:
        settings.stored = lambda: QSettings(f"{scratch}/settings.ini", QSettings.Format.IniFormat)
        autosave.autosave_root = lambda: Path(scratch) / "unsaved"
        session(Photographer(QApplication([]), folder, (width, height)), write_files(Path(scratch)))


def write_files(folder: Path) -> Path:
    """The built-in pair as files, and the lungs of both images as labels."""
    from engine.io.images import write_image
    from engine.phantom.thorax import thorax_pair
    from engine.preprocess import body_of

    pair, images = thorax_pair(), folder / "Patient A"
    images.mkdir()
    for name, volume in (("planning CT", pair.fixed), ("CBCT", pair.moving)):
        write_image(images / f"{name}.mha", volume.hu, volume.geometry)
    for name, volume in (("fixed", pair.fixed), ("moving", pair.moving)):
        lung = (volume.hu < _LUNG_BELOW_HU) & body_of(volume)
        write_image(folder / f"{name} labels.mha", lung.astype("uint8"), volume.geometry)
    return folder


def session(camera: Photographer, files: Path) -> None:
    """From two images in a folder to an exported field."""
    opening(camera, files)
    first_registration(camera)
    looking(camera)
    refining(camera)
    history(camera)
    guidance(camera, files)
    ending(camera)


def opening(camera: Photographer, files: Path) -> None:
    window = camera.window
    camera.shoot("start")
    camera.press(Key.Key_F1)
    camera.shoot("tour")
    QTest.mouseClick(window.tour.leave_button, LEFT)
    window.browse(files / "Patient A")
    camera.shoot("folder", window.dialog)
    camera.close_dialog()
    camera.press(Key.Key_D, CONTROL)
    camera.settle()
    window.message.hide()
    camera.shoot("opened")


def first_registration(camera: Photographer) -> None:
    camera.press(Key.Key_A, CONTROL | SHIFT)
    z, y, x = middle(camera)
    camera.drag(1, (z, y, x), (z, y - 6, x + 8))
    camera.shoot("align-by-hand")
    camera.press(Key.Key_Backspace, CONTROL)
    camera.press(Key.Key_1, CONTROL)
    camera.settle()
    camera.press(Key.Key_C)
    camera.press(Key.Key_2, CONTROL)
    camera.press(Key.Key_3, CONTROL)
    camera.press(Key.Key_Z, CONTROL)
    run = camera.window.store
    camera.wait(lambda: run.run is not None and run.run.title.startswith("Image") and len(run.run.error_hu) > 12)
    camera.shoot("running", settled=False)
    camera.settle()
    camera.press(Key.Key_Z, CONTROL)
    camera.settle()
    dismiss(camera)
    camera.shoot("general")


def looking(camera: Photographer) -> None:
    z, y, x = middle(camera)
    place = (z - 6, y, x - 22)
    camera.click(0, place)
    for key, name in zip("XHVQYE", ("blend", "checkerboard", "split", "spyglass", "two-colours", "edges"), strict=True):
        camera.press(getattr(Key, f"Key_{key}"))
        camera.hover(2, place)
        camera.shoot(name)
    camera.press(Key.Key_E)
    camera.press(Key.Key_T)
    camera.press(Key.Key_R)
    camera.shoot("arrows-and-signed-difference")
    camera.press(Key.Key_R)
    camera.press(Key.Key_T)
    camera.press(Key.Key_L)
    camera.press(Key.Key_G)
    camera.shoot("grid-and-displacement")
    for _ in range(3):
        camera.press(Key.Key_G, SHIFT)
    camera.press(Key.Key_L)
    camera.shoot("displacement-to-the-head")
    camera.press(Key.Key_G)
    camera.press(Key.Key_J)
    camera.press(Key.Key_W, SHIFT)
    camera.shoot("three-orientations-jacobian")
    camera.press(Key.Key_J)
    camera.press(Key.Key_3)
    camera.shoot("sheet")
    QTest.mouseDClick(camera.pane(6), LEFT)
    camera.shoot("enlarged")
    camera.press(Key.Key_Return)
    camera.press(Key.Key_1)
    camera.press(Key.Key_W, CONTROL | SHIFT)
    pop_out = camera.window.findChild(PopOut)
    camera.shoot("second-window", pop_out)
    pop_out.close()


def refining(camera: Photographer) -> None:
    window = camera.window
    camera.press(Key.Key_P, CONTROL)
    camera.shoot("proposals")
    box = window.store.selected_box.box
    (z0, z1), (y0, y1), (x0, x1) = box.ranges_zyx
    for _ in range(len(window.store.boxes)):
        camera.press(Key.Key_Delete)
    camera.press(Key.Key_C)
    camera.click(0, ((z0 + z1) // 2, (y0 + y1) // 2, (x0 + x1) // 2))
    camera.press(Key.Key_B)
    camera.drag(3, (z0, (y0 + y1) // 2, x0), (z1 - 1, (y0 + y1) // 2, x1 - 1))
    camera.shoot("drawn")
    camera.press(Key.Key_R, CONTROL | SHIFT)
    camera.settle()
    camera.shoot("fits", window.dialog)
    camera.close_dialog()
    camera.press(Key.Key_4, CONTROL)
    camera.shoot("region")


def history(camera: Photographer) -> None:
    dismiss(camera)
    camera.press(Key.Key_Z, CONTROL)
    camera.settle()
    camera.press(Key.Key_3, CONTROL)
    camera.settle()
    dismiss(camera)
    panel = camera.window.history.list
    QTest.mouseClick(panel.viewport(), LEFT, pos=panel.visualItemRect(panel.item(panel.count() - 2)).center())
    camera.settle()
    panel.setCurrentRow(panel.count() - 1)
    camera.press(Key.Key_C, CONTROL | SHIFT)
    camera.press(Key.Key_Z)
    camera.shoot("branches-and-before")
    camera.press(Key.Key_Z)
    camera.press(Key.Key_X, CONTROL | SHIFT)


def guidance(camera: Photographer, files: Path) -> None:
    window = camera.window
    z, y, x = middle(camera)
    camera.press(Key.Key_P)
    for place, partner in (((z, y, x - 20), (z + 2, y, x - 21)), ((z - 8, y, x + 24), (z - 6, y, x + 25))):
        camera.click(0, place)
        camera.click(1, partner)
    camera.press(Key.Key_Escape)
    camera.shoot("point-pairs")
    for name in ("fixed", "moving"):
        window.actions_table[f"load_{name}_contours"].trigger()
        camera.choose(files / f"{name} labels.mha")
    window.message.hide()
    window.show_list(window.structures)
    camera.shoot("contours")


def ending(camera: Photographer) -> None:
    window = camera.window
    camera.press(Key.Key_E, CONTROL)
    camera.shoot("export", window.dialog)
    camera.close_dialog()
    camera.press(Key.Key_Question)
    camera.shoot("keys", window.dialog)
    camera.close_dialog()
    camera.press(Key.Key_T, CONTROL)
    camera.shoot("light")
    window.close()
    camera.settle()


def middle(camera: Photographer) -> Index:
    return camera.window.store.pictures.middle_zyx()


def dismiss(camera: Photographer) -> None:
    """Put away what the last step told in the corner."""
    camera.window.toast.hide()


if __name__ == "__main__":
    main()
