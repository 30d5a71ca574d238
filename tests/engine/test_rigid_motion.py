from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from engine.errors import InputError
from engine.geometry import Geometry
from engine.rigid_motion import RigidMotion

NUMBERS = (12.0, -7.5, 4.25, 11.0, -23.0, 37.0)


def test_the_motion_is_itk_s_euler_transform_about_the_middle(oblique: Geometry) -> None:
    motion = RigidMotion.of_numbers(NUMBERS, oblique)

    center = oblique.origin_xyz_mm + np.asarray(oblique.direction) @ (np.array([28, 22, 16]) / 2 * [1.3, 1.9, 2.6])
    euler = sitk.Euler3DTransform(center.tolist(), *np.deg2rad(NUMBERS[3:]), NUMBERS[:3])
    for point in np.random.default_rng(1).uniform(-80, 80, (5, 3)):
        np.testing.assert_allclose((motion.matrix() @ [*point, 1])[:3], euler.TransformPoint(point), atol=1e-9)
        np.testing.assert_allclose((motion.rigid() @ [*euler.TransformPoint(point), 1])[:3], point, atol=1e-9)


@pytest.mark.parametrize("turn", [(11.0, -23.0, 37.0), (0.0, 0.0, 0.0), (-80.0, 170.0, -95.0), (90.0, 0.0, 25.0)])
def test_numbers_come_back_from_the_matrix(oblique: Geometry, turn: tuple[float, float, float]) -> None:
    """Where x is turned by a right angle, y and z turn about the same line and z has it all."""
    motion = RigidMotion.of_numbers((1.0, 2.0, -3.0, *turn), oblique)

    np.testing.assert_allclose(RigidMotion.of_rigid(motion.rigid(), oblique).numbers, motion.numbers, atol=1e-6)


def test_a_right_angle_about_x_keeps_the_matrix(oblique: Geometry) -> None:
    motion = RigidMotion.of_numbers((0, 0, 0, -90.0, 40.0, 10.0), oblique)

    again = RigidMotion.of_rigid(motion.rigid(), oblique)

    assert again.turn_deg[1] == 0
    np.testing.assert_allclose(again.matrix(), motion.matrix(), atol=1e-7)


def test_a_turn_about_a_point_leaves_it_in_place(oblique: Geometry) -> None:
    """A right angle about the head's direction takes left to back."""
    motion = RigidMotion.of_numbers(NUMBERS, oblique)
    about = np.array([3.0, 40.0, 9.0])

    turned = motion.turned((0, 0, 1), 90, about)

    back = turned.matrix() @ motion.rigid()
    np.testing.assert_allclose((back @ [*about, 1])[:3], about, atol=1e-9)
    np.testing.assert_allclose(back[:3, :3] @ [10, 0, 2], [0, 10, 2], atol=1e-9)


def test_a_shift_adds_up(oblique: Geometry) -> None:
    motion = RigidMotion.of_numbers(NUMBERS, oblique).shifted((1, 2, -3))

    assert motion.numbers == (13.0, -5.5, 1.25, *NUMBERS[3:])


@pytest.mark.parametrize("numbers", [(1, 2, 3), (0, 0, 0, 0, 0, float("nan"))])
def test_other_than_six_numbers_are_refused(oblique: Geometry, numbers: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="six numbers"):
        RigidMotion.of_numbers(numbers, oblique)
