"""Planes at any angle, against SimpleITK and against functions that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from engine.geometry import Geometry
from engine.registration import Registration
from engine.spatial.jacobian import jacobian_determinant
from engine.spatial.oblique import Section, determinants
from engine.spatial.section import CarriedLabels, MovedImage
from engine.volume import PADDING_HU, Volume
from tests.conftest import rotation

GRID = Geometry((9, 14, 21), (1.3, 2.1, 4.7), (-31.0, 12.0, 77.0), tuple(map(tuple, rotation(12.0, -17.0, 23.0))))
_TILTED = rotation(-8.0, 31.0, 4.0)
PLANE = Geometry(
    (1, 31, 43),
    (0.9, 1.1, 1.0),
    tuple(GRID.center_xyz_mm() - _TILTED @ (19.0, 16.0, 0.3)),
    tuple(map(tuple, _TILTED)),
)
"""One slice that leaves the grid on all sides."""


def section_of(plane: Geometry, grid: Geometry) -> Section:
    matrix = (grid.index_from_point() @ plane.point_from_index())[:3][::-1]
    return Section.plane(grid.shape_zyx, matrix[:, 3], matrix[:, 1], matrix[:, 0], plane.shape_zyx[1:])


SECTION = section_of(PLANE, GRID)
NOISE = np.random.default_rng(1).uniform(-900, 700, GRID.shape_zyx).astype(np.float32)


@pytest.mark.parametrize("how", ["linear", "nearest"])
def test_a_plane_is_resampled_as_simpleitk_does(to_sitk, how) -> None:
    """Single precision of indices, 1e-6 voxel where neighbors differ by 1600 HU; nearest may choose the other one."""
    order = sitk.sitkLinear if how == "linear" else sitk.sitkNearestNeighbor
    reference = to_sitk(np.zeros(PLANE.shape_zyx), PLANE)
    resampled = sitk.Resample(to_sitk(NOISE, GRID), reference, sitk.Transform(), order, 0.0)
    expected = sitk.GetArrayFromImage(resampled)[0]
    found = getattr(SECTION, how)(NOISE)
    assert 0.2 < (expected != 0).mean() < 0.9
    np.testing.assert_array_equal(SECTION.seen, expected != 0)
    assert (np.abs(found - expected) < 0.05).mean() > (0.9999 if how == "linear" else 0.998)


def test_padding_is_not_mixed_into_what_lies_beside_it() -> None:
    holed = NOISE.copy()
    holed[4, 5:8, 9:12] = PADDING_HU
    whole, found = SECTION.hu(NOISE), SECTION.hu(holed)
    lost = found == PADDING_HU
    np.testing.assert_array_equal(found[~lost], whole[~lost])
    np.testing.assert_array_equal(SECTION.wholly(holed > PADDING_HU), ~lost)
    assert 0 < (lost & SECTION.seen).sum() < SECTION.seen.sum() / 2


@pytest.mark.parametrize("x", [8.0, 8.00003, 7.99997])
@pytest.mark.parametrize("padded", [7, 9])
def test_a_voxel_that_counts_for_nothing_takes_no_pixel_away(x, padded) -> None:
    """A grid tilted about x alone: pixels lie at whole x, but for single precision, and between voxels in z and y."""
    holed = NOISE.copy()
    holed[:, :, padded] = PADDING_HU
    tilted = Section.plane(GRID.shape_zyx, (1.2, 2.3, x), (0.2, 0.9, 0), (0, 0, 1), (9, 1))
    np.testing.assert_allclose(tilted.hu(holed), tilted.hu(NOISE), atol=0.2)
    assert tilted.wholly(holed > PADDING_HU).all()
    assert (tilted.hu(NOISE) > PADDING_HU).all()


def test_the_last_voxel_counts_alone_at_the_end_of_the_grid() -> None:
    holed = NOISE.copy()
    holed[:, :, :-1] = PADDING_HU
    for x in (20.0, 20.4):
        assert Section.point(GRID.shape_zyx, (3, 7, x)).hu(holed)[0, 0] == NOISE[3, 7, 20]


def test_an_array_that_is_no_block_of_memory_is_read_too() -> None:
    np.testing.assert_array_equal(SECTION.hu(NOISE[:, :, ::-1]), SECTION.hu(NOISE[:, :, ::-1].copy()))
    assert (SECTION.linear(np.broadcast_to(np.float32(3), GRID.shape_zyx))[SECTION.seen] == 3).all()


def test_one_pixel_at_a_voxel_has_its_value() -> None:
    assert Section.point(GRID.shape_zyx, (3, 7, 20)).hu(NOISE)[0, 0] == NOISE[3, 7, 20]
    middle = Section.point(GRID.shape_zyx, (3, 7.5, 20)).hu(NOISE)[0, 0]
    assert middle == pytest.approx(NOISE[3, 7:9, 20].mean(), abs=1e-3)
    assert Section.point(GRID.shape_zyx, (3, 7, 20.6)).hu(NOISE)[0, 0] == PADDING_HU


def test_the_determinant_is_that_of_the_cell_that_a_pixel_lies_in() -> None:
    displacement = np.random.default_rng(2).normal(0, 0.4, (3, *GRID.shape_zyx)).astype(np.float32)
    whole = jacobian_determinant(displacement)
    at = Section.point(GRID.shape_zyx, (3.9, 7.2, 11.0))
    assert determinants(at, displacement)[0, 0] == pytest.approx(whole[3, 7, 11], abs=1e-5)
    found = determinants(SECTION, displacement)
    assert (found[~SECTION.seen] == 1).all()
    assert np.isin(found[SECTION.seen], whole).mean() > 0.99  # the same formula on the same numbers


def test_beyond_the_grid_nothing_changes_its_volume() -> None:
    beyond = Section.plane(GRID.shape_zyx, (-20, 0, 0), (0, 1, 0), (0, 0, 1), (4, 5))
    assert not beyond.seen.any()
    np.testing.assert_array_equal(determinants(beyond, np.ones((3, *GRID.shape_zyx), np.float32)), np.ones((4, 5)))


def test_what_is_cut_where_it_is_looked_at_is_that_of_the_whole(oblique, aligned, make_registration) -> None:
    """Every pixel of a slice of the fixed grid, as a section of it: single precision of indices, 1300 HU a voxel."""
    registration = make_registration(oblique)
    hu = np.random.default_rng(3).uniform(-900, 400, aligned.shape_zyx).astype(np.float32)
    valid = np.ones(aligned.shape_zyx, bool)
    valid[:, :3, :4] = False
    moved = MovedImage.of(Volume(hu, aligned, valid), oblique, registration.rigid)
    slice_4 = Section.plane(oblique.shape_zyx, (4, 0, 0), (0, 1, 0), (0, 0, 1), oblique.shape_zyx[1:])
    whole, found = moved[4, :, :], moved.on(slice_4)
    assert 0.1 < (whole > PADDING_HU).mean() < 1
    alike = np.abs(whole - found) < 0.1
    assert alike.mean() > 0.995, "but for voxels whose mask is cut a hair's breadth from whole"
    labels = np.random.default_rng(5).integers(1, 6, aligned.shape_zyx).astype(np.uint8)
    for displacement in (registration.displacement_vox, None):
        carried = CarriedLabels(labels, aligned, oblique, registration.rigid, displacement)
        assert (carried.on(slice_4) == carried[4, :, :]).mean() > 0.995
        assert carried.on(slice_4).any()


def test_a_displacement_is_taken_from_between_voxels() -> None:
    """u = a + B x is linear, so a pixel between voxels is where x + u says, to single precision."""
    index = np.indices(GRID.shape_zyx).astype(np.float64)
    slope = np.array([[0.02, 0.01, -0.03], [0.05, -0.04, 0.0], [0.01, 0.02, 0.03]])
    displacement = (np.einsum("ij,jzyx->izyx", slope, index) + 0.3).astype(np.float32)
    there = SECTION.mapped(np.eye(3), (100, 100, 100), (400, 400, 400), displacement)
    inner = Section(GRID.shape_zyx, SECTION.seen, SECTION.positions)
    expected = inner.positions + slope @ np.clip(inner.positions, 0, np.array([[8], [13], [20]])) + 0.3 + 100
    np.testing.assert_allclose(there.positions, expected, atol=1e-4)


def test_a_registration_without_displacement_needs_none(oblique, aligned, make_registration) -> None:
    plain = replace(Registration.identity(oblique), rigid=make_registration(oblique).rigid)
    labels = np.random.default_rng(5).integers(0, 6, aligned.shape_zyx).astype(np.uint8)
    carried = CarriedLabels.of(labels, aligned, plain)
    section = section_of(PLANE, oblique)
    np.testing.assert_array_equal(carried.on(section), replace(carried, displacement_vox=None).on(section))
