from __future__ import annotations

import pytest

from app.viewer.boxes import dragged_box, size_text
from app.viewer.planes import plane_of
from engine.geometry import Geometry
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


def test_size_is_told_x_first():
    assert size_text(Box(0, 10, 0, 4, 0, 2), (5.0, 3.0, 2.0)) == "10 × 4 × 2 voxels\n20 × 12 × 10 mm"
