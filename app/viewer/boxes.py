"""Boxes on a plane: outlines, handles, and the box that a drag makes. Covers exactly the voxels dragged over."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from app.texts import mark, tr
from app.viewer.planes import Plane, section_of
from app.viewer.view_state import Continuous, Index
from engine.regions import NamedBox, Use
from engine.roi import Box

_NUMBER_AT_END = re.compile(r"\s*\d+$")

Place = tuple[float, float]
Corner = tuple[float, float, float]
"""How far off a slice, and the place (across, down) on it."""

Ranges = Sequence[tuple[int, int]]
Handle = tuple[int, int]
"""Which edge moves across (-1 low, 0 none, 1 high) and down; (0, 0) moves the whole box."""

HANDLES: tuple[Handle, ...] = ((-1, -1), (0, -1), (1, -1), (-1, 0), (0, 0), (1, 0), (-1, 1), (0, 1), (1, 1))

USES: MappingProxyType[Use, str] = MappingProxyType(
    {"optimise": mark("Optimise"), "rigid": mark("Keep bone rigid"), "excluded": mark("Nothing corresponds")}
)
RIGID_RGB = (86, 180, 233)
EXCLUDED_RGB = (230, 130, 190)
_USES_IN_SHORT: MappingProxyType[Use, str] = MappingProxyType(
    {"rigid": mark("bone rigid"), "excluded": mark("excluded")}
)


@dataclass(frozen=True, slots=True)
class Outline:
    """A box on a plane: its edges in mm (low and high, across and down).

    `cut_mm`: the corners of what the plane cuts out of it, or of its shadow, where that is not those edges.
    """

    number: int
    name: str
    across: tuple[float, float]
    down: tuple[float, float]
    on_slice: bool
    selected: bool
    use: Use = "optimise"
    locked: bool = False
    cut_mm: tuple[Place, ...] = ()

    def handle_place(self, handle: Handle) -> Place:
        return _along(self.across, handle[0]), _along(self.down, handle[1])


def outline(named: NamedBox, number: int, plane: Plane, cursor_zyx: Continuous, selected: bool) -> Outline:
    """A box as it looks on the cursor's slice of a plane."""
    ranges = named.box.ranges_zyx
    across_mm, down_mm = plane.spacing_mm
    low, high = ranges[plane.normal]
    shape = Outline(
        number,
        " · ".join(filter(None, (named.name, use_in_short(named.use), tr("locked") if named.locked else ""))),
        _edges(ranges[plane.column], across_mm),
        _edges(ranges[plane.row], down_mm),
        on_slice=low <= cursor_zyx[plane.normal] < high,
        selected=selected,
        use=named.use,
        locked=named.locked,
    )
    return _cut_through(shape, ranges, plane, cursor_zyx) if plane.is_sampled else shape


def _cut_through(shape: Outline, ranges: Ranges, plane: Plane, cursor_zyx: Continuous) -> Outline:
    """The polygon in which a sampled slice cuts a box, or the box's shadow where it does not."""
    corners = [plane.to_grid(corner) for corner in _corners(ranges)]
    depth = plane.to_grid(cursor_zyx)[plane.normal]
    flat = [(corner[plane.normal] - depth, *_place_on(plane, corner)) for corner in corners]
    found = [
        (one[1] + share * (other[1] - one[1]), one[2] + share * (other[2] - one[2]))
        for one, other in _box_edges(flat)
        if one[0] * other[0] < 0
        for share in (one[0] / (one[0] - other[0]),)
    ]
    places = _hull(found or [(across, down) for _, across, down in flat])
    across, down = zip(*places, strict=True)
    return replace(
        shape,
        across=(min(across), max(across)),
        down=(min(down), max(down)),
        on_slice=bool(found),
        cut_mm=tuple(places),
    )


def _corners(ranges: Ranges) -> list[Continuous]:
    """The outer corners of the voxels of some ranges (z, y, x)."""
    (z0, z1), (y0, y1), (x0, x1) = ranges
    return [(z - 0.5, y - 0.5, x - 0.5) for z in (z0, z1) for y in (y0, y1) for x in (x0, x1)]


