"""Anatomical planes of a grid: which array axis is which way on the screen, and what its edges are called.

A place on a plane is (across, down) in mm from the centre of voxel 0, along the grid's column and row axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike

from app.viewer.view_state import Index, PlaneName
from engine.geometry import Geometry
from engine.shapes import HuArray

_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))
_OBLIQUE = 0.35
_SCREEN: dict[PlaneName, tuple[int, tuple[int, int], tuple[int, int]]] = {
    "axial": (2, (0, 1), (1, 1)),
    "coronal": (1, (0, 1), (2, -1)),
    "sagittal": (0, (1, 1), (2, -1)),
}
"""Plane: patient axis of its normal, (patient axis, sense) to the right, and the same downwards (LPS)."""


@dataclass(frozen=True, slots=True)
class Plane:
    """An anatomical plane of a grid. `normal`, `row`, `column` are array axes (0 z, 1 y, 2 x).

    `flip_across`: the column index grows to the left of the screen; `flip_down`: the row index grows upwards.
    `edges`: patient directions at left, right, top, bottom.
    """

    name: PlaneName
    normal: int
    row: int
    column: int
    shape_zyx: Index
    spacing_zyx_mm: tuple[float, float, float]
    flip_across: bool
    flip_down: bool
    edges: tuple[str, str, str, str]

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """(across, down)."""
        return self.spacing_zyx_mm[self.column], self.spacing_zyx_mm[self.row]

    @property
    def extent_mm(self) -> tuple[float, float]:
        """Width and height of the voxels together (across, down)."""
        across, down = self.spacing_mm
        return self.shape_zyx[self.column] * across, self.shape_zyx[self.row] * down

    def slice_of(self, volume: HuArray, index: int) -> HuArray:
        """A (rows, columns) view of one slice of a (Z, Y, X) array."""
        plane: HuArray = volume[tuple(index if axis == self.normal else slice(None) for axis in range(3))]
        return plane if self.row < self.column else plane.T

    def place(self, index_zyx: Index) -> tuple[float, float]:
        """(across, down) in mm of the centre of a voxel."""
        across, down = self.spacing_mm
        return index_zyx[self.column] * across, index_zyx[self.row] * down

    def index_at(self, place_mm: tuple[float, float], cursor_zyx: Index) -> tuple[float, float, float]:
        """The continuous index (z, y, x) at a place on the cursor's slice; it may lie outside the grid."""
        index = [float(i) for i in cursor_zyx]
        across, down = self.spacing_mm
        index[self.column] = place_mm[0] / across
        index[self.row] = place_mm[1] / down
        return index[0], index[1], index[2]

    def voxel(self, place_mm: tuple[float, float], cursor_zyx: Index) -> Index:
        """The voxel at a place on the cursor's slice; it may lie outside the grid."""
        z, y, x = (round(i) for i in self.index_at(place_mm, cursor_zyx))
        return z, y, x

    def shows(self, index_zyx: tuple[float, float, float]) -> bool:
        """Whether an index lies in the grid, to the faces of its outer voxels."""
        return all(-0.5 <= i <= n - 0.5 for i, n in zip(index_zyx, self.shape_zyx, strict=True))


@lru_cache(maxsize=32)
def plane_of(geometry: Geometry, name: PlaneName) -> Plane:
    """The plane of a grid that comes closest to an anatomical plane, as seen from the patient's feet, left or front."""
    direction = np.asarray(geometry.direction)
    grid_axis = _grid_axes(geometry)
    normal, (right, right_sense), (down, down_sense) = _SCREEN[name]
    column, row = grid_axis[right], grid_axis[down]
    flip_across = direction[right, column] * right_sense < 0
    flip_down = direction[down, row] * down_sense < 0
    to_right = direction[:, column] * (-1 if flip_across else 1)
    to_bottom = direction[:, row] * (-1 if flip_down else 1)
    return Plane(
        name,
        normal=2 - grid_axis[normal],
        row=2 - row,
        column=2 - column,
        shape_zyx=geometry.shape_zyx,
        spacing_zyx_mm=geometry.spacing_zyx_mm,
        flip_across=bool(flip_across),
        flip_down=bool(flip_down),
        edges=(letters(-to_right), letters(to_right), letters(-to_bottom), letters(to_bottom)),
    )


def letters(direction_lps: ArrayLike) -> str:
    """The patient directions that a vector points to, the strongest first: `L`, or `LP` where it is oblique."""
    direction = np.asarray(direction_lps)
    order = np.argsort(-np.abs(direction), kind="stable")
    strong = [axis for axis in order if abs(direction[axis]) > _OBLIQUE]
    return "".join(_LETTERS[axis][int(direction[axis] > 0)] for axis in strong)


def _grid_axes(geometry: Geometry) -> tuple[int, ...]:
    """For each patient axis the grid axis nearest to it, all three different."""
    weights = np.abs(np.asarray(geometry.direction))
    return max(
        permutations(range(3)), key=lambda axes: sum(weights[patient, grid] for patient, grid in enumerate(axes))
    )
