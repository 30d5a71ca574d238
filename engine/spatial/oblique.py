"""Values of volumes on a plane at any angle to their voxels. Numpy alone, so that a window can use it at once."""

from __future__ import annotations

from functools import cached_property, reduce
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.shapes import HuArray, MaskArray
from engine.volume import PADDING_HU

Values = TypeVar("Values", bound=np.generic)
Shape = tuple[int, int, int]

_WHOLE = np.float32(1e-4)
"""So near a voxel, in voxels, a place is at it: single precision of an index of some hundreds, three times over."""

_PIXELS_AT_ONCE = 2**14
"""So few that what is worked out for them stays in the processor's cache."""

_FIRST_AND_AHEAD = np.concatenate([np.zeros((1, 3, 1)), np.eye(3)[..., np.newaxis]]).astype(np.float32)


class Section:
    """Pixels (rows, columns) and where they lie in a grid of voxels.

    `seen` (rows, columns): the pixels in the grid, to the faces of its outer voxels; `positions` (3, N) float32: their
    continuous indices z, y, x.
    """

    def __init__(self, shape_zyx: Shape, seen: MaskArray, positions: NDArray[np.float32]) -> None:
        half = np.float32(0.5)
        sides = zip(positions, shape_zyx, strict=True)
        inside = reduce(np.logical_and, [(along >= -half) & (along < n - half) for along, n in sides])
        self.shape_zyx, self.seen = shape_zyx, seen.copy()
        self.seen[seen] = inside
        self.positions: NDArray[np.float32] = positions if inside.all() else positions[:, inside]

    @classmethod
    def plane(
        cls, shape_zyx: Shape, first: ArrayLike, down: ArrayLike, across: ArrayLike, pixels: tuple[int, int]
    ) -> Section:
        """Pixel (row, column) lies at the index `first + row * down + column * across`, each (z, y, x)."""
        row, column = np.ogrid[: pixels[0], : pixels[1]]
        steps = zip(np.asarray(first), np.asarray(down), np.asarray(across), strict=True)
        positions = np.stack([(start + row * by + column * on).astype(np.float32).ravel() for start, by, on in steps])
        return cls(shape_zyx, np.ones(pixels, dtype=bool), positions)

    @classmethod
    def point(cls, shape_zyx: Shape, index_zyx: ArrayLike) -> Section:
        """One pixel."""
        return cls.plane(shape_zyx, index_zyx, (0, 0, 0), (0, 0, 0), (1, 1))

    def mapped(
        self, linear: ArrayLike, offset: ArrayLike, shape_zyx: Shape, displacement_vox: Any | None = None
    ) -> Section:
        """The same pixels in another grid, at `linear @ (index + displacement there) + offset`."""
        matrix, shift = np.asarray(linear, np.float32), np.asarray(offset, np.float32)[:, np.newaxis]
        moved = self.positions
        if displacement_vox is not None:
            moved = moved + np.stack([self.linear(displacement_vox[axis])[self.seen] for axis in range(3)])
        return Section(shape_zyx, self.seen, matrix @ moved + shift)

    def cells(self) -> Section:
        """The same pixels, each at the first voxel of the cell that it lies in."""
        last = np.maximum(np.array(self.shape_zyx, np.float32) - 2, 0)[:, np.newaxis]
        return Section(self.shape_zyx, self.seen, np.clip(np.floor(self.positions), 0, last))

    def nearest(self, volume: Any) -> NDArray[Any]:
        """(rows, columns) of the nearest voxels of an array, or of what can be seen `on` a section; zero outside."""
        if not isinstance(volume, np.ndarray):
            return _on(volume, self)
        return self._spread(_taken(volume, self._nearest), 0)

    def linear(self, volume: Any) -> HuArray:
        """(rows, columns) interpolated between the voxels of an array, or of what can be seen; zero outside."""
        if not isinstance(volume, np.ndarray):
            return _on(volume, self)
        return self._spread(self._between(self._corners(volume)), 0)

    def hu(self, volume: Any) -> HuArray:
        """As `linear`, but `PADDING_HU` outside and wherever a voxel that takes part is padding."""
        if not isinstance(volume, np.ndarray):
            return _on(volume, self)
        corners = self._corners(volume)
        values = self._between(corners)
        values[reduce(np.minimum, corners) <= PADDING_HU] = PADDING_HU
        return self._spread(values, PADDING_HU)

    def wholly(self, mask: MaskArray) -> MaskArray:
        """(rows, columns): where all voxels that count for `linear` are in a mask."""
        return self._spread(reduce(np.logical_and, self._corners(mask)), False)

    @cached_property
    def _nearest(self) -> NDArray[np.intp]:
        return self._flat((self.positions + np.float32(0.5)).astype(np.intp))

    @cached_property
    def _cell(self) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """The first voxel round each position, flat, and how far (3, N) on from it the position lies: 0 to below 1."""
        last = np.array(self.shape_zyx, np.float32)[:, np.newaxis] - 1
        places = np.clip(self.positions, 0, last)
        whole = np.rint(places)
        np.copyto(places, whole, where=np.abs(places - whole) < _WHOLE)
        first = np.floor(places)
        return self._flat(first.astype(np.intp)), places - first

    def _flat(self, index: NDArray[np.intp]) -> NDArray[np.intp]:
        _, rows, columns = self.shape_zyx
        flat: NDArray[np.intp] = (index[0] * rows + index[1]) * columns + index[2]
        return flat

    def _corners(self, volume: NDArray[Values]) -> list[NDArray[Values]]:
        """The values (N,) of the eight voxels round each position; x counts fastest, z slowest.

        Along an axis on which a position is at a voxel, both are that one: no other counts.
        """
        at = self._cell[0].copy()
        x, y, z = self._moves
        return [_taken(volume, at), *(_taken(volume, np.add(at, by, out=at)) for by in (x, y, x, z, x, y, x))]

    @cached_property
    def _moves(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """From corner to corner, flat: one on along x, along y from the end of x, along z from the ends of both."""
        z, y, x = ((share > 0) * np.intp(stride) for share, stride in zip(self._cell[1], self._strides(), strict=True))
        return x, y - x, z - y - x

    def _strides(self) -> Shape:
        _, rows, columns = self.shape_zyx
        return rows * columns, columns, 1

    def _between(self, corners: list[Any]) -> NDArray[np.float32]:
        for share in self._cell[1][::-1]:
            corners = [low + share * (high - low) for low, high in zip(corners[::2], corners[1::2], strict=True)]
        values: NDArray[np.float32] = corners[0]
        return values

    def _spread(self, values: NDArray[Values], outside: float) -> NDArray[Values]:
        pixels = np.full(self.seen.shape, outside, dtype=values.dtype)
        pixels[self.seen] = values
        return pixels


def determinants(section: Section, displacement_vox: Any) -> HuArray:
    """(rows, columns) det(I + grad u) of the cell of voxels that each pixel lies in; 1 outside the grid."""
    from engine.spatial.jacobian import determinant_of

    pixels, found = np.ones(section.seen.shape, np.float32), np.empty(section.positions.shape[1], np.float32)
    first = section.cells().positions
    for start in range(0, found.size, _PIXELS_AT_ONCE):
        here = first[:, start : start + _PIXELS_AT_ONCE]
        low, *ahead = (_vectors(displacement_vox, section.shape_zyx, here + move) for move in _FIRST_AND_AHEAD)
        found[start : start + _PIXELS_AT_ONCE] = determinant_of(*(high - low for high in ahead))
    pixels[section.seen] = found
    return pixels


def _vectors(displacement_vox: Any, shape_zyx: Shape, positions: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3, N) at voxels."""
    there = Section(shape_zyx, np.ones(positions.shape[1], dtype=bool), positions)
    return np.stack([there.nearest(displacement_vox[axis]) for axis in range(3)])


def _on(seen: Any, section: Section) -> NDArray[Any]:
    """Of what is not an array, such as an image that is made only where it is looked at."""
    pixels: NDArray[Any] = seen.on(section)
    return pixels


def _taken(volume: NDArray[Values], flat: NDArray[np.intp]) -> NDArray[Values]:
    if volume.flags.c_contiguous:
        return volume.ravel().take(flat)
    return volume[np.unravel_index(flat, volume.shape)]
