from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from engine.phantom.heart import FIELD_OF_VIEW_MM, HEART_LABELS, Chamber, Heart, random_heart

SIZE = 96


def heart(seed: int) -> Heart:
    return random_heart(np.random.default_rng([7, seed]))


def determinant(displacement_px: np.ndarray) -> np.ndarray:
    (row_by_row, row_by_col), (col_by_row, col_by_col) = (np.gradient(part) for part in displacement_px)
    return (1 + row_by_row) * (1 + col_by_col) - row_by_col * col_by_row


def test_end_systole_is_where_everything_lies_still() -> None:
    assert np.abs(heart(0).displacement_px(SIZE, phase=1.0)).max() < 1e-5


@pytest.mark.parametrize("phase", [0.0, 0.5])
@pytest.mark.parametrize("seed", range(8))
def test_no_heart_folds_and_all_move(seed: int, phase: float) -> None:
    displacement_px = heart(seed).displacement_px(SIZE, phase)

    assert determinant(displacement_px).min() > 0
    assert np.hypot(*displacement_px).max() * FIELD_OF_VIEW_MM / SIZE > 1.0


@pytest.mark.parametrize("seed", range(3))
def test_labels_follow_the_displacement(seed: int) -> None:
    """All but the pixels on an edge, which the nearest neighbor may put on either side."""
    one = heart(seed)
    first, last = one.labels(SIZE, 0.0), one.labels(SIZE, 1.0)
    at = np.indices((SIZE, SIZE)) + one.displacement_px(SIZE)

    warped = ndimage.map_coordinates(last, at, order=0, mode="nearest")

    inside = ndimage.maximum_filter(first, 3) == ndimage.minimum_filter(first, 3)
    assert (warped == first)[inside].mean() > 0.998


@pytest.mark.parametrize("seed", range(3))
def test_the_image_follows_the_displacement(seed: int) -> None:
    """What moves to its place differs by noise, flow and edges alone: a third of the difference of what does not."""
    one = heart(seed)
    rng = np.random.default_rng(seed)
    first, last = one.image(SIZE, rng, 0.0), one.image(SIZE, rng, 1.0)
    at = np.indices((SIZE, SIZE)) + one.displacement_px(SIZE)

    warped = ndimage.map_coordinates(last, at, order=1, mode="nearest")

    moving = ndimage.binary_dilation(one.labels(SIZE) > 0, iterations=3)
    assert np.mean((warped - first)[moving] ** 2) < np.mean((last - first)[moving] ** 2) / 3


@pytest.mark.parametrize("seed", range(4))
def test_the_heart_contracts_and_its_wall_stays(seed: int) -> None:
    one = heart(seed)
    areas = [[int((one.labels(SIZE, phase) == label).sum()) for label in (1, 2, 3)] for phase in (0.0, 0.5, 1.0)]
    right, wall, left = np.transpose(areas)

    assert left[0] > left[1] > left[2] > 0
    assert right[0] > right[2] > 0
    assert 0.9 < wall[2] / wall[0] < 1.4
    assert set(HEART_LABELS.values()) == {1, 2, 3}


def test_images_lie_between_0_and_1_and_repeat_with_their_seed() -> None:
    first, again, other = (heart(2).image(SIZE, np.random.default_rng(seed)) for seed in (3, 3, 4))

    assert (first.min(), first.max()) == (0.0, 1.0)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_round_chamber_keeps_its_wall_s_area() -> None:
    """Pool from 20 to 10 mm, wall 10 mm: 900 − 400 = 500 mm² / π stay, so the outer radius ends at √600 mm.

    A point in the pool halves its distance; one of the wall, 25 mm, goes to √(100 + 625 − 400) mm.
    """
    chamber = Chamber((0.0, 0.0), (20.0, 10.0), 10.0, 1.0, 0.0, 0.0)
    points = np.array([[[12.0, 0.0]], [[0.0, -25.0]]])

    moved = chamber.at_end_systole(points, 0.0)

    assert chamber.outer_mm(1.0) == pytest.approx(600**0.5)
    np.testing.assert_allclose(moved, [[[6.0, 0.0]], [[0.0, -(325**0.5)]]])
