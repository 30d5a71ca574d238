from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from engine.geometry import Geometry, transform_points
from engine.registration import Registration
from engine.spatial import resample
from engine.spatial.resample import (
    as_array,
    as_tensor,
    displacement_on,
    gaussian,
    index_map,
    low_pass,
    resampled,
    resampled_slabs,
    resized_displacement,
)

INDEX_XYZ = np.array([[0.0, 0, 0], [3, 11, 7], [28.5, 0.25, 16], [-2, 30, 4]])


@pytest.fixture
def finer() -> Geometry:
    """A smaller voxel than `oblique` has, turned the other way, partly outside of it."""
    turn = np.deg2rad(-14.0)
    direction = ((np.cos(turn), 0.0, -np.sin(turn)), (0.0, 1.0, 0.0), (np.sin(turn), 0.0, np.cos(turn)))
    return Geometry((13, 18, 21), (1.1, 1.7, 1.9), (-26.0, 55.0, -402.0), direction)


def test_an_index_map_leads_to_the_same_point(oblique: Geometry, finer: Geometry) -> None:
    there = transform_points(index_map(oblique, finer), INDEX_XYZ)

    np.testing.assert_allclose(finer.points(there), oblique.points(INDEX_XYZ), atol=1e-9)


def test_an_index_map_can_lead_through_a_map_of_points(
    oblique: Geometry, finer: Geometry, make_registration: Callable[[Geometry], Registration]
) -> None:
    rigid = make_registration(oblique).rigid

    there = transform_points(index_map(oblique, finer, rigid), INDEX_XYZ)

    np.testing.assert_allclose(finer.points(there), transform_points(rigid, oblique.points(INDEX_XYZ)), atol=1e-9)


@pytest.fixture
def parallel(oblique: Geometry) -> Geometry:
    """Smaller voxels along the same axes, partly outside."""
    x, y, z = oblique.spacing_xyz_mm
    corner = oblique.points(np.array([[-2.3, 1.6, 0.4]]))[0]
    return Geometry((9, 31, 17), (0.8 * x, 0.4 * y, z), tuple(corner), oblique.direction)


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("grid", ["finer", "parallel"])
def test_resampling_is_that_of_simpleitk(
    through: bool, grid: str, oblique: Geometry, request, make_registration, to_sitk, to_affine
) -> None:
    """No voxel grows, so nothing is filtered. Values of s.d. 1, float32 indices good to 1e-5 voxel."""
    finer = request.getfixturevalue(grid)
    values = np.random.default_rng(3).standard_normal(oblique.shape_zyx).astype(np.float32)
    rigid = make_registration(oblique).rigid if through else None

    result = resampled(as_tensor(values), oblique, finer, rigid)[0, 0].numpy()

    transform = sitk.Transform() if rigid is None else to_affine(rigid)
    reference = to_sitk(np.zeros(finer.shape_zyx), finer)
    expected = sitk.GetArrayFromImage(
        sitk.Resample(to_sitk(values, oblique), reference, transform, sitk.sitkLinear, -99.0)
    )
    inside = expected != -99.0
    assert 0.3 < inside.mean() < 1.0
    np.testing.assert_allclose(result[inside], expected[inside], atol=1e-4)


@pytest.mark.parametrize("grid", ["finer", "parallel"])
def test_vectors_keep_their_length_and_direction_in_the_patient(
    grid: str, oblique: Geometry, request, make_registration, to_sitk
) -> None:
    """In mm, LPS, a displacement is the same on every grid; in voxels of the grid it is another."""
    finer = request.getfixturevalue(grid)
    displacement = make_registration(oblique).displacement_vox

    found = as_array(resized_displacement(as_tensor(displacement), oblique, finer))

    in_mm = to_sitk(_mm(displacement, oblique), oblique)
    expected = sitk.GetArrayFromImage(
        sitk.Resample(in_mm, to_sitk(np.zeros(finer.shape_zyx), finer), sitk.Transform(), sitk.sitkLinear, 0.0)
    )
    inside = expected.any(axis=-1)
    assert 0.3 < inside.mean() < 1.0
    np.testing.assert_allclose(_mm(found, finer)[inside], expected[inside], atol=1e-4)


def _mm(displacement_vox: np.ndarray, geometry: Geometry) -> np.ndarray:
    steps_mm = np.asarray(geometry.direction) * np.asarray(geometry.spacing_xyz_mm)
    return np.einsum("ij,jzyx->zyxi", steps_mm, displacement_vox[::-1])


