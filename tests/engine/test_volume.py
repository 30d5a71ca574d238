import numpy as np
import pytest

from engine.errors import InputError
from engine.geometry import Geometry
from engine.volume import Volume, hu_from_normalized_rmse, normalized

GRID = Geometry((2, 3, 4), (1.0, 1.0, 1.0))


def _volume(hu: np.ndarray) -> Volume:
    return Volume(hu.astype(np.float32), GRID, hu > -1200)


def test_padding_is_air_to_a_filter() -> None:
    hu = np.full((2, 3, 4), 40.0)
    hu[0, 1, 2] = -2048

    filled = _volume(hu).filled_hu()

    assert filled[0, 1, 2] == -1000
    assert filled.dtype == np.float32
    assert (np.delete(filled.ravel(), 6) == 40).all()


def test_voxels_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        _volume(np.zeros((2, 3, 4))).hu[0, 0, 0] = 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(bad: float) -> None:
    hu = np.zeros((2, 3, 4))
    hu[1, 2, 3] = bad

    with pytest.raises(InputError, match="not numbers"):
        _volume(hu)


def test_voxels_must_fit_the_grid() -> None:
    with pytest.raises(InputError, match="shape"):
        _volume(np.zeros((4, 3, 2)))


def test_normalization_is_that_of_the_paper() -> None:
    hu = np.array([-1000.0, 0.0, 1000.0, -5000.0, 9000.0], dtype=np.float32)

    np.testing.assert_allclose(normalized(hu), [0.0, 0.5, 1.0, -0.05, 2.0], atol=1e-7)
    assert hu_from_normalized_rmse(0.0025) == pytest.approx(100.0), "2000 · √0.0025"
