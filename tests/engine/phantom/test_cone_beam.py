from __future__ import annotations

import numpy as np
import pytest

from engine.errors import InputError
from engine.geometry import Geometry
from engine.phantom.cone_beam import (
    cone_beam,
    cylinder_radius_mm,
    filtered_back_projection,
    with_cupping,
    with_noise,
    with_scatter,
    with_streaks,
)
from engine.volume import PADDING_HU

GEOMETRY = Geometry((5, 44, 50), (5.0, 5.5, 6.0))


def disc() -> np.ndarray:
    """Water, off-center, in air, with a bone rod."""
    _, y, x = np.ogrid[:5, :44, :50]
    square = ((x - 26) * 5.0) ** 2 + ((y - 20) * 5.5) ** 2
    hu = np.where(square < 85**2, 0.0, -1000.0) + np.where((np.abs(x - 33) < 2) & (np.abs(y - 24) < 2), 900.0, 0.0)
    return np.ascontiguousarray(np.broadcast_to(hu, (5, 44, 50))).astype(np.float32)


@pytest.mark.parametrize("projections", [None, 40])
def test_same_seed_same_image_and_the_clean_one_untouched(projections):
    clean = disc()
    kept = clean.copy()
    first, _ = cone_beam(clean, GEOMETRY, np.random.default_rng(3), projections)
    again, _ = cone_beam(clean, GEOMETRY, np.random.default_rng(3), projections)
    other, _ = cone_beam(clean, GEOMETRY, np.random.default_rng(4), projections)
    np.testing.assert_array_equal(clean, kept)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.float32


def test_nothing_is_valid_outside_the_cylinder():
    image, seen = cone_beam(disc(), GEOMETRY, np.random.default_rng(0), 40)
    y, x = np.mgrid[:44, :50]
    radius = np.hypot((x - 24.5) * 5.0, (y - 21.5) * 5.5)
    np.testing.assert_array_equal(seen[2], radius <= 0.47 * 250)
    assert cylinder_radius_mm(GEOMETRY) == pytest.approx(0.47 * 250)
    assert np.all(image[~seen] == PADDING_HU)
    assert np.all(image[seen] > PADDING_HU)


def test_back_projection_of_many_views_gives_the_density_back():
    y, x = np.mgrid[:48, :40]
    slice_ = np.where(np.hypot(x - 21, y - 22) < 13, 1000.0, 0.0).astype(np.float32)
    angles = np.arange(180) * np.pi / 180
    back = filtered_back_projection(slice_.reshape(-1, 1), slice_.shape, angles).reshape(48, 40)
    # Linear interpolation in bins and the cut edge of the ramp cost a few per cent.
    assert back[18:27, 17:26].mean() == pytest.approx(1000, rel=0.03)
    assert abs(back[2:8, 2:8].mean()) < 30


def test_fewer_views_give_more_streaks():
    clean = disc()
    spacing = GEOMETRY.spacing_xyz_mm
    streaks = [np.std(with_streaks(clean, spacing, n, np.random.default_rng(0)) - clean) for n in (20, 40, 120)]
    assert streaks[0] > streaks[1] > streaks[2]
    assert streaks[1] > 20


def test_streaks_hardly_change_the_mean_density():
    clean = disc()
    streaked = with_streaks(clean, GEOMETRY.spacing_xyz_mm, 40, np.random.default_rng(0))
    # The mean of a slice is in every view; what is left is the discretisation of the ramp.
    assert abs((streaked - clean).mean()) < 10


def test_noise_has_the_asked_spread():
    clean = disc()
    noise = with_noise(clean, np.random.default_rng(1), 25.0, blur_voxels=0.7) - clean
    # 11,000 correlated samples: the s.d. of the s.d. is about 0.3 HU.
    assert noise.std() == pytest.approx(25.0, abs=1.5)


def test_cupping_darkens_the_middle_and_spares_air():
    water = np.zeros(GEOMETRY.shape_zyx, np.float32)
    cupped = with_cupping(water, GEOMETRY, np.random.default_rng(1))
    assert cupped[2, 22, 25] < -15
    assert cupped[2, 22, 3] > cupped[2, 22, 25] + 30
    air = water - 1000
    np.testing.assert_array_equal(with_cupping(air, GEOMETRY, np.random.default_rng(1)), air)


def test_scatter_is_smooth_shading():
    clean = disc()
    shade = with_scatter(clean, GEOMETRY.spacing_xyz_mm, np.random.default_rng(1)) - clean
    assert shade[2, 15:25, 20:30].mean() < -10
    # Inside the water disc neighbours differ by little: the shading varies over 45 mm.
    assert np.abs(np.diff(shade[2, 12:28, 18:30], axis=0)).max() < 10


def test_no_projection_is_refused():
    with pytest.raises(InputError, match="at least one projection"):
        cone_beam(disc(), GEOMETRY, np.random.default_rng(0), 0)
