import numpy as np
import pytest

from engine.optimize.folds import without_folds
from engine.spatial.jacobian import jacobian_determinant

SHAPE = (36, 40, 70)


def _waves() -> np.ndarray:
    z, y, x = np.meshgrid(*(np.linspace(0, 4, n) for n in SHAPE), indexing="ij")
    return np.stack([np.sin(x + y), np.cos(z - x), np.sin(z + 0.5 * y)]).astype(np.float32)


@pytest.mark.parametrize("place", [(18, 20, 15), (0, 0, 1), (34, 38, 12)])
@pytest.mark.parametrize("depth", [1.6, 6.0])
def test_a_fold_is_smoothed_away_and_the_rest_is_left(place: tuple[int, int, int], depth: float) -> None:
    """u along x jumps back by more than a voxel; 35 voxels away no bit changes."""
    displacement = _waves()
    displacement[(2, *place)] -= depth
    before = displacement.copy()
    folded = jacobian_determinant(before) <= 0.05

    result, found = without_folds(displacement)

    assert result is displacement
    assert found == folded.sum() > 0
    assert jacobian_determinant(result).min() > 0.05
    np.testing.assert_array_equal(result[..., place[2] + 35 :], before[..., place[2] + 35 :])
    assert (result[(2, *place)] != before[(2, *place)]).all()


def test_a_field_without_folds_keeps_every_bit() -> None:
    displacement = _waves()

    result, found = without_folds(displacement)

    assert found == 0
    np.testing.assert_array_equal(result, _waves())
