"""What a box looks like on a slice, and what a drag of one of its handles makes of it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.viewer.box_outlines import handle_at, outline, reshaped_box
from app.viewer.planes import plane_of
from app.viewer.view_state import PLANES
from engine.geometry import Geometry, as_triple
from engine.regions import NamedBox
from engine.roi import Box
from tests.conftest import rotation

GRID = Geometry((12, 20, 26), (2.0, 3.0, 5.0), (-10.0, 25.0, 40.0))
AXIAL = plane_of(GRID, "axial")
BOX = Box(4, 10, 5, 9, 2, 6)
SHAPE_ZYX = (14, 22, 18)
TURNS = ((0, 0, 20), (25, 0, 0), (0, -17, 0), (20, 0, -30), (12, -15, 0), (0, 40, 8))
"""Degrees about the patient's x, y and z: about one axis, and about two."""


def shown(box, plane=AXIAL, cursor_zyx=(3, 0, 0), **how):
    return outline(NamedBox("a", box, **how), 0, plane, cursor_zyx, selected=True)


def taken_at(shape, across, down):
    """The handle on a side of a rectangle: -1 low, 0 middle, 1 high, each way."""
    place = tuple((edges[0] * (1 - side) + edges[1] * (1 + side)) / 2 for edges, side in
                  ((shape.across, across), (shape.down, down)))  # fmt: skip
    return handle_at(shape, place, 1e-6)


def test_an_outline_runs_along_the_outer_faces_of_the_voxels():
    shape = shown(Box(2, 5, 4, 6, 7, 9), cursor_zyx=(7, 0, 0))
    assert shape.across == (3.0, 9.0)
    assert shape.down == (10.5, 16.5)
    assert shape.on_slice
    assert not shown(Box(2, 5, 4, 6, 7, 9), cursor_zyx=(9, 0, 0)).on_slice


@pytest.mark.parametrize(("across", "down"), list(product((-1, 0, 1), repeat=2)))
def test_a_rectangle_has_handles_on_its_sides_and_corners_and_in_its_middle(across, down):
    handle = taken_at(shown(BOX), across, down)
    assert sorted(handle.faces) == sorted((axis, side) for axis, side in ((2, across), (1, down)) if side)
    assert handle.outward == pytest.approx((across, down))
    x, y = handle.place_mm
    assert handle_at(shown(BOX), (x + 0.4, y - 0.4), 0.5) == handle
    assert handle_at(shown(BOX), (x + 0.4, y - 200), 0.5) is None


def test_only_a_free_box_on_its_slice_that_is_selected_has_handles():
    assert len(shown(BOX).handles) == 9
    assert shown(BOX, locked=True).handles == ()
    assert shown(BOX, cursor_zyx=(9, 0, 0)).handles == ()
    assert outline(NamedBox("a", BOX), 0, AXIAL, (3, 0, 0), selected=False).handles == ()


@pytest.mark.parametrize(
    ("side", "moved_mm", "expected"),
    [
        ((1, 0), (6.0, 99.0), Box(4, 13, 5, 9, 2, 6)),
        ((-1, -1), (2.0, -3.0), Box(5, 10, 4, 9, 2, 6)),
        ((0, 0), (4.0, 6.0), Box(6, 12, 7, 11, 2, 6)),
        ((0, 0), (-500.0, 500.0), Box(0, 6, 16, 20, 2, 6)),
        ((1, 0), (-500.0, 0.0), Box(4, 5, 5, 9, 2, 6)),
        ((-1, 0), (500.0, 0.0), Box(9, 10, 5, 9, 2, 6)),
        ((0, 1), (0.0, 500.0), Box(4, 10, 5, 20, 2, 6)),
    ],
)
def test_reshaping(side, moved_mm, expected):
    assert reshaped_box(BOX, taken_at(shown(BOX), *side).faces, moved_mm, AXIAL) == expected


