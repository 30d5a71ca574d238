from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engine.optimize.collar import COLLAR_VOX, collared, window, working_crop
from engine.optimize.commit import LARGEST_SEAM_JUMP, Committed, certify, commit
from engine.registration import Certificate
from engine.roi import Box
from engine.spatial.jacobian import jacobian_determinant

SHAPE = (44, 46, 50)
BOX = Box(16, 26, 15, 24, 14, 22)
CROP = working_crop(BOX, SHAPE)
INSIDE = (slice(None), *CROP.slices_zyx)
WEIGHT = window(BOX, CROP, SHAPE)
SPACING_ZYX_MM = (3.0, 2.0, 0.5)
CUBIC_MM = (2.0, 2.0, 2.0)


def _still() -> np.ndarray:
    return np.zeros((3, *SHAPE), np.float32)


def _rough(seed: int, amplitude: float) -> np.ndarray:
    return (amplitude * np.random.default_rng(seed).standard_normal((3, *SHAPE))).astype(np.float32)


def _shift(present: np.ndarray, vector_zyx: tuple[float, float, float]) -> Callable[[float], np.ndarray]:
    """The present displacement and a share of one vector, faded by the window."""
    faded = WEIGHT * np.asarray(vector_zyx, np.float32).reshape(3, 1, 1, 1)
    return lambda share: present[INSIDE] + np.float32(share) * faded


def _committed(
    present: np.ndarray, corrected: Callable[[float], np.ndarray], spacing_zyx_mm: tuple[float, float, float] = CUBIC_MM
) -> Committed:
    return commit(present, CROP, WEIGHT, corrected, collared(BOX, SHAPE), spacing_zyx_mm)


def _outside() -> np.ndarray:
    """Where nothing may be written: outside the crop, and inside it where the window is zero."""
    outside = np.ones(SHAPE, bool)
    outside[CROP.slices_zyx] = WEIGHT == 0
    return outside


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("length", [2.0, 4.0])
def test_a_constant_correction_squeezes_its_ramp_as_predicted(axis: int, length: float) -> None:
    """The steepest slope of a raised cosine over M voxels is π / (2 M): min det = 1 − π |v| / (2 M)."""
    vector = np.eye(3)[axis] * length

    committed = _committed(_still(), _shift(_still(), tuple(vector)))

    least = jacobian_determinant(committed.displacement_vox).min()
    assert committed.share == 1.0
    assert least == pytest.approx(1 - np.pi * length / (2 * COLLAR_VOX), rel=0.05)


def test_the_fold_guard_keeps_at_least_what_scaling_all_of_it_would() -> None:
    """As |v| = 6 over a collar of 8: slope π · 6 / 16 = 1.178. A determinant of 0.05 is left at 0.95 / 1.178 = 0.806.

    Eight halvings find the share to 1/256, the window's largest difference is its slope to 0.3 %.
    """
    length = 6.0 / 8 * COLLAR_VOX

    committed = _committed(_still(), _shift(_still(), (0.0, length, 0.0)))

    assert 0.95 / 1.178 - 1 / 256 - 0.004 < committed.share < 1.0
    assert jacobian_determinant(committed.displacement_vox).min() > 0.05


def test_the_seam_stays_smooth_where_voxels_are_flat() -> None:
    """z of 3 mm against x of 0.5 mm: the window's first step of (1 − cos(π / 13)) / 2 = 0.0145 along x is a jump of
    6 · 3 · 0.0145 / 0.5 = 0.52 mm per mm for 6 voxels along z; 0.25 leaves a share of 0.478, found to 1/256.
    """
    first = 0.5 - 0.5 * np.cos(np.pi / COLLAR_VOX)

    committed = _committed(_still(), _shift(_still(), (6.0, 0.0, 0.0)), SPACING_ZYX_MM)

    assert committed.share == pytest.approx(LARGEST_SEAM_JUMP * 0.5 / (6 * 3 * first), abs=1 / 256)
    certificate = _certificate(_still(), committed.displacement_vox)
    assert certificate.seam_gradient_jump == pytest.approx(LARGEST_SEAM_JUMP, abs=0.005)
    assert certificate.passed


