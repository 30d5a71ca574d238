"""Drive the real window through the demo case and photograph it for the README (`make pictures`)."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QElapsedTimer, QSettings
from PySide6.QtWidgets import QApplication, QWidget

from app import autosave, settings, theme
from app.main_window import MainWindow
from app.viewer.boxes import NamedBox
from engine.roi import Box

ROOT = Path(__file__).resolve().parents[1]
SIZE = (1366, 768)
RSO_ITERATIONS = 100
STEP_LIMIT_MS = 15 * 60_000


class Photographer:
    """A window, its states, and a folder for its pictures."""

    def __init__(self, application: QApplication, folder: Path, size: tuple[int, int]) -> None:
        self._application, self._folder = application, folder
        self._error: BaseException | None = None
        theme.apply_theme(application, "dark")
        self.window = MainWindow()
        self.window.resize(*size)
        self.window.show()
        self.window.commands.failed.connect(self._fail)
        self.window.commands.find_device()
        self.settle()

    def settle(self) -> None:
        """Wait until the worker is idle and everything is painted."""
        timer, quiet = QElapsedTimer(), QElapsedTimer()
        timer.start()
        quiet.start()
        while not quiet.hasExpired(400):
            self._application.processEvents()
            if self.window.worker.busy:
                quiet.restart()
            if timer.hasExpired(STEP_LIMIT_MS):
                self._fail(TimeoutError("A step took too long."))
                self.window.worker.cancel_all()
                break
        if self._error is not None:
            self.window.worker.shut_down()
            raise SystemExit(f"{type(self._error).__name__}: {self._error}")

    def shoot(self, name: str, widget: QWidget | None = None) -> None:
        """Write `name`.png: the window, or a dialog of it."""
        self.settle()
        (widget or self.window).grab().save(str(self._folder / f"{name}.png"))
        sys.stdout.write(f"{self._folder / name}.png\n")

    def _fail(self, error: BaseException) -> None:
        self._error = error


def worst_box(window: MainWindow) -> Box:
    """The box of a third of the image, one of a coarse grid, with the largest error."""
    from app.viewer.slicing import box_rmse_hu

    z, y, x = window.store.case.fixed.geometry.shape_zyx
    sides = x // 4, y // 4, z // 3
    corners = (
        (i, j, k) for k in range(z // 5, z // 2, 4) for j in range(y // 5, y // 2, 6) for i in range(x // 5, x // 2, 6)
    )
    boxes = [Box(i, i + sides[0], j, j + sides[1], k, k + sides[2]) for i, j, k in corners]
    return max(boxes, key=lambda box: box_rmse_hu(window.store.pictures, box) or 0.0)


def main() -> None:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    parser.add_argument("--size", type=int, nargs=2, default=SIZE, metavar=("WIDTH", "HEIGHT"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        settings.stored = lambda: QSettings(f"{scratch}/settings.ini", QSettings.Format.IniFormat)
        autosave.autosave_root = lambda: Path(scratch) / "unsaved"
        photograph(Photographer(QApplication([]), arguments.out, tuple(arguments.size)))


def photograph(camera: Photographer) -> None:
    """The states that the README shows."""
    window, store, commands = camera.window, camera.window.store, camera.window.commands
    camera.shoot("empty")
    commands.open_demo()
    camera.settle()
    for step in (commands.align, commands.general):
        step()
        camera.settle()
    box = worst_box(window)
    store.set_boxes((NamedBox("Region 1", box),), 0)
    middle = ((box.z0 + box.z1) // 2, (box.y0 + box.y1) // 2, (box.x0 + box.x1) // 2)
    store.change_view(plane="coronal", cursor_zyx=middle)
    camera.shoot("general")
    store.set_settings(replace(store.settings, rso_iterations=RSO_ITERATIONS, rso_by="field"))
    commands.propose_regions()
    camera.shoot("proposals")
    commands.compare_region_fits()
    camera.settle()
    camera.shoot("fits", window.dialog)
    window.dialog.close()
    store.set_boxes((NamedBox("Region 1", box),), 0)
    store.change_view(cursor_zyx=middle)
    commands.rso()
    camera.shoot("region")
    store.change_view(layout="orientations", image="warped", overlays=frozenset({"invalid", "jacobian"}))
    camera.shoot("orientations")
    window.close()
    camera.settle()


if __name__ == "__main__":
    main()
