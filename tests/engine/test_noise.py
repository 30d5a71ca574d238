from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.geometry import Geometry
from engine.noise import noise_hu, pair_noise_hu
from engine.phantom.thorax import thorax_pair
from engine.volume import Volume


def _tissue(sigma_hu: float) -> Volume:
    """A block of water in air, voxels of 3 mm, with white noise."""
    shape = (40, 40, 40)
    hu = np.full(shape, -1000.0, np.float32)
    hu[5:35, 5:35, 5:35] = 0.0
    hu += np.random.default_rng(3).normal(0.0, sigma_hu, shape).astype(np.float32)
    return Volume(hu, Geometry(shape, (3.0, 3.0, 3.0)), np.ones(shape, bool))


@pytest.mark.parametrize("sigma_hu", [3.0, 12.0])
def test_white_noise_is_measured(sigma_hu: float) -> None:
    """A voxel less the mean of six: σ √(7/6), and the median size of a normal variable is 0.6745 σ."""
    assert noise_hu(_tissue(sigma_hu)) == pytest.approx(0.6745 * np.sqrt(7 / 6) * sigma_hu, rel=0.05)


def test_edges_are_no_noise() -> None:
    assert noise_hu(_tissue(0.0)) < 0.1


def test_streaks_tell_a_cone_beam_ct_whatever_it_is_called() -> None:
    pair = thorax_pair(5, (64, 64, 48), (5.0, 5.0, 6.0), projections=40)

    assert noise_hu(replace(pair.fixed, modality="CT")) > 1.5 * noise_hu(pair.moving)


def test_an_image_without_soft_tissue_shows_none() -> None:
    shape = (12, 12, 12)
    air = Volume(np.full(shape, -1000.0, np.float32), Geometry(shape, (2.0, 2.0, 2.0)), np.ones(shape, bool))

    assert noise_hu(air) == 0.0


def test_of_a_pair_the_noisier_image_counts_within_limits() -> None:
    quiet, loud = _tissue(3.0), _tissue(12.0)
    assert pair_noise_hu(quiet, loud, 0.0, 99.0) == pair_noise_hu(loud, quiet, 0.0, 99.0) == noise_hu(loud)
    assert pair_noise_hu(quiet, quiet, 5.0, 99.0) == 5.0
    assert pair_noise_hu(quiet, loud, 0.0, 6.0) == 6.0
