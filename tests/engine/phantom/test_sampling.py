from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from engine.geometry import Geometry
from engine.phantom.sampling import Frame, grid_points, interpolated, moved_points

GEOMETRY = Geometry((13, 17, 11), (2.0, 3.0, 5.0), (-40.0, 7.0, 100.0))


def test_frame_goes_there_and_back():
    frame = Frame.fitted(GEOMETRY)
    points = np.array([[1.0, -20.0, 33.0], [50.0, 0.0, -7.0]])
    np.testing.assert_allclose(frame.nominal(frame.patient(points)), points, atol=1e-9)


def test_body_of_average_size_fits_the_field_of_view():
    geometry = Geometry((60, 90, 100), (2.0, 2.0, 4.0))
    half_body = Frame.fitted(geometry).scale_xyz[:2] * [165, 112]
    assert np.all(2 * half_body < [200, 180])


def test_grid_points_are_the_voxel_centers():
    frame = Frame.fitted(GEOMETRY)
    points = grid_points(GEOMETRY, frame)
    expected = frame.nominal(GEOMETRY.points([[4, 9, 12]]))[0]
    actual = [points.x[0, 0, 4], points.y[0, 9, 0], points.z[12, 0, 0]]
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    assert points.aligned


def test_bounds_hold_every_point_of_a_box_on_a_moved_grid():
    frame = Frame.fitted(GEOMETRY)
    shift = np.array([4.0, -6.0, 10.0])
    field = np.broadcast_to(shift.astype(np.float32).reshape(3, 1, 1, 1), (3, *GEOMETRY.shape_zyx))
    points = moved_points(field, GEOMETRY, frame, lambda y: y - shift)
    low, high = frame.nominal(GEOMETRY.center_xyz_mm() - 5), frame.nominal(GEOMETRY.center_xyz_mm() + 8)
    inside = np.ones(points.shape, bool)
    for axis, a, b in zip((points.x, points.y, points.z), low, high, strict=True):
        inside &= (axis >= a) & (axis <= b)
    part = points.box(low, high)
    assert inside.sum() > 0
    assert inside[part].sum() == inside.sum()
    assert not points.aligned


@pytest.mark.parametrize(("wrap", "mode"), [(False, "nearest"), (True, "grid-wrap")])
def test_separable_interpolation_is_trilinear(wrap, mode):
    rng = np.random.default_rng(1)
    values = rng.standard_normal((5, 6, 7)).astype(np.float32)
    at = [np.linspace(0.2, n - 1.3, 4) + (9 if wrap else 0) for n in values.shape]
    expected = ndimage.map_coordinates(values, np.meshgrid(*at, indexing="ij"), order=1, mode=mode)
    # Float32 weights: a few units in the last place of values of order one.
    np.testing.assert_allclose(interpolated(values, at, wrap), expected, atol=1e-5)
