from collections.abc import Callable

import numpy as np

from engine.field import displacement_mm, displacement_vox_from_mm, total_displacement_mm
from engine.geometry import Geometry
from engine.registration import Registration


def test_one_voxel_along_each_axis_is_its_spacing_along_its_direction() -> None:
    """Grid x runs along patient y, grid y against patient x."""
    geometry = Geometry((1, 1, 3), (2.0, 3.0, 4.0), direction=((0.0, -1, 0), (1, 0, 0), (0, 0, 1)))
    displacement_vox = np.zeros((3, 1, 1, 3), dtype=np.float32)
    displacement_vox[2, 0, 0, 0] = 1
    displacement_vox[1, 0, 0, 1] = 1
    displacement_vox[0, 0, 0, 2] = 1

    result = displacement_mm(displacement_vox, geometry)

    np.testing.assert_array_equal(result[0, 0], [[0, 2, 0], [-3, 0, 0], [0, 0, 4]])
    assert result.dtype == np.float32


def test_back_to_voxels(oblique: Geometry, make_registration: Callable[[Geometry], Registration]) -> None:
    displacement_vox = make_registration(oblique).displacement_vox

    back = displacement_vox_from_mm(displacement_mm(displacement_vox, oblique), oblique)

    np.testing.assert_allclose(back, displacement_vox, atol=2e-6, err_msg="float32 in voxels, displacements up to 2")


def test_total_displacement_is_where_points_go(
    oblique: Geometry, make_registration: Callable[[Geometry], Registration]
) -> None:
    registration = make_registration(oblique)
    index_zyx = np.array([[0, 0, 0], [3, 7, 2], [16, 22, 28], [9, 0, 28]])
    points = oblique.points(index_zyx[:, ::-1])

    total = total_displacement_mm(registration.displacement_vox, oblique, registration.rigid)

    expected = registration.map_points(points) - points
    np.testing.assert_allclose(
        total[tuple(index_zyx.T)], expected, atol=5e-6, err_msg="mm, float32 of vectors to 40 mm"
    )


def test_the_identity_displaces_nothing(oblique: Geometry) -> None:
    identity = Registration.identity(oblique)

    assert not total_displacement_mm(identity.displacement_vox, oblique, identity.rigid).any()
