"""Boxes of voxels on the fixed image."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.errors import InputError

_PATTERN = re.compile(r"\s*(-?\d+):(-?\d+)\s*,\s*(-?\d+):(-?\d+)\s*,\s*(-?\d+):(-?\d+)\s*")


@dataclass(frozen=True, slots=True)
class Box:
    """Three half-open voxel ranges, written `x0:x1,y0:y1,z0:z1`."""

    x0: int
    x1: int
    y0: int
    y1: int
    z0: int
    z1: int

    def __post_init__(self) -> None:
        if self.x1 <= self.x0 or self.y1 <= self.y0 or self.z1 <= self.z0:
            raise InputError(
                f"Expected a box that holds a voxel, got {self}; each range is start:end with end > start."
            )

    def __str__(self) -> str:
        return f"{self.x0}:{self.x1},{self.y0}:{self.y1},{self.z0}:{self.z1}"

    @classmethod
    def parse(cls, text: str) -> Box:
        """Read `x0:x1,y0:y1,z0:z1`."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise InputError(f"Expected a box as x0:x1,y0:y1,z0:z1 in voxels of the fixed image, got {text!r}.")
        return cls(*(int(value) for value in match.groups()))

    @classmethod
    def whole(cls, shape_zyx: tuple[int, int, int]) -> Box:
        """The box of a whole grid."""
        z, y, x = shape_zyx
        return cls(0, x, 0, y, 0, z)

    @property
    def ranges_zyx(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        return (self.z0, self.z1), (self.y0, self.y1), (self.x0, self.x1)

    @property
    def slices_zyx(self) -> tuple[slice, slice, slice]:
        return slice(self.z0, self.z1), slice(self.y0, self.y1), slice(self.x0, self.x1)

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        return self.z1 - self.z0, self.y1 - self.y0, self.x1 - self.x0

    def checked(self, shape_zyx: tuple[int, int, int]) -> Box:
        """This box, or an `InputError` where it leaves the grid."""
        z, y, x = shape_zyx
        if min(self.x0, self.y0, self.z0) < 0 or self.x1 > x or self.y1 > y or self.z1 > z:
            raise InputError(f"Expected a box inside the fixed image (0:{x},0:{y},0:{z}), got {self}.")
        return self

    def grown(self, margin: int, shape_zyx: tuple[int, int, int]) -> Box:
        """Larger by `margin` voxels on every side, cut at the faces of the grid."""
        z, y, x = shape_zyx
        return Box(
            max(0, self.x0 - margin),
            min(x, self.x1 + margin),
            max(0, self.y0 - margin),
            min(y, self.y1 + margin),
            max(0, self.z0 - margin),
            min(z, self.z1 + margin),
        )

    def holds(self, other: Box) -> bool:
        """Whether every voxel of `other` is one of this box."""
        pairs = zip(self.ranges_zyx, other.ranges_zyx, strict=True)
        return all(start <= first and last <= stop for (start, stop), (first, last) in pairs)

    def inside(self, outer: Box) -> Box:
        """This box in the voxel indices of `outer`."""
        return Box(
            self.x0 - outer.x0,
            self.x1 - outer.x0,
            self.y0 - outer.y0,
            self.y1 - outer.y0,
            self.z0 - outer.z0,
            self.z1 - outer.z0,
        )
