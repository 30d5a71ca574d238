from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from engine.errors import InputError
from engine.phantom.thorax import PhantomPair, random_thorax, thorax_pair

SIZE_XYZ = (61, 52, 45)
SPACING_XYZ_MM = (5.3, 5.6, 6.5)


def center_of(pair: PhantomPair, labels: np.ndarray, organ: str) -> np.ndarray:
    z, y, x = ndimage.center_of_mass(labels == pair.organs[organ])
    return pair.fixed.geometry.points([[x, y, z]])[0]


def volume_of(pair: PhantomPair, organ: str) -> int:
    return int(np.sum(pair.moving_labels == pair.organs[organ]))


def sampling(pair: PhantomPair) -> tuple[np.ndarray, np.ndarray]:
    """Where u leads, as indices z y x, and whether that is inside the image by a voxel."""
    at = np.indices(pair.displacement_vox.shape[1:]) + pair.displacement_vox
    inside = np.all([(at[k] >= 1) & (at[k] <= at.shape[k + 1] - 2) for k in range(3)], axis=0)
    return at, inside


def test_grids_and_types(pair):
    shape = SIZE_XYZ[::-1]
    assert pair.fixed.geometry == pair.moving.geometry
    assert pair.fixed.geometry.spacing_xyz_mm == SPACING_XYZ_MM
    assert pair.displacement_vox.shape == (3, *shape)
    for image in (pair.fixed.hu, pair.moving.hu, pair.clean_fixed_hu, pair.clean_moving_hu):
        assert (image.shape, image.dtype) == (shape, np.float32)
    for labels in (pair.fixed_labels, pair.moving_labels):
        assert (labels.shape, labels.dtype) == (shape, np.uint8)
    assert pair.moving.valid.all()
    assert not pair.fixed.valid.all()


def test_same_arguments_same_pair(pair):
    again = thorax_pair(3, SIZE_XYZ, SPACING_XYZ_MM, projections=40)
    np.testing.assert_array_equal(pair.fixed.hu, again.fixed.hu)
    np.testing.assert_array_equal(pair.moving.hu, again.moving.hu)
    np.testing.assert_array_equal(pair.displacement_vox, again.displacement_vox)
    np.testing.assert_array_equal(pair.fixed_points_mm, again.fixed_points_mm)


def test_moving_image_carried_by_the_field_is_the_fixed_image(pair):
    at, inside = sampling(pair)
    warped = ndimage.map_coordinates(pair.clean_moving_hu, at, order=1, mode="nearest")
    error = (warped - pair.clean_fixed_hu)[inside]
    before = (pair.clean_moving_hu - pair.clean_fixed_hu)[inside]
    # Both are exact samples of one anatomy; what is left is linear interpolation between voxels 6 mm apart, largest
    # at edges, which are as wide as a voxel, and in the texture, which varies over 10 mm.
    assert np.sqrt(np.mean(error**2)) < 0.33 * np.sqrt(np.mean(before**2))
    assert np.median(np.abs(error)) < 6
    assert abs(error.mean()) < 2


@pytest.mark.parametrize("axis", range(3))
def test_no_field_near_the_true_one_fits_better(pair, axis):
    at, inside = sampling(pair)
    errors = []
    for off_vox in (0.0, -0.2, 0.2):
        moved = at + off_vox * np.eye(3)[axis].reshape(3, 1, 1, 1)
        warped = ndimage.map_coordinates(pair.clean_moving_hu, moved, order=3, mode="nearest")
        errors.append(np.mean(((warped - pair.clean_fixed_hu)[inside]) ** 2))
    assert errors[0] < min(errors[1:])


def test_fixed_image_lies_between_the_moving_voxels_around(pair):
    at, inside = sampling(pair)
    cell = np.floor(at[:, inside]).astype(int)
    corners = [pair.clean_moving_hu[tuple(cell + np.reshape(step, (3, 1)))] for step in np.ndindex(2, 2, 2)]
    fixed = pair.clean_fixed_hu[inside]
    outside = np.maximum(fixed - np.max(corners, axis=0), np.min(corners, axis=0) - fixed)
    # Only structures thinner than a voxel (small vessels, cortex of bones) can pass between its corners.
    assert np.mean(outside > 25) < 0.02


def test_labels_follow_the_field(pair):
    at, inside = sampling(pair)
    warped = ndimage.map_coordinates(pair.moving_labels, at, order=0, mode="nearest")
    # Nearest-neighbour look-up is off by up to half a voxel, at surfaces only.
    assert np.mean((warped == pair.fixed_labels)[inside]) > 0.95


