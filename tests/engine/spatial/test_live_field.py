"""The displacement of a preview, against the whole field that it stands for."""

from __future__ import annotations

import numpy as np
import pytest

from engine.geometry import Geometry
from engine.progress import Preview
from engine.registration import Registration
from engine.roi import Box
from engine.spatial.jacobian import jacobian_determinant
from engine.spatial.live_field import LiveField
from engine.spatial.oblique import Section, determinants
from engine.spatial.resample import as_tensor, resized_displacement
from engine.spatial.section import CarriedLabels

REGION = Box(3, 25, 2, 20, 4, 15)
PARTS = [
    (3, slice(None), slice(None)),
    (7, slice(None), slice(None)),
    (slice(None), 9, slice(None)),
    (slice(None), slice(None), 12),
    (slice(5, 7), slice(None), slice(None)),
    (5, 9, 12),
]


def live(fixed: Geometry, grid: Geometry) -> tuple[LiveField, np.ndarray]:
    """A field that is known on a grid, and all of it as an array."""
    rng = np.random.default_rng(2)
    before = rng.normal(0, 1, (3, *fixed.shape_zyx)).astype(np.float32)
    displacement = rng.normal(0, 1, (3, *grid.shape_zyx)).astype(np.float32)
    preview = Preview(REGION, np.zeros(REGION.shape_zyx, np.float32), displacement, grid, 1)
    whole = before.copy()
    inside = (slice(None), *REGION.slices_zyx)
    whole[inside] = resized_displacement(as_tensor(displacement), grid, fixed)[0].numpy()[inside]
    return LiveField(fixed, before, preview), whole


@pytest.fixture(params=["coarse", "voxels"])
def field(request, oblique) -> tuple[LiveField, np.ndarray]:
    """A working grid of unequal voxels round the region, or the voxels of the region themselves."""
    crop = oblique.cropped(REGION)
    return live(oblique, crop.resampled((3.1, 2.7, 4.4)) if request.param == "coarse" else crop)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_that_of_the_whole_field(field, part) -> None:
    found, whole = field
    for axis in range(3):
        np.testing.assert_allclose(found[axis][part], whole[axis][part], atol=1e-5)
    np.testing.assert_allclose(found[(slice(None), *part)], whole[(slice(None), *part)], atol=1e-5)
    assert found.shape == whole.shape


def test_what_was_before_is_left_as_it_was(field) -> None:
    found, whole = field
    before = found.before.copy()
    np.testing.assert_array_equal(found[0][1, :, :], whole[0][1])
    assert not np.shares_memory(found[0][7, :, :], found.before)
    np.testing.assert_array_equal(found.before, before)


def test_points_are_mapped_as_by_the_whole_field(field, oblique, make_registration) -> None:
    """Inside the grid, at its outermost voxels, half a voxel beyond them, and outside."""
    found, whole = field
    rigid = make_registration(oblique).rigid
    sizes = np.array(oblique.size_xyz)
    index = np.random.default_rng(4).uniform(-1.0, sizes, (200, 3))
    index = np.concatenate([index, [[0, 0, 0], sizes - 1, sizes - 0.6, [-0.4, 3.3, 5], sizes + 1]])
    points_mm = oblique.points(index)

    mapped_mm = found.map_points(rigid, points_mm)

    np.testing.assert_allclose(mapped_mm, Registration(oblique, rigid, whole).map_points(points_mm), atol=1e-4)


def test_contours_are_carried_as_by_the_whole_field(field, oblique, aligned, make_registration) -> None:
    """Nearest neighbor: a rounding of the displacement may choose the other one, very near the middle."""
    found, whole = field
    labels = np.random.default_rng(5).integers(1, 6, aligned.shape_zyx).astype(np.uint8)
    rigid = make_registration(oblique).rigid
    carried, expected = (CarriedLabels(labels, aligned, oblique, rigid, u) for u in (found, whole))
    for part in PARTS[:4]:
        assert (carried[part] == expected[part]).mean() > 0.998
        assert expected[part].any()


def test_between_voxels_it_is_linear_where_the_whole_field_is(oblique) -> None:
    """u is the same everywhere on the working grid, so it is there between the voxels of both."""
    grid = oblique.cropped(REGION).resampled((3.1, 2.7, 4.4))
    found, _ = live(oblique, grid)
    found.preview.displacement_vox[:] = np.array([1.0, -2.0, 0.5], np.float32).reshape(3, 1, 1, 1)
    expected = np.array([1.0, -2.0, 0.5]) * grid.spacing_zyx_mm / np.asarray(oblique.spacing_zyx_mm)
    inner = Section.plane(oblique.shape_zyx, (5.3, 3.2, 4.1), (0.1, 1, 0), (0.05, 0, 1), (12, 15))
    for axis in range(3):
        np.testing.assert_allclose(found[axis].on(inner), expected[axis], atol=1e-5)
    np.testing.assert_allclose(determinants(inner, found), 1, atol=1e-5)
    outer = Section.plane(oblique.shape_zyx, (1, 0, 0), (0, 1, 0), (0, 0, 1), oblique.shape_zyx[1:])
    np.testing.assert_allclose(found[1].on(outer), found.before[1, 1], atol=1e-5)


def test_its_determinant_is_that_of_the_whole_field(field) -> None:
    found, whole = field
    slab = (slice(None), slice(7, 9), slice(None), slice(None))
    np.testing.assert_allclose(jacobian_determinant(found[slab]), jacobian_determinant(whole[slab]), atol=1e-3)
