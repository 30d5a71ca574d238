from collections.abc import Callable

import numpy as np
import pytest

from engine.errors import InputError
from engine.geometry import Geometry
from engine.registration import Registration, Step

STEP = Step("iso", {"iterations": 3}, 3, 0.5, 120.0, 0.0, 0.7, 0.01)


def test_the_identity_maps_points_to_themselves(oblique: Geometry) -> None:
    points = oblique.points([[1, 2, 3], [10, 4, 5], [-5, 0, 0]])

    np.testing.assert_array_equal(Registration.identity(oblique).map_points(points), points)


def test_displacement_comes_before_the_rigid_part() -> None:
    """A shift by u then a quarter turn about z: T(x) = R(x + u(x))."""
    displacement = np.zeros((3, 4, 5, 6), dtype=np.float32)
    displacement[2] = 1.0
    displacement[0] = 0.5
    quarter_turn = np.array([[0.0, -1, 0, 100], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    registration = Registration(Geometry((4, 5, 6), (2.0, 3.0, 4.0)), quarter_turn, displacement)

    mapped = registration.map_points(np.array([[2.0, 3.0, 4.0]]))

    np.testing.assert_allclose(mapped, [[100 - 3, 2 + 2, 4 + 2]], atol=1e-6)


@pytest.mark.parametrize(
    ("point", "shift"),
    [
        ((0.25, 0.5, 0.5), 2.0),
        ((2.0, 0.0, 0.0), 4.0),
        ((2.4, -0.4, 1.4), 4.0),
        ((2.6, 0.0, 0.0), 0.0),
        ((1.0, 0.0, 5.0), 0.0),
    ],
)
def test_displacement_is_linear_between_voxels_constant_at_the_rim_and_zero_beyond(
    point: tuple[float, float, float], shift: float
) -> None:
    displacement = np.zeros((3, 2, 2, 3), dtype=np.float32)
    displacement[2] = [0.0, 8.0, 4.0]
    registration = Registration(Geometry((2, 2, 3), (1.0, 1.0, 1.0)), np.eye(4), displacement)

    np.testing.assert_allclose(registration.map_points(np.array([point]))[0] - point, [shift, 0, 0], atol=1e-6)


def test_after_keeps_the_old_value(oblique: Geometry, make_registration: Callable[[Geometry], Registration]) -> None:
    old = make_registration(oblique)

    new = old.after(STEP, rigid=np.eye(4), model="general")

    assert (len(old.steps), len(new.steps)) == (0, 1)
    assert new.displacement_vox is old.displacement_vox
    assert old.model is None


def test_a_displacement_cannot_be_changed(oblique: Geometry) -> None:
    with pytest.raises(ValueError, match="read-only"):
        Registration.identity(oblique).displacement_vox[0, 0, 0, 0] = 1


@pytest.mark.parametrize("array", [np.zeros((3, 2, 3, 4)), np.zeros((2, 3, 4, 3), dtype=np.float32)])
def test_a_displacement_of_another_kind_is_refused(array: np.ndarray) -> None:
    with pytest.raises(InputError, match="float32 displacement"):
        Registration(Geometry((2, 3, 4), (1.0, 1.0, 1.0)), np.eye(4), array)
