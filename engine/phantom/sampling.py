"""Where an anatomy is evaluated: points of a grid, moved or not, in nominal coordinates.

An anatomy is written once, for an adult of average size, in *nominal* mm: x to the patient's left, y to the back,
z to the head, z = 0 at the top of the right half of the diaphragm. A `Frame` carries it into an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.geometry import Geometry
from engine.shapes import HuArray, PointArray

FloatArray = NDArray[np.floating[Any]]
"""float32 in practice; what is computed with a NumPy double stays so until it reaches an image."""
IndexArray = NDArray[np.int64]
Slices = tuple[slice, slice, slice]

_BODY_WIDTH, _BODY_HEIGHT, _CHEST_LENGTH = 340.0, 236.0, 310.0
_SHARE_BELOW_DOME = 0.26


@dataclass(frozen=True)
class Frame:
    """Patient mm = center + scale · nominal mm, per axis x, y, z."""

    center_xyz_mm: PointArray
    scale_xyz: PointArray

    @classmethod
    def fitted(cls, geometry: Geometry) -> Frame:
        """The frame in which the body fits the field of view across, and the chest along z as well as it can."""
        extent = np.asarray(geometry.size_xyz) * np.asarray(geometry.spacing_xyz_mm)
        across = min(extent[0] / _BODY_WIDTH, extent[1] / _BODY_HEIGHT, 1.15)
        along = float(np.clip(extent[2] / _CHEST_LENGTH, 0.75 * across, 1.25 * across))
        center = geometry.center_xyz_mm()
        center[2] += (_SHARE_BELOW_DOME - 0.5) * extent[2]
        return cls(center, np.array([across, across, along]))

    def nominal(self, points_xyz_mm: ArrayLike) -> PointArray:
        """Nominal coordinates (..., 3) of points (..., 3) in patient mm."""
        result: PointArray = (np.asarray(points_xyz_mm) - self.center_xyz_mm) / self.scale_xyz
        return result

    def patient(self, points: ArrayLike) -> PointArray:
        """Points (..., 3) in patient mm of nominal coordinates."""
        result: PointArray = np.asarray(points) * self.scale_xyz + self.center_xyz_mm
        return result


@dataclass(frozen=True)
class Points:
    """Nominal coordinates x, y, z (arrays that broadcast to `shape`, z y x order) of the points of a grid.

    `voxels(points)` gives the grid index (N, 3) x, y, z at which nominal points (N, 3) appear in the image; it
    bounds the part of the grid that a small structure can touch.
    """

    x: FloatArray
    y: FloatArray
    z: FloatArray
    shape: tuple[int, ...]
    voxels: Callable[[PointArray], PointArray]

    @property
    def aligned(self) -> bool:
        """Whether the points lie on an axis-aligned grid, so that each coordinate varies along one axis only."""
        return self.x.size + self.y.size + self.z.size == sum(self.shape)

    def inside(self, part: Slices) -> Points:
        """The points of a part of the grid, a grid of its own."""
        x, y, z = (_cut(values, part) for values in (self.x, self.y, self.z))
        shape = np.broadcast_shapes(x.shape, y.shape, z.shape)
        first = np.array([cut.start for cut in part[::-1]])
        return Points(x, y, z, shape, lambda points: self.voxels(points) - first)

    def bounds(
        self, low: PointArray, high: PointArray, pad_voxels: int = 1, samples: int = 2
    ) -> tuple[IndexArray, IndexArray]:
        """For each nominal box low..high (N, 3), the half-open range of grid indices (N, 3) z y x that holds it.

        A moved grid sees a box bent; `samples` points along each edge and the padding allow for that.
        """
        steps = np.stack(np.meshgrid(*[np.linspace(0, 1, samples)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        corners = low[:, None] + steps * (high - low)[:, None]
        index = self.voxels(corners.reshape(-1, 3)).reshape(len(low), -1, 3)[..., ::-1]
        first = np.clip(np.floor(index.min(axis=1)).astype(np.int64) - pad_voxels, 0, self.shape)
        last = np.clip(np.ceil(index.max(axis=1)).astype(np.int64) + pad_voxels + 1, 0, self.shape)
        return first, last

    def box(self, low: ArrayLike, high: ArrayLike) -> Slices:
        """The slices of the grid that hold one nominal box."""
        corners = np.asarray([low, high], dtype=np.float64).reshape(2, 1, 3)
        first, last = self.bounds(corners[0], corners[1], pad_voxels=4, samples=3)
        return slice(first[0, 0], last[0, 0]), slice(first[0, 1], last[0, 1]), slice(first[0, 2], last[0, 2])


def _cut(values: FloatArray, part: Slices) -> FloatArray:
    return values[tuple(cut if n > 1 else slice(None) for n, cut in zip(values.shape, part, strict=True))]


def grid_points(geometry: Geometry, frame: Frame) -> Points:
    """The points of an axis-aligned grid, unmoved."""

    def voxels(points: PointArray) -> PointArray:
        return geometry.indices(frame.patient(points))

    axes = []
    for axis, n in enumerate(geometry.size_xyz):
        mm = geometry.origin_xyz_mm[axis] + np.arange(n) * geometry.spacing_xyz_mm[axis]
        nominal = (mm - frame.center_xyz_mm[axis]) / frame.scale_xyz[axis]
        axes.append(nominal.astype(np.float32).reshape([-1 if axis == 2 - k else 1 for k in range(3)]))
    return Points(axes[0], axes[1], axes[2], geometry.shape_zyx, voxels)


def moved_points(
    displacement_xyz_mm: FloatArray, geometry: Geometry, frame: Frame, inverse: Callable[[PointArray], PointArray]
) -> Points:
    """The points x + u(x) of a grid; `displacement_xyz_mm` (3, Z, Y, X), components x, y, z.

    `inverse` takes patient points (N, 3) y to the x with x + u(x) = y.
    """

    def voxels(points: PointArray) -> PointArray:
        return geometry.indices(inverse(frame.patient(points)))

    still = grid_points(geometry, frame)
    scale = frame.scale_xyz.astype(np.float32)
    x, y, z = (
        base + shift / factor
        for base, shift, factor in zip((still.x, still.y, still.z), displacement_xyz_mm, scale, strict=True)
    )
    return Points(x, y, z, geometry.shape_zyx, voxels)


def interpolated(values: HuArray, at: Sequence[FloatArray], wrap: bool = False) -> HuArray:
    """Linear interpolation of (Z, Y, X) at separable indices `at`, one array per axis; ends repeat, or wrap."""
    for axis, index in enumerate(at):
        n = values.shape[axis]
        if len(index) == n and np.array_equal(index, np.arange(n)):
            continue
        low = np.floor(index).astype(int) if wrap else np.clip(np.floor(index).astype(int), 0, max(n - 2, 0))
        weight = (index - low).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
        first, second = (values.take(i % n if wrap else np.minimum(i, n - 1), axis) for i in (low, low + 1))
        second -= first
        second *= weight
        values = first + second
    result: HuArray = values.astype(np.float32, copy=False)
    return result


def scattered_points(points: PointArray) -> Points:
    """Nominal points (N, 3) as they are."""
    x, y, z = (np.ascontiguousarray(column, dtype=np.float32) for column in points.T)
    return Points(x, y, z, x.shape, lambda _: np.zeros((0, 3)))