@pytest.mark.parametrize("length", [3.0, 9.0])
def test_nothing_is_written_where_the_window_is_zero(length: float) -> None:
    present = _rough(1, 0.05)

    committed = _committed(present, lambda share: _shift(present, (length, 0.0, length))(share) + 1e-3)

    assert committed.share > 0
    np.testing.assert_array_equal(committed.displacement_vox[:, _outside()], present[:, _outside()])
    assert (committed.displacement_vox[:, ~_outside()] != present[:, ~_outside()]).any(axis=0).all()
    np.testing.assert_array_equal(present, _rough(1, 0.05))


@pytest.mark.parametrize("seed", range(6))
def test_no_voxel_folds_that_did_not_fold_before(seed: int) -> None:
    """A rough field, folded here and there or not at all, and a correction rough enough to fold anything."""
    present, change = _rough(seed, 0.1 + 0.05 * seed), _rough(100 + seed, 1.5)
    before = jacobian_determinant(present)

    committed = _committed(present, lambda share: present[INSIDE] + np.float32(share) * WEIGHT * change[INSIDE])

    after = jacobian_determinant(committed.displacement_vox)
    assert committed.share < 1
    assert not ((after <= 0) & (before > 0)).any()
    assert after.min() >= min(0.05, before.min())


def _folded() -> np.ndarray:
    """One fold in the box: u along x falls by 1.5 from one voxel to the next, determinant −0.5 there."""
    present = _still()
    present[2, 18, 19, 21] = -1.5
    return present


def test_an_old_fold_does_not_forbid_a_correction_elsewhere() -> None:
    present = _folded()

    committed = _committed(present, _shift(present, (0.0, 2.0, 0.0)))

    assert committed.share == 1.0
    assert jacobian_determinant(committed.displacement_vox).min() == pytest.approx(-0.5, abs=1e-5)


def test_an_old_fold_does_not_get_deeper() -> None:
    present = _folded()
    before = jacobian_determinant(present)

    committed = _committed(present, lambda share: present[INSIDE] * np.float32(1 + share))

    after = jacobian_determinant(committed.displacement_vox)
    assert committed.share < 1.0
    assert (after[before <= 0.05] >= before[before <= 0.05]).all()
    assert after.min() >= before.min()


def test_an_old_fold_costs_the_correction_only_near_it() -> None:
    """A fold of many voxels in the collar that rounding alone makes a little deeper, as a composition does."""
    present = _still()
    distance = sum((index - center) ** 2 for index, center in zip(np.indices(SHAPE), (18, 19, 34), strict=True))
    present[2] = 5.0 * np.exp(-distance / 8.0)
    before = jacobian_determinant(present)
    correction = _shift(present, (0.0, 2.0, 0.0))

    committed = _committed(present, lambda share: correction(share) + np.float32(2e-7) * present[INSIDE])

    assert (before <= 0).sum() > 10
    assert committed.share > 0.9
    assert (jacobian_determinant(committed.displacement_vox)[before <= 0] >= before[before <= 0]).all()


def test_an_old_fold_may_be_mended() -> None:
    present = _folded()

    committed = _committed(present, lambda share: present[INSIDE] * np.float32(1 - share))

    assert committed.share == 1.0
    assert not committed.displacement_vox.any()


def test_a_correction_that_is_no_number_is_not_written() -> None:
    present = _still()

    committed = _committed(present, lambda share: np.full_like(present[INSIDE], np.nan))

    assert committed.displacement_vox is present


