"""How long the window's thread is busy with one thing that a user does: `python -m tests.benchmarks.monkey`.

A thousand random actions, keys, drags and turns of the wheel over two volumes of 512×512×141; the steps themselves are
faked, since the worker runs them. Each is timed with all that follows from it on the window's thread.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication

import engine
import engine.phantom.thorax
from app import autosave, settings, theme
from app.main_window import MainWindow
from engine.geometry import Geometry
from engine.volume import Volume
from tests.app.conftest import FAKED, FakeEngine
from tests.app.monkey import Monkey

SPACING_XYZ_MM = (0.98, 0.98, 2.0)
LIMIT_MS = 100.0


def pair(shape_zyx: tuple[int, int, int]) -> tuple[Volume, Volume]:
    """A brick of tissue in air, and the same one voxel aside, with noise."""
    rng = np.random.default_rng(0)
    hu = np.full(shape_zyx, -1000.0, dtype=np.float32)
    hu[tuple(slice(n // 5, 4 * n // 5) for n in shape_zyx)] = 40.0
    geometry, valid = Geometry(shape_zyx, SPACING_XYZ_MM), np.ones(shape_zyx, dtype=bool)
    noisy = [hu + rng.normal(0, 20, shape_zyx).astype(np.float32) for _ in range(2)]
    return Volume(noisy[0], geometry, valid), Volume(np.roll(noisy[1], 1, axis=2), geometry, valid)


def wait(window: MainWindow, application: QApplication, limit_s: float = 120.0) -> None:
    """Until the worker is idle."""
    end = time.monotonic() + limit_s
    while window.worker.busy and time.monotonic() < end:
        application.processEvents()
        time.sleep(0.01)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--acts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shape", type=int, nargs=3, default=(141, 512, 512), metavar=("Z", "Y", "X"))
    arguments = parser.parse_args()
    fake = FakeEngine()
    for name in FAKED:
        setattr(engine, name, getattr(fake, name))
    fixed, moving = pair(tuple(arguments.shape))
    engine.phantom.thorax.thorax_pair = lambda: SimpleNamespace(fixed=fixed, moving=moving)
    with tempfile.TemporaryDirectory() as scratch:
        settings.stored = lambda: QSettings(f"{scratch}/settings.ini", QSettings.Format.IniFormat)
        autosave.user_data_path = lambda *_, **__: Path(scratch) / "data"
        settings.remember_folder(Path(scratch))
        application = QApplication([])
        theme.apply_theme(application, "dark")
        window = MainWindow()
        window.resize(1500, 900)
        window.show()
        window.store.set_images(fixed, moving)
        wait(window, application)
        monkey = Monkey(window, arguments.seed)
        for _ in range(arguments.acts):
            monkey.act()
        window.commands.cancel()
        wait(window, application)
        monkey.tidy()
        window.worker.shut_down()
    for clock, seconds in (("wall", monkey.watchdog.seconds), ("thread", monkey.watchdog.cpu_seconds)):
        tell(clock, np.array(seconds) * 1000, monkey.done)
    return int(max(monkey.watchdog.cpu_seconds) * 1000 > LIMIT_MS)


def tell(clock: str, spent_ms: NDArray[np.float64], names: list[str]) -> None:
    """Median, tail, and the slowest by name."""
    print(
        f"{clock}: {len(spent_ms)} acts, median {np.median(spent_ms):.1f} ms, 99 % {np.percentile(spent_ms, 99):.1f}, "
        f"longest {spent_ms.max():.1f}, {(spent_ms > LIMIT_MS).sum()} above {LIMIT_MS:.0f} ms"
    )
    for number in np.argsort(-spent_ms)[:6]:
        print(f"{spent_ms[number]:8.1f} ms  {names[number]}")


if __name__ == "__main__":
    sys.exit(main())
