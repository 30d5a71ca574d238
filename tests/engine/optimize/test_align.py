from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from engine.errors import InputError
from engine.geometry import Geometry, transform_points
from engine.optimize.align import rigid_alignment
from engine.phantom.thorax import thorax_pair
from engine.progress import finish
from engine.volume import AIR_HU, Volume

SPACING_XYZ_MM = (5.3, 5.6, 6.5)


def _known_motion(geometry: Geometry) -> np.ndarray:
    """Fixed to moving points: a few degrees about each axis through the center, then (9, −7, 12) mm."""
    euler = sitk.Euler3DTransform(geometry.center_xyz_mm().tolist(), *np.deg2rad([3.0, -2.0, 4.0]), (9.0, -7.0, 12.0))
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(euler.GetMatrix(), (3, 3))
    matrix[:3, 3] = euler.TransformPoint((0.0, 0.0, 0.0))
    return matrix


def _moved(volume: Volume, matrix: np.ndarray) -> Volume:
    """The image whose point T(x) shows what `volume` shows at x."""
    image = sitk.GetImageFromArray(volume.hu)
    image.SetSpacing(volume.geometry.spacing_xyz_mm)
    image.SetOrigin(volume.geometry.origin_xyz_mm)
    back = np.linalg.inv(matrix)
    transform = sitk.AffineTransform(back[:3, :3].ravel().tolist(), back[:3, 3].tolist())
    hu = sitk.GetArrayFromImage(sitk.Resample(image, transform, sitk.sitkLinear, AIR_HU))
    return Volume(hu, volume.geometry, np.ones(hu.shape, bool))


def test_a_known_motion_is_found_to_half_a_voxel() -> None:
    """Everywhere in the image, up to its corners, where an error of rotation shows most."""
    fixed = thorax_pair(3, (61, 52, 45), SPACING_XYZ_MM).moving
    truth = _known_motion(fixed.geometry)

    found = finish(rigid_alignment(fixed, _moved(fixed, truth)))

    corners = fixed.geometry.points([[x, y, z] for x in (0, 60) for y in (0, 51) for z in (0, 44)])
    error_mm = np.linalg.norm(transform_points(found, corners) - transform_points(truth, corners), axis=1)
    start_mm = np.linalg.norm(corners - transform_points(truth, corners), axis=1)
    assert start_mm.min() > min(SPACING_XYZ_MM)
    assert error_mm.max() < 0.5 * min(SPACING_XYZ_MM)
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-9)


def test_images_without_anything_in_common_are_refused() -> None:
    geometry = Geometry((9, 10, 11), (5.0, 6.0, 7.0))
    hu = np.random.default_rng(0).uniform(-900, 300, geometry.shape_zyx).astype(np.float32)
    nothing = np.zeros(geometry.shape_zyx, bool)

    with pytest.raises(InputError, match="too little overlap"):
        finish(rigid_alignment(Volume(hu, geometry, ~nothing), Volume(hu, geometry, nothing)))
