from __future__ import annotations

import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.geometry import Geometry, Triple
from engine.io.images import read_volume
from engine.models import MODELS, unlike_training
from engine.models.domain import Appearance, Domain
from engine.phantom.thorax import thorax_pair
from engine.roi import Box
from engine.volume import Volume

DOMAIN = Domain("chests", ("CT", "CBCT"), (0.3, 5.5), 120.0, 5.0, 20.0)
SPACING_XYZ_MM = (5.0, 5.2, 5.4)
"""Nearest to the 6 mm that are looked at, so that every voxel is."""


def box_patient(
    lung_hu: float = -800.0, tissue_hu: float = 30.0, modality: str = "CT", spacing_xyz_mm: Triple = SPACING_XYZ_MM
) -> Volume:
    """Tissue of 20 × 20 voxels (y, x) in air, a lung of 10 × 8 in it: a fifth of the body; 24 slices."""
    hu = np.full((24, 28, 30), -1000.0, dtype=np.float32)
    hu[:, 3:23, 6:26] = tissue_hu
    hu[:, 7:17, 9:17] = lung_hu
    return Volume(hu, Geometry(hu.shape, spacing_xyz_mm), np.ones(hu.shape, dtype=bool), modality)


def cropped(volume: Volume, box: Box) -> Volume:
    return replace(
        volume,
        hu=volume.hu[box.slices_zyx].copy(),
        valid=volume.valid[box.slices_zyx].copy(),
        geometry=volume.geometry.cropped(box),
    )


def test_a_fifth_of_the_body_is_lung() -> None:
    seen = Appearance.of(box_patient())

    assert seen.lung_percent == pytest.approx(20.0)
    assert seen.soft_tissue_percent == pytest.approx(80.0)
    assert seen.extent_xyz_mm == pytest.approx((30 * 5.0, 28 * 5.2, 24 * 5.4))
    assert DOMAIN.unlike(box_patient(), box_patient(modality="CBCT")) == ()


def test_padding_is_no_part_of_what_was_seen() -> None:
    patient = box_patient()
    valid = patient.valid.copy()
    valid[:, :, :4] = False
    valid[:5] = False

    seen = Appearance.of(replace(patient, valid=valid))

    assert seen.extent_xyz_mm == pytest.approx((26 * 5.0, 28 * 5.2, 19 * 5.4))
    assert seen.lung_percent == pytest.approx(20.0)


def test_fine_voxels_are_looked_at_in_steps() -> None:
    coarse = box_patient()
    fine = np.repeat(np.repeat(coarse.hu, 4, axis=1), 3, axis=2)
    geometry = Geometry(fine.shape, (5.0 / 3, 1.3, 5.4))

    seen = Appearance.of(Volume(fine, geometry, np.ones(fine.shape, dtype=bool)))

    assert seen.lung_percent == pytest.approx(20.0, abs=2.5), "steps of 4 and 5 voxels do not meet every edge"
    assert seen.extent_xyz_mm == pytest.approx((30 * 5.0, 28 * 5.2, 24 * 5.4), abs=6.0)


def test_no_lung() -> None:
    assert DOMAIN.unlike(box_patient(), box_patient(lung_hu=30.0)) == (
        "The model was trained on chests, where at least 5 % of the body is lung; moving image: 0.0 %.",
    )


def test_values_that_are_not_hu() -> None:
    patient = box_patient()
    stored = replace(patient, hu=patient.hu + np.float32(1024.0))

    sentences = DOMAIN.unlike(stored, stored)

    assert sentences == (
        "The model was trained on chests, where at least 5 % of the body is lung; both images: 0.0 %.",
    )


def test_tissue_on_another_scale() -> None:
    assert DOMAIN.unlike(box_patient(tissue_hu=400.0), box_patient()) == (
        "The model was trained on chests, where at least 20 % of the body is soft tissue; fixed image: 0.0 %.",
    )


def test_another_modality_is_not_judged_by_hu() -> None:
    other = box_patient(lung_hu=30.0, modality="MR")
    assert DOMAIN.unlike(other, other) == ("The model was trained on CT and cone-beam CT; both images: MR.",)


