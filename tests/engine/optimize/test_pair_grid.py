from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from engine.geometry import Geometry, transform_points
from engine.optimize.pair_grid import at_spacing, near_patient, on_crop
from engine.preprocess import body_of
from engine.roi import Box
from engine.spatial.resample import as_tensor
from engine.spatial.volume_warp import warped_volume
from engine.volume import Volume, normalized

CPU = torch.device("cpu")
SLOPE_HU_PER_MM = np.array([5.0, -3.0, 4.0])


def _height_hu(points_mm: np.ndarray, center_mm: np.ndarray) -> np.ndarray:
    return (points_mm - center_mm) @ SLOPE_HU_PER_MM


def _ramp(geometry: Geometry, center_mm: np.ndarray) -> Volume:
    """HU that rise linearly through the patient: filters and linear interpolation leave them as they are."""
    hu = _height_hu(_points(geometry), center_mm).astype(np.float32)
    return Volume(hu, geometry, np.ones(geometry.shape_zyx, bool))


def _points(geometry: Geometry, displacement_vox: np.ndarray | None = None) -> np.ndarray:
    index_zyx = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.shape_zyx), indexing="ij"))
    index = index_zyx if displacement_vox is None else index_zyx + displacement_vox
    return geometry.points(index[::-1].reshape(3, -1).T).reshape(*geometry.shape_zyx, 3)


def test_a_pair_at_working_spacing_shows_moving_at_the_mapped_points(oblique, aligned, make_registration) -> None:
    """A ramp along a skewed direction, 3 mm voxels, rotated by some degrees and shifted by (1, −0.5, 0.75) voxels."""
    center = oblique.center_xyz_mm()
    rigid = make_registration(oblique).rigid
    grid = at_spacing(_ramp(oblique, center), _ramp(aligned, center), rigid, 3.0, CPU, multiple_of=4)
    displacement = np.array([1.0, -0.5, 0.75], np.float32).reshape(3, 1, 1, 1) * np.ones(grid.geometry.shape_zyx)

    warped = grid.warped(as_tensor(displacement.astype(np.float32)))[0, 0].numpy()
    seen = grid.mask(as_tensor(displacement.astype(np.float32)))[0, 0].numpy() == 1

    mapped = transform_points(rigid, _points(grid.geometry, displacement).reshape(-1, 3)).reshape(*seen.shape, 3)
    expected = (_height_hu(mapped, center) + 1000) / 2000
    inner = seen & _deep_inside(mapped, aligned, margin_mm=6.0)
    assert all(n % 4 == 0 for n in grid.geometry.shape_zyx)
    assert grid.geometry.spacing_xyz_mm == (3.0, 3.0, 3.0)
    assert inner.sum() > 100
    np.testing.assert_allclose(warped[inner], expected[inner], atol=1e-4)
    fixed = (_height_hu(_points(grid.geometry), center) + 1000) / 2000
    deep = _deep_inside(_points(grid.geometry), oblique, margin_mm=6.0)
    np.testing.assert_allclose(grid.fixed[0, 0].numpy()[deep], fixed[deep], atol=1e-4)


def _deep_inside(points_mm: np.ndarray, geometry: Geometry, margin_mm: float) -> np.ndarray:
    """Further from the faces of an image than its filter and the borders of the reduced grid reach."""
    index = geometry.indices(points_mm.reshape(-1, 3)).reshape(points_mm.shape)
    margin = margin_mm / np.asarray(geometry.spacing_xyz_mm)
    return np.all((index >= margin) & (index <= np.asarray(geometry.size_xyz) - 1 - margin), axis=-1)


@pytest.mark.parametrize("box", [Box(8, 20, 6, 15, 4, 12), Box(0, 12, 10, 23, 0, 17)])
def test_a_crop_shows_what_the_whole_warp_shows_there(oblique, aligned, make_registration, box: Box) -> None:
    """Sampling the box alone is the full warp cut to the box, to 1e-5 of normalised units (0.02 HU)."""
    hu = np.random.default_rng(4).uniform(-900, 400, aligned.shape_zyx).astype(np.float32)
    moving = Volume(hu, aligned, np.ones(hu.shape, bool))
    registration = make_registration(oblique)
    inside = as_tensor(registration.displacement_vox[(slice(None), *box.slices_zyx)])

    grid = on_crop(_ramp(oblique, oblique.center_xyz_mm()), moving, registration.rigid, box, inside, CPU)

    expected = normalized(warped_volume(moving, registration)[box.slices_zyx])
    seen = grid.mask(inside)[0, 0].numpy() == 1
    assert seen.sum() > 150
    np.testing.assert_allclose(grid.warped(inside)[0, 0].numpy()[seen], expected[seen], atol=1e-5)


