"""Anatomical planes of an image: which axis is which way on the screen, and what its edges are called.

A plane is a slice of a regular grid: of the voxels themselves, cut out as they are, or of a grid along the patient's
axes round them, whose slices are sampled one by one. A place on a plane is (across, down) in mm from the centre of
pixel 0, along that grid's column and row axes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.viewer.view_state import Continuous, Index, PlaneName, ViewState
from engine.geometry import Geometry, as_triple

if TYPE_CHECKING:
    from engine.spatial.oblique import Section

_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))
_OBLIQUE = 0.35
_STRAIGHT_DEG = 0.05
"""Up to here a grid counts as one along the patient's axes: a quarter of a millimetre over a body."""

_SCREEN: dict[PlaneName, tuple[int, tuple[int, int], tuple[int, int]]] = {
    "axial": (2, (0, 1), (1, 1)),
    "coronal": (1, (0, 1), (2, -1)),
    "sagittal": (0, (1, 1), (2, -1)),
}
"""Plane: patient axis of its normal, (patient axis, sense) to the right, and the same downwards (LPS)."""


How = Literal["nearest", "linear", "hu", "wholly"]
"""How values between voxels are made; `engine.spatial.oblique.Section` has a method of each name."""


@dataclass(frozen=True, slots=True)
class Plane:
    """An anatomical plane of an image. `normal`, `row`, `column` are array axes (0 z, 1 y, 2 x) of `grid`.

    `voxels`: the grid of the image. `grid`: the same, or one along the patient's axes; its slices are what is shown.
    `flip_across`: the column index grows to the left of the screen; `flip_down`: the row index grows upwards.
    `edges`: patient directions at left, right, top, bottom.
    `every`: of how many rows and columns its pixels are one.
    """

    name: PlaneName
    normal: int
    row: int
    column: int
    voxels: Geometry
    grid: Geometry
    flip_across: bool
    flip_down: bool
    edges: tuple[str, str, str, str]
    every: tuple[int, int] = (1, 1)

    @property
    def is_sampled(self) -> bool:
        """Whether its pixels lie between the voxels."""
        return self.grid is not self.voxels

    @property
    def shape_zyx(self) -> Index:
        return self.grid.shape_zyx

    @property
    def spacing_zyx_mm(self) -> tuple[float, float, float]:
        return self.grid.spacing_zyx_mm

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """(across, down)."""
        spacing_zyx_mm = self.grid.spacing_zyx_mm
        return spacing_zyx_mm[self.column], spacing_zyx_mm[self.row]

    @property
    def extent_mm(self) -> tuple[float, float]:
        """Width and height of the pixels together (across, down)."""
        across, down = self.spacing_mm
        return self.shape_zyx[self.column] * across, self.shape_zyx[self.row] * down

    def slice_of(self, volume: Any, index: float, how: How = "nearest") -> NDArray[Any]:
        """(rows, columns) of one slice of a (Z, Y, X) array of the voxels: a view of it, or sampled."""
        if self.is_sampled:
            sampled: NDArray[Any] = getattr(section_of(self, index), how)(volume)
            return sampled
        plane: NDArray[Any] = volume[self.part(index)]
        return plane if self.row < self.column else plane.T

    def part(self, index: float, step: int = 1) -> tuple[Any, Any, Any]:
        """What cuts a slice out of a (Z, Y, X) array of the grid, every `step`-th pixel each way."""
        z, y, x = (index if axis == self.normal else slice(None, None, step) for axis in range(3))
        return z, y, x

    def thinned(self, every: tuple[int, int], first: tuple[int, int] = (0, 0)) -> Plane:
        """Of sampled slices every few rows and columns alone, from the first of them; the others are not made."""
        assert self.is_sampled
        return self if (every, first) == ((1, 1), (0, 0)) else _thinned(self, every, first)

    def to_grid(self, index_zyx: Continuous) -> Continuous:
        """The index in `grid` of one in `voxels`."""
        return _mapped(self.voxels, self.grid, index_zyx) if self.is_sampled else index_zyx

    def to_voxels(self, index_zyx: Continuous) -> Continuous:
        """The index in `voxels` of one in `grid`."""
        return _mapped(self.grid, self.voxels, index_zyx) if self.is_sampled else index_zyx

    @property
    def mm_a_voxel(self) -> NDArray[np.float32]:
        """(3, 3) mm along axis i of `grid` of a displacement by one voxel along axis j of `voxels`, both z, y, x."""
        return _mm_a_voxel(self.voxels, self.grid)

    def cursor(self, view: ViewState) -> Continuous:
        """The index of the cursor: a voxel, or a place in `grid` where slices are sampled."""
        return view.place_zyx if self.is_sampled else view.cursor_zyx

    def index(self, view: ViewState) -> float:
        """The slice that goes through the cursor: a whole number where slices are those of the voxels."""
        index = self.to_grid(self.cursor(view))[self.normal]
        return round(index, 3) if self.is_sampled else index

    def place(self, index_zyx: Continuous) -> tuple[float, float]:
        """(across, down) in mm of an index of the voxels."""
        index = self.to_grid(index_zyx)
        across, down = self.spacing_mm
        return index[self.column] * across, index[self.row] * down

    def way(self, moved_mm: tuple[float, float]) -> Continuous:
        """How many voxels z, y, x a way (across, down) in mm on a slice leads on."""
        steps = [0.0, 0.0, 0.0]
        steps[self.column], steps[self.row] = moved_mm[0] / self.spacing_mm[0], moved_mm[1] / self.spacing_mm[1]
        z, y, x = _between(self.grid, self.voxels)[0] @ steps if self.is_sampled else steps
        return float(z), float(y), float(x)

    def index_at(self, place_mm: tuple[float, float], cursor_zyx: Continuous) -> Continuous:
        """The continuous index (z, y, x) of the voxels at a place on the cursor's slice; it may lie outside them."""
        across, down = self.spacing_mm
        return self._on_slice(place_mm[0] / across, place_mm[1] / down, cursor_zyx)

    def pixel(self, place_mm: tuple[float, float], cursor_zyx: Continuous) -> Continuous:
        """The index of the pixel at a place on the cursor's slice: that of a voxel, or one in between."""
        across, down = self.spacing_mm
        return self._on_slice(round(place_mm[0] / across), round(place_mm[1] / down), cursor_zyx)

    def pointed(self, view: ViewState, place_mm: tuple[float, float]) -> ViewState:
        """With the cursor on the pixel at a place on its slice, or on the nearest one of the slice."""
        across, down = (
            min(max(place, 0), (self.shape_zyx[axis] - 1) * step)
            for place, axis, step in zip(place_mm, (self.column, self.row), self.spacing_mm, strict=True)
        )
        return view.at(self.pixel((across, down), self.cursor(view)), self.voxels.shape_zyx)

    def shows(self, index_zyx: Continuous) -> bool:
        """Whether an index lies in the image, to the faces of its outer voxels."""
        return all(-0.5 <= i < n - 0.5 for i, n in zip(index_zyx, self.voxels.shape_zyx, strict=True))

    def _on_slice(self, column: float, row: float, cursor_zyx: Continuous) -> Continuous:
        index = list(self.to_grid(cursor_zyx))
        index[self.column], index[self.row] = column, row
        return self.to_voxels((index[0], index[1], index[2]))


