from dataclasses import replace

import numpy as np
import pytest

from engine.errors import InputError
from engine.geometry import Geometry, transform_points
from engine.roi import Box

QUARTER_TURN = ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
"""Grid x runs along patient y, grid y against patient x."""


def test_a_voxel_lies_where_origin_direction_and_spacing_put_it() -> None:
    geometry = Geometry((5, 6, 7), (2.0, 3.0, 4.0), (10.0, 20.0, 30.0), QUARTER_TURN)

    point = geometry.points([[1, 2, 3]])

    np.testing.assert_allclose(point, [[10 - 2 * 3, 20 + 1 * 2, 30 + 3 * 4]], atol=1e-12)


def test_indices_are_the_inverse_of_points(oblique: Geometry) -> None:
    index = np.array([[0.0, 0.0, 0.0], [3.25, 11.5, 7.0], [-4.0, 40.0, 2.0]])

    np.testing.assert_allclose(oblique.indices(oblique.points(index)), index, atol=1e-11)


def test_a_cropped_grid_keeps_its_voxels_where_they_were(oblique: Geometry) -> None:
    cropped = oblique.cropped(Box(4, 10, 2, 9, 5, 11))

    assert cropped.size_xyz == (6, 7, 6)
    np.testing.assert_allclose(cropped.points([[1, 2, 3]]), oblique.points([[5, 4, 8]]), atol=1e-10)


def test_a_resampled_grid_keeps_center_and_extent(oblique: Geometry) -> None:
    coarse = oblique.resampled((2.6, 3.8, 5.2), multiple_of=4)

    np.testing.assert_allclose(coarse.center_xyz_mm(), oblique.center_xyz_mm(), atol=1e-10)
    assert coarse.size_xyz == (16, 12, 12), "29 · 1.3 / 2.6 = 14.5, 23 / 2 = 11.5, 17 / 2 = 8.5, up to multiples of 4"


def test_a_resampled_grid_is_as_large_as_it_has_to_be(oblique: Geometry) -> None:
    grid = oblique.resampled((2.0, 2.0, 2.0), multiple_of=8, least=24)

    assert grid.shape_zyx == (24, 24, 24), "17 × 2.6, 23 × 1.9 and 29 × 1.3 mm are 23, 22 and 19 voxels of 2 mm"
    np.testing.assert_allclose(grid.center_xyz_mm(), oblique.center_xyz_mm())


def test_a_coarser_grid_keeps_the_axes_that_are_coarse_already(oblique: Geometry) -> None:
    """Voxels of 1.3 × 1.9 × 2.6 mm."""
    coarse = oblique.coarsened(2.0)

    assert coarse.spacing_xyz_mm == (2.0, 2.0, 2.6)
    assert coarse.shape_zyx == (17, 22, 19)
    assert oblique.coarsened(1.0).is_close(oblique)


def test_grids_are_close_where_no_voxel_is_off_by_a_tenth(oblique: Geometry) -> None:
    x, y, z = oblique.origin_xyz_mm

    assert oblique.is_close(replace(oblique, origin_xyz_mm=(x + 0.12, y, z)))
    assert not oblique.is_close(replace(oblique, origin_xyz_mm=(x + 0.2, y, z)))
    assert not oblique.is_close(replace(oblique, spacing_xyz_mm=(1.31, 1.9, 2.6)))
    assert not oblique.is_close(oblique.resampled((1.3, 1.9, 2.0)))


def test_plain_values_and_back(oblique: Geometry) -> None:
    assert Geometry.from_dict(oblique.as_dict()) == oblique


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"spacing_xyz_mm": (1.0, 0.0, 1.0)}, "positive voxel spacing"),
        ({"spacing_xyz_mm": (1.0, float("nan"), 1.0)}, "positive voxel spacing"),
        ({"shape_zyx": (3, 0, 3)}, "three axes"),
        ({"direction": ((1.0, 0.1, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))}, "sheared"),
    ],
)
def test_an_impossible_grid_is_refused(values: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"shape_zyx": (3, 3, 3), "spacing_xyz_mm": (1.0, 1.0, 1.0), **values}

    with pytest.raises(InputError, match=message):
        Geometry(**arguments)  # type: ignore[arg-type]


def test_points_are_transformed_as_columns() -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = QUARTER_TURN
    matrix[:3, 3] = [100, 200, 300]

    np.testing.assert_array_equal(transform_points(matrix, [1, 2, 3]), [[98, 201, 303]])
