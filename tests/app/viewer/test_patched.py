from __future__ import annotations

import numpy as np
import pytest

from app.viewer.patched import Patched
from engine.roi import Box

SHAPE = (7, 9, 11)
REGION = Box(3, 8, 2, 6, 1, 5)
EVERY = slice(None)


@pytest.fixture
def patched():
    """Every voxel is different, in the base and in the patch."""
    base = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    patch = -1 - np.arange(np.prod(REGION.shape_zyx), dtype=np.float32).reshape(REGION.shape_zyx)
    return Patched(base, REGION, patch)


@pytest.mark.parametrize(
    "part",
    [
        (2, EVERY, EVERY),
        (0, EVERY, EVERY),
        (EVERY, 5, EVERY),
        (EVERY, 6, EVERY),
        (EVERY, EVERY, 3),
        (EVERY, EVERY, slice(0, 5)),
        (EVERY, EVERY, slice(8, 20)),
        (slice(0, 7, 3), slice(1, 6), EVERY),
        (slice(1, 7, 2), slice(3, 4), slice(2, 9, 3)),
        (EVERY, EVERY, EVERY),
        (4, 5, 7),
        (4, 6, 7),
        (-3, 2, -5),
    ],
)
def test_a_part_is_that_of_the_whole(patched, part):
    whole = patched.base.copy()
    whole[REGION.slices_zyx] = patched.patch
    np.testing.assert_array_equal(patched[part], whole[part])
    assert np.shape(patched[part]) == np.shape(whole[part])


def test_the_base_is_left_alone(patched):
    before = patched.base.copy()
    patched[2, :, :][:] = 0
    np.testing.assert_array_equal(patched.base, before)
