"""The displacement of a running refinement on the fixed grid, made only where it is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from engine.geometry import Geometry
from engine.progress import Preview
from engine.registration import Registration
from engine.roi import Box
from engine.shapes import BlockPart, DisplacementArray, HuArray, Matrix, PointArray
from engine.spatial.oblique import Section


class LiveField:
    """u of a preview inside its region, linear between the voxels of its grid, and u as it was everywhere else.

    Cut like an array (3, Z, Y, X) in voxels of the fixed grid, components z, y, x. `before` (3, Z, Y, X): u as it was.
    """

    def __init__(self, fixed: Geometry, before: DisplacementArray, preview: Preview) -> None:
        self.before, self.preview = before, preview
        self.shape = before.shape
        self._fixed = fixed

    @overload
    def __getitem__(self, part: int) -> LiveComponent: ...

    @overload
    def __getitem__(self, part: tuple[slice, Any, Any, Any]) -> DisplacementArray: ...

    def __getitem__(self, part: int | tuple[slice, Any, Any, Any]) -> LiveComponent | DisplacementArray:
        if not isinstance(part, tuple):
            return LiveComponent(self, part)
        components, z, y, x = part
        return np.stack([LiveComponent(self, axis)[z, y, x] for axis in range(3)[components]])

    def __iter__(self) -> Iterator[LiveComponent]:
        return iter([LiveComponent(self, axis) for axis in range(3)])

    def map_points(self, rigid: Matrix, point_xyz_mm: PointArray) -> PointArray:
        """T of points (N, 3) in fixed patient space, as `Registration.map_points` has it."""
        return np.concatenate([self._round(point, rigid).map_points(point) for point in np.atleast_2d(point_xyz_mm)])

    def _round(self, point_mm: PointArray, rigid: Matrix) -> Registration:
        """The voxels between which a point lies, or those nearest to it."""
        index_zyx = self._fixed.indices(point_mm[np.newaxis])[0][::-1]
        low = [int(np.clip(i, 0, max(0, n - 2))) for i, n in zip(index_zyx, self.shape[1:], strict=True)]
        z, y, x = ((i, min(i + 2, n)) for i, n in zip(low, self.shape[1:], strict=True))
        near = Box(*x, *y, *z)
        return Registration(self._fixed.cropped(near), rigid, self[(slice(None), *near.slices_zyx)])

    @cached_property
    def scale(self) -> NDArray[np.float32]:
        """For z, y and x how many voxels of the fixed grid one of the preview's is long."""
        ratio = np.divide(self.preview.grid.spacing_zyx_mm, self._fixed.spacing_zyx_mm)
        return ratio.astype(np.float32)

    @cached_property
    def first(self) -> NDArray[np.float64]:
        """The index (z, y, x) of voxel 0 of the fixed grid on the preview's."""
        point = self._fixed.points([[0, 0, 0]])
        first: NDArray[np.float64] = self.preview.grid.indices(point)[0][::-1]
        return first

    @cached_property
    def places(self) -> list[NDArray[np.float64]]:
        """For z, y and x where each voxel of the fixed grid lies on the preview's, at its edges beyond them."""
        return [
            np.clip(self.first[axis] + np.arange(self.shape[1 + axis]) / self.scale[axis], 0, length - 1)
            for axis, length in enumerate(self.preview.grid.shape_zyx)
        ]


@dataclass(frozen=True, slots=True, eq=False)
class LiveComponent:
    """One component of a `LiveField`, cut like an array (Z, Y, X)."""

    field: LiveField
    axis: int

    def __getitem__(self, part: BlockPart) -> HuArray:
        field = self.field
        before: HuArray = field.before[self.axis][part]
        picked = [np.arange(n)[p] for n, p in zip(field.shape[1:], part, strict=True)]
        places = [
            np.flatnonzero((index >= low) & (index < high))
            for index, (low, high) in zip(picked, field.preview.region.ranges_zyx, strict=True)
        ]
        if not all(place.size for place in places):
            return before
        values = field.preview.displacement_vox[self.axis]
        near = zip(field.places, picked, places, strict=True)
        there = [along[np.atleast_1d(index)[place]] for along, index, place in near]
        for axis in sorted(range(3), key=lambda axis: there[axis].size / values.shape[axis]):
            values = _between(values, there[axis], axis)
        whole = np.array(before, np.float32).reshape([index.size for index in picked])
        within = tuple(slice(place[0], place[-1] + 1) for place in places)
        np.multiply(values, field.scale[self.axis], out=whole[within])
        return whole.reshape(before.shape)

    def on(self, section: Section) -> HuArray:
        """(rows, columns) of the component between voxels, at the pixels of a section of the fixed grid."""
        field = self.field
        preview = field.preview
        there = section.mapped(np.diag(1 / field.scale), field.first, preview.grid.shape_zyx)
        low, high = np.array(preview.region.ranges_zyx, np.float32).T[..., np.newaxis]
        new = np.zeros(section.seen.shape, dtype=bool)
        new[section.seen] = ((section.positions >= low - 0.5) & (section.positions < high - 0.5)).all(axis=0)
        new &= there.seen
        live: HuArray = there.linear(preview.displacement_vox[self.axis]) * field.scale[self.axis]
        if np.array_equal(new, section.seen):
            return live
        pixels: HuArray = np.where(new, live, section.linear(field.before[self.axis]))
        return pixels


def _between(values: HuArray, places: NDArray[np.float64], axis: int) -> HuArray:
    """Linear between the voxels of one axis, at places from the first voxel to the last."""
    lower = np.minimum(places.astype(np.intp), max(0, values.shape[axis] - 2))
    share = (places - lower).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(values.ndim)])
    below = values.take(lower, axis)
    if values.shape[axis] > 1:
        below += share * (values.take(lower + 1, axis) - below)
    return below
