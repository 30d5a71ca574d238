import numpy as np
import pytest

from engine.spatial.jacobian import jacobian_determinant

SHAPE = (5, 6, 8)


def _linear(matrix: np.ndarray) -> np.ndarray:
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"))
    return np.einsum("ij,jzyx->izyx", matrix, grid).astype(np.float32)


def test_a_linear_displacement_has_one_determinant_everywhere() -> None:
    matrix = np.array([[0.3, -0.2, 0.1], [0.05, -0.4, 0.25], [-0.15, 0.35, 0.2]])

    determinant = jacobian_determinant(_linear(matrix))

    assert determinant.shape == (4, 5, 7)
    np.testing.assert_allclose(determinant, np.linalg.det(np.eye(3) + matrix), atol=1e-5)


def test_no_motion_has_determinant_one() -> None:
    assert (jacobian_determinant(np.zeros((3, *SHAPE), np.float32)) == 1).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_reflection_folds_everywhere(axis: int) -> None:
    """u = −2 x along one axis: x + u(x) = −x, determinant −1."""
    reflection = np.zeros((3, 3))
    reflection[axis, axis] = -2.0

    np.testing.assert_allclose(jacobian_determinant(_linear(reflection)), -1.0, atol=1e-5)


def test_large_planes_are_done_slab_by_slab() -> None:
    """u along z alone, other in every plane: the determinant is 1 + its forward difference. Planes of 2²⁰ voxels."""
    along_z = np.array([0.0, 0.5, -0.25, 1.0, 0.875], np.float32)
    displacement = np.zeros((3, 5, 1, 1), np.float32)
    displacement[0, :, 0, 0] = along_z

    determinant = jacobian_determinant(np.broadcast_to(displacement, (3, 5, 1024, 1024)))

    assert determinant.shape == (4, 1023, 1023)
    assert (determinant == (1 + np.diff(along_z)).reshape(4, 1, 1)).all()
