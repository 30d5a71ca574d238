"""The moving image and its labels on the fixed grid, made only where they are looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.geometry import Geometry
from engine.registration import Registration
from engine.shapes import BlockPart, DisplacementArray, HuArray, LabelArray, MaskArray, Matrix
from engine.spatial.live_field import LiveField
from engine.spatial.oblique import Section
from engine.structures import Ranges, occupied_zyx
from engine.volume import PADDING_HU, Volume

_WHOLLY_VALID = 0.999
_LARGE = 2**16
"""Voxels of a part that takes longer than a hand in motion should wait."""

_AT_ONCE = 2**15
"""Voxels of which labels are worked out together: what is needed for them stays in the processor's cache."""

_MOST_INT32 = 2**31 - 1

_ROUNDING = 0.01
"""Voxels by which single precision may be wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class MovedImage:
    """moving(R x) on the fixed grid, cut like an array (Z, Y, X) of HU; `PADDING_HU` where nothing was seen.

    A slice of 512 × 512 voxels takes some 10 ms, so that a hand can move R while it looks. `is_sketch`: of a large
    part only every second voxel each way is worked out, between two of the grid, and shown for both.
    """

    moving: Volume
    fixed: Geometry
    rigid: Matrix
    all_valid: bool
    is_sketch: bool = False

    @classmethod
    def of(cls, moving: Volume, fixed: Geometry, rigid: Matrix) -> MovedImage:
        return cls(moving, fixed, rigid, bool(moving.valid.all()))

    def moved(self, rigid: Matrix) -> MovedImage:
        """A sketch of the same image by another R."""
        return replace(self, rigid=rigid, is_sketch=True)

    def drawn_out(self) -> MovedImage:
        """The same image, every voxel worked out."""
        return replace(self, is_sketch=False)

    def __getitem__(self, part: BlockPart) -> HuArray:
        moving, whole = self.moving, _Block.of(self.fixed, part)
        block = whole.thinned() if self.is_sketch and math.prod(whole.shape) >= _LARGE else whole
        linear, offset = _index_map_zyx(self.fixed, moving.geometry, self.rigid)
        hu = block.cut(moving.hu, linear, offset)
        seen = _inside(block.positions(linear, offset), moving.hu.shape)
        if not self.all_valid:
            seen = seen & (block.cut(moving.valid, linear, offset) > _WHOLLY_VALID)
        np.copyto(hu, np.float32(PADDING_HU), where=~seen)
        for axis, size in enumerate(whole.shape):
            if block.shape[axis] < size:
                hu = hu.repeat(2, axis)[tuple(slice(size) if k == axis else slice(None) for k in range(3))]
        return hu.reshape(whole.asked)

    def on(self, section: Section) -> HuArray:
        """(rows, columns) of HU at the pixels of a section of the fixed grid."""
        moving = self.moving
        there = section.mapped(*_index_map_zyx(self.fixed, moving.geometry, self.rigid), _shape(moving.hu))
        hu = there.hu(moving.hu)
        if not self.all_valid:
            np.copyto(hu, np.float32(PADDING_HU), where=~there.wholly(moving.valid))
        return hu


@dataclass(frozen=True, slots=True, eq=False)
class CarriedLabels:
    """labels(R(x + u(x))) on the fixed grid, nearest neighbor, cut like an array (Z, Y, X); 0 outside the moving image.

    Slices in steps of several voxels work that many fewer out.

    `geometry`: where the labels lie. `displacement_vox`: u, or none where it is zero.
    """

    labels: LabelArray
    geometry: Geometry
    fixed: Geometry
    rigid: Matrix
    displacement_vox: DisplacementArray | LiveField | None = None
    _to_labels: tuple[Matrix, Matrix, Matrix] = field(init=False, repr=False)
    """Matrix and offset from voxel indices (z, y, x) of the fixed image to those of the labels, and its inverse."""

    def __post_init__(self) -> None:
        linear, offset = _index_map_zyx(self.fixed, self.geometry, self.rigid)
        object.__setattr__(self, "_to_labels", (linear, offset, np.linalg.inv(linear)))

    @classmethod
    def of(cls, labels: LabelArray, geometry: Geometry, registration: Registration) -> CarriedLabels:
        u = registration.displacement_vox
        return cls(labels, geometry, registration.fixed, registration.rigid, u)

    def __getitem__(self, part: BlockPart) -> LabelArray:
        u = self.displacement_vox
        return self.cut(part, () if u is None else [component[part] for component in u])

    def cut(self, part: BlockPart, displacement_vox: Sequence[HuArray]) -> LabelArray:
        """The part, by the three components of u there, or by none; worked out where a structure can come from."""
        whole = _Block.of(self.fixed, part)
        u = [component.reshape(whole.shape) for component in displacement_vox]
        linear, offset, inverse = self._to_labels
        carried = np.zeros(whole.shape, self.labels.dtype)
        window = whole.reaching(occupied_zyx(self.labels), inverse, offset, u)
        before = inverse @ (offset + 0.5)
        for band in _bands(window):
            places = whole.within(band).moved([component[band] for component in u], before)
            carried[band] = _at(self.labels, linear.astype(np.float32) @ places).reshape(carried[band].shape)
        return carried.reshape(whole.asked)

    def on(self, section: Section) -> LabelArray:
        """(rows, columns) of labels at the pixels of a section of the fixed grid."""
        linear, offset, _ = self._to_labels
        there = section.mapped(linear, offset, _shape(self.labels), self.displacement_vox)
        return there.nearest(self.labels)


@dataclass(frozen=True, slots=True)
class _Block:
    """A part of the fixed grid: its first place (z, y, x), its shape, its shape as it was asked for, and its steps."""

    start: tuple[float, ...]
    shape: tuple[int, ...]
    asked: tuple[int, ...]
    steps: tuple[int, int, int] = (1, 1, 1)

    @classmethod
    def of(cls, grid: Geometry, part: BlockPart) -> _Block:
        axes = [np.arange(n)[p] for n, p in zip(grid.shape_zyx, part, strict=True)]
        start = tuple(int(axis.flat[0]) if axis.size else 0 for axis in axes)
        step_z, step_y, step_x = (int(axis[1] - axis[0]) if axis.size > 1 else 1 for axis in axes)
        asked = tuple(n for axis in axes for n in axis.shape)
        return cls(start, tuple(axis.size for axis in axes), asked, (step_z, step_y, step_x))

    def thinned(self) -> _Block:
        """The middle of every two voxels along each axis on which there are several."""
        together = [1 if n == 1 else 2 for n in self.shape]
        step_z, step_y, step_x = (count * step for count, step in zip(together, self.steps, strict=True))
        along = zip(self.start, together, self.steps, strict=True)
        start = tuple(first + (count - 1) / 2 * step for first, count, step in along)
        shape = tuple(-(-n // count) for n, count in zip(self.shape, together, strict=True))
        return replace(self, start=start, shape=shape, steps=(step_z, step_y, step_x))

    def reaching(self, there: Ranges, inverse: Matrix, offset: Matrix, u: Sequence[HuArray]) -> tuple[slice, ...]:
        """The window of the part outside which no x + u(x) is mapped into ranges of the moving grid.

        `inverse` of the matrix that leads there.
        """
        low, high = np.array(there, dtype=np.float64).T - 0.5
        middle, half = inverse @ ((low + high) / 2 - offset), np.abs(inverse) @ ((high - low) / 2) + _ROUNDING
        moves = [(float(along.min()), float(along.max())) if along.size else (0.0, 0.0) for along in u] or [
            (0.0, 0.0)
        ] * 3
        window = []
        for axis, (back, on) in enumerate(moves):
            first = math.ceil((middle[axis] - half[axis] - on - self.start[axis]) / self.steps[axis])
            last = math.floor((middle[axis] + half[axis] - back - self.start[axis]) / self.steps[axis])
            start = min(max(first, 0), self.shape[axis])
            window.append(slice(start, min(max(last + 1, start), self.shape[axis])))
        return tuple(window)

    def within(self, window: tuple[slice, ...]) -> _Block:
        """The voxels of a window."""
        along = zip(self.start, self.steps, window, strict=True)
        start = tuple(first + step * cut.start for first, step, cut in along)
        shape = tuple(cut.stop - cut.start for cut in window)
        return _Block(start, shape, shape, self.steps)

    def moved(self, u: Sequence[HuArray], shift: Matrix) -> HuArray:
        """(3, N) for every voxel: its index, what u (z, y, x) adds if any, and a shift."""
        along = zip(self.start, self.steps, shift, self.shape, strict=True)
        index_zyx = np.ix_(*((first + more + step * np.arange(n)).astype(np.float32) for first, step, more, n in along))
        places = np.empty((3, *self.shape), np.float32)
        for axis, index in enumerate(index_zyx):
            np.add(index, u[axis] if u else np.float32(0), out=places[axis])
        return places.reshape(3, -1)

    def cut(self, array: HuArray | MaskArray, linear: Matrix, offset: Matrix) -> HuArray:
        """Values at the mapped places, linear, edge values outside."""
        first = linear @ self.start + offset
        values: HuArray = ndimage.affine_transform(
            array, linear * self.steps, first, self.shape, np.float32, order=1, mode="nearest", prefilter=False
        )
        return values

    def positions(self, linear: Matrix, offset: Matrix) -> list[NDArray[np.float32]]:
        """For z, y and x the mapped index of every voxel, in single precision."""
        along = zip(self.start, self.shape, self.steps, strict=True)
        z, y, x = np.ix_(*(first + step * np.arange(n) for first, n, step in along))
        found = []
        for row, place in zip(linear, offset, strict=True):
            index = np.empty(self.shape, np.float32)
            found.append(np.add(row[0] * z + row[1] * y, row[2] * x + place, out=index, casting="same_kind"))
        return found


def _index_map_zyx(fixed: Geometry, moving: Geometry, rigid: Matrix) -> tuple[Matrix, Matrix]:
    """3 × 3 matrix and offset from voxel indices (z, y, x) of the fixed image to those of the moving one."""
    matrix = moving.index_from_point() @ rigid @ fixed.point_from_index()
    return matrix[:3, :3][::-1, ::-1], matrix[:3, 3][::-1]


def _shape(volume: NDArray[Any]) -> tuple[int, int, int]:
    depth, rows, columns = volume.shape
    return depth, rows, columns


def _bands(window: tuple[slice, ...]) -> Iterator[tuple[slice, ...]]:
    """A window in pieces along its first axis that has a length, none much larger than `_AT_ONCE`."""
    sizes = [cut.stop - cut.start for cut in window]
    axis = next((axis for axis, size in enumerate(sizes) if size > 1), 0)
    step = max(1, _AT_ONCE * sizes[axis] // max(1, math.prod(sizes)))
    for start in range(window[axis].start, window[axis].stop, step):
        piece = slice(start, min(start + step, window[axis].stop))
        yield *window[:axis], piece, *window[axis + 1 :]


def _at(labels: LabelArray, places: HuArray) -> LabelArray:
    """The labels of the voxels in which (3, N) places lie, counted from the outer corner of voxel 0; 0 outside."""
    sizes = np.array(labels.shape, np.float32)[:, np.newaxis]
    is_inside = places.min(initial=0) >= 0 and bool((places.max(axis=1, keepdims=True, initial=0) < sizes).all())
    z, y, x = places.astype(np.int64 if labels.size > _MOST_INT32 else np.int32)
    for size, along in zip(labels.shape[1:], (y, x), strict=True):
        z *= size
        z += along
    found: LabelArray = labels.ravel().take(z, mode="clip")
    if not is_inside:
        found *= ((places >= 0) & (places < sizes)).all(axis=0)
    return found


def _inside(positions: list[NDArray[np.float32]], shape: tuple[int, ...]) -> MaskArray:
    """Within half a voxel of the moving image, as ITK has it."""
    inside: MaskArray = np.logical_and.reduce(
        [(place >= -0.5) & (place < size - 0.5) for place, size in zip(positions, shape, strict=True)]
    )
    return inside
