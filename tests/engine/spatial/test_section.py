from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from engine.geometry import Geometry, as_triple
from engine.io.transforms import to_sitk_transform
from engine.registration import Registration
from engine.spatial import section
from engine.spatial.section import CarriedLabels, MovedImage
from engine.spatial.volume_warp import warped_volume
from engine.volume import Volume

PARTS = [
    (3, slice(None), slice(None)),
    (slice(None), 4, slice(None)),
    (slice(None), slice(None), -2),
    (slice(1, 5), slice(2, 7), slice(0, 6)),
    (2, 3, 4),
    (4, slice(None, None, 2), slice(1, None, 3)),
    (slice(None),) * 3,
]


def _moving(geometry: Geometry) -> Volume:
    hu = np.random.default_rng(3).uniform(-900, 400, geometry.shape_zyx).astype(np.float32)
    valid = np.ones(geometry.shape_zyx, bool)
    valid[:, :3, :4] = False
    return Volume(hu, geometry, valid)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_the_moved_image_is_that_of_the_whole(part, oblique, aligned, make_registration) -> None:
    """Neighbors differ by up to 1300 HU, and the indices of the whole are single: good to 2e-6 voxel."""
    rigid = make_registration(oblique).rigid
    moving = _moving(aligned)
    whole = warped_volume(moving, replace(Registration.identity(oblique), rigid=rigid))

    found = MovedImage.of(moving, oblique, np.eye(4)).moved(rigid).drawn_out()[part]

    assert found.shape == whole[part].shape
    np.testing.assert_allclose(found, whole[part], atol=0.02)


def test_all_of_the_moved_image_holds_seen_and_unseen(oblique, aligned, make_registration) -> None:
    whole = MovedImage.of(_moving(aligned), oblique, make_registration(oblique).rigid)[:, :, :]

    assert 0.2 < (whole > -2048).mean() < 1


@pytest.mark.parametrize("normal", [0, 1, 2])
def test_a_sketch_is_the_image_on_a_grid_of_twice_the_spacing(
    normal, oblique, aligned, make_registration, monkeypatch
) -> None:
    """A quarter of the voxels, each at the middle of the four that it is shown for."""
    monkeypatch.setattr(section, "_LARGE", 300)
    moving, rigid = _moving(aligned), make_registration(oblique).rigid
    part = tuple(5 if axis == normal else slice(None) for axis in range(3))
    steps = np.array([1 if axis == normal else 2 for axis in range(3)])
    origin = oblique.points([(steps[::-1] - 1) / 2])[0]
    z, y, x = -(-np.array(oblique.shape_zyx) // steps)
    spacing = as_triple(np.array(oblique.spacing_xyz_mm) * steps[::-1])
    coarse = replace(oblique, shape_zyx=(z, y, x), spacing_xyz_mm=spacing, origin_xyz_mm=as_triple(origin))
    whole = MovedImage.of(moving, oblique, rigid)[part]
    rows, columns = whole.shape

    sketch = MovedImage.of(moving, oblique, np.eye(4)).moved(rigid)

    expected = MovedImage.of(moving, coarse, rigid)[part]
    assert 0.1 < (expected > -2048).mean() < 1
    assert expected.size < 0.3 * whole.size
    np.testing.assert_allclose(sketch[part], expected.repeat(2, 0).repeat(2, 1)[:rows, :columns], atol=0.02)
    np.testing.assert_array_equal(sketch.drawn_out()[part], whole)
    assert sketch[2, 3, 4] == sketch.drawn_out()[2, 3, 4]


def test_labels_are_carried_as_simpleitk_does(oblique, aligned, make_registration, to_sitk) -> None:
    """Nearest neighbor of random labels: single precision may choose the other neighbor very near the middle."""
    registration = make_registration(oblique)
    labels = np.random.default_rng(5).integers(0, 6, aligned.shape_zyx).astype(np.uint8)
    reference = to_sitk(np.zeros(oblique.shape_zyx), oblique)
    transform = to_sitk_transform(registration)
    resampled = sitk.Resample(to_sitk(labels, aligned), reference, transform, sitk.sitkNearestNeighbor, 0.0)
    expected = sitk.GetArrayFromImage(resampled)

    carried = CarriedLabels.of(labels, aligned, registration)

    assert (expected > 0).mean() > 0.2
    assert (carried[:, :, :] == expected).mean() > 0.9999
    for part in PARTS:
        np.testing.assert_array_equal(carried[part], carried[:, :, :][part])
        assert carried[part].dtype == np.uint8


def test_without_a_displacement_labels_follow_the_rigid_part(oblique, aligned, make_registration) -> None:
    registration = make_registration(oblique)
    labels = np.random.default_rng(5).integers(0, 6, aligned.shape_zyx).astype(np.uint8)
    still = replace(registration, displacement_vox=np.zeros_like(registration.displacement_vox))

    rigid_only = CarriedLabels(labels, aligned, oblique, registration.rigid)

    np.testing.assert_array_equal(rigid_only[:, :, :], CarriedLabels.of(labels, aligned, still)[:, :, :])


def _whole(labels, geometry, registration, part):
    """Nearest neighbor by the definition, every voxel of a part on its own."""
    index = np.stack(np.meshgrid(*map(np.arange, registration.fixed.shape_zyx), indexing="ij"), axis=-1)[part]
    u = np.moveaxis(registration.displacement_vox, 0, -1)[part]
    points = registration.fixed.points((index + u)[..., ::-1].reshape(-1, 3))
    there = np.rint(geometry.indices(points @ registration.rigid[:3, :3].T + registration.rigid[:3, 3]))[:, ::-1]
    seen = ((there >= 0) & (there < labels.shape)).all(axis=1)
    found = np.zeros(len(there), labels.dtype)
    found[seen] = labels[tuple(there[seen].astype(int).T)]
    return found.reshape(index.shape[:-1])


@pytest.mark.parametrize("corner", [(2, 3, 4), (7, 10, 9), (4, 6, 14)])
@pytest.mark.parametrize("at_once", [7, 2**14])
def test_a_small_structure_is_found_wherever_it_is_carried(
    corner, at_once, oblique, aligned, make_registration, monkeypatch
):
    """Only where it can come from is worked out, and that in pieces."""
    monkeypatch.setattr(section, "_AT_ONCE", at_once)
    registration = make_registration(oblique)
    labels = np.zeros(aligned.shape_zyx, np.uint8)
    near = tuple(slice(first, first + 3) for first in corner)
    labels[near] = np.random.default_rng(6).integers(1, 5, labels[near].shape)
    carried = CarriedLabels.of(labels, aligned, registration)

    whole = _whole(labels, aligned, registration, PARTS[-1])

    assert whole.any()
    for part in PARTS:
        np.testing.assert_array_equal(carried[part], whole[part])
        u = [component[part] for component in registration.displacement_vox]
        np.testing.assert_array_equal(carried.cut(part, u), whole[part])


def test_where_nothing_is_delineated_nothing_is_carried(oblique, aligned, make_registration):
    carried = CarriedLabels.of(np.zeros(aligned.shape_zyx, np.uint16), aligned, make_registration(oblique))

    assert carried[:, 3, :].shape == (oblique.shape_zyx[0], oblique.shape_zyx[2])
    assert not carried[:, 3, :].any()