def _certificate(
    before: np.ndarray, after: np.ndarray, error_before: float = 90.0, error_after: float = 60.0
) -> Certificate:
    return certify(before, after, collared(BOX, SHAPE), SPACING_ZYX_MM, 1.0, error_before, error_after)


def test_a_smooth_correction_passes() -> None:
    after = _committed(_still(), _shift(_still(), (0.0, 0.0, 3.0)), SPACING_ZYX_MM).displacement_vox

    certificate = _certificate(_still(), after)

    assert (certificate.max_change_outside_mm, certificate.new_folds, certificate.passed) == (0.0, 0, True)
    assert not certificate.box_error_grew


def test_the_change_outside_is_in_mm() -> None:
    """(1, 2, 4) voxels of (3, 2, 0.5) mm: the root of 9 + 16 + 4."""
    after = _still()
    after[:, 2, 40, 45] = 1.0, 2.0, 4.0

    certificate = _certificate(_still(), after)

    assert certificate.max_change_outside_mm == pytest.approx(np.sqrt(29.0))
    assert not certificate.passed


@pytest.mark.parametrize("place", [(0, 20, 20), (18, 1, 20), (18, 19, 49), (18, 19, 2), (18, 37, 20)])
def test_no_voxel_outside_is_overlooked(place: tuple[int, int, int]) -> None:
    """Box and collar are x 3 to 39, y 2 to 37, z 1 to 35."""
    after = _still()
    after[(0, *place)] = 1e-30

    assert _certificate(_still(), after).max_change_outside_mm > 0
    assert not _certificate(_still(), after).passed


def test_a_displacement_that_is_no_number_fails() -> None:
    after = _still()
    after[:, 0, 0, 0] = np.nan

    assert not _certificate(_still(), after).passed


def test_only_new_folds_are_counted() -> None:
    """Along x: −1.5 then back makes one voxel of determinant −0.5 and one of 2.5; the old fold does not count."""
    after = _folded()
    after[2, 18, 19, 28] = -1.5

    certificate = _certificate(_folded(), after)

    assert certificate.new_folds == 1
    assert not certificate.passed


def test_a_box_error_that_grew_fails() -> None:
    certificate = _certificate(_still(), _still(), 90.0, 90.1)

    assert certificate.box_error_grew
    assert not certificate.passed


def test_no_change_passes_with_nothing_to_report() -> None:
    present = _rough(2, 0.4)

    certificate = _certificate(present, present, 90.0, 90.0)

    assert (certificate.max_change_outside_mm, certificate.seam_gradient_jump) == (0.0, 0.0)
    assert certificate.passed


@pytest.mark.parametrize(("axis", "spacing_mm"), [(0, 3.0), (1, 2.0), (2, 0.5)])
def test_the_seam_jump_is_the_slope_of_the_change_there(axis: int, spacing_mm: float) -> None:
    """A plateau of 0.5 voxel along x (0.25 mm) that begins at once on the lower face: 0.25 mm over one voxel."""
    allowed = collared(BOX, SHAPE)
    after = _still()
    slices = list(allowed.slices_zyx)
    slices[axis] = slice(slices[axis].start, slices[axis].start + 8)
    for other in {0, 1, 2} - {axis}:
        middle = (slices[other].start + slices[other].stop) // 2
        slices[other] = slice(middle, middle + 1)
    after[(2, *slices)] = 0.5

    certificate = _certificate(_still(), after)

    assert certificate.seam_gradient_jump == pytest.approx(0.25 / spacing_mm)
    assert certificate.passed == (0.25 / spacing_mm <= LARGEST_SEAM_JUMP)


def test_a_face_of_the_image_is_no_seam() -> None:
    """Box and collar as large as the image: whatever changes there jumps nowhere."""
    after = _still() + np.float32(1.0)

    certificate = certify(_still(), after, Box.whole(SHAPE), SPACING_ZYX_MM, 1.0, 90.0, 60.0)

    assert certificate.seam_gradient_jump == 0.0
    assert certificate.passed