def _box_edges(corners: list[Corner]) -> list[tuple[Corner, Corner]]:
    """The twelve edges between eight corners that are counted as `_corners` does."""
    return [(corners[i], corners[i | bit]) for i in range(8) for bit in (1, 2, 4) if not i & bit]


def _place_on(plane: Plane, index_zyx: Continuous) -> Place:
    across, down = plane.spacing_mm
    return index_zyx[plane.column] * across, index_zyx[plane.row] * down


def _hull(places: list[Place]) -> list[Place]:
    """The convex outline of some places, corner after corner."""
    ordered, outline_mm = sorted(set(places)), []
    for one_way in (ordered, ordered[::-1]):
        side: list[Place] = []
        for place in one_way:
            while len(side) > 1 and _turn(side[-2], side[-1], place) <= 0:
                side.pop()
            side.append(place)
        outline_mm += side[:-1]
    return outline_mm


def _turn(one: Place, other: Place, third: Place) -> float:
    return (other[0] - one[0]) * (third[1] - one[1]) - (other[1] - one[1]) * (third[0] - one[0])


def handle_at(shape: Outline, place_mm: Place, reach_mm: float) -> Handle | None:
    """The nearest handle within reach of a place."""
    across, down = place_mm

    def distance(handle: Handle) -> float:
        x, y = shape.handle_place(handle)
        return max(abs(x - across), abs(y - down))

    nearest = min(HANDLES, key=distance)
    return nearest if distance(nearest) <= reach_mm else None


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
    return _box(_holding(ranges, plane) if plane.is_sampled else ranges)


def _pixels(start: Continuous, end: Continuous, axis: int, plane: Plane) -> tuple[int, int]:
    """The range along an axis of the plane's grid from one index to another, cut at the faces."""
    low, high = sorted((round(start[axis]), round(end[axis])))
    return _cut(low, high + 1, plane.shape_zyx[axis])


def _holding(ranges: list[tuple[int, int]], plane: Plane) -> list[tuple[int, int]]:
    """The smallest ranges of voxels that hold some ranges of the plane's grid, cut at the faces of the image."""
    corners = list(zip(*(plane.to_voxels(corner) for corner in _corners(ranges)), strict=True))
    return [
        _cut(math.floor(min(along) + 0.5), math.ceil(max(along) + 0.5), size)
        for along, size in zip(corners, plane.voxels.shape_zyx, strict=True)
    ]


def reshaped_box(box: Box, handle: Handle, moved_mm: Place, plane: Plane) -> Box:
    """A box after one of its handles was dragged by a distance; it keeps at least one voxel and stays in the grid."""
    ranges = list(box.ranges_zyx)
    for axis, side, distance, spacing in zip(
        (plane.column, plane.row), handle, moved_mm, plane.spacing_mm, strict=True
    ):
        ranges[axis] = _moved(ranges[axis], side, handle == (0, 0), round(distance / spacing), plane.shape_zyx[axis])
    return _box(ranges)


def renamed(boxes: tuple[NamedBox, ...], number: int, name: str) -> tuple[NamedBox, ...]:
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


def _moved(edges: tuple[int, int], side: int, whole: bool, steps: int, size: int) -> tuple[int, int]:
    low, high = edges
    if whole:
        steps = min(max(steps, -low), size - high)
        return low + steps, high + steps
    if side < 0:
        return min(max(low + steps, 0), high - 1), high
    if side > 0:
        return low, max(min(high + steps, size), low + 1)
    return edges


def _cut(low: int, high: int, size: int) -> tuple[int, int]:
    low = min(max(low, 0), size - 1)
    return low, max(min(high, size), low + 1)


def _box(ranges: list[tuple[int, int]]) -> Box:
    (z0, z1), (y0, y1), (x0, x1) = ranges
    return Box(x0, x1, y0, y1, z0, z1)


def _edges(indices: tuple[int, int], spacing_mm: float) -> tuple[float, float]:
    low, high = indices
    return (low - 0.5) * spacing_mm, (high - 0.5) * spacing_mm


def _along(edges: tuple[float, float], side: int) -> float:
    low, high = edges
    return (low + high) / 2 + side * (high - low) / 2