def test_the_gradient_in_a_crop_is_that_of_the_whole_warp(oblique, aligned, make_registration) -> None:
    box = Box(8, 20, 6, 15, 4, 12)
    hu = np.random.default_rng(4).uniform(-900, 400, aligned.shape_zyx).astype(np.float32)
    fixed, moving = _ramp(oblique, oblique.center_xyz_mm()), Volume(hu, aligned, np.ones(hu.shape, bool))
    registration = make_registration(oblique)

    def gradient(region: Box) -> torch.Tensor:
        inside = as_tensor(registration.displacement_vox[(slice(None), *region.slices_zyx)]).requires_grad_()
        grid = on_crop(fixed, moving, registration.rigid, region, inside.detach(), CPU)
        cut = (..., *box.inside(region).slices_zyx)
        loss = ((grid.warped(inside)[cut] - grid.fixed[cut]) ** 2).mean()
        (found,) = torch.autograd.grad(loss, inside)
        return found[cut]

    torch.testing.assert_close(gradient(box), gradient(Box.whole(oblique.shape_zyx)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("where", ["fixed", "moving"])
def test_what_a_scanner_did_not_see_is_masked_on_both_grids(aligned: Geometry, where: str) -> None:
    """The lower half along x was not seen; the mask is zero there and one in the rest."""
    volume = _ramp(aligned, aligned.center_xyz_mm())
    valid = volume.valid.copy()
    valid[..., :14] = False
    half = replace(volume, valid=valid)
    fixed, moving = (half, volume) if where == "fixed" else (volume, half)
    whole = Box.whole(aligned.shape_zyx)
    still = torch.zeros(1, 3, *aligned.shape_zyx)

    crop = on_crop(fixed, moving, np.eye(4), whole, still, CPU)
    reduced = at_spacing(fixed, moving, np.eye(4), 2.6, CPU)
    mask = reduced.mask(torch.zeros(1, 3, *reduced.geometry.shape_zyx))[0, 0].bool().numpy()

    np.testing.assert_array_equal(crop.mask(still)[0, 0].numpy() == 1, valid)
    x_index = aligned.indices(_points(reduced.geometry).reshape(-1, 3))[:, 0].reshape(mask.shape)
    assert mask.any()
    assert x_index[mask].min() >= 14 - 0.01
    assert mask[(x_index > 17) & _deep_inside(_points(reduced.geometry), aligned, margin_mm=3.0)].all()


def test_open_air_is_not_near_the_patient() -> None:
    """A block of tissue 40 × 36 × 50 mm in air; 5 mm beyond it are 2 voxels of 3 mm."""
    geometry = Geometry((30, 32, 34), (3.0, 3.0, 3.0))
    hu = np.full(geometry.shape_zyx, -1000.0, np.float32)
    hu[7:24, 10:22, 11:24] = 40.0
    fixed = Volume(hu, geometry, np.ones(hu.shape, bool))
    box = Box(6, 28, 4, 30, 3, 27)
    still = torch.zeros(1, 3, *box.shape_zyx)

    whole = near_patient(fixed, at_spacing(fixed, fixed, np.eye(4), 3.0, CPU))
    crop = near_patient(fixed, on_crop(fixed, fixed, np.eye(4), box, still, CPU), box)[0, 0].numpy()

    body = body_of(fixed)[box.slices_zyx]
    far = ndimage.distance_transform_cdt(~body, "chessboard") > 2
    assert body.any()
    assert far.any()
    np.testing.assert_array_equal(crop == 0, far)
    assert 0 < whole.mean() < 1


def test_where_no_patient_is_found_everything_counts() -> None:
    geometry = Geometry((12, 13, 14), (3.0, 3.0, 3.0))
    fixed = Volume(np.full(geometry.shape_zyx, -1000.0, np.float32), geometry, np.ones(geometry.shape_zyx, bool))

    assert near_patient(fixed, at_spacing(fixed, fixed, np.eye(4), 3.0, CPU)).all()