def test_thick_slices_of_both_images_are_one_sentence() -> None:
    fixed, moving = box_patient(spacing_xyz_mm=(5.0, 5.2, 8.0)), box_patient(spacing_xyz_mm=(5.0, 5.2, 10.0))
    assert DOMAIN.unlike(fixed, moving) == (
        "The model is for voxels of 0.3 to 5.5 mm; fixed image: 5 × 5.2 × 8 mm, moving image: 5 × 5.2 × 10 mm.",
    )


def test_a_crop_of_one_organ() -> None:
    organ = cropped(box_patient(), Box(17, 26, 8, 18, 4, 14))

    sentences = DOMAIN.unlike(organ, box_patient())

    assert "span at least 120 mm along each axis; fixed image: 45 × 52 × 54 mm." in sentences[0]
    assert "fixed image: 0.0 %" in sentences[1]


def test_an_image_that_shows_nothing() -> None:
    patient = box_patient()
    empty = replace(patient, valid=np.zeros_like(patient.valid))
    assert len(DOMAIN.unlike(empty, empty)) == 3


def test_the_card_names_the_limits() -> None:
    markdown = DOMAIN.as_markdown()
    for limit in ("CT and cone-beam CT", "0.3 mm", "5.5 mm", "120 mm", "5 % lung", "20 % soft tissue"):
        assert limit in markdown


def test_a_phantom_is_like_the_training_with_streaks_too() -> None:
    pair = thorax_pair(11, (46, 42, 38), (4.7, 4.6, 4.9), projections=40)
    assert unlike_training("general", pair.fixed, pair.moving) == ()


def test_nobody_knows_what_own_weights_were_trained_on() -> None:
    bare = box_patient(lung_hu=30.0)
    assert unlike_training("general", bare, bare)
    assert unlike_training("general=mine.safetensors", bare, bare) == ()
    assert all(unlike_training(name, bare, bare) == () for name, row in MODELS.items() if row.weights is None)


def test_real_lungs_are_like_the_training(data: Path) -> None:
    folder = data / "lung_ct_pair"
    pair = [read_volume(folder / f"3DCT_lung_{name}.mha") for name in ("baseline", "followup")]
    assert unlike_training("general", *pair) == ()


def test_a_real_thorax_is_like_the_training(data: Path, tmp_path: Path) -> None:
    with tarfile.open(data / "thorax_ct" / "popi_phase00_dicom.tar.xz") as archive:
        every_second = tuple(f"{digit}.dcm" for digit in "02468")
        for member in archive:
            if member.name.endswith(every_second):
                archive.extract(member, tmp_path, filter="data")
    thorax = read_volume(tmp_path / "00")
    heart = cropped(thorax, Box(230, 340, 190, 300, 10, 35))

    assert unlike_training("general", thorax, thorax) == ()
    assert "moving image: 107 × 107 × 100 mm" in unlike_training("general", thorax, heart)[0]


def test_a_real_test_object_is_not(data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(data / "cbct_catphan" / "CBCT_3.zip") as archive:
        archive.extractall(tmp_path)
    catphan = read_volume(tmp_path)
    (sentence,) = unlike_training("general", catphan, catphan)
    assert "% of the body is lung; both images: 0." in sentence


def test_a_real_leg_is_not(data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(data / "multimodal_rt" / "STS_003_dicom.zip") as archive:
        archive.extractall(tmp_path)
    leg, on_mr = (read_volume(tmp_path / "STS_003" / kind / "image") for kind in ("CT", "MR_T1"))

    sentences = unlike_training("general", leg, on_mr)

    assert "of the body is lung; fixed image: 1.4 %." in sentences[0]
    assert "moving image: MR." in sentences[1]


def test_a_real_brain_is_not(data: Path) -> None:
    folder = data / "brain_t1_epi"
    (sentence,) = unlike_training(
        "general", read_volume(folder / "highres.nii.gz"), read_volume(folder / "example_func.nii.gz")
    )
    assert sentence == "The model was trained on CT and cone-beam CT; both images: an image that is not in HU."
