from __future__ import annotations

import numpy as np
import pytest

from engine.errors import InputError
from engine.metrics import field_figures, folded_places, overlap, rmse_hu, target_registration_error

SPACING_ZYX_MM = (3.0, 2.0, 1.0)


def _mask(shape: tuple[int, int, int], z: slice, y: slice, x: slice) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[z, y, x] = True
    return mask


def test_rmse_counts_the_mask_alone() -> None:
    """Differences 3 and 4 count: the root of 12.5."""
    fixed = np.array([[[100.0, -50.0, 7.0]]], np.float32)
    warped = np.array([[[103.0, -46.0, 9000.0]]], np.float32)

    assert rmse_hu(fixed, warped, np.array([[[True, True, False]]])) == pytest.approx(12.5**0.5)
    assert np.isnan(rmse_hu(fixed, warped, np.zeros((1, 1, 3), bool)))


def test_target_registration_error_by_hand() -> None:
    """Distances 5, 0, 13 and 2 mm; the 95th percentile lies 0.85 of the way from 5 to 13."""
    moving = np.array([[10.0, 20, 30], [0, 0, 0], [-5, 4, 1], [7, 7, 7]])
    mapped = moving + np.array([[3, -4, 0], [0, 0, 0], [-3, 4, 12], [0, 2, 0]])

    figures = target_registration_error(mapped, moving)

    assert figures.count == 4
    assert (figures.mean, figures.median, figures.maximum) == pytest.approx((5.0, 3.5, 13.0))
    assert figures.percentile_95 == pytest.approx(5 + 0.85 * 8)


@pytest.mark.parametrize("counts", [(3, 2), (0, 0)])
def test_points_that_do_not_pair_up_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"got {counts[0]} and {counts[1]}"):
        target_registration_error(*(np.zeros((count, 3)) for count in counts))


@pytest.mark.parametrize(("axis", "step_mm"), [(0, 3.0), (1, 2.0), (2, 1.0)])
def test_two_plates_lie_as_far_apart_as_their_axis_says(axis: int, step_mm: float) -> None:
    """Plates of one voxel, two voxels apart."""
    first, second = np.zeros((2, 8, 9, 10), bool)
    np.moveaxis(first, axis, 0)[2, 1:5, 2:7] = True
    np.moveaxis(second, axis, 0)[4, 1:5, 2:7] = True

    figures = overlap(first, second, SPACING_ZYX_MM)

    assert (figures.dice, figures.hd95_mm, figures.mda_mm) == pytest.approx((0.0, 2 * step_mm, 2 * step_mm))


def test_a_cube_shifted_by_a_voxel() -> None:
    """4³ voxels, one voxel of 1 mm along x, 48 of 64 shared.

    Of the 56 surface voxels those of the free face (16) and the middle of the opposite face (4) lie 1 mm off, all
    others on the other surface: 20 / 56 mm on average, both ways.
    """
    first = _mask((10, 10, 10), slice(3, 7), slice(2, 6), slice(1, 5))
    second = _mask((10, 10, 10), slice(3, 7), slice(2, 6), slice(2, 6))

    figures = overlap(first, second, SPACING_ZYX_MM)

    assert figures.dice == pytest.approx(0.75)
    assert figures.hd95_mm == pytest.approx(1.0)
    assert figures.mda_mm == pytest.approx(20 / 56)


def test_the_worse_direction_counts_for_hd95_and_both_for_the_mean() -> None:
    """A voxel and a row of 20 that begins there, 1 mm each: 0 one way, 0 to 19 mm the other."""
    voxel = _mask((3, 4, 30), slice(1, 2), slice(1, 2), slice(5, 6))
    row = _mask((3, 4, 30), slice(1, 2), slice(1, 2), slice(5, 25))

    figures = overlap(voxel, row, SPACING_ZYX_MM)

    assert figures.hd95_mm == pytest.approx(0.95 * 19)
    assert figures.mda_mm == pytest.approx((0 + 9.5) / 2)
    assert figures.dice == pytest.approx(2 / 21)


def test_the_faces_of_the_image_are_surface_too() -> None:
    """Two masks that fill the image agree; cut off by one layer of 3 mm they do not."""
    whole = np.ones((4, 5, 6), bool)

    assert overlap(whole, whole, SPACING_ZYX_MM).hd95_mm == 0.0
    assert overlap(whole, _mask((4, 5, 6), slice(0, 3), slice(None), slice(None)), SPACING_ZYX_MM).hd95_mm == 3.0


def test_an_empty_mask_is_refused() -> None:
    mask = np.ones((2, 3, 4), bool)

    with pytest.raises(InputError, match="one of them is empty"):
        overlap(mask, ~mask, SPACING_ZYX_MM)


def test_the_figures_of_a_linear_displacement() -> None:
    """u_x = 0.3 x − 0.1 z: determinant 1.3; mean squares 0.09 / 3 along x, 0.01 / 3 along z, over three axes."""
    z, _, x = np.meshgrid(np.arange(5), np.arange(6), np.arange(7), indexing="ij")
    displacement = np.zeros((3, 5, 6, 7), np.float32)
    displacement[2] = 0.3 * x - 0.1 * z

    figures = field_figures(displacement, np.ones((5, 6, 7), bool))

    assert figures.folding_percent == 0.0
    assert figures.min_jacobian == pytest.approx(1.3, abs=1e-5)
    assert figures.sd_log_jacobian == pytest.approx(0.0, abs=1e-5)
    assert figures.roughness == pytest.approx(0.1 / 9, rel=1e-4)


def test_folding_is_counted_in_the_mask_alone() -> None:
    """One voxel jumps back by 1.5 along x: determinant −0.5 before it, 2.5 at it; ten voxels are looked at."""
    displacement = np.zeros((3, 3, 4, 12), np.float32)
    displacement[2, 1, 1, 6] = -1.5
    row = _mask((3, 4, 12), slice(1, 2), slice(1, 2), slice(0, 10))

    figures = field_figures(displacement, row)
    elsewhere = field_figures(displacement, _mask((3, 4, 12), slice(0, 1), slice(2, 3), slice(0, 10)))

    assert figures.folding_percent == pytest.approx(10.0)
    assert figures.min_jacobian == pytest.approx(-0.5)
    assert (elsewhere.folding_percent, elsewhere.min_jacobian, elsewhere.roughness) == (0.0, 1.0, 0.0)


def test_no_voxel_at_all_folds_nowhere() -> None:
    figures = field_figures(np.zeros((3, 3, 4, 5), np.float32), np.zeros((3, 4, 5), bool))

    assert (figures.folding_percent, figures.min_jacobian, figures.roughness) == (0.0, 1.0, 0.0)


def test_folded_places_are_found_apart_the_largest_first_and_in_the_mask_alone() -> None:
    """u_x falls by 2 from one voxel to the next: the cell between folds, with a determinant of −1."""
    displacement = np.zeros((3, 6, 8, 12), np.float32)
    displacement[2, 1, 2, 3] = 2.0
    displacement[2, 3:5, 4:7, 9] = 2.5
    displacement[2, 5, 0, 6] = 3.0
    mask = np.ones((6, 8, 12), bool)
    mask[5] = False

    places = folded_places(displacement, mask)

    assert [place.voxels for place in places] == [6, 1]
    assert places[1].index_zyx == (1, 2, 3)
    assert places[1].min_jacobian == pytest.approx(-1.0)
    assert 3 <= places[0].index_zyx[0] <= 4
    assert places[0].min_jacobian == pytest.approx(-1.5)
    assert folded_places(np.zeros_like(displacement), mask) == ()
