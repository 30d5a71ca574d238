from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.geometry import Geometry
from engine.io.images import read_volume
from engine.preprocess import BONE_HU, body_box, body_mask, holds, masks_of, shrunk_to_body, valid_region, with_boxes
from engine.regions import NamedBox, Regions
from engine.roi import Box
from engine.volume import Volume

SHAPE = (6, 80, 90)
RNG = np.random.default_rng(3)


def _disc(center_yx: tuple[float, float], radius_y: float, radius_x: float) -> NDArray[np.bool_]:
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    inside: NDArray[np.bool_] = ((y - center_yx[0]) / radius_y) ** 2 + ((x - center_yx[1]) / radius_x) ** 2 <= 1
    return inside


def _noisy_patient() -> NDArray[np.float32]:
    """An elliptic body in noisy air, everywhere in the image."""
    hu = RNG.normal(-990, 15, SHAPE)
    hu[:, _disc((42, 44), 22, 30)] = 30
    return hu.astype(np.float32)


def test_padding_is_invalid_and_air_is_not() -> None:
    hu = np.full((3, 20, 20), -1000, dtype=np.float32)
    hu[0, 0, :5] = [-1024, -1199, -1200, -2048, -3024]

    assert valid_region(hu)[0, 0, :5].tolist() == [True, True, False, False, False]
    assert valid_region(hu).sum() == hu.size - 3


@pytest.mark.parametrize("constant", [-1000.0, -1024.0, 0.0])
@pytest.mark.parametrize("radii", [(39.5, 44.5), (36.0, 36.5)])
def test_outside_the_cylinder_of_a_cone_beam_ct_is_invalid(constant: float, radii: tuple[float, float]) -> None:
    hu = _noisy_patient()
    cylinder = _disc((39.5, 44.5), *radii)
    hu[:, ~cylinder] = constant

    valid = valid_region(hu)

    assert (valid == cylinder).mean() > 0.999, "voxels of noise that equal the constant may differ"
    assert not valid[:, ~cylinder].any()


def test_air_clipped_to_a_constant_is_valid() -> None:
    hu = _noisy_patient()
    hu[hu < -800] = -1000

    assert valid_region(hu).all()


def test_a_round_body_in_clipped_air_is_valid() -> None:
    hu = np.full(SHAPE, -1000, dtype=np.float32)
    hu[:, _disc((40, 45), 25, 25)] = RNG.normal(0, 20, (SHAPE[0], _disc((40, 45), 25, 25).sum()))

    assert valid_region(hu).all()


def test_a_constant_in_few_slices_is_valid() -> None:
    hu = _noisy_patient()
    hu[2, ~_disc((39.5, 44.5), 39.5, 44.5)] = -1000

    assert valid_region(hu).all()


def _thorax(lung_hu: float) -> Volume:
    """A body with one lung, over a thin couch, on a grid of 2 × 3 × 4 mm."""
    hu = RNG.normal(-1000, 10, SHAPE)
    hu[:, 74:76, 10:80] = 0
    hu[:, _disc((40, 44), 24, 34)] = 20
    hu[:, _disc((40, 32), 12, 14)] = lung_hu
    return Volume(hu.astype(np.float32), Geometry(SHAPE, (2.0, 3.0, 4.0)), np.ones(SHAPE, dtype=bool))


def test_the_body_has_its_lungs_and_no_couch() -> None:
    expected = np.broadcast_to(_disc((40, 44), 24, 34), SHAPE)

    assert (body_mask(_thorax(-850)) == expected).mean() > 0.995, (
        "a voxel at the sharpest points of the ellipse may differ"
    )


def test_a_thin_chest_wall_holds_the_lung() -> None:
    """A wall of 8 to 9 mm, as in a lean patient."""
    hu = np.array(_thorax(-850).hu)
    hu[:, _disc((40, 44), 21, 30)] = -850
    whole = Volume(hu, Geometry(SHAPE, (2.0, 3.0, 4.0)), np.ones(SHAPE, dtype=bool))

    assert body_mask(whole)[:, _disc((40, 44), 21, 30)].all()


@pytest.mark.parametrize("lung_hu", [-850.0, -950.0])
def test_a_lung_that_the_image_cuts_belongs_to_the_body(lung_hu: float) -> None:
    whole = _thorax(lung_hu)
    hu = np.ascontiguousarray(whole.hu[:, :, 22:])
    cropped = Volume(hu, Geometry(hu.shape, (2.0, 3.0, 4.0)), np.ones(hu.shape, dtype=bool))

    body = body_mask(cropped)

    assert body[:, 35:45, :20].all()
    assert not body[:, :5].any()


def test_invalid_voxels_are_no_body() -> None:
    whole = _thorax(-850)
    valid = np.ones(SHAPE, dtype=bool)
    valid[:, :, 60:] = False

    body = body_mask(Volume(whole.hu.copy(), whole.geometry, valid))

    assert not body[:, :, 60:].any()
    assert body[:, 40, 50].all()


