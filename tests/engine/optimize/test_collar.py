import numpy as np
import pytest

from engine.optimize.collar import COLLAR_VOX, LARGEST_RESIDUAL_VOX, collared, window, working_crop
from engine.roi import Box

SHAPE = (60, 50, 70)
BOX = Box(20, 31, 5, 12, 24, 30)
"""Its collar reaches the face y = 0 of the image and no other."""


def _distance(index: np.ndarray, start: int, stop: int) -> np.ndarray:
    return np.maximum(np.maximum(start - index, index - (stop - 1)), 0)


def test_the_collar_is_pi_times_the_largest_residual() -> None:
    assert COLLAR_VOX == int(np.ceil(np.pi * LARGEST_RESIDUAL_VOX)) == 13


def test_box_and_collar_stay_in_the_image() -> None:
    assert collared(BOX, SHAPE) == Box(7, 44, 0, 25, 11, 43)


@pytest.mark.parametrize("crop", [working_crop(BOX, SHAPE), working_crop(BOX, SHAPE, (48, 48, 48)), Box.whole(SHAPE)])
def test_the_window_is_a_raised_cosine_of_the_distance_from_the_box(crop: Box) -> None:
    z, y, x = (np.arange(*r) for r in crop.ranges_zyx)
    inside = [_distance(z, 24, 30), _distance(y, 0, 12), _distance(x, 20, 31)]
    profiles = [np.where(d < 13, 0.5 + 0.5 * np.cos(np.pi * d / 13), 0.0) for d in inside]

    weight = window(BOX, crop, SHAPE)

    assert weight.dtype == np.float32
    np.testing.assert_allclose(weight, np.einsum("i,j,k->ijk", *profiles), atol=1e-6)


def test_the_window_is_one_in_the_box_zero_at_faces_inside_the_image_and_has_no_ramp_at_a_face_of_the_image() -> None:
    crop = working_crop(BOX, SHAPE)
    weight = window(BOX, crop, SHAPE)

    assert (weight[BOX.inside(crop).slices_zyx] == 1.0).all()
    for face in (weight[0], weight[-1], weight[:, -1], weight[..., 0], weight[..., -1]):
        assert not face.any()
    assert (weight[15, 0:12, 15] == 1.0).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_window_only_falls_away_from_the_box(axis: int) -> None:
    crop = working_crop(BOX, SHAPE)
    weight = window(BOX, crop, SHAPE)
    middle = [
        (start + stop) // 2 - first for (start, stop), (first, _) in zip(BOX.ranges_zyx, crop.ranges_zyx, strict=True)
    ]
    line = np.moveaxis(weight, axis, -1)[tuple(m for k, m in enumerate(middle) if k != axis)]

    assert (np.diff(line[: middle[axis] + 1]) >= 0).all()
    assert (np.diff(line[middle[axis] :]) <= 0).all()


@pytest.mark.parametrize(
    ("least_zyx", "expected_zyx"),
    [(None, (32, 25, 37)), ((48, 48, 48), (48, 48, 48)), ((20, 30, 40), (32, 30, 40)), ((64, 64, 64), (60, 50, 64))],
)
def test_a_crop_grows_inside_the_image(
    least_zyx: tuple[int, int, int] | None, expected_zyx: tuple[int, int, int]
) -> None:
    """Box and collar are 37 × 25 × 32 voxels; the image has no 64 rows."""
    crop = working_crop(BOX, SHAPE, least_zyx)

    assert crop.shape_zyx == expected_zyx
    assert crop.checked(SHAPE) == crop
    assert all(
        outer[0] <= inner[0] and inner[1] <= outer[1]
        for inner, outer in zip(collared(BOX, SHAPE).ranges_zyx, crop.ranges_zyx, strict=True)
    )


def test_a_box_as_large_as_the_image_has_no_collar() -> None:
    whole = Box.whole((6, 8, 5))

    assert working_crop(whole, (6, 8, 5), (48, 48, 48)) == whole
    assert (window(whole, whole, (6, 8, 5)) == 1.0).all()
