"""Boxes: what one that is drawn on a plane covers, exactly the voxels dragged over, and what boxes are called."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from app.texts import mark, tr
from app.viewer.planes import Plane, section_of
from app.viewer.view_state import Continuous, Index
from engine.regions import NamedBox, Use
from engine.roi import Box

_NUMBER_AT_END = re.compile(r"\s*\d+$")

Ranges = Sequence[tuple[int, int]]

USES: MappingProxyType[Use, str] = MappingProxyType(
    {"optimise": mark("Optimise"), "rigid": mark("Keep bone rigid"), "excluded": mark("Nothing corresponds")}
)
RIGID_RGB = (86, 180, 233)
EXCLUDED_RGB = (230, 130, 190)
_USES_IN_SHORT: MappingProxyType[Use, str] = MappingProxyType(
    {"rigid": mark("bone rigid"), "excluded": mark("excluded")}
)


def corners_of(ranges: Ranges) -> list[Continuous]:
    """The outer corners of the voxels of some ranges (z, y, x)."""
    (z0, z1), (y0, y1), (x0, x1) = ranges
    return [(z - 0.5, y - 0.5, x - 0.5) for z in (z0, z1) for y in (y0, y1) for x in (x0, x1)]


def spanned(start_zyx: Continuous, end_zyx: Continuous, plane: Plane) -> bool:
    """Whether the box from one pixel to another is more than one pixel wide and high, and some of it in the image."""
    start, end = plane.to_grid(start_zyx), plane.to_grid(end_zyx)
    rows, columns = (_pixels(start, end, axis, plane) for axis in (plane.row, plane.column))
    if any(high - low <= 1 for low, high in (rows, columns)):
        return False
    return not plane.is_sampled or bool(
        section_of(plane, round(start[plane.normal], 3)).seen[slice(*rows), slice(*columns)].any()
    )


def dragged_box(start_zyx: Continuous, end_zyx: Continuous, plane: Plane) -> Box:
    """The box from one pixel to another of a slice, both included, cut at the faces of the grid.

    Its depth is that of its shorter side in mm, round the slice that was drawn on. Where slices are sampled: the
    smallest box of voxels that holds all that.
    """
    start, end = plane.to_grid(start_zyx), plane.to_grid(end_zyx)
    ranges = [(0, 1)] * 3
    for axis in (plane.row, plane.column):
        ranges[axis] = _pixels(start, end, axis, plane)
    side_mm = min(
        (ranges[axis][1] - ranges[axis][0]) * plane.spacing_zyx_mm[axis] for axis in (plane.row, plane.column)
    )
    depth = max(1, round(side_mm / plane.spacing_zyx_mm[plane.normal]))
    first = round(start[plane.normal]) - depth // 2
    ranges[plane.normal] = _cut(first, first + depth, plane.shape_zyx[plane.normal])
    return box_of(_holding(ranges, plane) if plane.is_sampled else ranges)


def _pixels(start: Continuous, end: Continuous, axis: int, plane: Plane) -> tuple[int, int]:
    """The range along an axis of the plane's grid from one index to another, cut at the faces."""
    low, high = sorted((round(start[axis]), round(end[axis])))
    return _cut(low, high + 1, plane.shape_zyx[axis])


def _holding(ranges: list[tuple[int, int]], plane: Plane) -> list[tuple[int, int]]:
    """The smallest ranges of voxels that hold some ranges of the plane's grid, cut at the faces of the image."""
    corners = list(zip(*(plane.to_voxels(corner) for corner in corners_of(ranges)), strict=True))
    return [
        _cut(math.floor(min(along) + 0.5), math.ceil(max(along) + 0.5), size)
        for along, size in zip(corners, plane.voxels.shape_zyx, strict=True)
    ]


def renamed(boxes: tuple[NamedBox, ...], number: int, name: str) -> tuple[NamedBox, ...]:
    """With another name for one box, numbered where a second box has it already."""
    others = boxes[:number] + boxes[number + 1 :]
    if name in {named.name for named in others}:
        name = name_of_copy(name, others)
    return tuple(replace(box, name=name, untouched=False) if i == number else box for i, box in enumerate(boxes))


def free_name(kind: str, boxes: tuple[NamedBox, ...]) -> str:
    """`kind` with the first number that no box has yet."""
    names = {named.name for named in boxes}
    return next(name for i in range(1, len(names) + 2) if (name := f"{kind} {i}") not in names)


def name_of_copy(name: str, boxes: tuple[NamedBox, ...]) -> str:
    """The name with the first number that no box has yet: another `Region`, or `Bronchus 1` of `Bronchus`."""
    return free_name(_NUMBER_AT_END.sub("", name) or name, boxes)


def use_in_short(use: Use) -> str:
    """What a box is for, in a word or two; nothing for one to optimise, as most are."""
    return tr(_USES_IN_SHORT[use]) if use in _USES_IN_SHORT else ""


def middle_of(box: Box) -> Index:
    (z0, z1), (y0, y1), (x0, x1) = box.ranges_zyx
    return (z0 + z1) // 2, (y0 + y1) // 2, (x0 + x1) // 2


def size_text(box: Box, spacing_zyx_mm: tuple[float, float, float]) -> str:
    """Size in voxels and mm, x fastest."""
    shape = box.shape_zyx
    voxels = " × ".join(str(n) for n in shape[::-1])
    mm = " × ".join(f"{n * s:.0f}" for n, s in zip(shape[::-1], spacing_zyx_mm[::-1], strict=True))
    return tr("{voxels} voxels\n{mm} mm").format(voxels=voxels, mm=mm)


def _cut(low: int, high: int, size: int) -> tuple[int, int]:
    low = min(max(low, 0), size - 1)
    return low, max(min(high, size), low + 1)


def box_of(ranges: list[tuple[int, int]]) -> Box:
    (z0, z1), (y0, y1), (x0, x1) = ranges
    return Box(x0, x1, y0, y1, z0, z1)
