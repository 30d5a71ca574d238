"""How long one slice takes in the 2×2 layout of a large series: `python tests/benchmarks/scroll_slices.py`.

Two random volumes of 512×512×141, offscreen, on one core: from the change of the view to the painted window.
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np
from PySide6.QtWidgets import QApplication

from app import theme
from app.store import Store
from app.viewer.grid import Grid
from app.viewer.slicing import Pictures
from app.viewer.view_state import PLANES
from engine.geometry import Geometry

SHAPE_ZYX = (141, 512, 512)
SPACING_XYZ_MM = (0.98, 0.98, 2.0)
GRID_SIZE = (1060, 700)
FRAMES = 100
LIMIT_MS = 16.0


def frame_times_ms(store: Store, grid: Grid, application: QApplication) -> list[float]:
    """Seconds from a change of slice to the painted panes, for a scroll through one orientation."""
    grid.refresh()
    application.processEvents()
    axis = grid.panes[0].state.plane.normal
    store.set_view(store.view.stepped(axis, -10_000, SHAPE_ZYX))
    times = []
    for _ in range(FRAMES):
        start = time.perf_counter()
        store.set_view(store.view.stepped(axis, 1, SHAPE_ZYX))
        grid.refresh()
        application.processEvents()
        times.append((time.perf_counter() - start) * 1000)
    return times


def main() -> int:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    application = QApplication([])
    theme.apply_theme(application, "dark")
    store, rng = Store(), np.random.default_rng(0)
    fixed, moving, warped = (rng.normal(0, 300, SHAPE_ZYX).astype(np.float32) for _ in range(3))
    valid = np.ones(SHAPE_ZYX, dtype=bool)
    valid[:, :60, :60] = False
    grid = Grid(store)
    grid.resize(*GRID_SIZE)
    grid.show()
    store.set_pictures(Pictures(Geometry(SHAPE_ZYX, SPACING_XYZ_MM), fixed, valid, moving, warped, version=1))
    medians = []
    for plane in PLANES:
        store.change_view(plane=plane)
        times = frame_times_ms(store, grid, application)
        medians.append(float(np.median(times)))
        print(f"{plane:9s} median {np.median(times):5.1f} ms   95th percentile {np.percentile(times, 95):5.1f} ms")
    return int(max(medians) > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