def test_points_agree_with_the_field(pair):
    index = pair.fixed.geometry.indices(pair.fixed_points_mm)
    vox = [ndimage.map_coordinates(part, index.T[::-1], order=3) for part in pair.displacement_vox]
    moved = pair.fixed_points_mm + np.stack(vox[::-1], axis=1) * SPACING_XYZ_MM
    # Cubic interpolation of a field that bends over 30 mm, sampled every 6 mm.
    np.testing.assert_allclose(moved, pair.moving_points_mm, atol=0.2)


def test_points_are_many_inside_and_on_structures(pair):
    geometry = pair.fixed.geometry
    assert len(pair.fixed_points_mm) >= 40
    for points, labels in ((pair.fixed_points_mm, pair.fixed_labels), (pair.moving_points_mm, pair.moving_labels)):
        index = np.rint(geometry.indices(points)).astype(int)
        x, y, z = index.T
        assert np.all((index > 0) & (index < np.array(SIZE_XYZ) - 1))
        assert labels[z[0], y[0], x[0]] == pair.organs["tumour"]
        assert labels[z[1], y[1], x[1]] == pair.organs["trachea"]
    x, y, z = np.rint(geometry.indices(pair.fixed_points_mm)).astype(int).T
    assert pair.fixed.valid[z, y, x].all()


def test_heart_and_spleen_are_left_liver_right_spine_behind(pair):
    for labels in (pair.fixed_labels, pair.moving_labels):
        spine = center_of(pair, labels, "spine")
        assert center_of(pair, labels, "heart")[0] > spine[0] + 10
        assert center_of(pair, labels, "spleen")[0] > spine[0] + 40
        assert center_of(pair, labels, "liver")[0] < spine[0] - 20
        assert center_of(pair, labels, "lung_right")[0] < spine[0] < center_of(pair, labels, "lung_left")[0]
        assert center_of(pair, labels, "heart")[1] < spine[1] - 40
        assert center_of(pair, labels, "liver")[2] < center_of(pair, labels, "heart")[2]


def test_every_organ_is_there_and_the_lungs_differ(pair):
    for organ, value in pair.organs.items():
        assert np.any(pair.moving_labels == value), organ
    assert volume_of(pair, "lung_right") > 1.03 * volume_of(pair, "lung_left")


def test_densities_are_those_of_tissue(pair):
    def median(organ: str) -> float:
        return float(np.median(pair.clean_moving_hu[pair.moving_labels == pair.organs[organ]]))

    assert -920 < median("lung_right") < -700
    assert 30 < median("liver") < 100
    assert 20 < median("heart") < 100
    assert median("ribs") > 150
    assert np.median(pair.clean_moving_hu[pair.moving_labels == 0]) == -1000


def test_liver_moves_as_the_diaphragm_does():
    for seed in (1, 2):
        pair = thorax_pair(seed, (40, 36, 40), (8.0, 8.0, 7.5))
        tops = [
            np.nonzero(labels == pair.organs["liver"])[0].max() for labels in (pair.moving_labels, pair.fixed_labels)
        ]
        raised = 7.5 * (tops[0] - tops[1])
        # Beside breathing: set-up 3 mm, random field up to 6 mm, a voxel of 7.5 mm.
        assert raised == pytest.approx(pair.diaphragm_mm, abs=14)
        assert raised * pair.diaphragm_mm > 0


@pytest.mark.parametrize(
    ("size_xyz", "spacing_xyz_mm"),
    [((8, 8, 8), (40.0, 40.0, 40.0)), ((33, 21, 9), (1.0, 2.0, 9.0)), ((17, 30, 70), (9, 9, 9))],
)
def test_any_grid_will_do(size_xyz, spacing_xyz_mm):
    pair = thorax_pair(0, size_xyz, spacing_xyz_mm, projections=10)
    assert pair.clean_fixed_hu.shape == size_xyz[::-1]
    assert np.isfinite(pair.displacement_vox).all()
    assert np.any(pair.moving_labels)


def test_too_small_a_grid_is_refused():
    with pytest.raises(InputError, match="at least 8 voxels"):
        thorax_pair(0, (64, 64, 3))


def test_random_chests_differ_and_repeat():
    first, again, other = (random_thorax(np.random.default_rng(s), (40, 36, 42), 7.0) for s in (1, 1, 2))
    assert (first.shape, first.dtype) == ((40, 36, 42), np.float32)
    np.testing.assert_array_equal(first, again)
    assert np.sqrt(np.mean((first - other) ** 2)) > 100
