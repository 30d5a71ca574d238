from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pytest

from engine.errors import InputError
from engine.phantom.fdk import fdk_cone_beam, phase_angles_degrees, reconstructing


def test_the_views_of_one_phase_come_in_clusters():
    angles = phase_angles_degrees(60, np.random.default_rng(0))
    gaps = np.diff(angles)
    assert len(angles) == 60
    assert 0 <= angles[0] <= angles[-1] < 360
    assert gaps.max() > 10 * np.median(gaps)


def test_without_rtk_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "itk", None)
    with pytest.raises(InputError, match=r"regard\[cone-beam\]"):
        fdk_cone_beam(np.zeros((8, 8, 8), np.float32), 5.0, np.random.default_rng(0), 10)


def test_no_projection_is_refused():
    with pytest.raises(InputError, match="at least one projection"):
        fdk_cone_beam(np.zeros((8, 8, 8), np.float32), 5.0, np.random.default_rng(0), 0)


@pytest.mark.slow
def test_a_reconstruction_shows_the_object_where_it_is_with_more_streaks_the_fewer_views():
    """An asymmetric object: no axis is flipped or exchanged."""
    if find_spec("itk") is None:
        pytest.skip("the optional package itk-rtk is not installed")
    _, y, x = np.meshgrid(np.arange(24), np.arange(30), np.arange(36), indexing="ij")
    hu = np.where(((x - 18) / 15) ** 2 + ((y - 15) / 11) ** 2 < 1, 0.0, -1000.0).astype(np.float32)
    hu[4:9, 8:12, 22:30] = 900.0
    with reconstructing() as process:
        few, many = (
            process.submit(fdk_cone_beam, hu, 8.0, np.random.default_rng(1), n, 1e6).result() for n in (25, 240)
        )
    assert few.shape == hu.shape
    assert np.corrcoef(many.ravel(), hu.ravel())[0, 1] > 0.9
    assert many[4:9, 8:12, 22:30].mean() > 300
    assert few[hu == -1000].std() > 1.2 * many[hu == -1000].std()
