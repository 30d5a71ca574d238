"""How long the window's thread is busy with one thing that a user does: `python -m tests.benchmarks.monkey`.

    [--acts N] [--seed S] [--shape Z Y X] [--size W H] [--oblique] [--hard]

A thousand random actions, keys, drags and turns of the wheel over two volumes of 512×512×141; the steps themselves are
faked, since the worker runs them. Told are acts with all that follows from them, turns of the event loop, and single
events. The last is what counts, since the window answers between two: a drag is an act of several events.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from types import SimpleNamespace

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in the program, which sets it before numpy is loaded

import numpy as np
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication

import engine
import engine.phantom.thorax
from app import autosave, settings, theme
from app.__main__ import spare_the_collector
from app.main_window import MainWindow
from app.viewer.comparisons import COMPARISONS
from app.viewer.overlays import OVERLAYS
from engine.geometry import Geometry
from engine.structures import Structures
from engine.volume import Volume
from tests.app.conftest import FAKED, FakeEngine
from tests.app.monkey import Monkey
from tests.app.watchdog import Spent, WatchedApplication
from tests.benchmarks.scroll_slices import organs

SPACING_XYZ_MM = (0.98, 0.98, 2.0)
LIMIT_MS = 100.0
_AGAIN = 25
"""Acts after which it is switched on again."""


def pair(shape_zyx: tuple[int, int, int], turned_deg: float = 0.0) -> tuple[Volume, Volume]:
    """A brick of tissue in air, and the same one voxel aside, with noise."""
    rng = np.random.default_rng(0)
    hu = np.full(shape_zyx, -1000.0, dtype=np.float32)
    hu[tuple(slice(n // 5, 4 * n // 5) for n in shape_zyx)] = 40.0
    c, s = np.cos(np.radians(turned_deg)), np.sin(np.radians(turned_deg))
    geometry = Geometry(shape_zyx, SPACING_XYZ_MM, direction=((1.0, 0.0, 0.0), (0.0, c, -s), (0.0, s, c)))
    valid = np.ones(shape_zyx, dtype=bool)
    noisy = [hu + rng.normal(0, 20, shape_zyx).astype(np.float32) for _ in range(2)]
    return Volume(noisy[0], geometry, valid), Volume(np.roll(noisy[1], 1, axis=2), geometry, valid)


def provoke(window: MainWindow, random: Random) -> None:
    """All that can be shown, in the largest layout, with the hand aligning or not."""
    store = window.store
    if store.case is None:
        return
    if store.case.structures.is_empty:
        shape = store.case.fixed.geometry.shape_zyx
        store.set_structures(Structures(organs(shape, 0), organs(shape, 1)))
    comparison = random.choice((None, *COMPARISONS))
    store.change_view(
        layout="sheet", overlays=frozenset(OVERLAYS), comparison=comparison, along_patient=random.random() < 0.5
    )
    if random.random() < 0.5:
        window.commands.begin_by_hand()


def wait(window: MainWindow, application: QApplication, limit_s: float = 120.0) -> None:
    """Until the worker is idle."""
    end = time.monotonic() + limit_s
    while window.worker.busy and time.monotonic() < end:
        application.processEvents()
        time.sleep(0.01)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--acts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, nargs=2, default=(1500, 900), metavar=("W", "H"), help="of the window")
    parser.add_argument("--oblique", action="store_true", help="the grid is turned by 20 degrees")
    parser.add_argument("--hard", action="store_true", help="now and then the most that can be shown is switched on")
    parser.add_argument("--shape", type=int, nargs=3, default=(141, 512, 512), metavar=("Z", "Y", "X"))
    arguments = parser.parse_args()
    fake = FakeEngine()
    for name in FAKED:
        setattr(engine, name, getattr(fake, name))
    fixed, moving = pair(tuple(arguments.shape), 20.0 if arguments.oblique else 0.0)
    engine.phantom.thorax.thorax_pair = lambda: SimpleNamespace(fixed=fixed, moving=moving)
    with tempfile.TemporaryDirectory() as scratch:
        settings.stored = lambda: QSettings(f"{scratch}/settings.ini", QSettings.Format.IniFormat)
        autosave.user_data_path = lambda *_, **__: Path(scratch) / "data"
        settings.remember_folder(Path(scratch))
        application = WatchedApplication([])
        theme.apply_theme(application, "dark")
        window = MainWindow()
        window.resize(*arguments.size)
        window.show()
        window.store.set_images(fixed, moving)
        wait(window, application)
        spare_the_collector()
        monkey = Monkey(window, arguments.seed, application.watchdog)
        for number in range(arguments.acts):
            if arguments.hard and number % _AGAIN == 0:
                provoke(window, monkey.random)
            monkey.act()
        window.commands.cancel()
        wait(window, application)
        monkey.tidy()
        window.worker.shut_down()
    watchdog = application.watchdog
    for what, spent in (("acts", watchdog.acts), ("turns", watchdog.turns), ("events", watchdog.events)):
        tell(what, spent)
    return int(max(spent.thread_ms for spent in watchdog.events) > LIMIT_MS)


def tell(what: str, spent: list[Spent]) -> None:
    """Median, tail, and the slowest by name."""
    for clock in ("thread", "wall"):
        ms = np.array([getattr(one, f"{clock}_ms") for one in spent])
        print(
            f"{what} by the clock of the {clock}: {len(ms)}, median {np.median(ms):.1f} ms, "
            f"99 % {np.percentile(ms, 99):.1f}, longest {ms.max():.1f}, {(ms > LIMIT_MS).sum()} above {LIMIT_MS:.0f} ms"
        )
        for number in np.argsort(-ms)[:8]:
            print(f"{ms[number]:8.1f} ms  {spent[number].name}")


if __name__ == "__main__":
    sys.exit(main())
