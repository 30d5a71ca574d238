"""An oblique grid of anisotropic voxels and images on it that are known in closed form."""

from __future__ import annotations

import numpy as np

from app.viewer.view_state import ViewState
from engine.geometry import Geometry, as_triple
from tests.conftest import rotation

SHAPE_ZYX = (13, 17, 23)
TURNED = tuple(as_triple(row) for row in rotation(12.0, -17.0, 23.0))
GRID = Geometry(SHAPE_ZYX, (1.1, 2.3, 6.0), (-31.0, 12.0, 77.0), TURNED)
SLOPE = np.array([3.0, -2.0, 5.0])
"""HU a millimetre toward the patient's left, back and head."""

CURSOR = (6, 8, 11)
VIEW = ViewState(cursor_zyx=CURSOR, along_patient=True, overlays=frozenset())
NEXT = {"axial": 2, "coronal": 1, "sagittal": 0}


def known_hu(points_mm):
    return points_mm @ SLOPE - 400


def volume_of(values_of):
    """An array of the grid with the values of a function of points (N, 3) in mm."""
    index = np.indices(SHAPE_ZYX)[::-1].reshape(3, -1).T
    return values_of(GRID.points(index)).reshape(SHAPE_ZYX).astype(np.float32)


def pixel_points(plane, index):
    """Points (rows, columns, 3) of the pixels of a slice."""
    rows, columns = plane.shape_zyx[plane.row], plane.shape_zyx[plane.column]
    grid = np.zeros((rows, columns, 3))
    row, column = np.indices((rows, columns))
    grid[..., plane.row], grid[..., plane.column], grid[..., plane.normal] = row, column, index
    return plane.grid.points(grid.reshape(-1, 3)[:, ::-1]).reshape(rows, columns, 3)
