"""Boxes on a plane: outlines, the handles that a hand takes them by, and the box that a drag of one makes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from app.texts import tr
from app.viewer.boxes import Ranges, box_of, corners_of, use_in_short
from app.viewer.planes import Plane
from app.viewer.view_state import Continuous
from engine.regions import NamedBox, Use
from engine.roi import Box

Place = tuple[float, float]
Corner = tuple[float, float, float]
"""How far off a slice, and the place (across, down) on it."""

Face = tuple[int, int]
"""Of a box: the array axis (0 z, 1 y, 2 x) at right angles to it, and the side, -1 low or 1 high."""

Ways = dict[Face, Place]
T = TypeVar("T")

_STEEP = 0.25
"""Sine of the angle with the slice from which on a face has handles: each voxel moves a flatter one far on the slice,
by more than four of its sides."""

_NEAR = 1e-3
"""In voxels: both ends of an edge are as near to the face that it lies on."""


@dataclass(frozen=True, slots=True)
class Handle:
    """Where a hand takes a box. `faces`: those that follow it; all of the box does where there are none.

    `outward`: the way (across, down) out of the box there, none in its middle.
    """

    place_mm: Place
    faces: tuple[Face, ...] = ()
    outward: Place = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Outline:
    """A box on a plane: its edges in mm (low and high, across and down).

    `cut_mm`: the corners of what the plane cuts out of it, or of its shadow, where that is not those edges.
    `handles`: of the selected box where the slice goes through it and nothing locks it.
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
    handles: tuple[Handle, ...] = ()


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
    if plane.is_sampled:
        shape = _cut_through(shape, ranges, plane, cursor_zyx)
    if not selected or named.locked or not shape.on_slice:
        return shape
    return replace(shape, handles=_handles(shape, ranges, plane, cursor_zyx))


def handle_at(shape: Outline, place_mm: Place, reach_mm: float) -> Handle | None:
    """The nearest handle within reach of a place."""
    across, down = place_mm

    def distance(handle: Handle) -> float:
        x, y = handle.place_mm
        return max(abs(x - across), abs(y - down))

    nearest = min(shape.handles, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) <= reach_mm else None


def reshaped_box(box: Box, faces: Sequence[Face], moved_mm: Place, plane: Plane) -> Box:
    """A box after some of its faces, or all of it, followed the hand by a distance on a slice, by whole voxels.

    It keeps at least one voxel and stays in the image.
    """
    ranges, steps = list(box.ranges_zyx), [round(way) for way in plane.way(moved_mm)]
    sizes = plane.voxels.shape_zyx
    for axis, side in faces:
        ranges[axis] = _with_face(ranges[axis], side, steps[axis], sizes[axis])
    if not faces:
        ranges = [_shifted(*three) for three in zip(ranges, steps, sizes, strict=True)]
    return box_of(ranges)


def _cut_through(shape: Outline, ranges: Ranges, plane: Plane, cursor_zyx: Continuous) -> Outline:
    """The polygon in which a sampled slice cuts a box, or the box's shadow where it does not."""
    corners = [plane.to_grid(corner) for corner in corners_of(ranges)]
    depth = plane.to_grid(cursor_zyx)[plane.normal]
    flat = [(corner[plane.normal] - depth, *_place_on(plane, corner)) for corner in corners]
    found = _hull([
        (one[1] + share * (other[1] - one[1]), one[2] + share * (other[2] - one[2]))
        for one, other in _box_edges(flat)
        if (one[0] < 0) != (other[0] < 0)
        for share in (one[0] / (one[0] - other[0]),)
    ])  # fmt: skip
    is_cut = len(found) > 2
    places = found if is_cut else _hull([(across, down) for _, across, down in flat])
    across, down = zip(*places, strict=True)
    return replace(
        shape,
        across=(min(across), max(across)),
        down=(min(down), max(down)),
        on_slice=is_cut,
        cut_mm=tuple(places),
    )


def _handles(shape: Outline, ranges: Ranges, plane: Plane, cursor_zyx: Continuous) -> tuple[Handle, ...]:
    """In the middle, on every edge, and at every corner where two faces meet."""
    corners = shape.cut_mm or _rectangle(shape)
    middle = sum(x for x, _ in corners) / len(corners), sum(y for _, y in corners) / len(corners)
    outward = _ways_out(plane)
    indices = [plane.index_at(corner, cursor_zyx) for corner in corners]
    faces = [_face_of(ends, ranges, outward) for ends in zip(indices, _following(indices), strict=True)]
    edges = [
        _handle(_between(one, other), (face,), outward)
        for one, other, face in zip(corners, _following(corners), faces, strict=True)
        if face is not None
    ]
    points = [
        _handle(corner, (one, other), outward)
        for corner, one, other in zip(_following(corners), faces, _following(faces), strict=True)
        if one is not None and other is not None and one[0] != other[0]
    ]
    return (*points, *edges, Handle(middle))


def _handle(place_mm: Place, faces: tuple[Face, ...], outward: Ways) -> Handle:
    ways = [outward[face] for face in faces]
    return Handle(place_mm, faces, (sum(x for x, _ in ways), sum(y for _, y in ways)))


def _ways_out(plane: Plane) -> Ways:
    """The way (across, down) of length 1 out of a box through each of its faces but those too flat to take hold of."""
    found: Ways = {}
    for axis, slope in enumerate(zip(plane.way((1.0, 0.0)), plane.way((0.0, 1.0)), strict=True)):
        length = math.hypot(*slope)
        if length * plane.voxels.spacing_zyx_mm[axis] >= _STEEP:
            for side in (-1, 1):
                found[axis, side] = side * slope[0] / length, side * slope[1] / length
    return found


def _face_of(ends: tuple[Continuous, Continuous], ranges: Ranges, outward: Ways) -> Face | None:
    """The face with a way out that an edge of an outline lies on, from one voxel index to another."""
    off = {(axis, side): max(abs(end[axis] - ranges[axis][side > 0] + 0.5) for end in ends) for axis, side in outward}
    nearest = min(off, key=off.__getitem__)
    return nearest if off[nearest] < _NEAR else None


def _following(values: Sequence[T]) -> Sequence[T]:
    """Each value's next one, round and round."""
    return [*values[1:], values[0]]


def _rectangle(shape: Outline) -> tuple[Place, ...]:
    (left, right), (top, bottom) = shape.across, shape.down
    return (left, top), (right, top), (right, bottom), (left, bottom)


def _between(one: Place, other: Place) -> Place:
    return (one[0] + other[0]) / 2, (one[1] + other[1]) / 2


def _with_face(edges: tuple[int, int], side: int, steps: int, size: int) -> tuple[int, int]:
    low, high = edges
    if side < 0:
        return min(max(low + steps, 0), high - 1), high
    return low, max(min(high + steps, size), low + 1)


def _shifted(edges: tuple[int, int], steps: int, size: int) -> tuple[int, int]:
    low, high = edges
    steps = min(max(steps, -low), size - high)
    return low + steps, high + steps


def _edges(indices: tuple[int, int], spacing_mm: float) -> tuple[float, float]:
    low, high = indices
    return (low - 0.5) * spacing_mm, (high - 0.5) * spacing_mm


def _box_edges(corners: list[Corner]) -> list[tuple[Corner, Corner]]:
    """The twelve edges between eight corners that are counted as `corners_of` does."""
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
