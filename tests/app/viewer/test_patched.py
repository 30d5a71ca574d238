from __future__ import annotations

import numpy as np
import pytest

from app.viewer.patched import Patched
from engine.roi import Box
from engine.spatial.oblique import Section

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


def test_between_voxels_a_patch_is_seen_in_its_region_alone():
    """A quarter of a voxel on along x: linear within the region and beyond it, nothing mixed across its faces."""
    base = np.indices((6, 8, 10))[2].astype(np.float32)
    box = Box(3, 7, 2, 6, 1, 5)
    section = Section.plane(base.shape, (3, 0, 0.25), (0, 1, 0), (0, 0, 1), (8, 9))
    shown = Patched(base, box, base[box.slices_zyx] + 100).on(section)
    expected = np.arange(9) + np.zeros((8, 1)) + 0.25
    expected[2:6, 3:7] += 100
    expected[2:6, 6] = 106
    np.testing.assert_allclose(shown, expected, atol=1e-5)