def stepped(view: ViewState, plane: Plane, steps: int) -> ViewState:
    """The view some slices of a plane further, as far as there are any."""
    index = list(plane.to_grid(plane.cursor(view)))
    index[plane.normal] = min(max(index[plane.normal] + steps, 0), plane.shape_zyx[plane.normal] - 1)
    return view.at(plane.to_voxels((index[0], index[1], index[2])), plane.voxels.shape_zyx)


@lru_cache(maxsize=32)
def plane_of(geometry: Geometry, name: PlaneName, along_patient: bool = False) -> Plane:
    """The plane of a grid that comes closest to an anatomical plane, as seen from the patient's feet, left or front.

    `along_patient`: that anatomical plane itself.
    """
    grid = along_patient_axes(geometry) if along_patient and is_oblique(geometry) else geometry
    direction = np.asarray(grid.direction)
    grid_axis = _grid_axes(grid)
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
        voxels=geometry,
        grid=grid,
        flip_across=bool(flip_across),
        flip_down=bool(flip_down),
        edges=(letters(-to_right), letters(to_right), letters(-to_bottom), letters(to_bottom)),
    )


def plane_of_keys(geometry: Geometry, view: ViewState) -> Plane:
    """The plane that keys act in: that of all panes, or the axial one where they show several."""
    name = view.plane if view.layout in ("compare", "single") else "axial"
    return plane_of(geometry, name, view.along_patient)


