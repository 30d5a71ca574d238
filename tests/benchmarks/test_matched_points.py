from __future__ import annotations

import matched_points
import numpy as np
import pytest
from matched_points import Image, corners_of, matched, moved_alike
from scipy import ndimage

from engine.geometry import Geometry
from engine.volume import Volume

SHAPE = (30, 44, 46)
SPACING_XYZ_MM = (1.5, 1.25, 2.5)
SHIFT_ZYX = np.array([2.0, -3.0, 4.0])


@pytest.fixture(autouse=True)
def short_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matched_points, "_REACH_MM", 8.0)


def texture(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=SHAPE)
    smooth = ndimage.gaussian_filter(noise, 1.2)
    return (-600 + 250 * smooth / smooth.std()).astype(np.float32)


def image(hu: np.ndarray) -> Image:
    geometry = Geometry(SHAPE, SPACING_XYZ_MM, (-20.0, 30.0, 5.0))
    return Image.of(Volume(hu, geometry, np.ones(SHAPE, bool)))


@pytest.mark.parametrize("fraction", [0.0, 0.4])
def test_blocks_are_found_where_they_were_shifted_to(fraction: float) -> None:
    hu, shift = texture(0), SHIFT_ZYX + fraction
    moving = image(ndimage.shift(hu, shift, order=3, mode="nearest"))
    voxels = np.array([[14.0, 20, 22], [16, 24, 20]])

    found, certain = matched(image(hu), moving, voxels, voxels + 1, 5.0)

    assert found == pytest.approx(voxels + shift, abs=0.15)
    assert certain.all()


def test_a_block_that_is_nowhere_is_not_certain() -> None:
    voxels = np.array([[14.0, 20, 22]])
    _, certain = matched(image(texture(0)), image(texture(1)), voxels, voxels, 5.0)
    assert not certain.any()


def test_corners_lie_deep_in_the_mask_and_apart() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[4:26, 6:38, 8:40] = True
    corners = corners_of(image(texture(2)), mask)
    mm = corners * np.array(SPACING_XYZ_MM[::-1])
    apart = np.linalg.norm(mm[:, None] - mm[None], axis=-1) + 1e3 * np.eye(len(mm))
    inside = ndimage.distance_transform_edt(mask, sampling=SPACING_XYZ_MM[::-1])[tuple(corners.astype(int).T)]
    assert len(corners) > 3
    assert apart.min() >= 8.0
    assert inside.min() > 6.0


def test_a_point_that_moved_unlike_its_neighbors_is_left_out() -> None:
    fixed = np.random.default_rng(3).uniform(0, 60, (40, 3))
    moving = fixed + [3.0, -2.0, 8.0] + 0.02 * fixed
    moving[7] += [0.0, 6.0, 0.0]
    assert np.flatnonzero(~moved_alike(fixed, moving)).tolist() == [7]
