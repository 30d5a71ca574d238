from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from engine.geometry import Geometry
from engine.registration import Registration
from engine.spatial import volume_warp
from engine.spatial.volume_warp import warped_volume
from engine.volume import PADDING_HU, Volume


def _moving(geometry: Geometry, seed: int = 8) -> Volume:
    hu = np.random.default_rng(seed).uniform(-900, 400, geometry.shape_zyx).astype(np.float32)
    return Volume(hu, geometry, np.ones(geometry.shape_zyx, bool))


def _by_simpleitk(moving: Volume, registration: Registration, to_sitk, to_affine) -> np.ndarray:
    """sitk.Resample with R after the displacement field; a composite applies what was added last first."""
    fixed = registration.fixed
    steps_mm = np.asarray(fixed.direction) * np.asarray(fixed.spacing_xyz_mm)
    vectors_mm = np.einsum("ij,jzyx->zyxi", steps_mm, registration.displacement_vox[::-1])
    field = sitk.DisplacementFieldTransform(to_sitk(vectors_mm, fixed))
    transform = sitk.CompositeTransform([to_affine(registration.rigid), field])
    image = to_sitk(moving.hu, moving.geometry)
    reference = to_sitk(np.zeros(fixed.shape_zyx), fixed)
    return sitk.GetArrayFromImage(sitk.Resample(image, reference, transform, sitk.sitkLinear, PADDING_HU))


@pytest.mark.parametrize("grids", [("oblique", "aligned"), ("aligned", "oblique"), ("oblique", "oblique")])
def test_the_warped_image_is_that_of_simpleitk(grids, request, make_registration, to_sitk, to_affine) -> None:
    """Neighbors differ by up to 1300 HU and float32 indices are good to 2e-6 voxel."""
    fixed, moving = (request.getfixturevalue(name) for name in grids)
    registration, volume = make_registration(fixed), _moving(moving)

    warped = warped_volume(volume, registration)

    expected = _by_simpleitk(volume, registration, to_sitk, to_affine)
    inside = expected != PADDING_HU
    assert 0.3 < inside.mean() < 1.0
    np.testing.assert_array_equal(warped != PADDING_HU, inside)
    np.testing.assert_allclose(warped[inside], expected[inside], atol=0.02)


def test_no_motion_gives_the_image_itself(oblique: Geometry) -> None:
    volume = _moving(oblique)

    warped = warped_volume(volume, Registration.identity(oblique))

    np.testing.assert_allclose(warped, volume.hu, atol=0.02)


def test_a_voxel_that_the_scanner_did_not_see_spreads_to_whatever_touches_it() -> None:
    """Half a voxel to the right: the invalid voxel 5 is part of the samples at 4.5 and 5.5."""
    geometry = Geometry((3, 4, 9), (1.0, 2.0, 3.0))
    volume = _moving(geometry)
    valid = volume.valid.copy()
    valid[1, 2, 5] = False
    displacement = np.zeros((3, 3, 4, 9), np.float32)
    displacement[2] = 0.5

    warped = warped_volume(replace(volume, valid=valid), Registration(geometry, np.eye(4), displacement))

    unseen = np.zeros((3, 4, 9), bool)
    unseen[1, 2, 4:6] = True
    unseen[..., 8] = True
    np.testing.assert_array_equal(warped == PADDING_HU, unseen)


def test_slabs_change_nothing(oblique: Geometry, make_registration, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for rounding, since each takes its own part of the moving image."""
    volume, registration = _moving(oblique), make_registration(oblique)
    whole = warped_volume(volume, registration)

    monkeypatch.setattr(volume_warp, "_VOXELS_AT_ONCE", 3 * 23 * 29)

    np.testing.assert_allclose(warped_volume(volume, registration), whole, atol=0.01)
