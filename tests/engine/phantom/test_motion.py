from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.geometry import Geometry
from engine.phantom.anatomy import random_anatomy
from engine.phantom.motion import Motion, least_determinant, random_motion, to_voxels
from engine.phantom.organs import dome_tops
from engine.phantom.sampling import Frame

GEOMETRY = Geometry((30, 33, 35), (9.3, 9.6, 10.5), (-160.0, -150.0, -500.0))


def some_motion(seed: int) -> tuple[Motion, np.ndarray]:
    rng = np.random.default_rng(seed)
    return random_motion(rng, random_anatomy(rng), Frame.fitted(GEOMETRY), GEOMETRY)


def breathing_only(motion: Motion) -> Motion:
    return replace(motion, knots=0 * motion.knots, rotation=np.eye(3), shift_xyz_mm=np.zeros(3))


def test_field_on_the_grid_is_the_field_at_its_points():
    motion, field = some_motion(1)
    index = np.array([[0, 0, 0], [20, 17, 9], [34, 32, 29], [3, 25, 14]])
    expected = motion.displacement_mm(GEOMETRY.points(index))
    # Coordinates pass through float32, whose step is 3e-5 mm at 500 mm.
    np.testing.assert_allclose([field[:, z, y, x] for x, y, z in index], expected, atol=1e-3)


def test_inverse_undoes_the_motion():
    motion, _ = some_motion(2)
    points = GEOMETRY.points(np.random.default_rng(0).uniform(0, 29, (40, 3)))
    # Float32 inside the breathing leaves the fixed point uncertain by its last place, 3e-5 mm.
    np.testing.assert_allclose(motion.inverse(points + motion.displacement_mm(points)), points, atol=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_diaphragm_moves_5_to_25_mm_along_the_body(seed):
    motion, _ = some_motion(seed)
    dome = motion.frame.patient(dome_tops(motion.anatomy)[:1])
    moved = breathing_only(motion).displacement_mm(dome)[0]
    assert 5 <= abs(moved[2]) <= 25
    assert np.linalg.norm(moved[:2]) < 0.3 * abs(moved[2])
    # The right dome lies within a few mm of the height where the breathing profile has its top.
    assert moved[2] == pytest.approx(motion.strength * motion.diaphragm_mm, rel=0.15)


def test_breathing_fades_towards_apex_spine_and_ribs():
    motion, _ = some_motion(4)
    breathing = breathing_only(motion)
    anatomy = motion.anatomy
    places = np.array(
        [[-60.0, 0.0, anatomy.apex_z], [0.0, anatomy.spine[2], 0.0], [-anatomy.cage_half[0] - 4, anatomy.cage_y, 0.0]]
    )
    up = breathing.displacement_mm(motion.frame.patient(places))[:, 2]
    assert np.all(np.abs(up) < 0.05 * abs(motion.diaphragm_mm))


@pytest.mark.parametrize("seed", range(8))
def test_no_fold_by_the_definition_of_the_determinant(seed):
    _, field = some_motion(seed)
    u = to_voxels(field, GEOMETRY)
    steps = [np.diff(u, axis=k + 1)[:, :29, :32, :34] for k in range(3)]
    gradient = np.moveaxis(np.stack(steps, axis=1), (0, 1), (-2, -1))
    assert np.linalg.det(np.eye(3) + gradient).min() > 0.2


def test_least_determinant_of_a_linear_field():
    matrix = np.array([[0.1, 0.3, 0.0], [-0.2, -0.4, 0.1], [0.0, 0.2, 0.25]])
    index = np.indices((4, 5, 6)).astype(np.float32)
    field = np.einsum("ij,jzyx->izyx", matrix, index).astype(np.float32)
    assert least_determinant(field) == pytest.approx(np.linalg.det(np.eye(3) + matrix), abs=1e-4)


def test_voxels_are_components_z_y_x():
    field = np.zeros((3, *GEOMETRY.shape_zyx), np.float32)
    field[0], field[1], field[2] = 9.3, -19.2, 31.5
    np.testing.assert_allclose(to_voxels(field, GEOMETRY)[:, 0, 0, 0], [3, -2, 1], rtol=1e-6)


def test_set_up_error_is_rigid():
    motion, _ = some_motion(5)
    setup = replace(motion, strength=0.0)
    points = np.array([[0.0, 0.0, -400.0], [80.0, -30.0, -350.0]])
    moved = points + setup.displacement_mm(points)
    assert np.linalg.norm(moved[1] - moved[0]) == pytest.approx(np.linalg.norm(points[1] - points[0]), abs=1e-6)
    angle = np.degrees(np.arccos((np.trace(motion.rotation) - 1) / 2))
    # Three angles of at most 1.5 degrees, about three axes.
    assert 0 < angle < 1.5 * np.sqrt(3) + 0.05