def test_real_half_thorax(data: Path) -> None:
    """The corners beyond the scan circle are invalid; the lung, which meets the cropped edge, is body."""
    volume = read_volume(data / "lung_ct_pair" / "3DCT_lung_followup.mha")
    lung = read_volume(data / "lung_ct_pair" / "3DCT_lung_followup_mask.mha").hu > 0

    body = body_mask(volume)

    assert (volume.valid == (volume.hu > -2000)).all()
    assert body[lung].mean() > 0.995
    assert volume.hu[body & ~lung].mean() > -200
    assert not body[:, 0, :10].any()


def test_the_body_box_holds_the_patient_with_a_margin_and_stays_inside_the_image() -> None:
    """A brick of 30 × 40 × 60 mm close to one end of the grid; nothing at all gives the whole image."""
    hu = np.full((20, 30, 40), -1000, np.float32)
    hu[1:11, 10:20, 5:25] = 40
    valid = np.ones(hu.shape, bool)
    geometry = Geometry(hu.shape, (3.0, 4.0, 3.0))

    box = body_box(Volume(hu, geometry, valid), margin_mm=6.0)
    empty = body_box(Volume(np.full_like(hu, -1000), geometry, valid))

    assert box == Box(3, 27, 8, 22, 0, 13)
    assert empty == Box.whole(hu.shape)


def test_an_image_of_a_few_thin_columns_has_a_body_too() -> None:
    """Three voxels of 0.7 mm across are one of the coarse pixels in which the body is looked for."""
    geometry = Geometry((6, 30, 3), (0.7, 0.7, 2.0))
    volume = Volume(np.zeros(geometry.shape_zyx, np.float32), geometry, np.ones(geometry.shape_zyx, bool))

    assert body_mask(volume).shape == geometry.shape_zyx


def test_a_mask_of_boxes_takes_what_is_dense_enough_in_them() -> None:
    hu = np.full(SHAPE, 40, dtype=np.float32)
    hu[1, 10:20, 10] = 200
    hu[4, 50, 50] = 900
    volume = Volume(hu, Geometry(SHAPE, (1.0, 1.0, 2.0)), np.ones(SHAPE, dtype=bool))
    known = np.zeros(SHAPE, dtype=bool)
    known[0, 0, 0] = True

    marked = with_boxes(known, [Box(8, 12, 12, 40, 0, 3), Box(0, 5, 0, 5, 0, 6)], volume, 200.0)

    expected = known.copy()
    expected[1, 12:20, 10] = True
    np.testing.assert_array_equal(marked, expected)
    assert known.sum() == 1, "the mask itself is left alone"
    assert with_boxes(None, [Box(0, 5, 0, 5, 0, 6)], volume, 200.0) is None
    assert with_boxes(known, [], volume, 200.0) is known
    assert holds(Box(8, 12, 12, 40, 0, 3), volume, 200.0)
    assert not holds(Box(0, 5, 0, 5, 0, 6), volume, 200.0)


def test_boxes_and_files_make_masks_together() -> None:
    hu = np.full(SHAPE, 40, dtype=np.float32)
    hu[1, 10:20, 10] = BONE_HU
    volume = Volume(hu, Geometry(SHAPE, (1.0, 1.0, 2.0)), np.ones(SHAPE, dtype=bool))
    file = np.zeros(SHAPE, dtype=bool)
    file[0, 0, 0] = True
    bony, gas = Box(8, 12, 12, 40, 0, 3), Box(0, 5, 0, 4, 2, 3)
    boxes = (NamedBox("Region 1", bony, use="rigid"), NamedBox("Gas", gas, use="excluded"), NamedBox("Other", bony))

    rigid, excluded = masks_of(Regions(boxes, excluded=file), volume)

    assert rigid is not None
    assert excluded is not None
    assert np.argwhere(rigid).tolist() == [[1, y, 10] for y in range(12, 20)]
    assert excluded.sum() == 5 * 4 + 1
    assert masks_of(Regions(boxes[2:]), volume) == (None, None)


def test_a_box_shrinks_to_what_it_holds_of_the_patient() -> None:
    hu = np.full((5, 30, 40), -1000, dtype=np.float32)
    hu[1:, 6:25, 8:33] = 20
    volume = Volume(hu, Geometry(hu.shape, (2.0, 2.0, 3.0)), np.ones(hu.shape, bool))

    assert shrunk_to_body(Box(0, 20, 0, 12, 0, 4), volume) == Box(8, 20, 6, 12, 1, 4)
    assert shrunk_to_body(Box(10, 20, 10, 12, 1, 4), volume) == Box(10, 20, 10, 12, 1, 4)
    assert shrunk_to_body(Box(0, 7, 0, 5, 0, 4), volume) is None
