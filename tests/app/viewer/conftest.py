from __future__ import annotations

import numpy as np
import pytest

from app.viewer.grid import Grid
from app.viewer.pictures import Pictures
from tests.app.viewer.oblique import GRID, SHAPE_ZYX, known_hu, volume_of


@pytest.fixture
def open_grid(qtbot, store):
    """Shows the panes of the store's pictures in a window of some pixels, all of them drawn."""

    def show(width, height):
        grid = Grid(store)
        qtbot.addWidget(grid)
        grid.resize(width, height)
        grid.show()
        qtbot.waitExposed(grid)
        grid.refresh()
        return grid

    return show


@pytest.fixture
def shown():
    """An image that is linear in the patient, so that interpolation is exact; the moving one is another."""
    fixed, valid = volume_of(known_hu), np.ones(SHAPE_ZYX, bool)
    displacement = np.zeros((3, *SHAPE_ZYX), np.float32)
    displacement[:] = np.array([0.5, -1.0, 2.0], np.float32).reshape(3, 1, 1, 1)
    return Pictures(GRID, fixed, valid, fixed[::-1] + 7, fixed + 30, displacement, version=1)