@st.composite
def sampled_drags(draw):
    """A box that a slice along the patient's axes goes through, one of its handles, and a way in mm."""
    turned = rotation(*draw(st.sampled_from(TURNS)))
    spacing = draw(st.sampled_from([(1.0, 1.0, 1.0), (0.9, 1.3, 5.0), (4.0, 1.1, 2.0)]))
    grid = Geometry(SHAPE_ZYX, spacing, (-31.0, 12.0, 77.0), tuple(as_triple(row) for row in turned))
    ranges = [sorted(draw(st.tuples(*[st.integers(0, n)] * 2).filter(lambda r: r[0] != r[1]))) for n in SHAPE_ZYX]
    (z0, z1), (y0, y1), (x0, x1) = ranges
    shares = draw(st.tuples(*[st.floats(0.1, 0.9)] * 3))
    cursor = tuple(low - 0.5 + share * (high - low) for (low, high), share in zip(ranges, shares, strict=True))
    plane = plane_of(grid, draw(st.sampled_from(PLANES)), True)
    box = Box(x0, x1, y0, y1, z0, z1)
    handle = draw(st.sampled_from(shown(box, plane, cursor).handles))
    far_mm = st.floats(-80, 80)
    return box, plane, cursor, handle, draw(st.tuples(far_mm, far_mm))


@settings(max_examples=300, deadline=None)
@given(sampled_drags())
def test_the_box_follows_the_hand_along_its_own_axes(drag):
    """A dragged face is the one nearest to the hand that leaves a voxel of the box in the image; no other moves."""
    box, plane, cursor, handle, moved_mm = drag
    after = reshaped_box(box, handle.faces, moved_mm, plane).checked(SHAPE_ZYX)
    start, end = ((x, y) for x, y in (handle.place_mm, np.add(handle.place_mm, moved_mm)))
    held, let_go = plane.index_at(start, cursor), plane.index_at(end, cursor)
    for axis, (was, now) in enumerate(zip(box.ranges_zyx, after.ranges_zyx, strict=True)):
        size = SHAPE_ZYX[axis]
        if not handle.faces:
            length = was[1] - was[0]
            way = min(max(let_go[axis] - held[axis], -was[0]), size - was[1])
            assert now[1] - now[0] == length
            assert abs(now[0] - was[0] - way) <= 0.5 + 1e-6
        for side, (before, face) in zip((-1, 1), zip(was, now, strict=True), strict=True):
            if (axis, side) in handle.faces:
                lowest, highest = (0, was[1] - 1) if side < 0 else (was[0] + 1, size)
                assert abs(held[axis] - (before - 0.5)) < 2e-3, "a handle is on the faces that it moves"
                under_hand = min(max(let_go[axis] + 0.5, lowest), highest)
                assert abs(face - under_hand) <= 0.5 + 2e-3
            elif handle.faces:
                assert face == before


@settings(max_examples=150, deadline=None)
@given(sampled_drags())
def test_what_a_slice_cuts_out_of_a_box_is_where_its_voxels_are(drag):
    """Corners lie on edges of the box, where two faces meet."""
    box, plane, cursor, *_ = drag
    shape = shown(box, plane, cursor)
    assert shape.on_slice
    assert shape.handles[-1].faces == ()
    for corner in shape.cut_mm:
        index = plane.index_at(corner, cursor)
        off = [min(abs(i - low + 0.5), abs(i - high + 0.5)) for i, (low, high) in
               zip(index, box.ranges_zyx, strict=True)]  # fmt: skip
        assert sorted(off)[1] < 1e-6


def test_a_face_that_lies_almost_in_the_slice_has_no_handle():
    """Five degrees: a voxel of depth would move its edge eleven times as far."""
    grid = Geometry((12, 20, 26), (2.0, 2.0, 2.0), direction=tuple(as_triple(row) for row in rotation(5, 0, 0)))
    plane = plane_of(grid, "axial", True)
    box = Box(2, 24, 2, 18, 5, 6)
    shape = shown(box, plane, (5, 10, 13))
    assert {axis for handle in shape.handles for axis, _ in handle.faces} == {2}
    upright = shown(box, plane_of(grid, "sagittal", True), (5, 10, 13))
    assert {axis for handle in upright.handles for axis, _ in handle.faces} == {0, 1}


def test_a_slice_through_the_very_corners_of_a_box_cuts_out_all_of_it():
    """Turned by 45 degrees, so that the middle sagittal slice goes through two edges of the box."""
    grid = Geometry((8, 8, 8), (1.0, 1.0, 1.0), direction=tuple(as_triple(row) for row in rotation(0, 0, 45)))
    shape = shown(Box(2, 6, 2, 6, 2, 6), plane_of(grid, "sagittal", True), (3.5, 3.5, 3.5))
    assert shape.on_slice
    assert shape.across[1] - shape.across[0] == pytest.approx(4 * np.sqrt(2))
    assert shape.down[1] - shape.down[0] == pytest.approx(4)
