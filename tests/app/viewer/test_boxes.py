from __future__ import annotations

import pytest

from app.viewer.boxes import HANDLES, dragged_box, handle_at, outline, reshaped_box, size_text
from app.viewer.planes import plane_of
from engine.geometry import Geometry
from engine.regions import NamedBox
from engine.roi import Box

GRID = Geometry((12, 20, 26), (2.0, 3.0, 5.0), (-10.0, 25.0, 40.0))
OBLIQUE_FLIPPED = Geometry((12, 20, 26), (2.0, 3.0, 5.0), direction=((-1, 0, 0), (0, 0, 1), (0, 1, 0)))


@pytest.mark.parametrize("name", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("grid", [GRID, OBLIQUE_FLIPPED])
def test_drag_covers_both_end_voxels_in_either_direction(name, grid):
    plane = plane_of(grid, name)
    start, end = [5, 6, 7], [5, 6, 7]
    end[plane.row] += 4
    end[plane.column] -= 3
    for first, last in ((start, end), (end, start)):
        ranges = dragged_box(tuple(first), tuple(last), plane).ranges_zyx
        assert ranges[plane.row] == (start[plane.row], start[plane.row] + 5)
        assert ranges[plane.column] == (start[plane.column] - 3, start[plane.column] + 1)
        low, high = ranges[plane.normal]
        assert low <= start[plane.normal] < high


def test_depth_equals_the_shorter_side_in_mm():
    box = dragged_box((6, 3, 2), (6, 9, 20), plane_of(GRID, "axial"))
    assert box == Box(2, 21, 3, 10, 4, 8)  # 7 rows of 3 mm = 21 mm, which is 4 slices of 5 mm


def test_a_drag_beyond_the_image_is_cut_at_its_faces():
    box = dragged_box((0, 15, 20), (0, 90, -70), plane_of(GRID, "axial"))
    assert box.checked(GRID.shape_zyx).ranges_zyx[1:] == ((15, 20), (0, 21))


def test_outline_runs_along_the_outer_faces_of_the_voxels():
    shape = outline(NamedBox("a", Box(2, 5, 4, 6, 7, 9)), 0, plane_of(GRID, "axial"), (7, 0, 0), selected=True)
    assert shape.across == (3.0, 9.0)
    assert shape.down == (10.5, 16.5)
    assert shape.on_slice
    assert not outline(NamedBox("a", Box(2, 5, 4, 6, 7, 9)), 0, plane_of(GRID, "axial"), (9, 0, 0), True).on_slice


@pytest.mark.parametrize("handle", HANDLES)
def test_every_handle_is_found_where_it_is_drawn(handle):
    shape = outline(NamedBox("a", Box(2, 12, 4, 16, 0, 9)), 0, plane_of(GRID, "axial"), (0, 0, 0), selected=True)
    across, down = shape.handle_place(handle)
    assert handle_at(shape, (across + 0.4, down - 0.4), 0.5) == handle
    assert handle_at(shape, (across + 0.4, down - 200), 0.5) is None


@pytest.mark.parametrize(
    ("handle", "moved_mm", "expected"),
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
def test_reshaping(handle, moved_mm, expected):
    assert reshaped_box(Box(4, 10, 5, 9, 2, 6), handle, moved_mm, plane_of(GRID, "axial")) == expected


def test_size_is_told_x_first():
    assert size_text(Box(0, 10, 0, 4, 0, 2), (5.0, 3.0, 2.0)) == "10 × 4 × 2 voxels\n20 × 12 × 10 mm"