@pytest.mark.parametrize("spacing_xyz_mm", [(2.9, 4.0, 7.1), (1.3, 2.0, 3.0)])
def test_parallel_grids_give_what_any_grid_gives(oblique: Geometry, spacing_xyz_mm, monkeypatch) -> None:
    """Filter and interpolation as one matrix for each axis, against a filter and then positions."""
    values = as_tensor(np.random.default_rng(4).standard_normal(oblique.shape_zyx).astype(np.float32))
    target = oblique.resampled(spacing_xyz_mm)

    found = resampled(values, oblique, target)

    monkeypatch.setattr(resample, "is_axis_by_axis", lambda to_source: False)
    torch.testing.assert_close(found, resampled(values, oblique, target), atol=1e-4, rtol=0)


@pytest.mark.parametrize("spacing_xyz_mm", [(2.9, 4.0, 7.1), (1.0, 1.5, 2.0), None])
def test_slab_by_slab_gives_the_same(oblique: Geometry, finer: Geometry, spacing_xyz_mm, monkeypatch) -> None:
    values = np.random.default_rng(5).standard_normal(oblique.shape_zyx).astype(np.float32)
    target = finer if spacing_xyz_mm is None else oblique.resampled(spacing_xyz_mm)
    monkeypatch.setattr(resample, "_VOXELS_AT_ONCE", 3 * values[0].size + 1)

    for wanted in (target, oblique):
        found = resampled_slabs(values.__getitem__, oblique, wanted, torch.device("cpu"))
        torch.testing.assert_close(found, resampled(as_tensor(values), oblique, wanted), atol=1e-5, rtol=0)


@pytest.mark.parametrize("spacing_xyz_mm", [(4.0, 4.5, 6.0), (1.0, 1.5, 2.0), None])
def test_an_array_is_resized_as_a_tensor_is(oblique: Geometry, finer: Geometry, spacing_xyz_mm) -> None:
    displacement = np.random.default_rng(2).normal(0, 2, (3, *oblique.shape_zyx)).astype(np.float32)
    displacement.flags.writeable = False
    target = finer if spacing_xyz_mm is None else oblique.resampled(spacing_xyz_mm)

    expected = resized_displacement(as_tensor(displacement), oblique, target)

    torch.testing.assert_close(displacement_on(displacement, oblique, target), expected, atol=1e-5, rtol=0)


def test_edge_vectors_continue_outside() -> None:
    """The larger grid begins 10 mm before the smaller one; a vector of 3 voxels of 2 mm has 6 voxels of 1 mm."""
    small, large = Geometry((3, 4, 5), (2.0, 2.0, 2.0)), Geometry((6, 7, 30), (1.0, 1.0, 1.0), (-10.0, 0.0, 0.0))
    displacement = torch.zeros(1, 3, *small.shape_zyx)
    displacement[:, 2] = 3.0

    larger = resized_displacement(displacement, small, large)

    torch.testing.assert_close(larger[:, 2], torch.full((1, 6, 7, 30), 6.0), atol=1e-5, rtol=0)
    assert not larger[:, :2].any()


def test_only_axes_whose_voxels_grow_are_filtered() -> None:
    """From 2 mm to 2, 4 and 1 mm: the s.d. is half the root of 4 − 1 voxels along y and nothing else."""
    source = Geometry((15, 15, 15), (2.0, 2.0, 2.0))
    impulse = torch.zeros(1, 1, 15, 15, 15)
    impulse[0, 0, 7, 7, 7] = 1.0

    response = low_pass(impulse, source, Geometry((15, 8, 30), (1.0, 4.0, 2.0)))[0, 0]

    along_y = response[7, :, 7]
    offsets = torch.arange(15) - 7.0
    assert along_y.sum().item() == pytest.approx(1.0, abs=1e-6)
    assert response.sum().item() == pytest.approx(1.0, abs=1e-6)
    assert (along_y * offsets**2).sum().item() == pytest.approx(0.75, rel=0.03), "cut off at three s.d."


def test_a_filter_keeps_a_constant_up_to_the_edges() -> None:
    constant = torch.full((1, 2, 3, 5, 4), 700.0)

    torch.testing.assert_close(gaussian(constant, [2.0, 0.7, 1.1]), constant, atol=1e-3, rtol=0)


def test_arrays_and_tensors_do_not_share_memory() -> None:
    displacement = np.random.default_rng(0).standard_normal((3, 2, 4, 5)).astype(np.float32)
    displacement.flags.writeable = False

    tensor = as_tensor(displacement)
    same = as_array(tensor).copy()
    tensor.zero_()

    assert tensor.shape == (1, 3, 2, 4, 5)
    np.testing.assert_array_equal(same, displacement)
    assert displacement.any()
