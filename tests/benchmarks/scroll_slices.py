"""How long one slice takes in a large series: `QT_QPA_PLATFORM=offscreen python tests/benchmarks/scroll_slices.py`.

    [--layout compare|sheet] [--shape Z Y X] [--size W H] [--overlays NAME ...] [--busy] [--limit MS] [--frames N]

Random volumes; from the change of the view to the painted panes. `--busy`: while the worker optimises a phantom.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PySide6.QtWidgets import QApplication

import engine
from app import theme
from app.store import Store
from app.viewer.grid import Grid
from app.viewer.overlays import OVERLAYS
from app.viewer.slicing import Pictures
from app.viewer.view_state import LAYOUTS, PLANES
from app.worker import Worker
from engine.case import Case
from engine.geometry import Geometry

SPACING_XYZ_MM = (0.98, 0.98, 2.0)
_ENDLESS = 1_000_000


def frame_times_ms(store: Store, grid: Grid, application: QApplication, axis: int, frames: int) -> list[float]:
    """From a change of slice to the painted panes, for a scroll along one axis."""
    shape = store.pictures.geometry.shape_zyx
    store.set_view(store.view.stepped(axis, -10_000, shape).stepped(axis, shape[axis] // 5, shape))
    grid.refresh()
    application.processEvents()
    times = []
    for _ in range(frames):
        start = time.perf_counter()
        store.set_view(store.view.stepped(axis, 1, shape))
        grid.refresh()
        application.processEvents()
        times.append((time.perf_counter() - start) * 1000)
    return times


def random_pictures(shape_zyx: tuple[int, int, int]) -> Pictures:
    """Noise, a corner outside the scan, a body in the middle, and a smooth motion of up to a centimetre."""
    rng = np.random.default_rng(0)
    fixed, moving, warped = (rng.normal(0, 300, shape_zyx).astype(np.float32) for _ in range(3))
    valid, body = np.ones(shape_zyx, dtype=bool), np.zeros(shape_zyx, dtype=bool)
    valid[:, :60, :60] = False
    _, y, x = shape_zyx
    body[:, y // 6 : -y // 6, x // 8 : -x // 8] = True
    displacement = np.zeros((3, *shape_zyx), dtype=np.float32)
    displacement[:] = (6 * np.sin(np.linspace(0, 6, x))).astype(np.float32)
    return Pictures(
        Geometry(shape_zyx, SPACING_XYZ_MM), fixed, valid, moving, warped, displacement, body=body, version=1
    )


@contextmanager
def optimising(busy: bool) -> Iterator[None]:
    """The worker refines a phantom meanwhile."""
    if not busy:
        yield
        return
    from engine.phantom.thorax import thorax_pair

    pair = thorax_pair(size_xyz=(112, 112, 84), spacing_xyz_mm=(3.2, 3.2, 4.0))
    case, worker = Case.new(pair.fixed, pair.moving), Worker()
    task = worker.submit(lambda: engine.run_step(case, engine.IsoSettings(iterations=_ENDLESS), preview=True))
    begun: list[object] = []
    task.progressed.connect(begun.append)
    while len(begun) < 3:
        QApplication.processEvents()
    yield
    worker.shut_down()


def main() -> int:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layout", choices=tuple(LAYOUTS), default="compare")
    parser.add_argument("--shape", type=int, nargs=3, default=(141, 512, 512), metavar=("Z", "Y", "X"))
    parser.add_argument("--size", type=int, nargs=2, default=(1060, 700), metavar=("W", "H"), help="of the panes")
    parser.add_argument("--overlays", nargs="*", choices=tuple(OVERLAYS), default=["invalid"])
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--limit", type=float, default=16.0, help="of the median, ms")
    parser.add_argument("--frames", type=int, default=100)
    arguments = parser.parse_args()
    application = QApplication([])
    theme.apply_theme(application, "dark")
    store = Store()
    grid = Grid(store)
    grid.resize(*arguments.size)
    grid.show()
    store.set_pictures(random_pictures(tuple(arguments.shape)))
    store.change_view(layout=arguments.layout, overlays=frozenset(arguments.overlays))
    medians = []
    with optimising(arguments.busy):
        for plane in PLANES:
            store.change_view(plane=plane)
            grid.refresh()
            axis = next(pane.state.plane.normal for pane in grid.panes if pane.state.plane.name == plane)
            times = frame_times_ms(store, grid, application, axis, arguments.frames)
            medians.append(float(np.median(times)))
            print(f"{plane:9s} median {np.median(times):5.1f} ms   95th percentile {np.percentile(times, 95):5.1f} ms")
    return int(max(medians) > arguments.limit)


if __name__ == "__main__":
    sys.exit(main())