@lru_cache(maxsize=8)
def tilt_deg(geometry: Geometry) -> float:
    """The largest angle between an axis of a grid and the patient axis nearest to it."""
    cosines = [
        np.abs(np.asarray(geometry.direction))[patient, axis] for patient, axis in enumerate(_grid_axes(geometry))
    ]
    return float(np.degrees(np.arccos(np.clip(min(cosines), 0, 1))))


def is_oblique(geometry: Geometry) -> bool:
    """Whether the axes of a grid are not those of the patient."""
    return tilt_deg(geometry) > _STRAIGHT_DEG


@lru_cache(maxsize=8)
def along_patient_axes(geometry: Geometry) -> Geometry:
    """A grid along the patient's axes that holds all of another, each of its axes beside the nearest of the other.

    One step along an axis is as far as one voxel of the other grid, counted in its voxels.
    """
    axes, own = np.zeros((3, 3)), np.asarray(geometry.direction)
    for patient, axis in enumerate(_grid_axes(geometry)):
        axes[patient, axis] = np.sign(own[patient, axis])
    voxels_a_mm = (axes.T @ own) / np.asarray(geometry.spacing_xyz_mm)
    spacing = 1 / np.linalg.norm(voxels_a_mm, axis=1)
    half_mm = np.abs(axes.T @ own) @ (np.asarray(geometry.size_xyz) * geometry.spacing_xyz_mm / 2)
    x, y, z = (max(1, int(np.ceil(2 * half / step - 1e-6))) for half, step in zip(half_mm, spacing, strict=True))
    rows = tuple(as_triple(row) for row in axes)
    origin = geometry.center_xyz_mm() - axes @ ((np.array([x, y, z]) - 1) / 2 * spacing)
    return Geometry((z, y, x), as_triple(spacing), as_triple(origin), rows)


def value_at(volume: Any, shape_zyx: Index, index_zyx: Continuous, how: How) -> Any:
    """The value of a volume at a voxel, or made of those around where the index is not one."""
    if all(isinstance(i, int | np.integer) for i in index_zyx):
        return volume[index_zyx]
    from engine.spatial.oblique import Section

    return getattr(Section.point(shape_zyx, index_zyx), how)(volume)[0, 0]


@lru_cache(maxsize=32)
def _thinned(plane: Plane, every: tuple[int, int], first: tuple[int, int]) -> Plane:
    shape, spacing, start = list(plane.shape_zyx), list(plane.spacing_zyx_mm), [0, 0, 0]
    for axis, step, begin in zip((plane.row, plane.column), every, first, strict=True):
        shape[axis], spacing[axis], start[axis] = -(-(shape[axis] - begin) // step), spacing[axis] * step, begin
    origin = as_triple(plane.grid.points([start[::-1]])[0])
    grid = replace(plane.grid, shape_zyx=tuple(shape), spacing_xyz_mm=as_triple(spacing[::-1]), origin_xyz_mm=origin)
    return replace(plane, grid=grid, every=every)


@lru_cache(maxsize=6)
def section_of(plane: Plane, index: float) -> Section:
    """Where the pixels of a sampled slice lie among the voxels; all that is cut there needs it."""
    from engine.spatial.oblique import Section

    linear, offset = _between(plane.grid, plane.voxels)
    first = linear[:, plane.normal] * index + offset
    pixels = plane.shape_zyx[plane.row], plane.shape_zyx[plane.column]
    return Section.plane(plane.voxels.shape_zyx, first, linear[:, plane.row], linear[:, plane.column], pixels)


@lru_cache(maxsize=8)
def _between(one: Geometry, other: Geometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """3 × 3 matrix and offset from an index (z, y, x) of a grid to that of another."""
    matrix = other.index_from_point() @ one.point_from_index()
    return matrix[:3, :3][::-1, ::-1], matrix[:3, 3][::-1]


@lru_cache(maxsize=8)
def _mm_a_voxel(voxels: Geometry, grid: Geometry) -> NDArray[np.float32]:
    linear, _ = _between(voxels, grid)
    weights: NDArray[np.float32] = (np.asarray(grid.spacing_zyx_mm)[:, np.newaxis] * linear).astype(np.float32)
    return weights


def _mapped(one: Geometry, other: Geometry, index_zyx: Continuous) -> Continuous:
    linear, offset = _between(one, other)
    z, y, x = linear @ index_zyx + offset
    return float(z), float(y), float(x)


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
